"""Signals that end a program, as exceptions: so that temporary files go and outputs are whole or not there."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import contextmanager

_ENDING = {"SIGTERM": "terminated", "SIGHUP": "hung up"}  # Windows has no SIGHUP
_RETRY = 0.01  # seconds


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; the exit code is that of shells."""

    def __init__(self, number: int):
        super().__init__(_ENDING[signal.Signals(number).name])
        self.exit_code = 128 + number


@contextmanager
def as_exceptions():
    """SIGTERM and SIGHUP raise Terminated meanwhile, once, in the main thread; Ctrl-C raises KeyboardInterrupt as ever.
    Nothing changes in other threads, or for a signal that is ignored (nohup) or has a handler of its own."""
    before = {}
    try:
        for number in _numbers():
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, _terminate)
        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            before[signal.SIGINT] = signal.signal(signal.SIGINT, _interrupt)
    except ValueError:  # not the main thread
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def calling(stop: Callable[[], object]):
    """SIGTERM and Ctrl-C call `stop` meanwhile, whatever they did before. In the main thread only, else ValueError."""
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _numbers() -> list[int]:
    return [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]


def _terminate(number: int, frame) -> None:
    if _swallows(frame):
        _again(number)
        return
    for other in _numbers():  # what cleans up now is not to be stopped
        if signal.getsignal(other) == _terminate:
            signal.signal(other, _late)
    raise Terminated(number)


def _late(number: int, frame) -> None:
    """Not SIG_IGN, which child processes would inherit."""


def _interrupt(number: int, frame) -> None:
    if _swallows(frame):
        _again(number)
        return
    raise KeyboardInterrupt


def _swallows(frame) -> bool:
    """Whether libsndfile is reading or writing by way of Python: exceptions do not come through it."""
    while frame is not None:
        code = frame.f_code
        if code.co_name.startswith("vio_") and code.co_filename.endswith("soundfile.py"):
            return True
        frame = frame.f_back
    return False


def _again(number: int) -> None:
    """The signal once more, in a moment."""
    import _thread
    import threading

    timer = threading.Timer(_RETRY, _thread.interrupt_main, (number,))
    timer.daemon = True
    timer.start()
