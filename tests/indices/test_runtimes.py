"""NumPy's runtime and torch's: the same distributions, grids and bytes, for every model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_wild_model, sample_grids

from vqcodec import medium
from vqcodec.indices import numpy_prior
from vqcodec.zoo import registry

MODALITIES = ("image", "audio", "video")  # whose priors run in torch too
GOLDEN = [path for path in sorted((Path(__file__).parents[1] / "golden").glob("*.vq"))
          if medium.of_stream(path.read_bytes()).modality in MODALITIES]
SHIPPED = [entry.name for entry in registry.list_models() if entry.modality in MODALITIES]


def both(entry):
    """(the codec that needs no torch, the one of torch)."""
    kind = medium.of_modality(entry.modality)
    return kind.open(entry), kind.open(entry, on_torch=True)


@pytest.fixture(scope="module")
def opened():
    return {}


@pytest.fixture
def shipped(opened):
    def get(entry):
        return opened.get(entry.name) or opened.setdefault(entry.name, both(entry))

    return get


@pytest.fixture(scope="module", params=["tiny", "tinysound"])
def wild(request, tiny_model_dir, tiny_audio_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wild")
    make_wild_model(tiny_audio_dir if request.param == "tinysound" else tiny_model_dir, folder, request.param)
    return both(registry.find_by_name("wild", folder, None))


def check_rows(step):
    """What decoders look at instead of whole tables is in these."""
    rows, whole = step.rows, step.cdf
    sure = rows.high > 0
    for entries, at in ((rows.low, rows.symbols), (rows.high, rows.symbols + 1)):
        assert (entries == np.take_along_axis(whole, at[:, :, None], 2)[:, :, 0])[sure].all()
    for group, (table, size) in enumerate(zip(rows.tables, step.size)):
        np.testing.assert_array_equal(table, whole[~sure[:, group], group, : size + 1])
        np.testing.assert_array_equal(rows.row(len(whole) - 1, group), whole[-1, group, : size + 1])


def compare(one, other, height, width, sixteenths):
    """Walks both priors over symbols drawn evenly from whole alphabets; returns the grids."""
    rng, tables = np.random.default_rng(sixteenths), []

    def draw(step):
        rises = np.diff(step.cdf)
        assert ((rises > 0) == (np.arange(rises.shape[2]) < step.size[:, None])).all()
        check_rows(step)
        tables.append((step.cdf, (step.size * rng.random(step.cdf.shape[:2])).astype(np.int64)))
        return tables[-1][1]

    def follow(step):
        cdf, symbols = tables[len(seen)]
        seen.append(np.array_equal(step.cdf.numpy(), cdf) and step.cdf.numpy().dtype == cdf.dtype)
        return torch.from_numpy(symbols)

    seen, given = [], [{}, {}]
    if one.coder.prior.table is not None:  # it looks at a reference
        values = rng.integers(-1 << 10, 1 << 10, (height, width, one.coder.layouts[-1].dims.stop))
        given = [{"reference": each.coder.prior.reference(values)} for each in (one, other)]
    grids = one.coder.prior.code(height, width, sixteenths, draw, **given[0])
    np.testing.assert_array_equal(other.coder.prior.code(height, width, sixteenths, follow, **given[1]).numpy(), grids)
    assert len(seen) == len(tables) and all(seen)
    return grids


@pytest.mark.parametrize("name", SHIPPED)
def test_distributions_of_all_qualities(shipped, name):
    one, other = shipped(registry.find_by_name(name, None, None))
    for quality in range(one.qualities):
        sixteenths = min(16 * quality + 5, 16 * (one.qualities - 1))
        grids = compare(one, other, *((1, 23) if one.entry.modality == "audio" else (6, 7)), sixteenths)
        if getattr(one, "exact", False):
            size = 16 * grids.shape[1] - 3, 16 * grids.shape[2] - 5
            np.testing.assert_array_equal(one.pixels(grids, *size, sixteenths), other.pixels(torch.from_numpy(grids), *size, sixteenths))
        np.testing.assert_array_equal(one.coder.dequantize(grids[None]), other.coder.dequantize(torch.from_numpy(grids)[None]).numpy())


@pytest.mark.parametrize("sixteenths", [0, 7, 32])
def test_distributions_where_sums_are_large(wild, sixteenths, monkeypatch):
    monkeypatch.setattr(numpy_prior, "CHUNK", 3000)
    monkeypatch.setattr(numpy_prior, "ROWS", 40)
    compare(*wild, 9 if wild[0].entry.modality == "image" else 1, 13, sixteenths)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_streams(shipped, path):
    data = path.read_bytes()
    kind = medium.of_stream(data)
    header = kind.header(data)
    one, other = shipped(registry.find_by_stream(header.model_id, header.model_hash))
    grids = one.decode_grids(data)
    np.testing.assert_array_equal(grids, other.decode_grids(data))
    shape = kind.inspect(data)
    assert kind.from_tokens(one, grids, shape, None) == kind.from_tokens(other, grids, shape, None)
    assert kind.parts(one, data) == kind.parts(other, data)
    np.testing.assert_array_equal(kind.draw_bits(one, data), kind.draw_bits(other, data))
    samples = [kind.decoded(codec, data) for codec in (one, other)]
    if kind.modality == "image":
        pixels = [np.asarray(image).astype(int) for image in samples]
        assert pixels[0].shape == pixels[1].shape and np.abs(pixels[0] - pixels[1]).max() <= (0 if one.exact else 1)
    elif kind.modality == "video":
        np.testing.assert_array_equal(samples[0].frames, samples[1].frames)
    else:
        level = 2 ** (header.gain / 4)
        assert samples[0].rate == samples[1].rate
        assert np.abs(samples[0].samples - samples[1].samples).max() <= 2**-14 * max(1, level)  # far within what is allowed


def test_likely_grids(wild):
    if wild[0].entry.modality == "audio":
        pytest.skip("of pictures")
    one, other = wild
    grids = sample_grids(other, 20, 30, 27)
    data = one.encode_tokens(grids, 480, 320, 1 + 27 / 16).data
    assert other.encode_tokens(grids, 480, 320, 1 + 27 / 16).data == data
    np.testing.assert_array_equal(one.decode_grids(data), grids)
    np.testing.assert_array_equal(other.decode_grids(data), grids)
