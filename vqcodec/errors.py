"""The one error family. Every error that a user can cause derives from VqcodecError.

Exit codes: 1 input/output, 2 usage, 3 corrupt stream, 4 unsupported version or unknown model.
"""

from __future__ import annotations


class VqcodecError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(VqcodecError):
    """An input cannot be read or an output cannot be written."""

    exit_code = 1


class UsageError(VqcodecError):
    """Arguments or configuration make no sense."""

    exit_code = 2


class CorruptStreamError(VqcodecError):
    """The stream is damaged, truncated or not a vqcodec stream."""

    exit_code = 3


class UnsupportedError(VqcodecError):
    """The stream is of a format version or needs a feature that this release does not know."""

    exit_code = 4


class UnknownModelError(UnsupportedError):
    """The model that a stream or a user names is not installed, or is another one under that name."""


class VqcodecWarning(UserWarning):
    """Something in the input or output was dropped or replaced, and work goes on."""


def cause(error: BaseException | None) -> str:
    """First line of an exception's message, or its type."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def one_line(message: object) -> str:
    return " ".join(str(message).splitlines())
