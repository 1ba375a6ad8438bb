"""What all .vq files share: how they begin, how a header ends, checksums, numbers ⇄ bytes. Standard library only.

    magic, version, flags, model, its hash, quality | fields of the medium | metadata's length and checksum | checksum

`bitstream_spec.md` defines every byte. The header's checksum is verified before any number in it is trusted, and nothing is
allocated from a number that the file's real length does not cover.
"""

from __future__ import annotations

import binascii
import zlib
from dataclasses import dataclass

from .errors import CorruptStreamError, UnsupportedError, UsageError

MAGIC = b"VQ"
VERSION = 1
MAX_MODEL_ID = (1 << 16) - 1
MAX_METADATA = 1 << 22  # bytes

MODALITY, METADATA = 0x07, 0x40  # of the flags; the others are the medium's


@dataclass(frozen=True)
class Beginning:
    """flags without those of the modality and of the metadata, which are the medium's own."""

    flags: int
    metadata: bool
    model_id: int  # 0..65535
    model_hash: bytes  # first 4 bytes of the SHA-256 of the model
    quality: int  # 0..255, in sixteenths above the lowest quality: q = 1 + quality / 16


def modality(data: bytes) -> int:
    """Number of the medium, 0..7, from the first four bytes of a file: what may follow depends on it.

    Raises CorruptStreamError for what is not a stream, UnsupportedError for another version."""
    if data[:2] != MAGIC:
        raise CorruptStreamError("not a vqcodec file: it does not begin with 'VQ'")
    reader = Reader(data, 2)
    version = reader.uint(1)
    if version != VERSION:
        raise UnsupportedError(f"format version {version} is unknown (this release reads {VERSION})")
    return reader.uint(1) & MODALITY


def pack_beginning(code: int, beginning: Beginning) -> bytes:
    b = beginning
    return (MAGIC + bytes([VERSION, code | b.flags | METADATA * b.metadata]) + uvarint(b.model_id) + b.model_hash
            + bytes([b.quality]))


def read_beginning(data: bytes, code: int, known: int) -> tuple[Beginning, Reader]:
    """(how a stream begins, a reader behind it). code: the modality that it must have; known: flags that it may have.
    Raises CorruptStreamError, UnsupportedError."""
    found = modality(data)
    if found != code:
        raise UnsupportedError(f"the stream is of modality {found}, not {code}")
    flags = data[3] & ~(MODALITY | METADATA)
    if flags & ~known:
        raise UnsupportedError("reserved flags are set: the stream is from a later release, or damaged")
    reader = Reader(data, 4)
    return Beginning(flags, bool(data[3] & METADATA), reader.uvarint(3), reader.take(4), reader.uint(1)), reader


def check_beginning(beginning: Beginning, error: type[Exception]) -> None:
    """Raises `error` where a field is out of range."""
    if not 0 <= beginning.model_id <= MAX_MODEL_ID:
        raise error(f"the model number must be 0..{MAX_MODEL_ID}, not {beginning.model_id}")
    if len(beginning.model_hash) != 4:
        raise error(f"the model hash must have 4 bytes, not {len(beginning.model_hash)}")
    if not 0 <= beginning.quality <= 255:
        raise error(f"the quality must be 0..255, not {beginning.quality}")


@dataclass(frozen=True)
class Sealed:
    """metadata_length, metadata_crc: of the bytes behind the header, 0 where there are none; size: of the header, its
    checksum included; checksum: its 2 bytes."""

    metadata_length: int
    metadata_crc: int
    size: int
    checksum: bytes

    @property
    def end(self) -> int:
        """Where header and metadata end."""
        return self.size + self.metadata_length


def seal(header: bytes, metadata: bytes | None = None) -> bytes:
    """A header with its checksum, and the metadata behind it. Raises UsageError for metadata that are too long."""
    if metadata is not None:
        if not 1 <= len(metadata) <= MAX_METADATA:
            raise UsageError(f"metadata have 1..{MAX_METADATA} bytes, not {len(metadata)}")
        header += uvarint(len(metadata)) + zlib.crc32(metadata).to_bytes(4, "little")
    return header + crc16(header) + (metadata or b"")


def unseal(reader: Reader, metadata: bool) -> Sealed:
    """Reads the end of a header, up to which `reader` has come, and verifies its checksum. Raises CorruptStreamError."""
    length, crc = (reader.uvarint(4), reader.uint(4)) if metadata else (0, 0)
    wanted = crc16(reader.data[: reader.position])
    checksum = reader.take(2)
    if wanted != checksum:
        raise CorruptStreamError("the header is damaged: its checksum does not match")
    if metadata and not 1 <= length <= MAX_METADATA:
        raise CorruptStreamError(f"metadata have 1..{MAX_METADATA} bytes, not {length}")
    return Sealed(length, crc, reader.position, checksum)


def checked_metadata(data: bytes, sealed: Sealed) -> bytes | None:
    """The metadata of a stream that begins with `data`. Raises CorruptStreamError."""
    if not sealed.metadata_length:
        return None
    metadata = data[sealed.size : sealed.end]
    if len(metadata) < sealed.metadata_length:
        raise CorruptStreamError("the stream is truncated within its metadata")
    if zlib.crc32(metadata) != sealed.metadata_crc:
        raise CorruptStreamError("the metadata are damaged: their checksum does not match")
    return bytes(metadata)


def grids_crc(grids) -> int:
    """CRC-32 of index grids, integers in 0..65535 of any shape, as uint16 little-endian in C order."""
    import numpy as np

    grids = np.asarray(grids)
    if grids.dtype.kind not in "iu" or (grids.size and (grids.min() < 0 or grids.max() > 0xFFFF)):
        raise UsageError("index grids must be integers in 0..65535")
    return zlib.crc32(np.ascontiguousarray(grids, "<u2"))


def crc16(data: bytes, seed: bytes = b"") -> bytes:
    """CRC-16/CCITT (polynomial 0x1021, initial value 0xFFFF, nothing reflected), little-endian."""
    return binascii.crc_hqx(data, binascii.crc_hqx(seed, 0xFFFF)).to_bytes(2, "little")


def uvarint(value: int) -> bytes:
    """LEB128: seven bits a byte, least significant first, the top bit set in all bytes but the last."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


class Reader:
    """A position in bytes; every read past the end raises CorruptStreamError."""

    def __init__(self, data: bytes, position: int = 0):
        self.data, self.position = data, position

    def take(self, n: int) -> bytes:
        if len(self.data) - self.position < n:
            raise CorruptStreamError("the stream is truncated within its header")
        self.position += n
        return bytes(self.data[self.position - n:self.position])

    def uint(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little")

    def uvarint(self, max_bytes: int) -> int:
        """The inverse of `uvarint`; the shortest form is the only valid one."""
        value = 0
        for i in range(max_bytes):
            byte = self.uint(1)
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                if i and not byte:
                    raise CorruptStreamError("a number in the header is longer than it need be")
                return value
        raise CorruptStreamError(f"a number in the header is longer than {max_bytes} bytes")
