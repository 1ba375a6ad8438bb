"""EXIF data as bytes (a TIFF structure), mended in place, so that offsets inside, those of makers' notes too, stay right."""

from __future__ import annotations

from .ifd import Directory, Entry, TiffStructure

_ORIENTATION, _XMP, _EXIF, _GPS, _INTEROPERABILITY = 0x0112, 0x02BC, 0x8769, 0x8825, 0xA005
_COLOUR_SPACE, _ACROSS, _DOWN, _INDEX = 0xA001, 0xA002, 0xA003, 1
_THUMBNAIL, _THUMBNAIL_SIZE = 0x0201, 0x0202
_SRGB, _UNCALIBRATED = 1, 0xFFFF
_PADDING = 64


def adobe_rgb(exif: bytes) -> bool:
    """Whether a camera says that samples are Adobe RGB: colour space "uncalibrated", interoperability index R03 (DCF 2.0)."""
    try:
        structure = TiffStructure(exif)
        below = _below(structure, structure.directory(structure.first), _EXIF)
        index = _index(structure, below)
        return (index is not None and bytes(exif[index.at : index.at + 3]) == b"R03"
                and structure.value(below, _COLOUR_SPACE) == _UNCALIBRATED)
    except ValueError:
        return False


def upright(exif: bytes, swapped: bool) -> bytes:
    """EXIF for samples that are upright and sRGB: orientation 1, sizes swapped where rows became columns, colour space sRGB,
    no thumbnail. Raises ValueError for data that are no EXIF."""
    data = bytearray(exif)
    structure = TiffStructure(data)
    main = structure.directory(structure.first)
    structure.set_value(main, _ORIENTATION, 1)
    below = _below(structure, main, _EXIF)
    if below is not None:
        structure.set_value(below, _COLOUR_SPACE, _SRGB)
        across, down = structure.value(below, _ACROSS), structure.value(below, _DOWN)
        if swapped and across and down:
            try:
                structure.set_value(below, _ACROSS, down)
                structure.set_value(below, _DOWN, across)
            except Exception as error:  # a type too small for the other's number
                raise ValueError("sizes of another type") from error
        index = _index(structure, below)
        if index is not None and data[index.at : index.at + 3] == b"R03":
            data[index.at : index.at + 3] = b"R98"
    _drop_thumbnail(structure, main)
    return bytes(data)


def without_gps(exif: bytes) -> bytes | None:
    """EXIF without the directory of the place; None where that cannot be told apart from the rest."""
    data = bytearray(exif)
    try:
        structure = TiffStructure(data)
        main = structure.directory(structure.first)
        holders = [main] + [below for below in (_below(structure, main, _EXIF),) if below is not None]
        for holder in holders:
            if _GPS in holder.entries:
                gps = structure.directory(structure.value(holder, _GPS))
                _clear(data, gps)
        if _XMP in main.entries:  # may tell the place too; packets have an item of their own
            _zero(data, main.entries[_XMP])
        for holder in holders:
            for tag in (_GPS, _XMP):
                _remove(structure, structure.directory(holder.offset), tag)
        structure.directory(structure.first)
        return bytes(data)
    except ValueError:
        return None


def _below(structure: TiffStructure, directory: Directory, tag: int) -> Directory | None:
    offset = structure.value(directory, tag)
    try:
        return structure.directory(offset) if offset else None
    except ValueError:
        return None


def _index(structure: TiffStructure, exif: Directory | None) -> Entry | None:
    below = _below(structure, exif, _INTEROPERABILITY) if exif is not None else None
    entry = below.entries.get(_INDEX) if below is not None else None
    return entry if entry is not None and entry.size >= 3 else None


def _drop_thumbnail(structure: TiffStructure, main: Directory) -> None:
    """Cuts the second directory's chain off, and its picture away where that lies at the end, as it usually does."""
    data = structure.data
    if not main.next:
        return
    structure.data[main.end : main.end + structure.width] = bytes(structure.width)
    try:
        second = structure.directory(main.next)
    except ValueError:
        return
    start, size = structure.value(second, _THUMBNAIL), structure.value(second, _THUMBNAIL_SIZE)
    if not 8 <= start < start + size <= len(data) or start < second.end or start < main.end:
        return
    data[start : start + size] = bytes(size)
    if len(data) - start - size < _PADDING and not any(data[start + size :]):
        del data[start:]


def _zero(data: bytearray, entry: Entry) -> None:
    data[entry.at : entry.at + entry.size] = bytes(entry.size)


def _clear(data: bytearray, directory: Directory) -> None:
    """Zeros in place of a directory and its values."""
    for entry in directory.entries.values():
        _zero(data, entry)
    data[directory.offset : directory.end] = bytes(directory.end - directory.offset)


def _remove(structure: TiffStructure, directory: Directory, tag: int) -> None:
    """Takes an entry out of a directory; those behind it move up."""
    if tag not in directory.entries:
        return
    data, step, head = structure.data, 20 if structure.big else 12, 8 if structure.big else 2
    kept = [data[at : at + step] for at in range(directory.offset + head, directory.end, step)
            if structure.number("H", at) != tag]
    tail = data[directory.end : directory.end + structure.width]
    end = directory.end + structure.width
    count = len(kept).to_bytes(head, "little" if structure.order == "<" else "big")
    written = count + b"".join(kept) + tail
    data[directory.offset : end] = written + bytes(end - directory.offset - len(written))
