"""What the network says at the positions of one step → integer CDFs of the symbols there. Integer arithmetic only.

The decoder asks for whole tables, `Step.cdf`. An encoder, which knows the symbols or about where they are, does not need
them: it takes tables part by part, in memory that stays in the cache, and of logistics a few entries only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from .bounds import (
    CDF_BITS,
    COEFFICIENT_LIMIT,
    INVERSE_SHIFT,
    LOG_SCALE_MIN,
    LOG_SCALE_STEP,
    LOGIT_UNIT,
    MEAN_LIMIT,
    MEAN_UNIT,
    SCALES,
    SHIFT,
    SIGMOID_UNIT,
)
from .layout import SliceLayout

CHUNK = 1 << 18  # CDF values computed at a time: temporaries stay in the cache


def tables() -> dict[str, torch.Tensor]:
    """The shared look-up tables; stored with every model so that no decoder computes them."""
    z = (np.arange(4096) - 2048) / SIGMOID_UNIT
    sigmoid = np.rint(65536 / (1 + np.exp(-z)))
    sigmoid[0], sigmoid[-1] = 0, 65536
    exponential = np.maximum(np.rint(32768 * np.exp(-np.arange(4096) / LOGIT_UNIT)), 0)
    scales = np.exp(LOG_SCALE_MIN + np.arange(SCALES) * LOG_SCALE_STEP)
    inverse = np.rint(SIGMOID_UNIT / MEAN_UNIT * (1 << INVERSE_SHIFT) / scales)
    named = dict(sigmoid=sigmoid, exp=exponential, inverse=inverse)
    kinds = dict(sigmoid=torch.int32, exp=torch.int64, inverse=torch.int32)
    return {f"table.{n}": torch.from_numpy(v).to(kinds[n]) for n, v in named.items()}


def exact(product: torch.Tensor) -> torch.Tensor:
    """int64: a product of integers that are small enough for its kind of floats."""
    return product.to(torch.int64)


def requantise(total: torch.Tensor) -> torch.Tensor:
    """int64 in units of 2^-24 → nearest integer, halves up."""
    return (total + (1 << (SHIFT - 1))).bitwise_right_shift_(SHIFT)


class Logistics:
    """Of groups of one dim each: logistics of the mean and scale that the network gives, cut at the bounds between codewords."""

    def __init__(self, tensors: dict[str, torch.Tensor], sigmoid: torch.Tensor, inverse: torch.Tensor):
        self.borders, self.sigmoid, self.inverse = tensors["bounds"].int(), sigmoid, inverse

    def fill(self, out: torch.Tensor, start: torch.Tensor, size: torch.Tensor, cdf: torch.Tensor) -> None:
        """CDFs int32[G,N,A+1] of outputs int64[N,2G] for the alphabets int64[G], int64[G]."""
        cdf[:, :, 0] = 0
        self._above(out, start, size, torch.arange(1, cdf.shape[2]), cdf[:, :, 1:].transpose(0, 1))

    def entries(self, out: torch.Tensor, start: torch.Tensor, size: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        """Entries int32[N,G,J] of the CDFs, by `number` int64[N,G,J]: 0 before their start, 65536 behind their end."""
        return self._above(out, start, size, number).masked_fill_(number <= 0, 0)

    def _above(self, out, start, size, number, into=None) -> torch.Tensor:
        """As `entries`, for a number above 0. `check_bounds` keeps all within 32 bits."""
        g = len(size)
        mean, scale = out[:, :g].clamp(-MEAN_LIMIT, MEAN_LIMIT).int(), out[:, g:].clamp(0, SCALES - 1)
        which = (start[:, None] + (number - 1)).clamp_(0, self.borders.shape[1] - 1)
        borders = torch.gather(self.borders.expand(*which.shape[:-1], -1), -1, which)
        z = (borders - mean[:, :, None]).mul_(self.inverse[scale][:, :, None])
        z = (z >> INVERSE_SHIFT).clamp_(-2048, 2047).add_(2048)
        mass = self.sigmoid.index_select(0, z.view(-1)).view(z.shape)  # 0..65536
        return floor(torch.sub(mass, (mass * size.int()[:, None]) >> CDF_BITS, out=into), number, size[:, None])


class Categoricals:
    """Of groups of several dims: logits of all codewords, by the coefficients that the network gives. Products that need more
    than 32 bits are made of floats: of integers below 2^53 they are exact, and take half the time."""

    def __init__(self, tensors: dict[str, torch.Tensor], exp: torch.Tensor):
        self.vectors, self.exp = tensors["vectors"].double(), exp.double()
        self.mult, self.offset = (tensors[f"logit.{name}"] for name in ("mult", "offset"))

    def fill(self, out: torch.Tensor, _start, size: torch.Tensor, cdf: torch.Tensor) -> None:
        """CDFs int32[G,N,A+1] of outputs int64[N,G·r] for alphabets of int64[G]."""
        g, _, r = self.vectors.shape
        width = cdf.shape[2] - 1
        unused = torch.arange(width) >= size[:, None]
        offset = self.offset[:, :width].masked_fill(unused, -(1 << 62))  # far below all others
        f = out.clamp(-COEFFICIENT_LIMIT, COEFFICIENT_LIMIT).view(-1, g, r).transpose(0, 1).double()
        logits = exact(f @ self.vectors[:, :width].mT)
        logits = requantise(logits.mul_(self.mult[:, None, None]).add_(offset[:, None]))
        drop = torch.sub(logits.amax(2, keepdim=True), logits, out=logits).clamp_(max=4095)
        mass = self.exp.index_select(0, drop.view(-1)).view(drop.shape).cumsum(2)
        total = mass.gather(2, (size - 1)[:, None, None].expand(-1, len(out), 1))
        # Reciprocal once per symbol, then multiply and shift; below 2^40, and never above 65536 - size.
        reciprocal = ((65536 - size)[:, None, None] << 24) // exact(total)
        cdf[:, :, 0] = 0
        cdf[:, :, 1:] = mass.mul_(reciprocal.double().mul_(2.0**-24))
        floor(cdf[:, :, 1:], torch.arange(1, width + 1), size[:, None, None])


def floor(cdf: torch.Tensor, number: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Adds 1 per symbol to entries, int32, of CDFs, by `number`; from the end of an alphabet of `size` on they are 65536."""
    return cdf.add_(number.int()).masked_fill_(number >= size, 1 << CDF_BITS)


@dataclass(frozen=True)
class Step:
    """One coding step: the symbols of one slice at the positions of one phase.

    positions int64[N] (row-major); out int64[N,C]: what the network says there; start, size int64[G]: symbol j of group g,
    of size[g], is codeword start[g] + j. A is the largest size.
    """

    number: int
    layout: SliceLayout
    positions: torch.Tensor
    out: torch.Tensor
    start: torch.Tensor
    size: torch.Tensor
    distributions: Logistics | Categoricals

    @cached_property
    def cdf(self) -> torch.Tensor:
        """int32[N,G,A+1]: rows rise from 0 to 65536; symbols past a group's alphabet have no mass."""
        cdf = torch.empty(len(self.positions), len(self.size), self._width, dtype=torch.int32)
        for rows in self._chunks():
            self.distributions.fill(self.out[rows], self.start, self.size, cdf[rows].transpose(0, 1))
        return cdf

    def parts(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """(n of the positions, their CDFs int32[G,n,A+1], which the next ones overwrite)."""
        chunks = self._chunks()
        memory = torch.empty(len(self.size), chunks[0].stop, self._width, dtype=torch.int32)
        for rows in chunks:
            cdf = memory[:, : rows.stop - rows.start]
            self.distributions.fill(self.out[rows], self.start, self.size, cdf)
            yield rows, cdf

    def entries(self, number: torch.Tensor) -> torch.Tensor:
        """int32[N,G,J]: entries of the CDFs, by int64[N,G,J] in 0..A."""
        if isinstance(self.distributions, Logistics):
            return self.distributions.entries(self.out, self.start, self.size, number)
        return torch.cat([cdf.transpose(0, 1).gather(2, number[rows]) for rows, cdf in self.parts()])

    def bounds(self, symbols: torch.Tensor) -> torch.Tensor:
        """int32[N,G,2]: the entries below and above symbols int64[N,G]."""
        return self.entries(torch.stack([symbols, symbols + 1], 2))

    @property
    def _width(self) -> int:
        return int(self.size.max()) + 1

    def _chunks(self) -> list[slice]:
        count = max(1, CHUNK // (len(self.size) * self._width))
        return [slice(i, min(i + count, len(self.out))) for i in range(0, len(self.out), count)]
