"""Shared by the tests of the codec and the fuzzer: grids and models to code with, and ways to damage a stream."""

from __future__ import annotations

import gc
import itertools
import random
import shutil
import signal
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from vqcodec.picture import finish
from vqcodec.picture import stream as container
from vqcodec.indices import rangecoder
from vqcodec.zoo import registration, registry
from vqcodec.picture.stream import Stream
from vqcodec.errors import UnsupportedError, UsageError
from vqcodec.stream import grids_crc

WILD_ID = 60002


def sample_grids(codec, height: int, width: int, sixteenths: int, seed: int = 0) -> np.ndarray:
    """int64[G,height,width]: index grids drawn from the prior, so that every kind of symbol occurs."""
    from vqcodec.picture.codec import bands

    rng = np.random.default_rng(seed)

    def draw(step):
        point = rng.integers(1 << 16, size=step.cdf.shape[:2])[:, :, None]
        return codec.coder.array((np.asarray(step.cdf)[:, :, 1:] <= point).sum(2))

    return np.concatenate([np.asarray(codec.coder.prior.code(bottom - top, width, sixteenths, draw))
                           for top, bottom in bands(height, width)], 1)


def make_wild_model(tiny_models_dir: Path, models_dir: Path, tiny: str = "tiny", name: str = "wild", id: int = WILD_ID) -> None:
    """Puts the model `name` into a models folder: `tiny`, but with a prior of weights ±127 and strong multipliers.

    Signs are random. Sums come as near to 2^24 as the layers' sizes allow, and one wrong unit anywhere soon changes a CDF."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = models_dir / name
    shutil.copytree(tiny_models_dir / tiny, folder)
    tensors = load_file(folder / "prior.safetensors")
    generator = torch.Generator().manual_seed(1)
    for key, weight in tensors.items():
        if key.endswith(".weight"):
            sign = torch.randint(2, weight.shape, generator=generator) * 2 - 1
            tensors[key] = (127 * sign).to(torch.int8)
            inputs = weight[0].numel()
            typical = 127 * 60 * inputs**0.5  # of the sum, and what shall become of it:
            wanted = 20 if "head" in key else 80
            mult = key.replace("weight", "mult")
            tensors[mult] = torch.full_like(tensors[mult], int(wanted / typical * 2**24) | 1)
        elif key.endswith(".vectors"):
            tensors[key] = torch.randint(-127, 128, weight.shape, generator=generator).to(torch.int8)
    save_file(tensors, folder / "prior.safetensors")
    modality = registry.find_by_name(tiny, tiny_models_dir, None).modality
    registration.register(folder, name, models_dir, id=id, modality=modality)


@contextmanager
def time_limit(seconds: int):
    """Fails what takes longer, where the system has alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def expired(*_):
        raise AssertionError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def memory_growth():
    """Gives a function that tells by how many bytes the process grew at most, where Linux can say; else 0."""
    status, peak = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def read(name):
        return int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(name))) << 10

    gc.collect()
    try:
        peak.write_text("5")  # the peak begins anew
        before = read("VmRSS")
    except OSError:
        yield lambda: 0
        return
    yield lambda: read("VmHWM") - before


# --- damage ----------------------------------------------------------------------------------------------

def flipped(data: bytes, bit: int) -> bytes:
    """`data` with one bit inverted."""
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def mutate(rng: random.Random, data: bytes, other: bytes = b"") -> bytes:
    """`data` after one to four random edits: flips, overwriting, insertion, deletion, repetition, a splice with
    `other`, truncation."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(out))
        end = min(len(out), at + rng.choice((1, 1, 2, 4, 16)))
        kind = rng.randrange(8)
        if kind <= 1 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at:end] = rng.choice((b"\x00", b"\xff", b"\x80", bytes([rng.randrange(256)]))) * (end - at)
        elif kind == 3:
            out[at:at] = rng.randbytes(rng.choice((1, 1, 2, 4, 16)))
        elif kind == 4:
            del out[at:end]
        elif kind == 5:
            out[at:at] = out[at:end] * rng.randint(1, 3)
        elif kind == 6 and other:
            out[at:] = other[rng.randint(0, len(other)):]
        elif kind == 7 and rng.random() < 0.3:
            del out[at:]
    return bytes(out)


def tabled(codec, data: bytes) -> Stream:
    """A stream with the table of segment lengths of format 1.0, whatever the layout of the file."""
    stream, ends = container.unpack(data), [0, *itertools.accumulate(codec.segment_bytes(data))]
    payload = b"".join(stream.segments)
    return replace(stream, joined=False, segments=tuple(payload[a:b] for a, b in itertools.pairwise(ends)))


def joined(stream: Stream) -> Stream:
    """A stream without the table."""
    return replace(stream, joined=True, segments=(b"".join(stream.segments),))


def mutate_stream(rng: random.Random, stream: Stream, qualities: int, other: Stream | None = None) -> bytes | None:
    """A file in which some fields or payloads are others, with checksums of header and alpha that fit. None where
    the format has no way to write such a file."""
    changes = {}
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(("side", "side", "quality", "grey", "crc", "segment", "segment", "segment", "segments",
                           "alpha", "model", "other", "layout", "slices", "plain", "plain", "curves"))
        if kind == "side":
            side = rng.choice(("width", "height"))
            value = getattr(stream, side)
            changes[side] = rng.choice((value - 1, value + 1, value + 16, 1, rng.randint(1, 300),
                                        rng.randint(1, 1 << 17)))
        elif kind == "slices":
            changes["slices"] = rng.choice((None, 1, 2, 255))
        elif kind == "quality":
            changes["quality"] = rng.choice((rng.randrange(16 * qualities), rng.randrange(256)))
        elif kind == "grey":
            changes["grey"] = not stream.grey
        elif kind == "crc":
            changes["grids_crc"] = rng.getrandbits(32)
        elif kind == "segment":
            segments = list(changes.get("segments", stream.segments))
            i = rng.randrange(len(segments))
            segments[i] = mutate(rng, segments[i], segments[rng.randrange(len(segments))])
            changes["segments"] = tuple(segments)
        elif kind == "segments":
            segments = list(changes.get("segments", stream.segments))
            i = rng.randrange(len(segments))
            segments[i:i + rng.randint(0, 1)] = [b""] * rng.randint(0, 2) or segments[:1] * rng.randint(1, 40)
            changes["segments"] = tuple(segments)
        elif kind == "alpha":
            alpha = stream.alpha or bytes([rng.randrange(5), rng.randrange(256)])
            changes["alpha"] = rng.choice((None, mutate(rng, alpha), mutate(rng, alpha)))
        elif kind == "plain":
            plain = stream.plain or rng.randbytes(rng.randint(1, 9))
            changes["plain"] = rng.choice((None, mutate(rng, plain), mutate(rng, plain, other.plain or b"") if other else plain))
        elif kind == "curves":
            changes["curves"] = rng.choice((None, mutate(rng, stream.curves or b"\2\1\0"), rng.randbytes(rng.randint(1, 12))))
        elif kind == "model":
            changes["model_hash"] = rng.randbytes(4)
        elif kind == "layout":
            changes["joined"] = not stream.joined
            changes["segments"] = (b"".join(changes.get("segments", stream.segments)),)
        elif other is not None:
            name = rng.choice(("segments", "alpha", "width", "height", "quality", "grids_crc", "plain", "curves"))
            changes[name] = getattr(other, name)
            if name == "segments":
                changes["joined"] = other.joined
    try:
        return container.pack(replace(stream, **changes))
    except (UsageError, UnsupportedError):
        return None


def sealed(codec, stream: Stream) -> bytes:
    """The valid file nearest to `stream`: whatever its segments decode to, coded properly and with the right
    checksum of the grids. It must have a table, of as many segments as the picture needs."""
    from vqcodec.picture.codec import PATCH, bands

    given, segments, grids = list(stream.segments), [], []
    rows, columns = -(-stream.height // PATCH), -(-stream.width // PATCH)
    for top, bottom in bands(rows, columns):
        base = len(segments)
        segments.extend([b""] * codec.coder.prior.steps)

        def read(step, base=base):
            flat = np.asarray(step.cdf).reshape(-1, step.cdf.shape[2])
            symbols = rangecoder.decode(given[base + step.number], flat)
            segments[base + step.number] = rangecoder.encode(symbols, flat)
            return codec.coder.array(symbols).reshape(step.cdf.shape[:2])

        grids.append(np.asarray(codec.coder.prior.code(bottom - top, columns, stream.quality, read)))
    crc = grids_crc(np.concatenate(grids, 1))
    return container.pack(replace(stream, segments=tuple(segments), grids_crc=crc))


def assert_consistent(codec, data: bytes, grids: np.ndarray) -> None:
    """What a decoder accepted is what an encoder writes for the grids that it read."""
    stream = container.unpack(data)
    assert grids_crc(grids) == stream.grids_crc
    plain = finish.of_stream(stream).plain
    given = plain and plain.given(codec.coder, stream.quality)
    assert b"".join(codec.code_grids(codec.coder.array(grids), stream.quality, given)) == b"".join(stream.segments)
