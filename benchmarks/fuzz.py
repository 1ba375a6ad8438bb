"""Feeds damaged and hostile files to the decoder for some minutes and counts what comes of them.

    python benchmarks/fuzz.py --minutes 10

Inputs are of four kinds: bytes of real files changed at random; fields and payloads changed below checksums that
fit; arbitrary payloads made into valid files; and sizes up to the format's limits that the payloads cannot fill.
Every input must end in an error of the vqcodec family, or in grids for which an encoder writes this very file.
Anything else is a finding: the input is kept as a file, and the exit code is 1. Progress goes to standard
error; the one line on standard output is the summary. By default the codec is the tests' tiny model, whose speed
allows many inputs; --model takes an installed one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from conftest import make_tiny_model, synthetic_picture
from helpers import assert_consistent, joined, memory_growth, mutate, mutate_stream, sealed, tabled, time_limit

from vqcodec import codec as codec_module
from vqcodec import container, registry
from vqcodec.errors import VqcodecError
from vqcodec.media import Picture

SECONDS_PER_INPUT = 60
BAND_SIZES = (8, codec_module.BAND_POSITIONS)  # small bands make small files of many bands
KINDS = {"bytes": 5, "fields": 5, "sealed": 2, "claims": 0.05}
MAX_FINDINGS = 20


def corpus(codec) -> list[bytes]:
    """Files of small pictures: several sizes and qualities, grey, each kind of alpha, with and without a table of
    segment lengths."""
    y, x = np.mgrid[:40, :50]
    alphas = (None, np.where(x > y, 255, 0), 5 * x + y, np.full_like(x, 77), None)
    files = []
    for i, (height, width) in enumerate(((1, 1), (24, 32), (17, 16), (40, 50), (3, 50))):
        for quality in (1, 1.4375, codec.qualities):
            alpha = alphas[(i + int(quality)) % len(alphas)]
            alpha = None if alpha is None else np.ascontiguousarray(alpha[:height, :width].astype(np.uint8))
            picture = Picture(synthetic_picture(height, width, i), alpha, i == 2)
            files.append(codec.encode(picture, quality).data)
            files.append(container.pack(tabled(codec, files[-1])))
    return files


def make_input(kind: str, rng: random.Random, codec, files: list[bytes]) -> bytes | None:
    """One input of a kind of KINDS; None where this draw has none."""
    data, other = rng.choice(files), rng.choice(files)
    if kind == "bytes":
        return mutate(rng, data, other)
    if kind == "fields":
        return mutate_stream(rng, container.unpack(data), codec.qualities, container.unpack(other))
    seed = container.unpack(data)
    fields = {"model_id": codec.entry.id, "model_hash": codec.entry.hash, "grids_crc": 0}
    if kind == "sealed":
        width, height = rng.randint(1, 70), rng.randint(1, 70)
        count = segments_of(codec, width, height)
        payloads = [mutate(rng, rng.choice(seed.segments)) for _ in range(count)]
        data = sealed(codec, container.Stream(
            width=width, height=height, quality=rng.randint(0, 16 * (codec.qualities - 1)),
            segments=tuple(payloads), **fields))
        return data if rng.random() < 0.5 else container.pack(joined(container.unpack(data)))
    width, height = (rng.choice((1, container.MAX_SIDE, int(2 ** rng.uniform(0, 17)))) for _ in range(2))
    height = min(height, container.MAX_PIXELS // width)
    payloads = [rng.randbytes(rng.randint(0, 3)) for _ in range(min(container.MAX_SEGMENTS,
                                                                     segments_of(codec, width, height)))]
    stream = container.Stream(width=width, height=height, quality=rng.randint(0, 255), segments=tuple(payloads),
                              alpha=rng.choice((None, b"\0\1")), **fields)
    return container.pack(stream if rng.random() < 0.5 else joined(stream))


def segments_of(codec, width: int, height: int) -> int:
    return codec.coder.prior.steps * len(codec_module.bands(-(-height // 16), -(-width // 16)))


def judge(codec, data: bytes, rng: random.Random) -> str:
    """The outcome of one input, by name. Raises whatever is a finding."""
    try:
        codec_module.inspect(data)
        grids = codec.decode_grids(data)
    except VqcodecError as error:
        return type(error).__name__
    assert_consistent(codec, data, grids)
    if rng.random() < 0.2:
        stream = container.unpack(data)
        picture = codec.decode(data)
        assert picture.rgb.shape == (stream.height, stream.width, 3)
        assert codec.bits_per_block(data).min() >= 0
    return "accepted"


def fuzz(codec, minutes: float, seed: int, keep: Path) -> tuple[str, int]:
    """(summary, number of findings)"""
    rng = random.Random(seed)
    outcomes, findings, slowest, largest = Counter(), 0, 0.0, 0
    files = {}
    for size in BAND_SIZES:
        codec_module.BAND_POSITIONS = size
        files[size] = corpus(codec)
    started = told = time.monotonic()
    while (now := time.monotonic()) < started + 60 * minutes and findings < MAX_FINDINGS:
        size = rng.choice(BAND_SIZES)
        kind = rng.choices(list(KINDS), KINDS.values())[0]
        codec_module.BAND_POSITIONS = BAND_SIZES[-1] if kind == "claims" else size
        data = b""
        try:
            with time_limit(SECONDS_PER_INPUT):
                data = make_input(kind, rng, codec, files[size])
                if data is None:
                    continue
                with memory_growth() if kind == "claims" else contextlib.nullcontext(lambda: 0) as growth:
                    outcomes[judge(codec, data, rng)] += 1
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
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.model is None:
            make_tiny_model(Path(folder))
            entry = registry.find_by_name("tiny", folder)
        else:
            entry = registry.find_by_name(arguments.model, arguments.models_dir)
        summary, findings = fuzz(codec_module.Codec.open(entry), arguments.minutes, arguments.seed, arguments.keep)
    print(summary)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
