"""The sets of inputs that networks of masks have: which one, a model tells by their number."""

from __future__ import annotations

from .context import Contexts, Masked
from .wide_context import WideContexts
from ..errors import UsageError

SETS: dict[int, type[Masked]] = {len(known.LEAST): known for known in (Contexts, WideContexts)}


def of_count(count: int) -> type[Masked]:
    """Raises UsageError."""
    if count not in SETS:
        raise UsageError(f"config: 'mask.inputs' must be one of {', '.join(map(str, SETS))}")
    return SETS[count]
