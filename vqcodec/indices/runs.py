"""Very many binary symbols, most of them almost sure ⇄ bytes: runs of the likely ones, in vectors of NumPy.

Each symbol comes with a class, which says how sure it is: class c that it is unlikely with p = 1 / (1 + exp((c + 1/2) / 4)). Of
the symbols of one class, however far apart they are, blocks of a power of two are coded by few decisions: is there an unlikely
one in the block, and in which half of it, of a half, ... So the work is for each block, not for each symbol. A class
learns its probability as it goes, beginning with its own.

    BlockEncoder: step(classes, unlikely), ..., finish() → bytes        BlockDecoder: step(classes) → unlikely, ...

`bitstream_spec.md`, section "Runs", defines every bit.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .bits import BitDecoder, BitEncoder

CLASSES = 56
LARGEST = 16  # exponent of the largest block
TRUST = 8  # unlikely symbols that the beginning of a class counts for
FORGET = 255  # ... after which all counts are halved
_ONE = 1 << 32

# P(unlikely) of a class, in 2^-32
UNLIKELY = tuple(int(value) for value in np.rint(_ONE / (1 + np.exp((np.arange(CLASSES) + 0.5) / 4))))
# ... between which one of the class and one of the next is the nearer
BETWEEN = tuple(int(value) for value in np.rint(_ONE / (1 + np.exp((np.arange(CLASSES) + 1.0) / 4))))


@cache
def _tables() -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Of each class the exponent of its blocks, the probability (in 2^-16) that one has no unlikely symbol, and those that,
    if a block of 2^(j+1) has one, the first is in its first half."""
    sizes, none, first = [], [], []
    for unlikely in UNLIKELY:
        likely, powers = _ONE - unlikely, []
        for _ in range(LARGEST + 1):  # P(2^j likely ones)
            powers.append(likely)
            likely = likely * likely >> 32
        size = max([j for j, power in enumerate(powers) if power > _ONE >> 1], default=0)
        sizes.append(size)
        none.append(_sixteen(powers[size]))
        first.append(tuple(_sixteen((_ONE << 32) // (_ONE + powers[j])) for j in range(size)))
    return tuple(sizes), tuple(none), tuple(first)


def _sixteen(probability: int) -> int:
    return min(max(probability >> 16, 1), 65535)


class _Class:
    """What is known of one class: its level, by what was seen."""

    __slots__ = ("level", "unlikely", "all")

    def __init__(self, number: int):
        self.level, self.unlikely, self.all = number, TRUST, TRUST * _ONE // UNLIKELY[number]

    def learn(self, count: int, unlikely: int) -> None:
        self.all += count
        self.unlikely += unlikely
        if self.unlikely > FORGET:
            self.unlikely, self.all = self.unlikely >> 1, self.all >> 1
        seen, level = self.unlikely << 32, self.level
        if level + 1 < CLASSES and seen < self.all * BETWEEN[level]:
            self.level = level + 1
        elif level and seen > self.all * BETWEEN[level - 1]:
            self.level = level - 1


class BlockEncoder:
    def __init__(self):
        self._classes, self._unlikely = [], []

    def step(self, classes: np.ndarray, unlikely: np.ndarray) -> None:
        """int[n], bool[n]: symbols of one step of the decoder, who has to know all classes of a step at its beginning."""
        order = np.argsort(classes, kind="stable")
        self._classes.append(classes[order])
        self._unlikely.append(unlikely[order])

    def finish(self) -> bytes:
        if not self._classes:
            return b""
        classes, unlikely = np.concatenate(self._classes), np.concatenate(self._unlikely)
        blocks = []
        for number in range(CLASSES):
            places = np.flatnonzero(classes == number)
            blocks += self._blocks(number, places, np.flatnonzero(unlikely[places]).tolist())
        blocks.sort()  # as the decoder asks for them
        sizes, none, first = _tables()
        coder = BitEncoder()
        for _, level, found in blocks:
            coder.encode(found < 0, none[level])
            if found >= 0:
                for half in range(sizes[level] - 1, -1, -1):
                    coder.encode(not found >> half & 1, first[level][half])
        return coder.finish()

    def _blocks(self, number: int, places: np.ndarray, unlikely: list[int]) -> list[tuple[int, int, int]]:
        """(where it begins, level, place of the first unlikely symbol or -1) of the blocks of a class."""
        sizes, state, blocks = _tables()[0], _Class(number), []
        position, count, starts = 0, len(places), []
        unlikely.append(1 << 60)
        turn = iter(unlikely)
        coming = next(turn)
        while position < count:
            level, size = state.level, 1 << sizes[state.level]
            starts.append(position)
            if coming < position + size:
                blocks.append((level, coming - position))
                state.learn(coming - position + 1, 1)
                position, coming = coming + 1, next(turn)
            else:
                blocks.append((level, -1))
                state.learn(size, 0)
                position += size
        return [(place, *block) for place, block in zip(places[starts].tolist(), blocks)] if starts else []


class BlockDecoder:
    def __init__(self, data: bytes):
        self._coder = BitDecoder(data)
        self._states = [_Class(number) for number in range(CLASSES)]
        self._likely = np.zeros(CLASSES, np.int64)  # that many follow for certain
        self._then = [0] * CLASSES  # and behind them an unlikely one

    def step(self, classes: np.ndarray) -> np.ndarray:
        """int[n] → uint8[n]: 1 where a symbol is the unlikely one."""
        unlikely = np.zeros(len(classes), np.uint8)
        counts = np.bincount(classes, minlength=CLASSES)
        for number in np.flatnonzero(self._likely < counts).tolist():
            count, places = int(counts[number]), None
            position = int(self._likely[number])
            while position < count:
                if self._then[number]:
                    if places is None:
                        places = np.flatnonzero(classes == number)
                    unlikely[places[position]] = 1
                    self._then[number] = 0
                    position += 1
                    if position == count:
                        break
                position += self._block(number)
            self._likely[number] = position
        self._likely -= counts
        return unlikely

    def _block(self, number: int) -> int:
        """How many likely symbols follow."""
        sizes, none, first = _tables()
        state, decode = self._states[number], self._coder.decode
        level = state.level
        if decode(none[level]):
            state.learn(1 << sizes[level], 0)
            return 1 << sizes[level]
        found = 0
        for half in range(sizes[level] - 1, -1, -1):
            if not decode(first[level][half]):
                found |= 1 << half
        state.learn(found + 1, 1)
        self._then[number] = 1
        return found
