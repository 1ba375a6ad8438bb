"""A decoder of .vq files of pictures written from bitstream_spec.md alone, for clarity rather than speed.

NumPy (int64 for all that must be exact, float64 for the rest) and the standard library; `safetensors` reads the
model's files. Nothing is shared with the package, so that what both agree on is what the specification says.

    model = read_model(folder)
    header, grids = decode_grids(data, model)
    samples = reconstruct(grids, header, model)     alpha = decode_alpha(header)
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BAND_POSITIONS = 16384


class Invalid(Exception):
    """The stream is not valid, or not supported."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise Invalid(what)


# Section 3: what all streams share.

@dataclass
class Common:
    """The fields that all headers begin with."""

    flags: int
    model_id: int
    model_hash: bytes
    quality: int


class Bytes:
    """Fields, one after the other."""

    def __init__(self, data: bytes, position: int = 0):
        self.data, self.position = data, position

    def take(self, count: int) -> bytes:
        require(len(self.data) - self.position >= count, "truncated")
        self.position += count
        return self.data[self.position - count : self.position]

    def uint(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def uvarint(self, longest: int) -> int:
        value = 0
        for i in range(longest):
            byte = self.uint(1)
            value |= (byte & 127) << 7 * i
            if byte < 128:
                require(i == 0 or byte > 0, "not the shortest form")
                return value
        raise Invalid("a uvarint is too long")


def crc16(data: bytes) -> int:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def parse_common(data: bytes, modality: int, reserved: int) -> tuple[Common, Bytes]:
    """(the first fields, a reader behind them)"""
    require(data[:2] == b"VQ", "magic")
    b = Bytes(data, 2)
    require(b.uint(1) == 1, "version")
    flags = b.uint(1)
    require(flags & 7 == modality, "modality")
    require(flags & reserved == 0, "reserved flags")
    return Common(flags, b.uvarint(3), b.take(4), b.uint(1)), b


def parse_end(flags: int, b: Bytes) -> tuple[int, int]:
    """(length, checksum) of the metadata, after the header checksum was checked."""
    length, crc = (b.uvarint(4), b.uint(4)) if flags & 64 else (0, 0)
    checksum = crc16(b.data[: b.position])
    require(b.uint(2) == checksum, "header checksum")
    require(not flags & 64 or 1 <= length <= 1 << 22, "metadata length")
    return length, crc


def read_metadata(part: bytes) -> dict[int, bytes]:
    """The content of each kind, unknown ones too."""
    stream, items = zlib.decompressobj(), {}
    try:
        b = Bytes(stream.decompress(part, (1 << 22) + 1))
    except zlib.error as error:
        raise Invalid(f"metadata: {error}") from None
    require(stream.eof and not stream.unused_data and len(b.data) <= 1 << 22, "metadata content")
    while b.position < len(b.data):
        kind, content = b.uint(1), b.take(b.uvarint(4))
        require(kind not in items, "a kind of metadata is there twice")
        items[kind] = content
    for kind in (4, 6):
        require(len(items.get(kind, bytes(8))) == 8, "metadata of 8 bytes")
    read_tags(items.get(5, b""))
    return items


def read_tags(content: bytes) -> list[tuple[str, str]]:
    b, texts = Bytes(content), []
    while b.position < len(content):
        try:
            texts.append(b.take(b.uvarint(4)).decode("utf-8"))
        except UnicodeDecodeError as error:
            raise Invalid(f"tags: {error}") from None
    require(len(texts) % 2 == 0, "a tag without a value")
    return list(zip(texts[::2], texts[1::2]))


# Section 9.1: the header of pictures.

@dataclass
class Header(Common):
    width: int
    height: int
    grids_crc: int
    slices: int | None
    plain: bytes | None
    curves: bytes | None
    segments: list[bytes] | None  # None: joined
    payload: bytes
    alpha: bytes | None
    metadata: bytes | None

    @property
    def grey(self) -> bool:
        return bool(self.flags & 8)


def parse(data: bytes) -> Header:
    common, b = parse_common(data, 0, 0)
    has_alpha, joined = common.flags & 16, common.flags & 32
    width, height, grids_crc = b.uvarint(3), b.uvarint(3), b.uint(4)
    more = b.uint(1) if common.flags & 128 else None
    require(more is None or more < 128, "reserved bits")
    slices, has_plain = (more or 0) % 32 or None, (more or 0) & 32
    if joined:
        payload_length = b.uvarint(5)
    else:
        count, bits = b.uvarint(2), b.uint(1)
        require(1 <= count <= 4096 and bits <= 31, "count or bits are out of range")
        packed = b.uint((count * bits + 7) // 8)
    curves = b.take(b.uint(1)) if (more or 0) & 64 else None
    plain_length, plain_crc = (b.uvarint(5), b.uint(4)) if has_plain else (0, 0)
    alpha_length, alpha_crc = (b.uvarint(5), b.uint(4)) if has_alpha else (0, 0)
    metadata_length, metadata_crc = parse_end(common.flags, b)
    if not joined:
        lengths = [packed >> i * bits & (1 << bits) - 1 for i in range(count)]
        require(packed >> count * bits == 0 and max(lengths).bit_length() == bits, "segment lengths")
        payload_length = sum(lengths)
    require(not joined or payload_length < 1 << 31, "payload length")
    require(common.model_id < 1 << 16 and max(alpha_length, plain_length) < 1 << 31, "a field is out of range")
    require(more != 0, "no slices")
    channels = 1 if common.flags & 8 else 3
    require(curves is None or len(curves) in range(channels, 9 * channels + 1, channels), "curves")
    require(1 <= width <= 1 << 17 and 1 <= height <= 1 << 17 and width * height <= 1 << 30, "size")
    require(len(data) == b.position + metadata_length + plain_length + payload_length + alpha_length, "length of the file")
    metadata, plain, payload, alpha = map(b.take, (metadata_length, plain_length, payload_length, alpha_length))
    segments = None
    if not joined:
        ends = itertools.accumulate(lengths)
        segments = [payload[end - length : end] for end, length in zip(ends, lengths)]
    require(zlib.crc32(metadata) == metadata_crc, "metadata checksum")
    require(zlib.crc32(alpha) == alpha_crc, "alpha checksum")
    require(zlib.crc32(plain) == plain_crc, "plain checksum")
    return Header(**vars(common), width=width, height=height, grids_crc=grids_crc, slices=slices, curves=curves,
                  plain=plain if has_plain else None, segments=segments, payload=payload, alpha=alpha if has_alpha else None, metadata=metadata or None)


# Section 4: arithmetic coder. `rows`: one sequence C[0..A] per symbol.

HALF, QUARTER = 1 << 31, 1 << 30


def renormalise(low: int, high: int):
    """Yields (what is subtracted, low, high) for each turn of the loop."""
    while True:
        if high < HALF:
            base = 0
        elif low >= HALF:
            base = HALF
        elif low >= QUARTER and high < 3 * QUARTER:
            base = QUARTER
        else:
            return
        low, high = 2 * (low - base), 2 * (high - base) + 1
        yield base, low, high


def encode_segment(symbols, rows) -> bytes:
    low, high, pending, bits = 0, (1 << 32) - 1, 0, []
    if len(symbols) == 0:
        return b""

    def emit(bit: int) -> None:
        nonlocal pending
        bits.extend([bit] + [1 - bit] * pending)
        pending = 0

    for s, c in zip(symbols, rows):
        span = high - low + 1
        low, high = low + (span * c[s] >> 16), low + (span * c[s + 1] >> 16) - 1
        for base, low, high in renormalise(low, high):  # noqa: B020 (they go on from where the loop ends)
            if base == QUARTER:
                pending += 1
            else:
                emit(int(base == HALF))
    pending += 1
    emit(int(low >= QUARTER))
    bits += [0] * (-len(bits) % 8)
    return np.packbits(np.array(bits, np.uint8)).tobytes()


def decode_segment(data: bytes, rows, symbols=None) -> tuple[list[int], int]:
    """(symbols, bytes read) of the segment that `data` begins with. Rows may depend on what is in `symbols` by then."""
    if len(rows) == 0:
        return [], 0
    turns = 0
    bits = iter(np.unpackbits(np.frombuffer(data, np.uint8)).tolist())
    low, high, value, used = 0, (1 << 32) - 1, 0, []
    symbols = [] if symbols is None else symbols
    for _ in range(32):
        value = 2 * value + next(bits, 0)
    for c in rows:
        used.append(c)
        span = high - low + 1
        count = ((value - low + 1 << 16) - 1) // span
        s = next(s for s in range(len(c) - 1) if c[s] <= count < c[s + 1])
        symbols.append(s)
        low, high = low + (span * c[s] >> 16), low + (span * c[s + 1] >> 16) - 1
        for base, low, high in renormalise(low, high):  # noqa: B020
            value = 2 * (value - base) + next(bits, 0)
            turns += 1
    length = (turns + 2 + 7) // 8  # section 4.5
    assert length >= least_length([len(c) - 1 for c in used])
    require(encode_segment(symbols, used) == data[:length], "a segment is not canonical")  # section 5.3
    return symbols, length


def least_length(sizes) -> int:
    """Bytes of a segment whose symbols have alphabets of these sizes (section 4.6)."""
    return 1 + (23 * sum(a - 1 for a in sizes) >> 23) if len(sizes) else 0


class Segments:
    """The segments of a picture, or of a chunk of sound, taken one after the other."""

    def __init__(self, payload: bytes, separate: list[bytes] | None = None):
        self.separate = None if separate is None else iter(separate)
        self.rest = payload

    def read(self, rows) -> list[int]:
        data = self.rest if self.separate is None else next(self.separate)
        symbols, length = decode_segment(data, rows)
        require(self.separate is None or length == len(data), "the length of a segment")
        self.rest = self.rest[length:]
        return symbols


# Sections 5, 8 and 9.4: models, grids, bands, steps.

@dataclass
class Slice:
    groups: int
    d: int
    codewords: int
    phases: int


@dataclass
class Model:
    config: dict
    slices: list[Slice]
    prior: dict[str, np.ndarray]
    codebook: dict[str, np.ndarray]
    decoder: dict[str, np.ndarray]
    hash: bytes

    @property
    def qualities(self) -> int:
        return len(self.config["transform"]["lambdas"])

    @property
    def integer(self) -> bool:
        """Whether section 9.12 holds."""
        return self.config["transform"].get("arithmetic", "float") == "integer"


def read_model(folder) -> Model:
    folder = Path(folder)
    files = ("codebook.safetensors", "config.toml", "decoder.safetensors", "prior.safetensors")
    lines = "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in files)
    config = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    q = config["quantizer"]
    codebook, decoder, prior = (load_file(folder / name) for name in (files[0], files[2], files[3]))
    slices = [Slice(dims // d, d, k, 1 + sum(re.fullmatch(rf"s{i}\.near\d+\.weight", name) is not None for name in prior))
              for i, (dims, d, k) in enumerate(zip(q["slices"], q["dims"], q["codewords"]))]
    return Model(config, slices, {name: tensor.astype(np.int64) for name, tensor in prior.items()},
                 {name: tensor.astype(np.float64) for name, tensor in codebook.items()},
                 read_weights(decoder),
                 hashlib.sha256(lines.encode("ascii")).digest()[:4])


def read_weights(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """float64 tensors of a synthesis network (section 8.1), or the int64 ones of section 9.12."""
    if "gain" in stored:
        return {name: tensor.astype(np.int64) for name, tensor in stored.items()}
    weights = {name: tensor.astype(np.float64) for name, tensor in stored.items() if not name.endswith(".scale8")}
    for name, tensor in weights.items():
        if stored[name].dtype == np.int8:
            scale = stored[f"{name}.scale8"].astype(np.float64)
            weights[name] = tensor * scale.reshape(-1, *[1] * (tensor.ndim - 1))
    return weights


def bands(h: int, w: int) -> list[tuple[int, int]]:
    """(first row, number of rows) of each band."""
    rows = max(2, 2 * (BAND_POSITIONS // w // 2))
    return [(top, min(rows, h - top)) for top in range(0, h, rows)]


def phase_of(y: int, x: int, phases: int) -> int:
    if phases == 2:
        return (y + x) % 2
    n = m = (phases - 1) // 2
    while y % 2**m or x % 2**m:
        m -= 1
    if m == n:
        return 0
    return 2 * (n - m) - (y // 2**m % 2 and x // 2**m % 2)


def spacing_of(phase: int, phases: int) -> int:
    return 2 ** ((phases - 1 - phase) // 2)


def decode_grids(data: bytes, model: Model) -> tuple[Header, np.ndarray]:
    """(header, int64[G,h,w])"""
    header = parse(data)
    require(header.model_hash == model.hash, "another model")
    require(header.quality <= 16 * (model.qualities - 1), "quality")
    present = present_slices(header.quality, model)
    require(header.slices is None or header.slices < present, "the quality has no more slices")
    present = header.slices or present
    h, w = -(-header.height // 16), -(-header.width // 16)
    layout = bands(h, w)
    needed = len(layout) * sum(s.phases for s in model.slices)
    require(needed <= 4096 and (header.segments is None or len(header.segments) == needed), "number of segments")
    given = given_indices(header, model)
    coded = sum((y, x) not in given for y in range(h) for x in range(w))
    require(len(header.payload) >= least_payload(coded, header.quality, model, present), "payload too short for such a picture")
    segments = Segments(header.payload, header.segments)
    parts = []
    for top, rows in layout:
        here = {(y - top, x): indices for (y, x), indices in given.items() if top <= y < top + rows}
        parts.append(decode_band(rows, w, header.quality, model, segments, present, here))
    grids = np.concatenate(parts, 1)
    require(segments.rest == b"", "bytes after the last segment")
    require(zlib.crc32(grids.astype("<u2").tobytes()) == header.grids_crc, "grid checksum")
    return header, grids


def slice_tensors(model: Model, i: int) -> dict[str, np.ndarray]:
    return {name.split(".", 1)[1]: t for name, t in model.prior.items() if name.startswith(f"s{i}.")}


def present_slices(q: int, model: Model) -> int:
    """How many slices a quality has (section 5.1)."""
    firsts = model.config["quantizer"].get("from_quality") or [1] * len(model.slices)
    return sum(q >= 16 * (first - 1) for first in firsts)


def indices_at_rest(codebook: np.ndarray) -> np.ndarray:
    """int64[G] of codewords [G,K,d]"""
    total = 0
    for dim in range(codebook.shape[2]):
        total = total + codebook[:, :, dim] ** 2
    return total.argmin(1)


def least_payload(positions: int, q: int, model: Model, present: int) -> int:
    """The simpler bound of section 5.4."""
    sizes = [size for i in range(present) for size in alphabets(slice_tensors(model, i), q)[1]]
    return positions and 1 + (23 * positions * sum(size - 1 for size in sizes) >> 23)


def decode_band(h: int, w: int, q: int, model: Model, segments, present: int, given=()) -> np.ndarray:
    """given: of each position (y, x) that is not coded the indices in all grids."""
    grids, past, plane = [], [], 0
    for i, s in enumerate(model.slices):
        planes, plane = slice(plane, plane + s.groups), plane + s.groups
        if i >= present:
            rest = indices_at_rest(model.codebook[f"s{i}"])
            grids.append(np.broadcast_to(rest[:, None, None], (s.groups, h, w)))
            for _ in range(s.phases):
                segments.read([])
            continue
        tensors = slice_tensors(model, i)
        first, size = alphabets(tensors, q)
        grid = np.zeros((s.groups, h, w), np.int64)
        own = np.zeros((h, w, feature_count(tensors)), np.int64)
        state = past_state(np.concatenate(past, 2), tensors, q) if i else 0
        for phase in range(s.phases):
            positions = [(y, x) for y in range(h) for x in range(w) if phase_of(y, x, s.phases) == phase]
            out = network(state, own, phase, tensors, q, (h, w))
            rows = [frequencies(out[y, x], g, s, first[g], size[g], tensors, model.prior)
                    for y, x in positions if (y, x) not in given for g in range(s.groups)]
            symbols = iter(segments.read(rows))
            for y, x in positions:
                if (y, x) in given:
                    grid[:, y, x] = given[y, x][planes]
                else:
                    grid[:, y, x] = [first[g] + next(symbols) for g in range(s.groups)]
                own[y, x] = features(grid[:, y, x], tensors)
        grids.append(grid)
        past.append(own)
    return np.concatenate(grids)


# Section 6: integer prior. Everything is int64; >> is arithmetic in NumPy.

def round24(a: np.ndarray) -> np.ndarray:
    return (a + (1 << 23)) >> 24


def act(a: np.ndarray) -> np.ndarray:
    return np.clip(round24(a), 0, 255)


def at(table: np.ndarray, q: int) -> np.ndarray:
    low, part = divmod(q, 16)
    return table[low] if part == 0 else (table[low] * (16 - part) + table[low + 1] * part + 8) >> 4


def corr(x: np.ndarray, weight: np.ndarray, delta: int = 1) -> np.ndarray:
    """int64[h,w,O] of x int64[h,w,C] and weights int64[O,C,k,k], [O,C,1,k] or [O,C]."""
    if weight.ndim == 2:
        weight = weight[:, :, None, None]
    (h, w, _), (m, k) = x.shape, weight.shape[2:]
    above, left = delta * (m // 2), delta * (k // 2)
    padded = np.pad(x, ((above, above), (left, left), (0, 0)))
    return sum(padded[i * delta : i * delta + h, j * delta : j * delta + w] @ weight[:, :, i, j].T
               for i in range(m) for j in range(k))


def feature_count(t: dict) -> int:
    return sum(t[name].shape[0] * t[name].shape[2] for name in ("companded", "wide") if name in t)


def features(indices: np.ndarray, t: dict) -> np.ndarray:
    """int64[E] of one position's indices int64[G]."""
    return np.concatenate([t[name][np.arange(len(indices)), indices].reshape(-1)
                           for name in ("companded", "wide") if name in t])


def past_state(past: np.ndarray, t: dict, q: int) -> np.ndarray:
    a = act(corr(past, t["past1.weight"]) * t["past1.mult"] + at(t["past1.bias"], q))
    b = act(corr(a, t["past2.weight"]) * t["past2.mult"] + t["past2.bias"])
    return corr(b, t["past3.weight"]) * t["past3.mult"]


def network(state, own: np.ndarray, phase: int, t: dict, q: int, shape) -> np.ndarray:
    """Outputs int64[h,w,O], at all positions, of which only those of the phase are of use."""
    total = state + np.broadcast_to(at(t["join.bias"][phase], q), (*shape, t["join.bias"].shape[2]))
    if phase:
        spacing = spacing_of(phase, len(t["join.bias"]))
        total = total + corr(own, t[f"near{phase}.weight"], spacing) * t[f"near{phase}.mult"]
    v = act(corr(act(total), t["mix.weight"]) * t["mix.mult"] + t["mix.bias"])
    return round24(corr(v, t["head.weight"]) * t["head.mult"] + t["head.bias"])


def alphabets(t: dict, q: int) -> tuple[list[int], list[int]]:
    """(first, A) of each group."""
    levels = [q // 16] if q % 16 == 0 else [q // 16, q // 16 + 1]
    first = np.min([t["start"][level] for level in levels], axis=0)
    end = np.max([t["start"][level] + t["size"][level] for level in levels], axis=0)
    return first.tolist(), (end - first).tolist()


def frequencies(out: np.ndarray, g: int, s: Slice, first: int, size: int, t: dict, tables: dict) -> list[int]:
    """The row C[0..A] of group g from the outputs int64[O] at its position."""
    j = np.arange(1, size)
    if s.d == 1:
        mean, scale = np.clip(out[g], -16384, 16384), np.clip(out[s.groups + g], 0, 63)
        product = (t["bounds"][g, first + j - 1] - mean) * tables["table.inverse"][scale]
        assert (np.abs(product) < 1 << 31).all(), "the model is not valid"
        mass = tables["table.sigmoid"][np.clip(product >> 8, -2048, 2047) + 2048]
        inner = j + mass - ((mass * size) >> 16)
    else:
        rank = t["vectors"].shape[2]
        f = np.clip(out[g * rank : (g + 1) * rank], -1023, 1023)
        logit = round24((t["vectors"][g, :size] @ f) * t["logit.mult"][g] + t["logit.offset"][g, :size])
        weight = tables["table.exp"][np.minimum(logit.max() - logit, 4095)]
        total = np.cumsum(weight)
        inverse = ((65536 - size) << 24) // int(total[-1])
        inner = j + ((total[:-1] * inverse) >> 24)
    row = [0, *inner.tolist(), 65536]
    assert all(a < b for a, b in itertools.pairwise(row)), "the model is not valid"
    return row


# Sections 7 and 9.5: reconstruction, float64.

def lerp(table: np.ndarray, q: int) -> np.ndarray:
    """f64[C,1,1]"""
    low, part = q // 16, q % 16 / 16
    row = table[low] if part == 0 else table[low] * (1 - part) + table[low + 1] * part
    return row[:, None, None]


def conv(x: np.ndarray, t: dict, name: str) -> np.ndarray:
    """f64[O,h,w] of f64[I,h,w]"""
    weight, bias = t[f"{name}.weight"], t[f"{name}.bias"]
    (_, h, w), k = x.shape, weight.shape[2]
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    parts = [np.tensordot(weight[:, :, i, j], padded[:, i : i + h, j : j + w], 1) for i in range(k) for j in range(k)]
    return sum(parts) + bias[:, None, None]


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def soften(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt(1 + np.square(x).mean(0))


def blocks(x: np.ndarray, t: dict, name: str, count: int) -> np.ndarray:
    for j in range(count):
        x = x + conv(silu(conv(soften(x), t, f"{name}.{j}.conv1")), t, f"{name}.{j}.conv2")
    return x


def shuffle(x: np.ndarray, n: int) -> np.ndarray:
    """f64[C·n²,h,w] → f64[C,n·h,n·w]"""
    c, h, w = x.shape
    return x.reshape(c // n**2, n, n, h, w).transpose(0, 3, 1, 4, 2).reshape(c // n**2, n * h, n * w)


def latents(grids: np.ndarray, model: Model) -> np.ndarray:
    """f64[D,h,w]"""
    dims, plane = [], 0
    for i, s in enumerate(model.slices):
        for g in range(s.groups):
            dims.append(model.codebook[f"s{i}"][g][grids[plane]].transpose(2, 0, 1))
            plane += 1
    return np.concatenate(dims)


def reconstruct(grids: np.ndarray, header: Header, model: Model) -> np.ndarray:
    """Samples uint8[height,width,3], or [height,width] of a grey picture."""
    samples = (integer_samples if model.integer else float_samples)(grids, header, model)
    if header.grey:
        samples = (samples @ np.array([77, 150, 29]) + 128) >> 8
    bend(samples.reshape(*samples.shape[:2], -1), header)
    finish_plain(samples.reshape(*samples.shape[:2], -1), header)
    return samples.astype(np.uint8)


def float_samples(grids: np.ndarray, header: Header, model: Model) -> np.ndarray:
    """int64[height,width,3]"""
    t, q = model.decoder, header.quality
    n1, n2, n3 = model.config["transform"]["decoder_blocks"]
    z = latents(grids, model) * np.exp(-lerp(t["log_gain"], q))
    x = blocks(conv(z, t, "stem") * lerp(t["condition.scale"], q) + lerp(t["condition.bias"], q), t, "blocks3", n3)
    x = blocks(shuffle(conv(x, t, "up2"), 2), t, "blocks2", n2)
    x = blocks(shuffle(conv(x, t, "up1"), 2), t, "blocks1", n1)
    pixels = shuffle(conv(z, t, "linear"), 16) + shuffle(conv(x, t, "head"), 4) + 0.5
    samples = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.int64)
    return samples[:, : header.height, : header.width].transpose(1, 2, 0)


# Section 9.12: reconstruction in integers. Everything is int64.

def round_n(a: np.ndarray, n) -> np.ndarray:
    return a + (1 << n - 1) >> n


def limit(a: np.ndarray) -> np.ndarray:
    return a.clip(-(2**20 - 1), 2**20 - 1)


def isqrt(a: np.ndarray) -> np.ndarray:
    return np.array([math.isqrt(value) for value in a.ravel().tolist()]).reshape(a.shape)


def interleave(a: np.ndarray, n: int) -> np.ndarray:
    """[h,w,C·n²] → [n·h,n·w,C]"""
    return shuffle(a.transpose(2, 0, 1), n).transpose(1, 2, 0)


def wide(a: np.ndarray, t: dict, name: str) -> np.ndarray:
    return limit(round_n(corr(a, t[f"{name}.weight"]), t[f"{name}.shift"][0]) + t[f"{name}.bias"])


def integer_block(a: np.ndarray, t: dict, name: str) -> np.ndarray:
    t = {key.removeprefix(f"{name}."): tensor for key, tensor in t.items() if key.startswith(f"{name}.")}
    root = isqrt(a.shape[2] * 2**26 + np.square(a).sum(2, keepdims=True))
    b = round24(a * (t["soften"][0] // root)).clip(-t["limit"][0], t["limit"][0])
    d = t["silu"][round24(corr(b, t["conv1.weight"]) * t["conv1.mult"] + t["conv1.bias"]).clip(0, 4095)]
    return limit(a + round24(corr(d, t["conv2.weight"]) * t["conv2.mult"] + t["conv2.bias"]))


def integer_samples(grids: np.ndarray, header: Header, model: Model) -> np.ndarray:
    """int64[height,width,3]"""
    t, q, counts = model.decoder, header.quality, model.config["transform"]["decoder_blocks"]
    words = np.rint(latents(grids, model) * 2**12).astype(np.int64).transpose(1, 2, 0)
    gain = at(t["gain"], q)
    z = limit(round_n(words * t["table.exp2"][gain % 2**12], 22 - (gain >> 12)))
    a = limit(round_n(wide(z, t, "stem") * at(t["condition.scale"], q), 16) + at(t["condition.bias"], q))
    for stage, up in ((3, "up2"), (2, "up1"), (1, None)):
        for j in range(counts[stage - 1]):
            a = integer_block(a, t, f"blocks{stage}.{j}")
        if up:
            a = interleave(wide(a, t, up), 2)
    shift = t["shift"][0]
    direct, detail = (corr(x, t[f"{name}.weight"]) + t[f"{name}.bias"] * 2**shift for x, name in ((z, "linear"), (a, "head")))
    samples = round_n(interleave(direct, 16) + interleave(detail, 4), 13 + shift).clip(0, 255)
    return samples[: header.height, : header.width]


# Section 9.7: alpha.

def decode_alpha(header: Header) -> np.ndarray | None:
    """uint8[height,width]"""
    if header.alpha is None:
        return None
    data, height, width = header.alpha, header.height, header.width
    require(len(data) >= 2 and data[0] <= 3, "alpha method")
    if data[0] == 0:
        require(len(data) == 2, "bytes after a constant plane")
        return np.full((height, width), data[1], np.uint8)
    if data[0] == 3:
        rows = inflate(data[1:], height, 1 + width).astype(np.int64)
        plane = np.zeros((height + 1, width + 1), np.int64)  # row 0 and column 0: the zeros outside
        for y, (f, *residuals) in enumerate(rows.tolist(), 1):
            require(f <= 3, "alpha filter")
            for x, r in enumerate(residuals, 1):
                left, up, corner = plane[y, x - 1], plane[y - 1, x], plane[y - 1, x - 1]
                plane[y, x] = (r + (0, left, up, left + up - corner)[f]) % 256
        return plane[1:, 1:].astype(np.uint8)
    require(len(data) >= 3 and data[1] < data[2], "alpha values")
    rows = inflate(data[3:], height, (width + 7) // 8)
    if data[0] == 2:
        for y in range(1, height):
            rows[y] ^= rows[y - 1]
    mask = np.unpackbits(rows, axis=1)
    require(not mask[:, width:].any(), "alpha padding")
    return np.where(mask[:, :width], np.uint8(data[2]), np.uint8(data[1]))


def inflate(data: bytes, height: int, row: int) -> np.ndarray:
    """uint8[height,row]"""
    stream = zlib.decompressobj(-15)
    try:
        content = stream.decompress(data, height * row + 1)
    except zlib.error as error:
        raise Invalid(f"alpha: {error}") from None
    require(stream.eof and not stream.unused_data and len(content) == height * row, "alpha content")
    return np.frombuffer(content, np.uint8).reshape(height, row).copy()


# Section 9.14: curves.

def bend(samples: np.ndarray, header: Header) -> None:
    """int64[height,width,channels], in place."""
    if header.curves is None:
        return
    nodes = np.frombuffer(header.curves, np.int8).astype(int).reshape(-1, samples.shape[2])
    last = len(nodes) - 1
    for channel in range(samples.shape[2]):
        table = []
        for x in range(256):
            i, f = divmod(x * last, 255)
            off = (int(nodes[i, channel]) * (255 - f) + int(nodes[min(i + 1, last), channel]) * f + 510) // 1020
            table.append(min(max(x + off, 0), 255))
        samples[:, :, channel] = np.array(table)[samples[:, :, channel]]


# Section 9.13: plain blocks.

@dataclass
class Plain:
    reach: int
    colours: np.ndarray  # int64[n,channels]
    indices: bytes
    labels: np.ndarray  # int64[rows,columns]


def read_plain(header: Header) -> Plain | None:
    if header.plain is None:
        return None
    b = Bytes(header.plain)
    n, reach = b.uint(1), b.uint(1)
    require(1 <= n <= 254 and reach <= 32, "colours or reach")
    channels = 1 if header.grey else 3
    colours = np.array(list(b.take(n * channels)), np.int64).reshape(n, channels)
    indices = b.take(b.uvarint(3))
    size = -(-header.height // 16), -(-header.width // 16)
    coded = header.plain[b.position :]
    require(n == 1 or len(coded) > 0, "no map")
    labels = read_map(coded, *size, n) if coded else np.full(size, 2)
    require(reach > 0 or not (labels == 1).any(), "cleaned within 0")
    return Plain(reach, colours, indices, labels)


def read_map(data: bytes, rows: int, columns: int, n: int) -> np.ndarray:
    """The rows of frequencies depend on the symbols before: they are made while `decode_segment` asks for them."""
    require(2048 * len(data) >= rows * columns, "map too short")
    labels, counts, symbol = np.zeros((rows, columns), np.int64), np.ones((72, 4), np.int64), []

    class Rows:
        def __len__(self):
            return 1

        def __iter__(self):
            for y, x in itertools.product(range(rows), range(columns)):
                left = labels[y, x - 1] if x else labels[y - 1, x] if y else 0
                up = labels[y - 1, x] if y else left
                right = labels[y - 1, x + 1] if y and x + 1 < columns else up
                corner = labels[y - 1, x - 1] if y and x else up
                context = 24 * min(left, 2) + 8 * min(up, 2) + 4 * (right >= 2) + 2 * (corner >= 2) + (left == up)
                expected = next((label for label in (left, up, right, corner) if label >= 2), 2)
                total = counts[context].sum()
                yield [int(j + 65532 * counts[context, :j].sum() // total) for j in range(5)]
                found = symbol[-1]
                counts[context, found] += 4
                if counts[context].sum() > 1024:
                    counts[context] = (counts[context] + 1) // 2
                if found == 3:
                    yield [65536 * j // n for j in range(n + 1)]
                    labels[y, x] = 2 + symbol[-1]
                else:
                    labels[y, x] = expected if found == 2 else found

    found, length = decode_segment(data, Rows(), symbol)
    require(length == len(data), "bytes after the map")
    return labels


def given_indices(header: Header, model: Model) -> dict[tuple[int, int], np.ndarray]:
    plain = read_plain(header)
    if plain is None:
        return {}
    rest = np.concatenate([indices_at_rest(model.codebook[f"s{i}"]) for i in range(len(model.slices))])
    of_colour = [rest.copy() for _ in plain.colours]
    if plain.indices:
        first, size = alphabets(slice_tensors(model, 0), header.quality)
        widths = [int(a - 1).bit_length() for a in size]
        total, value = len(of_colour) * sum(widths), int.from_bytes(plain.indices, "little")
        require(len(plain.indices) == -(-total // 8) and value < 1 << total, "length of the indices")
        for indices in of_colour:
            for g, width in enumerate(widths):
                symbol, value = value % (1 << width), value >> width
                require(symbol < size[g], "index")
                indices[g] = first[g] + symbol
    return {(y, x): of_colour[label - 2] for (y, x), label in np.ndenumerate(plain.labels) if label >= 2}


def finish_plain(samples: np.ndarray, header: Header) -> None:
    """int64[height,width,channels], in place."""
    plain = read_plain(header)
    if plain is None:
        return
    for (y, x), label in np.ndenumerate(plain.labels):
        block = samples[16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
        if label >= 2:
            block[:] = plain.colours[label - 2]
        elif label == 1:
            for pixel in (block[i, j] for i, j in np.ndindex(block.shape[:2])):
                distances = np.abs(plain.colours[:16] - pixel).max(1)
                p, d, t = plain.colours[distances.argmin()], int(distances.min()), plain.reach
                if d <= t:
                    pixel[:] = p
                elif d < 2 * t:
                    pixel[:] = p + (4 * (pixel - p) * (d - t) + d) // (2 * d)
