"""Which files are learned from and which are set aside, and those of them that are in memory."""

from __future__ import annotations

import os
import random
import sys
import time
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from ..errors import InputError, VqcodecError, VqcodecWarning

SHARE = 4  # of so many files one at most is set aside
SHELF_STEPS = 250  # how long the same files are drawn from, where not all fit into memory
SAID_EVERY = 5.0  # seconds
LIMIT = 4 << 30  # bytes of files in memory


def split(paths, validation: int, seed: int = 1):
    """(training paths, validation paths): the validation ones chosen by a hash of the file name."""
    ranked = sorted(paths, key=lambda p: zlib.crc32(f"{seed}:{p.name}".encode()))
    held_out = set(ranked[:validation])
    return [p for p in paths if p not in held_out], sorted(held_out)


def set_aside(count: int, validation: int) -> int:
    """How many of `count` files are set aside where `validation` are asked for: a quarter at most, but one of two."""
    return min(validation, max(count // SHARE, int(count > 1)))


def say(text: str) -> None:
    """One line on standard error, of the first process alone."""
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)


def reading(paths: Sequence, what: str) -> Iterator:
    """The paths, one after the other; says how far it is where that takes long."""
    said = time.monotonic()
    for i, path in enumerate(paths):
        if time.monotonic() - said > SAID_EVERY:
            say(f"{what} {i}/{len(paths)}")
            said = time.monotonic()
        yield path


class Cache:
    """What `load(key)` gives, kept up to `limit` bytes: what was asked for longest ago goes first. `load` gives something and
    its size in bytes."""

    def __init__(self, load: Callable[[Hashable], tuple[Any, int]], limit: int):
        self.load, self.limit, self.size = load, limit, 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable):
        """Raises as `load`."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        thing, size = self.load(key)
        while self._kept and self.size + size > self.limit:
            self.size -= self._kept.popitem(last=False)[1][1]
        self._kept[key] = thing, size
        self.size += size
        return thing


class Shelves:
    """Files of known sizes in bytes, of which at most `limit` bytes are in memory at a time.

    Where all fit, every step draws from all of them. Else it draws from as many as fit, which are others every SHELF_STEPS
    steps: that most are decoded once for many steps is what keeps training fast. What a step draws from depends on the seed, the
    step and the rank alone. Files that cannot be read are left out with a warning: what falls on them is drawn again."""

    def __init__(self, sizes: Sequence[int], weights: Sequence[tuple[int, Any, float]], load: Callable, limit: int, *, seed: int):
        """sizes: of each file; weights: (file, key of a version of it, how likely it is drawn); load: (file) → (versions by
        key, bytes), or VqcodecError."""
        self.sizes, self.weights, self.limit, self.seed = sizes, weights, limit, seed
        self.all_fit = sum(sizes) <= limit
        self._cache = Cache(load, limit)
        self._broken: set[int] = set()
        self._shelf = None, (), ()
        self._cumulative = _cumulative(weights)

    def fill(self, what: str) -> None:
        """Reads all files, if all fit."""
        if self.all_fit:
            for i in reading(range(len(self.sizes)), what):
                self._get(i)

    def draw(self, rng: random.Random, step: int, rank: int, count: int) -> list:
        """So many versions of files. Raises InputError where no file can be read."""
        versions, cumulative = self._drawn_from(step, rank)
        return [self._version(rng, pick, versions, cumulative)
                for pick in rng.choices(range(len(versions)), cum_weights=cumulative, k=count)]

    def _version(self, rng, pick: int, versions, cumulative):
        while (found := self._get(versions[pick][0])) is None:
            if len(self._broken) == len(self.sizes):
                raise InputError("none of the files can be read")
            if all(file in self._broken for file, _, _ in versions):
                versions, cumulative = self.weights, self._cumulative
            pick = rng.choices(range(len(versions)), cum_weights=cumulative)[0]
        return found[versions[pick][1]]

    def _get(self, file: int):
        if file in self._broken:
            return None
        try:
            return self._cache.get(file)
        except VqcodecError as error:
            warnings.warn(f"{error}: left out", VqcodecWarning, stacklevel=2)
            self._broken.add(file)
            return None

    def _drawn_from(self, step: int, rank: int):
        if self.all_fit:
            return self.weights, self._cumulative
        key = step // SHELF_STEPS, rank
        if self._shelf[0] != key:
            chosen = set(_fitting(random.Random(f"{self.seed}/shelf/{key}"), self.sizes, self.limit))
            versions = [version for version in self.weights if version[0] in chosen]
            self._shelf = key, versions, _cumulative(versions)
        return self._shelf[1:]


def _cumulative(versions: Iterable) -> list[float]:
    total, sums = 0.0, []
    for _, _, weight in versions:
        total += weight
        sums.append(total)
    return sums


def _fitting(rng: random.Random, sizes: Sequence[int], limit: int) -> Iterator[int]:
    """Files in any order up to so many bytes; one at least."""
    order, total = list(range(len(sizes))), 0
    rng.shuffle(order)
    for file in order:
        total += sizes[file]
        if total > limit and file != order[0]:
            return
        yield file
