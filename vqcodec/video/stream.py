"""Header and segments of a clip ⇄ bytes of a .vq file. Standard library only.

    header | metadata | group 0 | group 1 | … | sound 0 | … | end

`bitstream_spec.md`, section "Video", defines every byte; what other media share is in `vqcodec/stream.py`. A segment begins with
a prefix whose checksum covers the file's header: behind damage a reader looks for the next prefix that checks, and takes none of
another clip.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

from .. import filelimits
from ..errors import CorruptStreamError, UsageError
from ..stream import (
    Beginning,
    Reader,
    Sealed,
    check_beginning,
    crc16,
    pack_beginning,
    read_beginning,
    seal,
    unseal,
    uvarint,
)

CODE = 3  # of the modality
MAX_SIDE = 1 << 14
MAX_FRAMES = 1024  # of a group
MAX_TIME = 1 << 48
MAX_PART = 1 << 16  # of an aspect
MAX_BASE = 1 << 31  # of the time base
MAX_PAYLOAD = 1 << 28  # bytes of a segment
MAX_TABLE = 1 << 15
MAX_HEADER = 80
END, GROUP, SOUND, PACKETS = range(4)  # kinds of segments
PREFIX = 1 + 4 + 2 + 4 + 2  # kind, number, length of the table, of the payload, checksum
_FULL = 0x08  # flag: the file's samples had the full range
_WINDOW = 1 << 16


@dataclass(frozen=True, kw_only=True)
class VideoHeader:
    """What a file says about the clip in it. primaries, transfer, matrix: as ITU-T H.273 numbers them."""

    model_id: int
    model_hash: bytes
    quality: int  # sixteenths above the lowest
    width: int
    height: int
    aspect: Fraction  # of a sample, width to height
    time_base: Fraction  # seconds of a unit of time
    primaries: int
    transfer: int
    matrix: int
    full: bool


@dataclass(frozen=True)
class Segment:
    """kind; number among those of its kind; table: its fields; payload; start: position in the file; unread: bytes of the payload
    where it was passed over."""

    kind: int
    number: int
    table: bytes
    payload: bytes
    start: int = 0
    unread: int = 0

    @property
    def size(self) -> int:
        return PREFIX + len(self.table) + 4 + len(self.payload) + self.unread


@dataclass(frozen=True)
class Group:
    """times: of its frames, ascending; slices: how many of each are coded, of the others the frame before holds; lengths: bytes of
    each in the payload; grids_crc: of all index grids int[T,G,h,w]."""

    times: tuple[int, ...]
    slices: tuple[int, ...]
    lengths: tuple[int, ...]
    grids_crc: int


@dataclass(frozen=True)
class Totals:
    """What the end says: groups, frames, and the time at which the last frame ends."""

    groups: int
    frames: int
    end: int


def pack_header(header: VideoHeader, metadata: bytes | None = None) -> bytes:
    """The header, and the metadata behind it. Raises UsageError where a field is out of range."""
    _check_fields(header, UsageError)
    h = header
    numbers = (h.width, h.height, h.aspect.numerator, h.aspect.denominator, h.time_base.numerator, h.time_base.denominator)
    return seal(pack_beginning(CODE, _beginning(h, metadata is not None)) + b"".join(map(uvarint, numbers))
                + bytes([h.primaries, h.transfer, h.matrix]), metadata)


def peek(data: bytes) -> tuple[VideoHeader, Sealed]:
    """(header, where it ends) from the first bytes of a file. Raises CorruptStreamError, UnsupportedError."""
    beginning, reader = read_beginning(data, CODE, _FULL)
    width, height, above, below, tick_above, tick_below = (reader.uvarint(n) for n in (3, 3, 3, 3, 5, 5))
    primaries, transfer, matrix = reader.take(3)
    sealed = unseal(reader, beginning.metadata)
    if not (below and tick_below):
        raise CorruptStreamError("a ratio in the header has the denominator 0")
    aspect, base = Fraction(above, below), Fraction(tick_above, tick_below)
    if (aspect.numerator, base.numerator) != (above, tick_above):
        raise CorruptStreamError("a ratio in the header is not in lowest terms")
    header = VideoHeader(model_id=beginning.model_id, model_hash=beginning.model_hash, quality=beginning.quality, width=width,
                         height=height, aspect=aspect, time_base=base, primaries=primaries, transfer=transfer, matrix=matrix,
                         full=bool(beginning.flags & _FULL))
    _check_fields(header, CorruptStreamError)
    return header, sealed


def _beginning(h: VideoHeader, metadata: bool) -> Beginning:
    return Beginning(_FULL * h.full, metadata, h.model_id, h.model_hash, h.quality)


def _check_fields(h: VideoHeader, error: type[Exception]) -> None:
    check_beginning(_beginning(h, False), error)
    for name, value, most in (("the width", h.width, MAX_SIDE), ("the height", h.height, MAX_SIDE),
                              ("the aspect's numerator", h.aspect.numerator, MAX_PART),
                              ("the aspect's denominator", h.aspect.denominator, MAX_PART),
                              ("the time base's numerator", h.time_base.numerator, MAX_BASE),
                              ("the time base's denominator", h.time_base.denominator, MAX_BASE)):
        if not 1 <= value <= most:
            raise error(f"{name} must be 1..{most}, not {value}")
    if not all(0 <= value <= 255 for value in (h.primaries, h.transfer, h.matrix)):
        raise error("the colours' numbers must be 0..255")


# --- segments --------------------------------------------------------------------------------------------------------

def pack_segment(kind: int, number: int, table: bytes, payload: bytes, seed: bytes) -> bytes:
    """seed: checksum of the file's header. Raises UsageError for what is too long."""
    if len(table) > MAX_TABLE or len(payload) > MAX_PAYLOAD or not 0 <= number < 1 << 32:
        raise UsageError(f"a segment has {MAX_TABLE} bytes of fields and {MAX_PAYLOAD} of payload at most")
    fields = bytes([kind]) + number.to_bytes(4, "little") + len(table).to_bytes(2, "little") + len(payload).to_bytes(4, "little")
    return fields + crc16(fields, seed) + table + zlib.crc32(table, int.from_bytes(seed, "little")).to_bytes(4, "little") + payload


def pack_group(number: int, group: Group, frames: Sequence[bytes], seed: bytes) -> bytes:
    """frames: the payload of each."""
    deltas = [group.times[0], *(after - before - 1 for before, after in zip(group.times, group.times[1:]))]
    table = b"".join([uvarint(len(frames)), *map(uvarint, deltas), bytes(group.slices), *map(uvarint, group.lengths),
                      group.grids_crc.to_bytes(4, "little")])
    return pack_segment(GROUP, number, table, b"".join(frames), seed)


def unpack_group(segment: Segment) -> Group:
    """Raises CorruptStreamError."""
    reader = Reader(segment.table)
    count = reader.uvarint(2)
    if not 1 <= count <= MAX_FRAMES:
        raise CorruptStreamError(f"a group has 1..{MAX_FRAMES} frames, not {count}")
    times = [reader.uvarint(7)]
    for _ in range(count - 1):
        times.append(times[-1] + 1 + reader.uvarint(7))
    slices, lengths = tuple(reader.take(count)), tuple(reader.uvarint(5) for _ in range(count))
    crc = reader.uint(4)
    if reader.position != len(segment.table) or sum(lengths) != len(segment.payload) + segment.unread or times[-1] > MAX_TIME:
        raise CorruptStreamError(f"the fields of group {segment.number} do not fit together")
    return Group(tuple(times), slices, lengths, crc)


def pack_sound(number: int, kind: int, piece: bytes, seed: bytes) -> bytes:
    """A piece of the sound track: of a .vq file of sound (SOUND), or of a Matroska file of copied packets (PACKETS)."""
    return pack_segment(kind, number, zlib.crc32(piece).to_bytes(4, "little"), piece, seed)


def pack_end(totals: Totals, seed: bytes) -> bytes:
    return pack_segment(END, 0, b"".join(map(uvarint, (totals.groups, totals.frames, totals.end))), b"", seed)


def unpack_end(segment: Segment) -> Totals:
    reader = Reader(segment.table)
    totals = Totals(reader.uvarint(5), reader.uvarint(6), reader.uvarint(7))
    if reader.position != len(segment.table) or segment.payload or segment.unread:
        raise CorruptStreamError("the fields of the end do not fit together")
    return totals


class SegmentsOf:
    """The segments of an open file that can seek, from where it is, one after the other.

    conceal: what is damaged is passed over: the next prefix that checks is looked for. Else it raises CorruptStreamError: for
    damage, for a file that ends without its end, and for anything behind that. wanted: whether the payload of a segment, by its
    kind and number, is read; of others the table alone."""

    def __init__(self, file: BinaryIO, seed: bytes, *, conceal: bool = False,
                 wanted: Callable[[int, int], bool] = lambda kind, number: True):
        self.file, self.seed, self.conceal, self.wanted = file, seed, conceal, wanted
        self.position = file.tell()
        self.size = file.seek(0, io.SEEK_END)

    def __iter__(self) -> Iterator[Segment]:
        expected = {GROUP: 0, SOUND: 0, PACKETS: 0}
        while True:
            filelimits.tick()
            segment = self._read(self.position)
            if segment is None and self.conceal:
                segment = self._search()
                if segment is None:
                    return
            elif segment is None:
                self._complain()
            self.position = segment.start + segment.size
            if segment.kind != END:
                number = expected[segment.kind]
                if segment.number < number or (segment.number > number and not self.conceal):
                    if self.conceal:
                        continue
                    raise CorruptStreamError(f"segment {segment.number} of its kind stands where {number} is to be")
                expected[segment.kind] = segment.number + 1
            yield segment
            if segment.kind == END:
                if self.position < self.size and not self.conceal:
                    raise CorruptStreamError("the stream is followed by other data")
                return

    def _prefix(self, data: bytes, at: int, position: int) -> tuple[int, int, int, int] | None:
        """(kind, number, length of table, of payload) where data[at] begins a segment that the file has room for."""
        if data[at] > PACKETS or at + PREFIX > len(data) or crc16(data[at : at + PREFIX - 2], self.seed) != data[at + PREFIX - 2 : at + PREFIX]:
            return None
        number, table = (int.from_bytes(data[at + i : at + j], "little") for i, j in ((1, 5), (5, 7)))
        payload = int.from_bytes(data[at + 7 : at + 11], "little")
        if table > MAX_TABLE or payload > MAX_PAYLOAD or position + PREFIX + table + 4 + payload > self.size:
            return None
        return data[at], number, table, payload

    def _read(self, position: int) -> Segment | None:
        self.file.seek(position)
        data = self.file.read(PREFIX)
        found = self._prefix(data, 0, position) if data else None
        if found is None:
            return None
        kind, number, length, size = found
        table, crc = self.file.read(length), self.file.read(4)
        if zlib.crc32(table, int.from_bytes(self.seed, "little")).to_bytes(4, "little") != crc:
            return None
        if not self.wanted(kind, number):
            return Segment(kind, number, table, b"", position, size)
        return Segment(kind, number, table, self.file.read(size), position)

    def _search(self) -> Segment | None:
        start = self.position + 1
        while start < self.size:
            self.file.seek(start)
            data = self.file.read(_WINDOW + PREFIX)
            filelimits.tick()
            for i in range(min(len(data), _WINDOW)):
                if data[i] <= PACKETS and self._prefix(data, i, start + i) and (segment := self._read(start + i)):
                    return segment
            start += _WINDOW
        self.position = self.size
        return None

    def _complain(self) -> None:
        self.file.seek(self.position)
        left = self.size - self.position
        data = self.file.read(PREFIX)
        if left < PREFIX or crc16(data[:-2], self.seed) == data[-2:]:
            raise CorruptStreamError("the stream is truncated, or damaged in the fields of a segment")
        raise CorruptStreamError("the prefix of a segment is damaged: its checksum does not match")


@dataclass(frozen=True)
class Outline:
    """What the tables of a stream say. groups: (number, times of its frames) of each; end: when the last frame ends, in units
    of time; None where that is lost."""

    groups: tuple[tuple[int, tuple[int, ...]], ...]
    end: int | None

    @property
    def frames(self) -> int:
        return sum(len(times) for _, times in self.groups)

    def between(self, start: float, stop: float) -> set[int]:
        """Numbers of the groups that have a frame from `start` on, before `stop`, both in units of time."""
        return {number for number, times in self.groups if times[0] < stop and times[-1] >= start}

    def first(self, start: float) -> int | None:
        """Time of the first frame from `start` on; None where there is none."""
        return next((time for _, times in self.groups for time in times if time >= start), None)


def outline(file: BinaryIO, seed: bytes, *, conceal: bool = False) -> Outline:
    """Of an open file, from its first segment on, where it stands again afterwards. Raises as `SegmentsOf`."""
    start, groups, end = file.tell(), [], None
    for segment in SegmentsOf(file, seed, conceal=conceal, wanted=lambda kind, number: kind == END):
        try:
            if segment.kind == GROUP:
                groups.append((segment.number, unpack_group(segment).times))
            elif segment.kind == END:
                end = unpack_end(segment).end
        except CorruptStreamError:
            if not conceal:
                raise
    file.seek(start)
    return Outline(tuple(groups), end)
