"""What a medium answers to the benchmark, in one object: its sources, codecs and metrics, and how it is shown.

`vqcodec.medium` lists the media; one whose `comparison()` is None is not compared."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import medium as media
from ..errors import InputError, UsageError, VqcodecError, one_line
from .codecs import BenchCodec, CodecSpec
from .gallery import Gallery
from .metrics import Metric

if TYPE_CHECKING:
    import numpy as np

    from .probes import Probed
    from .published import Published


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


class Comparison(ABC):
    """Its module imports no numpy, torch or Pillow before a method needs them: `--help` asks for the names."""

    key: str  # the medium's
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
    more_codecs: tuple[str, ...]  # what else there is
    metrics: tuple[str, ...]  # by default, as far as they suit and are installed
    more_metrics: tuple[str, ...]
    lossless: bool = False  # all codecs give back what they got: one setting each, and sizes are compared at equal quality
    common: bool = False  # its files lie beside those of others: a folder is theirs
    efforts: int = 0  # of vqcodec's encoder, counted from 0; 0: it has none
    usual_effort: int | None = None
    packages: tuple[str, ...]  # whose versions a report states
    beside: tuple[str, ...]  # side by side: first the one that sets the size
    compare: tuple[float, ...]  # rates side by side, by default

    @abstractmethod
    def codecs_by_name(self) -> dict[str, type[BenchCodec]]: ...

    @abstractmethod
    def metrics_by_name(self) -> dict[str, type[Metric]]: ...

    @abstractmethod
    def gallery(self) -> Gallery: ...

    @abstractmethod
    def read(self, path: str | Path):
        """Samples as codecs and metrics take them. Raises VqcodecError."""

    @abstractmethod
    def source(self, path: Path, content) -> Source: ...

    @abstractmethod
    def conformed(self, decoded, original):
        """`decoded` in the shape of the original. Raises ValueError where it is another thing."""

    def published(self, sources: list) -> list[Published]:
        """Curves that others published. Raises UsageError where the sources are not those that they are of."""
        return []

    @abstractmethod
    def metric_names(self, asked: tuple[str, ...] | None, sources: list, codecs: list[BenchCodec]) -> list[str]:
        """What to measure: as asked, or None for what suits these sources and codecs."""

    def probed(self, codecs: list[BenchCodec], sources: list) -> list[Probed]:
        """What the codecs make of content made by program, for faults that the metrics above do not see."""
        return []

    @abstractmethod
    def summary(self, sources: list) -> str:
        """Their sizes in a few words."""

    def specs(self, names: Iterable[str], models: Iterable[str | None], models_dir: Path | None,
              effort: int | None) -> list[CodecSpec]:
        """One per curve: every model of vqcodec is a curve of its own. Raises UsageError for unknown names, and for an
        effort that the encoder has not."""
        if effort is not None and effort not in range(self.efforts):
            *some, last = (c.nouns for c in comparisons() if c.efforts)
            raise UsageError(f"--effort of {self.nouns} is 0 to {self.efforts - 1}" if self.efforts else
                             f"--effort is for {', '.join(some)} and {last} only")
        effort = self.usual_effort if effort is None else effort
        found = []
        for name in names:
            if name not in (codecs := self.codecs_by_name()):
                raise UsageError(f"unknown codec '{name}' (for {self.key}s there are {', '.join(codecs)})")
            if name == "vqcodec":
                folder = None if models_dir is None else str(models_dir)
                found += [CodecSpec(name, model, folder, effort, self.key) for model in models]
            else:
                found.append(CodecSpec(name, medium=self.key))
        return list(dict.fromkeys(found))

    def ready(self, names: Iterable[str]) -> list[Metric]:
        """The metrics of these names, ready to measure. Raises UsageError, or InputError for a missing package."""
        there = self.metrics_by_name()
        for name in names:
            if name not in there:
                raise UsageError(f"unknown metric '{name}' (for {self.key}s there are {', '.join(there)})")
        found = [there[name]() for name in dict.fromkeys(names)]
        for metric in found:
            metric.load()
        return found

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


def comparisons() -> list[Comparison]:
    """Of all media that are compared."""
    return [found for medium in media.media() if (found := medium.comparison()) is not None]


def of_key(key: str) -> Comparison:
    """Of the medium of that name. Raises UsageError."""
    if (found := media.of_key(key).comparison()) is None:
        raise UsageError(f"medium '{key}' cannot be compared (there are {', '.join(c.key for c in comparisons())})")
    return found


def of_folder(folder: Path) -> Comparison:
    """What a folder or a file holds, by the names. Raises UsageError for a folder that holds several media."""
    known = comparisons()
    paths = list(folder.iterdir()) if folder.is_dir() else [folder]
    found = [c for c in known if any(p.suffix.lower() in c.suffixes for p in paths)]
    found = [c for c in found if not c.common] or found
    if len(found) > 1:
        choices = " or ".join(f"--medium {c.key}" for c in found)
        raise UsageError(f"{folder} holds {' and '.join(c.nouns for c in found)}: choose with {choices}")
    return found[0] if found else known[0]
