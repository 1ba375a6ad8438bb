"""A line on standard error that tells how far it is, on a terminal only."""

from __future__ import annotations

import sys
import time


class Progress:
    """`with Progress("sweep") as p: p(finished, all)`."""

    def __init__(self, what: str, clock=time.monotonic):
        self._what, self._clock, self._terminal = what, clock, sys.stderr.isatty()

    def __enter__(self):
        self._started = self._clock()
        return self

    def __call__(self, finished: int, total: int) -> None:
        if self._terminal:
            print(f"\r\x1b[K{self.text(finished, total)}", end="", file=sys.stderr, flush=True)

    def text(self, finished: int, total: int) -> str:
        passed = self._clock() - self._started
        left = passed / finished * (total - finished) if finished else 0
        return f"{self._what}: {finished} of {total}, {_duration(left)} left"

    def __exit__(self, *_):
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
