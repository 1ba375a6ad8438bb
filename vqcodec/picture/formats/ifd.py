"""Directories of TIFF structures (TIFF, BigTIFF, EXIF), where they lie in the bytes: for looking, and for mending in place.

Standard library only. Nothing here trusts an offset or a count: what lies outside of the data is a ValueError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_MOST_VALUES = 1 << 16  # of one entry that is read as numbers


@dataclass(frozen=True)
class Entry:
    """One tag: its type, the count of its values, and where the `size` bytes of these begin."""

    tag: int
    type: int
    count: int
    at: int
    size: int


@dataclass(frozen=True)
class Directory:
    """offset: where it begins; entries by tag; end: where the offset of the next directory, `next`, is written."""

    offset: int
    entries: dict[int, Entry]
    end: int
    next: int


class TiffStructure:
    """A TIFF structure in bytes or a bytearray. Raises ValueError where the data are none."""

    def __init__(self, data):
        self.data = data
        self.order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]), "")
        version = bytes(data[2:4])
        if not self.order or version not in (b"*\0", b"\0*", b"+\0", b"\0+"):
            raise ValueError("no byte order")
        self.big = b"+" in version
        self.pointer, self.width = ("Q", 8) if self.big else ("I", 4)
        self.header = 8 if self.big else 4  # where the offset of the first directory is written
        self.first = self.number(self.pointer, self.header)

    def number(self, code: str, at: int) -> int:
        return self.numbers(code, at, 1)[0]

    def numbers(self, code: str, at: int, count: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(f"{self.order}{count}{code}", self.data, at)
        except (struct.error, OverflowError) as error:
            raise ValueError("an offset leads out of the data") from error

    def directory(self, offset: int) -> Directory:
        """Entries of unknown types or with values outside of the data are left out."""
        count = self.number("Q" if self.big else "H", offset)
        start, step = offset + (8 if self.big else 2), 20 if self.big else 12
        end = start + count * step
        if offset < 8 or end + self.width > len(self.data):
            raise ValueError("a directory leads out of the data")
        entries = {}
        for at in range(start, end, step):
            tag, kind = self.numbers("H", at, 2)
            values = self.number(self.pointer, at + 4)
            size = _SIZES.get(kind, 0) * values
            place = at + 4 + self.width
            if size > self.width:
                place = self.number(self.pointer, place)
            if size and place + size <= len(self.data):
                entries.setdefault(tag, Entry(tag, kind, values, place, size))
        return Directory(offset, entries, end, self.number(self.pointer, end))

    def values(self, directory: Directory, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The integers of a tag; `default` where it is missing or of another type."""
        entry = directory.entries.get(tag)
        if entry is None or entry.type not in _INTEGERS or entry.count > _MOST_VALUES:
            return default
        return self.numbers(_INTEGERS[entry.type], entry.at, entry.count)

    def value(self, directory: Directory, tag: int, default: int = 0) -> int:
        return (*self.values(directory, tag), default)[0]

    def set_value(self, directory: Directory, tag: int, value: int) -> None:
        """Put a number in place of the first one of an entry that has any. Needs a bytearray."""
        entry = directory.entries.get(tag)
        if entry is not None and entry.type in _INTEGERS:
            struct.pack_into(self.order + _INTEGERS[entry.type], self.data, entry.at, value)

    def point_to(self, offset: int) -> None:
        """Make another directory the first. Needs a bytearray."""
        struct.pack_into(self.order + self.pointer, self.data, self.header, offset)
