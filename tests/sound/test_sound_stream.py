"""Header and chunks of sound: the specification's example, limits, damage found, damage that stays local."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec import medium
from vqcodec.sound import stream as sound_container
from vqcodec.metadata import unpack
from vqcodec.stream import crc16
from vqcodec.errors import CorruptStreamError, UnsupportedError, UsageError
from vqcodec.sound.stream import ChunkReader, SoundHeader, pack_chunk, pack_header, peek, read_header, seed_of

HEADER = SoundHeader(model_id=300, model_hash=b"\1\2\3\4", quality=16, rate=8000, channels=1, coded_channels=1, length=1,
                     gain=-4, bound=False)
PAYLOADS = [bytes([i + 1]) * (40 + 7 * i) for i in range(6)]


def whole(header: SoundHeader = HEADER) -> bytes:
    start = pack_header(header)
    seed = seed_of(*peek(start))
    return start + b"".join(pack_chunk(i, 1000 + i, p, seed) for i, p in enumerate(PAYLOADS))


def read(data: bytes, conceal: bool = False) -> list[bytes | None]:
    file = io.BytesIO(data)
    reader = ChunkReader(file, len(PAYLOADS), seed_of(*read_header(file)), conceal=conceal)
    found = [reader.read(i) for i in range(len(PAYLOADS))]
    reader.finish()
    for i, chunk in enumerate(found):
        assert chunk is None or (chunk.number, chunk.grids_crc) == (i, 1000 + i)
    return [chunk and chunk.payload for chunk in found]


def noisy(count: int, size: int = 60, seed: int = 0) -> list[bytes]:
    """Payloads such as an entropy coder makes, of different lengths."""
    random_ = random.Random(seed)
    return [random_.randbytes(size + 7 * (i % 5)) for i in range(count)]


def packed(payloads: list[bytes]) -> list[bytes]:
    """Chunks, of which the checksum of the grids is that of the payload: `decoded` can then do what a codec does."""
    return [pack_chunk(i, zlib.crc32(p), p) for i, p in enumerate(payloads)]


def decoded(data: bytes, count: int, conceal: bool = True) -> list[bytes | None]:
    """What a codec makes of chunks without a header before them: it rejects those with damaged content."""
    reader, payloads = ChunkReader(io.BytesIO(data), count, conceal=conceal), []
    for number in range(count):
        while (chunk := reader.read(number)) is not None:
            assert chunk.number == number
            if zlib.crc32(chunk.payload) == chunk.grids_crc:
                break
            if not conceal:
                raise CorruptStreamError("content")
            reader.reject(chunk)
        payloads.append(chunk and chunk.payload)
    reader.finish()
    return payloads


def test_imports_neither_torch_nor_numpy():
    code = "import sys, vqcodec.sound.stream; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("heading, bound", [("Example", False), ("Example of a bound stream with metadata", True)])
def test_the_specifications_examples(heading, bound):
    text = (Path(__file__).parents[2] / "bitstream_spec.md").read_text(encoding="utf-8")
    sound = text[text.index("## 10 Sound") :]
    example = re.search(rf"^### [\d.]+ {heading}\n.*?^##", sound, re.MULTILINE | re.DOTALL).group()
    lines = re.findall(r"^    ([0-9a-f]{4})  ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  |$)", example, re.MULTILINE)
    data = b""
    for offset, row in lines:
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(row)
    header, sealed = peek(data)
    assert header == replace(HEADER, bound=bound) and sealed.size == (0x18 if bound else 0x13)
    metadata, seed = sound_container.checked_metadata(data, sealed), seed_of(header, sealed)
    assert unpack(metadata).tags == (("title", "Go"),) if bound else metadata is None
    file = io.BytesIO(data)
    read_header(file)
    reader = ChunkReader(file, 1, seed)
    chunk = reader.read(0)
    reader.finish()
    assert (chunk.grids_crc, chunk.payload) == (0x12345678, b"\xaa\xbb")
    assert data == pack_header(header, metadata) + pack_chunk(0, 0x12345678, b"\xaa\xbb", seed)


@given(st.builds(SoundHeader, model_id=st.integers(0, 65535), model_hash=st.binary(min_size=4, max_size=4),
                 quality=st.integers(0, 255), rate=st.integers(1, 2**20 - 1), channels=st.integers(1, 255),
                 coded_channels=st.just(1), length=st.integers(1, 2**40), gain=st.integers(-128, 127), bound=st.booleans(),
                 gains=st.booleans()))
def test_headers_come_back(header):
    data = pack_header(header)
    found, sealed = peek(data)
    assert (found, sealed.size, sealed.end) == (header, len(data), len(data)) and len(data) <= 32
    assert sealed.checksum == data[-2:]
    assert medium.of_stream(data).modality == "audio"


@pytest.mark.parametrize("changes, words", [
    (dict(rate=0), "sampling rate"), (dict(rate=2**20), "sampling rate"), (dict(channels=0), "channels"),
    (dict(channels=256), "channels"), (dict(channels=5, coded_channels=3), "coded"), (dict(length=0), "length"),
    (dict(length=2**40 + 1), "length"), (dict(gain=128), "gain"), (dict(quality=256), "quality"),
    (dict(model_id=65536), "model number"), (dict(model_hash=b"abc"), "hash")])
def test_fields_out_of_range(changes, words):
    with pytest.raises(UsageError, match=words):
        pack_header(replace(HEADER, **changes))


@pytest.mark.parametrize("fields, words", [
    ((0, 0, b""), "1..16777216 bytes"), ((0, 0, bytes(2**24 + 1)), "1..16777216 bytes"), ((-1, 0, b"x"), "number"),
    ((2**32, 0, b"x"), "number"), ((0, -1, b"x"), "32 bits"), ((0, 2**32, b"x"), "32 bits")])
def test_chunks_out_of_range(fields, words):
    with pytest.raises(UsageError, match=words):
        pack_chunk(*fields)


def sealed(header: str) -> bytes:
    data = bytes.fromhex(header)
    return data + crc16(data)


@pytest.mark.parametrize("data, error, words", [
    (b"", CorruptStreamError, "not a vqcodec file"),
    (b"VQ", CorruptStreamError, "truncated"),
    (sealed("56510001 01 01020304 10 c03e 01 01 01 fc"), UnsupportedError, "version 0"),
    (sealed("56510181 01 01020304 10 c03e 01 01 01 fc"), UnsupportedError, "reserved flags"),
    (sealed("56510121 01 01020304 10 c03e 01 01 01 fc"), UnsupportedError, "reserved flags"),
    (sealed("56510102 01 01020304 10 c03e 01 01 01 fc"), UnsupportedError, "of modality 2, not 1"),
    (sealed("56510100 01 01020304 10 c03e 01 01 01 fc"), UnsupportedError, "of modality 0, not 1"),
    (sealed("56510101 808004 01020304 10 c03e 01 01 01 fc"), CorruptStreamError, "model number must be 0..65535"),
    (sealed("56510101 01 01020304 10 00 01 01 01 fc"), CorruptStreamError, "sampling rate must be"),
    (sealed("56510101 01 01020304 10 808040 01 01 01 fc"), CorruptStreamError, "sampling rate must be"),
    (sealed("56510101 01 01020304 10 80808001 01 01 01 fc"), CorruptStreamError, "longer than 3 bytes"),
    (sealed("56510101 01 01020304 10 c03e 00 01 01 fc"), CorruptStreamError, "channels must be"),
    (sealed("56510101 01 01020304 10 c03e 8002 01 01 fc"), CorruptStreamError, "channels must be"),
    (sealed("56510101 01 01020304 10 c03e 03 02 01 fc"), CorruptStreamError, "cannot be coded"),
    (sealed("56510101 01 01020304 10 c03e 03 00 01 fc"), CorruptStreamError, "cannot be coded"),
    (sealed("56510101 01 01020304 10 c03e 01 01 00 fc"), CorruptStreamError, "length must be"),
    (sealed("56510101 01 01020304 10 c03e 01 01 818080808020 fc"), CorruptStreamError, "length must be"),
    (sealed("56510101 01 01020304 10 c03e 01 01 8100 fc"), CorruptStreamError, "longer than it need be"),
    (sealed("56510101 01 01020304 10 c03e 01 01 01 fc")[:-1] + b"\0", CorruptStreamError, "checksum does not match"),
])
def test_each_defect_of_the_header_has_its_message(data, error, words):
    with pytest.raises(error, match=words):
        peek(data)


def test_the_greatest_header():
    header = SoundHeader(model_id=65535, model_hash=b"\xff" * 4, quality=255, rate=2**20 - 1, channels=255,
                         coded_channels=255, length=2**40, gain=127)
    found, ends = peek(pack_header(header))
    assert (found, ends.size) == (header, 28)  # as the specification says; the least has 17 bytes
    assert len(pack_header(replace(HEADER, model_id=0, rate=1))) == 17


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


@pytest.mark.parametrize("bound", [False, True])
def test_chunks_come_back_and_their_headers_are_checked(bound):
    data = whole(replace(HEADER, bound=bound))
    assert read(data) == PAYLOADS
    position = peek(data)[1].size
    for payload in PAYLOADS:
        for i in range(position, position + 7):
            broken = bytearray(data)
            broken[i] ^= 0x04
            with pytest.raises(CorruptStreamError):
                read(bytes(broken))
        position += 7 + len(payload)
    for end in range(peek(data)[1].size, len(data), 5):
        with pytest.raises(CorruptStreamError, match="truncated"):
            read(data[:end])
    with pytest.raises(CorruptStreamError, match="followed by"):
        read(data + b"\0")


def test_a_chunk_of_another_recording_is_refused_where_chunks_are_bound():
    """Of the same model, quality, number and shape: only the gains differ."""
    for bound in (False, True):
        first, second = (whole(replace(HEADER, bound=bound, gain=gain)) for gain in (-4, -3))
        cut = peek(first)[1].size + 7 + len(PAYLOADS[0])  # behind chunk 0
        mixed = second[:cut] + first[cut:]
        if not bound:
            assert read(mixed) == read(mixed, conceal=True) == PAYLOADS
            continue
        with pytest.raises(CorruptStreamError, match="header of chunk 1 is damaged"):
            read(mixed)
        assert read(mixed, conceal=True) == [PAYLOADS[0], *[None] * 5]
        back = cut + 7 + len(PAYLOADS[1])
        assert read(mixed[:back] + second[back:], conceal=True) == [PAYLOADS[0], None, *PAYLOADS[2:]]


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("damage", ["flip", "drop", "insert", "wipe"])
def test_concealment_loses_the_damaged_chunk_alone(number, damage, bound):
    data = whole(replace(HEADER, bound=bound))
    start = peek(data)[1].size
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
    data, start = whole(), peek(whole())[1].size
    broken = bytearray(data)
    del broken[start + 20]
    file = io.BytesIO(bytes(broken))
    read_header(file)
    reader = ChunkReader(file, len(PAYLOADS), conceal=True)
    reader.reject(reader.read(0))
    assert reader.read(0) is None
    assert [reader.read(i).payload for i in range(1, 6)] == PAYLOADS[1:]


def whole_file_is_refused(data: bytes) -> None:
    """Only by the documented errors."""
    with pytest.raises((CorruptStreamError, UnsupportedError)):
        decoded(data[peek(data)[1].size :], 4, conceal=False)


def test_every_damaged_byte_of_a_file_is_noticed():
    data = pack_header(HEADER) + b"".join(packed(noisy(4, 8)))
    for i in range(len(data)):
        whole_file_is_refused(data[:i])
        for mask in (0x01, 0x80, 0xFF):
            whole_file_is_refused(data[:i] + bytes([data[i] ^ mask]) + data[i + 1 :])
        whole_file_is_refused(data[:i] + data[i + 1 :])
        for byte in (0x00, 0x7F, 0xFF):
            whole_file_is_refused(data[:i] + bytes([byte]) + data[i:])
    assert decoded(data[peek(data)[1].size :], 4, conceal=False) == noisy(4, 8)


@settings(deadline=None)
@given(st.data())
def test_damage_of_one_range_costs_one_chunk(draw):
    count = draw.draw(st.integers(1, 8))
    payloads = noisy(count, draw.draw(st.sampled_from([1, 60, 130])), draw.draw(st.integers(0, 99)))
    chunks = packed(payloads)
    number = draw.draw(st.integers(0, count - 1))
    hit = chunks[number]
    begin = draw.draw(st.integers(0, len(hit) - 1))
    end = draw.draw(st.integers(begin, len(hit)))
    chunks[number] = hit[:begin] + draw.draw(st.binary(max_size=40)) + hit[end:]
    found = decoded(b"".join(chunks), count)
    assert found[number] in (None, payloads[number])
    assert found[:number] + found[number + 1 :] == payloads[:number] + payloads[number + 1 :]


@pytest.mark.parametrize("byte", range(8))
def test_a_wrong_length_that_checks_does_not_lose_the_next_chunk(byte):
    payloads = noisy(5)
    chunks = packed(payloads)
    lie = pack_chunk(2, zlib.crc32(payloads[2]), bytes(1 + 37 * byte))  # into the next chunk, or beyond
    chunks[2] = lie[: -1 - 37 * byte] + payloads[2]
    assert decoded(b"".join(chunks), 5) == [*payloads[:2], None, *payloads[3:]]


def test_a_header_that_begins_within_one_that_checks_by_chance_is_found():
    payloads = noisy(4)
    chunks = packed(payloads)
    crc = next(crc for crc in range(1 << 24) if pack_chunk(1, crc, bytes(5))[5:7] == chunks[1][:2])
    chunks.insert(1, pack_chunk(1, crc, bytes(5))[:5])  # the first bytes of chunk 1 are its checksum
    assert decoded(b"".join(chunks), 4) == payloads


def test_a_whole_chunk_between_damaged_ones_is_kept():
    payloads = noisy(9)
    chunks = packed(payloads)
    for number in (1, 3, 5, 7):
        chunks[number] = bytes([chunks[number][0], chunks[number][1] ^ 1]) + chunks[number][2:]
    assert decoded(b"".join(chunks), 9) == [None if i % 2 else p for i, p in enumerate(payloads)]


@pytest.mark.parametrize("missing", [1, 2, 63, 64, 65, 200])
@pytest.mark.parametrize("what", ["removed", "wiped", "noise"])
def test_a_hole_of_many_chunks(missing, what):
    payloads = noisy(missing + 8, 10)
    chunks = packed(payloads)
    size = sum(map(len, chunks[3 : 3 + missing]))
    hole = {"removed": b"", "wiped": bytes(size), "noise": random.Random(1).randbytes(size)}[what]
    data = b"".join(chunks[:3]) + hole + b"".join(chunks[3 + missing :])
    assert decoded(data, len(chunks)) == [*payloads[:3], *[None] * missing, *payloads[3 + missing :]]


@pytest.mark.parametrize("claimed, headers", [(5, 1), (66, 1), (67, 2), (150, 2)])
def test_headers_that_check_by_chance_lose_nothing(claimed, headers):
    """Within a damaged chunk 2: not followed by as many more as the number of chunks that would be skipped demands."""
    payloads = noisy(200, 90)
    chunks = packed(payloads)
    forged = b"".join(pack_chunk(claimed + i, 0, b"x") for i in range(headers))
    chunks[2] = bytes(20) + forged + chunks[2][20 + len(forged) :]
    assert decoded(b"".join(chunks), 200) == [*payloads[:2], None, *payloads[3:]]


def test_chunks_lost_at_the_end():
    payloads = noisy(6)
    chunks = packed(payloads)
    data = b"".join(chunks)
    for end in (0, len(chunks[0]) + 3, len(data) - 1):
        whole = sum(sum(map(len, chunks[: i + 1])) <= end for i in range(6))
        assert decoded(data[:end], 6) == payloads[:whole] + [None] * (6 - whole)
    assert decoded(data + b"\xff" * 99, 6) == payloads


@given(st.binary(min_size=5, max_size=8), st.integers(0, 0xFFFFFFFF), st.integers(0, 70000), st.integers(1, 70000),
       st.just(b"") | st.binary(min_size=2, max_size=2))
def test_the_numbers_that_fit_a_checksum(fields, number, before, after, seed):
    """Found by calculation; here some of them by trial."""

    def checksum_of(number):
        return crc16(seed + number.to_bytes(4, "little") + fields)

    checksum = checksum_of(number)
    first, end = max(0, number - before), min(1 << 32, number + after)
    found = list(sound_container._fitting(fields, checksum, first, end, seed))
    assert number in found and found == sorted(found) and first <= found[0] and found[-1] < end
    assert all(checksum_of(n) == checksum for n in found)
    some = range(first, min(end, first + 300))
    assert [n for n in some if checksum_of(n) == checksum] == [n for n in found if n in some]


def test_searching_takes_time_in_proportion_to_the_file(monkeypatch):
    """Each place of a file is looked at once or twice, however much is lost and whatever the header promises."""
    parse, looks = sound_container._parse, []
    monkeypatch.setattr(sound_container, "_parse", lambda *a: looks.append(a[2]) or parse(*a))
    chunks = packed(noisy(400, 30))
    data = b"".join(chunks[:20]) + random.Random(2).randbytes(5000) + b"".join(chunks[200::2])
    for count in (400, 1 << 20):
        looks.clear()
        reader = ChunkReader(io.BytesIO(data), count, conceal=True)
        for number in range(1000):
            if number == count:
                break
            while (chunk := reader.read(number)) is not None and zlib.crc32(chunk.payload) != chunk.grids_crc:
                reader.reject(chunk)
        assert len(looks) < 2 * len(data) + 2000


def test_a_file_full_of_headers_that_check_does_not_keep_a_reader_busy():
    """Each claims all that is left of the file, and none of them is what it says."""
    count, parts, tail = 3, [], b"\x55" * 100
    for _ in range(2000):
        parts.append(pack_chunk(1, 0, bytes(len(tail) + 10 * len(parts) + 200))[:9])
    reader = ChunkReader(io.BytesIO(b"".join(parts) + bytes(1 << 16)), count, conceal=True)
    rejected = 0
    assert reader.read(0) is None
    while (chunk := reader.read(1)) is not None:
        reader.reject(chunk)
        rejected += 1
    assert 50 < rejected <= 64 + 8 * count + 1 and reader.read(2) is None


def test_more_chunks_than_numbers_are_refused():
    ChunkReader(io.BytesIO(), 1 << 32)
    with pytest.raises(CorruptStreamError, match="more than 4294967296 chunks"):
        ChunkReader(io.BytesIO(), (1 << 32) + 1)


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 1 << 32))
def test_noise_is_never_a_crash(data, count):
    for conceal in (False, True):
        try:
            reader = ChunkReader(io.BytesIO(data), count, conceal=conceal)
            for number in range(3):
                chunk = reader.read(number)
                assert conceal or chunk is not None
                if chunk is not None:
                    assert data[chunk.start :].startswith(pack_chunk(number, chunk.grids_crc, chunk.payload))
            reader.finish()
        except CorruptStreamError:
            assert not conceal
    for start in (b"", b"VQ\1\1"):
        try:
            peek(start + data)
        except (CorruptStreamError, UnsupportedError):
            pass


@settings(deadline=None)
@given(st.binary(min_size=11, max_size=40))
def test_a_sealed_header_has_one_form(data):
    start = b"VQ\1" + (b"\1", b"\x09")[data[0] & 1] + data  # bound or not
    data = start + crc16(start)
    try:
        header, ends = peek(data)
    except (CorruptStreamError, UnsupportedError):
        return
    if not ends.metadata_length:
        assert pack_header(header) == data[: ends.size]
