"""Slices that only high qualities have, and streams that leave out those at rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import reference_decoder
import torch
from conftest import make_tiny_model, synthetic_picture, tiny_config
from helpers import joined, sample_grids, tabled

from vqcodec.errors import CorruptStreamError, UsageError
from vqcodec.indices.grids import indices_at_rest
from vqcodec.picture import stream as container
from vqcodec.picture.codec import Codec
from vqcodec.picture.file import Picture
from vqcodec.train.model import Model, centre_codebooks
from vqcodec.zoo import config, registry
from vqcodec.indices.config import PriorConfig, QuantizerConfig
from vqcodec.picture.config import ModelConfig


def sliced_config() -> ModelConfig:
    return replace(tiny_config(), quantizer=QuantizerConfig((8, 8, 8), (1, 2, 2), (256, 64, 64), (1, 1, 3)),
                   prior=PriorConfig((16, 24, 24), (4, 6, 6)))


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sliced")
    make_tiny_model(folder, sliced_config(), "sliced", 60002)
    return registry.find_by_name("sliced", folder)


@pytest.fixture(scope="module")
def codec(entry):
    return Codec.open(entry)


@pytest.fixture(scope="module")
def picture():
    return Picture(synthetic_picture(120, 168))


def last(codec, grids):
    """The grids of the last slice, and what they hold at rest."""
    return grids[codec.coder.layouts[2].planes], codec.coder.rest[2].numpy()[:, None, None]


def test_a_slice_is_absent_below_its_quality(codec, picture):
    for quality, present in ((1, False), (2.9375, False), (3, True)):
        encoded = codec.encode(picture, quality)
        stream = container.unpack(encoded.data)
        found, rest = last(codec, codec.decode_grids(encoded.data))
        assert (found != rest).any() == present and stream.slices is None
        assert (sum(codec.segment_bytes(encoded.data)[-2:]) > 0) == present
        again = codec.encode_tokens(codec.decode_grids(encoded.data), 168, 120, quality)
        assert again.data == encoded.data


def test_slices_at_rest_take_no_bytes(codec, picture):
    data = codec.encode(picture, 3).data
    grids = codec.decode_grids(data)
    for layout, rest in list(zip(codec.coder.layouts, codec.coder.rest))[1:]:
        grids[layout.planes] = rest[:, None, None]
    less = codec.encode_tokens(grids, 168, 120, 3).data
    assert container.unpack(less).slices == 1 and sum(codec.segment_bytes(less)[-4:]) == 0
    assert np.array_equal(codec.decode_grids(less), grids) and codec.decode(less).rgb.shape == picture.rgb.shape
    plain = codec.encode(Picture(np.full((64, 64, 3), 128, np.uint8)), 3).data
    assert len(plain) < 60


def test_the_reference_decoder_agrees(codec, entry, picture):
    model = reference_decoder.read_model(entry.path)
    plain = Picture(np.full((40, 40, 3), (200, 190, 170), np.uint8))
    for image, quality in ((picture, 1), (picture, 3), (plain, 3)):
        data = codec.encode(image, quality).data
        header, grids = reference_decoder.decode_grids(data, model)
        assert np.array_equal(grids, codec.decode_grids(data))
        away = reference_decoder.reconstruct(grids, header, model).astype(int) - codec.decode(data).rgb
        assert np.abs(away).max() <= 1


@pytest.mark.parametrize("slices", [1, 2])
def test_streams_may_say_that_there_are_fewer(codec, entry, picture, slices):
    """With a table of lengths too, and of a model all of whose slices are there at all qualities."""
    model = reference_decoder.read_model(entry.path)
    grids = torch.from_numpy(codec.decode_grids(codec.encode(picture, 3).data))
    for layout, rest in list(zip(codec.coder.layouts, codec.coder.rest))[slices:]:
        grids[layout.planes] = rest[:, None, None]
    data = codec.encode_tokens(grids.numpy(), 168, 120, 3).data
    assert container.unpack(data).slices == slices
    table = container.pack(tabled(codec, data))
    assert len(container.unpack(table).segments) == codec.coder.prior.steps
    filled = replace(tabled(codec, data), segments=(*tabled(codec, data).segments[:-1], b"\0"))  # an absent step has bytes
    for stream, whole in ((data, True), (table, True), (container.pack(filled), False), (container.pack(joined(filled)), False)):
        if whole:
            header, found = reference_decoder.decode_grids(stream, model)
            assert header.slices == slices and np.array_equal(found, grids) and np.array_equal(codec.decode_grids(stream), grids)
        else:
            with pytest.raises(reference_decoder.Invalid):
                reference_decoder.decode_grids(stream, model)
            with pytest.raises(CorruptStreamError, match="empty step has bytes|bytes follow"):
                codec.decode_grids(stream)


def test_fewer_slices_of_a_model_of_before(tiny_model_dir):
    entry = registry.find_by_name("tiny", tiny_model_dir)
    codec, model = Codec.open(entry), reference_decoder.read_model(entry.path)
    assert not codec.model.quantizer.from_quality
    grids = sample_grids(codec, 3, 2, 5)
    grids[codec.coder.layouts[1].planes] = codec.coder.rest[1][:, None, None]
    whole = container.unpack(codec.encode_tokens(grids, 32, 48, 1 + 5 / 16).data)
    assert whole.slices is None  # so that earlier decoders read it
    segments = codec.coder.code(torch.from_numpy(grids), 5, 1)
    for slices, valid in ((1, True), (2, False)):
        data = container.pack(replace(whole, slices=slices, segments=(b"".join(segments),)))
        if valid:
            assert np.array_equal(codec.decode_grids(data), grids)
            assert np.array_equal(reference_decoder.decode_grids(data, model)[1], grids)
        else:
            with pytest.raises(reference_decoder.Invalid, match="no more slices"):
                reference_decoder.decode_grids(data, model)
            with pytest.raises(CorruptStreamError, match="2 slices are not fewer"):
                codec.decode_grids(data)


def test_rest_does_not_depend_on_the_order_of_summation():
    """Codewords that differ in nothing but the order of their dims: rounding alone tells which is the least."""
    for seed in range(50):
        numbers = np.random.default_rng(seed).normal(size=(1, 1, 7)).astype(np.float32) ** 9
        book = np.concatenate([np.roll(numbers, i, 2) for i in range(7)], 1)
        norms = [sum(float(x) ** 2 for x in word) for word in book[0]]  # binary64, from left to right
        first = norms.index(min(norms))
        assert indices_at_rest(book).tolist() == [first]
        assert reference_decoder.indices_at_rest(book.astype(np.float64)).tolist() == [first]
    assert indices_at_rest(np.array([[[2.0], [-1.0], [1.0], [-1.0]]])).tolist() == [1]


def test_impossible_slices_are_refused(codec, picture):
    data = codec.encode(picture, 2).data
    stream = container.unpack(data)
    with pytest.raises(CorruptStreamError, match="2 slices are not fewer"):
        codec.decode(container.pack(replace(stream, slices=2)))
    with pytest.raises(CorruptStreamError):
        codec.decode(container.pack(replace(stream, slices=1)))  # what follows is more than it holds
    with pytest.raises(UsageError, match="1..31 slices"):
        container.pack(replace(stream, slices=32))
    with pytest.raises(UsageError, match="slices that this quality does not have"):
        codec.encode_tokens(codec.decode_grids(codec.encode(picture, 3).data), 168, 120, 2)


@pytest.mark.parametrize("firsts", [(1, 1), (2, 2, 2), (1, 3, 2), (1, 1, 4)])
def test_impossible_first_qualities_are_refused(firsts):
    model = sliced_config()
    with pytest.raises(UsageError, match="from_quality"):
        config.check_model(replace(model, quantizer=replace(model.quantizer, from_quality=firsts)))


def test_absent_slices_are_zero_and_free_in_training():
    torch.manual_seed(0)
    model = Model(sliced_config())
    torch.nn.init.normal_(model.encoder.linear.weight, 0, 0.2)
    for q in model.quantizers:
        q.codebook.data += 0.1
    centre_codebooks(model)
    assert all(q.codebook.square().sum(2).amin(1).eq(0).all() == (i == 2) for i, q in enumerate(model.quantizers))
    pixels, level = torch.rand(3, 3, 64, 64), torch.tensor([0.0, 1.0, 2.0])
    with torch.no_grad():
        own = model.analyse(pixels, level)
        for latents in (own, model.searched(own, pixels, level, 2)[0], model.choose(own, level)[1]):
            assert not latents[:2, 16:].any() and latents[2, 16:].any() and latents[0, :16].any()
        chosen, values = model.choose(own, level)
        bits = model.index_bits(own, values, chosen, level)
        model.prior.heads[2].layer.bias += torch.randn_like(model.prior.heads[2].layer.bias)
        other = model.index_bits(own, values, chosen, level)
        assert torch.equal(bits[:2], other[:2]) and bits[2] != other[2]
        assert model.density_bits(values, level)[0] < model.density_bits(torch.cat([values[:1]] * 3), level)[2]
