"""Limits on what one file may take: what its header says is looked at before any work, time and lengths meanwhile.

Whoever hands out work surrounds it by `within`; what does it calls `check` with what a header says, and `tick` in its loops. Both
do nothing outside of `within`. The limits are those of the calling context (`contextvars`): other threads have their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from .errors import LimitError, UsageError

GIB = 1 << 30
RATIO_FROM = GIB  # bytes of output, below which `ratio` does not matter


@dataclass(frozen=True)
class Limits:
    """None is no limit.

    pixels: of a picture, read or decoded; samples: of a recording, all channels counted; output: bytes of what is decoded, before
    it is compressed; ratio: how many times the size of its stream that may be, beyond a gibibyte; memory: bytes beside the
    model, by estimate; seconds: for one file. Raises UsageError for a limit that is not above 0.

    By default a photograph of 250 megapixels passes, a hundred hours of stereo at 48 kHz, and 10 hours of them down to
    0.4 kbit/s (at 12 GiB of memory such a photograph is encoded); a stream of few bytes decodes to a gibibyte at most. There is
    no limit of time, as machines differ."""

    pixels: int | None = 1 << 28
    samples: int | None = 1 << 35
    output: int | None = 64 * GIB
    ratio: float | None = 4096
    memory: int | None = 12 * GIB
    seconds: float | None = None

    def __post_init__(self):
        for name in NAMES:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and value > 0):
                raise UsageError(f"the limit '{name}' must be a number above 0, not {value!r}")


NAMES = tuple(Limits.__dataclass_fields__)


@dataclass(frozen=True)
class Extent:
    """What a file takes, by its header alone; as in `Limits`. 0 is nothing, or not known."""

    pixels: int = 0
    samples: int = 0
    output: int = 0
    memory: int = 0


@dataclass(frozen=True)
class _Active:
    limits: Limits
    end: float | None  # of time.monotonic()


_active: ContextVar[_Active | None] = ContextVar("vqcodec_limits", default=None)


@contextmanager
def within(limits: Limits) -> Iterator[None]:
    """Limits on the one file that is worked on within; its time begins now. Within itself the outer ones hold."""
    if _active.get() is not None:
        yield
        return
    end = None if limits.seconds is None else time.monotonic() + limits.seconds
    token = _active.set(_Active(limits, end))
    try:
        yield
    finally:
        _active.reset(token)


def check(extent: Extent, size: int | None = None) -> None:
    """size: bytes of the stream that is decoded. Raises LimitError."""
    active = _active.get()
    if active is None:
        return
    limits = active.limits
    for name, unit in (("pixels", "pixels"), ("samples", "samples"), ("output", "bytes to write"), ("memory", "bytes of memory")):
        value, most = getattr(extent, name), getattr(limits, name)
        if most is not None and value > most:
            _exceeded(name, f"{value} {unit}", f"{most:g}" if isinstance(most, float) else str(most))
    if size and limits.ratio is not None and extent.output > max(RATIO_FROM, limits.ratio * size):
        _exceeded("ratio", f"{extent.output} bytes to write, {extent.output // size} times those of the stream",
                  f"{limits.ratio:g}")


def tick() -> None:
    """Raises LimitError when the time is over."""
    active = _active.get()
    if active is not None and active.end is not None and time.monotonic() > active.end:
        raise out_of_time(active.limits.seconds)


def out_of_time(seconds: float) -> LimitError:
    return LimitError(f"not done after {seconds:g} s ({_raised_by('seconds')})")


def _exceeded(name: str, found: str, most: str) -> None:
    raise LimitError(f"{found}, more than the limit of {most} ({_raised_by(name)})")


def _raised_by(name: str) -> str:
    return f"--limit-{name} raises it, Limits({name}=...) in Python"
