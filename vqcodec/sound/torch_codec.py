"""The codec of sound in torch, which encodes; `codec.py` tells how the stages hang together, and has all that needs no torch."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from . import stream as streams
from .aiming import Recording, encode_to
from .codec import AudioCodec, EncodedSound, kbps, packed_chunk
from .transform import Decoder, Encoder, halo, white_noise
from . import levels
from .config import AudioModelConfig, AudioTransformConfig
from .fitting import Fitting
from .highpass import high_passed
from ..guard import guarded
from ..errors import UnsupportedError, UsageError
from ..indices.choosing import GridCoder
from ..zoo.loading import ModelKind, load_model
from ..indices.quality import SIXTEENTHS, checked_sixteenths, quality_of
from ..indices.quantize import RATE_WEIGHT
from ..indices.target import Goal
from ..zoo.registry import ModelEntry
from .file import Sound, SoundReader, resampled
from .pace import Pace
from .stream import SoundHeader

BLOCK = 1 << 16  # sample frames read at a time
PEAK = 0.5  # of what the encoder is given: the level that models are trained at
TOO_LOUD = 1e12
GAINS = (-40, 120)  # quarters of a doubling; quieter recordings are not raised further
UNITS = 16  # transformed at a time
Piece = tuple[torch.Tensor, int]  # samples f32[U,C,1,n·step] of a chunk and around it, and frames of these before it
Chosen = tuple[torch.Tensor, list[list[bytes]]]  # grids int64[G,U,T] of a chunk, and segments of each unit, or what they are made of
KIND = ModelKind("audio", AudioModelConfig, Encoder, Decoder)


@dataclass(frozen=True)
class Level:
    """What has to be known of a whole recording before its first chunk is coded: the gain of all of it, and one that follows
    the level of each coded channel."""

    gain: int
    equal_channels: bool
    plan: levels.Plan


def level_of(reader: SoundReader, t: AudioTransformConfig) -> Level:
    """One pass over a recording. Raises InputError for damage and for samples that are not numbers."""
    peak, equal = 0.0, True
    at = levels.positions(-(-reader.length * t.sample_rate // (reader.rate * t.step)), t.chunk)
    meter = levels.Meter(reader.channels, at, t.step * reader.rate / t.sample_rate)
    for block in reader.blocks(BLOCK):
        peak = max(peak, float(np.abs(block).max(initial=0)))
        equal = equal and bool((block == block[:, :1]).all())
        if peak < TOO_LOUD:
            meter.add(block)
    gain = math.ceil(4 * math.log2(peak / PEAK)) if peak > 0 else 0
    if gain > GAINS[1]:
        raise UsageError(f"samples of up to {peak:g} are too large; ±1 is full scale")
    gain = max(gain, GAINS[0])
    found = meter.finish()[: 1 if equal else None]
    return Level(gain, equal, levels.Plan(at, levels.followed(found, gain, t.channels)))


class TorchAudioCodec(AudioCodec):
    """A loaded model of sound. Thread-safe: nothing changes after `load`."""

    def __init__(self, entry: ModelEntry, model: AudioModelConfig, coder: GridCoder, decoder: Decoder,
                 encoder: Encoder | None):
        super().__init__(entry, model, coder, decoder)
        self.encoder = encoder

    @classmethod
    @guarded
    def load(cls, entry: ModelEntry, encoder: bool) -> TorchAudioCodec:
        """As `AudioCodec.open`, with or without its encoder."""
        parts = load_model(entry, encoder, KIND)
        return cls(entry, parts.config, parts.coder, parts.decoder, parts.encoder)

    # --- samples ⇄ latents, in pieces --------------------------------------------------------------------

    def pieces(self, blocks: Iterator[np.ndarray], header: SoundHeader) -> Iterator[Piece]:
        """For each chunk, (samples f32[U,C,1,n·step] of its frames and those within the encoder's reach, frames of these
        before its own); `blocks` f32[n,channels] at the model's rate, which end with the recording."""
        step, margin = self.model.transform.step, halo(self.model.transform)[0]
        frames = self.frames(header)
        held, first = np.empty((0, header.coded_channels), np.float32), 0  # from frame `first` on
        for begin, end in self.chunks(header):
            start, stop = max(0, begin - margin), min(frames, end + margin)
            held, first = held[(start - first) * step :], start
            parts = [held]
            missing = (stop - start) * step - len(held)
            while missing > 0:
                block = next(blocks, None)
                if block is None:  # the last frame is filled up with silence
                    block = np.zeros((missing, header.coded_channels), np.float32)
                parts.append(block[:, : header.coded_channels])
                missing -= len(block)
            held = np.concatenate(parts)
            yield self._to_units(held[: (stop - start) * step]), begin - start

    def _to_units(self, samples: np.ndarray) -> torch.Tensor:
        """f32[n,channels] → f32[U,C,1,n]; a last channel without a partner is doubled."""
        width = self.model.transform.channels
        if samples.shape[1] % width:
            samples = np.concatenate([samples, samples[:, -1:]], 1)
        rows = np.ascontiguousarray(samples.T).reshape(-1, width, 1, len(samples))
        return torch.from_numpy(rows)

    def latents(self, piece: torch.Tensor, before: int, count: int, sixteenths: int) -> torch.Tensor:
        """f32[U,D,1,count]"""
        return self.latents_of(self.analysed(piece), before, count, sixteenths)

    @torch.inference_mode()
    def analysed(self, piece: torch.Tensor) -> list:
        """Of samples f32[U,C,1,n·step], what latents of all qualities are made of."""
        return [self.encoder.analysed(units) for units in piece.split(UNITS)]

    @torch.inference_mode()
    def latents_of(self, analysed: list, before: int, count: int, sixteenths: int) -> torch.Tensor:
        """f32[U,D,1,count]"""
        level = torch.tensor([sixteenths / SIXTEENTHS], dtype=torch.float32)
        parts = [self.encoder.latents(units, level.expand(len(units[0]))) for units in analysed]
        return torch.cat(parts)[..., before : before + count]

    @torch.inference_mode()
    def _synthesise(self, latents: np.ndarray, first: int, before: int, count: int, sixteenths: int, phases: np.ndarray) -> np.ndarray:
        """As `AudioCodec._synthesise`."""
        t = self.model.transform
        level = torch.tensor([sixteenths / SIXTEENTHS], dtype=torch.float32)
        noise = white_noise(first * t.step, latents.shape[3] * t.step, t.channels)
        parts = [self.decoder(units, level.expand(len(units)), noise.expand(len(units), -1, -1, -1), phases[i * UNITS :])
                 [..., before * t.step : (before + count) * t.step] for i, units in enumerate(torch.from_numpy(latents).split(UNITS))]
        return torch.cat(parts).reshape(-1, count * t.step).T.numpy()

    # --- whole recordings --------------------------------------------------------------------------------

    @guarded
    def encode_stream(self, reader: SoundReader, write: Callable[[bytes], object], quality: float, *,
                      effort: int | None = None, metadata: bytes | None = None,
                      progress: Callable[[str], object] = lambda text: None) -> SoundHeader:
        """Encodes a recording, handing the parts of its .vq file to `write` as they are made.

        `quality` in 1..`qualities`, in sixteenths; `effort`: 0 takes the nearest codewords, anything else (None: 1) those
        of the best trade of distance for bits; `metadata` as `vqcodec.metadata` packs them; `progress` is told how far it is.
        Raises UsageError, and InputError from the reader."""
        weights = self._check_encoding(effort)
        sixteenths = checked_sixteenths(quality, self.qualities)
        level = level_of(reader, self.model.transform)
        header = self._header(reader, level, sixteenths)
        self.encode_blocks(self.model_rate(reader, header, level.plan), header, level.plan, write, weights, metadata,
                           Pace(progress, header.length / header.rate))
        return header

    def _check_encoding(self, effort: int | None) -> tuple[float, ...]:
        """What a bit is worth in each slice. Raises UnsupportedError, UsageError."""
        if self.encoder is None:
            raise UnsupportedError(f"model '{self.entry.name}' was opened without its encoder: it cannot encode")
        if effort is not None and not 0 <= effort <= 5:
            raise UsageError(f"effort must be 0..5, not {effort}")
        return (0.0 if effort == 0 else RATE_WEIGHT,) * len(self.coder.layouts)

    def _header(self, reader: SoundReader, level: Level, sixteenths: int) -> SoundHeader:
        return SoundHeader(
            model_id=self.entry.id, model_hash=self.entry.hash, quality=sixteenths, rate=reader.rate,
            channels=reader.channels, coded_channels=1 if level.equal_channels else reader.channels,
            length=reader.length, gain=level.gain, gains=True)

    def model_rate(self, reader: SoundReader, header: SoundHeader, plan: levels.Plan) -> Iterator[np.ndarray]:
        """Blocks f32[n,coded channels] of a recording, at the level and rate that the model works on."""
        scale = np.float32(2.0 ** (-header.gain / 4))
        blocks = (block[:, : header.coded_channels] * scale for block in reader.blocks(BLOCK))
        blocks, done = resampled(blocks, reader.rate, self.rate, self.samples(header)), 0
        for block in high_passed(blocks, self.rate):
            yield block * plan.scale(done, len(block), self.model.transform.step)
            done += len(block)

    def encode_blocks(self, blocks: Iterator[np.ndarray], header: SoundHeader, plan: levels.Plan,
                      write: Callable[[bytes], object], weights: tuple[float, ...], metadata: bytes | None, pace: Pace) -> None:
        """From the header on, `blocks` being those of `model_rate`."""
        pieces, chunks = self.pieces(blocks, header), self.chunks(header)
        chosen = ((piece, self.choose(self.latents(*piece, end - begin, header.quality), header.quality, weights))
                  for piece, (begin, end) in zip(pieces, chunks))
        self.write_chosen(chosen, header, plan, write, metadata, pace)

    @guarded
    def choose(self, latents: torch.Tensor, sixteenths: int, weights: tuple[float, ...], coded=None) -> Chosen:
        """Of the latents f32[U,D,1,T] of a chunk. coded: as `GridCoder.choose` has it."""
        present = self.coder.present(sixteenths)
        found = [self.coder.choose(unit, sixteenths, weights, present, coded=coded) for unit in latents]
        return torch.cat([grids for grids, _ in found], 1), [segments for _, segments in found]

    @guarded
    def write_chosen(self, chosen: Iterable[tuple[Piece, Chosen]], header: SoundHeader, plan: levels.Plan,
                     write: Callable[[bytes], object], metadata: bytes | None, pace: Pace) -> None:
        """The stream of each chunk's samples and what is chosen for them."""
        start = streams.pack_header(header, metadata)
        seed = streams.seed_of(header, streams.peek(start)[1])
        write(start)
        fitting = Fitting(self, header, plan)
        for (piece, choice), (_, end) in zip(chosen, self.chunks(header)):
            for number, grids, segments, gains in fitting.add(*piece, *choice):
                write(packed_chunk(number, grids, segments, seed, gains))
            pace(end * self.model.transform.step / self.rate)

    @guarded
    def encode(self, sound: Sound, quality: float, *, effort: int | None = None) -> EncodedSound:
        """Sound → .vq file; as `encode_stream`."""
        file = io.BytesIO()
        header = self.encode_stream(SoundReader.of(sound), file.write, quality, effort=effort)
        data = file.getvalue()
        return EncodedSound(data, quality_of(header.quality), kbps(len(data), header))

    @guarded
    def encode_to_target(self, reader: SoundReader, *, kbps: float | None = None, size: int | None = None,
                         effort: int | None = None, metadata: bytes | None = None,
                         progress: Callable[[str], object] = lambda text: None) -> EncodedSound:
        """Of the one target given: a quality whose rate is within 3 %, or else the nearest, or for `size` (bytes), an upper
        bound, one whose result is within 3 % below it, or else nearest. Mostly by one or two encodes (see `indices/target.py`),
        for each of which longer recordings are read again."""
        if (kbps is None) == (size is None):
            raise UsageError("give exactly one of kbps and size")
        goal = Goal(kbps, "kbps") if size is None else Goal(float(size), "bytes", upper_bound=True)
        weights = self._check_encoding(effort)
        level = level_of(reader, self.model.transform)
        recording = Recording(self, reader, self._header(reader, level, 0), level.plan, weights, metadata)
        return encode_to(goal, recording, progress)
