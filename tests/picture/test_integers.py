"""The decoder in integers: NumPy's runtime, torch's, and the specification's give the same samples, whatever the model's integers
are and however the work is cut up."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import reference_decoder as reference
import torch
from conftest import synthetic_picture
from integer_models import drawn_integers
from PIL import Image
from safetensors.numpy import load_file, save_file

from vqcodec.errors import InputError, UsageError
from vqcodec.indices.config import QuantizerConfig
from vqcodec.picture import codec as codec_module
from vqcodec.picture import integer, integer_synthesis, rounding, to_integers
from vqcodec.picture.codec import Codec
from vqcodec.picture.config import TransformConfig
from vqcodec.picture.file import Picture
from vqcodec.picture.integer_decoder import IntegerDecoder
from vqcodec.picture.integer_synthesis import IntegerSynthesis
from vqcodec.picture.psnr import psnr
from vqcodec.picture.training import Pictures
from vqcodec.picture.transform import Decoder
from vqcodec.zoo import registration, registry

CONFIG = TransformConfig(latent_dims=6, channels=(5, 6, 7), decoder_blocks=(1, 2, 1), lambdas=(1.0, 2.0, 3.0), arithmetic="integer")
QUANTIZER = QuantizerConfig(slices=(2, 4), dims=(1, 2), codewords=(9, 17))
FILE = rounding.IntegerNetwork(CONFIG)


def books(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 20, shape).astype(np.float32) for shape in ((2, 9, 1), (2, 17, 2))]


def grids_of(seed: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.integers(0, count, (2, height, width)) for count in (9, 17)])


def by_numpy(stored, codebooks, grids, sixteenths, rows: int = 2) -> np.ndarray:
    net = IntegerSynthesis(stored, codebooks, CONFIG)
    values = net.values(sixteenths)
    z = np.concatenate([book[np.arange(2)[:, None, None], grids[2 * i : 2 * i + 2]].transpose(1, 2, 0, 3).reshape(*grids.shape[1:], -1)
                        for i, book in enumerate(values)], 2)
    return np.concatenate(list(net.rows((z[top : top + rows] for top in range(0, len(z), rows)), sixteenths)))


def by_specification(stored, codebooks, grids, sixteenths) -> np.ndarray:
    model = SimpleNamespace(
        config={"transform": {"decoder_blocks": CONFIG.decoder_blocks}}, decoder=reference.read_weights(stored),
        codebook={f"s{i}": book.astype(np.float64) for i, book in enumerate(codebooks)}, slices=[SimpleNamespace(groups=2)] * 2)
    header = SimpleNamespace(quality=sixteenths, height=16 * grids.shape[1], width=16 * grids.shape[2])
    return reference.integer_samples(grids, header, model)


@pytest.mark.parametrize("seed, height, width, sixteenths", [
    (0, 1, 1, 0), (1, 1, 5, 7), (2, 6, 1, 16), (3, 4, 5, 31), (4, 9, 3, 32), (5, 3, 4, 9), (6, 5, 5, 1)])
def test_the_runtimes_do_what_the_specification_says(seed, height, width, sixteenths):
    stored, codebooks, grids = drawn_integers(CONFIG, seed), books(seed), grids_of(seed, height, width)
    expected = by_specification(stored, codebooks, grids, sixteenths)
    assert height * width < 15 or ((expected > 0) & (expected < 255)).mean() > 0.2
    decoder = IntegerDecoder(stored, codebooks, CONFIG, QUANTIZER)
    np.testing.assert_array_equal(decoder(torch.from_numpy(grids), sixteenths).numpy(), expected)
    for rows in (1, 2, 3, height):
        np.testing.assert_array_equal(by_numpy(stored, codebooks, grids, sixteenths, rows), expected)


def test_every_tensor_matters():
    """Else equal samples would prove little."""
    stored, codebooks, grids = drawn_integers(CONFIG, 11), books(11), grids_of(11, 4, 5)
    before = by_numpy(stored, codebooks, grids, 9)
    for name, tensor in stored.items():
        if name.endswith(".range"):
            continue
        changed = np.flip(tensor) if tensor.size > 1 else tensor + 1 if "shift" in name else np.maximum(tensor // 2, 1)
        assert (by_numpy(stored | {name: changed}, codebooks, grids, 9) != before).any(), name


def test_sums_reach_their_bounds_and_stay_exact():
    """Inputs that all have the signs of one output's weights, at their limits."""
    rng = np.random.default_rng(0)
    weight = rng.choice([-127, 127], (6, 40, 3, 3))
    limit = (integer.ACCUMULATOR_LIMIT - 1) // integer.most_sum(integer.signed_sums(weight), -1, 1)
    x = (np.sign(weight[0]).transpose(1, 2, 0) * limit).astype(np.float32)
    expected = reference.corr(x.astype(np.int64), weight)
    assert abs(expected[1, 1, 0]) > 2.9 * 2**24 - 3 * 127 * 120
    found = integer_synthesis.Window(integer_synthesis.side_by_side(weight, np.float32), 3).push(x, True)
    np.testing.assert_array_equal(found.reshape(3, 3, 6), expected)
    from vqcodec.picture.integer_decoder import correlate

    kernel = torch.from_numpy(weight).float().permute(2, 3, 1, 0).contiguous()
    np.testing.assert_array_equal(correlate(torch.from_numpy(x), kernel).numpy(), expected)


@pytest.mark.parametrize("change, words", [
    ({"blocks2.1.limit": 2047}, "blocks2.1.conv1.weight may overflow"),
    ({"blocks1.0.silu": 2047}, "blocks1.0.conv2.weight may overflow"),
    ({"blocks1.0.silu": -2047}, "blocks1.0.conv2.weight may overflow"),
    ({"blocks1.0.range": -1}, "range"),
    ({"table.exp2": (1 << 23) + 1}, "powers of two"),
])
def test_models_beyond_the_bounds_are_refused(change, words):
    config = replace(CONFIG, channels=(64, 64, 64))
    stored = drawn_integers(config, 1)
    for name, value in change.items():
        stored[name] = np.full_like(stored[name], value)
    with pytest.raises(InputError, match=words):
        rounding.IntegerNetwork(config).read(stored)


def test_inverse_roots_are_those_of_integers():
    """Where binary64 might round a root or a quotient up to the next integer: beside squares, and beside multiples."""
    near = [n * n + d for n in (1, 2, 8191, 1 << 20, (1 << 25) + 1, (1 << 25) - 1) for d in (-1, 0, 1)]
    np.testing.assert_array_equal(np.floor(np.sqrt(np.array(near, np.float64))), reference.isqrt(np.array(near)))
    rng = np.random.default_rng(0)
    roots = rng.integers(1 << 13, 1 << 26, 20000)
    for top in (integer.SOFTEN_LIMIT, int(rng.integers(1 << 40, 1 << 48))):
        tops = roots * (top // roots)
        for tries in (tops - 1, tops, np.full_like(roots, top)):
            np.testing.assert_array_equal(np.floor(tries / roots.astype(np.float64)), tries // roots)


# --- a model of floats in integers ---------------------------------------------------------------------------

def wild_weights(seed: int, config: TransformConfig = CONFIG) -> dict[str, np.ndarray]:
    torch.manual_seed(seed)
    net = Decoder(config)
    for name, tensor in net.state_dict().items():
        tensor.normal_(0, 0.1 if "bias" in name or "gain" in name else 1.0 / max(1, tensor[0].numel()) ** 0.5)
    net.log_gain.data += 3
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


RANGES = {name: rounding.Range(4.0, -6.0, 5.0, 5.0) for name, _ in integer.blocks(CONFIG)}


def test_floats_come_back_from_integers():
    weights = wild_weights(0)
    stored = rounding.integers(weights, RANGES, CONFIG)
    again = rounding.floats(stored, CONFIG)
    assert {name: value.shape for name, value in again.items()} == {name: value.shape for name, value in weights.items()}
    for name, value in weights.items():
        step = np.abs(value).max() / (127 if "conv" in name and "weight" in name else 3000)
        assert np.abs(again[name] - value).max() <= 0.51 * step + 2**-13, name
    twice = rounding.integers(again, RANGES, CONFIG)
    for name, value in stored.items():
        assert np.abs(twice[name].astype(np.int64) - value).max() <= 1 + 1e-5 * np.abs(value.astype(np.int64)).max(), name


def test_integers_decode_as_floats_do():
    weights, codebooks, grids = wild_weights(1), books(1), grids_of(1, 6, 7)
    net = Decoder(replace(CONFIG, arithmetic="float"))
    net.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    y = np.concatenate([book[np.arange(2)[:, None, None], grids[2 * i : 2 * i + 2]].transpose(0, 3, 1, 2).reshape(-1, 6, 7)
                        for i, book in enumerate(codebooks)])
    with torch.no_grad():
        expected = net(torch.from_numpy(y)[None], torch.tensor([0.5]))[0].clamp(0, 1).mul(255).permute(1, 2, 0).numpy()
    found = by_numpy(rounding.integers(weights, RANGES, CONFIG), codebooks, grids, 8)
    assert ((expected > 2) & (expected < 253)).mean() > 0.3
    assert np.abs(found - expected).mean() < 2


@pytest.mark.parametrize("name, value", [("stem.weight", np.nan), ("linear.bias", np.inf), ("blocks2.0.conv2.bias", 1e9), ("log_gain", 30.0)])
def test_weights_that_no_integers_hold_are_refused(name, value):
    weights = wild_weights(2)
    weights[name] = np.full_like(weights[name], value)
    with pytest.raises(InputError, match="does not fit into integers"), np.errstate(all="ignore"):
        rounding.integers(weights, RANGES, CONFIG)


# --- codecs --------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def codecs(tiny_exact_dir):
    entry = registry.find_by_name("tinyexact", tiny_exact_dir)
    return Codec.open(entry, encoder=False), Codec.open(entry)


@pytest.mark.parametrize("height, width, quality", [(1, 1, 1), (17, 33, 2.4375), (333, 70, 3)])
def test_codecs_give_the_same_pixels_however_they_are_cut_up(codecs, monkeypatch, height, width, quality):
    ours, theirs = codecs
    picture = synthetic_picture(height, width)
    data = theirs.encode(Picture(picture), quality).data
    whole = ours.decode(data).rgb
    assert ours.exact and whole.shape == (height, width, 3) and (height == 1 or psnr(picture, whole) > 20)
    np.testing.assert_array_equal(theirs.decode(data).rgb, whole)
    monkeypatch.setattr(codec_module, "STRIP_PIXELS", 1)
    monkeypatch.setattr(codec_module, "POSITIONS", 1)
    monkeypatch.setattr(codec_module, "TILE", 1)
    monkeypatch.setattr(codec_module, "THREADED", 1)
    monkeypatch.setattr(codec_module, "available_threads", lambda: 2)
    np.testing.assert_array_equal(theirs.decode(data).rgb, whole)
    np.testing.assert_array_equal(ours.decode(data).rgb, whole)


def test_grey_is_the_same_too(codecs):
    data = codecs[1].encode(Picture(np.repeat(synthetic_picture(40, 50)[:, :, :1], 3, 2)), 2).data
    found = [codec.decode(data) for codec in codecs]
    assert found[0].grey
    np.testing.assert_array_equal(found[0].rgb, found[1].rgb)


def test_only_integers_are_stored(tiny_exact_dir):
    entry = registry.find_by_name("tinyexact", tiny_exact_dir)
    assert all(tensor.dtype.kind == "i" for tensor in load_file(Path(entry.path) / "decoder.safetensors").values())


@pytest.mark.parametrize("name, change, words", [
    ("stem.weight", lambda t: t.astype(np.float32), "stem.weight is float32"),
    ("stem.weight", lambda t: t.astype(np.int32), "stem.weight is int32"),
    ("blocks1.0.conv1.weight", lambda t: t[:, :, :1], "conv1.weight is int8"),
    ("blocks1.0.conv1.weight", lambda t: np.full_like(t, -128), "values that are not in -127..127"),
    ("blocks1.0.conv1.mult", lambda t: np.full_like(t, -(1 << 31)), "mult has values"),
    ("blocks1.0.conv2.bias", lambda t: np.full_like(t, -(1 << 63)), "bias has values"),
    ("blocks1.0.soften", lambda t: t * 0, "soften has values"),
    ("shift", lambda t: t * 0, "shift has values"),
    ("up1.shift", lambda t: t * 0 + 63, "up1.shift has values"),
    ("gain", lambda t: np.full_like(t, 1 << 20), "gain has values"),
    ("blocks1.0.limit", lambda t: t * 0 + 3000, "limit has values"),
    ("blocks1.0.range", lambda t: -abs(t), "range"),
    ("head.bias", lambda t: None, "lacks 'head.bias'"),
])
def test_hostile_decoders_are_refused(tiny_exact_dir, tmp_path, name, change, words):
    folder = tmp_path / "tinyexact"
    shutil.copytree(tiny_exact_dir / "tinyexact", folder)
    stored = load_file(folder / "decoder.safetensors")
    stored[name] = change(stored[name])
    save_file({key: np.ascontiguousarray(value) for key, value in stored.items() if value is not None}, folder / "decoder.safetensors")
    entry = registration.register(folder, "tinyexact", tmp_path, id=61000)
    for encoder in (False, True):
        with pytest.raises(InputError, match=words):
            Codec.open(entry, encoder=encoder)


def test_other_arithmetic_is_refused():
    with pytest.raises(UsageError, match="transform.arithmetic"):
        replace(CONFIG, arithmetic="int8").check()


def test_rounding_is_simulated_where_the_decoder_learns(tiny_exact_dir):
    """Small steps, gradients as if there were none."""
    torch.manual_seed(0)
    net = Decoder(CONFIG)
    net.head.weight.data.normal_(0, 0.1)
    y, level = 20 * torch.randn(2, 6, 5, 6), torch.tensor([0.0, 2.0])
    results = []
    for rounded in (False, True):
        net.set_rounded(rounded)
        net.zero_grad()
        x = net(y, level)
        x.square().mean().backward()
        results.append((x.detach(), net.blocks2[0].conv1.weight.grad.clone()))
    (plain, straight), (moved, through) = results
    assert 0 < (moved - plain).abs().max() < 0.05 * plain.std()
    assert torch.nn.functional.cosine_similarity(straight.flatten(), through.flatten(), dim=0) > 0.99
    net.set_rounded(False)
    assert torch.equal(net(y, level), plain)


def test_the_bounds_of_the_docstring():
    values, weights = integer.VALUE_LIMIT, integer.WIDE_LIMIT
    assert 1024 * (values**2 + (1 << 2 * integer.UNIT_BITS)) < 1 << 51
    assert values * weights * 9 * 1024 < 1 << 49
    assert 3 * integer.ACCUMULATOR_LIMIT * integer.MULTIPLIER_LIMIT + integer.BIAS_LIMIT + (1 << 23) < 1 << 53
    assert integer.SOFTEN_LIMIT + (1 << 23) < 1 << 53  # no value is greater than the root
    greatest = (1 << integer.WORD_BITS) * 4096 << integer.EXP2_BITS + 1
    assert greatest + (1 << 21 + -integer.LEAST_GAIN) < 1 << 63


def test_export_says_what_integers_cost(codecs, tiny_model_dir, tmp_path):
    path, picture = tmp_path / "picture.png", synthetic_picture(64, 96)
    Image.fromarray(picture).save(path)
    floats = Codec.open(registry.find_by_name("tiny", tiny_model_dir))
    for codec in (codecs[1], floats):
        coded = Pictures.code_file(codec, path, 2.0)
        loss = Pictures.decoder_loss(codec, path, coded.grids, 2.0)
        assert (loss is None) == (codec is floats)
    before, after = Pictures.decoder_loss(codecs[1], path, Pictures.code_file(codecs[1], path, 2.0).grids, 2.0)
    assert before > 20 and abs(before - after) < 0.2


def test_a_published_model_in_integers(tiny_model_dir, tmp_path, monkeypatch):
    """Without training: the same encoder, codebooks and prior, and pixels that hardly differ."""
    monkeypatch.setattr(to_integers, "BATCHES", 2)
    floats = Codec.open(registry.find_by_name("tiny", tiny_model_dir))

    class Crops:
        def batch(self, step, size, count):
            return torch.stack([torch.from_numpy(synthetic_picture(size, size, step + i)).permute(2, 0, 1) for i in range(count)])

    to_integers.convert(floats, Crops(), tmp_path / "exact")
    entry = registration.register(tmp_path / "exact", "exact", tmp_path / "models", id=61001)
    same = {file for file in entry.sha256 if entry.sha256[file] == floats.entry.sha256[file]}
    assert same == {"codebook.safetensors", "encoder.safetensors", "prior.safetensors", "card.md"}
    codec, grids = Codec.open(entry), floats.decode_grids(floats.encode(Picture(synthetic_picture(80, 64)), 2).data)
    pixels = [one.pixels(torch.from_numpy(grids), 80, 64, 16).astype(int) for one in (floats, codec)]
    assert codec.exact and np.abs(pixels[0] - pixels[1]).max() <= 1
    with pytest.raises(InputError, match="File exists"):
        to_integers.convert(floats, Crops(), tmp_path / "exact")
