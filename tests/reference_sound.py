"""A decoder of .vq files of sound, written from section 10 of bitstream_spec.md; the rest is `reference_decoder`.

    header, grids = decode_grids(data, model)       samples = synthesise(grids, header, model)
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import reference_decoder as reference
from reference_decoder import Bytes, Common, Model, Segments, require


@dataclass
class Header(Common):
    rate: int
    channels: int
    coded: int
    length: int
    gain: int
    gains: list  # f64[coded,n·H] of each chunk, what its samples are multiplied by; empty where the header's gain is all
    seed: bytes  # what the checksums of chunks begin with
    metadata: bytes | None


def parse(data: bytes) -> tuple[Header, Bytes]:
    """(header, a reader at the first chunk)"""
    common, b = reference.parse_common(data, 1, 0xA0)
    rate, channels, coded, length = b.uvarint(3), b.uvarint(2), b.uvarint(2), b.uvarint(6)
    gain = int.from_bytes(b.take(1), "little", signed=True)
    metadata_length, metadata_crc = reference.parse_end(common.flags, b)
    seed = data[b.position - 2 : b.position] if common.flags & 8 else b""
    require(common.model_id < 1 << 16 and 1 <= rate < 1 << 20 and 1 <= channels <= 255 and 1 <= length <= 1 << 40, "ranges")
    require(coded in (1, channels), "coded channels")
    metadata = b.take(metadata_length)
    require(zlib.crc32(metadata) == metadata_crc, "metadata checksum")
    return Header(**vars(common), rate=rate, channels=channels, coded=coded, length=length, gain=gain, gains=[], seed=seed,
                  metadata=metadata or None), b


def sizes(header: Header, model: Model) -> tuple[int, int, int]:
    """(N samples at the model's rate, T frames, U units)"""
    t = model.config["transform"]
    samples = -(-header.length * t["sample_rate"] // header.rate)
    return samples, -(-samples // (2 * t["hop"])), -(-header.coded // t["channels"])


def decode_grids(data: bytes, model: Model) -> tuple[Header, np.ndarray]:
    """(header, int64[G,U,T])"""
    header, b = parse(data)
    require(header.model_hash == model.hash, "another model")
    require(header.quality <= 16 * (model.qualities - 1), "quality")
    assert all(s.phases == 2 for s in model.slices)
    present = reference.present_slices(header.quality, model)
    _, frames, units = sizes(header, model)
    per_chunk, parts = model.config["transform"]["chunk"], []
    require(-(-frames // per_chunk) <= 1 << 32, "number of chunks")
    for number, first in enumerate(range(0, frames, per_chunk)):
        start = b.position
        length, crc = b.uvarint(4), b.uint(4)
        require(1 <= length <= 1 << 24, "payload length")
        covered = header.seed + number.to_bytes(4, "little") + data[start : b.position]
        require(reference.crc16(covered) == b.uint(2), "chunk checksum")
        count = min(per_chunk, frames - first)
        payload, words = b.take(length), b""
        if header.flags & 16:
            values, payload = read_gains(payload, header.coded, count)
            words = (values + 64).astype("<u2").tobytes()
            header.gains.append(gain_curves(values, count, 2 * model.config["transform"]["hop"]))
        payload = Segments(payload)
        require(length >= reference.least_payload(units * count, header.quality, model, present), "payload too short")
        grids = np.concatenate([reference.decode_band(1, count, header.quality, model, payload, present)
                                for _ in range(units)], 1)
        require(payload.rest == b"", "bytes after the last segment")
        require(zlib.crc32(words + grids.astype("<u2").tobytes()) == crc, "grid checksum")
        parts.append(grids)
    require(b.position == len(data), "bytes after the last chunk")
    return header, np.concatenate(parts, 2)


def knots(count: int) -> list[int]:
    return [*range(0, count, 16), count]


def read_gains(payload: bytes, channels: int, count: int) -> tuple[np.ndarray, bytes]:
    """(gains int64[channels,knots], what follows them)"""
    b = Bytes(payload)
    length, table = divmod(b.uvarint(3), 4)
    require(length > 0 or table == 0, "gains")
    values = np.zeros((channels, len(knots(count))), np.int64)
    if length:
        masses = [0] + [8 + ((160, 640, 2560, 6400)[table] >> min(s, 128 - s) // 2) for s in range(1, 128)]
        masses[0] = 65536 - sum(masses)
        row = np.concatenate([[0], np.cumsum(masses)])
        segment = Segments(b.take(length))
        symbols = np.reshape(segment.read([row] * values.size), values.shape)
        require(segment.rest == b"", "the length of the gains")
        values = (np.cumsum(symbols, 1) + 64) % 128 - 64
        require(values.any(), "gains of 0")
    return values, payload[b.position :]


def gain_curves(values: np.ndarray, count: int, size: int) -> np.ndarray:
    at, rows = knots(count), []
    for gains in values:
        row = []
        for i in range(count * size):
            x = (i + 0.5) / size
            k = min(int(x // 16), len(at) - 2)
            row.append(2 ** ((gains[k] + (gains[k + 1] - gains[k]) * (x - at[k]) / (at[k + 1] - at[k])) / 4))
        rows.append(row)
    return np.array(rows)


def conv(x: np.ndarray, t: dict, name: str, dilation: int = 1) -> np.ndarray:
    """f64[O,n] of f64[I,n]"""
    weight, bias = t[f"{name}.weight"][:, :, 0], t[f"{name}.bias"]
    if weight.shape[2] == 1:
        return weight[:, :, 0] @ x + bias[:, None]
    n, padded = x.shape[1], np.pad(x, ((0, 0), (dilation, dilation)))
    return sum(weight[:, :, i] @ padded[:, i * dilation : i * dilation + n] for i in range(3)) + bias[:, None]


def blocks(x: np.ndarray, t: dict, name: str, dilations) -> np.ndarray:
    for j, dilation in enumerate(dilations):
        h = reference.silu(conv(reference.soften(x), t, f"{name}.{j}.conv1", dilation))
        x = x + conv(h, t, f"{name}.{j}.conv2")
    return x


def unfold(x: np.ndarray) -> np.ndarray:
    out = np.empty((len(x) // 2, 2 * x.shape[1]))
    out[:, 0::2], out[:, 1::2] = x[0::2], x[1::2]
    return out


def noise(count: int, channel: int) -> np.ndarray:
    rows = []
    for j in range(count):
        x = (j * 0x9E3779B1 + channel * 0x85EBCA77) % 2**32
        x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
        x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
        x ^= x >> 16
        rows.append((x >> 8) / 2**23 - 1)
    return np.array(rows)


def lapped(v: np.ndarray, size: int) -> np.ndarray:
    """f64[T·size] of companded coefficients f64[n,T]."""
    c = np.sign(v) * np.abs(v) ** (10 / 7)
    i, k = np.arange(size), np.arange(len(v))
    x = (np.cos(np.pi / size * (i[:, None] + 0.5) * (k + 0.5)) @ c).T.reshape(-1)
    for border in range(size, len(x), size):
        for j in range(size // 2):
            after, before = x[border + j], x[border - 1 - j]
            angle = np.pi / (2 * size) * (size // 2 + j + 0.5)
            x[border + j] = np.sin(angle) * after - np.cos(angle) * before
            x[border - 1 - j] = np.cos(angle) * after + np.sin(angle) * before
    return x


def synthesise(grids: np.ndarray, header: Header, model: Model) -> np.ndarray:
    """f64[T·H,coded]: samples at the model's rate, the gain applied."""
    _, frames, units = sizes(header, model)
    config, t, q = model.config["transform"], model.decoder, header.quality
    p, channels = config["hop"], []
    k, a = np.arange(4 * p), 3 * p // 2
    w = (1 - np.cos(2 * np.pi * k / (4 * p))) / 2
    for unit in range(units):
        y = reference.latents(grids[:, unit : unit + 1], model)[:, 0]
        z = y * np.exp(-reference.lerp(t["log_gain"], q)[:, :, 0])
        tones = config.get("tones", [])
        dims = len(z) - sum(tones)
        z, tonal = z[:dims], z[dims:]
        h = np.concatenate([z, tonal / np.sqrt(np.abs(tonal) + 1e-3)])
        h = conv(h, t, "stem") * reference.lerp(t["condition.scale"], q)[:, :, 0]
        h = h + reference.lerp(t["condition.bias"], q)[:, :, 0]
        h = blocks(h, t, "blocks2", config["decoder_dilations"][0])
        h = blocks(unfold(conv(h, t, "up")), t, "blocks1", config["decoder_dilations"][1])
        logs = unfold(conv(z, t, "linear")) + conv(h, t, "head")
        real, imaginary, share = np.split(conv(h, t, "phase_head"), 3)
        for channel in range(config["channels"]):
            rows = slice(channel * (2 * p + 1), (channel + 1) * (2 * p + 1))
            hiss = np.pad(noise(frames * 2 * p, channel), (a, 4 * p))
            out, weight = np.zeros(frames * 2 * p + 4 * p + a), np.zeros(frames * 2 * p + 4 * p + a)
            for column in range(2 * frames):
                n = np.fft.rfft(hiss[column * p :][: 4 * p] * w / w.sum())
                v, g = real[rows, column] + 1j * imaginary[rows, column], np.log1p(np.exp(share[rows, column]))
                v, power = v + np.sqrt(8 * p) * g * n, np.abs(v) ** 2 + g**2
                x = np.exp(np.minimum(2 * logs[rows, column] - 6, 3)) * v / np.sqrt(power + 1e-6)
                x[0], x[-1] = x[0].real, x[-1].real
                out[column * p :][: 4 * p] += np.fft.irfft(x) * w.sum() * w
                weight[column * p :][: 4 * p] += w**2
            out = out[a:][: frames * 2 * p] / weight[a:][: frames * 2 * p]
            if tones:
                first = sum(tones[:channel])
                out += lapped(tonal[first : first + tones[channel]], 2 * p)
            channels.append(out * 2 ** (header.gain / 4))
        if config["channels"] == 2:
            mid, side = channels[-2:]
            channels[-2:] = mid + side, mid - side
    samples = np.stack(channels[: header.coded], 1)
    return samples * np.concatenate(header.gains, 1).T if header.gains else samples
