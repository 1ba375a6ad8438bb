"""The composed codec: pictures through files and back, whatever their size, and every knob in between."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from conftest import TINY_ID, synthetic_picture
from helpers import make_wild_model, sample_grids, tabled

from vqcodec.picture import codec as codec_module
from vqcodec.picture import torch_codec
from vqcodec.picture.inspection import inspect
from vqcodec.picture import stream as container
from vqcodec.zoo import modelfile, registry
from vqcodec.picture.codec import Codec
from vqcodec.picture.torch_codec import TorchCodec
from vqcodec.picture.config import TransformConfig
from vqcodec.errors import CorruptStreamError, UnsupportedError, UsageError
from vqcodec.picture.file import Picture
from vqcodec.picture.psnr import psnr
from vqcodec.indices.rates import Rates
from vqcodec.indices.target import NEAR_DECIBELS
from vqcodec.picture.transform import Decoder, Encoder, halo


@pytest.fixture(scope="module")
def codec(tiny_model_dir):
    return Codec.open(registry.find_by_name("tiny", tiny_model_dir))


@pytest.fixture(scope="module")
def picture():
    return Picture(synthetic_picture(120, 168))


@pytest.fixture(scope="module")
def deep(codec):
    """The codec with larger networks of random weights, so that every output depends on its whole neighbourhood
    (the tiny model's networks begin at zero beside the linear path)."""
    torch.manual_seed(3)
    config = TransformConfig(codec.model.transform.latent_dims, (8, 12, 16), (2, 2, 1), (1, 3, 2),
                             codec.model.transform.lambdas)
    nets = [Decoder(config), Encoder(config)]
    for net, like, scale in zip(nets, (codec.decoder, codec.encoder), (0.02, 0.2)):
        net.load_state_dict({k: v for k, v in like.state_dict().items() if "linear" in k or "gain" in k}, strict=False)
        for name, weight in net.named_parameters():
            if "blocks" in name and name.endswith("conv2.weight"):
                weight.data.mul_(20)  # they begin small
        torch.nn.init.normal_(net.head.weight, 0, scale)
        net.eval().requires_grad_(False)
    model = dataclasses.replace(codec.model, transform=config)
    return type(codec)(codec.entry, model, codec.coder, *nets, None)


# --- pictures through files --------------------------------------------------------------------------------

@pytest.mark.parametrize("width, height", [(1, 1), (1, 40), (33, 1), (16, 16), (17, 16), (200, 333)])
def test_round_trip_of_any_size(codec, width, height):
    original = Picture(synthetic_picture(height, width))
    encoded = codec.encode(original, 3)
    decoded = codec.decode(encoded.data)
    assert decoded.rgb.shape == (height, width, 3) and decoded.rgb.dtype == np.uint8
    assert decoded.alpha is None and not decoded.grey
    assert psnr(original.rgb, decoded.rgb) > 30
    assert codec.decode_grids(encoded.data).shape == (16, -(-height // 16), -(-width // 16))
    assert encoded.bpp == 8 * len(encoded.data) / (width * height) and encoded.note is None


def test_a_picture_that_is_not_contiguous(codec, picture):
    mirrored = Picture(picture.rgb[:, ::-1])
    assert codec.encode(mirrored, 2) == codec.encode(Picture(mirrored.rgb.copy()), 2)


def test_higher_quality_costs_more_and_gives_more(codec, picture):
    files = [codec.encode(picture, q).data for q in (1, 2, 3)]
    sizes, fidelities = [len(f) for f in files], [psnr(picture.rgb, codec.decode(f).rgb) for f in files]
    assert sizes == sorted(set(sizes)) and fidelities == sorted(set(fidelities))


def test_qualities_in_between_are_sixteenths(codec, picture):
    below, between, above = (codec.encode(picture, q) for q in (1, 1.5, 2))
    assert len(below.data) < len(between.data) < len(above.data)
    assert below.quality == 1 and between.quality == 1.5 == inspect(between.data).quality
    assert codec.encode(picture, 1.51) == between and codec.encode(picture, 1.49) == between
    for quality in np.arange(1, 3.01, 1 / 16):
        encoded = codec.encode(picture, quality)
        assert encoded.quality == quality
        assert psnr(picture.rgb, codec.decode(encoded.data).rgb) > 27


@pytest.mark.parametrize("quality", [0.9, 0, -1, 3.01, 8, math.nan, math.inf])
def test_qualities_out_of_range(codec, picture, quality):
    assert codec.qualities == 3
    with pytest.raises(UsageError, match="between 1 and 3"):
        codec.encode(picture, quality)


def test_pictures_without_pixels_are_refused(codec):
    with pytest.raises(UsageError, match="5×0"):
        codec.encode(Picture(np.zeros((0, 5, 3), np.uint8)), 1)


def test_grey_pictures_stay_grey(codec):
    grey = np.repeat(synthetic_picture(40, 50)[:, :, :1], 3, axis=2)
    decoded = codec.decode(codec.encode(Picture(grey, grey=True), 3).data)
    assert decoded.grey and (decoded.rgb == decoded.rgb[:, :, :1]).all()
    assert psnr(grey, decoded.rgb) > 22


def test_pictures_without_colour_are_grey_whatever_their_file_was(codec):
    grey = np.repeat(synthetic_picture(40, 50)[:, :, :1], 3, axis=2)
    assert codec.encode(Picture(grey), 3).data == codec.encode(Picture(grey, grey=True), 3).data
    for target in ({"bpp": 0.5}, {"psnr": 24.0}):
        found, told = (codec.encode_to_target(picture, **target) for picture in (Picture(grey), Picture(grey, grey=True)))
        assert found == told and codec.decode(found.data).grey
    for channel in range(3):
        coloured = grey.copy()
        coloured[39, 49, channel] ^= 1
        assert not torch_codec.is_grey(coloured) and not codec.decode(codec.encode(Picture(coloured), 3).data).grey


def test_colour_is_found_in_any_strip(monkeypatch):
    monkeypatch.setattr(torch_codec, "STRIP_PIXELS", 40)
    for row in range(5):
        rgb = np.full((5, 20, 3), 7, np.uint8)
        assert torch_codec.is_grey(rgb)
        rgb[row, 3, 1] = 8
        assert not torch_codec.is_grey(rgb)


@pytest.mark.parametrize("kind", ["mask", "gradient", "noise"])
def test_alpha_is_kept_exactly(codec, kind):
    y, x = np.mgrid[:31, :45]
    alpha = {"mask": np.where(x > y, 255, 0), "gradient": 3 * x + y,
             "noise": np.random.default_rng(0).integers(0, 256, (31, 45))}[kind].astype(np.uint8)
    original = Picture(synthetic_picture(31, 45), alpha)
    data = codec.encode(original, 2).data
    np.testing.assert_array_equal(codec.decode(data).alpha, alpha)
    opaque = codec.encode(Picture(original.rgb), 2).data
    np.testing.assert_array_equal(codec.decode(data).rgb, codec.decode(opaque).rgb)


def test_inspection_says_what_went_in(codec):
    alpha = np.full((30, 70), 9, np.uint8)
    data = codec.encode(Picture(synthetic_picture(30, 70), alpha, True), 2.25).data
    found = inspect(data)
    assert (found.width, found.height, found.quality, found.grey) == (70, 30, 2.25, True)
    assert (found.model_id, found.model_hash) == (TINY_ID, codec.entry.hash.hex())
    assert found.segment_bytes is None
    assert len(codec.segment_bytes(data)) == codec.coder.prior.steps == 10
    assert sum(codec.segment_bytes(data)) == found.payload_bytes
    assert found.header_bytes + found.payload_bytes + found.alpha_bytes == len(data)
    old = inspect(container.pack(tabled(codec, data)))
    assert old.segment_bytes == codec.segment_bytes(data) and old.payload_bytes == found.payload_bytes
    assert found.alpha_bytes == 2 and found.bpp == 8 * len(data) / 2100
    assert inspect(codec.encode(Picture(synthetic_picture(30, 70)), 1).data).alpha_bytes == 0


# --- choice of codewords -----------------------------------------------------------------------------------

def by_distance(codec, picture, quality: int):
    """The picture in the codewords nearest to its latents, whatever their bits."""
    sixteenths = 16 * (quality - 1)
    grids, segments = codec._choose_and_code(codec.latents(picture.rgb, sixteenths), sixteenths, [0.0] * len(codec.coder.layouts))
    return codec._packed(grids, segments, *picture.rgb.shape[:2], sixteenths, False, None)


def test_rate_aware_choice_saves_bytes(codec, picture):
    for quality in (1, 2, 3):
        plain, aware = by_distance(codec, picture, quality), codec.encode(picture, quality, effort=0)
        assert len(aware.data) < 0.98 * len(plain.data)
        assert psnr(picture.rgb, codec.decode(aware.data).rgb) > psnr(picture.rgb, codec.decode(plain.data).rgb) - 1


def test_plain_choice_is_the_nearest_codeword_in_use(codec, picture):
    grids = codec.decode_grids(by_distance(codec, picture, 2).data)
    latents = codec.latents(picture.rgb, 16)[0].flatten(1)
    first = codec.coder.prior.slices[0]
    start, size = first.alphabet(16)
    for g, book in enumerate(codec.coder.codebooks[0][:, :, 0]):
        window = book[start[g]:start[g] + size[g]]
        nearest = start[g] + (latents[g][:, None] - window).abs().argmin(1)
        assert (torch.from_numpy(grids[g]).flatten() == nearest).float().mean() > 0.99  # but for ties
        assert len(nearest.unique()) > 1  # there was something to choose


def test_a_search_asks_the_prior_anew_after_some_steps(codec, picture, monkeypatch):
    asked = []
    choose = Rates.choose
    monkeypatch.setattr(Rates, "choose", lambda self, latents, before, renew, gradient:
                        asked.append(renew) or choose(self, latents, before, renew, gradient))
    codec.encode(picture, 2, effort=3)
    assert asked == [True, False] * 6


def test_a_search_in_bands_is_a_search(codec, picture, monkeypatch):
    whole = codec.encode(picture, 2, effort=2).data
    wanted = codec.decode(whole).rgb.astype(int)
    monkeypatch.setattr(codec_module, "BAND_POSITIONS", 24)
    banded = [codec.encode(picture, 2, effort=effort).data for effort in (1, 2)]
    monkeypatch.setattr(torch_codec, "REMEMBERED_PIXELS", 0)  # no picture is small enough for its shortlists to be kept
    banded.append(codec.encode(picture, 2, effort=2).data)
    for data in banded:
        error = (codec.decode(data).rgb - wanted) ** 2
        assert len(data) < 1.2 * len(whole) and error.mean() < 20


def test_bits_per_block_add_up_to_the_file(codec, picture):
    data = codec.encode(picture, 2).data
    bits = codec.bits_per_block(data)
    assert bits.shape == (8, 11) and (bits > 0).all()
    real = 8 * inspect(data).payload_bytes
    assert bits.sum() - 1 <= real <= bits.sum() + codec.coder.prior.steps * 16


def test_bits_per_block_are_where_the_detail_is(codec):
    flat = np.full((64, 64, 3), 128, np.uint8)
    flat[16:32, 32:48] = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    bits = codec.bits_per_block(codec.encode(Picture(flat), 2).data)
    assert np.unravel_index(bits.argmax(), bits.shape) == (1, 2)


# --- targets -----------------------------------------------------------------------------------------------

def quality_steps(codec, picture):
    return [codec.encode(picture, 1 + i / 16) for i in range(33)]


@pytest.mark.parametrize("at", [0.01, 0.3, 0.5, 0.77, 0.99])
def test_target_rate(codec, picture, at):
    rates = [e.bpp for e in quality_steps(codec, picture)]
    target = rates[0] + at * (rates[-1] - rates[0])
    encoded = codec.encode_to_target(picture, bpp=target)
    assert abs(encoded.bpp - target) < 0.03 * target
    assert encoded.note is None
    steps = np.diff(sorted(rates))
    assert abs(encoded.bpp - target) <= min(abs(r - target) for r in rates) + steps.max()  # rates may not quite rise


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
def test_target_psnr_is_met_within_a_tenth_or_by_the_nearest_of_neighbouring_qualities(codec, picture, at):
    def reached(quality):
        return psnr(picture.rgb, codec.decode(codec.encode(picture, quality).data).rgb)

    target = reached(1) + at * (reached(3) - reached(1))
    encoded = codec.encode_to_target(picture, psnr=target)
    assert encoded.note is None
    value = psnr(picture.rgb, codec.decode(encoded.data).rgb)
    other = reached(encoded.quality + (1 / 16 if value <= target else -1 / 16))
    assert abs(value - target) <= max(NEAR_DECIBELS, abs(other - target))


def test_target_size_is_an_upper_bound(codec, picture):
    sizes = [len(e.data) for e in quality_steps(codec, picture)]
    for target in (sizes[0], (sizes[0] + sizes[-1]) // 2, sizes[20], sizes[-1] - 1):
        encoded = codec.encode_to_target(picture, size=target)
        assert 0.95 * target < len(encoded.data) <= target
        assert encoded.note is None


def test_targets_take_few_encodes(codec, picture, monkeypatch):
    counts, search = [], TorchCodec.search

    def counting(*arguments, **options):
        counts[-1] += 1
        return search(*arguments, **options)

    monkeypatch.setattr(TorchCodec, "search", counting)
    for targets in [{"bpp": b} for b in (0.16, 0.19, 0.23, 0.27)] + [{"size": s} for s in (400, 470, 560, 680)] + [
            {"psnr": p} for p in (29, 29.8, 30.5, 31.3)]:
        counts.append(0)
        codec.encode_to_target(picture, effort=1, **targets)
    rates, psnrs = counts[:8], counts[8:]
    assert sum(rates) / len(rates) <= 2.5 and sum(psnrs) / len(psnrs) <= 2.5 and max(counts) <= 4, str(counts)


@pytest.mark.parametrize("targets, limit, quality", [
    ({"bpp": 0.01}, "lowest", 1), ({"bpp": 50}, "highest", 3), ({"psnr": 10}, "lowest", 1),
    ({"psnr": 70}, "highest", 3), ({"size": 20}, "lowest", 1), ({"size": 100000}, "highest", 3)])
def test_targets_out_of_reach_give_the_end_and_a_note(codec, picture, targets, limit, quality):
    encoded = codec.encode_to_target(picture, **targets)
    assert encoded.data == codec.encode(picture, quality).data
    assert f"the {limit} quality" in encoded.note and f"target {next(iter(targets.values()))}" in encoded.note


@pytest.mark.parametrize("targets", [
    {}, {"bpp": 1, "psnr": 30}, {"bpp": 0}, {"size": 0}, {"psnr": -3}, {"bpp": math.nan}, {"psnr": math.inf}])
def test_targets_that_make_no_sense(codec, picture, targets):
    with pytest.raises(UsageError):
        codec.encode_to_target(picture, **targets)


# --- index grids -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("quality", [1, 1.75, 3])
def test_encode_tokens_is_the_inverse_of_decode_grids(codec, quality):
    grids = sample_grids(codec, 3, 4, round(16 * quality) - 16)
    assert len(np.unique(grids[0])) > 3
    encoded = codec.encode_tokens(grids, 60, 41, quality)
    np.testing.assert_array_equal(codec.decode_grids(encoded.data), grids)
    assert codec.decode(encoded.data).rgb.shape == (41, 60, 3)


def test_tokens_of_a_file_give_the_same_file(codec, picture):
    encoded = codec.encode(picture, 2.5)
    grids = codec.decode_grids(encoded.data)
    assert codec.encode_tokens(grids, 168, 120, 2.5) == encoded
    for kind in (np.uint8, np.uint16, np.int32):
        assert codec.encode_tokens(grids.astype(kind), 168, 120, 2.5) == encoded
    assert codec.encode_tokens(grids.tolist(), 168, 120, 2.5) == encoded
    assert inspect(codec.encode_tokens(grids, 168, 120, 2.5, grey=True).data).grey


def changed(grids, value, at=(0, 0, 0)):
    grids = grids.copy()
    grids[at] = value
    return grids


@pytest.mark.parametrize("change, match", [
    (lambda g: g[:, :, :1], "shape"), (lambda g: g[:-1], "shape"), (lambda g: g[0], "shape"),
    (lambda g: g.astype(float), "integers"), (lambda g: g.astype(bool), "integers"),
    (lambda g: changed(g, -1), "does not use"), (lambda g: changed(g, 256), "does not use"),
    (lambda g: changed(g, 1 << 40), "does not use"), (lambda g: changed(g, 0), "does not use"),
    (lambda g: changed(g, 60, (15, 1, 1)), "does not use")])
def test_bad_grids_are_refused(codec, change, match):
    good = sample_grids(codec, 2, 2, 0)
    codec.encode_tokens(good, 32, 32, 1)
    with pytest.raises(UsageError, match=match):
        codec.encode_tokens(change(good), 32, 32, 1)


@pytest.mark.parametrize("width, height", [(0, 32), (32, 0), (-16, 32), (1 << 21, 1), (1 << 16, 1 << 15)])
def test_tokens_of_impossible_sizes_are_refused(codec, width, height):
    with pytest.raises(UsageError, match="cannot be coded"):
        codec.encode_tokens(np.zeros((16, 0, 0), int), width, height, 1)


# --- models ------------------------------------------------------------------------------------------------

def test_streams_of_other_models_are_unsupported(codec, tiny_model_dir, picture, tmp_path):
    data = codec.encode(picture, 1).data
    stream = container.unpack(data)
    for change in ({"model_id": TINY_ID + 1}, {"model_hash": b"\0\1\2\3"}):
        other = container.pack(dataclasses.replace(stream, **change))
        for method in (codec.decode, codec.decode_grids, codec.bits_per_block):
            with pytest.raises(UnsupportedError, match="model"):
                method(other)
    make_wild_model(tiny_model_dir, tmp_path)
    wild = Codec.open(registry.find_by_name("wild", tmp_path))
    with pytest.raises(UnsupportedError):
        wild.decode(data)


def test_a_decoder_only_model_decodes_and_cannot_encode(codec, tiny_model_dir, picture, tmp_path):
    modelfile.export_model(codec.entry, tmp_path / "tiny.vqmodel", decoder_only=True)
    entry = modelfile.import_model(tmp_path / "tiny.vqmodel", tmp_path / "models", force=True)
    with pytest.raises(UnsupportedError, match="decoder-only"):
        Codec.open(entry)
    encoded = codec.encode(picture, 2)
    decoder = Codec.open(entry, encoder=False)
    np.testing.assert_array_equal(decoder.decode(encoded.data).rgb, codec.decode(encoded.data).rgb)
    assert decoder.encode_tokens(decoder.decode_grids(encoded.data), 168, 120, 2) == encoded
    with pytest.raises(UnsupportedError, match="cannot encode"):
        decoder.encode(picture, 2)


def test_a_quality_that_the_model_does_not_know_is_corrupt(codec, picture):
    stream = container.unpack(codec.encode(picture, 3).data)
    with pytest.raises(CorruptStreamError, match="quality"):
        codec.decode(container.pack(dataclasses.replace(stream, quality=33)))


# --- bands and strips --------------------------------------------------------------------------------------

@pytest.mark.parametrize("width, height, expected", [
    (1, 1, [(0, 1)]), (128, 128, [(0, 128)]), (128, 129, [(0, 128), (128, 129)]),
    (129, 260, [(0, 126), (126, 252), (252, 260)]), (1 << 16, 5, [(0, 2), (2, 4), (4, 5)])])
def test_bands_are_an_even_number_of_rows(width, height, expected):
    assert codec_module.bands(height, width) == expected


def test_round_trip_in_bands(codec, picture, monkeypatch):
    whole = by_distance(codec, picture, 2)
    whole_grids, table = codec.decode_grids(whole.data), tabled(codec, whole.data)
    monkeypatch.setattr(codec_module, "BAND_POSITIONS", 24)  # two of the eight rows of eleven
    banded = by_distance(codec, picture, 2)
    assert len(codec.segment_bytes(banded.data)) == 4 * codec.coder.prior.steps
    banded_grids = codec.decode_grids(banded.data)
    np.testing.assert_array_equal(banded_grids, whole_grids)  # chosen without a look at the rate
    bits = codec.bits_per_block(banded.data)
    assert bits.shape == (8, 11) and (bits > 0).all()
    assert codec.encode_tokens(banded_grids, 168, 120, 2) == banded
    with pytest.raises(CorruptStreamError, match="expected 40 segments, found 10"):
        codec.decode(container.pack(table))
    with pytest.raises(CorruptStreamError):
        codec.decode(whole.data)


def test_more_bands_than_a_band_has_rows(codec, monkeypatch):
    monkeypatch.setattr(codec_module, "BAND_POSITIONS", 1)
    for width, height in ((1, 100), (40, 90), (100, 1)):
        grids = sample_grids(codec, -(-height // 16), -(-width // 16), 10)
        data = codec.encode_tokens(grids, width, height, 1.625).data
        np.testing.assert_array_equal(codec.decode_grids(data), grids)


def in_strips(monkeypatch, rows, columns):
    """Lets transforms work in strips of the least height from here on, which are several for such latents."""
    monkeypatch.setattr(codec_module, "STRIP_PIXELS", 1)
    pieces = codec_module.strips(rows, columns)
    assert len(pieces) > 1 and pieces[0][0] == 0 and pieces[-1][1] == rows
    assert all(above[1] == below[0] for above, below in itertools.pairwise(pieces))


def test_halos_cover_the_whole_receptive_field(deep):
    """One changed row of latents or pixels changes nothing further away than the halo."""
    level = torch.tensor([1.0])
    encoder_reach, decoder_reach = halo(deep.model.transform)
    with torch.no_grad():
        latents = torch.randn(1, 24, 41, 1) * 3
        changed = latents.clone()
        changed[:, :, 20] += 20
        rows = (deep.decoder(latents, level) != deep.decoder(changed, level)).flatten(0, 1).any(2).any(0)
        rows = rows.view(41, 16).any(1).nonzero().flatten() - 20
        assert 1 < max(-rows.min(), rows.max()) <= decoder_reach
        pixels = torch.rand(1, 3, 41 * 16, 16)
        changed = pixels.clone()
        changed[:, :, 20 * 16:21 * 16] = 1 - changed[:, :, 20 * 16:21 * 16]
        rows = (deep.encoder(pixels, level) != deep.encoder(changed, level)).flatten(0, 1).any(2).any(0)
        rows = rows.nonzero().flatten() - 20
        assert 1 < max(-rows.min(), rows.max()) <= encoder_reach


@pytest.mark.parametrize("sixteenths", [0, 21])
def test_strips_give_the_same_latents_and_pixels(deep, monkeypatch, sixteenths):
    height, width = 16 * 27 - 5, 45
    rgb = synthetic_picture(height, width)
    grids = torch.from_numpy(sample_grids(deep, 27, 3, sixteenths))
    latents, pixels = deep.latents(rgb, sixteenths), deep.pixels(grids, height, width, sixteenths)
    in_strips(monkeypatch, 27, 3)
    torch.testing.assert_close(deep.latents(rgb, sixteenths), latents, rtol=0, atol=1e-3)
    difference = np.abs(deep.pixels(grids, height, width, sixteenths).astype(int) - pixels)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3
    # The same without halos shows: the networks do look across the borders of strips.
    for module in (codec_module, torch_codec):
        monkeypatch.setattr(module, "halo", lambda config: (0, 0))
    assert (deep.latents(rgb, sixteenths) - latents).abs().max() > 0.05
    assert np.abs(deep.pixels(grids, height, width, sixteenths).astype(int) - pixels).max() > 4


def test_a_picture_so_wide_that_eight_rows_fill_a_strip(deep, monkeypatch):
    height, width = 150, 17000
    rows, columns = 10, 1063
    assert codec_module.strips(rows, columns) == [(0, 8), (8, 10)]
    rgb = synthetic_picture(height, width)
    latents = deep.latents(rgb, 16)
    grids = torch.from_numpy(sample_grids(deep, rows, columns, 16))
    pixels = deep.pixels(grids, height, width, 16)
    monkeypatch.setattr(codec_module, "STRIP_PIXELS", 1 << 30)
    torch.testing.assert_close(deep.latents(rgb, 16), latents, rtol=0, atol=1e-3)
    assert np.abs(deep.pixels(grids, height, width, 16).astype(int) - pixels).max() <= 1


def test_encoding_in_strips_gives_the_same_file(codec, monkeypatch):
    tall = Picture(synthetic_picture(400, 30))
    whole = codec.encode(tall, 2)
    in_strips(monkeypatch, 25, 2)
    assert codec.encode(tall, 2) == whole


# --- grids as a picture ------------------------------------------------------------------------------------

def test_grids_image_shows_every_grid():
    grids = np.arange(5 * 4 * 6).reshape(5, 4, 6) + 1000
    sheet = codec_module.grids_image(grids)
    assert sheet.dtype == np.uint8 and (sheet == 255).sum() == 5
    np.testing.assert_array_equal(sheet[:4, :6], (grids[0] - 1000) * 255 // 23)
    assert not codec_module.grids_image(np.full((3, 2, 2), 7)).any()
