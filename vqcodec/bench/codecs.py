"""What a codec is to the benchmark, and how a worker process opens one. Each medium has its codecs in a module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError


@dataclass(frozen=True)
class CodecSpec:
    """What a worker process needs to build a codec: the plug-in's name and, for vqcodec, a model and effort."""

    name: str
    model: str | None = None
    models_dir: str | None = None
    effort: int = 2
    medium: str = "picture"

    def open(self) -> BenchCodec:
        return known(self.medium)[self.name](self)


class BenchCodec(ABC):
    """uint8[H,W,3] sRGB, or a `Sound`, ⇄ the bytes of a file, at settings that are numbers: more is a larger file."""

    label: str  # of the curve
    extension: str
    note: str  # every option that matters, for the reader of a report
    settings: tuple[float, ...]  # of the sweep, rising
    fine: tuple[float, ...]  # all that a search for a file size may use, rising

    def __init__(self, spec: CodecSpec):
        self.spec = spec

    @property
    @abstractmethod
    def version(self) -> str:
        """Of the library that does the work, and whatever else decides about the bytes."""

    @abstractmethod
    def encode(self, original, setting: float) -> bytes: ...

    @abstractmethod
    def decode(self, data: bytes): ...

    def size(self, data: bytes) -> int:
        """The bytes of a file that count: all, where not said otherwise."""
        return len(data)

    def describe(self, setting: float) -> str:
        return f"quality {setting:g}"


def known(medium: str) -> dict[str, type[BenchCodec]]:
    """The codecs of a medium by name."""
    from ..picture import peers as picture_codecs
    from ..sound import peers as sound_codecs

    return {"picture": picture_codecs.CODECS, "sound": sound_codecs.CODECS}[medium]


def specs(medium: str, names: Iterable[str], models: Iterable[str | None], models_dir: Path | None,
          effort: int) -> list[CodecSpec]:
    """One per curve: every model of vqcodec is a curve of its own. Raises UsageError for unknown names."""
    found = []
    for name in names:
        if name not in (codecs := known(medium)):
            raise UsageError(f"unknown codec '{name}' (for {medium}s there are {', '.join(codecs)})")
        if name == "vqcodec":
            folder = None if models_dir is None else str(models_dir)
            found += [CodecSpec(name, model, folder, effort, medium) for model in models]
        else:
            found.append(CodecSpec(name, medium=medium))
    return list(dict.fromkeys(found))
