"""The one error family. Every error that a user can cause derives from VqcodecError.

Exit codes: 1 input/output, 2 usage, 3 corrupt stream, 4 unsupported version, unknown model or beyond a limit.
"""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, format, surrogate, line and paragraph separators
_NO_MEMORY = ("can't allocate memory", "not enough memory", "bad allocation", "std::bad_alloc")  # torch on CPUs
_JOINERS = "\u200c\u200d"  # of format characters those that spelling and emoji need


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


class LimitError(UnsupportedError):
    """A file would take, or takes, more than the limits allow (`vqcodec.filelimits`); the message says how to raise them."""


class VqcodecWarning(UserWarning):
    """Something in the input or output was dropped or replaced, and work goes on."""


def out_of_memory(error: BaseException) -> bool:
    """Whether there is not enough memory, by Python's, numpy's or torch's way to say so."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter of torch's devices
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def cause(error: BaseException | None) -> str:
    """First line of an exception's message, or its type."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def shown(name: object) -> str:
    """A name of a file or other foreign text as one line may show it: control characters, line ends and what reorders
    text as escapes, bytes that are no UTF-8 as \\xff; all other Unicode as it is."""
    return "".join(map(_visible, str(name)))


def shown_text(text: str) -> str:
    """Foreign text of several lines: as `shown`, with line ends and tabs as they are."""
    return "\n".join("\t".join(map(shown, line.split("\t"))) for line in text.splitlines())


def one_line(message: object) -> str:
    """A message, which may quote foreign text, as one line that does nothing to a terminal."""
    return shown(" ".join(str(message).splitlines()))


def _visible(character: str) -> str:
    code = ord(character)
    if 0x20 <= code < 0x7F or unicodedata.category(character) not in _HIDDEN or character in _JOINERS:
        return character
    if 0xDC80 <= code <= 0xDCFF:  # a byte that Python could not decode (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
