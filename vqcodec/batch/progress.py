"""Totals of a run, and the line that shows them on a terminal."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field


@dataclass
class Totals:
    """Counts and sizes of what this run did. bytes_left: of sources still to do."""

    files: int = 0
    done: int = 0
    complete: int = 0
    failed: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    bytes_left: int = 0
    pixels: int = 0
    duration: float = 0.0  # of recordings, seconds
    peak_memory: dict[str, int] = field(default_factory=dict)  # of each worker, bytes
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def add(self, facts: dict) -> None:
        """Facts of a file that is done."""
        self.done += 1
        self.bytes_in += facts["bytes_in"]
        self.bytes_out += facts["bytes"]
        self.pixels += facts.get("pixels", 0)
        self.duration += facts.get("duration", 0)

    def speed(self) -> str:
        """Megapixels per second, and seconds of sound per second, of what there was."""
        seconds = self.seconds or 1
        rates = [f"{self.pixels / 1e6 / seconds:.2f} MP/s"] if self.pixels or not self.duration else []
        rates += [f"{self.duration / seconds:.1f} x real time"] if self.duration else []
        return ", ".join(rates)

    def line(self) -> str:
        """One line of at most 100 characters or so."""
        left = self.bytes_left / self.bytes_in * self.seconds if self.bytes_in else None
        eta = "" if left is None else f", ETA {clock(left)}"
        failed = f", {self.failed} failed" if self.failed else ""
        return (f"{self.done + self.complete + self.failed}/{self.files} files{failed}, {self.speed()}, "
                f"{size(self.bytes_in)} -> {size(self.bytes_out)}{ratio(self)}{eta}")


def clock(seconds: float) -> str:
    """3723.4 → 1:02:03."""
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


def ratio(totals: Totals) -> str:
    """" (23.4:1)" where bytes were saved, " (1:47)" where there are more than before."""
    if not totals.bytes_in or not totals.bytes_out:
        return ""
    times = totals.bytes_in / totals.bytes_out
    if times >= 1:
        return f" ({times:.1f}:1)"
    return f" (1:{1 / times:.1f})" if 1 / times < 9.95 else f" (1:{1 / times:.0f})"


def size(count: float) -> str:
    """12345 → 12.3 kB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


class ProgressLine:
    """Rewrites one line on standard error, on a terminal only, at most five times a second."""

    def __init__(self, totals: Totals, quiet: bool = False):
        self.totals, self.shown, self.last = totals, not quiet and sys.stderr.isatty(), 0.0

    def update(self) -> None:
        if self.shown and time.monotonic() - self.last > 0.2:
            self.last = time.monotonic()
            sys.stderr.write("\r\x1b[K" + self.totals.line())
            sys.stderr.flush()

    def clear(self) -> None:
        """Makes room for another line."""
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self.last = 0.0
