"""How the latent dims are cut into slices of groups. Needs neither torch nor NumPy."""

from __future__ import annotations

from dataclasses import dataclass

from .config import QuantizerConfig


@dataclass(frozen=True)
class SliceLayout:
    """Where one slice lies: latent dims [dim, dim + groups·d) and grid planes [group, group + groups)."""

    dim: int
    group: int
    groups: int
    d: int
    codewords: int

    @property
    def dims(self) -> slice:
        return slice(self.dim, self.dim + self.groups * self.d)

    @property
    def planes(self) -> slice:
        return slice(self.group, self.group + self.groups)


def layouts(config: QuantizerConfig) -> tuple[SliceLayout, ...]:
    """The slices in coding order."""
    result, dim, group = [], 0, 0
    for count, d, codewords in zip(config.slices, config.dims, config.codewords):
        result.append(SliceLayout(dim, group, count // d, d, codewords))
        dim, group = dim + count, group + count // d
    return tuple(result)
