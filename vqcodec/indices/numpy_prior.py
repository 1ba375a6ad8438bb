"""The arithmetic of the prior (`network.py`) and its CDFs in NumPy, for decoders, which need no torch then; `prior.py` and `cdf.py`
tell why it is exact, and compute the same in torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .config import QuantizerConfig
from . import network, rangecoder
from .bounds import (
    ACTIVATION_LIMIT,
    CDF_BITS,
    COEFFICIENT_LIMIT,
    INVERSE_SHIFT,
    MEAN_LIMIT,
    SCALES,
    SHIFT,
    WEIGHT_LIMIT,
)
from .layout import SliceLayout

CHUNK = 1 << 16  # numbers computed at a time: temporaries stay in the cache
ROWS = 1 << 12  # grid positions whose sums are computed at a time, likewise
SURE = 63 << 10  # a guess of this probability, in 65536ths, is tried before its row is computed


class Logistics:
    """As `cdf.Logistics`."""

    def __init__(self, tensors: dict[str, np.ndarray], sigmoid: np.ndarray, inverse: np.ndarray):
        self.borders, self.sigmoid, self.inverse = tensors["bounds"].astype(np.int32), sigmoid, inverse

    def guesses(self, out: np.ndarray, start: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
        """(symbols in whose bounds the means are, int64[n,G], their bounds int32[n,G], int32[n,G]) of outputs int64[n,2G] for the
        alphabets int64[G], int64[G]."""
        g = len(size)
        mean, inverse = self._parameters(out[:, :g], out[:, g:])
        symbols = np.stack([np.searchsorted(borders, mean[:, i], "right") for i, borders in enumerate(self.borders)], 1)
        symbols -= start
        np.clip(symbols, 0, size - 1, out=symbols)
        number, groups, sizes = symbols.astype(np.int32), np.arange(g), size.astype(np.int32)
        low, high = (self._entries(self.borders[groups, (start + (j - 1)).clip(0, self.borders.shape[1] - 1)], mean, inverse, j, sizes)
                     for j in (number, number + 1))
        low[symbols == 0], high[symbols == size - 1] = 0, 1 << CDF_BITS
        return symbols, low, high

    def rows(self, group: int, out: np.ndarray, start: int, size: int) -> np.ndarray:
        """CDFs int32[k,size+1] of one group, of outputs int64[k,2G]."""
        mean, inverse = (part[:, None] for part in self._parameters(out[:, group], out[:, len(self.borders) + group]))
        cdf = np.empty((len(out), size + 1), np.int32)
        cdf[:, 0], cdf[:, size] = 0, 1 << CDF_BITS
        cdf[:, 1:-1] = self._entries(self.borders[group, start : start + size - 1], mean, inverse,
                                     np.arange(1, size, dtype=np.int32), np.int32(size))
        return cdf

    def _parameters(self, mean: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return mean.clip(-MEAN_LIMIT, MEAN_LIMIT).astype(np.int32), self.inverse[scale.clip(0, SCALES - 1)]

    def _entries(self, borders, mean, inverse, number, size) -> np.ndarray:
        """int32: entries of CDFs, by their number, that lie at `borders`. `check_bounds` keeps all within 32 bits."""
        z = borders - mean
        z *= inverse
        z >>= INVERSE_SHIFT
        z += 2048
        mass = self.sigmoid.take(z, mode="clip")  # 0..65536
        np.multiply(mass, size, out=z)
        z >>= CDF_BITS
        mass -= z
        mass += number
        return mass


class Categoricals:
    """As `cdf.Categoricals`."""

    def __init__(self, tensors: dict[str, np.ndarray], exp: np.ndarray):
        self.vectors = tensors["vectors"].astype(np.float64)
        self.exp = exp.astype(np.float32 if self.vectors.shape[1] < 512 else np.float64)  # which hold the sums of 2^15 each
        mult, self.offset = (tensors[f"logit.{name}"] for name in ("mult", "offset"))
        self.mult = mult.astype(np.float64)
        r = self.vectors.shape[2]
        most = COEFFICIENT_LIMIT * WEIGHT_LIMIT * r * int(np.abs(mult.astype(object)).max()) + int(np.abs(self.offset).max())
        self.exact = most + (1 << SHIFT) < 1 << 53  # logits may be made of floats, in units of 2^-24, which are folded in here
        self.matrices = np.ascontiguousarray((self.vectors * (self.mult * 2.0**-SHIFT)[:, None, None]).transpose(0, 2, 1))
        self.added = self.offset * 2.0**-SHIFT + 0.5
        self.reach = np.inf if exp[-1] else int(np.searchsorted(-exp, 0))  # what is as far below the likeliest has no mass

    def guesses(self, out: np.ndarray, start: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, ...]:
        """As those of `Logistics`, of outputs int64[n,G·r]: the likeliest symbols."""
        g, n = len(size), len(out)
        symbols, low, high = np.empty((n, g), np.int64), np.empty((n, g), np.int32), np.empty((n, g), np.int32)
        for group, count in enumerate(size.tolist()):
            step = max(1, CHUNK // count)
            for first in range(0, n, step):
                part = slice(first, first + step)
                logits = self._logits(group, out[part], count)
                here = np.arange(len(logits))
                best = logits.argmax(1)
                greatest = np.floor(logits[here, best])
                logits[here, best] = -np.inf
                others = np.flatnonzero(logits.max(1) >= greatest - (self.reach - 1))
                symbols[part, group], low[part, group], high[part, group] = best, best, best + ((1 << CDF_BITS) - count + 1)
                if len(others):
                    least = best[others]
                    logits = logits[others]
                    logits[np.arange(len(others)), least] = greatest[others]
                    cdf = self._cdf(logits, count)
                    at = np.arange(len(others)) * (count + 1) + least
                    low[first + others, group], high[first + others, group] = cdf.take(at), cdf.take(at + 1)
        return symbols, low, high

    def rows(self, group: int, out: np.ndarray, _start: int, size: int) -> np.ndarray:
        """CDFs int32[k,size+1] of one group, of outputs int64[k,G·r]."""
        cdf, step = np.empty((len(out), size + 1), np.int32), max(1, CHUNK // size)
        for first in range(0, len(out), step):
            cdf[first : first + step] = self._cdf(self._logits(group, out[first : first + step], size), size)
        return cdf

    def _logits(self, group: int, out: np.ndarray, size: int) -> np.ndarray:
        """f64[k,size]; those of codewords are their integers below."""
        r = self.vectors.shape[2]
        f = out[:, group * r : (group + 1) * r].clip(-COEFFICIENT_LIMIT, COEFFICIENT_LIMIT).astype(np.float64)
        if self.exact:
            logits = f @ self.matrices[group, :, :size]
            logits += self.added[group, :size]
            return logits
        logits = (f @ self.vectors[group, :size].T).astype(np.int64)
        logits *= int(self.mult[group])
        logits += self.offset[group, :size] + (1 << (SHIFT - 1))
        return (logits >> SHIFT).astype(np.float64)

    def _cdf(self, logits: np.ndarray, size: int) -> np.ndarray:
        """int32[k,size+1] of logits f64[k,size], which are changed."""
        np.floor(logits, out=logits)
        drop = np.subtract(logits.max(1, keepdims=True), logits, out=logits)
        mass = self.exp.take(np.minimum(drop, 4095, out=drop).astype(np.intp)).cumsum(1)
        # Reciprocal once per symbol, then multiply and shift; below 2^40, and never above 65536 - size.
        reciprocal = (((1 << CDF_BITS) - size) << SHIFT) // mass[:, -1:].astype(np.int64)
        cdf = np.empty((len(mass), size + 1), np.int32)
        cdf[:, 0] = 0
        cdf[:, 1:] = mass * (reciprocal * 2.0**-SHIFT)
        cdf[:, 1:] += np.arange(1, size + 1, dtype=np.int32)
        cdf[:, size] = 1 << CDF_BITS
        return cdf


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
        cdf = np.full((len(self.positions), len(self.size), int(self.size.max()) + 1), 1 << CDF_BITS, np.int32)
        for group, size in enumerate(self.size.tolist()):
            cdf[:, group, : size + 1] = self._rows(group, slice(None))
        return cdf

    @property
    def rows(self) -> rangecoder.Rows:
        """Those of `cdf`, without what decoders hardly ever look at. Not kept: it knows the step."""
        symbols, low, high = self.distributions.guesses(self.out, self.start, self.size)
        unsure = high - low < SURE
        high[unsure] = 0
        tables = [self._rows(group, unsure[:, group]) for group in range(len(self.size))]
        return rangecoder.Rows(symbols, low, high, tables, lambda n, group: self._rows(group, slice(n, n + 1))[0])

    def _rows(self, group: int, which) -> np.ndarray:
        return self.distributions.rows(group, self.out[which], int(self.start[group]), int(self.size[group]))

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
