"""The scale of qualities, 1..N in sixteenths. Standard library only."""

from __future__ import annotations

import math

from ..errors import CorruptStreamError, UsageError

SIXTEENTHS = 16  # quality steps between two trained qualities


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
