"""What differs between pictures and sounds, in one object for each."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, UsageError, VqcodecError, one_line
from .codecs import BenchCodec


@dataclass(frozen=True)
class Source(ABC):
    """A readable file. `digest` is of its samples, so that another file of the same content is the same."""

    name: str
    path: str
    digest: str

    @property
    @abstractmethod
    def extent(self) -> float:
        """What bits are counted on, in the unit that the rate is a quotient by: pixels or milliseconds."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """For tables: name and value of each dimension."""

    def rate(self, size: int) -> float:
        """Of a file of `size` bytes, in the medium's unit."""
        return 8 * size / self.extent


class Medium(ABC):
    key: str
    noun: str
    nouns: str
    rate_unit: str
    rate_name: str  # on the axis
    log_rate: bool  # axis
    highest_shown: float  # rate
    speed_name: str  # of seconds of work on `speed_extent`
    speed_extent: float
    compared: str  # what quality is of
    suffixes: tuple[str, ...]
    codecs: tuple[str, ...]  # by default
    beside: tuple[str, ...]  # side by side: first the one that sets the size
    compare: tuple[float, ...]  # rates side by side, by default

    @abstractmethod
    def read(self, path: str | Path):
        """Samples as codecs and metrics take them. Raises VqcodecError."""

    @abstractmethod
    def source(self, path: Path, content) -> Source: ...

    @abstractmethod
    def conformed(self, decoded, original):
        """`decoded` in the shape of the original. Raises ValueError where it is another thing."""

    @abstractmethod
    def metric_names(self, asked: tuple[str, ...] | None, sources: list, codecs: list[BenchCodec]) -> list[str]:
        """What to measure: as asked, or None for what suits these sources and codecs."""

    @abstractmethod
    def summary(self, sources: list) -> str:
        """Their sizes in a few words."""

    def find(self, folder: Path) -> tuple[list, list[tuple[str, str]]]:
        """(sources, [(name, why it cannot be read)]) of a folder, sorted by name, or of a single file.

        Raises InputError where there is nothing to read at all."""
        if folder.is_file():
            paths = [folder]
        elif folder.is_dir():
            paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in self.suffixes and p.is_file())
        else:
            raise InputError(f"{folder}: no such folder")
        if not paths:
            raise InputError(f"{folder}: there are no {self.nouns} in it")
        good, bad = [], []
        for path in paths:
            try:
                good.append(self.source(path, self.read(path)))
            except VqcodecError as error:
                bad.append((path.name, one_line(error).removeprefix(f"{path}: ")))
        return good, bad


def digest_of(samples: np.ndarray, *more) -> str:
    return hashlib.sha256("".join(map(repr, (samples.shape, *more))).encode() + samples.tobytes()).hexdigest()


def medium(key: str) -> Medium:
    """By key, "picture" or "sound"."""
    from ..picture import bench as pictures
    from ..sound import bench as sounds

    return {"picture": pictures.Pictures, "sound": sounds.Sounds}[key]()


def medium_of(folder: Path) -> Medium:
    """What a folder or a file holds, by the names. Raises UsageError for a folder that holds both."""
    both = [medium("picture"), medium("sound")]
    paths = list(folder.iterdir()) if folder.is_dir() else [folder]
    found = [m for m in both if any(p.suffix.lower() in m.suffixes for p in paths)]
    if len(found) > 1:
        raise UsageError(f"{folder} holds pictures and recordings: choose with --medium picture or --medium sound")
    return found[0] if found else both[0]
