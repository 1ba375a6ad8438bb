"""Plain blocks: found, packed, painted, and what others look like beside them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from conftest import synthetic_picture
from helpers import sample_grids
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.errors import CorruptStreamError
from vqcodec.picture import find_plain, plain_map
from vqcodec.picture import stream as container
from vqcodec.picture.codec import Codec
from vqcodec.picture.file import Picture
from vqcodec.picture.inspection import inspect
from vqcodec.picture.plain import CLEANED, CODED, PAINTED, Plain, cleaned, pack, pack_indices, unpack, unpack_indices
from vqcodec.picture.psnr import psnr
from vqcodec.stream import grids_crc
from vqcodec.zoo import registry

COLOURS = [(255, 255, 255), (0, 0, 0), (245, 238, 220), (200, 30, 40), (128, 128, 128), (200, 235, 200), (40, 80, 200), (250, 220, 40)]
SHIPPED = [entry.name for entry in registry.list_models() if entry.modality == "image" and entry.has_encoder]


@pytest.fixture(scope="module")
def codec(tiny_model_dir):
    return Codec.open(registry.find_by_name("tiny", tiny_model_dir))


@pytest.fixture(scope="module")
def decoder(tiny_model_dir):
    return Codec.open(registry.find_by_name("tiny", tiny_model_dir), encoder=False)


def page(height=200, width=333, ground=(250, 240, 230)) -> np.ndarray:
    """A plain ground with a picture, and with noise in one corner."""
    rgb = np.full((height, width, 3), ground, np.uint8)
    rgb[40:100, 50:170] = synthetic_picture(60, 120)
    rgb[-20:, -20:] = np.random.default_rng(0).integers(0, 256, (20, 20, 3))
    return rgb


@pytest.mark.parametrize("name", SHIPPED)
def test_plain_pictures_are_exact_and_small(name):
    """Of every model that encodes, at its lowest and highest quality."""
    encoder, reader = (Codec.open(registry.find_by_name(name), encoder=encodes) for encodes in (True, False))
    for quality in (1, encoder.qualities):
        for colour in COLOURS:
            picture = Picture(np.full((512, 512, 3), colour, np.uint8))
            data = encoder.encode(picture, quality).data
            assert len(data) <= 40
            decoded = reader.decode(data)
            assert np.array_equal(decoded.rgb, picture.rgb)
            assert decoded.grey == (len(set(colour)) == 1)


@pytest.mark.parametrize("height, width", [(1, 1), (1, 40), (16, 16), (17, 33), (100, 3)])
def test_small_plain_pictures(codec, decoder, height, width):
    picture = Picture(np.full((height, width, 3), (9, 200, 7), np.uint8), np.arange(height * width, dtype=np.uint8).reshape(height, width))
    data = codec.encode(picture, 2).data
    decoded = decoder.decode(data)
    assert np.array_equal(decoded.rgb, picture.rgb) and np.array_equal(decoded.alpha, picture.alpha)
    assert np.array_equal(codec.decode(data).rgb, picture.rgb)
    assert codec.decode_grids(data).shape[1:] == (-(-height // 16), -(-width // 16))


@pytest.mark.parametrize("effort", [0, 1, 2])
def test_plain_blocks_are_exact_beside_others(codec, decoder, effort):
    rgb = page()
    data = codec.encode(Picture(rgb), 2, effort=effort).data
    labels = find_plain.find(rgb, 16).labels
    assert labels[0, 0] == PAINTED and labels[4, 5] == CODED
    for one in (codec, decoder):
        decoded = one.decode(data).rgb
        painted = (labels >= PAINTED).repeat(16, 0).repeat(16, 1)[:200, :333]
        assert np.array_equal(decoded[painted], rgb[painted])
        assert (decoded[~painted] != rgb[~painted]).any()
    found = inspect(data)
    assert (found.plain_blocks, found.plain_bytes) == (int((labels >= PAINTED).sum()), len(container.unpack(data).plain))
    assert found.header_bytes + found.plain_bytes + found.payload_bytes == len(data)
    assert sum(codec.segment_bytes(data)) == found.payload_bytes
    assert (codec.bits_per_block(data)[labels >= PAINTED] == 0).all() and codec.bits_per_block(data).max() > 0


def test_plain_blocks_take_no_bytes(codec, monkeypatch):
    picture = Picture(page(800, 700))
    with_them = codec.encode(picture, 2)
    monkeypatch.setattr(find_plain, "find", lambda rgb, sixteenths: None)
    without = codec.encode(picture, 2)
    assert len(with_them.data) < 0.8 * len(without.data)
    assert psnr(picture.rgb, codec.decode(with_them.data).rgb) > psnr(picture.rgb, codec.decode(without.data).rgb)
    assert container.unpack(without.data).plain is None and inspect(without.data).plain_blocks == 0


def test_targets_see_the_size_of_plain_blocks(codec):
    picture = Picture(page(400, 500))
    size = len(codec.encode(picture, 2).data)
    result = codec.encode_to_target(picture, size=size)
    assert 0.9 * size < len(result.data) <= size
    wanted = psnr(picture.rgb, codec.decode(codec.encode(picture, 2).data).rgb)
    result = codec.encode_to_target(picture, psnr=wanted)
    assert abs(psnr(picture.rgb, codec.decode(result.data).rgb) - wanted) < 0.5


def test_photographs_have_none(codec):
    assert find_plain.find(synthetic_picture(200, 300), 16) is None
    assert container.unpack(codec.encode(Picture(synthetic_picture(64, 64)), 2).data).plain is None


def test_few_blocks_do_not_pay():
    rgb = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    rgb[:32, :64] = 255
    assert find_plain.find(rgb, 0) is None and find_plain._found(rgb, 8).painted.sum() == 8


def test_blocks_nearly_of_a_common_colour_count():
    rgb = page(400, 400)
    rgb[320:336, 16:32, 1] += (np.arange(16) % 2).astype(np.uint8)
    rgb[320:336, 64:80, 1] += 2 * (np.arange(16) % 2).astype(np.uint8)
    found = find_plain.find(rgb, 32)
    assert found.labels[20, 1] == PAINTED and found.labels[20, 4] == CODED
    assert found.colours[0].tolist() == [250, 240, 230]


@pytest.mark.parametrize("grey", [False, True])
def test_index_grids_make_a_stream_without_plain_blocks(codec, decoder, grey):
    rgb = page(ground=(240, 240, 240))
    if grey:
        rgb = np.repeat(rgb[:, :, :1], 3, 2)
    data = codec.encode(Picture(rgb, grey=grey), 2).data
    grids = decoder.decode_grids(data)
    again = decoder.encode_tokens(grids, 333, 200, 2, grey=grey).data
    assert container.unpack(again).plain is None and np.array_equal(decoder.decode_grids(again), grids)
    assert decoder.decode(data).grey == grey


def test_both_runtimes_skip_the_same_positions(codec, decoder, monkeypatch):
    from vqcodec.picture import codec as module

    monkeypatch.setattr(module, "BAND_POSITIONS", 40)
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, (9, 7)).astype(np.uint8)
    labels[4:6] = 3  # a band without any that are coded
    start, size = (np.asarray(part) for part in codec.coder.prior.windows(20)[0])
    first = start[:, None] + rng.integers(0, 1 << 30, (len(size), 2)) % size[:, None]
    plain = Plain(labels, np.array([[1, 2, 3], [4, 5, 6]], np.uint8), 5, pack_indices(first, start, size))
    given = plain.given(decoder.coder, 20)
    grids = np.where(labels >= PAINTED, given.indices[:, labels.astype(int) - PAINTED], sample_grids(decoder, 9, 7, 20))
    segments = decoder.code_grids(grids, 20, given)
    assert segments == codec.code_grids(codec.coder.array(grids), 20, plain.given(codec.coder, 20))
    stream = container.Stream(width=7 * 16, height=9 * 16, quality=20, model_id=codec.entry.id, model_hash=codec.entry.hash,
                              grids_crc=grids_crc(grids), segments=segments, plain=pack(plain, False))
    for joined in (False, True):
        data = container.pack(dataclasses.replace(stream, joined=joined, segments=(b"".join(segments),) if joined else segments))
        for one in (codec, decoder):
            assert np.array_equal(one.decode_grids(data), grids)
            assert (one.decode(data).rgb[64:96] == [4, 5, 6]).all()


# --- the plain part ---------------------------------------------------------------------------------------------

def plains():
    def made(rows, columns, n, seed, reach, grey, indices):
        rng = np.random.default_rng(seed)
        share = rng.dirichlet([0.3] * (n + 2))
        labels = rng.choice(n + 2, (rows, columns), p=share).astype(np.uint8)
        if not reach:
            labels[labels == CLEANED] = CODED
        colours = rng.integers(0, 256, (n, 1 if grey else 3), dtype=np.uint8)
        return Plain(labels, np.broadcast_to(colours, (n, 3)), reach, indices), grey

    return st.builds(made, st.integers(1, 20), st.integers(1, 20), st.integers(1, 254), st.integers(0, 1 << 30), st.integers(0, 32),
                     st.booleans(), st.binary(max_size=200))


@settings(deadline=None)
@given(plains())
def test_round_trip(made):
    plain, grey = made
    again = unpack(pack(plain, grey), *plain.labels.shape, grey)
    assert np.array_equal(again.labels, plain.labels) and np.array_equal(again.colours, plain.colours)
    assert (again.reach, again.indices) == (plain.reach, plain.indices)


ONE = pack(Plain(np.array([[0, 2], [1, 2]], np.uint8), np.array([[1, 2, 3]], np.uint8), 4, b"i"), False)


@pytest.mark.parametrize("data, message", [
    (b"", "truncated"),
    (b"\0" + ONE[1:], "of 0 colours"),
    (b"\xff" + ONE[1:], "of 255 colours"),
    (ONE[:1] + b"\x21" + ONE[2:], "within 33 levels"),
    (ONE[:1] + b"\0" + ONE[2:], "within 0 levels"),
    (ONE[:4], "truncated"),
    (ONE[:5] + b"\xff\x7f" + ONE[6:], "truncated"),
    (ONE + b"\0", "not what an encoder writes"),
    (ONE[:-1], "not what an encoder writes|missing"),
    (b"\2\0abcabc\0", "missing"),
])
def test_what_no_encoder_writes_is_refused(data, message):
    assert unpack(ONE, 2, 2, False).labels.tolist() == [[0, 2], [1, 2]]
    with pytest.raises(CorruptStreamError, match=message):
        unpack(data, 2, 2, False)


@given(st.binary(max_size=60), st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_any_bytes_are_refused_or_read(data, rows, columns, grey):
    try:
        plain = unpack(data, rows, columns, grey)
    except CorruptStreamError:
        return
    plain.finish(np.zeros((16 * rows, 16 * columns, 3), np.uint8))


def test_indices_are_checked():
    start, size = np.array([5, 0, 9]), np.array([5, 1, 256])
    indices = np.array([[5, 9], [0, 0], [9, 264]])
    data = pack_indices(indices, start, size)
    assert len(data) == 3  # 3, 0 and 8 bits, twice
    assert np.array_equal(unpack_indices(data, 2, start, size), indices)
    for bad in (data + b"\0", data[:-1], data[:-1] + bytes([data[-1] | 128]), b"\7" + data[1:]):
        with pytest.raises(CorruptStreamError):
            unpack_indices(bad, 2, start, size)


def test_damage_to_the_plain_part_is_noticed(codec):
    data = codec.encode(Picture(page()), 2).data
    stream = container.unpack(data)
    at = data.index(stream.plain)
    with pytest.raises(CorruptStreamError, match="plain part is damaged"):
        codec.decode(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    labels = unpack(stream.plain, 13, 21, False).labels.copy()
    labels[0, 0] = CODED  # one position more
    with pytest.raises(CorruptStreamError):
        codec.decode(container.pack(dataclasses.replace(stream, plain=pack(dataclasses.replace(
            unpack(stream.plain, 13, 21, False), labels=labels), False))))


def test_a_map_of_few_colours_is_small():
    labels = np.full((64, 64), CODED, np.uint8)
    labels[10:40, 5:50] = PAINTED
    assert len(plain_map.encode(labels, 1)) < 70
    assert np.array_equal(plain_map.decode(plain_map.encode(labels, 1), 64, 64, 1), labels)


def test_a_map_has_a_byte_for_2048_blocks():
    """Fewer is refused at once, however many blocks a header announces; no map is shorter."""
    with pytest.raises(CorruptStreamError, match="2 bytes cannot hold the map of 4194304 blocks"):
        plain_map.decode(b"ab", 2048, 2048, 1)
    labels = np.full((200, 200), PAINTED, np.uint8)
    assert 200 * 200 / 2048 < len(plain_map.encode(labels, 1)) < 200 * 200 / 1000


# --- cleaning ----------------------------------------------------------------------------------------------------

def test_cleaning_draws_near_samples_to_the_colour():
    colour = np.array([[200, 100, 50], [0, 0, 0]], np.uint8)
    samples = np.array([[200, 100, 50], [204, 96, 50], [206, 100, 50], [200, 107, 50], [200, 100, 42], [255, 255, 255], [3, 4, 1]], np.uint8)
    wanted = [[200, 100, 50], [200, 100, 50], [204, 100, 50], [200, 106, 50], [200, 100, 42], [255, 255, 255], [0, 0, 0]]
    assert cleaned(samples, colour, 4).tolist() == wanted
    line = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    for reach in (1, 7, 32):
        found = cleaned(line, np.array([[100] * 3], np.uint8), reach)[:, 0].astype(int)
        assert (np.diff(found) >= 0).all() and (found[100 - reach : 101 + reach] == 100).all()
        assert (found[: 101 - 2 * reach] == line[: 101 - 2 * reach, 0]).all()


def test_blocks_are_cleaned_where_that_is_nearer():
    rgb = np.full((32, 64, 3), 240, np.uint8)
    rgb[:, 32:] = np.random.default_rng(1).integers(225, 256, (32, 32, 3))
    decoded = (rgb + np.random.default_rng(2).integers(-4, 5, rgb.shape)).clip(0, 255).astype(np.uint8)
    plain = find_plain.with_cleaning(Plain(np.zeros((2, 4), np.uint8), np.array([[240] * 3], np.uint8)), decoded, rgb, 0.5)
    assert plain.labels.tolist() == [[CLEANED, CLEANED, CODED, CODED]] * 2 and plain.reach >= 4
    assert np.array_equal(plain.finish(decoded.copy())[:, :32], rgb[:, :32])
    assert find_plain.with_cleaning(plain, rgb, rgb, 0.5) is plain
