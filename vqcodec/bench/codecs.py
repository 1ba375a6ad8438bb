"""What a codec is to the benchmark, and how a worker process opens one. The codecs themselves are the media's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from .. import medium

VQCODEC_COLOURS = ("#d6336c", "#a61e4d", "#f06595", "#862e9c")  # in every medium


@dataclass(frozen=True)
class CodecSpec:
    """What a worker process needs to build a codec: the plug-in's name and, for vqcodec, a model and effort."""

    name: str
    model: str | None = None
    models_dir: str | None = None
    effort: int | None = None  # None: what is usual
    medium: str = "picture"

    def open(self) -> BenchCodec:
        return medium.of_key(self.medium).comparison().codecs_by_name()[self.name](self)


class BenchCodec(ABC):
    """uint8[H,W,3] sRGB, or a `Sound`, ⇄ the bytes of a file, at settings that are numbers: more is a larger file."""

    label: str  # of the curve
    extension: str
    colours: tuple[str, ...] = ()  # of its curves in plots; () for what is left
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
