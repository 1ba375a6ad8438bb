"""Text ⇄ streams: what the specification says, whole and damaged."""

from __future__ import annotations

import random
import zlib

import numpy as np
import pytest
from safetensors.numpy import load_file

import reference_text
from text_samples import ID, text_of
from vqcodec.errors import CorruptStreamError, InputError, UnsupportedError, UsageError, VqcodecError
from vqcodec.indices import rangecoder
from vqcodec.text import blocks, coder, stream, tables
from vqcodec.text.codec import TextCodec
from vqcodec.text.stream import CODED, DEFLATED, STORED
from vqcodec.zoo import registry

TEXTS = {"one byte": b"x", "two": b"\xff\x00", "line": b"What was to be shown.\n", "lanes": text_of(4097, 5),
         "zeros": bytes(600), "utf-16": "Zürich ist groß.\n".encode("utf-16") * 40, "latin-1": "déjà vu\r\n".encode("latin-1") * 30}


@pytest.fixture(scope="module")
def codec(tiny_text_dir):
    return TextCodec.open(registry.find_by_name("tinytext", tiny_text_dir, "text"))


@pytest.mark.parametrize("name", TEXTS)
def test_there_and_back(codec, name):
    data = codec.encode(TEXTS[name])
    assert codec.decode(data) == TEXTS[name]
    assert len(data) <= len(TEXTS[name]) + 20


@pytest.mark.parametrize("text", [text_of(500, 3), b"ab" * 40 + text_of(4200, 4)], ids=["1", "2 lanes"])
def test_as_the_specification_has_it(codec, tiny_text_dir, text):
    data = codec.encode(text)
    found = stream.blocks(data)
    assert [(block.method, len(block.parts)) for block in found] == [(CODED, max(1, len(text) // 2048))]
    assert reference_text.decode(data, load_file(tiny_text_dir / "tinytext" / "prior.safetensors")) == (text, ID)


def test_the_smallest_method_is_taken(codec):
    noise = random.Random(1).randbytes(300)
    again = random.Random(2).randbytes(60) * 3  # which the match model finds late, and the histories not at all
    methods = [stream.blocks(codec.encode(text))[0].method for text in (noise, again, text_of(500))]
    assert methods == [STORED, DEFLATED, CODED]


def test_blocks_are_chained(codec, monkeypatch):
    monkeypatch.setattr(stream, "MAX_BLOCK", 300)
    text = text_of(750, 8)
    data = codec.encode(text)
    assert codec.decode(data) == text
    found = stream.blocks(data)
    assert [block.length for block in found] == [300, 300, 150]
    head = stream.peek(data)[1].end
    swapped = data[:head] + b"".join(found[i].pack() for i in (1, 0, 2))
    with pytest.raises(CorruptStreamError, match="block 0 is damaged"):
        codec.decode(swapped)


def test_known_text_is_smaller_than_by_deflate(codec):
    text = text_of(2000, 20)
    assert len(codec.encode(text)) < 0.75 * len(zlib.compress(text, 9))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_lanes_are_coded_as_by_the_range_coder(count):
    rng = np.random.default_rng(count)
    ones = rng.integers(1, 65536, (200, count)) ** 2 // 65536 + 1
    bits = rng.integers(65536, size=(200, count)) < ones
    segments = [coder.encode(bits[:, i], ones[:, i]) for i in range(count)]
    table = np.stack([np.zeros(200, np.int64), 65536 - ones[:, 0], np.full(200, 65536)], 1).astype(np.int32)
    assert segments[0] == rangecoder.encode(bits[:, 0].astype(int), table, "plain")
    decoder = coder.Decoder(segments)
    assert (np.array([decoder.bits(row) for row in ones]) == bits).all()
    decoder.check()
    for damaged in (segments[0] + b"\0", segments[0][:-1]):
        decoder = coder.Decoder([damaged, *segments[1:]])
        for row in ones:
            decoder.bits(row)
        with pytest.raises(CorruptStreamError):
            decoder.check()


def test_every_damage_is_told(codec):
    data = codec.encode(text_of(250, 9))
    choice = random.Random(3)
    for _ in range(16):
        bit = choice.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((CorruptStreamError, UnsupportedError)):
            codec.decode(bytes(damaged))
    for end in choice.sample(range(len(data)), 8):
        with pytest.raises(CorruptStreamError):
            codec.decode(data[:end])
    with pytest.raises(CorruptStreamError, match="something follows"):
        codec.decode(data + b"\0")


def test_a_header_that_lies_about_the_length(codec):
    head = stream.pack_header(stream.TextHeader(ID, codec.entry.hash, 1 << 34))
    with pytest.raises(CorruptStreamError, match="truncated"):
        codec.decode(head + bytes([CODED]) + bytes(300))


def test_deflated_blocks_of_another_length(codec):
    text = b"x" * 100
    head = stream.pack_header(stream.TextHeader(ID, codec.entry.hash, 100))
    crc = stream.chained(text, stream.header_crc(head, stream.peek(head)[1]))
    for inner in (text[1:], text + b"x"):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        part = packer.compress(inner) + packer.flush()
        with pytest.raises(CorruptStreamError):
            codec.decode(head + stream.Block(DEFLATED, crc, (part,), 100).pack())


def test_tokens_are_bytes(codec):
    data = codec.encode(text_of(500, 2))
    grids = codec.decode_grids(data)
    assert grids.dtype == np.int64 and grids.shape == (1, 500) and codec.encode_tokens(grids) == data
    for wrong in (grids[0], grids + 256, grids - 300, grids.astype(float), grids[:, :0]):
        with pytest.raises(UsageError):
            codec.encode_tokens(wrong)


def test_bits_add_up(codec):
    text = text_of(900, 11)
    spent = codec.bits(text)
    assert spent.shape == (900,) and (spent > 0).all()
    assert abs(spent.sum() / 8 - len(codec.encode(text))) < 25


def test_results_do_not_hang_on_threads_or_calls(codec):
    from concurrent.futures import ThreadPoolExecutor

    texts = [text_of(300, seed) for seed in (30, 31)] * 2
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(codec.encode, texts)) == [codec.encode(text) for text in texts]


def test_models_are_checked(codec):
    good = tables.to_tensors(codec.tables)
    assert all((a == b).all() for a, b in zip(vars(tables.from_tensors(good, "")).values(), vars(codec.tables).values()))
    bad = [{**good, "mix": good["mix"].astype(np.int64)}, {**good, "next": good["next"] + np.uint8(9)},
           {**good, "squash": good["squash"] * 0}, {**good, "nodes": good["nodes"][:-9]}, {**good, "extras": good["gaps"]},
           {k: v for k, v in good.items() if k != "match"}, {**good, "more": good["match"]}, {**good, "gaps": good["match"]}]
    for tensors in bad:
        with pytest.raises(InputError):
            tables.from_tensors(tensors, "model")


def test_lane_lengths():
    for length in (1, 2047, 2048, 4095, 4096, 20_479, 20_480, 100_001, 1 << 20):
        lengths = blocks.lane_lengths(length)
        assert lengths.sum() == length and np.ptp(lengths) <= 1 and (np.diff(lengths) <= 0).all() and len(lengths) <= 256


def test_limits_of_time(codec):
    from vqcodec.filelimits import Limits, within

    with within(Limits(seconds=1e-6)), pytest.raises(VqcodecError, match="not done"):
        codec.encode(text_of(3000))
