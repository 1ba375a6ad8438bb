"""Stream (fields, entropy-coded segments, alpha payload, plain part, metadata) ⇄ bytes of a .vq file of a picture. Standard library only.

`bitstream_spec.md` defines every byte; what other media share is in `vqcodec/stream.py`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields

from ..errors import CorruptStreamError, UnsupportedError, UsageError
from ..stream import (
    Beginning,
    Reader,
    Sealed,
    check_beginning,
    checked_metadata,
    pack_beginning,
    read_beginning,
    seal,
    unseal,
    uvarint,
)

CODE = 0  # of the modality
MAX_SIDE = 1 << 17  # so that a band of two rows of grid positions stays small
MAX_PIXELS = 1 << 30
MAX_SEGMENTS = 4096
MAX_PAYLOAD = (1 << 31) - 1  # bytes of one segment, of all of them if joined, and of the alpha payload

_GREY, _ALPHA, _JOINED, _MORE = 0x08, 0x10, 0x20, 0x80  # flags
MAX_SLICES, _PLAIN, _CURVES = 0x1F, 0x20, 0x40  # of the byte that _MORE announces: a number, and flags
_LENGTH_BITS = MAX_PAYLOAD.bit_length()


@dataclass(frozen=True, kw_only=True)
class _Description:
    """What a file says about itself apart from its payloads."""

    grey: bool = False
    width: int  # in pixels; width and height in 1..2^17, their product at most 2^30
    height: int
    quality: int  # 0..255, in sixteenths above the lowest quality: q = 1 + quality / 16
    model_id: int  # 0..65535
    model_hash: bytes  # first 4 bytes of the SHA-256 of the model
    grids_crc: int  # see `vqcodec.stream.grids_crc`
    joined: bool = False  # the segments follow one another without a table of their lengths
    curves: bytes | None = None  # see `curves.py`, opaque here
    slices: int | None = None  # 1..31: how many slices are coded, if fewer than the quality has


@dataclass(frozen=True, kw_only=True)
class Stream(_Description):
    """A whole .vq file."""

    # 1..4096 entropy-coded segments, in coding order; of a joined stream one piece that holds them all, since
    # only a decoder with the model can tell where each of them ends.
    segments: tuple[bytes, ...]
    alpha: bytes | None = None  # the coded alpha plane, opaque here
    plain: bytes | None = None  # see `plain.py`, opaque here
    metadata: bytes | None = None  # see `vqcodec.metadata`, opaque here


@dataclass(frozen=True, kw_only=True)
class Header(_Description):
    """What can be known of a .vq file from its first bytes."""

    segment_lengths: tuple[int, ...]  # of the pieces in Stream.segments
    alpha_length: int | None  # None: no alpha
    alpha_crc: int | None
    plain_length: int | None  # None: no plain blocks
    plain_crc: int | None
    sealed: Sealed

    @property
    def size(self) -> int:
        """Bytes of the header, its checksum included."""
        return self.sealed.size

    @property
    def file_size(self) -> int:
        """Bytes of the whole file."""
        return self.sealed.end + (self.plain_length or 0) + sum(self.segment_lengths) + (self.alpha_length or 0)


def pack(stream: Stream) -> bytes:
    """Serialise a stream. Raises UsageError where a field is out of range."""
    _check_fields(stream, UsageError)
    lengths = [len(segment) for segment in stream.segments]
    if stream.joined and len(lengths) != 1:
        raise UsageError(f"joined segments are one piece of bytes, not {len(lengths)}")
    if not 1 <= len(lengths) <= MAX_SEGMENTS:
        raise UsageError(f"a stream has 1..{MAX_SEGMENTS} segments, not {len(lengths)}")
    if max(lengths + [len(stream.alpha or b""), len(stream.plain or b"")]) > MAX_PAYLOAD:
        raise UsageError(f"a segment, the alpha payload or the plain part is longer than {MAX_PAYLOAD} bytes")
    more = (stream.slices or 0) | _PLAIN * (stream.plain is not None) | _CURVES * (stream.curves is not None)
    header = (pack_beginning(CODE, _beginning(stream, stream.metadata is not None, stream.alpha is not None, bool(more)))
              + uvarint(stream.width) + uvarint(stream.height)
              + stream.grids_crc.to_bytes(4, "little") + (bytes([more]) if more else b"")
              + (uvarint(lengths[0]) if stream.joined else _pack_lengths(lengths)))
    if stream.curves is not None:
        header += bytes([len(stream.curves)]) + stream.curves
    for part in (stream.plain, stream.alpha):
        if part is not None:
            header += uvarint(len(part)) + zlib.crc32(part).to_bytes(4, "little")
    return b"".join([seal(header, stream.metadata), stream.plain or b"", *stream.segments, stream.alpha or b""])


def unpack(data: bytes) -> Stream:
    """Parse a whole .vq file, the inverse of `pack`.

    Raises CorruptStreamError for anything that is not a complete, undamaged file, UnsupportedError for
    another format version or a feature that version 1 reserves.
    """
    header = peek(data)
    if len(data) != header.file_size:
        what = "truncated" if len(data) < header.file_size else "followed by other data"
        raise CorruptStreamError(f"the stream is {what}: {len(data)} bytes instead of {header.file_size}")
    metadata = checked_metadata(data, header.sealed)
    payloads, position = [], header.sealed.end
    for length in (header.plain_length or 0, *header.segment_lengths, header.alpha_length or 0):
        payloads.append(bytes(data[position:position + length]))
        position += length
    plain, *segments, alpha = payloads
    if header.plain_length is None:
        plain = None
    elif zlib.crc32(plain) != header.plain_crc:
        raise CorruptStreamError("the plain part is damaged: its checksum does not match")
    if header.alpha_length is None:
        alpha = None
    elif zlib.crc32(alpha) != header.alpha_crc:
        raise CorruptStreamError("the alpha payload is damaged: its checksum does not match")
    return Stream(segments=tuple(segments), alpha=alpha, plain=plain, metadata=metadata,
                  **{field.name: getattr(header, field.name) for field in fields(_Description)})


def peek(data: bytes) -> Header:
    """Parse and verify the header only; `data` need not reach further. Raises as `unpack` does."""
    beginning, reader = read_beginning(data, CODE, _GREY | _ALPHA | _JOINED | _MORE)
    flags = beginning.flags
    width = reader.uvarint(3)
    height = reader.uvarint(3)
    grids = reader.uint(4)
    more = reader.uint(1) if flags & _MORE else None
    if more is not None and more & ~(MAX_SLICES | _PLAIN | _CURVES):
        raise UnsupportedError("reserved bits are set: the stream is from a later release, or damaged")
    slices, plain = (None, False) if more is None else (more & MAX_SLICES or None, bool(more & _PLAIN))
    joined = bool(flags & _JOINED)
    count, bits, packed = (1, _LENGTH_BITS, reader.uvarint(5)) if joined else _read_lengths(reader)
    curves = reader.take(reader.uint(1)) if (more or 0) & _CURVES else None
    (plain_length, plain_crc), (alpha_length, alpha_crc) = (
        (reader.uvarint(5), reader.uint(4)) if there else (None, None) for there in (plain, flags & _ALPHA))
    sealed = unseal(reader, beginning.metadata)
    # From here on the numbers are what some encoder wrote, which is not to say that they make sense.
    lengths = tuple(packed >> i * bits & (1 << bits) - 1 for i in range(count))
    if packed >> count * bits:
        raise CorruptStreamError(f"the segments are said to be longer than {MAX_PAYLOAD} bytes" if joined else
                                 "the padding after the segment lengths is not zero")
    if not joined and max(lengths).bit_length() != bits:
        raise CorruptStreamError("the segment lengths are stored with more bits than they need")
    for length, what in ((alpha_length, "alpha payload"), (plain_length, "plain part")):
        if (length or 0) > MAX_PAYLOAD:
            raise CorruptStreamError(f"the {what} is said to be longer than {MAX_PAYLOAD} bytes")
    if more == 0:
        raise CorruptStreamError(f"a stream has 1..{MAX_SLICES} slices, not 0")
    header = Header(grey=bool(flags & _GREY), width=width, height=height, quality=beginning.quality,
                    model_id=beginning.model_id, model_hash=beginning.model_hash, grids_crc=grids, joined=joined, slices=slices,
                    curves=curves,
                    segment_lengths=lengths, alpha_length=alpha_length, alpha_crc=alpha_crc,
                    plain_length=plain_length, plain_crc=plain_crc, sealed=sealed)
    _check_fields(header, CorruptStreamError)
    return header


def _beginning(d: _Description, metadata: bool, alpha: bool, more: bool) -> Beginning:
    flags = _GREY * bool(d.grey) | _ALPHA * alpha | _JOINED * bool(d.joined) | _MORE * more
    return Beginning(flags, metadata, d.model_id, d.model_hash, d.quality)


def _check_fields(description: _Description, error: type[Exception]) -> None:
    """Raise `error` where a field is out of range."""
    d = description
    check_beginning(_beginning(d, False, False, False), error)
    if not (1 <= d.width <= MAX_SIDE and 1 <= d.height <= MAX_SIDE):
        raise error(f"{d.width}x{d.height} pixels: width and height must be 1..{MAX_SIDE}")
    if d.width * d.height > MAX_PIXELS:
        raise error(f"{d.width}x{d.height} pixels are more than the format's limit of {MAX_PIXELS}")
    if not 0 <= d.grids_crc <= 0xFFFFFFFF:
        raise error("the grids' checksum must have 32 bits")
    if d.curves is not None and len(d.curves) > 255:
        raise error(f"curves have 255 bytes at most, not {len(d.curves)}")
    if d.slices is not None and not 1 <= d.slices <= MAX_SLICES:
        raise error(f"a stream has 1..{MAX_SLICES} slices, not {d.slices}")


def _pack_lengths(lengths: list[int]) -> bytes:
    """The table of segment lengths: how many, bits of each, and all of them in one little-endian integer."""
    bits = max(lengths).bit_length()
    packed = sum(length << i * bits for i, length in enumerate(lengths))
    return uvarint(len(lengths)) + bytes([bits]) + packed.to_bytes((len(lengths) * bits + 7) // 8, "little")


def _read_lengths(reader: Reader) -> tuple[int, int, int]:
    """(number of segments, bits of each length, the lengths as one integer) of a table."""
    count, bits = reader.uvarint(2), reader.uint(1)
    if not 1 <= count <= MAX_SEGMENTS:
        raise CorruptStreamError(f"the number of segments must be 1..{MAX_SEGMENTS}, not {count}")
    if bits > _LENGTH_BITS:
        raise CorruptStreamError(f"segment lengths must have 0..{_LENGTH_BITS} bits, not {bits}")
    return count, bits, reader.uint((count * bits + 7) // 8)
