"""Encoding a recording to a target of rate or size: the whole of it as often as it takes, mostly once or twice, after one
estimate by short windows of it (see `indices/target.py`)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from . import stream as streams
from .codec import EncodedSound
from .file import SoundReader
from .levels import Plan
from .pace import Pace
from .probe import BIAS, Probe
from .stream import SoundHeader
from ..indices.quality import quality_of
from ..indices.target import Estimate, Goal, reach

CHUNK_BYTES = 10  # of a chunk, besides what its frames take, about
HELD = 1 << 24  # samples at the model's rate that are kept from one encode to the next
SLOPE = 0.029  # of the logarithm of the rate, a sixteenth; of speech-2 and audio-1 0.025 to 0.031, of all recordings alike


@dataclass
class Recording:
    """A recording that is encoded again and again by a codec, a `torch_codec.TorchAudioCodec`; `header` but for its quality."""

    codec: object
    reader: SoundReader
    header: SoundHeader
    plan: Plan
    weights: tuple[float, ...]
    metadata: bytes | None
    held: list[np.ndarray] | None = field(default=None, init=False)

    def blocks(self) -> Iterator[np.ndarray]:
        """As the model works on them; of longer recordings they are read again."""
        if self.held is None and self.codec.samples(self.header) * self.header.coded_channels <= HELD:
            self.held = list(self.codec.model_rate(self.reader, self.header, self.plan))
        return self.codec.model_rate(self.reader, self.header, self.plan) if self.held is None else iter(self.held)

    def estimate(self) -> Callable[[int], float]:
        """Sixteenths → bytes of the file, about."""
        codec, chunks = self.codec, self.codec.chunks(self.header)
        probe = Probe.of(codec.pieces(self.blocks(), self.header), chunks, codec.model.transform.step)
        overhead = len(streams.pack_header(self.header, self.metadata)) + CHUNK_BYTES * len(chunks)

        def expected(sixteenths: int) -> float:
            present, spent = codec.coder.present(sixteenths), 0
            for unit in probe.latents(lambda *window: codec.latents(*window, sixteenths)):
                spent += sum(map(len, codec.coder.choose(unit, sixteenths, self.weights, present)[1]))
            return overhead + spent * probe.share

        return expected

    def encode(self, sixteenths: int, progress: Callable[[str], object]) -> EncodedSound:
        file, seconds, quality = io.BytesIO(), self.header.length / self.header.rate, quality_of(sixteenths)
        pace = Pace(progress, seconds, f"trying quality {quality:g}: ")
        header = replace(self.header, quality=sixteenths)
        self.codec.encode_blocks(self.blocks(), header, self.plan, file.write, self.weights, self.metadata, pace)
        data = file.getvalue()
        return EncodedSound(data, quality, 8 * len(data) / seconds / 1000)


def encode_to(goal: Goal, recording: Recording, progress: Callable[[str], object]) -> EncodedSound:
    """goal: of bytes of the file if it is an upper bound, else of kbps."""
    kbps_a_byte = 8 * recording.header.rate / recording.header.length / 1000
    expected = recording.estimate()

    def value(length: float) -> float:
        return length if goal.upper_bound else length * kbps_a_byte

    def attempt(sixteenths: int) -> tuple[EncodedSound, float]:
        result = recording.encode(sixteenths, progress)
        return result, value(len(result.data))

    estimate = Estimate(lambda sixteenths: value(expected(sixteenths)), lambda sixteenths: BIAS, times=1, slope=SLOPE)
    result, note = reach(goal, recording.codec.qualities, attempt, estimate=estimate, progress=progress)
    return replace(result, note=note)
