"""What the data classes of a model's configuration say of their keys: limits of their values, and which came later."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UsageError

ADDED_LATER = {"added_later": True}  # marks keys that older models lack: their defaults must never change


@dataclass(frozen=True)
class Limits:
    """What a model's configuration may hold: of a number, or of each number in a list, least and most; of a list (and of
    each list in it), the most entries. Far from what sane models have: they keep a hostile one from costing much."""

    least: float
    most: float
    entries: int = 16  # 16 qualities are all that a stream's quality field can name


def check_limits(part, where: str) -> None:
    """Raises UsageError for a number in the data class `part` beyond its `LIMITS`."""
    for name, limits in part.LIMITS.items():
        _check_within(getattr(part, name), limits, f"{where}.{name}")


def _check_within(value, limits: Limits, path: str) -> None:
    if isinstance(value, tuple):
        if len(value) > limits.entries:
            raise UsageError(f"config: '{path}' must have {limits.entries} entries at most")
        for item in value:
            _check_within(item, limits, path)
    elif not limits.least <= value <= limits.most:  # NaN is neither
        raise UsageError(f"config: '{path}' must be in {limits.least:g}..{limits.most:g}")
