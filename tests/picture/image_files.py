"""Image files built byte by byte, such as Pillow does not write: PNG chunks, TIFF directories, boxes."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

SHORT, LONG, RATIONAL = 3, 4, 5
_CODES = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 5: "I"}


def skip_without(format: str) -> None:
    """Older releases of Pillow cannot write every format."""
    Image.init()
    if format not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {format}")


def skip_before(major: int) -> None:
    if int(Image.__version__.split(".")[0]) < major:
        pytest.skip("this Pillow is too old")


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    skip_without(format)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)


def png_with(data: bytes, *chunks: bytes, last: bool = False) -> bytes:
    """A PNG file with chunks behind IHDR or, if `last`, before IEND."""
    at = len(data) - 12 if last else 33
    return data[:at] + b"".join(chunks) + data[at:]


def png_of(samples: np.ndarray, *chunks: bytes) -> bytes:
    """PNG file of uint8 or uint16 [h,w] or [h,w,2|3|4]."""
    height, width = samples.shape[:2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[1 if samples.ndim == 2 else samples.shape[2]]
    rows = b"".join(b"\0" + row.astype(samples.dtype.newbyteorder(">")).tobytes() for row in samples)
    head = struct.pack(">IIBBBBB", width, height, 8 * samples.dtype.itemsize, kind, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


def directory(pixels: bytes, width: int, height: int, bits: tuple, photometric: int, **others) -> dict:
    """Tags of one picture, uncompressed in one strip unless `others` say else: t254=1 for NewSubfileType and so on."""
    tags = {256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, list(bits)), 259: (SHORT, [1]),
            262: (SHORT, [photometric]), 273: (LONG, pixels), 277: (SHORT, [len(bits)]), 278: (LONG, [height]),
            279: (LONG, [len(pixels)])}
    for name, value in others.items():
        tags[int(name[1:])] = value if isinstance(value, tuple) else (LONG, value if isinstance(value, list) else [value])
    return tags


def tiff(*directories: dict, order: str = "<", big: bool = False) -> bytes:
    """A TIFF file of a chain of directories; tag 330 holds a list of directories, 273 the bytes of each strip."""
    out = bytearray({"<": b"II", ">": b"MM"}[order])
    out += struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 0) if big else (42, 0)))
    link = len(out) - (8 if big else 4)
    for tags in directories:
        at, following = _written(out, tags, order, big)
        struct.pack_into(order + ("Q" if big else "I"), out, link, at)
        link = following
    return bytes(out)


def _written(out: bytearray, tags: dict, order: str, big: bool) -> tuple[int, int]:
    """Appends a directory; its offset, and the place of the next one's."""
    entries, pointer, width = [], "Q" if big else "I", 8 if big else 4
    for tag in sorted(tags):
        kind, values = tags[tag]
        if tag == 330:
            values = [_written(out, below, order, big)[0] for below in values]
        if tag == 273:
            places = []
            for strip in [values] if isinstance(values, bytes) else values:
                places.append(len(out))
                out += strip
            values = places
        data = bytes(values) if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
        count = len(data) // {1: 1, 2: 1, 7: 1, 3: 2, 4: 4, 5: 8}[kind]
        if len(data) > width:
            out += bytes(len(out) % 2)
            place, data = len(out), data
            out += data
            data = struct.pack(order + pointer, place)
        entries.append(struct.pack(order + "HH" + pointer, tag, kind, count) + data.ljust(width, b"\0"))
    out += bytes(len(out) % 2)
    at = len(out)
    out += struct.pack(order + ("Q" if big else "H"), len(entries)) + b"".join(entries)
    out += bytes(width)
    return at, len(out) - width


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content
