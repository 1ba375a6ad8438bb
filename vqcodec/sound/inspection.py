"""What the header of a .vq file of sound says, and whether its chunks are whole. Needs neither torch nor the stream's model."""

from __future__ import annotations

import io
from dataclasses import dataclass

from ..errors import CorruptStreamError
from ..indices.quality import quality_of
from ..stream import checked_metadata
from .stream import SoundHeader, next_chunk, peek, seed_of


@dataclass(frozen=True)
class SoundInspection:
    """seconds; rate in Hz; channels; samples: sample frames; coded_channels: as many as channels, or 1 where all are equal;
    quality in 1..N; kbps: kilobits per second of the whole file; sizes in bytes; chunks: how many there are; bound: their
    checksums cover the header; gain_bytes: what gains that follow the signal take, None where there are none; gains: as they are
    in each chunk."""

    seconds: float
    rate: int
    channels: int
    samples: int
    coded_channels: int
    quality: float
    gain_db: float
    model_id: int
    model_hash: str
    bound: bool
    header_bytes: int
    metadata_bytes: int
    chunks: int
    bytes: int
    kbps: float
    gain_bytes: int | None
    header: SoundHeader
    gains: tuple[bytes, ...]

    def facts(self) -> dict:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("header", "gains")}
        return {"modality": "audio", **values}


def inspect(data: bytes) -> SoundInspection:
    """Raises CorruptStreamError or UnsupportedError for what is not a complete stream. (A stream that was cut between two
    chunks is told from a whole one only with its model: by `verify`.)"""
    header, sealed = peek(data)
    checked_metadata(data, sealed)
    payloads = _payloads(data, header, sealed)
    gains, count = [packed_gains(payload) for payload in payloads] if header.gains else [], len(payloads)
    found = facts(header, len(data))
    return SoundInspection(
        seconds=found["seconds"], rate=header.rate, channels=header.channels, samples=header.length,
        coded_channels=header.coded_channels, quality=found["quality"], gain_db=round(header.gain / 4 * 20 * 0.30103, 2),
        model_id=header.model_id, model_hash=header.model_hash.hex(), bound=header.bound, header_bytes=sealed.size,
        metadata_bytes=sealed.metadata_length, chunks=count, bytes=len(data), kbps=found["kbps"],
        gain_bytes=sum(map(len, gains)) if header.gains else None, header=header, gains=tuple(gains))


def _payloads(data: bytes, header: SoundHeader, sealed) -> list[bytes]:
    """Of the chunks. Raises CorruptStreamError."""
    file, seed, position, found = io.BytesIO(data), seed_of(header, sealed), sealed.end, []
    while position < len(data):
        start, position = next_chunk(file, position, len(found), seed)
        found.append(data[start:position])
    if not found:
        raise CorruptStreamError("the stream is truncated: it has no chunk")
    return found


def grid_payloads(data: bytes) -> list[bytes]:
    """What the chunks hold of grids, behind gains. Raises CorruptStreamError, UnsupportedError."""
    header, sealed = peek(data)
    return [payload[len(packed_gains(payload)) if header.gains else 0 :] for payload in _payloads(data, header, sealed)]


def packed_gains(payload: bytes) -> bytes:
    """The beginning of a chunk's payload. Raises CorruptStreamError."""
    from .gains import size

    return payload[: size(payload)[2]]


def facts(header: SoundHeader, size: int) -> dict:
    """Of a stream of `size` bytes."""
    seconds = header.length / header.rate
    return {"seconds": round(seconds, 6), "duration": round(seconds, 6), "rate": header.rate, "channels": header.channels,
            "samples": header.length, "quality": quality_of(header.quality), "bytes": size, "kbps": 8 * size / seconds / 1000}


def table(facts: dict) -> str:
    """The facts of `inspect` as text."""
    model = f"model {facts['model_id']}, hash {facts['model_hash']}"
    once = " (all equal, coded once)" if facts["coded_channels"] < facts["channels"] else ""
    lines = [
        f"sound      {facts['seconds']:.3f} s, {facts['channels']} x {facts['rate']} Hz{once}",
        f"quality    {facts['quality']:g}",
        f"model      {facts['model']} ({model})" if facts["model"] else f"model      not installed ({model})",
        *(f"labels     {name or 'none'}" for name in dict.fromkeys(facts.get("labels", ()))),
        f"level      {facts['gain_db']:+.2f} dB",
        *([f"gains      {facts['gain_bytes']:>10} bytes"] if facts["gain_bytes"] is not None else []),
        f"rate       {facts['kbps']:.3f} kbps", "",
        f"header     {facts['header_bytes']:>10} bytes",
    ]
    if facts["metadata_bytes"]:
        lines.append(f"metadata   {facts['metadata_bytes']:>10} bytes")
    lines += [f"chunk {i:<4} {size:>10} bytes" for i, size in enumerate(facts.get("chunk_bytes", ()))]
    return "\n".join([*lines, f"total      {facts['bytes']:>10} bytes"])
