"""CDFs int32[N,G,A+1] → symbols int64[N,G]: the third supplier of symbols, beside the encoder and the decoder. Integers only.

The random number of an index hangs on the seed, the item, and the index's row, column and grid, and on nothing else: it is a
word of Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), a counter-based generator.
Temperature raises frequencies to a power by integer logarithms (`bitstream_spec.md` defines all of it).
"""

from __future__ import annotations

import copy
import math
from functools import cache

import numpy as np

from .bounds import CDF_BITS
from .drawing import UNIT, Drawing

ROUNDS = 10
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_INCREMENTS = 0x9E3779B9, 0xBB67AE85  # of the key, from round to round
_WORD = np.uint64(0xFFFFFFFF)
LOG_BITS = 16  # of fractions of logarithms
WEIGHT_BITS = 24
CHUNK = 1 << 17  # CDF values worked on at a time


def philox(counter, key: tuple[int, int]) -> np.ndarray:
    """uint32[...,4] of Philox-4x32-10: counter: four arrays of integers below 2^32, of shapes that broadcast; key: two such."""
    c = [np.asarray(word, np.uint64) for word in np.broadcast_arrays(*counter)]
    k = list(key)
    for _ in range(ROUNDS):
        products = c[0] * np.uint64(_MULTIPLIERS[0]), c[2] * np.uint64(_MULTIPLIERS[1])
        (high0, low0), (high1, low1) = ((p >> np.uint64(32), p & _WORD) for p in products)
        c = [high1 ^ c[1] ^ np.uint64(k[0]), low1, high0 ^ c[3] ^ np.uint64(k[1]), low0]
        k = [(word + more) & 0xFFFFFFFF for word, more in zip(k, _INCREMENTS)]
    return np.stack(c, -1).astype(np.uint32)


@cache
def logarithms() -> np.ndarray:
    """int64[65537]: floors of 65536·log2, bit by bit by squaring; of 0 there is none (0)."""
    numbers = np.arange(1, (1 << CDF_BITS) + 1, dtype=np.uint64)
    whole = np.zeros(len(numbers), np.uint64)
    for bit in range(1, CDF_BITS + 1):
        whole[(1 << bit) - 1 :] = bit
    part, result = numbers << (np.uint64(31) - whole), whole  # part: 2^31 times a number in 1..2
    for _ in range(LOG_BITS):
        part = part * part >> np.uint64(31)
        carry = part >> np.uint64(32)
        part >>= carry
        result = result << np.uint64(1) | carry
    return np.concatenate([[0], result.astype(np.int64)])


@cache
def powers() -> np.ndarray:
    """int64[65536]: 2^24 / 2^(n/65536), by products of roots that are rounded down to 32 bits."""
    result, root = np.full(1, 1 << 32, np.uint64), 1 << 31
    for _ in range(LOG_BITS):
        root = math.isqrt(root << 32)
        result = np.stack([result, result * np.uint64(root) >> np.uint64(32)], -1).reshape(-1)
    return (result >> np.uint64(32 - WEIGHT_BITS)).astype(np.int64)


class Sampler:
    """Draws symbols. Thread-safe: nothing changes after it is made."""

    def __init__(self, drawing: Drawing):
        self.key = drawing.seed & 0xFFFFFFFF, drawing.seed >> 32
        self.item, self.inverse = drawing.item, drawing.inverse
        self.turn = 0  # of redrawing (`settling.py`)

    def of_turn(self, turn: int) -> Sampler:
        """The same, with other random numbers."""
        other = copy.copy(self)
        other.turn = turn
        return other

    def words(self, rows: np.ndarray, columns: np.ndarray, first: int, groups: int) -> np.ndarray:
        """uint32[N,groups]: the random numbers at int[N], int[N] of grids from `first` on."""
        blocks = np.arange(first // 4, (first + groups - 1) // 4 + 1) + (self.turn << 16)
        words = philox((columns[:, None], rows[:, None], blocks, self.item), self.key).reshape(len(rows), -1)
        return words[:, first % 4 :][:, :groups]

    def symbols(self, cdf: np.ndarray, rows: np.ndarray, columns: np.ndarray, first: int) -> np.ndarray:
        """int64[N,G] under CDFs int32[N,G,A+1] at rows int[N] and columns int[N] of the whole item, of grids from `first` on."""
        out = np.empty(cdf.shape[:2], np.int64)
        if not len(out):
            return out
        count = max(1, CHUNK // cdf[0].size)
        for start in range(0, len(cdf), count):
            part = slice(start, start + count)
            out[part] = self.chosen(cdf[part], self.words(rows[part], columns[part], first, cdf.shape[1])[:, :, None])
        return out

    def chosen(self, cdf: np.ndarray, words: np.ndarray) -> np.ndarray:
        """int64[N,G] under CDFs int32[N,G,A+1], by their random numbers uint32[N,G,1]."""
        if self.inverse == UNIT:
            return (cdf[:, :, 1:] <= (words >> np.uint32(32 - CDF_BITS)).astype(np.int32)).sum(2)
        share = np.diff(cdf)
        if self.inverse is None:
            return share.argmax(2)
        weights = powered(share, self.inverse).cumsum(2)
        point = (words >> np.uint32(32 - WEIGHT_BITS)).astype(np.int64) * weights[:, :, -1:] >> WEIGHT_BITS
        return (weights <= point).sum(2)


def powered(share: np.ndarray, inverse: int) -> np.ndarray:
    """Weights int64[N,G,A], 2^24 for the largest of frequencies int32[N,G,A], the others by the power `inverse` / 4096 of their
    ratio to it; 0 for 0."""
    logs = logarithms()
    drop = (logs[share.max(2, keepdims=True)] - logs[share]) * inverse // UNIT
    weights = powers()[drop & (1 << LOG_BITS) - 1] >> np.minimum(drop >> LOG_BITS, 63)
    weights[share == 0] = 0
    return weights
