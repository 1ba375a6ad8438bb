"""What the header of a .vq file says. Needs neither torch nor the stream's model."""

from __future__ import annotations

from dataclasses import dataclass

from . import stream as container

BLOCK = 16  # pixels per side of the block that one grid position stands for


@dataclass(frozen=True)
class Inspection:
    """width, height in pixels; quality in 1..N; blocks: (rows, columns) of every index grid; sizes in bytes;
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
    alpha_bytes: int
    bytes: int
    bpp: float


def inspect(data: bytes) -> Inspection:
    """Raises CorruptStreamError or UnsupportedError for what is not a complete stream."""
    container.unpack(data)
    h = container.peek(data)
    return Inspection(
        width=h.width, height=h.height, quality=quality_of(h.quality), grey=h.grey, alpha=h.alpha_length is not None,
        model_id=h.model_id, model_hash=h.model_hash.hex(), blocks=(-(-h.height // BLOCK), -(-h.width // BLOCK)),
        header_bytes=h.size, payload_bytes=sum(h.segment_lengths),
        segment_bytes=None if h.joined else h.segment_lengths, alpha_bytes=h.alpha_length or 0, bytes=len(data),
        bpp=8 * len(data) / (h.width * h.height))


def quality_of(sixteenths: int) -> float:
    """The user's quality scale: 1 is the lowest."""
    return 1 + sixteenths / 16


def usual_quality(highest: int) -> float:
    """What is used where none is asked for: the middle of the scale."""
    return (1 + highest) / 2
