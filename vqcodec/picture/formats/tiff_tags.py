"""Puts the tags of EXIF data, with their directories, and an XMP packet into a TIFF file, behind what is there.

Pillow writes directories of EXIF into uncompressed TIFF files only.
"""

from __future__ import annotations

import struct

import numpy as np

from .ifd import Directory, TiffStructure

_XMP = 700
_BELOW = frozenset({0x8769, 0x8825, 0xA005})  # EXIF, GPS, interoperability
_UNITS = {3: 2, 8: 2, 4: 4, 5: 4, 9: 4, 10: 4, 11: 4, 13: 4, 12: 8, 16: 8, 17: 8, 18: 8}  # bytes that an order swaps
_BYTE, _LONG = 1, 4


def with_tags(encoded: bytes, exif: bytes | None, xmp: bytes | None, structural: frozenset[int]) -> bytes:
    """A TIFF file with a new first directory: its own tags, those of EXIF's main directory that are not `structural`, and
    XMP. Raises ValueError for data that are no EXIF."""
    out = TiffStructure(bytearray(encoded))
    main = out.directory(out.first)
    start, step = main.offset + 2, 12
    entries = {out.number("H", at): bytes(out.data[at : at + step]) for at in range(start, main.end, step)}
    if exif:
        source = TiffStructure(exif)
        for tag, entry in _entries(out, source, source.directory(source.first), 0).items():
            if tag not in structural:
                entries.setdefault(tag, entry)
    if xmp:
        entries[_XMP] = _entry(out, _XMP, _BYTE, len(xmp), xmp)
    out.point_to(_append(out, entries, main.next))
    return bytes(out.data)


def _entries(out: TiffStructure, source: TiffStructure, directory: Directory, depth: int) -> dict[int, bytes]:
    """Entries for `out`, whose values and directories below are appended to it."""
    found = {}
    for tag, entry in directory.entries.items():
        if tag in _BELOW:
            if depth < 2:
                below = source.directory(source.value(directory, tag))
                place = _append(out, _entries(out, source, below, depth + 1), 0)
                found[tag] = _entry(out, tag, _LONG, 1, struct.pack(out.order + "I", place))
            continue
        value = bytes(source.data[entry.at : entry.at + entry.size])
        unit = _UNITS.get(entry.type, 1)
        if out.order != source.order and unit > 1:
            value = np.frombuffer(value, f"u{unit}").byteswap().tobytes()
        found[tag] = _entry(out, tag, entry.type, entry.count, value)
    return found


def _entry(out: TiffStructure, tag: int, kind: int, count: int, value: bytes) -> bytes:
    if len(value) > 4:
        out.data.extend(bytes(len(out.data) % 2))
        place, _ = len(out.data), out.data.extend(value)
        value = struct.pack(out.order + "I", place)
    return struct.pack(out.order + "HHI", tag, kind, count) + value.ljust(4, b"\0")


def _append(out: TiffStructure, entries: dict[int, bytes], following: int) -> int:
    """Offset of a directory of these entries."""
    out.data.extend(bytes(len(out.data) % 2))
    place = len(out.data)
    out.data.extend(struct.pack(out.order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
                    + struct.pack(out.order + "I", following))
    return place
