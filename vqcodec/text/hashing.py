"""Contexts → 32-bit hashes, and nibble contexts → rows of the learnt nodes. uint32 arithmetic, which wraps."""

from __future__ import annotations

import numpy as np

from .tables import EXTRA_BITS, KEY_BITS, Tables

_U = np.uint32
CONTEXT, KIND, SECOND, NIBBLE, LETTER, LANE = map(_U, (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x2F0B4C47, 0x9E3779B1))
MATCH_BITS = 18


def finish(h: np.ndarray) -> np.ndarray:
    """uint32 → uint32, one to one; in place."""
    h ^= h >> _U(15)
    h *= _U(0x2C1B3C6D)
    h ^= h >> _U(12)
    h *= _U(0x297A2D39)
    h ^= h >> _U(15)
    return h


def contexts(last: np.ndarray, before: np.ndarray, word: np.ndarray, word_before: np.ndarray, above: np.ndarray) -> np.ndarray:
    """uint32[10,L] of uint32[L] each. last, before: the last four bytes and the four before, the newest lowest; word: hash of
    the letters since the last other byte; above: the byte above in the line before, or 0."""
    zero, one, two = np.zeros_like(last), last & _U(0xFF), last & _U(0xFFFF)
    first = np.stack([one, two, last & _U(0xFFFFFF), last, last, last, word, word, last & _U(0xFFFF00), above << _U(8) | one])
    second = np.stack([zero, zero, zero, zero, before & _U(0xFF), before & _U(0xFFFF), one, word_before, zero, zero])
    h = first * CONTEXT
    h += (np.arange(1, len(h) + 1, dtype=_U) * KIND)[:, None]
    h ^= h >> _U(15)
    h += second
    h *= SECOND
    return h


def of_match(last: np.ndarray, before: np.ndarray) -> np.ndarray:
    """int64[L] in 0..2^18 - 1: of the last six bytes."""
    h = finish(last * CONTEXT + (before & _U(0xFFFF)) * KIND)
    return (h >> _U(32 - MATCH_BITS)).astype(np.int64)


class Learnt:
    """Which nibble contexts the model knows: a map of 2^26 bits, counted in pieces of 16."""

    def __init__(self, tables: Tables):
        self.bits = np.zeros(1 << KEY_BITS - 4, np.uint16)
        pieces = tables.keys >> 4
        if len(pieces):
            starts = np.flatnonzero(np.diff(pieces, prepend=-1))
            values = np.bitwise_or.reduceat(np.left_shift(1, tables.keys & 15), starts)
            self.bits[pieces[starts]] = values
        counts = _ONES[self.bits]
        self.before = np.cumsum(counts, dtype=np.int32) - counts
        self.extras = np.concatenate([tables.extras, np.zeros(1, np.uint8)])
        self.nodes = np.zeros((len(tables.keys) + 1, 16), np.uint8)  # the last: nothing known
        self.nodes[:-1, 1:] = tables.nodes
        self.nodes = self.nodes.reshape(-1)
        self._none = len(tables.keys)

    def rows(self, hashes: np.ndarray) -> np.ndarray:
        """Finished hashes, uint32 of any shape → int64: where in `nodes` the 16 entries of each begin."""
        key = (hashes >> _U(32 - KEY_BITS)).astype(np.int64)
        piece, bit = key >> 4, key & 15
        bits = self.bits.take(piece).astype(np.int64)
        row = self.before.take(piece) + _ONES.take(bits & (1 << bit) - 1)
        known = bits >> bit & 1 != 0
        row = np.where(known, row, self._none)
        extra = hashes >> _U(32 - KEY_BITS - EXTRA_BITS) & _U((1 << EXTRA_BITS) - 1)
        known &= self.extras.take(row) == extra
        return np.where(known, row, self._none) << 4


_ONES = np.array([i.bit_count() for i in range(1 << 16)], np.uint8)
