"""Streams that nobody's encoder has made: of pictures and of sound, below checksums that fit."""

from __future__ import annotations

import io
import random
import zlib
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from conftest import make_tiny_audio_model, make_tiny_model, synthetic_picture, synthetic_sound
from helpers import assert_consistent, joined, mutate, mutate_stream, sealed, tabled

from vqcodec import medium, metadata
from vqcodec.errors import UsageError
from vqcodec.fileio import Source
from vqcodec.filelimits import check
from vqcodec.picture import codec as codec_module
from vqcodec.picture import stream as container
from vqcodec.picture.codec import Codec
from vqcodec.picture.file import Picture, write_picture
from vqcodec.sound import stream as sound_container
from vqcodec.sound.codec import AudioCodec
from vqcodec.sound.file import Sound
from vqcodec.zoo import registry

BAND_SIZES = (8, codec_module.BAND_POSITIONS)  # small bands make small files of many bands
SAMPLE = metadata.Metadata(exif=b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\1\0\0\0\0\0\0", xmp=b"<x:xmpmeta/>", icc=bytes(200),
                           density=(2835, 2835), tags=(("artist", "A"), ("title", "\u00e9")), modified=1_700_000_000_000_000_000)


def damaged_metadata(rng: random.Random) -> bytes:
    """Metadata whose items are damaged and deflated again, or whose deflated bytes are."""
    packed = metadata.pack(SAMPLE)
    if rng.random() < 0.3:
        return mutate(rng, packed) or b"\0"
    items = zlib.decompress(packed)
    if rng.random() < 0.05:
        items *= rng.choice((2, 1 << 10, 1 << 15))  # the last beyond what is inflated
    return zlib.compress(mutate(rng, items), rng.randint(len(items) > 1 << 20, 9))


class Pictures:
    """Streams of pictures."""

    kinds: ClassVar = {"bytes": 5, "fields": 5, "sealed": 2, "metadata": 1, "claims": 0.05}

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        if entry is None:
            make_tiny_model(folder)
            entry = registry.find_by_name("tiny", folder)
        self.codec, self.rng, self.files = Codec.open(entry), rng, {}
        for size in BAND_SIZES:
            codec_module.BAND_POSITIONS = size
            self.files[size] = self._corpus()

    def _corpus(self) -> list[bytes]:
        """Files of small pictures: several sizes and qualities, grey, each kind of alpha, with plain blocks in some or all of it,
        with a tint, with and without a table of segment lengths."""
        y, x = np.mgrid[:40, :50]
        alphas = (None, np.where(x > y, 255, 0), 5 * x + y, np.full_like(x, 77), None)
        files = []
        for i, (height, width) in enumerate(((1, 1), (24, 32), (17, 16), (40, 50), (3, 50))):
            for quality in (1, 1.4375, self.codec.qualities):
                alpha = alphas[(i + int(quality)) % len(alphas)]
                alpha = None if alpha is None else np.ascontiguousarray(alpha[:height, :width].astype(np.uint8))
                picture = Picture(synthetic_picture(height, width, i), alpha, i == 2)
                if i == 3:
                    picture.rgb[:, 16:] = (250, 250, 240)
                    picture.rgb[5:9, 20:44] = 30
                files.append(self.codec.encode(picture, quality).data)
                files.append(container.pack(tabled(self.codec, files[-1])))
        scan = np.full((40, 50, 3), (251, 249, 236), np.uint8) - np.random.default_rng(1).integers(0, 6, (40, 50, 1), np.uint8)
        for picture in (Picture(np.full((40, 50, 3), 200, np.uint8)), Picture(scan)):
            files.append(self.codec.encode(picture, 2).data)
        return files

    def make(self, kind: str) -> bytes | None:
        """One input; None where this draw has none."""
        rng, codec = self.rng, self.codec
        size = rng.choice(BAND_SIZES)
        codec_module.BAND_POSITIONS = BAND_SIZES[-1] if kind == "claims" else size
        data, other = rng.choice(self.files[size]), rng.choice(self.files[size])
        if kind == "bytes":
            return mutate(rng, data, other)
        if kind == "fields":
            return mutate_stream(rng, container.unpack(data), codec.qualities, container.unpack(other))
        seed = container.unpack(data)
        if kind == "metadata":
            return container.pack(replace(seed, metadata=damaged_metadata(rng)))
        fields = {"model_id": codec.entry.id, "model_hash": codec.entry.hash, "grids_crc": 0}
        if kind == "sealed":
            width, height = rng.randint(1, 70), rng.randint(1, 70)
            payloads = [mutate(rng, rng.choice(seed.segments)) for _ in range(self._segments(width, height))]
            data = sealed(codec, container.Stream(
                width=width, height=height, quality=rng.randint(0, 16 * (codec.qualities - 1)),
                segments=tuple(payloads), **fields))
            return data if rng.random() < 0.5 else container.pack(joined(container.unpack(data)))
        width, height = (rng.choice((1, container.MAX_SIDE, int(2 ** rng.uniform(0, 17)))) for _ in range(2))
        height = min(height, container.MAX_PIXELS // width)
        payloads = [rng.randbytes(rng.randint(0, 3))
                    for _ in range(min(container.MAX_SEGMENTS, self._segments(width, height)))]
        stream = container.Stream(width=width, height=height, quality=rng.randint(0, 255), segments=tuple(payloads),
                                  alpha=rng.choice((None, b"\0\1")), **fields)
        return container.pack(stream if rng.random() < 0.5 else joined(stream))

    def _segments(self, width: int, height: int) -> int:
        return self.codec.coder.prior.steps * len(codec_module.bands(-(-height // 16), -(-width // 16)))

    def judge(self, data: bytes) -> str:
        """The outcome of one input, by name. Raises whatever is a finding."""
        codec = self.codec
        kind = medium.of_modality("image")
        kind.inspect(data)
        if codec_module.BAND_POSITIONS == BAND_SIZES[0] or self.rng.random() < 0.9:
            check(kind.extent(data, medium.AS_SAMPLES), len(data))  # or else as if nobody had set limits
        if found := kind.metadata(Source.of_bytes(data)):
            found.described()
        grids = codec.decode_grids(data)
        assert_consistent(codec, data, grids)
        if self.rng.random() < 0.2:
            stream = container.unpack(data)
            picture = codec.decode(data)
            assert picture.rgb.shape == (stream.height, stream.width, 3)
            assert codec.bits_per_block(data).min() >= 0
        return "accepted"


class Sounds:
    """Streams of sound."""

    kinds: ClassVar = {"bytes": 5, "fields": 5, "chunks": 3, "metadata": 1, "claims": 0.3}

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        if entry is None:
            make_tiny_audio_model(folder)
            entry = registry.find_by_name("tinysound", folder, "audio")
        self.codec, self.rng = AudioCodec.open(entry), rng
        codec = self.codec
        chunk = codec.model.transform.chunk * codec.model.transform.step
        self.files = [codec.encode(Sound(synthetic_sound(count, channels, codec.rate, i), rate), quality).data
                      for i, (count, channels, rate, quality) in enumerate((
                          (1, 1, 8000, 1), (3000, 2, codec.rate, 1.4375), (2 * chunk + 500, 1, codec.rate, codec.qualities),
                          (700, 5, 44100, 2)))]

    def make(self, kind: str) -> bytes:
        """One input."""
        rng = self.rng
        data, other = rng.choice(self.files), rng.choice(self.files)
        if kind == "bytes":
            return mutate(rng, data, other)
        header, found = sound_container.peek(data)
        reader = sound_container.ChunkReader(io.BytesIO(data), 1 << 20, sound_container.seed_of(header, found), conceal=True)
        reader.position = found.end
        chunks = []
        while len(chunks) < 8 and (chunk := reader.read(len(chunks))) is not None:
            chunks.append((chunk.number, chunk.grids_crc, chunk.payload))
        if kind == "metadata":
            return self._packed(header, chunks, damaged_metadata(rng))
        if kind == "chunks":  # many headers that check and contents that do not, for those who go on behind damage
            chunks = [(rng.randrange(8), rng.getrandbits(32), mutate(rng, rng.choice(chunks)[2]) or b"\0")
                      for _ in range(rng.choice((1, 5, 200)))]
            return self._packed(replace(header, length=rng.choice((header.length, 40 * 64 * 7))), chunks)
        if kind == "fields":
            channels = rng.choice((1, header.channels + 1))
            header = replace(header, **rng.choice((
                {"quality": rng.randrange(256)}, {"rate": rng.choice((1, 999, 1000, header.rate + 1, 768000, sound_container.MAX_RATE))},
                {"length": max(1, header.length + rng.randint(-400, 400))}, {"gain": rng.randint(-128, 127)},
                {"channels": channels, "coded_channels": rng.choice((1, channels))}, {"channels": 255, "coded_channels": 1},
                {"bound": False}, {"gains": not header.gains}, {"model_hash": rng.randbytes(4)}, {})))
            if rng.random() < 0.7:
                at = rng.randrange(len(chunks))
                number, crc, payload = chunks[at]
                chunks[at] = number, rng.choice((crc, rng.getrandbits(32))), mutate(rng, payload)[: 1 << 12] or b"\0"
            return self._packed(header, chunks)
        count = min(sound_container.MAX_LENGTH, int(2 ** rng.uniform(0, 41)))
        channels = rng.choice((1, 2, sound_container.MAX_CHANNELS))
        rate = rng.choice((header.rate, 1000, 768000, sound_container.MAX_RATE))
        return self._packed(replace(header, length=count, channels=channels, coded_channels=rng.choice((1, channels)), rate=rate),
                            chunks)

    def _packed(self, header, chunks, found: bytes | None = None) -> bytes:
        """A file all of whose checksums fit."""
        try:
            start = sound_container.pack_header(header, found)
        except UsageError:
            return b""
        seed = sound_container.seed_of(header, sound_container.peek(start)[1])
        return start + b"".join(sound_container.pack_chunk(*chunk, seed) for chunk in chunks)

    def judge(self, data: bytes) -> str:
        """The outcome of one input, by name. Raises whatever is a finding, and VqcodecErrors."""
        codec, kind, source = self.codec, medium.of_modality("audio"), Source.of_bytes(data)
        header = kind.header(source.head)
        check(kind.extent(data, kind.format_for("x.wav")), len(data))
        stream = codec.decode_stream(io.BytesIO(data), conceal=True)
        assert sum(len(block) for block in stream.blocks()) == header.length
        inspected = kind.inspect(data)
        if found := kind.metadata(source):
            found.described()
        grids = codec.decode_grids(data)
        kind.verify(codec, io.BytesIO(data))
        again = kind.from_tokens(codec, grids, inspected, None)
        size = sound_container.peek(data)[1]
        assert again == data or size.metadata_length or not header.bound
        return "accepted"


class Metadatas:
    """The metadata part of streams, by itself, and in pictures that are written."""

    kinds: ClassVar = {"metadata": 1}

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        self.rng, self.picture = rng, Picture(synthetic_picture(8, 8))

    def make(self, kind: str) -> bytes:
        return damaged_metadata(self.rng)

    def judge(self, data: bytes) -> str:
        found = metadata.unpack(data)
        found.described()
        assert metadata.unpack(metadata.pack(found)) == found or not found
        write_picture(self.picture, self.rng.choice(("PNG", "JPEG", "WEBP", "TIFF")), found)
        return "accepted"
