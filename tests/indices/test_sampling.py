"""Drawing from CDFs: the generator against its published vectors, the rules of `bitstream_spec.md` in plain integers."""

from __future__ import annotations

import math

import numpy as np
import pytest

import reference_sampling
from vqcodec.errors import UsageError
from vqcodec.indices import sampling
from vqcodec.indices.config import PriorConfig
from vqcodec.indices.drawing import Drawing
from vqcodec.indices.sampling import Sampler, logarithms, philox, powers

# kat_vectors of Random123 1.14: counter, key, result.
PUBLISHED = [
    ((0,) * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize("counter, key, result", PUBLISHED)
def test_published_vectors(counter, key, result):
    assert " ".join(f"{word:08x}" for word in philox(counter, key).tolist()) == result
    assert reference_sampling.philox(list(counter), list(key)) == [int(word, 16) for word in result.split()]


def test_counters_broadcast():
    found = philox((np.arange(3)[:, None], 5, np.arange(4), 1 << 31), (7, 8))
    assert found.shape == (3, 4, 4) and found.dtype == np.uint32
    assert found[2, 1].tolist() == reference_sampling.philox([2, 5, 1, 1 << 31], [7, 8])


def test_logarithms_and_powers():
    logs, roots = logarithms(), powers()
    exact = 65536 * np.log2(np.arange(1, 65537))
    assert (logs[1:] <= exact + 1e-6).all() and (logs[1:] > exact - 1.0001).all()
    assert logs[[0, 1, 2, 32768, 65536]].tolist() == [0, 0, 65536, 15 * 65536, 16 * 65536]
    exact = 2.0 ** (24 - np.arange(65536) / 65536)
    assert (roots <= exact).all() and (roots > exact - 1.1).all() and roots[0] == 1 << 24
    for n in (0, 1, 2, 3, 1000, 32768, 65535):
        assert roots[n] == reference_sampling.power(n)
    for f in (1, 2, 3, 40000, 65535, 65536):
        assert logs[f] == reference_sampling.log(f)


def random_rows(rng, count, groups, alphabet):
    """int32[count,groups,alphabet+1], some of which reach 65536 early."""
    shares = rng.gamma(0.3, size=(count, groups, alphabet)) + 1e-9
    shares[:, 0, alphabet // 2 :] = 0
    sizes = np.where(np.arange(groups) == 0, alphabet // 2, alphabet)[:, None]
    sums = np.cumsum(shares, 2) / shares.sum(2, keepdims=True)
    number = np.arange(1, alphabet + 1)
    rows = np.floor(sums * (65536 - sizes)).astype(np.int32) + number
    rows = np.where(number >= sizes, 65536, rows)
    return np.concatenate([np.zeros((count, groups, 1), np.int32), rows.astype(np.int32)], 2)


@pytest.mark.parametrize("temperature", [0, 0.01, 0.7, 1, 1.0001, 1.3, 100])
def test_symbols_are_those_of_the_rules(temperature, monkeypatch):
    monkeypatch.setattr(sampling, "CHUNK", 500)  # in several parts
    rng = np.random.default_rng(3)
    cdf = random_rows(rng, 40, 6, 23)
    rows, columns = rng.integers(1 << 32, size=40), rng.integers(1 << 32, size=40)
    drawing = Drawing(seed=0x0123456789ABCDEF, item=77, temperature=temperature)
    found = Sampler(drawing).symbols(cdf, rows, columns, first=5)
    for n in range(40):
        for g in range(6):
            words = reference_sampling.philox([int(columns[n]), int(rows[n]), (5 + g) // 4, 77], [0x89ABCDEF, 0x01234567])
            assert found[n, g] == reference_sampling.symbol(cdf[n, g], words[(5 + g) % 4], drawing.inverse)
    assert (found[:, 0] < 11).all()  # never one without mass


def test_what_is_drawn_has_the_frequencies_of_the_rows():
    row = np.array([0, 30000, 50000, 60000, 65000, 65536], np.int32)
    cdf = np.broadcast_to(row, (20000, 2, 6))
    where = np.arange(20000)
    for temperature, power in ((1.0, 1.0), (0.5, 2.0), (2.0, 0.5)):
        found = Sampler(Drawing(seed=1, temperature=temperature)).symbols(cdf, where // 100, where % 100, 0)
        expected = np.diff(row) ** power / (np.diff(row) ** power).sum()
        share = np.bincount(found.ravel(), minlength=5) / found.size
        assert np.abs(share - expected).max() < 0.01
        assert abs((found[:, 0] == found[:, 1]).mean() - (expected**2).sum()) < 0.015  # grids are independent


def test_numbers_hang_on_place_seed_and_item_alone():
    cdf = random_rows(np.random.default_rng(0), 50, 4, 30)
    y, x = np.arange(50) // 7, np.arange(50) % 7
    whole = Sampler(Drawing(seed=5)).symbols(cdf, y, x, 0)
    order = np.random.default_rng(1).permutation(50)
    np.testing.assert_array_equal(Sampler(Drawing(seed=5)).symbols(cdf[order], y[order], x[order], 0), whole[order])
    np.testing.assert_array_equal(Sampler(Drawing(seed=5)).symbols(cdf[:, 3:], y, x, 3), whole[:, 3:])
    for other in (Drawing(seed=6), Drawing(seed=5, item=1), Drawing(seed=5 + (1 << 32))):
        assert (Sampler(other).symbols(cdf, y, x, 0) != whole).mean() > 0.3


@pytest.mark.parametrize("wrong", [dict(seed=-1), dict(seed=1 << 64), dict(seed=1.0), dict(item=1 << 32), dict(temperature=-1),
                                   dict(temperature=math.nan), dict(temperature=1e-3), dict(temperature=101), dict(temperature="1"), dict(sweeps=-1)])
def test_what_cannot_be_drawn(wrong):
    with pytest.raises(UsageError, match="must be"):
        Drawing(**wrong)


def test_labels_by_their_names():
    config = PriorConfig(labels=(("one", "two"), ("anna", "otto")))
    assert config.numbers(None) == (0, 0) and config.numbers("otto,one") == (1, 2) and config.numbers("two") == (2, 0)
    for wrong, message in (("three", "no label 'three' .labels: one, two; anna, otto"), ("one,two", "give one only"), ("", "no label ''")):
        with pytest.raises(UsageError, match=message):
            config.numbers(wrong)
    with pytest.raises(UsageError, match="the model has none"):
        PriorConfig().numbers("one")
