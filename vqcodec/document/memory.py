"""How much memory a document takes: that of its largest page, and of the streams of its pages while they wait."""

from __future__ import annotations

MIB = 1 << 20
_OF_A_PIXEL = 56  # bytes, mask and what is known of each pixel; of pages in colour, layers and the picture model's strips
_TABLES = 64 * MIB


def needed(pixels: int) -> int:
    """Bytes that a page of so many pixels takes while it is encoded or decoded: an upper estimate."""
    return _TABLES + _OF_A_PIXEL * pixels


def pixels_of(file, command: str) -> int:
    """Of the largest page, by the beginning of a file; of a PDF, and where that cannot be read, those of a usual page."""
    from . import stream

    usual = 9_000_000
    try:
        if command == "decode":
            return stream.peek(file.read(1 << 16))[0].largest
        from PIL import Image

        from ..picture.file import pillow_limits

        with pillow_limits(), Image.open(file) as image:
            return image.width * image.height
    except Exception:
        return usual
