"""How far encoding or decoding a recording is, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Tells `progress` how much is done of so many `seconds` of sound, and how many times faster than they last. prefix: of
    what it tells."""

    def __init__(self, progress: Callable[[str], object], seconds: float, prefix: str = ""):
        self.progress, self.seconds, self.prefix, self.started = progress, seconds, prefix, time.monotonic()

    def __call__(self, done: float) -> None:
        """done: seconds of sound."""
        times = done / max(time.monotonic() - self.started, 1e-6)
        self.progress(f"{self.prefix}{min(1.0, done / self.seconds):.0%}, {times:.3g} times real time")
