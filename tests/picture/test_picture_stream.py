"""The .vq container: every byte of the header, and every way in which it can be wrong."""

import dataclasses
import re
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec import medium
from vqcodec import stream as bytefields
from vqcodec.errors import CorruptStreamError, UnsupportedError, UsageError
from vqcodec.picture import stream as container
from vqcodec.picture.stream import Stream, pack, peek, unpack
from vqcodec.stream import grids_crc

SMALL = Stream(width=768, height=512, quality=80, model_id=1, model_hash=b"\x0a\x0b\x0c\x0d",
               grids_crc=0x12345678, segments=tuple(bytes([i]) * (200 + i) for i in range(8)))
ALPHA = dataclasses.replace(SMALL, grey=True, alpha=b"alpha")
JOINED = dataclasses.replace(SMALL, joined=True, segments=(b"".join(SMALL.segments),))
FEWER = dataclasses.replace(JOINED, slices=2)
PLAIN = dataclasses.replace(JOINED, plain=b"pl")

# The golden headers are the format: if one of these changes, so must the format version.
SMALL_HEADER = bytes.fromhex("56 51 01 00 01 0a0b0c0d 50 8006 8004 78563412 08 08 c8c9cacbcccdcecf eaf0")
ALPHA_HEADER = bytes.fromhex("56 51 01 18 01 0a0b0c0d 50 8006 8004 78563412 08 08 c8c9cacbcccdcecf"
                             "05 6a39e0d0 ca98")
JOINED_HEADER = bytes.fromhex("56 51 01 20 01 0a0b0c0d 50 8006 8004 78563412 dc0c 0098")
FEWER_HEADER = bytes.fromhex("56 51 01 a0 01 0a0b0c0d 50 8006 8004 78563412 02 dc0c 904f")
PLAIN_HEADER = bytes.fromhex("56 51 01 a0 01 0a0b0c0d 50 8006 8004 78563412 20 dc0c 02 7a46e22a 6874")


def header_of(stream):
    data = pack(stream)
    return data[:peek(data).size]


def resealed(header):
    """A header without its checksum, completed with the right one."""
    return header + bytefields.crc16(header)


def changed(index, value, data=SMALL_HEADER):
    """A correctly sealed header in which byte `index` (or the bytes of a slice) is another."""
    header = bytearray(data[:-2])
    header[index] = value
    return resealed(bytes(header))


def test_imports_neither_torch_nor_numpy():
    code = "import sys, vqcodec.picture.stream; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_golden_headers():
    assert header_of(SMALL).hex() == SMALL_HEADER.hex()
    assert header_of(ALPHA).hex() == ALPHA_HEADER.hex()
    assert header_of(JOINED).hex() == JOINED_HEADER.hex()
    assert header_of(FEWER).hex() == FEWER_HEADER.hex()
    assert header_of(PLAIN).hex() == PLAIN_HEADER.hex()
    assert pack(PLAIN) == PLAIN_HEADER + b"pl" + JOINED.segments[0]
    assert pack(JOINED) == JOINED_HEADER + b"".join(SMALL.segments)
    assert pack(SMALL) == SMALL_HEADER + b"".join(SMALL.segments)
    assert pack(ALPHA) == ALPHA_HEADER + b"".join(ALPHA.segments) + b"alpha"


@pytest.mark.parametrize("number, header", [(8, SMALL_HEADER), (9, JOINED_HEADER)])
def test_the_specification_prints_the_golden_headers(number, header):
    text = (Path(__file__).parents[2] / "bitstream_spec.md").read_text(encoding="utf-8")
    example = re.search(rf"### 9.{number} Example.*\n(?:\S.*\n|\n)+((?:    .*\n)+)", text).group(1)
    assert bytes.fromhex(" ".join(line.strip().split("   ")[0] for line in example.splitlines())) == header


def test_the_specification_tells_the_golden_header_of_fewer_slices():
    text = (Path(__file__).parents[2] / "bitstream_spec.md").read_text(encoding="utf-8")
    flags, slices, checksum = re.search(
        r"With two slices, .* are `(..)`, a byte `(..)` follows the grid checksum, .*\s+checksum is (....)\.", text).groups()
    header = JOINED_HEADER[:3] + bytes.fromhex(flags) + JOINED_HEADER[4:18] + bytes.fromhex(slices) + JOINED_HEADER[18:20]
    assert header + bytes.fromhex(checksum)[::-1] == FEWER_HEADER


def test_the_specification_tells_the_golden_header_of_a_plain_part():
    text = (Path(__file__).parents[2] / "bitstream_spec.md").read_text(encoding="utf-8")
    flags, more, after, checksum = re.search(
        r"With a plain part `.*` of 2 bytes, the flags are `(..)`, a byte `(..)` follows the grid checksum, `(.*)` the payload\s+"
        r"length, and the header checksum is (....)\.", text).groups()
    header = JOINED_HEADER[:3] + bytes.fromhex(flags) + JOINED_HEADER[4:18] + bytes.fromhex(more) + JOINED_HEADER[18:20]
    assert header + bytes.fromhex(after) + bytes.fromhex(checksum)[::-1] == PLAIN_HEADER


def test_header_checksum_is_the_catalogued_one():
    assert bytefields.crc16(b"123456789") == (0x29B1).to_bytes(2, "little")  # CRC-16/IBM-3740


def test_headers_of_images_take_at_most_32_bytes():
    """The numbers of the specification's section "Size of the header"."""
    assert len(header_of(JOINED)) == 22 and len(header_of(FEWER)) == 23
    greatest = dataclasses.replace(JOINED, width=1 << 17, height=1 << 13, model_id=16383, quality=255)
    lengths = {(1 << 21) - 1: 25, 1 << 21: 26, container.MAX_PAYLOAD: 27}
    assert {n: len(bytefields.uvarint(n)) + len(header_of(greatest)) - 2 for n in lengths} == lengths
    square = dataclasses.replace(greatest, width=1 << 15, height=1 << 15)  # both sides in three bytes
    assert len(header_of(square)) - 2 + 5 == 28
    assert len(header_of(dataclasses.replace(square, model_id=65535))) - 2 + 5 == 29
    assert len(header_of(dataclasses.replace(square, alpha=b""))) - 2 + 5 - 1 + 5 == 37
    common = dataclasses.replace(JOINED, width=16383, height=16383, model_id=127, alpha=bytes(16383))
    assert len(header_of(common)) - 2 + 3 == 29  # up to 2 MiB of segments


def streams():
    side = st.integers(1, 1 << 17)
    segments = st.lists(st.binary(max_size=300), min_size=1, max_size=200).map(tuple)
    layouts = segments.map(lambda s: (False, s)) | segments.map(lambda s: (True, (b"".join(s),)))
    return st.builds(
        lambda layout, **fields: Stream(joined=layout[0], segments=layout[1], **fields), layout=layouts,
        grey=st.booleans(), alpha=st.none() | st.binary(max_size=300), width=side, height=side,
        quality=st.integers(0, 255), model_id=st.integers(0, 65535),
        model_hash=st.binary(min_size=4, max_size=4), grids_crc=st.integers(0, 2**32 - 1),
        slices=st.none() | st.integers(1, 31), metadata=st.none() | st.binary(min_size=1, max_size=300),
        plain=st.none() | st.binary(max_size=300), curves=st.none() | st.binary(max_size=255),
    ).filter(lambda s: s.width * s.height <= 1 << 30)


@settings(deadline=None)
@given(streams())
def test_round_trip(stream):
    data = pack(stream)
    assert unpack(data) == stream
    header = peek(data)
    assert (header.file_size, header.segment_lengths) == (len(data), tuple(map(len, stream.segments)))
    assert peek(data[:header.size]) == header
    assert header.slices == stream.slices


@settings(deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_arbitrary_bytes_raise_only_the_documented_errors(data, with_magic):
    try:
        unpack(b"VQ\x01" + data if with_magic else data)
    except (CorruptStreamError, UnsupportedError):
        pass


@settings(deadline=None)
@given(st.binary(min_size=10, max_size=60))
def test_arbitrary_sealed_headers_raise_only_the_documented_errors(data):
    data = bytearray(b"VQ\x01" + data)
    data[3] &= 0xBF  # no metadata
    try:
        stream = unpack(resealed(bytes(data)))
    except (CorruptStreamError, UnsupportedError):
        pass
    else:
        assert pack(stream) == resealed(bytes(data))  # one stream, one form


@pytest.mark.parametrize("stream", [SMALL, ALPHA, JOINED, FEWER], ids=["plain", "alpha", "joined", "fewer"])
def test_every_flipped_bit_of_the_header_is_detected(stream):
    data = pack(stream)
    for bit in range(8 * peek(data).size):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CorruptStreamError, UnsupportedError)):
            unpack(bytes(broken))


@pytest.mark.parametrize("stream", [SMALL, ALPHA, JOINED, FEWER], ids=["plain", "alpha", "joined", "fewer"])
def test_every_truncation_is_detected(stream):
    data = pack(stream)
    for length in range(len(data)):
        with pytest.raises(CorruptStreamError, match="truncated|not a vqcodec file"):
            unpack(data[:length])


def test_flipped_bits_of_alpha_are_detected():
    data = bytearray(pack(ALPHA))
    data[-1] ^= 4
    with pytest.raises(CorruptStreamError, match="alpha payload is damaged"):
        unpack(bytes(data))


@pytest.mark.parametrize("data, error, match", [
    (b"", CorruptStreamError, "not a vqcodec file"),
    (b"\x89PNG\r\n\x1a\n", CorruptStreamError, "not a vqcodec file"),
    (b"VQ", CorruptStreamError, "truncated within its header"),
    (changed(2, 0), UnsupportedError, "format version 0 is unknown"),
    (changed(2, 2), UnsupportedError, "format version 2 is unknown"),
    (changed(3, 1), UnsupportedError, "of modality 1, not 0"),
    (changed(3, 2), UnsupportedError, "of modality 2, not 0"),
    (SMALL_HEADER[:-1] + b"\0", CorruptStreamError, "header is damaged"),
    (changed(slice(4, 5), b"\x81\x00"), CorruptStreamError, "longer than it need be"),
    (changed(slice(4, 5), b"\x80\x80\x80\x01"), CorruptStreamError, "longer than 3 bytes"),
    (changed(slice(4, 5), b"\x80\x80\x04"), CorruptStreamError, "model number must be 0..65535"),
    (changed(slice(10, 12), b"\x00"), CorruptStreamError, "width and height must be"),
    (changed(slice(12, 14), b"\x81\x80\x08"), CorruptStreamError, "width and height must be"),
    (changed(slice(10, 14), b"\x80\x80\x08\x81\x40"), CorruptStreamError, "more than the format's limit"),
    (changed(18, 0), CorruptStreamError, "number of segments must be 1..4096, not 0"),
    (changed(19, 32), CorruptStreamError, "must have 0..31 bits, not 32"),
    (changed(slice(18, 28), b"\x01\x03\x0d"), CorruptStreamError, "padding after the segment lengths"),
    (changed(slice(18, 28), b"\x01\x04\x05"), CorruptStreamError, "more bits than they need"),
    (changed(slice(28, 29), b"\x80\x80\x80\x80\x08", ALPHA_HEADER), CorruptStreamError,
     "alpha payload is said to be longer"),
    (changed(slice(18, 20), b"\x80\x80\x80\x80\x08", JOINED_HEADER), CorruptStreamError, "segments are said to be longer"),
    (changed(slice(18, 20), b"\x80\x80\x80\x80\x80", JOINED_HEADER), CorruptStreamError, "longer than 5 bytes"),
    (changed(slice(18, 20), b"\xdc\x8c\x00", JOINED_HEADER), CorruptStreamError, "longer than it need be"),
    (changed(18, 0, FEWER_HEADER), CorruptStreamError, "1..31 slices, not 0"),
    (changed(18, 0x82, FEWER_HEADER), UnsupportedError, "reserved bits"),
    (pack(JOINED) + b"\0", CorruptStreamError, "followed by other data"),
    (pack(JOINED)[:-1], CorruptStreamError, "truncated: 1649 bytes instead of 1650"),
    (pack(SMALL) + b"\0", CorruptStreamError, "followed by other data"),
    (pack(SMALL)[:-1], CorruptStreamError, "truncated: 1657 bytes instead of 1658"),
])
def test_each_defect_has_its_message(data, error, match):
    with pytest.raises(error, match=match):
        unpack(data)


def test_modality():
    assert bytefields.modality(SMALL_HEADER[:4]) == bytefields.modality(ALPHA_HEADER) == 0
    assert bytefields.modality(b"VQ\x01\x01") == 1
    assert medium.of_stream(SMALL_HEADER).modality == "image" and medium.of_stream(b"VQ\x01\x01").modality == "audio"


@pytest.mark.parametrize("data, error, match", [
    (b"", CorruptStreamError, "not a vqcodec file"),
    (b"RIFF", CorruptStreamError, "not a vqcodec file"),
    (b"VQ", CorruptStreamError, "truncated"),
    (b"VQ\x01", CorruptStreamError, "truncated"),
    (b"VQ\x02", UnsupportedError, "format version 2 is unknown"),
    (b"VQ\x02\x01", UnsupportedError, "format version 2 is unknown"),
    *((b"VQ\x01" + bytes([flags]), UnsupportedError, "reserved") for flags in (5, 7, 13, 0x46)),
])
def test_modality_of_other_streams(data, error, match):
    with pytest.raises(error, match=match):
        medium.of_stream(data)
    with pytest.raises(error):
        peek(data)


@pytest.mark.parametrize("field, value, error, match", [
    ("model_id", 65536, UsageError, "model number"),
    ("model_hash", b"abc", UsageError, "model hash"),
    ("quality", 256, UsageError, "quality must be 0..255"),
    ("quality", -1, UsageError, "quality must be 0..255"),
    ("width", 0, UsageError, "width and height"),
    ("height", (1 << 17) + 1, UsageError, "width and height"),
    ("height", 1 << 17, None, ""),
    ("grids_crc", 1 << 32, UsageError, "32 bits"),
    ("slices", 0, UsageError, "1..31 slices"),
    ("slices", 32, UsageError, "1..31 slices"),
    ("slices", 31, None, ""),
    ("curves", bytes(256), UsageError, "255 bytes at most"),
    ("curves", bytes(255), None, ""),
    ("segments", (), UsageError, "1..4096 segments, not 0"),
    ("segments", (b"",) * 4097, UsageError, "1..4096 segments, not 4097"),
    ("segments", (b"",), None, ""),
])
def test_pack_refuses_fields_out_of_range(field, value, error, match):
    stream = dataclasses.replace(SMALL, **{field: value})
    if error is None:
        assert unpack(pack(stream)) == stream
    else:
        with pytest.raises(error, match=match):
            pack(stream)


def test_metadata_follow_the_header():
    data = pack(dataclasses.replace(JOINED, metadata=b"some metadata"))
    header = peek(data)
    assert data[: header.size] == bytefields.seal(b"VQ\1\x60" + JOINED_HEADER[4:-2] + b"\x0d" + zlib.crc32(
        b"some metadata").to_bytes(4, "little"))
    assert data[header.size : header.sealed.end] == b"some metadata"
    assert unpack(data) == dataclasses.replace(JOINED, metadata=b"some metadata")
    damaged = data[: header.size] + b"S" + data[header.size + 1 :]
    with pytest.raises(CorruptStreamError, match="metadata are damaged"):
        unpack(damaged)
    assert peek(damaged) == header
    with pytest.raises(CorruptStreamError, match="truncated"):
        unpack(data[: header.size + 3])


@pytest.mark.parametrize("length", [0, bytefields.MAX_METADATA + 1])
def test_lengths_of_metadata(length):
    fields = bytefields.uvarint(length) + bytes(4)
    with pytest.raises(CorruptStreamError, match="metadata have 1"):
        peek(resealed(b"VQ\1\x60" + JOINED_HEADER[4:-2] + fields))
    with pytest.raises(UsageError, match="metadata have 1"):
        pack(dataclasses.replace(JOINED, metadata=bytes(length)))


def test_pack_refuses_too_many_pixels():
    with pytest.raises(UsageError, match="more than the format's limit"):
        pack(dataclasses.replace(SMALL, width=1 << 15, height=(1 << 15) + 1))


def test_pack_refuses_joined_segments_in_pieces():
    with pytest.raises(UsageError, match="one piece"):
        pack(dataclasses.replace(SMALL, joined=True))


def test_pack_refuses_payloads_beyond_the_limit(monkeypatch):
    monkeypatch.setattr(container, "MAX_PAYLOAD", 207)
    assert unpack(pack(SMALL)) == SMALL
    for field, value in (("alpha", bytes(208)), ("segments", (bytes(208),))):
        with pytest.raises(UsageError, match="longer than 207 bytes"):
            pack(dataclasses.replace(SMALL, **{field: value}))


def test_grids_crc():
    grids = np.arange(24).reshape(2, 3, 4) * 2000
    expected = zlib.crc32(b"".join(int(v).to_bytes(2, "little") for v in grids.ravel()))
    for dtype in (np.int64, np.int32, np.uint16, ">u2"):
        assert grids_crc(grids.astype(dtype)) == expected
    assert grids_crc(np.asfortranarray(grids)) == expected
    for bad in (np.array([-1]), np.array([65536]), np.array([0.5])):
        with pytest.raises(UsageError, match="0..65535"):
            grids_crc(bad)
