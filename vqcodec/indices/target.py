"""The search on the scale of qualities for a target of rate, size or PSNR. Standard library only.

    cheap estimates → a curve over quality → where it meets the target: an encode → what it is off by → …

Estimates are wrong by nearly as much at all qualities, so that the curve moved to what encodes gave leads to the target in one
or two of them. What they gave also bounds where the target can be, so that without a limit to encodes any estimate leads there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ..errors import UsageError
from .quality import SIXTEENTHS, quality_of

TOLERANCE = 0.03  # a result this near to its target needs no comment
NEAR_DECIBELS = 0.1  # a PSNR this near to its target will do: about what a sixteenth makes
RATE_SLOPE = 0.025  # of the logarithm of the rate, a sixteenth; of photo-3, speech-2 and audio-1 0.02 to 0.03
PSNR_SLOPE = 0.085  # dB a sixteenth; of photo-3 0.06 to 0.11
MOST_DECIBELS = 100.0  # of pictures without error it is infinite
NEAR = 4  # sixteenths from an estimate at which another would not tell more
ROOM = 0.004  # that results are expected to stay below an upper bound, and more by this part of the way from what is known:
WAY = 0.04
UNSURE = 0.015  # the same, before the first result
PATIENCE = 4  # encodes after which each must shrink what is left by a quarter

Result = TypeVar("Result")


@dataclass(frozen=True)
class Goal:
    """upper_bound: no value above is taken, unless all are; else the nearest is, or one beside the nearest that is within
    TOLERANCE, of PSNR (decibels) within NEAR_DECIBELS. unit: for people."""

    value: float
    unit: str
    upper_bound: bool = False
    decibels: bool = False

    def __post_init__(self):
        if not (math.isfinite(self.value) and self.value > 0):
            raise UsageError(f"a target must be a number above 0, not {self.value:g}")

    def scale(self, value: float) -> float:
        """What rises evenly with quality."""
        return min(value, MOST_DECIBELS) if self.decibels else math.log(value)


@dataclass(frozen=True)
class Estimate:
    """`value(sixteenths)`: cheaply, about what an encode would give; asked at most `times` times. bias: how much more, on the
    goal's scale, encodes mostly give. closer: the same as `value`, without a bias, nearer to what encodes give and dearer: asked
    once, at one of their places. extended: (sixteenths, value there) → values at all, from 0 on, about; straight lines if not told.
    start: where to ask first, the middle if not told."""

    value: Callable[[int], float]
    bias: Callable[[int], float] = lambda sixteenths: 0.0
    times: int = 3
    closer: Callable[[int], float] | None = None
    extended: Callable[[int, float], Sequence[float]] | None = None
    start: int | None = None


@dataclass
class Curve:
    """Straight between the points that are known, in sixteenths; beyond them with the slope of all of them, or with `slope`
    where they lie close together or there is but one."""

    slope: float
    known: dict[int, float] = field(default_factory=dict)

    def at(self, place: int) -> float:
        if place in self.known:
            return self.known[place]
        places = sorted(self.known)
        below, above = [p for p in places if p <= place], [p for p in places if p >= place]
        if below and above:
            low, high = below[-1], above[0]
            part = (place - low) / (high - low) if high > low else 0.0
            return self.known[low] + part * (self.known[high] - self.known[low])
        low, high = places[0], places[-1]
        slope = self.slope
        if self.slope and high - low >= 2 * NEAR:
            slope = (self.known[high] - self.known[low]) / (high - low)
        end = low if place < low else high
        return self.known[end] + slope * (place - end)


def reach(goal: Goal, qualities: int, attempt: Callable[[int], tuple[Result, float]], *, estimate: Estimate | None = None,
          most: int | None = None, finish: Callable[[Result], tuple[Result, float]] | None = None,
          progress: Callable[[str], None] = lambda text: None) -> tuple[Result, str | None]:
    """(result that is as near to the goal as it asks for, a note if that is not near). `attempt(sixteenths)` gives a result
    and its value, which rises with quality (nearly, or the result may be one that is not the nearest). most: attempts, but that
    more are made as long as all are above an upper bound. finish: what a result and its value become that would be returned."""
    top, wanted = (qualities - 1) * SIXTEENTHS, goal.scale(goal.value)
    tried: dict[int, tuple[Result, float]] = {}
    expected = _estimated(goal, top, wanted, estimate, progress)
    offsets = Curve(0.0)  # of what attempts gave from what was expected
    low, high = -1, top + 1  # what was tried is at `low` or less and not above the goal, or at `high` or more and above

    def error(place: int) -> float:
        shift = offsets.at(place) if tried else 0.0
        return expected.at(place) + shift - wanted

    def best(places: range, room: float) -> int:
        """Of the places, all rising, the one that is expected to serve best; `room` below an upper bound."""
        if not goal.upper_bound:
            return min(places, key=lambda place: abs(error(place)))
        return max((place for place in places if (place <= low if place in tried else error(place) <= -room)), default=places[0])

    def room() -> float:
        """To stay below an upper bound with what is tried next, the more the farther it is from what was tried."""
        if not tried:
            return UNSURE
        return ROOM + WAY * min(abs(goal.scale(value) - wanted) for _, value in tried.values())

    def settled() -> bool:
        """Whether no other quality is expected to serve better, or not by more than it matters."""
        if goal.upper_bound and low < 0:
            return False
        found = _nearest(goal, tried)
        near = _near(goal, tried[found][1])
        return abs(best(range(max(0, low), min(high, top) + 1), ROOM if near else -ROOM) - found) <= near

    def keep(place: int, result: tuple[Result, float]) -> None:
        nonlocal low, high, expected
        tried[place] = result
        if estimate and estimate.extended:
            expected = Curve(0.0, _extended(goal, estimate, place, result[1]))
        offsets.known = {p: goal.scale(value) - expected.at(p) for p, (_, value) in tried.items()}
        low = max((p for p, (_, value) in tried.items() if value <= goal.value), default=-1)
        high = min((p for p, (_, value) in tried.items() if value > goal.value), default=top + 1)

    while True:
        while high - low > 1 and not (tried and settled()) and (most is None or len(tried) < most or (goal.upper_bound and low < 0)):
            place = best(range(low + 1, high), room())  # untried
            if len(tried) >= PATIENCE:
                part = max(1, (high - low) // 4)
                place = min(max(place, low + part), high - part)
            progress(f"trying quality {quality_of(place):g}")
            keep(place, attempt(place))
            progress(f"trying quality {quality_of(place):g}: {tried[place][1]:.4g} {goal.unit}")
        found = _nearest(goal, tried)
        if finish is None:
            break
        keep(found, finish(tried[found][0]))
        if not goal.upper_bound or tried[found][1] <= goal.value or found == 0:
            break
    result, reached = tried[found]
    if _served(goal, reached):
        return result, None
    limit = "lowest" if found == 0 else "highest" if found == top else "nearest"
    return result, f"target {goal.value:g} is not reached: the {limit} quality gives {reached:.5g}"


def _estimated(goal: Goal, top: int, wanted: float, estimate: Estimate | None, progress: Callable[[str], None]) -> Curve:
    """What is expected of attempts."""
    curve = Curve(PSNR_SLOPE if goal.decibels else RATE_SLOPE)
    if estimate is None:
        curve.known[top // 2] = wanted
        return curve
    here, asked = top // 2 if estimate.start is None else min(max(0, estimate.start), top), []
    while len(asked) < estimate.times and all(abs(here - place) >= min(NEAR, top) for place in asked):
        progress(f"estimating quality {quality_of(here):g}")
        value = estimate.value(here)
        found = _extended(goal, estimate, here, value) if estimate.extended else {here: goal.scale(value)}
        curve.known |= {place: value + estimate.bias(place) for place, value in found.items()}
        asked.append(here)
        here = min(range(top + 1), key=lambda place: abs(curve.at(place) - wanted))
    if estimate.closer:
        near = min(asked, key=lambda place: abs(place - here))
        progress(f"estimating quality {quality_of(near):g}, more closely")
        shift = goal.scale(estimate.closer(near)) - curve.known[near]
        curve.known = {place: value + shift for place, value in curve.known.items()}
    return curve


def _extended(goal: Goal, estimate: Estimate, here: int, value: float) -> dict[int, float]:
    """What a value at one place tells of all."""
    return {place: goal.scale(each) for place, each in enumerate(estimate.extended(here, value))}


def _near(goal: Goal, reached: float) -> bool:
    """Whether a value will do that is not the nearest."""
    return abs(reached - goal.value) <= NEAR_DECIBELS if goal.decibels else _served(goal, reached)


def _served(goal: Goal, reached: float) -> bool:
    """Whether a value needs no comment."""
    return not ((goal.upper_bound and reached > goal.value) or abs(reached / goal.value - 1) > TOLERANCE)


def _nearest(goal: Goal, tried: dict[int, tuple[object, float]]) -> int:
    """Of what was tried: the nearest to the goal; under a bound, the highest below it, or else the lowest."""
    if not goal.upper_bound:
        return min(tried, key=lambda place: abs(tried[place][1] - goal.value))
    return max((place for place in tried if tried[place][1] <= goal.value), default=min(tried))
