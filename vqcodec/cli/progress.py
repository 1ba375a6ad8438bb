"""A line that says how far a command is, on what takes more than two seconds."""

from __future__ import annotations

import sys
import time

AFTER, EVERY = 2.0, 0.2  # seconds


class Progress:
    """`progress(text)` shows the text on standard error: in one line that is overwritten, at a terminal and after some time;
    with `verbose` in lines of their own, at once."""

    def __init__(self, name: str, verbose: bool = False):
        self.name, self.verbose = name, verbose
        self.started, self.last, self.drawn = time.monotonic(), 0.0, 0

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if self.verbose:
            print(f"vqcodec: {self.name}: {text}", file=sys.stderr, flush=True)
        elif sys.stderr.isatty() and now - self.started > AFTER and now - self.last > EVERY:
            line = f"{self.name}: {text}"[:100]
            print(f"\r{line.ljust(self.drawn)}", end="", file=sys.stderr, flush=True)
            self.last, self.drawn = now, len(line)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        if self.drawn:
            print(f"\r{' ' * self.drawn}\r", end="", file=sys.stderr, flush=True)
