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
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np

from .. import filelimits
from . import gains as knotted
from . import stream as streams
from ..stream import Sealed, grids_crc
from ..indices.bounds import CDF_BITS
from .config import AudioModelConfig
from ..guard import guarded
from ..errors import CorruptStreamError, UnsupportedError, UsageError, VqcodecWarning
from ..indices.grids import GridReader, SegmentReader
from ..zoo.reading import load_decoder
from ..zoo.schema import FloatNetwork
from ..indices.quality import SIXTEENTHS, checked_quality, checked_sixteenths
from ..zoo.registry import ModelEntry
from .file import Sound, check_shape, resampled
from .resampling import BLOCK_SAMPLES
from .stream import Chunk, SoundHeader
from .synthesis import Synthesis, halo, shapes, white_noise

FADE = 0.01  # seconds, at the edges of what was lost


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
    """A loaded model of sound, which decodes: in NumPy. `TorchAudioCodec` is one that encodes too. Thread-safe: nothing changes
    after `open`."""

    def __init__(self, entry: ModelEntry, model: AudioModelConfig, coder: GridReader, decoder):
        self.entry, self.model, self.coder, self.decoder = entry, model, coder, decoder

    @classmethod
    def open(cls, entry: ModelEntry, *, encoder: bool = True, on_torch: bool = False) -> AudioCodec:
        """Loads a model. With its encoder, or if it shall decode `on_torch`, it is a `torch_codec.TorchAudioCodec`. Raises
        UnsupportedError when `encoder` is asked of a decoder-only model, or for a model of something else than sound."""
        if encoder or on_torch:
            return import_module(f"{__package__}.torch_codec").TorchAudioCodec.load(entry, encoder)
        model, coder, weights = load_decoder(entry, "audio", AudioModelConfig, lambda transform: FloatNetwork(shapes(transform)))
        return cls(entry, model, coder, Synthesis(weights, model.transform))

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

    # --- latents → samples, in pieces --------------------------------------------------------------------

    def _synthesise(self, latents: np.ndarray, first: int, before: int, count: int, sixteenths: int) -> np.ndarray:
        """Latents f32[U,D,1,n], the first of which is frame `first` → f32[count·step,U·C] of `count` frames after `before`."""
        t = self.model.transform
        noise = white_noise(first * t.step, latents.shape[3] * t.step, t.channels)
        parts = [self.decoder(np.ascontiguousarray(unit[:, 0].T), sixteenths, noise)
                 [:, before * t.step : (before + count) * t.step] for unit in latents]
        return np.concatenate(parts).T

    # --- whole recordings --------------------------------------------------------------------------------

    def encode(self, *_arguments, **_options):
        """`TorchAudioCodec` does it. Raises UnsupportedError."""
        raise UnsupportedError(f"model '{self.entry.name}' was opened without its encoder: it cannot encode")

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

    @staticmethod
    def read_gains(chunk: Chunk, frames: int, header: SoundHeader) -> np.ndarray | None:
        """int64[coded channels,n] at the knots of a chunk, None where the stream has none. Raises CorruptStreamError."""
        return knotted.unpack(chunk.payload, header.coded_channels, frames)[0] if header.gains else None

    @guarded
    def read_chunk(self, chunk: Chunk, frames: int, header: SoundHeader, seen=None):
        """Index grids int64[G,U,frames] of a chunk, whose checksum covers its gains too. Raises CorruptStreamError."""
        reader, units, slices = SegmentReader(chunk.payload), self.units(header), self.coder.present(header.quality)
        gains = None
        if header.gains:
            gains, reader.position = knotted.unpack(chunk.payload, header.coded_channels, frames)
        if len(chunk.payload) < self.coder.prior.least_bytes(units * frames, header.quality, slices):
            raise CorruptStreamError(f"the {len(chunk.payload)} bytes of chunk {chunk.number} cannot hold its segments")
        grids = self.coder.joined([self.coder.read(reader, 1, frames, header.quality, seen, slices) for _ in range(units)], 1)
        reader.finish()
        if checksum(np.asarray(grids), gains) != chunk.grids_crc:
            raise CorruptStreamError(f"checksum of the index grids of chunk {chunk.number} does not match: it is damaged")
        return grids

    @guarded
    def decode_grids(self, data: bytes) -> np.ndarray:
        """.vq file → index grids int64[G,U,T], checked against the stream's checksums."""
        return np.concatenate([np.asarray(grids) for grids in self.decode_stream(io.BytesIO(data)).grids()], 2)

    @guarded
    def encode_tokens(self, grids, header: SoundHeader, gains: Sequence[bytes] | None = None) -> EncodedSound:
        """Index grids int[G,U,T] → .vq file that says of itself what `header` says: the inverse of `decode_grids`. gains: of each
        chunk, as `gains.pack` and `inspect` give them; None: the header's alone."""
        checked_sixteenths(1 + header.quality / SIXTEENTHS, self.qualities)
        slices = self.coder.present(header.quality)
        header = replace(header, model_id=self.entry.id, model_hash=self.entry.hash)
        if header.gains and not gains:
            gains = [b"\0"] * len(self.chunks(header))
        if len(gains or ()) != len(self.chunks(header)) * header.gains:
            raise UsageError(f"there are gains of {len(gains or ())} chunks, and not {len(self.chunks(header)) * header.gains}")
        grids = np.asarray(grids)
        expected = (self.coder.groups, self.units(header), self.frames(header))
        if grids.dtype.kind not in "iu" or grids.shape != expected:
            raise UsageError(f"index grids must be integers of shape {expected}, not {grids.dtype} of {grids.shape}")
        whole = self.coder.array(grids.astype(np.int64))
        if self.coder.needed(whole) > slices:
            raise UsageError("index grids hold slices that this quality does not have")
        parts = [streams.pack_header(header)]
        seed = streams.seed_of(header, streams.peek(parts[0])[1])
        for number, (begin, end) in enumerate(self.chunks(header)):
            part = whole[:, :, begin:end]
            values = knotted.unpack(gains[number], header.coded_channels, end - begin)[0] if header.gains else None
            parts.append(packed_chunk(number, part, [self.coder.code(unit[:, None], header.quality, slices)
                                                      for unit in part.swapaxes(0, 1)], seed, values))
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

        def add(step, symbols, _length: int) -> None:
            low, high = np.asarray(step.bounds(symbols)).transpose(2, 0, 1)
            np.add.at(spent[-1], np.asarray(step.positions), (CDF_BITS - np.log2(high - low)).sum(1))

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
        self._gains: np.ndarray | None = None  # of the chunk whose grids were given last

    @guarded
    def grids(self, seen=None, begin: Callable[[], object] | None = None) -> Iterator:
        """Index grids int64[G,U,T] of each chunk, None for one that is lost; `begin()` is called before each, `seen` as
        in `GridCoder.read`."""
        sizes = self.codec.chunks(self.header)
        chunks = streams.ChunkReader(self.file, len(sizes), self.seed, conceal=self.conceal)
        for number, (first, end) in enumerate(sizes):
            if begin:
                begin()
            yield self._grids(chunks, number, end - first, seen)
        chunks.finish()

    def _grids(self, chunks, number: int, frames: int, seen):
        while (chunk := chunks.read(number)) is not None:
            try:
                grids = self.codec.read_chunk(chunk, frames, self.header, seen)
                self._gains = self.codec.read_gains(chunk, frames, self.header)
                return grids
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
        held, first = np.empty((units, dims, 1, 0), np.float32), 0  # latents from frame `first` on
        waiting: list[tuple[int, int, bool, np.ndarray | None]] = []
        before, last = True, None  # whether the chunk before is whole, and its gains

        def flush(known: int) -> Iterator[np.ndarray]:
            nonlocal held, first, before, last
            while waiting and (known >= waiting[0][1] + margin or known == sizes.frames):
                begin, end, whole, gains = waiting.pop(0)
                fades = begin > 0 and before, bool(waiting) and waiting[0][2]
                if header.gains and not whole:
                    gains = _gains_of_lost(last, waiting[0][3] if waiting else None, header.coded_channels, end - begin)
                before, last = whole, gains
                start, stop = max(0, begin - margin), min(known, end + margin)
                held, first = held[..., start - first :], start
                if whole or any(fades):
                    block = codec._synthesise(held[..., : stop - start], start, begin - start, end - begin, header.quality)
                else:
                    block = np.zeros(((end - begin) * codec.model.transform.step, header.coded_channels), np.float32)
                if gains is not None:
                    block = block[:, : header.coded_channels] * knotted.curve(gains, end - begin, codec.model.transform.step)
                yield block if whole else self._silenced(block, begin, end, *fades)

        for grids, (begin, end) in zip(self.grids(), sizes):  # in this order: the end of the file is looked at too
            if grids is None:
                latents = np.zeros((units, dims, 1, end - begin), np.float32)
            else:
                latents = np.asarray(codec.coder.dequantize(grids.swapaxes(0, 1)[:, :, None]))
            held = np.concatenate([held, latents], 3)
            waiting.append((begin, end, grids is not None, None if grids is None else self._gains))
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


def _gains_of_lost(before: np.ndarray | None, behind: np.ndarray | None, channels: int, frames: int) -> np.ndarray:
    """int64[C,n] of a chunk of which nothing is known: at its edges, as its neighbours end and begin."""
    gains = np.zeros((channels, len(knotted.knots(frames))), np.int64)
    if behind is not None:
        gains[:, 1:] = behind[:, :1]
    if before is not None:
        gains[:, :2] = before[:, -1:]
    return gains


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


def checksum(grids: np.ndarray, gains: np.ndarray | None) -> int:
    """Of index grids int[G,U,T] of a chunk, behind its gains int[C,n], if it has any."""
    if gains is None:
        return grids_crc(grids)
    return grids_crc(np.concatenate([(gains - knotted.LEAST).ravel(), grids.ravel()]))


def packed_chunk(number: int, grids, segments: list[list[bytes]], seed: bytes, gains: np.ndarray | None = None) -> bytes:
    """gains: int[C,n] at its knots, None in streams that have none."""
    payload = b"" if gains is None else knotted.pack(gains)
    payload += b"".join(segment for unit in segments for segment in unit)
    return streams.pack_chunk(number, checksum(np.asarray(grids), gains), payload, seed)
