"""Feeds damaged and hostile files to the decoder for some minutes and counts what comes of them.

    python benchmarks/fuzz.py --minutes 10 [--medium sound]

Inputs are of four kinds: bytes of real files changed at random; fields and payloads changed below checksums that
fit; arbitrary payloads made into valid files (of pictures); and sizes up to the format's limits that the payloads cannot
fill. Every input must end in an error of the vqcodec family, or in grids for which an encoder writes this very file;
sound that is decoded with concealment must have its full length. Anything else is a finding: the input is kept as a
file, and the exit code is 1. Progress goes to standard error; the one line on standard output is the summary. By default
the codec is the tests' tiny model, whose speed allows many inputs; --model takes an installed one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from conftest import make_tiny_audio_model, make_tiny_model, synthetic_picture, synthetic_sound
from helpers import assert_consistent, joined, memory_growth, mutate, mutate_stream, sealed, tabled, time_limit

from vqcodec.picture import codec as codec_module
from vqcodec.picture import stream as container
from vqcodec.zoo import registry
from vqcodec.sound import stream as sound_container
from vqcodec.sound.codec import AudioCodec
from vqcodec.picture.codec import Codec
from vqcodec.errors import UsageError, VqcodecError
from vqcodec.picture.file import Picture
from vqcodec.sound.file import Sound

SECONDS_PER_INPUT = 60
BAND_SIZES = (8, codec_module.BAND_POSITIONS)  # small bands make small files of many bands
MAX_FINDINGS = 20


class Pictures:
    """Streams of pictures: their making and judging."""

    kinds: ClassVar = {"bytes": 5, "fields": 5, "sealed": 2, "claims": 0.05}
    open, tiny, make_tiny = Codec.open, "tiny", staticmethod(make_tiny_model)

    def __init__(self, codec, rng: random.Random):
        self.codec, self.rng, self.files = codec, rng, {}
        for size in BAND_SIZES:
            codec_module.BAND_POSITIONS = size
            self.files[size] = self._corpus()

    def _corpus(self) -> list[bytes]:
        """Files of small pictures: several sizes and qualities, grey, each kind of alpha, with and without a table of
        segment lengths."""
        y, x = np.mgrid[:40, :50]
        alphas = (None, np.where(x > y, 255, 0), 5 * x + y, np.full_like(x, 77), None)
        files = []
        for i, (height, width) in enumerate(((1, 1), (24, 32), (17, 16), (40, 50), (3, 50))):
            for quality in (1, 1.4375, self.codec.qualities):
                alpha = alphas[(i + int(quality)) % len(alphas)]
                alpha = None if alpha is None else np.ascontiguousarray(alpha[:height, :width].astype(np.uint8))
                picture = Picture(synthetic_picture(height, width, i), alpha, i == 2)
                files.append(self.codec.encode(picture, quality).data)
                files.append(container.pack(tabled(self.codec, files[-1])))
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
        try:
            codec_module.inspect(data)
            grids = codec.decode_grids(data)
        except VqcodecError as error:
            return type(error).__name__
        assert_consistent(codec, data, grids)
        if self.rng.random() < 0.2:
            stream = container.unpack(data)
            picture = codec.decode(data)
            assert picture.rgb.shape == (stream.height, stream.width, 3)
            assert codec.bits_per_block(data).min() >= 0
        return "accepted"


class Sounds:
    """Streams of sound: their making and judging."""

    kinds: ClassVar = {"bytes": 5, "fields": 5, "claims": 0.2}
    open, tiny, make_tiny = AudioCodec.open, "tinysound", staticmethod(make_tiny_audio_model)

    def __init__(self, codec, rng: random.Random):
        self.codec, self.rng = codec, rng
        chunk = codec.model.transform.chunk * codec.model.transform.step
        self.files = [codec.encode(Sound(synthetic_sound(count, channels, codec.rate, i), rate), quality).data
                      for i, (count, channels, rate, quality) in enumerate((
                          (1, 1, 8000, 1), (3000, 2, codec.rate, 1.4375), (2 * chunk + 500, 1, codec.rate, codec.qualities),
                          (700, 5, 44100, 2)))]

    def make(self, kind: str) -> bytes | None:
        rng = self.rng
        data, other = rng.choice(self.files), rng.choice(self.files)
        if kind == "bytes":
            return mutate(rng, data, other)
        header, size = sound_container.peek(data)
        if kind == "fields":
            header = replace(header, **rng.choice((
                {"quality": rng.randrange(256)}, {"rate": rng.choice((1, header.rate + 1, sound_container.MAX_RATE))},
                {"length": max(1, header.length + rng.randint(-400, 400))}, {"gain": rng.randint(-128, 127)},
                {"channels": rng.choice((1, header.channels + 1)), "coded_channels": 1}, {})))
            return _packed(header) + _reheaded(rng, data[size:], other)
        count = min(sound_container.MAX_LENGTH, int(2 ** rng.uniform(0, 41)))
        channels = rng.choice((1, 2, sound_container.MAX_CHANNELS))
        return _packed(replace(header, length=count, channels=channels, coded_channels=channels)) + data[size:]

    def judge(self, data: bytes) -> str:
        codec = self.codec
        try:
            header, _ = sound_container.peek(data)
            if header.length < 1 << 18:
                stream = codec.decode_stream(io.BytesIO(data), conceal=True)
                assert sum(len(block) for block in stream.blocks()) == header.length
            grids = codec.decode_grids(data)
        except VqcodecError as error:
            return type(error).__name__
        assert codec.encode_tokens(grids, header).data == data
        return "accepted"


def _packed(header: sound_container.SoundHeader) -> bytes:
    try:
        return sound_container.pack_header(header)
    except UsageError:
        return b""


def _reheaded(rng: random.Random, chunks: bytes, other: bytes) -> bytes:
    """One chunk of random or damaged payload below checksums that fit, or the chunks damaged."""
    if rng.random() < 0.5:
        return mutate(rng, chunks, other)
    payload = mutate(rng, chunks[10:] or b"\0", other)[: 1 << 12] or b"\0"
    return sound_container.pack_chunk(0, rng.getrandbits(32), payload)


MEDIA = {"picture": Pictures, "sound": Sounds}


def fuzz(medium, minutes: float, seed: int, keep: Path) -> tuple[str, int]:
    """(summary, number of findings)"""
    outcomes, findings, slowest, largest = Counter(), 0, 0.0, 0
    started = told = time.monotonic()
    while (now := time.monotonic()) < started + 60 * minutes and findings < MAX_FINDINGS:
        kind = medium.rng.choices(list(medium.kinds), medium.kinds.values())[0]
        data = b""
        try:
            with time_limit(SECONDS_PER_INPUT):
                data = medium.make(kind)
                if data is None:
                    continue
                with memory_growth() if kind == "claims" else contextlib.nullcontext(lambda: 0) as growth:
                    outcomes[medium.judge(data)] += 1
                largest = max(largest, growth())
        except Exception:
            findings += 1
            outcomes["FINDING"] += 1
            keep.mkdir(parents=True, exist_ok=True)
            path = keep / f"finding-{hashlib.sha256(data or b'').hexdigest()[:12]}.vq"
            path.write_bytes(data or b"")
            print(f"{path} ({kind}, bands of {codec_module.BAND_POSITIONS}):", file=sys.stderr)
            traceback.print_exc()
        slowest = max(slowest, time.monotonic() - now)
        if now > told + 20 and sys.stderr.isatty():
            told = now
            print(f"{sum(outcomes.values())} inputs", file=sys.stderr)
    counts = ", ".join(f"{name} {n}" for name, n in outcomes.most_common())
    return (f"fuzz: {sum(outcomes.values())} inputs in {(time.monotonic() - started) / 60:.1f} minutes, seed {seed}: "
            f"{counts}; slowest {slowest:.2f} s, claimed sizes took {largest >> 20} MiB at most; "
            f"{findings} findings"), findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeat a run (inputs, not times)")
    parser.add_argument("--model", help="an installed model, instead of the tests' tiny one")
    parser.add_argument("--models-dir")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for inputs that are findings")
    parser.add_argument("--medium", choices=MEDIA, default="picture")
    arguments = parser.parse_args()
    medium = MEDIA[arguments.medium]
    with tempfile.TemporaryDirectory() as folder:
        if arguments.model is None:
            medium.make_tiny(Path(folder))
            entry = registry.find_by_name(medium.tiny, folder, None)
        else:
            entry = registry.find_by_name(arguments.model, arguments.models_dir, None)
        streams = medium(medium.open(entry), random.Random(arguments.seed))
        summary, findings = fuzz(streams, arguments.minutes, arguments.seed, arguments.keep)
    print(summary)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
