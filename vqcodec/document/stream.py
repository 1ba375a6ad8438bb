"""Header and pages of a document ⇄ bytes of a .vq file. Standard library only.

    header | metadata | shell | record of page 1, of page 2, ...

`bitstream_spec.md`, section "Documents", defines every byte. A page is a record with its length and a checksum of its
own: who knows the header can decode any page alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import CorruptStreamError, UsageError
from ..stream import Beginning, Reader, Sealed, check_beginning, crc16, pack_beginning, read_beginning, seal, unseal, uvarint

CODE = 4  # of the modality
MAX_PAGES = 1 << 16
MAX_SIDE = 65535
MAX_PIXELS = 1 << 28  # of a page
MAX_RECORD = 1 << 28  # bytes
MAX_SHELL = 1 << 28
MAX_HEADER = 64  # bytes
MAX_DPI = 1 << 20  # in hundredths
CLEANED = 1  # flags of a page
GREY = 2
INVERTED = 4  # of a page of two levels: its mask is white where the page is black

MASK, LAYERS, PICTURE = 0, 1, 2  # kinds of pages
COLOUR, STREAM = 0, 1  # kinds of layers


@dataclass(frozen=True, kw_only=True)
class DocumentHeader:
    """pages: how many; largest: pixels of the largest one; pixels: of all; shell_length: bytes, 0 for none."""

    model_id: int
    model_hash: bytes
    quality: int
    pages: int
    largest: int
    pixels: int
    shell_length: int = 0


@dataclass(frozen=True)
class Page:
    """What a record holds. dpi: (x, y) in hundredths, 0 where it is not known. mask: as `bilevel` has it, None of a picture;
    below, ink: of the layers (3 bytes of a colour, or a stream of a picture); picture: a stream."""

    kind: int
    width: int
    height: int
    dpi: tuple[int, int] = (0, 0)
    flags: int = 0
    mask: bytes | None = None
    below: bytes = b""
    ink: bytes = b""
    picture: bytes = b""


def pack_header(header: DocumentHeader, metadata: bytes | None = None) -> bytes:
    """The header, and the metadata behind it. Raises UsageError where a field is out of range."""
    _check(header, UsageError)
    beginning = Beginning(0, metadata is not None, header.model_id, header.model_hash, header.quality)
    return seal(pack_beginning(CODE, beginning) + uvarint(header.pages) + uvarint(header.largest) + uvarint(header.pixels)
                + uvarint(header.shell_length), metadata)


def peek(data: bytes) -> tuple[DocumentHeader, Sealed]:
    """(header, where it ends) from the first bytes of a file. Raises CorruptStreamError, UnsupportedError."""
    beginning, reader = read_beginning(data, CODE, 0)
    pages, largest, pixels, shell = reader.uvarint(3), reader.uvarint(5), reader.uvarint(7), reader.uvarint(5)
    sealed = unseal(reader, beginning.metadata)
    header = DocumentHeader(model_id=beginning.model_id, model_hash=beginning.model_hash, quality=beginning.quality, pages=pages,
                            largest=largest, pixels=pixels, shell_length=shell)
    _check(header, CorruptStreamError)
    return header, sealed


def _check(header: DocumentHeader, error: type[Exception]) -> None:
    check_beginning(Beginning(0, False, header.model_id, header.model_hash, header.quality), error)
    if not 1 <= header.pages <= MAX_PAGES:
        raise error(f"a document has 1..{MAX_PAGES} pages, not {header.pages}")
    if not (1 <= header.largest <= MAX_PIXELS and header.largest <= header.pixels <= header.largest * header.pages):
        raise error("the document's pages cannot have such sizes")
    if not 0 <= header.shell_length <= MAX_SHELL:
        raise error(f"the shell of a document has {MAX_SHELL} bytes at most")


def pack_shell(shell: bytes) -> bytes:
    return zlib.crc32(shell).to_bytes(4, "little") + shell


def read_shell(file: BinaryIO, header: DocumentHeader, sealed: Sealed) -> bytes:
    """b"" where there is none. Raises CorruptStreamError."""
    if not header.shell_length:
        return b""
    file.seek(sealed.end)
    data = file.read(header.shell_length)
    if len(data) < header.shell_length or len(data) < 4 or zlib.crc32(data[4:]) != int.from_bytes(data[:4], "little"):
        raise CorruptStreamError("the document's shell is damaged: its checksum does not match")
    return data[4:]


def pack_record(number: int, body: bytes, sealed: Sealed) -> bytes:
    """A page's bytes, by `pack_page`, as a record. number: from 0 on."""
    if not 1 <= len(body) <= MAX_RECORD:
        raise UsageError(f"a page takes {MAX_RECORD} bytes at most")
    fields = uvarint(len(body)) + zlib.crc32(body).to_bytes(4, "little")
    return fields + crc16(number.to_bytes(4, "little") + fields, sealed.checksum) + body


def records(file: BinaryIO, header: DocumentHeader, sealed: Sealed, wanted=None) -> Iterator[tuple[int, bytes]]:
    """(number, body) of the pages, or of those `wanted`; others are skipped unread. Raises CorruptStreamError, where all are
    wanted also for bytes behind the last one."""
    position = sealed.end + header.shell_length
    for number in range(header.pages):
        if wanted is not None and number > max(wanted):
            return
        file.seek(position)
        reader = Reader(file.read(4 + 4 + 2))
        length, crc = reader.uvarint(4), reader.uint(4)
        fields = reader.data[: reader.position]
        if reader.take(2) != crc16(number.to_bytes(4, "little") + fields, sealed.checksum):
            raise CorruptStreamError(f"page {number + 1} is damaged: the checksum of its header does not match")
        position += reader.position
        if wanted is None or number in wanted:
            file.seek(position)
            body = file.read(length)
            if len(body) < length:
                raise CorruptStreamError(f"the stream is truncated within page {number + 1}")
            if zlib.crc32(body) != crc:
                raise CorruptStreamError(f"page {number + 1} is damaged: its checksum does not match")
            yield number, body
        position += length
    if wanted is None:
        file.seek(position)
        if file.read(1):
            raise CorruptStreamError("there are bytes behind the last page")


def pack_page(page: Page) -> bytes:
    """Raises UsageError where a field is out of range."""
    _check_page(page, UsageError)
    body = bytes([page.kind, page.flags]) + b"".join(map(uvarint, (page.width, page.height, *page.dpi)))
    if page.kind == PICTURE:
        return body + page.picture
    if page.kind == LAYERS:
        body += _pack_layer(page.below) + _pack_layer(page.ink)
    return body + page.mask


def unpack_page(body: bytes) -> Page:
    """Raises CorruptStreamError, UnsupportedError."""
    reader = Reader(body)
    kind, flags = reader.uint(1), reader.uint(1)
    width, height, dpi = reader.uvarint(3), reader.uvarint(3), (reader.uvarint(3), reader.uvarint(3))
    if kind not in (MASK, LAYERS, PICTURE):
        raise CorruptStreamError(f"there is no page of kind {kind}")
    below = ink = picture = b""
    mask = None
    if kind == LAYERS:
        below, ink = _read_layer(reader), _read_layer(reader)
    rest = body[reader.position :]
    if kind == PICTURE:
        picture = rest
    else:
        mask = rest
    page = Page(kind, width, height, dpi, flags, mask, below, ink, picture)
    _check_page(page, CorruptStreamError)
    return page


def _check_page(page: Page, error: type[Exception]) -> None:
    if not (1 <= page.width <= MAX_SIDE and 1 <= page.height <= MAX_SIDE and page.width * page.height <= MAX_PIXELS):
        raise error(f"a page of {page.width}x{page.height} pixels is beyond the limits of the format")
    if page.flags & ~(CLEANED | GREY | INVERTED):
        raise error("reserved flags of a page are set")
    if max(page.dpi) > MAX_DPI:
        raise error("a page has too many dots per inch")


def _pack_layer(layer: bytes) -> bytes:
    return bytes([COLOUR]) + layer if len(layer) == 3 else bytes([STREAM]) + uvarint(len(layer)) + layer


def _read_layer(reader: Reader) -> bytes:
    kind = reader.uint(1)
    if kind not in (COLOUR, STREAM):
        raise CorruptStreamError(f"there is no layer of kind {kind}")
    length = 3 if kind == COLOUR else reader.uvarint(4)
    if kind == STREAM and length <= 3:
        raise CorruptStreamError("a layer of a page is no stream")
    return reader.take(length)
