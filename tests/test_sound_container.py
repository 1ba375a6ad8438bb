"""Header and chunks of sound: the specification's example, limits, damage found, damage that stays local."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec import container, sound_container
from vqcodec.errors import CorruptStreamError, UnsupportedError, UsageError
from vqcodec.sound_container import ChunkReader, SoundHeader, pack_chunk, pack_header, peek, read_header

HEADER = SoundHeader(model_id=300, model_hash=b"\1\2\3\4", quality=16, rate=8000, channels=1, coded_channels=1, length=1,
                     gain=-4)
PAYLOADS = [bytes([i + 1]) * (40 + 7 * i) for i in range(6)]


def whole() -> bytes:
    return pack_header(HEADER) + b"".join(pack_chunk(i, 1000 + i, p) for i, p in enumerate(PAYLOADS))


def read(data: bytes, conceal: bool = False) -> list[bytes | None]:
    file = io.BytesIO(data)
    read_header(file)
    reader = ChunkReader(file, len(PAYLOADS), conceal=conceal)
    found = [reader.read(i) for i in range(len(PAYLOADS))]
    reader.finish()
    for i, chunk in enumerate(found):
        assert chunk is None or (chunk.number, chunk.grids_crc) == (i, 1000 + i)
    return [chunk and chunk.payload for chunk in found]


def test_the_specifications_example():
    text = (Path(__file__).parent.parent / "bitstream_spec.md").read_text()
    lines = re.findall(r"^    ([0-9a-f]{4})  ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  |$)", text[text.index("### 12.4"):], re.MULTILINE)
    data = b""
    for offset, row in lines:
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(row)
    header, size = peek(data)
    assert header == HEADER and size == 0x13
    file = io.BytesIO(data)
    read_header(file)
    reader = ChunkReader(file, 1)
    chunk = reader.read(0)
    reader.finish()
    assert (chunk.grids_crc, chunk.payload) == (0x12345678, b"\xaa\xbb")
    assert data == pack_header(HEADER) + pack_chunk(0, 0x12345678, b"\xaa\xbb")


@given(st.builds(SoundHeader, model_id=st.integers(0, 65535), model_hash=st.binary(min_size=4, max_size=4),
                 quality=st.integers(0, 255), rate=st.integers(1, 2**20 - 1), channels=st.integers(1, 255),
                 coded_channels=st.just(1), length=st.integers(1, 2**40), gain=st.integers(-128, 127)))
def test_headers_come_back(header):
    data = pack_header(header)
    assert peek(data) == (header, len(data)) and len(data) <= 32
    assert container.modality(data) == "audio"


@pytest.mark.parametrize("changes, words", [
    (dict(rate=0), "sampling rate"), (dict(rate=2**20), "sampling rate"), (dict(channels=0), "channels"),
    (dict(channels=256), "channels"), (dict(channels=5, coded_channels=3), "coded"), (dict(length=0), "length"),
    (dict(length=2**40 + 1), "length"), (dict(gain=128), "gain"), (dict(quality=256), "quality"),
    (dict(model_id=65536), "model number"), (dict(model_hash=b"abc"), "hash")])
def test_fields_out_of_range(changes, words):
    with pytest.raises(UsageError, match=words):
        pack_header(replace(HEADER, **changes))
    with pytest.raises(UsageError):
        pack_chunk(0, 0, b"")


def test_every_damaged_byte_of_the_header_is_noticed():
    data = pack_header(HEADER)
    for i in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[i] ^= 1 << bit
            with pytest.raises((CorruptStreamError, UnsupportedError)):
                peek(bytes(broken))
        with pytest.raises((CorruptStreamError, UnsupportedError)):
            peek(data[:i] + data[i + 1 :])
        with pytest.raises(CorruptStreamError):
            peek(data[:i])


def test_chunks_come_back_and_their_headers_are_checked():
    data = whole()
    assert read(data) == PAYLOADS
    position = peek(data)[1]
    for payload in PAYLOADS:
        for i in range(position, position + 7):
            broken = bytearray(data)
            broken[i] ^= 0x04
            with pytest.raises(CorruptStreamError):
                read(bytes(broken))
        position += 7 + len(payload)
    for end in range(peek(data)[1], len(data), 5):
        with pytest.raises(CorruptStreamError, match="truncated"):
            read(data[:end])
    with pytest.raises(CorruptStreamError, match="followed by"):
        read(data + b"\0")


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("damage", ["flip", "drop", "insert", "wipe"])
def test_concealment_loses_the_damaged_chunk_alone(number, damage):
    data, start = whole(), peek(whole())[1]
    start += sum(7 + len(p) for p in PAYLOADS[:number])
    for i in range(start, start + 7, 2):
        broken = bytearray(data)
        if damage == "flip":
            broken[i] ^= 0x11
        elif damage == "drop":
            del broken[i]
        elif damage == "insert":
            broken.insert(i, 0x77)
        else:
            broken[start : start + 7 + len(PAYLOADS[number])] = bytes(7 + len(PAYLOADS[number]))
        expected = [None if k == number else p for k, p in enumerate(PAYLOADS)]
        if damage == "insert" and i == start:  # the chunk itself is whole
            expected[number] = PAYLOADS[number]
        assert read(bytes(broken), conceal=True) == expected


def test_a_chunk_whose_content_is_rejected():
    """A byte too few in a payload: the next header is found although the length says otherwise."""
    data, start = whole(), peek(whole())[1]
    broken = bytearray(data)
    del broken[start + 20]
    file = io.BytesIO(bytes(broken))
    read_header(file)
    reader = ChunkReader(file, len(PAYLOADS), conceal=True)
    reader.reject(reader.read(0))
    assert reader.read(0) is None
    assert [reader.read(i).payload for i in range(1, 6)] == PAYLOADS[1:]


@given(st.binary(max_size=300))
def test_noise_is_never_a_crash(data):
    file = io.BytesIO(pack_header(HEADER) + data)
    read_header(file)
    reader = ChunkReader(file, 3, conceal=True)
    assert [reader.read(i) for i in range(3)].count(None) >= 0
    try:
        sound_container.peek(data)
    except (CorruptStreamError, UnsupportedError):
        pass
