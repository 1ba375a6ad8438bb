"""The bytes of a stream of video: every field, and what is wrong with it."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction

import pytest

from vqcodec.errors import CorruptStreamError, UnsupportedError, UsageError
from vqcodec.stream import crc16
from vqcodec.video import stream
from vqcodec.video.stream import END, GROUP, SOUND, Group, Segment, SegmentsOf, Totals, VideoHeader

HEADER = VideoHeader(model_id=11, model_hash=b"abcd", quality=56, width=426, height=240, aspect=Fraction(4, 3),
                     time_base=Fraction(1001, 30000), primaries=1, transfer=2, matrix=6, full=True)
GROUPS = (Group((0, 1, 5), (4, 3, 0), (5, 2, 0), 0x01020304), Group((6, 900), (4, 1), (1, 1), 7))


def whole() -> bytes:
    head = stream.pack_header(HEADER)
    seed = stream.peek(head)[1].checksum
    return b"".join([head, stream.pack_group(0, GROUPS[0], [b"abcde", b"fg", b""], seed), stream.pack_group(1, GROUPS[1], [b"x", b"y"], seed),
                     stream.pack_sound(0, SOUND, b"sound", seed), stream.pack_end(Totals(2, 5, 901), seed)])


def segments(data: bytes, conceal: bool = False) -> list[Segment]:
    file = io.BytesIO(data)
    sealed = stream.peek(data)[1]
    file.seek(sealed.end)
    return list(SegmentsOf(file, sealed.checksum, conceal=conceal))


def test_what_is_written_is_read():
    data = whole()
    header, sealed = stream.peek(data)
    assert header == HEADER and data[3] & 7 == 3 and sealed.size <= stream.MAX_HEADER
    found = segments(data)
    assert [(s.kind, s.number) for s in found] == [(GROUP, 0), (GROUP, 1), (SOUND, 0), (END, 0)]
    assert tuple(stream.unpack_group(s) for s in found[:2]) == GROUPS and stream.unpack_end(found[3]) == Totals(2, 5, 901)
    assert found[0].payload == b"abcdefg" and found[2].payload == b"sound"
    assert sum(s.size for s in found) + sealed.size == len(data)


def test_bytes_are_those_of_the_specification():
    header = stream.pack_header(replace(HEADER, aspect=Fraction(1), time_base=Fraction(1, 25), full=False))
    assert header[:-2] == bytes.fromhex("5651 01 03 0b") + b"abcd" + bytes.fromhex("38 aa03 f001 01 01 01 19 01 02 06")
    group = stream.pack_group(1, GROUPS[1], [b"x", b"y"], b"\x34\x12")
    table = bytes.fromhex("02 06 fd06 04 01 01 01 07000000")
    prefix = bytes.fromhex("01 01000000") + len(table).to_bytes(2, "little") + bytes.fromhex("02000000")
    assert group[:11] == prefix and group[11:13] == crc16(b"\x34\x12" + prefix) and group[13 : 13 + len(table)] == table
    assert group[-2:] == b"xy" and len(group) == 13 + len(table) + 4 + 2


@pytest.mark.parametrize("field, value", [
    ("width", 0), ("width", (1 << 14) + 1), ("height", 0), ("aspect", Fraction(1 << 17)), ("aspect", Fraction(1, 1 << 17)),
    ("time_base", Fraction(0)), ("time_base", Fraction(1, 1 << 32)), ("matrix", 256), ("quality", 256), ("model_id", 1 << 16)])
def test_fields_out_of_range(field, value):
    with pytest.raises(UsageError):
        stream.pack_header(replace(HEADER, **{field: value}))


def test_reserved_flags_and_fractions():
    data = bytearray(stream.pack_header(HEADER)[:-2])
    data[3] |= 0x10
    with pytest.raises(UnsupportedError, match="reserved"):
        stream.peek(bytes(data) + crc16(bytes(data)))
    data = stream.pack_header(replace(HEADER, aspect=Fraction(1)))[:-2].replace(bytes.fromhex("f001 01 01"), bytes.fromhex("f001 02 02"))
    with pytest.raises(CorruptStreamError, match="lowest terms"):
        stream.peek(data + crc16(data))
    data = data.replace(bytes.fromhex("f001 02 02"), bytes.fromhex("f001 02 00"))
    with pytest.raises(CorruptStreamError, match="denominator 0"):
        stream.peek(data + crc16(data))


@pytest.mark.parametrize("table, payload", [
    (b"\x00", b""), (b"\x01\x00\x04\x02\0\0\0\0", b"x"), (b"\x01\x00\x04\x01\0\0\0\0x", b"x"), (b"\x02\x00", b""), (b"\x81\x10", b"")])
def test_tables_that_make_no_sense(table, payload):
    with pytest.raises(CorruptStreamError):
        stream.unpack_group(Segment(GROUP, 0, table, payload))


def test_every_damaged_bit_of_prefixes_and_tables_is_found():
    data = whole()
    start = stream.peek(data)[1].end
    first = segments(data)[0]
    for bit in range(8 * (first.size - len(first.payload))):
        broken = bytearray(data)
        broken[start + bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptStreamError):
            segments(bytes(broken))
        assert [(s.kind, s.number) for s in segments(bytes(broken), conceal=True)] == [(GROUP, 1), (SOUND, 0), (END, 0)]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_what_is_cut_off(cut):
    with pytest.raises(CorruptStreamError):
        segments(whole()[:-cut])
    assert len(segments(whole()[:-cut], conceal=True)) < 4


def test_order_and_what_follows():
    data = whole()
    found = segments(data)
    first, second = (data[s.start : s.start + s.size] for s in found[:2])
    with pytest.raises(CorruptStreamError, match="stands where 0 is to be"):
        segments(data.replace(first + second, second + first))
    with pytest.raises(CorruptStreamError, match="followed by other data"):
        segments(data + b"\0")


def test_segments_of_another_clip_are_not_taken():
    other = stream.pack_header(replace(HEADER, width=320))
    data = whole()
    foreign = other + data[stream.peek(data)[1].end :]
    with pytest.raises(CorruptStreamError, match="checksum does not match"):
        segments(foreign)
    assert segments(foreign, conceal=True) == []
