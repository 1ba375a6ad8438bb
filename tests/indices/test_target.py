"""The search for a target: few attempts, the nearest result, bounds that hold, whatever the curve is."""

from __future__ import annotations

import math

import pytest

from vqcodec.errors import UsageError
from vqcodec.indices.target import NEAR_DECIBELS, TOLERANCE, Estimate, Goal, reach

TOP = 7 * 16  # sixteenths of eight qualities


def rate(place: int) -> float:
    return 0.05 * math.exp(0.025 * place + 0.3 * math.sin(place / 30))


def bumpy(place: int) -> float:
    """Nearly rises."""
    return rate(place) * (1 + 0.02 * math.sin(place * 7))


def search(goal, value, estimate=None, **options):
    """(place, value, note, places that were tried)"""
    tried = []

    def attempt(place):
        assert 0 <= place <= TOP and place not in tried
        tried.append(place)
        return place, value(place)

    place, note = reach(goal, 8, attempt, estimate=estimate, **options)
    return place, value(place), note, tried


@pytest.mark.parametrize("value", [rate, bumpy])
@pytest.mark.parametrize("estimate, mean, most", [
    (None, 4, 6), (Estimate(lambda place: 0.9 * rate(place)), 2.5, 4), (Estimate(lambda place: rate(place) ** 0.97), 2.5, 4)])
def test_rates_are_met_in_few_attempts(value, estimate, mean, most):
    counts = []
    for i in range(1, 40):
        goal = Goal(rate(0) + i / 40 * (rate(TOP) - rate(0)), "bpp")
        _, found, note, tried = search(goal, value, estimate)
        assert note is None and abs(found / goal.value - 1) <= TOLERANCE
        counts.append(len(tried))
    assert sum(counts) / len(counts) <= mean and max(counts) <= most


@pytest.mark.parametrize("value", [rate, bumpy])
@pytest.mark.parametrize("estimate", [None, Estimate(rate), Estimate(lambda place: 1.0), Estimate(lambda place: 1 / rate(place))])
def test_bounds_hold_whatever_is_estimated(value, estimate):
    for i in range(1, 20):
        goal = Goal(value(0) + i / 20 * (value(TOP) - value(0)), "bytes", upper_bound=True)
        _, found, _, tried = search(goal, value, estimate)
        assert 0.95 * goal.value < found <= goal.value
        assert len(tried) <= 14


def test_psnr_is_met_within_a_tenth():
    def psnr(place):
        return 25 + 0.1 * place

    for value in (26.02, 29.97, 33.36, 36.0):
        _, found, note, tried = search(Goal(value, "dB", decibels=True), psnr, Estimate(lambda place: 24 + 0.12 * place))
        assert abs(found - value) <= NEAR_DECIBELS and note is None and len(tried) <= 3


def test_a_psnr_between_steep_qualities_is_met_by_the_nearer():
    for value, nearest in ((27.4, 27), (27.6, 28)):
        assert search(Goal(value, "dB", decibels=True), lambda place: 25.0 + place, Estimate(lambda place: 24 + place))[1] == nearest


def test_a_closer_estimate_is_asked_once_and_leads_there_at_once():
    def psnr(place):
        return 25 + 0.1 * place

    for value in (26.02, 29.97, 33.36, 36.0):
        asked = []
        estimate = Estimate(lambda place: psnr(place) - 3, lambda place: 1.0, times=2,
                            closer=lambda place: asked.append(place) or psnr(place) + 0.01)  # noqa: B023
        assert len(search(Goal(value, "dB", decibels=True), psnr, estimate)[3]) == len(asked) == 1


def test_what_one_value_tells_of_all_leads_there_at_once():
    def value(place):
        return 3 + math.exp(0.02 * place + 0.0001 * place * place)

    def extended(place, found):
        return [3 + (found - 3) * (value(other) - 3) / (value(place) - 3) for other in range(TOP + 1)]

    for wanted in (4.5, 9.0, 25.0):
        known = Estimate(lambda place: 1.3 * value(place), times=1, extended=extended, start=40)
        assert len(search(Goal(wanted, "kbps"), value, known)[3]) <= 2


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_attempts_than_allowed(most):
    for i in range(1, 20):
        goal = Goal(rate(0) + i / 20 * (rate(TOP) - rate(0)), "bpp")
        _, found, note, tried = search(goal, rate, Estimate(lambda place: 1.0), most=most)
        assert len(tried) <= most and (note is None) == (abs(found / goal.value - 1) <= TOLERANCE)


def test_a_bound_holds_even_if_it_takes_more_attempts():
    counts = []
    for i in range(1, 20):
        goal = Goal(rate(0) + i / 20 * (rate(TOP) - rate(0)), "bytes", upper_bound=True)
        _, found, _, tried = search(goal, rate, Estimate(lambda place: 0.7 * rate(place)), most=1)
        assert found <= goal.value
        counts.append(len(tried))
    assert max(counts) > 1


def test_what_is_finished_stays_below_the_bound():
    """Finishing adds a tenth: what was below is above."""
    for i in range(1, 20):
        goal, finished = Goal(rate(0) + (i + 3) / 24 * (rate(TOP) - rate(0)), "bytes", upper_bound=True), []

        def finish(place):
            finished.append(place)  # noqa: B023
            return place, 1.1 * rate(place)

        place, note = reach(goal, 8, lambda place: (place, rate(place)), estimate=Estimate(rate), most=3, finish=finish)
        assert 1.1 * rate(place) <= goal.value and finished[-1] == place and len(set(finished)) == len(finished)
        assert 1.1 * rate(place) > 0.9 * goal.value


@pytest.mark.parametrize("bound", [False, True])
def test_beyond_the_scale(bound):
    place, _, note, tried = search(Goal(0.001, "bpp", upper_bound=bound), rate, Estimate(rate))
    assert place == 0 and "the lowest quality gives 0.05" in note and tried == [0]
    place, _, note, tried = search(Goal(9, "bpp", upper_bound=bound), rate, Estimate(rate))
    assert place == TOP and "the highest quality" in note and tried == [TOP]


def test_what_does_not_depend_on_quality():
    assert search(Goal(5, "bytes", upper_bound=True), lambda place: 6.0, Estimate(lambda place: 6.0))[0] == 0
    assert search(Goal(7, "bytes", upper_bound=True), lambda place: 6.0, Estimate(lambda place: 6.0))[0] == TOP
    assert "not reached" in search(Goal(40, "dB", decibels=True), lambda place: math.inf, Estimate(lambda place: math.inf))[2]


def test_one_quality():
    assert reach(Goal(3, "bpp"), 1, lambda place: (place, 3.0)) == (0, None)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_no_target(value):
    with pytest.raises(UsageError, match="above 0"):
        Goal(value, "bpp")


def test_progress_names_what_is_tried():
    said = []
    reach(Goal(0.2, "bpp"), 8, lambda place: (place, rate(place)), estimate=Estimate(rate), progress=said.append)
    assert said[0] == "estimating quality 4.5" and said[-1].startswith("trying quality") and said[-1].endswith(" bpp")
