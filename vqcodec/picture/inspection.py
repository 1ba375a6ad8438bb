"""What the header of a .vq file says. Needs neither torch nor the stream's model."""

from __future__ import annotations

from dataclasses import dataclass

from ..indices.quality import quality_of
from . import stream

BLOCK = 16  # pixels per side of the block that one grid position stands for


@dataclass(frozen=True)
class Inspection:
    """width, height in pixels; quality in 1..N; blocks: (rows, columns) of every index grid; plain_blocks: those that are painted, not
    coded; curves: what is added to samples against a tint, hexadecimal, as the header has it; sizes in bytes;
    payload_bytes: of all segments; segment_bytes: of each, None where the file has no table of them
    (`Codec.segment_bytes` finds out); bytes: of the whole file; bpp: bits per pixel, everything counted."""

    width: int
    height: int
    quality: float
    grey: bool
    alpha: bool
    model_id: int
    model_hash: str
    blocks: tuple[int, int]
    header_bytes: int
    payload_bytes: int
    segment_bytes: tuple[int, ...] | None
    plain_blocks: int
    plain_bytes: int
    curves: str | None
    alpha_bytes: int
    metadata_bytes: int
    bytes: int
    bpp: float


def inspect(data: bytes) -> Inspection:
    """Raises CorruptStreamError or UnsupportedError for what is not a complete stream."""
    plain = stream.unpack(data).plain
    h = stream.peek(data)
    return Inspection(
        width=h.width, height=h.height, quality=quality_of(h.quality), grey=h.grey, alpha=h.alpha_length is not None,
        model_id=h.model_id, model_hash=h.model_hash.hex(), blocks=(-(-h.height // BLOCK), -(-h.width // BLOCK)),
        plain_blocks=_plain_blocks(plain, h), plain_bytes=len(plain or b""), curves=None if h.curves is None else h.curves.hex(),
        header_bytes=h.size, payload_bytes=sum(h.segment_lengths),
        segment_bytes=None if h.joined else h.segment_lengths, alpha_bytes=h.alpha_length or 0,
        metadata_bytes=h.sealed.metadata_length, bytes=len(data),
        bpp=8 * len(data) / (h.width * h.height))


def _plain_blocks(plain: bytes | None, header: stream.Header) -> int:
    if plain is None:
        return 0
    from .plain import unpack

    return int(unpack(plain, -(-header.height // BLOCK), -(-header.width // BLOCK), header.grey).painted.sum())


def table(facts: dict) -> str:
    """The facts of `inspect` as text: what the picture is, then where the bytes are."""
    model = f"model {facts['model_id']}, hash {facts['model_hash']}"
    kind = ("grey" if facts["grey"] else "colour") + (" with alpha" if facts["alpha"] else "")
    rows, columns = facts["blocks"]
    lines = [
        f"picture    {facts['width']}x{facts['height']}, {kind}",
        f"quality    {facts['quality']:g}",
        f"model      {facts['model']} ({model})" if facts["model"] else f"model      not installed ({model})",
        f"grids      {columns}x{rows} indices each, one for every {BLOCK}x{BLOCK} pixels",
        f"rate       {facts['bpp']:.4f} bpp",
        "",
    ]
    lines[3:3] = [f"labels     {name or 'none'}" for name in facts.get("labels", ())]
    if "pixels_sha256" in facts:
        exact = "" if facts["pixels_exact"] else " (others may differ by 1: this model decodes in floats)"
        lines.insert(-1, f"pixels     {facts['pixels_sha256']}{exact}")
    parts = [("header", facts["header_bytes"])]
    if facts["segment_bytes"] is None:
        parts.append(("segments", facts["payload_bytes"]))
    else:
        parts += [(f"segment {i}", size) for i, size in enumerate(facts["segment_bytes"])]
    if facts["plain_bytes"]:
        lines.insert(-2, f"plain      {facts['plain_blocks']} of {rows * columns} blocks are of one colour, and not coded")
        parts.insert(1, ("plain", facts["plain_bytes"]))
    parts += [("alpha", facts["alpha_bytes"])] * facts["alpha"]
    parts += [("metadata", facts["metadata_bytes"])] * (facts["metadata_bytes"] > 0) + [("total", facts["bytes"])]
    lines += [f"{name:<10} {size:>10} bytes {100 * size / facts['bytes']:>6.2f} %" for name, size in parts]
    return "\n".join(lines)
