"""BD-rate against published results, and where it is refused."""

import math

import pytest

pytest.importorskip("scipy", reason="needs the extra 'benchmark'")

from vqcodec.bench.bdrate import bd_rate

# Curve pairs and results of the JCT-VC common test conditions' spreadsheet (JCTVC-L1100), as the tests of
# Netflix/vmaf (python/test/bd_rate_calculator_test.py, BDrateCalculatorJCTVCTest) give them.
PUBLISHED = [
    ([(108048.8736, 43.6471), (61279.976, 40.3953), (33905.6656, 37.247), (18883.6928, 34.2911)],
     [(108061.2784, 43.6768), (61299.9936, 40.4232), (33928.7472, 37.2761), (18910.912, 34.3147)], -0.465215),
    ([(40433.8848, 37.5761), (7622.7456, 35.3756), (2394.488, 33.8977), (1017.6184, 32.0603)],
     [(40370.12, 37.5982), (7587.0024, 35.4025), (2390.0944, 33.9194), (1017.0984, 32.0822)], -1.877982),
]
LINE = [(0.1 * 2**i, 25.0 + 2 * i) for i in range(5)]


@pytest.mark.parametrize(("anchor", "test", "percent"), PUBLISHED)
def test_published_pairs(anchor, test, percent):
    assert bd_rate(anchor, test).percent == pytest.approx(percent, abs=1e-3)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25])
def test_a_constant_factor_is_the_rate_difference(factor):
    found = bd_rate(LINE, [(factor * rate, quality) for rate, quality in reversed(LINE)])
    assert found.percent == pytest.approx(100 * (factor - 1))
    assert (found.low, found.high) == (25, 33)


def test_curves_that_share_too_little_are_refused():
    apart = bd_rate(LINE, [(rate, quality + 20) for rate, quality in LINE])
    assert apart.percent is None and "share no quality" in apart.reason
    touching = bd_rate(LINE, [(rate, quality + 7.7) for rate, quality in LINE])
    assert touching.percent is None and "0.30" in touching.reason
    assert bd_rate(LINE, [(rate, quality + 7) for rate, quality in LINE]).percent is not None


def test_few_or_infinite_points_are_refused():
    assert "2 rising points" in bd_rate(LINE[:2], LINE).reason
    assert "test curve has 2" in bd_rate(LINE, LINE[:2] + [(5.0, float("inf"))]).reason


def test_three_points_are_enough():
    """By hand, from Fritsch and Butland's slopes: log rates 0, 1, 3 at qualities 0, 1, 2 have slopes 1/2, 4/3 and 5/2, and the
    cubics an area of 7/3; the straight line of 0, 1, 2 has 2."""
    anchor = [(math.exp(i), float(i)) for i in range(3)]
    test = [(math.exp(rate), float(i)) for i, rate in enumerate((0, 1, 3))]
    found = bd_rate(anchor, test)
    assert found.percent == pytest.approx(100 * (math.exp(1 / 6) - 1))
    assert (found.low, found.high) == (0, 2)
    assert bd_rate(LINE, [(0.8 * rate, quality) for rate, quality in LINE[1:4]]).percent == pytest.approx(-20)


def test_points_that_are_larger_and_worse_do_not_count():
    assert bd_rate(LINE, [*LINE, (0.5, 20.0)]).percent == pytest.approx(0)
