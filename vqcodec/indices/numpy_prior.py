"""The arithmetic of the prior (`network.py`) and its CDFs in NumPy, for decoders, which need no torch then; `prior.py` and `cdf.py`
tell why it is exact, and compute the same in torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .config import QuantizerConfig
from . import network
from .bounds import (
    ACTIVATION_LIMIT,
    CDF_BITS,
    COEFFICIENT_LIMIT,
    INVERSE_SHIFT,
    MEAN_LIMIT,
    SCALES,
    SHIFT,
)
from .layout import SliceLayout

CHUNK = 1 << 17  # CDF values computed at a time: temporaries stay in the cache
ROWS = 1 << 12  # grid positions whose sums are computed at a time, likewise


class Logistics:
    """As `cdf.Logistics`."""

    def __init__(self, tensors: dict[str, np.ndarray], sigmoid: np.ndarray, inverse: np.ndarray):
        self.borders, self.sigmoid, self.inverse = tensors["bounds"].astype(np.int32), sigmoid, inverse

    def fill(self, out: np.ndarray, start: np.ndarray, size: np.ndarray, cdf: np.ndarray) -> None:
        """CDFs int32[n,G,A+1] of outputs int64[n,2G] for the alphabets int64[G], int64[G]."""
        g = len(size)
        mean, scale = out[:, :g].clip(-MEAN_LIMIT, MEAN_LIMIT).astype(np.int32), out[:, g:].clip(0, SCALES - 1)
        number = np.arange(1, cdf.shape[2], dtype=np.int32)
        which = (start[:, None] + (number - 1)).clip(0, self.borders.shape[1] - 1)
        z = np.take_along_axis(self.borders, which, 1) - mean[:, :, None]
        z *= self.inverse[scale][:, :, None]
        z >>= INVERSE_SHIFT
        np.clip(z, -2048, 2047, out=z)
        z += 2048
        mass = self.sigmoid.take(z)  # 0..65536
        sizes = size.astype(np.int32)[:, None]
        np.multiply(mass, sizes, out=z)
        z >>= CDF_BITS
        mass -= z
        _floor(mass, number, sizes, cdf)


class Categoricals:
    """As `cdf.Categoricals`."""

    def __init__(self, tensors: dict[str, np.ndarray], exp: np.ndarray):
        self.vectors, self.exp = tensors["vectors"].astype(np.float64), exp.astype(np.float64)
        self.mult, self.offset = (tensors[f"logit.{name}"] for name in ("mult", "offset"))

    def fill(self, out: np.ndarray, _start, size: np.ndarray, cdf: np.ndarray) -> None:
        """CDFs int32[n,G,A+1] of outputs int64[n,G·r] for alphabets of int64[G]."""
        g, _, r = self.vectors.shape
        width = cdf.shape[2] - 1
        number = np.arange(1, width + 1, dtype=np.int32)
        offset = np.where(number > size[:, None], -(1 << 62), self.offset[:, :width])  # far below all others
        f = out.clip(-COEFFICIENT_LIMIT, COEFFICIENT_LIMIT).reshape(-1, g, r).transpose(1, 0, 2).astype(np.float64)
        logits = (f @ self.vectors[:, :width].transpose(0, 2, 1)).astype(np.int64)  # [G,n,A]
        logits *= self.mult[:, None, None]
        logits += offset[:, None] + (1 << (SHIFT - 1))
        logits >>= SHIFT
        np.subtract(logits.max(2, keepdims=True), logits, out=logits)
        np.minimum(logits, 4095, out=logits)
        mass = self.exp.take(logits).cumsum(2)
        total = np.take_along_axis(mass, np.broadcast_to((size - 1)[:, None, None], (g, len(out), 1)), 2)
        # Reciprocal once per symbol, then multiply and shift; below 2^40, and never above 65536 - size.
        reciprocal = ((65536 - size)[:, None, None] << 24) // total.astype(np.int64)
        mass *= reciprocal * 2.0**-24
        _floor(mass.transpose(1, 0, 2).astype(np.int32), number, size[:, None], cdf)


def _floor(mass: np.ndarray, number: np.ndarray, size: np.ndarray, cdf: np.ndarray) -> None:
    """As `cdf.floor`, into CDFs int32[n,G,A+1]."""
    cdf[:, :, 0] = 0
    np.add(mass, number, out=cdf[:, :, 1:])
    np.copyto(cdf[:, :, 1:], 1 << CDF_BITS, where=number >= size)


@dataclass(frozen=True)
class Step:
    """As `cdf.Step`."""

    number: int
    layout: SliceLayout
    positions: np.ndarray
    out: np.ndarray
    start: np.ndarray
    size: np.ndarray
    distributions: Logistics | Categoricals

    @cached_property
    def cdf(self) -> np.ndarray:
        """int32[N,G,A+1]: rows rise from 0 to 65536; symbols past a group's alphabet have no mass."""
        cdf = np.empty((len(self.positions), len(self.size), int(self.size.max()) + 1), np.int32)
        count = max(1, CHUNK // cdf[0].size)
        for first in range(0, len(cdf), count):
            rows = slice(first, first + count)
            self.distributions.fill(self.out[rows], self.start, self.size, cdf[rows])
        return cdf

    def bounds(self, symbols: np.ndarray) -> np.ndarray:
        """int32[N,G,2]: the entries below and above symbols int64[N,G]."""
        return np.take_along_axis(self.cdf, np.stack([symbols, symbols + 1], 2), 2)


class Numpy(network.Arithmetic):
    logistics, categoricals, step = Logistics, Categoricals, Step

    def array(self, values: np.ndarray) -> np.ndarray:
        return values

    def floats(self, integers: np.ndarray) -> np.ndarray:
        return integers.astype(np.float32)

    def joined(self, parts, axis: int) -> np.ndarray:
        return np.concatenate(parts, axis)

    def repeated(self, row: np.ndarray, count: int) -> np.ndarray:
        return np.broadcast_to(row, (count, len(row)))

    def kernel(self, weight: np.ndarray) -> np.ndarray:
        weight = weight.reshape(*weight.shape, *[1] * (4 - weight.ndim))
        return np.ascontiguousarray(weight.transpose(2, 3, 1, 0), np.float32)

    def exact(self, product: np.ndarray) -> np.ndarray:
        return product.astype(np.int64)

    def requantise(self, total: np.ndarray) -> np.ndarray:
        return total + (1 << (SHIFT - 1)) >> SHIFT

    def activate(self, total: np.ndarray) -> np.ndarray:
        return self.requantise(total).clip(0, ACTIVATION_LIMIT).astype(np.float32)

    def correlate(self, x, weight, positions=None, spacing: int = 1) -> np.ndarray:
        h, w, channels = x.shape
        kh, kw, _, outputs = weight.shape
        ys, xs = (k // 2 * spacing for k in (kh, kw))
        padded = np.zeros((h + 2 * ys, w + 2 * xs, channels), np.float32)
        padded[ys : ys + h, xs : xs + w] = x
        down, right, deep = padded.strides
        seen = np.lib.stride_tricks.as_strided(  # what the rows of a kernel see
            padded, (h + 2 * ys, w, kw, channels), (down, right, spacing * right, deep), writeable=False)
        matrices = weight.reshape(kh, kw * channels, outputs)
        if positions is not None:
            y, x = positions // w, positions % w
            total = seen[y, x].reshape(len(positions), kw * channels) @ matrices[0]
            for dy in range(1, kh):
                total += seen[y + dy * spacing, x].reshape(len(positions), kw * channels) @ matrices[dy]
            return self.exact(total)
        total = np.empty((h, w, outputs), np.int64)
        rows = max(1, ROWS // w)
        for top in range(0, h, rows):
            count = min(rows, h - top)
            part = np.zeros((count * w, outputs), np.float32)
            around = np.ascontiguousarray(seen[top : top + count + 2 * ys]).reshape(-1, w, kw * channels)
            for dy in range(kh):
                part += around[dy * spacing : dy * spacing + count].reshape(count * w, -1) @ matrices[dy]
            total[top : top + count] = part.reshape(count, w, outputs)
        return total.reshape(h * w, outputs)


class NumpyPrior(network.Prior):
    """The integer prior in NumPy: `tensors` as read from prior.safetensors."""

    def __init__(self, tensors: dict[str, np.ndarray], config: QuantizerConfig):
        super().__init__(tensors, config, Numpy())
