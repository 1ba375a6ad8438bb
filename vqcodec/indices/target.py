"""The search on the scale of qualities for a target of rate, size or PSNR. Standard library only.

    cheap estimates → a curve over quality → where it meets the target: an encode → what it is off by → …

Estimates are wrong by nearly as much at all qualities, so that the curve moved to what encodes gave leads to the target in one
or two of them. What they gave also bounds where the target can be, so that any estimate leads there in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
ROOM = 0.004  # that results are expected to stay below an upper bound
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
    once, at one of their places. slope: of values on the goal's scale, a sixteenth, where few are known."""

    value: Callable[[int], float]
    bias: Callable[[int], float] = lambda sixteenths: 0.0
    times: int = 3
    closer: Callable[[int], float] | None = None
    slope: float | None = None


@dataclass
class Curve:
    """Straight between the points that are known, in sixteenths; beyond them with the slope of all of them, or with `slope`
    where they lie close together or there is but one."""

    slope: float
    known: dict[int, float] = field(default_factory=dict)

    def at(self, place: int) -> float:
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
          progress: Callable[[str], None] = lambda text: None) -> tuple[Result, str | None]:
    """(result that is as near to the goal as it asks for, a note if that is not near). `attempt(sixteenths)` gives a result
    and its value, which rises with quality (nearly, or the result may be one that is not the nearest)."""
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

    def settled() -> bool:
        """Whether no other quality is expected to serve better, or not by more than it matters."""
        if goal.upper_bound and low < 0:
            return False
        found = _nearest(goal, tried)
        near = _near(goal, tried[found][1])
        return abs(best(range(max(0, low), min(high, top) + 1), ROOM if near else -ROOM) - found) <= near

    while high - low > 1 and not (tried and settled()):
        place = best(range(low + 1, high), ROOM if tried else UNSURE)  # untried
        if len(tried) >= PATIENCE:
            part = max(1, (high - low) // 4)
            place = min(max(place, low + part), high - part)
        progress(f"trying quality {quality_of(place):g}")
        tried[place] = attempt(place)
        reached = tried[place][1]
        progress(f"trying quality {quality_of(place):g}: {reached:.4g} {goal.unit}")
        offsets.known[place] = goal.scale(reached) - expected.at(place)
        low, high = (place, high) if reached <= goal.value else (low, place)
    found = _nearest(goal, tried)
    result, reached = tried[found]
    if _served(goal, reached):
        return result, None
    limit = "lowest" if found == 0 else "highest" if found == top else "nearest"
    return result, f"target {goal.value:g} is not reached: the {limit} quality gives {reached:.5g}"


def _estimated(goal: Goal, top: int, wanted: float, estimate: Estimate | None, progress: Callable[[str], None]) -> Curve:
    """What is expected of attempts, by estimates from the middle of the scale on."""
    slope = PSNR_SLOPE if goal.decibels else RATE_SLOPE
    here = top // 2
    if estimate is None:
        return Curve(slope, {here: wanted})
    curve = Curve(estimate.slope or slope)
    while len(curve.known) < estimate.times and all(abs(here - place) >= min(NEAR, top) for place in curve.known):
        progress(f"estimating quality {quality_of(here):g}")
        curve.known[here] = goal.scale(estimate.value(here)) + estimate.bias(here)
        here = min(range(top + 1), key=lambda place: abs(curve.at(place) - wanted))
    if estimate.closer:
        near = min(curve.known, key=lambda place: abs(place - here))
        progress(f"estimating quality {quality_of(near):g}, more closely")
        shift = goal.scale(estimate.closer(near)) - curve.known[near]
        curve.known = {place: value + shift for place, value in curve.known.items()}
    return curve


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
