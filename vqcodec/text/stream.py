"""Streams of text: header + blocks ⇄ bytes. `bitstream_spec.md`, section "Text", defines every byte. Standard library only.

    header | metadata | block, block, …        block: method u8, checksum u32, and by its method
        0 stored: the bytes    1 deflated: size, raw deflate    2 coded: a size for each lane, their segments
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from .. import stream
from ..errors import CorruptStreamError, UsageError
from ..stream import Reader, Sealed, uvarint

CODE = 2  # of the modality
MAX_LENGTH = (1 << 35) - 1  # bytes
MAX_BLOCK = 1 << 20
MAX_LANES, FEW_LANES = 256, 4
LANE, SHORT_LANE = 4096, 2048  # bytes of a lane; of the few of short blocks
STORED, DEFLATED, CODED = range(3)
METHODS = ("stored", "deflated", "coded")


@dataclass(frozen=True)
class TextHeader:
    model_id: int  # 0..65535
    model_hash: bytes  # first 4 bytes of the SHA-256 of the model
    length: int  # bytes of text, 1..2^35 - 1
    metadata_length: int = 0


@dataclass(frozen=True)
class Block:
    """parts: of method CODED a segment for each lane, else the bytes that follow; length: bytes of text."""

    method: int
    checksum: int
    parts: tuple[bytes, ...]
    length: int

    def pack(self) -> bytes:
        sizes = self.parts if self.method == CODED else self.parts[: self.method == DEFLATED]
        return (bytes([self.method]) + self.checksum.to_bytes(4, "little") + b"".join(uvarint(len(p)) for p in sizes)
                + b"".join(self.parts))


def lane_count(length: int) -> int:
    """Of a block of so many bytes. A lane begins without knowing what is before it, and so costs some bytes; each byte of the
    longest lane costs time."""
    return max(1, min(FEW_LANES, length // SHORT_LANE), min(MAX_LANES, length // LANE))


def block_lengths(length: int) -> range:
    """Where the blocks of a text begin."""
    return range(0, length, MAX_BLOCK)


def pack_header(header: TextHeader, metadata: bytes | None = None) -> bytes:
    """Raises UsageError for what has no place in a stream."""
    if not 1 <= header.length <= MAX_LENGTH:
        raise UsageError(f"a text has 1..{MAX_LENGTH} bytes, not {header.length}")
    beginning = stream.Beginning(0, metadata is not None, header.model_id, header.model_hash, 0)
    stream.check_beginning(beginning, UsageError)
    return stream.seal(stream.pack_beginning(CODE, beginning) + uvarint(header.length), metadata)


def peek(data: bytes) -> tuple[TextHeader, Sealed]:
    """The header of a stream that begins so. Raises CorruptStreamError, UnsupportedError."""
    beginning, reader = stream.read_beginning(data, CODE, 0)
    length = reader.uvarint(5)
    sealed = stream.unseal(reader, beginning.metadata)
    stream.check_beginning(beginning, CorruptStreamError)
    if beginning.quality or not 1 <= length <= MAX_LENGTH:
        raise CorruptStreamError("the header is damaged: a text has at least a byte, and no quality")
    return TextHeader(beginning.model_id, beginning.model_hash, length, sealed.metadata_length), sealed


def chained(text: bytes, before: int) -> int:
    """The checksum of a block: CRC-32 of its text, continued from that of the block before, or from `header_crc`."""
    return zlib.crc32(text, before)


def header_crc(data: bytes, sealed: Sealed) -> int:
    return zlib.crc32(data[: sealed.size])


def blocks(data: bytes) -> list[Block]:
    """All of a stream, whole in its bytes. Raises CorruptStreamError, UnsupportedError."""
    header, sealed = peek(data)
    stream.checked_metadata(data, sealed)
    reader, found = Reader(data, sealed.end), []
    for at in block_lengths(header.length):
        length = min(MAX_BLOCK, header.length - at)
        method, checksum = reader.uint(1), reader.uint(4)
        if method > CODED:
            raise CorruptStreamError(f"block {len(found)} is damaged: there is no method {method}")
        if method == CODED:
            sizes = [reader.uvarint(4) for _ in range(lane_count(length))]
        else:
            sizes = [reader.uvarint(4) if method == DEFLATED else length]
        found.append(Block(method, checksum, tuple(reader.take(size) for size in sizes), length))
    if reader.position != len(data):
        raise CorruptStreamError("something follows the last block")
    return found
