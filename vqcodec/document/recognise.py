"""Is a file a document? PDFs are, TIFFs of several pages, TIFFs and PNGs of one bit a pixel. Standard library only."""

from __future__ import annotations

import os
import struct

PDF, PNG = b"%PDF-", b"\x89PNG\r\n\x1a\n"
TIFFS = {b"II*\0": "<", b"MM\0*": ">"}
_MAX_DIRECTORIES = 64
_SUBFILE, _BITS, _SAMPLES = 254, 258, 277
_SIZES = {1: 1, 3: 2, 4: 4}


def is_document(head: bytes, name: str = "") -> bool:
    """name: of a regular file, whose directories may be behind its `head`."""
    if is_pdf(head):
        return True
    if head.startswith(PNG):
        return len(head) > 25 and head[12:16] == b"IHDR" and head[24] == 1 and head[25] == 0
    if head[:4] in TIFFS:
        return _pages(head, name, TIFFS[head[:4]])
    return False


def may_be_document(head: bytes) -> bool:
    """Whether it can be read as one where the user says so."""
    return is_pdf(head) or head.startswith((PNG, b"\xff\xd8\xff", b"BM")) or head[:4] in TIFFS


def is_pdf(head: bytes) -> bool:
    return PDF in head[:1024]


def _pages(head: bytes, name: str, order: str) -> bool:
    """Whether a TIFF has several full pages, or one of one bit."""
    file = None
    try:
        def read(position: int, count: int) -> bytes:
            nonlocal file
            if position + count <= len(head):
                return head[position : position + count]
            if file is None and not os.path.isfile(name):
                return b""
            file = file or open(name, "rb")  # noqa: SIM115
            file.seek(position)
            return file.read(count)

        (position,), pages = struct.unpack(order + "I", head[4:8]), 0
        for _ in range(_MAX_DIRECTORIES):
            tags, position = _directory(read, position, order)
            if tags is None:
                return False
            if not tags.get(_SUBFILE, 0) & 1:
                pages += 1
                if pages > 1 or (tags.get(_BITS, 1), tags.get(_SAMPLES, 1)) == (1, 1):
                    return True
            if not position:
                return False
        return pages > 1
    except (OSError, struct.error):
        return False
    finally:
        if file:
            file.close()


def _directory(read, position: int, order: str) -> tuple[dict[int, int] | None, int]:
    """({tag: value of one small integer}, position of the next directory)."""
    data = read(position, 2)
    if len(data) < 2:
        return None, 0
    (count,) = struct.unpack(order + "H", data)
    entries = read(position + 2, 12 * count + 4)
    if len(entries) < 12 * count + 4:
        return None, 0
    tags = {}
    for i in range(count):
        tag, kind, values = struct.unpack(order + "HHI", entries[12 * i : 12 * i + 8])
        if tag in (_SUBFILE, _BITS, _SAMPLES) and kind in _SIZES and values == 1:
            size = _SIZES[kind]
            tags[tag] = int.from_bytes(entries[12 * i + 8 : 12 * i + 8 + size], "little" if order == "<" else "big")
        elif tag == _BITS:
            tags[tag] = 8
    return tags, struct.unpack(order + "I", entries[12 * count :])[0]
