"""Masks: without loss, as the specification says, and small."""

from __future__ import annotations

import io

import numpy as np
import pytest
import reference_mask
from PIL import Image, ImageDraw

from vqcodec.document import bilevel, context, inputs, network, tiles, wavefront, wide_context
from vqcodec.document.bilevel import decode_mask, encode_mask
from vqcodec.document.config import load
from vqcodec.errors import CorruptStreamError, InputError, UsageError
from vqcodec.zoo import registry
from vqcodec.zoo.reading import read_tensors


@pytest.fixture(scope="module")
def entry():
    return registry.find_by_name("pages-1", modality="document")


@pytest.fixture(scope="module")
def net(entry):
    return load(entry)


def tensors_of_any_network(count: int, seed: int = 5) -> dict[str, np.ndarray]:
    """Weights that were not trained, of a line that follows the tables and of hidden values that matter."""
    random = np.random.default_rng(seed)
    first = random.integers(-9, 10, (count, 13)).astype(np.int16)
    first[-34:-14, -1] = 60
    return {"a.weight": first, "a.bias": random.integers(-2000, 2000, 13).astype(np.int32),
            "b.weight": random.integers(-99, 100, (12, 6)).astype(np.int16), "b.bias": random.integers(-2000, 2000, 6).astype(np.int32),
            "c.weight": random.integers(-20, 20, (6, 1)).astype(np.int16), "c.bias": np.zeros(1, np.int32)}


def printed(width: int, height: int, text: str = "Figures 3816, 9,407 and 62.05\nof the year 1986; see page 8.") -> np.ndarray:
    image = Image.new("1", (width, height), 1)
    ImageDraw.Draw(image).multiline_text((4, 3), text, fill=0, font_size=18)
    return ~np.asarray(image)


def test_all_kinds_of_masks_come_back(net):
    random = np.random.default_rng(0)
    for shape in ((1, 1), (1, 70), (70, 1), (33, 31), (64, 96)):
        for mask in (np.zeros(shape, bool), np.ones(shape, bool), random.random(shape) < 0.5, random.random(shape) < 0.02):
            data = encode_mask(mask, net)
            np.testing.assert_array_equal(decode_mask(data, *shape, net), mask)


def test_what_is_plain_takes_next_to_nothing(net):
    assert len(encode_mask(np.zeros((3508, 2480), bool), net)) < 30
    half = np.zeros((640, 640), bool)
    half[:320] = True
    assert len(encode_mask(half, net)) < 30


def test_strips_change_nothing_but_where_steps_begin(net, monkeypatch):
    mask = printed(300, 100)
    monkeypatch.setattr(bilevel, "STRIP_PIXELS", 300 * 32)
    assert bilevel.strips(100, 300) == [(0, 32), (32, 64), (64, 96), (96, 100)]
    data = encode_mask(mask, net)
    np.testing.assert_array_equal(decode_mask(data, 100, 300, net), mask)


def test_masks_are_as_specified(net, entry):
    tensors = read_tensors(entry, "prior")
    random = np.random.default_rng(1)
    for mask in (printed(110, 38), random.random((35, 37)) < 0.3, np.pad(np.ones((40, 34), bool), ((0, 9), (9, 9)))):
        rows = reference_mask.decode(encode_mask(mask, net), *mask.shape, tensors)
        np.testing.assert_array_equal(np.array(rows, bool), mask)


def test_masks_with_inputs_of_the_second_kind_are_as_specified():
    tensors = tensors_of_any_network(wide_context.INPUTS)
    net = network.MaskNetwork(tensors)
    random = np.random.default_rng(1)
    lines = printed(110, 70, "Figures 38,\nfigures 39,\nfigures 38.")
    for mask in (lines, random.random((35, 37)) < 0.3, np.pad(np.ones((40, 34), bool), ((0, 9), (9, 9))), np.zeros((1, 1), bool)):
        data = encode_mask(mask, net)
        np.testing.assert_array_equal(decode_mask(data, *mask.shape, net), mask)
        np.testing.assert_array_equal(np.array(reference_mask.decode(data, *mask.shape, tensors), bool), mask)


def test_strips_of_the_second_kind(monkeypatch):
    tensors = tensors_of_any_network(wide_context.INPUTS)
    mask = printed(70, 70, "a8 a8\na8 a8\na8 a8")
    monkeypatch.setattr(bilevel, "STRIP_PIXELS", 70 * 32)
    data = encode_mask(mask, network.MaskNetwork(tensors))
    np.testing.assert_array_equal(decode_mask(data, 70, 70, network.MaskNetwork(tensors)), mask)


def test_what_makes_inputs_goes_by_their_number():
    assert {count: len(known.MOST) for count, known in inputs.SETS.items()} == {144: 144, 194: 194}
    with pytest.raises(UsageError, match="144, 194"):
        inputs.of_count(145)


def test_inputs_are_within_what_the_proof_of_sums_takes(net):
    mask = printed(300, 120, 4 * "Figures 3816, 9,407 and 62.05\n") ^ (np.random.default_rng(4).random((120, 300)) < 0.02)
    for known in inputs.SETS.values():
        contexts, (y, x, ends), begin = known(*mask.shape), wavefront.steps(np.ones((4, 10), bool), *mask.shape), 0
        for end in ends.tolist():
            at = contexts.at(y[begin:end], x[begin:end])
            found = contexts.look(at, int(x[begin] + wavefront.SLOPE * y[begin]))
            assert (found >= known.LEAST).all() and (found <= known.MOST).all()
            contexts.learn(at, mask[y[begin:end], x[begin:end]].astype(np.uint8))
            begin = end


def test_print_takes_less_than_half_of_group_4(net):
    lines = "\n".join(f"{i}. A fox jumps over {97 * i} lazy dogs, and back." for i in range(8))
    mask = printed(420, 190, lines)
    out = io.BytesIO()
    Image.fromarray(~mask).save(out, "TIFF", compression="group4", tiffinfo={278: 190})
    group4 = Image.open(out).tag_v2[279][0]
    assert len(encode_mask(mask, net)) < 0.5 * group4


def test_damage_is_found(net):
    mask = printed(200, 60)
    data = encode_mask(mask, net)
    for place in (0, 3, len(data) // 2, len(data) - 1):
        broken = bytearray(data)
        broken[place] ^= 16
        with pytest.raises(CorruptStreamError):
            decode_mask(bytes(broken), 60, 200, net)
    for cut in (b"", data[:3], data[:-5]):
        with pytest.raises(CorruptStreamError):
            decode_mask(cut, 60, 200, net)


def test_maps_of_tiles():
    random = np.random.default_rng(2)
    for shape in ((1, 1), (5, 9), (110, 78)):
        busy = random.random(shape) < 0.3
        black = ~busy & (random.random(shape) < 0.1)
        data = tiles.pack_tiles(busy, black)
        for found, wanted in zip(tiles.unpack_tiles(data, *shape), (busy, black)):
            np.testing.assert_array_equal(found, wanted)
        with pytest.raises(CorruptStreamError, match="map of tiles"):
            tiles.unpack_tiles(data + b"\1", *shape)


def test_steps_wait_for_what_they_look_at():
    y, x, ends = wavefront.steps(np.ones((2, 3), bool), 50, 70)
    begin, order = 0, np.zeros((50, 70), int)
    assert len(y) == 3500 and ends[-1] == 3500
    for number, end in enumerate(ends):
        order[y[begin:end], x[begin:end]] = number
        begin = end
    for row, start in enumerate(context.STARTS):
        ahead = start + context.WORD - 1
        if row:
            assert (order[row:, : 70 - ahead] > order[:-row, ahead:]).all()


def test_popcounts_of_old_and_new_numpy_agree():
    words = np.random.default_rng(3).integers(0, 1 << 63, (5, 6), dtype=np.uint64)
    wanted = [[int(word).bit_count() for word in row] for row in words]
    assert context.ones(words).tolist() == context._ones_of_bytes(words).tolist() == wanted


def test_sums_that_float32_does_not_hold_are_refused(entry):
    weights = read_tensors(entry, "prior")
    network.check(weights)
    weights["b.weight"] = np.full_like(weights["b.weight"], 2**15 - 1)
    with pytest.raises(InputError, match="not exact"):
        network.MaskNetwork(weights)


