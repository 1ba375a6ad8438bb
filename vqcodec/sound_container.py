"""Header and chunks of a recording ⇄ bytes of a .vq file. Standard library only.

`bitstream_spec.md`, section "Sound", defines every byte. A chunk's header has a checksum of its own that covers the
chunk's number, so that a reader can go on behind damage: it scans for the next place where a header checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from . import container
from .bytefields import Reader, crc16, uvarint
from .errors import CorruptStreamError, UnsupportedError, UsageError

MAX_RATE = (1 << 20) - 1  # Hz
MAX_CHANNELS = 255
MAX_LENGTH = 1 << 40  # sample frames
MAX_PAYLOAD = 1 << 24  # bytes of one chunk
MAX_HEADER = 64  # bytes; no header is longer
MAX_CHUNK_HEADER = 4 + 4 + 2  # length, checksum of the grids, checksum of the header
_WINDOW = 1 << 20  # bytes read at a time where chunks are searched for
_NUMBERS = 64  # of chunks, searched for at a time


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


@dataclass(frozen=True)
class Chunk:
    number: int
    grids_crc: int
    payload: bytes
    position: int = 0  # of the byte behind the header, in what has been read of the file


def pack_header(header: SoundHeader) -> bytes:
    """Raises UsageError where a field is out of range."""
    _check_fields(header, UsageError)
    data = (container.MAGIC + bytes([container.VERSION, container.AUDIO]) + uvarint(header.model_id) + header.model_hash
            + bytes([header.quality]) + uvarint(header.rate) + uvarint(header.channels) + uvarint(header.coded_channels)
            + uvarint(header.length) + header.gain.to_bytes(1, "little", signed=True))
    return data + crc16(data)


def peek(data: bytes) -> tuple[SoundHeader, int]:
    """(header, its size in bytes) from the first bytes of a file. Raises CorruptStreamError, UnsupportedError."""
    if container.modality(data) != "audio":
        raise UnsupportedError("the stream holds an image, not sound")
    reader = Reader(data, 3)
    if reader.uint(1) != container.AUDIO:
        raise UnsupportedError("reserved flags are set: the stream is from a later release, or damaged")
    model_id, model_hash, quality = reader.uvarint(3), reader.take(4), reader.uint(1)
    rate, channels, coded, length = reader.uvarint(3), reader.uvarint(2), reader.uvarint(2), reader.uvarint(6)
    gain = int.from_bytes(reader.take(1), "little", signed=True)
    if crc16(data[: reader.position]) != reader.take(2):
        raise CorruptStreamError("the header is damaged: its checksum does not match")
    header = SoundHeader(model_id=model_id, model_hash=model_hash, quality=quality, rate=rate, channels=channels,
                         coded_channels=coded, length=length, gain=gain)
    _check_fields(header, CorruptStreamError)
    return header, reader.position


def read_header(file: BinaryIO) -> SoundHeader:
    """Reads a header and leaves `file`, which must be seekable, at the first chunk. Raises as `peek`."""
    start = file.tell()
    header, size = peek(file.read(MAX_HEADER))
    file.seek(start + size)
    return header


def pack_chunk(number: int, grids_crc: int, payload: bytes) -> bytes:
    """Raises UsageError for a payload that is too long."""
    if not 1 <= len(payload) <= MAX_PAYLOAD:
        raise UsageError(f"the payload of a chunk has 1..{MAX_PAYLOAD} bytes, not {len(payload)}")
    fields = uvarint(len(payload)) + grids_crc.to_bytes(4, "little")
    return fields + _chunk_crc(number, fields) + payload


def _chunk_crc(number: int, fields: bytes) -> bytes:
    return crc16(number.to_bytes(4, "little") + fields)


def _chunk_header(data: bytes, numbers: range) -> tuple[int, int, int, int] | None:
    """(number, length, CRC-32 of the grids, size of the header) if `data` begins with the header of a chunk that has
    one of `numbers`."""
    reader = Reader(data)
    try:
        length = reader.uvarint(4)
        crc = reader.uint(4)
        fields = data[: reader.position]
        found = reader.take(2)
    except CorruptStreamError:
        return None
    if not 1 <= length <= MAX_PAYLOAD:
        return None
    number = next((n for n in numbers if _chunk_crc(n, fields) == found), None)
    return None if number is None else (number, length, crc, reader.position)


class ChunkReader:
    """The chunks 0..count-1 of an open, seekable file, in order; holds one chunk at a time.

    With `conceal`, `read` returns None for a chunk that is not there, whatever is wrong; else it raises
    CorruptStreamError. Where a chunk turns out to be damaged, `reject` makes the search go on right behind its header,
    since its length may be wrong by a header that checks by chance."""

    def __init__(self, file: BinaryIO, count: int, *, conceal: bool = False):
        self.file, self.count, self.conceal = file, count, conceal
        self.position = file.tell()
        self.ahead: Chunk | None = None  # found while an earlier one was searched for

    def read(self, number: int) -> Chunk | None:
        """Chunk `number`, which must not fall."""
        if self.ahead is not None:
            return self._take(number)
        self.file.seek(self.position)
        found = _chunk_header(self.file.read(MAX_CHUNK_HEADER), range(number, number + 1))
        chunk = self._payload(self.position, *found) if found else None
        if chunk is not None:
            return self._consumed(chunk)
        if not self.conceal:
            self._complain(number, found is not None)
        self.ahead = self._search(number)
        return self._take(number)

    def reject(self, chunk: Chunk) -> None:
        """The chunk that was read last is damaged; there may be a whole one, of this or a later number, in it."""
        self.position, self.ahead = chunk.position, None

    def finish(self) -> None:
        """Raises CorruptStreamError for bytes behind the last chunk, unless damage is concealed."""
        self.file.seek(self.position)
        if not self.conceal and self.file.read(1):
            raise CorruptStreamError("the stream is followed by other data")

    def _take(self, number: int) -> Chunk | None:
        if self.ahead is None or self.ahead.number != number:
            return None
        chunk, self.ahead = self.ahead, None
        return self._consumed(chunk)

    def _consumed(self, chunk: Chunk) -> Chunk:
        self.position = chunk.position + len(chunk.payload)
        return chunk

    def _payload(self, start: int, number: int, length: int, crc: int, size: int) -> Chunk | None:
        self.file.seek(start + size)
        payload = self.file.read(length)
        return Chunk(number, crc, payload, start + size) if len(payload) == length else None

    def _complain(self, number: int, complete_header: bool) -> None:
        self.file.seek(self.position)
        left = len(self.file.read(MAX_CHUNK_HEADER))
        if complete_header or left < MAX_CHUNK_HEADER - 3:
            raise CorruptStreamError(f"the stream is truncated: chunk {number} of {self.count} is not complete")
        raise CorruptStreamError(f"the header of chunk {number} is damaged: its checksum does not match")

    def _search(self, number: int) -> Chunk | None:
        """The first chunk of `number` or later, from the position on, behind which the next one follows, or the file
        ends with the last. (One header in 65,536 places checks by chance; two in a row do not.)"""
        for first in range(number, self.count, _NUMBERS):
            numbers, start = range(first, min(first + _NUMBERS, self.count)), self.position
            while True:
                self.file.seek(start)
                data = self.file.read(_WINDOW + MAX_CHUNK_HEADER)
                for i in range(min(len(data), _WINDOW)):
                    found = _chunk_header(data[i : i + MAX_CHUNK_HEADER], numbers)
                    chunk = self._payload(start + i, *found) if found else None
                    if chunk is not None and self._followed(chunk):
                        return chunk
                if len(data) <= _WINDOW:
                    break
                start += _WINDOW
        return None

    def _followed(self, chunk: Chunk) -> bool:
        self.file.seek(chunk.position + len(chunk.payload))
        data = self.file.read(MAX_CHUNK_HEADER)
        if chunk.number == self.count - 1:
            return not data
        return _chunk_header(data, range(chunk.number + 1, chunk.number + 2)) is not None


def _check_fields(h: SoundHeader, error: type[Exception]) -> None:
    limits = (("the model number", h.model_id, 0, container.MAX_MODEL_ID), ("the quality", h.quality, 0, 255),
              ("the sampling rate", h.rate, 1, MAX_RATE), ("the number of channels", h.channels, 1, MAX_CHANNELS),
              ("the length", h.length, 1, MAX_LENGTH), ("the gain", h.gain, -128, 127))
    for name, value, least, most in limits:
        if not least <= value <= most:
            raise error(f"{name} must be {least}..{most}, not {value}")
    if h.coded_channels not in (1, h.channels):
        raise error(f"{h.coded_channels} of {h.channels} channels cannot be coded: it is one for all, or each")
    if len(h.model_hash) != 4:
        raise error(f"the model hash must have 4 bytes, not {len(h.model_hash)}")
