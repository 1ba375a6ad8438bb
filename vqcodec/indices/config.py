"""Configuration of what codes index grids, of any medium: codebooks and prior."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from ..errors import CorruptStreamError, UsageError
from ..limits import ADDED_LATER, Limits

WIDE_DIMS = 32  # the prior sees the first dims, of large range, linearly too
MAX_KINDS, MAX_LABELS = 4, 255  # of labels, and of each of them
MAX_CODEWORDS = 1 << 15  # of all groups of a slice: at each position they have so many probabilities


@dataclass(frozen=True)
class QuantizerConfig:
    """Product codebooks: slices of latent dims, each cut into groups of `dims` with K codewords."""

    slices: tuple[int, ...] = (4, 4, 8, 16, 56, 104)  # latent dims per slice, in coding order
    dims: tuple[int, ...] = (1, 1, 1, 1, 1, 2)  # dims per group, for each slice
    codewords: tuple[int, ...] = (256, 256, 128, 128, 96, 128)  # K per group, for each slice
    from_quality: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)  # of each slice: below it the slice is absent; none: 1

    LIMITS: ClassVar = {"slices": Limits(1, 1024), "dims": Limits(1, 16), "codewords": Limits(2, 4096), "from_quality": Limits(1, 64)}

    def present(self, level: float) -> tuple[bool, ...]:
        """Which slices there are at a level, counted from 0."""
        return tuple(level >= first - 1 for first in self.from_quality or (1,) * len(self.slices))


@dataclass(frozen=True)
class PriorConfig:
    """Shape of the context network that predicts the index grids (see `prior.py`)."""

    context_channels: tuple[int, ...] = (96, 96, 128, 128, 160, 192)  # hidden width for each slice
    rank: tuple[int, ...] = (6, 6, 6, 6, 6, 8)  # coefficients per group, for each slice
    labels: tuple[tuple[str, ...], ...] = field(default=(), metadata=ADDED_LATER)  # kinds of labels, of each its names
    places: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)  # rows and columns of a grid whose positions differ; none: ()
    near: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)  # rows and columns of kernels over a slice itself; as usual: ()
    past: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)  # of kernels over earlier slices
    phases: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)  # of each slice; as usual: ()

    LIMITS: ClassVar = {"context_channels": Limits(1, 1024), "rank": Limits(1, 128),  # rank: 1023·127·128 < 2^24
                        "places": Limits(1, 4096, entries=2), "near": Limits(1, 63, entries=2), "past": Limits(1, 63, entries=2),
                        "phases": Limits(2, 15)}

    def kernel(self, name: str, grid_rank: int) -> tuple[int, int]:
        """Rows and columns of the kernels "near" or "past"."""
        usual = {"near": {1: (1, 9), 2: (5, 5)}, "past": {1: (1, 5), 2: (3, 3)}}
        return getattr(self, name) or usual[name][grid_rank]

    def numbers(self, label: str | None) -> tuple[int, ...]:
        """Of each kind of labels which one it is, from 1 on, or 0 for none. label: names with commas between, None for none.
        Raises UsageError for names that there are not, and for two of a kind."""
        found = [0] * len(self.labels)
        for name in () if label is None else label.split(","):
            kind = next((i for i, names in enumerate(self.labels) if name in names), None)
            if kind is None:
                known = "; ".join(", ".join(names) for names in self.labels)
                raise UsageError(f"there is no label '{name}' ({f'labels: {known}' if known else 'the model has none'})")
            if found[kind]:
                raise UsageError(f"of the labels {', '.join(self.labels[kind])} give one only")
            found[kind] = 1 + self.labels[kind].index(name)
        return tuple(found)

    def names(self, payload: bytes) -> str:
        """The inverse, of the bytes that a band begins with: "" for none. Raises CorruptStreamError."""
        found = payload[: len(self.labels)]
        if len(found) < len(self.labels) or any(n > len(kind) for n, kind in zip(found, self.labels)):
            raise CorruptStreamError("the labels are damaged: the model has no such ones")
        return ",".join(kind[n - 1] for n, kind in zip(found, self.labels) if n)


class LatentConfig(Protocol):
    """What the grids need to know of a transform."""

    latent_dims: int
    lambdas: tuple[float, ...]

    @property
    def grid_rank(self) -> int: ...


class GridModel(Protocol):
    """A model's configuration, of any medium."""

    transform: LatentConfig
    quantizer: QuantizerConfig
    prior: PriorConfig


def check_grids(model: GridModel) -> None:
    """Raises UsageError for shapes of codebooks and prior that do not fit together."""
    quantizer, transform = model.quantizer, model.transform
    if sum(quantizer.slices) != transform.latent_dims:
        raise UsageError("config: 'quantizer.slices' must add up to 'transform.latent_dims'")
    counts = {len(quantizer.slices), len(quantizer.dims), len(quantizer.codewords),
              len(model.prior.context_channels), len(model.prior.rank)}
    if len(counts) != 1:
        raise UsageError("config: slices, dims, codewords, context_channels and rank need one entry per slice")
    firsts = quantizer.from_quality
    if firsts and (len(firsts) != len(quantizer.slices) or firsts[0] != 1 or list(firsts) != sorted(firsts)
                   or firsts[-1] > len(transform.lambdas)):
        raise UsageError("config: 'quantizer.from_quality' needs one entry per slice, from 1 on, ascending, and no more than there are")
    if any(dims % d for dims, d in zip(quantizer.slices, quantizer.dims)):
        raise UsageError("config: each slice must be a multiple of its 'dims'")
    if any(dims // d * k > MAX_CODEWORDS for dims, d, k in zip(quantizer.slices, quantizer.dims, quantizer.codewords)):
        raise UsageError(f"config: the groups of a slice must have {MAX_CODEWORDS} codewords at most between them")
    prior = model.prior
    for name in ("places", "near", "past"):
        if len(getattr(prior, name)) not in (0, 2):
            raise UsageError(f"config: 'prior.{name}' needs rows and columns, or nothing")
    if any(side % 2 == 0 for side in (*prior.near, *prior.past)):
        raise UsageError("config: the sides of 'prior.near' and 'prior.past' must be odd")
    if prior.phases and (len(prior.phases) != len(quantizer.slices) or any(p > 2 and p % 2 == 0 for p in prior.phases)):
        raise UsageError("config: 'prior.phases' needs one entry per slice, each 2 or odd")
    names = [name for kind in prior.labels for name in kind]
    if (len(prior.labels) > MAX_KINDS or any(not 1 <= len(kind) <= MAX_LABELS for kind in prior.labels) or len(set(names)) < len(names)
            or not all(re.fullmatch(r"[a-z0-9_]{1,32}", name) for name in names)):
        raise UsageError(f"config: 'prior.labels' are up to {MAX_KINDS} lists of up to {MAX_LABELS} names each, all different, of "
                         "the letters a-z, 0-9 and _")
    if sum(quantizer.slices) > WIDE_DIMS and WIDE_DIMS not in itertools.accumulate(quantizer.slices):
        raise UsageError(f"config: a slice of 'quantizer.slices' must end at dim {WIDE_DIMS}")
