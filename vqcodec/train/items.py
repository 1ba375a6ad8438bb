"""Whole files to learn from, all in memory, with labels that are words of their names."""

from __future__ import annotations

import random
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ..errors import InputError, VqcodecError, VqcodecWarning
from .data import reading


class Items:
    """`batch(step, count)` → samples stacked, `labels(step, count)` → int64[count,kinds]: both depend on the seed, the step and the
    rank alone. Files that cannot be read are left out with a warning. Raises InputError where none can be read."""

    def __init__(self, paths: Sequence[Path], load: Callable[[Path], torch.Tensor], kinds: tuple[tuple[str, ...], ...], *,
                 seed: int, unlabelled: float):
        """load: a file → its samples, all of one shape; kinds: names of labels; unlabelled: share of labels that is not told."""
        self.seed, self.unlabelled, self.items, found = seed, unlabelled, [], []
        for path in reading(list(paths), "reading files:"):
            try:
                self.items.append(load(path))
                found.append(labels_of(path, kinds))
            except VqcodecError as error:
                warnings.warn(f"{error}: left out", VqcodecWarning, stacklevel=2)
        if not self.items:
            raise InputError(f"none of the {len(paths)} files can be read")
        self.known = torch.tensor(found, dtype=torch.int64).reshape(len(found), len(kinds))

    def _picks(self, step: int, count: int, rank: int) -> list[int]:
        rng = random.Random(f"{self.seed}/{step}/{rank}")
        return [rng.randrange(len(self.items)) for _ in range(count)]

    def batch(self, step: int, count: int, rank: int = 0) -> torch.Tensor:
        return torch.stack([self.items[i] for i in self._picks(step, count, rank)])

    def labels(self, step: int, count: int, rank: int = 0) -> torch.Tensor | None:
        """None where there are no kinds."""
        if not self.known.shape[1]:
            return None
        rng = random.Random(f"{self.seed}/{step}/{rank}/labels")
        told = torch.tensor([[rng.random() >= self.unlabelled for _ in range(self.known.shape[1])] for _ in range(count)])
        return self.known[self._picks(step, count, rank)] * told


def labels_of(path, kinds: tuple[tuple[str, ...], ...]) -> tuple[int, ...]:
    """Of each kind the first of its names, counted from 1, that is a word of the file's name or of its folder's; 0 for none. Words
    are runs of a-z and 0-9, and names may be several words with _ between."""
    text = "_".join(re.findall(r"[a-z0-9]+", "/".join(Path(path).with_suffix("").parts[-2:][::-1]).lower()))
    return tuple(_first(names, text) for names in kinds)


def _first(names: tuple[str, ...], text: str) -> int:
    places = [(match.start(), -len(name), i) for i, name in enumerate(names, 1)
              if (match := re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", text))]
    return min(places)[2] if places else 0
