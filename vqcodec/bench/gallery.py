"""How versions of one source are shown side by side in the report's page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """One version: `line` says what it is; `content` as codecs take it."""

    label: str
    line: str
    content: object


class Gallery(ABC):
    note: str  # to the reader
    levels: tuple[float, ...]  # of quality or length: the first at which the page is small enough is taken

    @abstractmethod
    def article(self, title: str, versions: Sequence[Shown], level: float) -> str:
        """HTML. title: HTML too; versions: the original first; what they hold is part of the text."""
