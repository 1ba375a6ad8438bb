"""Glob patterns on paths below SRC, which have '/' between their parts.

A pattern without '/' matches the name of a file or folder at any depth; one with '/' the whole path from SRC.
'*' and '?' do not cross '/', '**' does, '[...]' is a set of characters. Case matters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UsageError


def compile_glob(pattern: str) -> re.Pattern:
    """Raises UsageError for an empty pattern or a set without end."""
    text = pattern.strip("/")
    if not text:
        raise UsageError(f"'{pattern}' is not a pattern")
    out, i = ("(?s:" if "/" in pattern.rstrip("/") else "(?s:(?:.*/)?"), 0
    while i < len(text):
        if text.startswith("**/", i) and (i == 0 or text[i - 1] == "/"):
            out, i = out + "(?:.*/)?", i + 3
        elif text.startswith("**", i):
            out, i = out + ".*", i + 2
        elif text[i] == "[":
            end = text.find("]", i + 3 if text.startswith("[!", i) else i + 2)
            if end < 0:
                raise UsageError(f"'{pattern}' is not a pattern: '[' has no ']'")
            inside = text[i + 1 : end].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            out += f"(?!/)[{'^' + inside[1:] if inside.startswith('!') else inside}]"
            i = end + 1
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(text[i], re.escape(text[i]))
            i += 1
    try:
        return re.compile(out + r")\Z")
    except re.error as error:
        raise UsageError(f"'{pattern}' is not a pattern ({error})") from None


@dataclass(frozen=True)
class Selection:
    """Which paths take part: those that match an include pattern (or all, without any) and no exclude pattern."""

    include: tuple[re.Pattern, ...] = ()
    exclude: tuple[re.Pattern, ...] = ()
    hidden: bool = False  # names that begin with a dot

    @classmethod
    def of(cls, include=(), exclude=(), hidden: bool = False) -> Selection:
        """From patterns as text. Raises UsageError."""
        return cls(tuple(map(compile_glob, include)), tuple(map(compile_glob, exclude)), hidden)

    def enters(self, folder: str) -> bool:
        """Whether a folder is looked into: an excluded one is left out with all that is in it."""
        hidden = folder.rpartition("/")[2].startswith(".")
        return (self.hidden or not hidden) and not any(pattern.match(folder) for pattern in self.exclude)

    def takes(self, path: str) -> bool:
        """Whether a file takes part, its folders aside."""
        return self.enters(path) and (not self.include or any(pattern.match(path) for pattern in self.include))

    def takes_below(self, path: str) -> bool:
        """As `takes`, and all folders on the way are entered."""
        parts = path.split("/")
        return self.takes(path) and all(self.enters("/".join(parts[:i])) for i in range(1, len(parts)))
