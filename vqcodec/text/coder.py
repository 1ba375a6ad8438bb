"""Bits and their probabilities ⇄ one segment of the arithmetic coder for each lane.

The coder is that of `indices/rangecoder.py`, with CDFs [0, 65536 - p, 65536], p the probability of a 1: `encode` hands it whole
lanes; `Decoder` reads all lanes side by side.
"""

from __future__ import annotations

import numpy as np

from ..errors import CorruptStreamError
from ..indices import rangecoder

_HALF = 1 << 31
_PAD = 8  # zero bytes behind each segment: more than a decoder reads beyond its end


def encode(bits: np.ndarray, ones: np.ndarray) -> bytes:
    """bits: of one lane, int[N] of 0 and 1; ones: int[N] in 1..65535."""
    zero = 65536 - ones.astype(np.int64)
    return rangecoder.encode_bounds(np.where(bits, zero, 0), np.where(bits, 65536, zero))


class Decoder:
    """segments: one for each lane."""

    def __init__(self, segments: list[bytes]):
        sizes = np.array([len(segment) for segment in segments])
        self._begin = np.cumsum(sizes + _PAD) - sizes - _PAD
        data = np.frombuffer(b"".join(s + bytes(_PAD) for s in segments) + bytes(_PAD), np.uint8).astype(np.int64)
        window = data[:-4].copy()
        for i in range(1, 5):
            window = window << 8 | data[i : len(data) - 4 + i]
        self._window, self._sizes = window, sizes  # 40 bits from each byte on
        self._low, self._span = np.zeros(len(sizes), np.int64), np.full(len(sizes), 1 << 32)
        self._offset = window[self._begin] >> 8
        self._position = self._begin * 8 + 32

    def narrow(self, count: int) -> None:
        """Only the first `count` lanes go on; the others must be complete. Raises CorruptStreamError."""
        self.check(count)
        for name in ("_begin", "_low", "_span", "_offset", "_position", "_sizes"):
            setattr(self, name, getattr(self, name)[:count].copy())

    def bits(self, ones: np.ndarray) -> np.ndarray:
        """int64[L], the next bit of each lane. ones: int64[L]."""
        bottom = self._span * (65536 - ones) >> 16
        bits = self._offset >= bottom
        low = np.where(bits, self._low + bottom, self._low)
        offset = np.where(bits, self._offset - bottom, self._offset)
        span = np.where(bits, self._span - bottom, bottom)
        high = low + span - 1  # steps: as `rangecoder._steps` counts them
        rest = (1 << (_bit_length(low ^ high) - 1).clip(0)) - 1
        steps = np.where(span > _HALF, 0, 31 - _bit_length((high | ~low) & rest))
        self._low, self._span = low << steps & _HALF - 1, span << steps
        fetched = self._window.take(self._position >> 3, mode="clip") >> 40 - (self._position & 7) - steps & (1 << steps) - 1
        self._offset = offset << steps | fetched
        self._position += steps
        return bits.astype(np.int64)

    def check(self, first: int = 0) -> None:
        """Raises CorruptStreamError where the lanes from `first` on are not just what an encoder writes."""
        shifts = (self._position - self._begin * 8 - 32)[first:]
        low, offset = self._low[first:], self._offset[first:]
        length = (shifts + 9) // 8
        rest = 8 * length - shifts
        end = np.where(low < _HALF >> 1, 1, 2) << rest - 2
        if ((length != self._sizes[first:]) | (low + offset >> 32 - rest != end)).any():
            raise CorruptStreamError("a segment is damaged: it is not what an encoder writes")


def _bit_length(values: np.ndarray) -> np.ndarray:
    """Of int64 in 0..2^53."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)
