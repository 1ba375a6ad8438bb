"""Encoding a recording to a target of rate or size (see `indices/target.py`).

    a guess, or of longer ones short windows → codewords chosen → … at other qualities → coded, gains fitted → file

What rates recordings have at other qualities, if one is known, is known well; and most of the work of an encode comes behind the
choice of codewords, once.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from . import gains as knotted
from . import stream as streams
from .codec import EncodedSound
from .file import SoundReader
from .levels import Plan
from .pace import Pace
from .probe import BIAS, WORTH, Probe
from .stream import SoundHeader
from ..stream import uvarint
from ..indices.bounds import CDF_BITS
from ..indices.grids import code_symbols, flat
from ..indices.quality import SIXTEENTHS, quality_of
from ..indices.target import Estimate, Goal, reach

if TYPE_CHECKING:
    from .torch_codec import Chosen, TorchAudioCodec

CHUNK_BYTES, CHUNK_HEADER = 10, 6  # of a chunk, besides what its frames take, about; besides that and its length
SEGMENT_BYTES = 0.55  # of a segment, besides what its symbols say, about
HELD = 1 << 24  # samples at the model's rate that are kept from one encode to the next
MOST = 4, 2  # choices; encodes, of longer recordings
# Of the logarithm of what frames take, a sixteenth, by bytes of a unit's frame: of speech-2 and audio-1, on speech to train on. At
# the same rate they are alike.
SLOPES = ((2.0, 0.0262), (3.8, 0.0237), (5.3, 0.0242), (7.4, 0.0278), (10.3, 0.0311), (14.4, 0.0326), (20.0, 0.029), (28.0, 0.0236),
          (39.0, 0.0204), (55.0, 0.0181), (76.0, 0.0165))
USUAL = 12.0  # bytes of a frame at the middle of a model's scale, about
FITTED = 0.1  # bytes of a knot that fitted gains take more, about


@dataclass(frozen=True)
class Attempt:
    """What was chosen for each chunk at a quality, its segments perhaps not coded; the whole file, if it is made."""

    sixteenths: int
    chosen: list[Chosen]
    data: bytes | None = None


@dataclass
class Recording:
    """A recording that is encoded again and again by a codec; `header` but for its quality. spare: bytes that fitted gains are
    expected to take more."""

    codec: TorchAudioCodec
    reader: SoundReader
    header: SoundHeader
    plan: Plan
    weights: tuple[float, ...]
    metadata: bytes | None
    spare: float = 0.0
    held: list[np.ndarray] | None = field(default=None, init=False)
    analysed: list[tuple[list, int]] = field(default_factory=list, init=False)  # of each chunk, and frames before it

    def __post_init__(self):
        if self.codec.samples(self.header) * self.header.coded_channels <= HELD:
            self.held = list(self.codec.model_rate(self.reader, self.header, self.plan))

    @property
    def frames(self) -> int:
        """Of all units."""
        return self.codec.frames(self.header) * self.codec.units(self.header)

    @property
    def overhead(self) -> float:
        """Bytes besides what frames take."""
        return len(streams.pack_header(self.header, self.metadata)) + CHUNK_BYTES * len(self.codec.chunks(self.header)) + self.spare

    def pieces(self):
        """As `TorchAudioCodec.pieces`; longer recordings are read again."""
        held = self.codec.model_rate(self.reader, self.header, self.plan) if self.held is None else iter(self.held)
        return self.codec.pieces(held, self.header)

    def estimate(self) -> Callable[[int], float]:
        """Sixteenths → bytes of the file, about."""
        codec = self.codec
        if codec.frames(self.header) < WORTH:
            return self.usual().__getitem__
        probe = Probe.of(self.pieces(), codec.chunks(self.header), codec.model.transform.step)

        def expected(sixteenths: int) -> float:
            present, spent = codec.coder.present(sixteenths), 0.0
            for unit in probe.latents(lambda *window: codec.latents(*window, sixteenths)):
                spent += sum(map(bytes_of, codec.coder.choose(unit, sixteenths, self.weights, present, coded=flat)[1]))
            return self.overhead + spent * probe.share * math.exp(BIAS)

        return expected

    def usual(self) -> np.ndarray:
        """f64[n]: bytes of the file at all sixteenths, of any recording."""
        return self.extended(SIXTEENTHS * (self.codec.qualities - 1) // 2, self.overhead + USUAL * self.frames)

    def extended(self, place: int, length: float) -> np.ndarray:
        """Bytes of the file at one place, in sixteenths → f64[n] at all, about."""
        logs, places = course()
        here = np.interp(math.log(max(1.0, length - self.overhead) / self.frames), logs, places)
        steps = np.arange(SIXTEENTHS * (self.codec.qualities - 1) + 1) - place
        return self.overhead + self.frames * np.exp(np.interp(here + steps, places, logs))

    def attempt(self, sixteenths: int, progress: Callable[[str], object]) -> tuple[Attempt, float]:
        """(what is chosen, bytes of the file, about; of longer recordings the file)."""
        codec, header = self.codec, replace(self.header, quality=sixteenths)
        pace = self._pace(sixteenths, progress)
        if self.held is None:
            file = io.BytesIO()
            blocks = codec.model_rate(self.reader, self.header, self.plan)
            codec.encode_blocks(blocks, header, self.plan, file.write, self.weights, self.metadata, pace)
            return Attempt(sixteenths, [], file.getvalue()), file.tell()
        chosen, length, coded = [], len(streams.pack_header(header, self.metadata)) + self.spare, None if codec.coder.prior.labels else flat
        self.analysed = self.analysed or [(codec.analysed(piece), before) for piece, before in self.pieces()]
        for (piece, before), (begin, end) in zip(self.analysed, codec.chunks(header)):
            chosen.append(codec.choose(codec.latents_of(piece, before, end - begin, sixteenths), sixteenths, self.weights, coded))
            payload = len(knotted.pack(self.plan.of_chunk(begin, end))) + sum(bytes_of(part) for unit in chosen[-1][1] for part in unit)
            length += CHUNK_HEADER + len(uvarint(round(payload))) + payload
            pace(end * codec.model.transform.step / codec.rate)
        return Attempt(sixteenths, chosen), length

    def finish(self, attempt: Attempt) -> tuple[Attempt, float]:
        """(the file, its bytes)"""
        data = attempt.data
        if data is None:
            file = io.BytesIO()
            coded = ((grids, [[as_segment(part) for part in unit] for unit in units]) for grids, units in attempt.chosen)
            self.codec.write_chosen(zip(self.pieces(), coded), replace(self.header, quality=attempt.sixteenths), self.plan,
                                    file.write, self.metadata, self._pace(attempt.sixteenths, lambda text: None))
            data = file.getvalue()
        return Attempt(attempt.sixteenths, attempt.chosen, data), len(data)

    def _pace(self, sixteenths: int, progress: Callable[[str], object]) -> Pace:
        return Pace(progress, self.header.length / self.header.rate, f"trying quality {quality_of(sixteenths):g}: ")


@functools.cache
def course() -> tuple[np.ndarray, np.ndarray]:
    """(logarithms f64[n] of bytes of a frame, rising; how many sixteenths each lies above the first)"""
    logs = np.linspace(math.log(0.02), math.log(2000), 1000)
    slopes = np.interp(logs, np.log([rate for rate, _ in SLOPES]), [slope for _, slope in SLOPES])
    return logs, np.cumsum((logs[1] - logs[0]) / slopes)


def bytes_of(part: bytes | np.ndarray) -> float:
    """Of a segment; about, of the bounds int32[N,2] of its symbols."""
    if isinstance(part, bytes):
        return len(part)
    return float((CDF_BITS - np.log2(part[:, 1] - part[:, 0])).sum()) / 8 + SEGMENT_BYTES * (len(part) > 0)


def as_segment(part: bytes | np.ndarray) -> bytes:
    return part if isinstance(part, bytes) else code_symbols(part)


def encode_to(goal: Goal, recording: Recording, progress: Callable[[str], object]) -> EncodedSound:
    """goal: of bytes of the file if it is an upper bound, else of kbps."""
    kbps_a_byte = 8 * recording.header.rate / recording.header.length / 1000
    unit = 1.0 if goal.upper_bound else kbps_a_byte
    recording.spare = 0 if recording.held is None else FITTED * recording.plan.values.size
    expected = recording.estimate()

    def valued(pair: tuple[Attempt, float]) -> tuple[Attempt, float]:
        return pair[0], pair[1] * unit

    def finish(attempt: Attempt) -> tuple[Attempt, float]:
        return valued(recording.finish(attempt))

    start = int(np.abs(recording.usual() - goal.value / unit).argmin())
    estimate = Estimate(lambda sixteenths: unit * expected(sixteenths), times=1, start=start,
                        extended=lambda place, value: unit * recording.extended(place, value / unit))
    result, note = reach(goal, recording.codec.qualities, lambda sixteenths: valued(recording.attempt(sixteenths, progress)),
                         estimate=estimate, most=MOST[recording.held is None], finish=finish, progress=progress)
    return EncodedSound(result.data, quality_of(result.sixteenths), len(result.data) * kbps_a_byte, note)
