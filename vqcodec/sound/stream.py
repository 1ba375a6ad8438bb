"""Header and chunks of a recording ⇄ bytes of a .vq file. Standard library only.

`bitstream_spec.md`, section "Sound", defines every byte; what other media share is in `vqcodec/stream.py`. A chunk's header
has a checksum of its own that covers the file's header and the chunk's number, so that a reader can go on behind damage:
it scans for the next place where a header checks, and takes no chunk of another recording.
"""

from __future__ import annotations

import binascii
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from .. import filelimits
from ..errors import CorruptStreamError, UsageError
from ..stream import (
    Beginning,
    Sealed,
    check_beginning,
    checked_metadata,
    crc16,
    pack_beginning,
    read_beginning,
    seal,
    unseal,
    uvarint,
)

CODE = 1  # of the modality
MAX_RATE = (1 << 20) - 1  # Hz
MAX_CHANNELS = 255
MAX_LENGTH = 1 << 40  # sample frames
MAX_PAYLOAD = 1 << 24  # bytes of one chunk
MAX_CHUNKS = 1 << 32  # a chunk's number has 32 bits
MAX_HEADER = 64  # bytes; no header is longer
_BOUND, _GAINS = 0x08, 0x10  # flags
MAX_CHUNK_HEADER = 4 + 4 + 2  # length, checksum of the grids, checksum of the header
_BYTES_PER_REJECTION = 64  # of the file; decoding an honest chunk takes as long, and there is none every 64 bytes
_READS = 64  # times that each byte of a file may be read for chunks that are rejected
_WINDOW = 1 << 16  # bytes read at a time where chunks are searched for
_NEAR = 64  # chunks that a search may skip on the evidence of two headers; more need three
_REACH = 1 << 16  # chunks that a search may skip at all: of so many numbers in a row few fit a checksum

# CRC-16 byte by byte, and back: the lower half of an entry tells which one it is.
_CRC = [binascii.crc_hqx(bytes([x]), 0) for x in range(256)]
_ENTRY = sorted(range(256), key=lambda x: _CRC[x] & 0xFF)


@dataclass(frozen=True, kw_only=True)
class SoundHeader:
    """What a file says about the recording in it."""

    model_id: int  # 0..65535
    model_hash: bytes  # first 4 bytes of the SHA-256 of the model
    quality: int  # 0..255, in sixteenths above the lowest quality
    rate: int  # Hz
    channels: int  # 1..255
    coded_channels: int  # as many, or 1: all channels are equal
    length: int  # sample frames at `rate`
    gain: int  # -128..127: decoded samples are multiplied by 2^(gain/4)
    bound: bool = True  # the checksums of chunks cover the header's; not so in streams of specifications before 1.5
    gains: bool = False  # chunks have gains of their own (`gains.py`), on top of `gain`; only since specification 1.6


@dataclass(frozen=True)
class Chunk:
    number: int
    grids_crc: int
    payload: bytes
    position: int = 0  # of its payload in the file

    @property
    def start(self) -> int:
        """Position of its header."""
        return self.position - len(uvarint(len(self.payload))) - 4 - 2


def pack_header(header: SoundHeader, metadata: bytes | None = None) -> bytes:
    """The header, and the metadata behind it. Raises UsageError where a field is out of range."""
    _check_fields(header, UsageError)
    return seal(
        pack_beginning(CODE, _beginning(header, metadata is not None)) + uvarint(header.rate) + uvarint(header.channels)
        + uvarint(header.coded_channels) + uvarint(header.length) + header.gain.to_bytes(1, "little", signed=True), metadata)


def peek(data: bytes) -> tuple[SoundHeader, Sealed]:
    """(header, where it ends) from the first bytes of a file. Raises CorruptStreamError, UnsupportedError."""
    beginning, reader = read_beginning(data, CODE, _BOUND | _GAINS)
    rate, channels, coded, length = reader.uvarint(3), reader.uvarint(2), reader.uvarint(2), reader.uvarint(6)
    gain = int.from_bytes(reader.take(1), "little", signed=True)
    sealed = unseal(reader, beginning.metadata)
    header = SoundHeader(
        model_id=beginning.model_id, model_hash=beginning.model_hash, quality=beginning.quality, rate=rate,
        channels=channels, coded_channels=coded, length=length, gain=gain, bound=bool(beginning.flags & _BOUND),
        gains=bool(beginning.flags & _GAINS))
    _check_fields(header, CorruptStreamError)
    return header, sealed


def read_header(file: BinaryIO) -> tuple[SoundHeader, Sealed]:
    """Reads a header and leaves `file`, which must be seekable, at the first chunk. Raises as `peek`."""
    start = file.tell()
    header, sealed = peek(file.read(MAX_HEADER))
    file.seek(start + sealed.end)
    return header, sealed


def seed_of(header: SoundHeader, sealed: Sealed) -> bytes:
    """What the checksums of a stream's chunks begin with."""
    return sealed.checksum if header.bound else b""


def pack_chunk(number: int, grids_crc: int, payload: bytes, seed: bytes = b"") -> bytes:
    """`seed`: see `seed_of`. Raises UsageError where a number is out of range or the payload too long."""
    if not 1 <= len(payload) <= MAX_PAYLOAD:
        raise UsageError(f"the payload of a chunk has 1..{MAX_PAYLOAD} bytes, not {len(payload)}")
    if not 0 <= number < MAX_CHUNKS:
        raise UsageError(f"the number of a chunk must be 0..{MAX_CHUNKS - 1}, not {number}")
    if not 0 <= grids_crc <= 0xFFFFFFFF:
        raise UsageError("the grids' checksum must have 32 bits")
    fields = uvarint(len(payload)) + grids_crc.to_bytes(4, "little")
    return fields + _chunk_crc(number, fields, seed) + payload


def _chunk_crc(number: int, fields: bytes, seed: bytes) -> bytes:
    return crc16(number.to_bytes(4, "little") + fields, seed)


def _fitting(fields: bytes, checksum: bytes, first: int, end: int, seed: bytes) -> Iterator[int]:
    """The numbers in first..end-1, ascending, that a chunk with this header may have. Of any 65536 with the same upper
    half it is one: the checksum is followed back to what the lower half must have been."""
    start = binascii.crc_hqx(seed, 0xFFFF)
    for upper in range(first >> 16, (end - 1 >> 16) + 1):
        crc = int.from_bytes(checksum, "little")
        for byte in reversed(b"\0\0" + upper.to_bytes(2, "little") + fields):
            entry = _ENTRY[crc & 0xFF]
            crc = (entry ^ byte) << 8 | (crc ^ _CRC[entry]) >> 8
        number = upper << 16 | int.from_bytes((crc ^ start).to_bytes(2, "big"), "little")
        if first <= number < end:
            yield number


@dataclass(frozen=True)
class _ChunkHeader:
    position: int
    length: int  # of the payload
    grids_crc: int
    fields: bytes  # what the checksum covers besides the number
    checksum: bytes

    @property
    def payload(self) -> int:
        """Where it begins."""
        return self.position + len(self.fields) + len(self.checksum)

    @property
    def end(self) -> int:
        return self.payload + self.length


def _parse(data: bytes, i: int, position: int) -> _ChunkHeader | None:
    """What at data[i], which is at `position` of the file, may be the header of a chunk of some number."""
    length, size = data[i] & 0x7F, 1
    while data[i + size - 1] > 0x7F:
        if size == 4 or i + size == len(data):
            return None
        length |= (data[i + size] & 0x7F) << 7 * size
        size += 1
    if not 1 <= length <= MAX_PAYLOAD or (size > 1 and not data[i + size - 1]) or i + size + 6 > len(data):
        return None
    fields, checksum = data[i : i + size + 4], data[i + size + 4 : i + size + 6]
    return _ChunkHeader(position, length, int.from_bytes(fields[size:], "little"), fields, checksum)


def next_chunk(file: BinaryIO, position: int, number: int, seed: bytes) -> tuple[int, int]:
    """Where the payload of the chunk `number`, which begins at `position`, begins and ends. Raises CorruptStreamError for a damaged header and a chunk
    that is not complete."""
    file.seek(position)
    data = file.read(MAX_CHUNK_HEADER)
    header = _parse(data, 0, position) if data else None
    if header is None or _chunk_crc(number, header.fields, seed) != header.checksum:
        raise CorruptStreamError(f"the header of chunk {number} is damaged, or the stream is followed by other data")
    if header.end > file.seek(0, os.SEEK_END):
        raise CorruptStreamError(f"the stream is truncated: chunk {number} is not complete")
    return header.payload, header.end


class ChunkReader:
    """The chunks 0..count-1 of an open, seekable file, in order; holds one chunk at a time.

    With `conceal`, `read` returns None for a chunk that is not there, whatever is wrong; else it raises
    CorruptStreamError. The caller has to check what it gets by `grids_crc`. Where a chunk turns out to be damaged,
    `reject` makes the search go on right behind where it began, since it may be none: one place in 65,536 checks by
    chance. Searching, and what is rejected, take time in proportion to the file's size. Raises CorruptStreamError for more
    than 2^32 chunks."""

    def __init__(self, file: BinaryIO, count: int, seed: bytes = b"", *, conceal: bool = False):
        if count > MAX_CHUNKS:
            raise CorruptStreamError(f"the stream is said to have more than {MAX_CHUNKS} chunks")
        self.file, self.count, self.seed, self.conceal = file, count, seed, conceal
        self.position = file.tell()
        self.size = file.seek(0, os.SEEK_END)
        self.ahead: tuple[int, _ChunkHeader] | None = None  # found while an earlier one was searched for
        # Chunks that may be rejected: damage by accident makes a few, a hostile file may be full of headers that check.
        self.patience = 64 + min(8 * count, self.size // _BYTES_PER_REJECTION)

    def read(self, number: int) -> Chunk | None:
        """Chunk `number`, which must not fall."""
        if self.ahead is None:
            header = self._header(self.position)
            if header and header.end <= self.size and _chunk_crc(number, header.fields, self.seed) == header.checksum:
                self.ahead = number, header
            elif self.conceal:
                self.ahead = self._search(number)
            else:
                self._complain(number)
        if self.ahead is None or self.ahead[0] != number:
            return None
        (_, header), self.ahead = self.ahead, None
        self.file.seek(header.payload)
        self.position = header.end
        return Chunk(number, header.grids_crc, self.file.read(header.length), header.payload)

    def reject(self, chunk: Chunk) -> None:
        """The chunk that was read last is damaged; there may be a whole one, of this or a later number, in it."""
        self.patience -= 1 + len(chunk.payload) // (_READS * _BYTES_PER_REJECTION)
        self.position, self.ahead = chunk.start + 1 if self.patience >= 0 else self.size, None

    def finish(self) -> None:
        """Raises CorruptStreamError for bytes behind the last chunk, unless damage is concealed."""
        if not self.conceal and self.position < self.size:
            raise CorruptStreamError("the stream is followed by other data")

    def _header(self, position: int) -> _ChunkHeader | None:
        self.file.seek(position)
        data = self.file.read(MAX_CHUNK_HEADER)
        return _parse(data, 0, position) if data else None

    def _complain(self, number: int) -> None:
        self.file.seek(self.position)
        data = self.file.read(MAX_CHUNK_HEADER)
        size = 1 + next((i for i, byte in enumerate(data[:4]) if byte <= 0x7F), min(len(data), 3))
        header = self._header(self.position)
        if len(data) < size + 6 or (header and _chunk_crc(number, header.fields, self.seed) == header.checksum):
            raise CorruptStreamError(f"the stream is truncated: chunk {number} of {self.count} is not complete")
        raise CorruptStreamError(f"the header of chunk {number} is damaged: its checksum does not match")

    def _search(self, number: int) -> tuple[int, _ChunkHeader] | None:
        """The first chunk of `number` or later from the position on. One place in 65,536 checks by chance as the header
        of a given chunk: where that would cost others that are still to come, more headers have to follow."""
        end, start = min(self.count, number + _REACH), self.position
        while start < self.size:
            self.file.seek(start)
            data = self.file.read(_WINDOW + MAX_CHUNK_HEADER)
            filelimits.tick()
            for i in range(min(len(data), _WINDOW)):
                header = _parse(data, i, start + i)
                if header is None or header.end > self.size:
                    continue
                for found in _fitting(header.fields, header.checksum, number, end, self.seed):
                    if self._followed(found, header, (found > number + 1) + (found > number + _NEAR)):
                        return found, header
            start += _WINDOW
        self.position = self.size  # nor will there be a later one
        return None

    def _followed(self, number: int, header: _ChunkHeader, times: int) -> bool:
        """Whether the headers of so many next chunks follow, or the file ends with the last one."""
        for following in range(number + 1, number + 1 + times):
            if following == self.count:
                return header.end == self.size
            header = self._header(header.end)
            if header is None or _chunk_crc(following, header.fields, self.seed) != header.checksum:
                return False
        return True


def _beginning(h: SoundHeader, metadata: bool) -> Beginning:
    return Beginning(_BOUND * h.bound | _GAINS * h.gains, metadata, h.model_id, h.model_hash, h.quality)


def _check_fields(h: SoundHeader, error: type[Exception]) -> None:
    check_beginning(_beginning(h, False), error)
    limits = (("the sampling rate", h.rate, 1, MAX_RATE), ("the number of channels", h.channels, 1, MAX_CHANNELS),
              ("the length", h.length, 1, MAX_LENGTH), ("the gain", h.gain, -128, 127))
    for name, value, least, most in limits:
        if not least <= value <= most:
            raise error(f"{name} must be {least}..{most}, not {value}")
    if h.coded_channels not in (1, h.channels):
        raise error(f"{h.coded_channels} of {h.channels} channels cannot be coded: it is one for all, or each")
