"""Labels of frames ⇄ the first symbols of their segments; labels in words ⇄ numbers.

What a frame has of a kind is mostly what the frame before had: that label has half of the probability and more, the others the same
each. Standard library and NumPy only; `bitstream_spec.md` has the numbers.
"""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np

from ..errors import UsageError
from ..indices.bounds import CDF_BITS
from ..indices.config import PriorConfig

Labels = tuple[int, ...]  # of each kind which one, 0 for none
NOT_TOLD = "-"  # in words
MOST = 1 << 16  # frames


def frequencies(count: int, before: int) -> np.ndarray:
    """int64[count] that add up to 2^16: of labels 0..count - 1 where the frame before has `before`."""
    share = (1 << CDF_BITS - 1) // count
    found = np.full(count, share, np.int64)
    found[before] += (1 << CDF_BITS) - count * share
    return found


def table(count: int, before: int) -> np.ndarray:
    """int32[1,1,count+1]: the CDF of one symbol."""
    return np.concatenate([[0], frequencies(count, before).cumsum()]).astype(np.int32)[None, None]


def bounds(labels: Labels, before: Labels, counts: Labels) -> np.ndarray:
    """int32[kinds,2] of the symbols of a frame's labels."""
    rows = [table(*pair)[0, 0, label : label + 2] for label, pair in zip(labels, zip(counts, before))]
    return np.array(rows, np.int32).reshape(-1, 2)


def read(reader, before: Labels, counts: Labels) -> Labels:
    """The inverse; reader: an `indices.grids.OneSegment`."""
    return tuple(int(reader.read(table(*pair))[0, 0]) for pair in zip(counts, before))


def bits(labels: Labels, before: Labels, counts: Labels) -> float:
    """What they cost."""
    return sum(CDF_BITS - math.log2(frequencies(*pair)[label]) for label, pair in zip(labels, zip(counts, before)))


def in_words(labels: Labels, config: PriorConfig) -> str:
    """"left", of several kinds "left+run"; "-" for none."""
    return "+".join(names[label - 1] for names, label in zip(config.labels, labels) if label) or NOT_TOLD


def in_runs(words: list[str]) -> str:
    """Of frames, as `of_words` reads it: "left*2,forward"."""
    runs = [(word, len(list(same))) for word, same in groupby(words)]
    return ",".join(word if times == 1 else f"{word}*{times}" for word, times in runs)


def of_words(text: str | None, config: PriorConfig, frames: int) -> list[Labels]:
    """Of so many frames: "left,left,forward" names those of the first ones, "left*2,forward" the same; the last goes on. "-" is
    none, "left+run" one of each of two kinds. Raises UsageError."""
    found: list[Labels] = []
    for part in () if text is None else text.split(","):
        name, mark, times = part.partition("*")
        if mark and not (times.isascii() and times.isdecimal() and 1 <= int(times) <= MOST):
            raise UsageError(f"'{part}': a label is repeated 1 to {MOST} times")
        labels = config.numbers(None if name == NOT_TOLD else name.replace("+", ","))
        found += [labels] * min(int(times or 1), max(0, frames - len(found)))
    last = found[-1] if found else (0,) * len(config.labels)
    return found + [last] * (frames - len(found))
