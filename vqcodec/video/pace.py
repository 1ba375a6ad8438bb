"""How far work on a clip is, in words."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Says to `say` how many frames are done, how many a second, and, where it is known how many there are (`total`, else 0), how
    long the rest will take. What is told again is passed over."""

    def __init__(self, say: Callable[[str], object], total: int = 0):
        self.say, self.total, self.started, self.last = say, total, time.monotonic(), 0

    def __call__(self, count: int) -> None:
        if count <= self.last:
            return
        self.last, pace = count, count / max(time.monotonic() - self.started, 1e-6)
        left = f" of about {self.total}, {max(0, self.total - count) / pace:.0f} s left" if self.total else ""
        self.say(f"frame {count}{left}, {pace:.1f} frames a second")
