"""What JPEG 2000 (JP2) and HEIF files (AVIF, HEIC) say about colour in their `colr` boxes, which Pillow leaves aside, and
the size of JPEG XL pictures.

Sources: ISO/IEC 15444-1 annex I (JP2), ISO/IEC 14496-12 (boxes, `nclx`), 23008-12 (properties of items).
"""

from __future__ import annotations

import struct

from .source import Colour

_MOST_BOXES = 1 << 12


def jp2_colour(data: bytes) -> Colour:
    """The first specification of a JP2 file that Pillow does not follow by itself: an ICC profile, or code points."""
    for kind, start, end in _boxes(data, 12, len(data)):
        if kind != b"jp2h":
            continue
        for child, first, last in _boxes(data, start, end):
            if child != b"colr" or last - first < 3:
                continue
            method = data[first]
            if method == 1:
                return Colour()
            if method in (2, 3):  # restricted, any
                return Colour(icc=bytes(data[first + 3 : last]))
            if method == 5 and last - first >= 10:
                primaries, transfer, _, full = struct.unpack_from(">HHHB", data, first + 3)
                return Colour(cicp=(primaries, transfer, True))
    return Colour()


def heif_colour(data: bytes) -> Colour:
    """Code points (`nclx`) of the primary item of an AVIF or HEIC file."""
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"meta":
            return _item_colour(data, start + 4, end)
    return Colour()


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG XL file, whose plug-in decodes it as a whole before it says them (ISO/IEC 18181-1, size
    header)."""
    head = data[:32] if data[:2] == b"\xff\x0a" else b""
    for kind, start, end in () if head else _boxes(data, 0, len(data)):
        if kind in (b"jxlc", b"jxlp"):
            head = data[start + 4 * (kind == b"jxlp") : end][:32]
            break
    if head[:2] != b"\xff\x0a" or len(head) < 12:
        return None
    bits, at = int.from_bytes(head[2:], "little"), 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & ((1 << count) - 1)

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    height, ratio = side(), take(3)
    across, down = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio]
    return (height * across // down if ratio else side()), height


def _item_colour(data: bytes, start: int, end: int) -> Colour:
    primary, properties, used = None, [], {}
    for kind, first, last in _boxes(data, start, end):
        if kind == b"pitm":
            primary = _number(data, first + 4, 4 if data[first] else 2)
        elif kind == b"iprp":
            for child, low, high in _boxes(data, first, last):
                if child == b"ipco":
                    properties = list(_boxes(data, low, high))
                elif child == b"ipma":
                    used |= _associations(data, low, high)
    of_item = [properties[i - 1] for i in used.get(primary, ()) if 0 < i <= len(properties)]
    for kind, first, last in of_item:
        if kind == b"colr" and last - first >= 11 and data[first : first + 4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", data, first + 4)
            return Colour(cicp=(primaries, transfer, True))  # decoders expand narrow ranges
    return Colour()


def _associations(data: bytes, at: int, end: int) -> dict[int, list[int]]:
    """Numbers of properties, from 1, by item."""
    version, wide = data[at], data[at + 3] & 1
    found, count, at = {}, _number(data, at + 4, 4), at + 8
    for _ in range(min(count, _MOST_BOXES)):
        if at >= end:
            break
        size = 4 if version else 2
        item, amount, at = _number(data, at, size), data[at + size], at + size + 1
        step = 2 if wide else 1
        numbers = [_number(data, at + i * step, step) for i in range(amount)]
        found[item] = [number & (0x7FFF if wide else 0x7F) for number in numbers]
        at += amount * step
    return found


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _boxes(data: bytes, at: int, end: int):
    """Yields (type, begin of the content, its end)."""
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        size, head = _number(data, at, 4), 8
        if size == 1:
            size, head = _number(data, at + 8, 8), 16
        elif size == 0:
            size = end - at
        if size < head or at + size > end:
            return
        yield bytes(data[at + 4 : at + 8]), at + head, at + size
        at += size
