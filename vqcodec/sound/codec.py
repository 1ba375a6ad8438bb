"""Composes the stages for sound; the only place that knows their order there.

    sound file → level, model's rate → encoder → latents → codewords ┐                     ┌ codewords → decoder → …
                                                                     ├ prior ⇄ range coder ┤
                                                chunks of a stream ──┘                     └── chunks of a stream

Everything is done chunk by chunk: a chunk's index grids are coded by themselves, so that damage stays local, while the
transforms look beyond its borders as far as they reach, so that nothing is heard of them. Memory does not grow with
the length of a recording, and what is computed does not depend on how it came in or goes out.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from .. import filelimits
from . import stream as streams
from ..stream import Sealed, grids_crc
from .transform import Decoder, Encoder, halo, white_noise
from ..indices.cdf import CDF_BITS, Step
from .config import AudioModelConfig
from ..guard import guarded
from ..errors import CorruptStreamError, UnsupportedError, UsageError, VqcodecWarning
from ..indices.grids import GridCoder, SegmentReader
from ..zoo.loading import ModelKind, load_model
from ..indices.quality import SIXTEENTHS, checked_quality, checked_sixteenths, quality_of
from ..indices.quantize import RATE_WEIGHT
from ..indices.target import Estimate, Goal, reach
from ..zoo.registry import ModelEntry
from .file import Sound, SoundReader, check_shape, resampled
from .pace import Pace
from .probe import Probe
from .resampling import BLOCK_SAMPLES
from .stream import Chunk, SoundHeader

BLOCK = 1 << 16  # sample frames read at a time
PEAK = 0.5  # of what the encoder is given: the level that models are trained at
GAINS = (-40, 120)  # quarters of a doubling; quieter recordings are not raised further
UNITS = 16  # transformed at a time
CHUNK_BYTES = 10  # of a chunk, besides what its frames take, about
HELD = 1 << 24  # samples at the model's rate that are kept from one encode to the next
FADE = 0.01  # seconds, at the edges of what was lost
KIND = ModelKind("audio", AudioModelConfig, Encoder, Decoder)


@dataclass(frozen=True)
class EncodedSound:
    """A .vq file, the quality it was made at, its kilobits per second, and a note when a target was out of reach."""

    data: bytes
    quality: float
    kbps: float
    note: str | None = None


@dataclass(frozen=True)
class Lost:
    """Seconds [start, end) of a recording that were silenced because their chunk is damaged."""

    start: float
    end: float


@dataclass(frozen=True)
class Level:
    """What has to be known of a whole recording before its first chunk is coded."""

    gain: int
    equal_channels: bool


def level_of(reader: SoundReader) -> Level:
    """One pass over a recording. Raises InputError for damage and for samples that are not numbers."""
    peak, equal = 0.0, True
    for block in reader.blocks(BLOCK):
        peak = max(peak, float(np.abs(block).max(initial=0)))
        equal = equal and bool((block == block[:, :1]).all())
    gain = math.ceil(4 * math.log2(peak / PEAK)) if peak > 0 else 0
    if gain > GAINS[1]:
        raise UsageError(f"samples of up to {peak:g} are too large; ±1 is full scale")
    return Level(max(gain, GAINS[0]), equal)


class Chunks(Sequence):
    """Latent frames [first, end) of each chunk: a header may name far more of them than a list could hold."""

    def __init__(self, frames: int, size: int):
        self.frames, self.size = frames, size

    def __len__(self) -> int:
        return (self.frames + self.size - 1) // self.size

    def __getitem__(self, number: int) -> tuple[int, int]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return number * self.size, min((number + 1) * self.size, self.frames)


class AudioCodec:
    """A loaded model of sound. Thread-safe: nothing changes after `open`."""

    def __init__(self, entry: ModelEntry, model: AudioModelConfig, coder: GridCoder, decoder: Decoder,
                 encoder: Encoder | None):
        self.entry, self.model, self.coder = entry, model, coder
        self.decoder, self.encoder = decoder, encoder

    @classmethod
    @guarded
    def open(cls, entry: ModelEntry, *, encoder: bool = True) -> AudioCodec:
        """Loads a model. Raises UnsupportedError when `encoder` is asked of a decoder-only model, or for a model of
        something else than sound."""
        parts = load_model(entry, encoder, KIND)
        return cls(entry, parts.config, parts.coder, parts.decoder, parts.encoder)

    @property
    def qualities(self) -> int:
        return len(self.model.transform.lambdas)

    @property
    def rate(self) -> int:
        """Hz, of the samples that the model works on."""
        return self.model.transform.sample_rate

    # --- sizes -------------------------------------------------------------------------------------------

    def samples(self, header: SoundHeader) -> int:
        """Samples at the model's rate."""
        return -(-header.length * self.rate // header.rate)

    def frames(self, header: SoundHeader) -> int:
        return -(-self.samples(header) // self.model.transform.step)

    def chunks(self, header: SoundHeader) -> Chunks:
        return Chunks(self.frames(header), self.model.transform.chunk)

    def units(self, header: SoundHeader) -> int:
        """Grids coded side by side: one for as many channels as the model takes at a time."""
        return -(-header.coded_channels // self.model.transform.channels)

    # --- samples ⇄ latents, in pieces --------------------------------------------------------------------

    def _pieces(self, blocks: Iterator[np.ndarray], header: SoundHeader) -> Iterator[tuple[torch.Tensor, int]]:
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

    @torch.inference_mode()
    def _latents(self, piece: torch.Tensor, before: int, count: int, sixteenths: int) -> torch.Tensor:
        """f32[U,D,1,count]"""
        level = torch.tensor([sixteenths / SIXTEENTHS], dtype=torch.float32)
        parts = [self.encoder(units, level.expand(len(units))) for units in piece.split(UNITS)]
        return torch.cat(parts)[..., before : before + count]

    @torch.inference_mode()
    def _synthesise(self, latents: torch.Tensor, first: int, before: int, count: int, sixteenths: int) -> np.ndarray:
        """Latents f32[U,D,1,n], the first of which is frame `first` → f32[count·step,U·C] of `count` frames after `before`."""
        t = self.model.transform
        level = torch.tensor([sixteenths / SIXTEENTHS], dtype=torch.float32)
        noise = white_noise(first * t.step, latents.shape[3] * t.step, t.channels)
        parts = [self.decoder(units, level.expand(len(units)), noise.expand(len(units), -1, -1, -1))
                 [..., before * t.step : (before + count) * t.step] for units in latents.split(UNITS)]
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
        level = level_of(reader)
        header = self._header(reader, level, sixteenths)
        self._encode_blocks(self._model_rate(reader, header), header, write, weights, metadata,
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
            length=reader.length, gain=level.gain)

    def _model_rate(self, reader: SoundReader, header: SoundHeader) -> Iterator[np.ndarray]:
        """Blocks f32[n,coded channels] of a recording, at the level and rate that the model works on."""
        scale = np.float32(2.0 ** (-header.gain / 4))
        blocks = (block[:, : header.coded_channels] * scale for block in reader.blocks(BLOCK))
        return resampled(blocks, reader.rate, self.rate, self.samples(header))

    def _encode_blocks(self, blocks: Iterator[np.ndarray], header: SoundHeader, write: Callable[[bytes], object],
                       weights: tuple[float, ...], metadata: bytes | None, pace: Pace) -> None:
        start = streams.pack_header(header, metadata)
        seed = streams.seed_of(header, streams.peek(start)[1])
        write(start)
        for number, (piece, (begin, end)) in enumerate(zip(self._pieces(blocks, header), self.chunks(header))):
            latents = self._latents(*piece, end - begin, header.quality)
            coded = [self.coder.choose(unit, header.quality, weights, self.coder.present(header.quality)) for unit in latents]
            write(_packed_chunk(number, torch.cat([grids for grids, _ in coded], 1), [s for _, s in coded], seed))
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
        level = level_of(reader)
        header = self._header(reader, level, 0)
        seconds = header.length / header.rate
        held: list[np.ndarray] | None = None
        if self.samples(header) * header.coded_channels <= HELD:
            held = list(self._model_rate(reader, header))

        def blocks() -> Iterator[np.ndarray]:
            return self._model_rate(reader, header) if held is None else iter(held)

        def value(length: float) -> float:
            return length if size is not None else 8 * length / seconds / 1000

        probe = Probe.of(self._pieces(blocks(), header), self.chunks(header), halo(self.model.transform)[0],
                         self.model.transform.step)
        overhead = len(streams.pack_header(header, metadata)) + CHUNK_BYTES * len(self.chunks(header))

        def expected(sixteenths: int) -> float:
            spent = 0
            for piece, before, count in probe.windows:
                for unit in self._latents(piece, before, count, sixteenths):
                    spent += sum(map(len, self.coder.choose(unit, sixteenths, weights, self.coder.present(sixteenths))[1]))
            return value(overhead + spent * probe.share)

        def attempt(sixteenths: int) -> tuple[EncodedSound, float]:
            file, quality = io.BytesIO(), quality_of(sixteenths)
            self._encode_blocks(blocks(), replace(header, quality=sixteenths), file.write, weights, metadata,
                                Pace(progress, seconds, f"trying quality {quality:g}: "))
            data = file.getvalue()
            return EncodedSound(data, quality, 8 * len(data) / seconds / 1000), value(len(data))

        result, note = reach(goal, self.qualities, attempt, estimate=Estimate(expected, times=1), progress=progress)
        return replace(result, note=note)

    def decode_stream(self, file, *, conceal: bool = False) -> DecodedStream:
        """An open .vq file → its samples, block by block. Raises CorruptStreamError, UnsupportedError; damage within a
        chunk only when its samples are asked for, or, with `conceal`, never: such chunks are silent and listed, and of damaged
        metadata there is a warning."""
        start = file.tell()
        header, sealed = streams.read_header(file)
        _check_metadata(file, start, header, sealed, conceal)
        if (header.model_id, header.model_hash) != (self.entry.id, self.entry.hash):
            raise UnsupportedError(f"the stream was made by model {header.model_id}, not by '{self.entry.name}'")
        checked_quality(header.quality, self.qualities)
        first = file.tell()
        size = file.seek(0, io.SEEK_END) - first
        file.seek(first)
        if len(self.chunks(header)) > 1000 + size:  # a chunk has 8 bytes or more; some may be lost
            raise CorruptStreamError(f"{size} bytes cannot hold {header.length} samples at {header.rate} Hz")
        check_shape(header.rate, header.channels, "the stream")
        return DecodedStream(self, file, header, sealed, conceal)

    @guarded
    def decode(self, data: bytes) -> Sound:
        """.vq file → Sound of its original rate, channels and length. Raises as `decode_stream`."""
        stream = self.decode_stream(io.BytesIO(data))
        return Sound(np.concatenate(list(stream.blocks())), stream.header.rate)

    @guarded
    def read_chunk(self, chunk: Chunk, frames: int, header: SoundHeader, seen=None) -> torch.Tensor:
        """Index grids int64[G,U,frames] of a chunk. Raises CorruptStreamError."""
        reader, units, slices = SegmentReader(chunk.payload), self.units(header), self.coder.present(header.quality)
        if len(chunk.payload) < self.coder.prior.least_bytes(units * frames, header.quality, slices):
            raise CorruptStreamError(f"the {len(chunk.payload)} bytes of chunk {chunk.number} cannot hold its segments")
        grids = torch.cat([self.coder.read(reader, 1, frames, header.quality, seen, slices) for _ in range(units)], 1)
        reader.finish()
        if grids_crc(grids.numpy()) != chunk.grids_crc:
            raise CorruptStreamError(f"checksum of the index grids of chunk {chunk.number} does not match: it is damaged")
        return grids

    @guarded
    def decode_grids(self, data: bytes) -> np.ndarray:
        """.vq file → index grids int64[G,U,T], checked against the stream's checksums."""
        return np.concatenate([grids.numpy() for grids in self.decode_stream(io.BytesIO(data)).grids()], 2)

    @guarded
    def encode_tokens(self, grids, header: SoundHeader) -> EncodedSound:
        """Index grids int[G,U,T] → .vq file that says of itself what `header` says: the inverse of `decode_grids`."""
        checked_sixteenths(1 + header.quality / SIXTEENTHS, self.qualities)
        slices = self.coder.present(header.quality)
        header = replace(header, model_id=self.entry.id, model_hash=self.entry.hash)
        grids = np.asarray(grids)
        expected = (self.coder.groups, self.units(header), self.frames(header))
        if grids.dtype.kind not in "iu" or grids.shape != expected:
            raise UsageError(f"index grids must be integers of shape {expected}, not {grids.dtype} of {grids.shape}")
        whole = torch.from_numpy(grids.astype(np.int64))
        if self.coder.needed(whole) > slices:
            raise UsageError("index grids hold slices that this quality does not have")
        parts = [streams.pack_header(header)]
        seed = streams.seed_of(header, streams.peek(parts[0])[1])
        for number, (begin, end) in enumerate(self.chunks(header)):
            part = whole[:, :, begin:end]
            parts.append(_packed_chunk(number, part, [self.coder.code(unit[:, None], header.quality, slices)
                                                      for unit in part.unbind(1)], seed))
        data = b"".join(parts)
        return EncodedSound(data, 1 + header.quality / SIXTEENTHS, kbps(len(data), header))

    def chunk_bytes(self, data: bytes) -> list[int]:
        """Bytes of each chunk of a .vq file, headers included. Raises CorruptStreamError."""
        file = io.BytesIO(data)
        header, sealed = streams.read_header(file)
        count = len(self.chunks(header))
        ends, reader = [file.tell()], streams.ChunkReader(file, count, streams.seed_of(header, sealed))
        for number in range(count):
            reader.read(number)
            ends.append(reader.position)
        return np.diff(ends).tolist()

    @guarded
    def bits_per_frame(self, data: bytes) -> np.ndarray:
        """f64[T]: bits that the index stream spends on each latent frame (ideal code length), over all units."""
        stream, spent = self.decode_stream(io.BytesIO(data)), []

        def add(step: Step, symbols: torch.Tensor, _length: int) -> None:
            mass = step.cdf.diff(dim=2).gather(2, symbols[:, :, None]).squeeze(2)
            np.add.at(spent[-1], step.positions.numpy(), (CDF_BITS - mass.double().log2()).sum(1).numpy())

        sizes = iter(self.chunks(stream.header))
        for _ in stream.grids(lambda *seen: add(*seen), lambda: spent.append(np.zeros(np.subtract(*next(sizes)[::-1])))):
            pass
        return np.concatenate(spent)


class DecodedStream:
    """A .vq file that is being decoded: its `header`, and after `blocks()` has ended, what was `lost`."""

    def __init__(self, codec: AudioCodec, file, header: SoundHeader, sealed: Sealed, conceal: bool):
        self.codec, self.file, self.header, self.conceal = codec, file, header, conceal
        self.seed = streams.seed_of(header, sealed)
        self.lost: list[Lost] = []

    @guarded
    def grids(self, seen=None, begin: Callable[[], object] | None = None) -> Iterator[torch.Tensor | None]:
        """Index grids int64[G,U,T] of each chunk, None for one that is lost; `begin()` is called before each, `seen` as
        in `GridCoder.read`."""
        sizes = self.codec.chunks(self.header)
        chunks = streams.ChunkReader(self.file, len(sizes), self.seed, conceal=self.conceal)
        for number, (first, end) in enumerate(sizes):
            if begin:
                begin()
            yield self._grids(chunks, number, end - first, seen)
        chunks.finish()

    def _grids(self, chunks, number: int, frames: int, seen) -> torch.Tensor | None:
        while (chunk := chunks.read(number)) is not None:
            try:
                return self.codec.read_chunk(chunk, frames, self.header, seen)
            except CorruptStreamError:
                if not self.conceal:
                    raise
                chunks.reject(chunk)  # there may be a whole one behind it
        return None

    @guarded
    def blocks(self) -> Iterator[np.ndarray]:
        """f32[n,channels] at the recording's own rate, `header.length` of them in all."""
        header = self.header
        scale = np.float32(2.0 ** (header.gain / 4))
        coded = header.coded_channels
        samples = (block[:, :coded] * scale for block in self._model_blocks())
        # no block becomes large: few samples of one channel may stand for many of hundreds
        size = max(1, BLOCK_SAMPLES // header.channels)
        for block in resampled(samples, self.codec.rate, header.rate, header.length):
            for first in range(0, len(block), size):
                filelimits.tick()
                part = block[first : first + size]
                yield part if coded == header.channels else np.repeat(part, header.channels, 1)

    def _model_blocks(self) -> Iterator[np.ndarray]:
        """f32[n,U·C] at the model's rate, chunk by chunk: each is decoded when the next one is known."""
        codec, header = self.codec, self.header
        margin = halo(codec.model.transform)[1]
        sizes = codec.chunks(header)
        units, dims = codec.units(header), codec.model.transform.latent_dims
        held, first = torch.empty(units, dims, 1, 0, dtype=torch.float32), 0  # latents from frame `first` on
        waiting: list[tuple[int, int, bool]] = []
        before = True  # whether the chunk before is whole

        def flush(known: int) -> Iterator[np.ndarray]:
            nonlocal held, first, before
            while waiting and (known >= waiting[0][1] + margin or known == sizes.frames):
                begin, end, whole = waiting.pop(0)
                fades = begin > 0 and before, bool(waiting) and waiting[0][2]
                before = whole
                start, stop = max(0, begin - margin), min(known, end + margin)
                held, first = held[..., start - first :], start
                if whole or any(fades):
                    block = codec._synthesise(held[..., : stop - start], start, begin - start, end - begin, header.quality)
                else:
                    block = np.zeros(((end - begin) * codec.model.transform.step, header.coded_channels), np.float32)
                yield block if whole else self._silenced(block, begin, end, *fades)

        for grids, (begin, end) in zip(self.grids(), sizes):  # in this order: the end of the file is looked at too
            if grids is None:
                latents = torch.zeros(units, dims, 1, end - begin, dtype=torch.float32)
            else:
                latents = codec.coder.dequantize(grids.permute(1, 0, 2)[:, :, None])
            held = torch.cat([held, latents], 3)
            waiting.append((begin, end, grids is not None))
            yield from flush(end)

    def _silenced(self, block: np.ndarray, begin: int, end: int, fade_out: bool, fade_in: bool) -> np.ndarray:
        """A lost chunk: nothing but a fade from and to the neighbours that are whole."""
        codec, header = self.codec, self.header
        seconds = codec.model.transform.step / codec.rate
        last = header.length / header.rate
        start, stop = min(begin * seconds, last), min(end * seconds, last)
        if self.lost and self.lost[-1].end >= start:
            start = self.lost.pop().start
        self.lost.append(Lost(start, stop))
        fade = min(round(FADE * codec.rate), len(block) // 2)
        envelope = np.zeros((len(block), 1), np.float32)
        if fade_out:
            envelope[:fade, 0] = np.linspace(1, 0, fade, endpoint=False)
        if fade_in:
            envelope[len(block) - fade :, 0] = np.linspace(0, 1, fade, endpoint=False)
        return block * envelope


def kbps(size: int, header: SoundHeader) -> float:
    """Kilobits per second of a file of `size` bytes."""
    return 8 * size * header.rate / header.length / 1000


def _check_metadata(file, start: int, header: SoundHeader, sealed: Sealed, conceal: bool) -> None:
    """Leaves `file`, in which the stream begins at `start`, where chunk 0 is to be looked for. Raises CorruptStreamError for
    damaged metadata; with `conceal` it warns of them."""
    chunks = start + sealed.end
    file.seek(start)
    try:
        streams.checked_metadata(file.read(sealed.end), sealed)
    except CorruptStreamError as error:
        if not conceal:
            raise
        warnings.warn(f"{error}; they are passed over", VqcodecWarning, stacklevel=3)
        try:
            streams.next_chunk(file, chunks, 0, streams.seed_of(header, sealed))
        except CorruptStreamError:  # bytes are missing, or too many
            chunks = start + sealed.size
    file.seek(chunks)


def _packed_chunk(number: int, grids: torch.Tensor, segments: list[list[bytes]], seed: bytes) -> bytes:
    payload = b"".join(segment for unit in segments for segment in unit)
    return streams.pack_chunk(number, grids_crc(grids.numpy()), payload, seed)
