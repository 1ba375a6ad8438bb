"""What is to be drawn from a prior. Standard library only; `sampling.py` draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import UsageError

UNIT = 1 << 12  # of inverse temperatures
HOTTEST = 100.0
COLDEST = 0.01  # but for 0
SETTLED = 0.7  # usual temperature of what is drawn beside what is kept, and
SWEEPS = 8  # how often it is redrawn
MOST_SWEEPS = 1000


@dataclass(frozen=True)
class Drawing:
    """seed: 0..2^64 - 1, and item: 0..2^32 - 1, of those that are drawn with one seed: together they name the random numbers.
    temperature: 1 draws by the prior's probabilities, less by sharper and more by flatter ones, 0 takes the most probable.
    label: what it is to be, of models that have labels. sweeps: how often what is drawn beside something that is kept is redrawn
    (`settling.py`). Raises UsageError beyond that."""

    seed: int = 0
    item: int = 0
    temperature: float = 1.0
    label: str | None = None
    sweeps: int = 0

    def __post_init__(self):
        for name, bits in (("seed", 64), ("item", 32)):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < 1 << bits:
                raise UsageError(f"{name} must be an integer in 0..2^{bits} - 1, not {value!r}")
        if type(self.sweeps) is not int or not 0 <= self.sweeps <= MOST_SWEEPS:
            raise UsageError(f"sweeps must be an integer in 0..{MOST_SWEEPS}, not {self.sweeps!r}")
        t = self.temperature
        if not (isinstance(t, (int, float)) and math.isfinite(t) and (t == 0 or COLDEST <= t <= HOTTEST)):
            raise UsageError(f"temperature must be 0, or {COLDEST:g} to {HOTTEST:g}, not {t!r}")

    @property
    def inverse(self) -> int | None:
        """Of the temperature, in 1/4096; None at temperature 0."""
        return None if self.temperature == 0 else round(UNIT / self.temperature)
