"""The scale of qualities, 1..N in sixteenths, and the search on it for a target. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from ..errors import CorruptStreamError, UsageError

SIXTEENTHS = 16  # quality steps between two trained qualities
TOLERANCE = 0.03  # a result this near to its target needs no comment

Result = TypeVar("Result")


def checked_sixteenths(quality: float, qualities: int) -> int:
    """Sixteenths above the lowest quality. Raises UsageError for a quality outside of 1..`qualities`."""
    if not (math.isfinite(quality) and 1 <= quality <= qualities):
        raise UsageError(f"quality must be between 1 and {qualities}, not {quality:g}")
    return round((quality - 1) * SIXTEENTHS)


def checked_quality(sixteenths: int, qualities: int) -> int:
    """Raises CorruptStreamError for a stream's quality that its model does not have."""
    if sixteenths > (qualities - 1) * SIXTEENTHS:
        raise CorruptStreamError("quality is beyond what the stream's model knows")
    return sixteenths


def quality_of(sixteenths: int) -> float:
    """The user's scale of qualities: 1 is the lowest."""
    return 1 + sixteenths / SIXTEENTHS


def usual_quality(highest: int) -> float:
    """What is used where none is asked for: the middle of the scale."""
    return (1 + highest) / 2


def reach(target: float, qualities: int, attempt: Callable[[int], tuple[Result, float]], *,
          upper_bound: bool) -> tuple[Result, str | None]:
    """(result nearest to `target`, a note if that is not near). `attempt(sixteenths)` gives a result and its value,
    which rises with quality, so that a bisection finds it; with `upper_bound`, no value above the target is taken
    unless all are. Raises UsageError for a target that is not a number above 0."""
    if not (math.isfinite(target) and target > 0):
        raise UsageError(f"a target must be a number above 0, not {target:g}")
    tried: dict[int, tuple[Result, float]] = {}

    def value(sixteenths: int) -> float:
        if sixteenths not in tried:
            tried[sixteenths] = attempt(sixteenths)
        return tried[sixteenths][1]

    low, high = 0, (qualities - 1) * SIXTEENTHS
    if value(low) >= target:
        best = low
    elif value(high) <= target:
        best = high
    else:
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if value(middle) <= target else (low, middle)
        nearest = abs(value(high) - target) < abs(value(low) - target)
        best = high if nearest and not upper_bound else low
    result, reached = tried[best]
    if not ((upper_bound and reached > target) or abs(reached / target - 1) > TOLERANCE):
        return result, None
    limit = "lowest" if best == 0 else "highest" if best == (qualities - 1) * SIXTEENTHS else "nearest"
    return result, f"target {target:g} is not reached: the {limit} quality gives {reached:.5g}"
