"""Bjøntegaard's delta rate.

G. Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33 (2001); interpolated by
monotone piecewise cubics (PCHIP) of log rate over quality instead of one cubic, as the reference software of
HEVC and VVC does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import InputError
from .packages import require

LEAST_POINTS = 3  # fewer are interpolated by straight lines, which says little of what lies between


@dataclass(frozen=True)
class BdRate:
    """How many percent more rate the test curve needs for the anchor's quality, or why that is not known.

    low, high: the range of quality that both curves cover."""

    percent: float | None
    reason: str | None = None
    low: float | None = None
    high: float | None = None


def bd_rate(anchor: list[tuple[float, float]], test: list[tuple[float, float]], span: float = 0.5) -> BdRate:
    """From points (rate > 0, quality) in any order; refused where fewer than `span` of quality is shared."""
    require("scipy", "BD-rate", "benchmark")
    from scipy.interpolate import PchipInterpolator

    curves = []
    for name, points in (("anchor", anchor), ("test", test)):
        try:
            curves.append(_increasing(points))
        except InputError as error:
            return BdRate(None, f"{name} {error}")
    (_, a), (_, b) = curves
    low, high = max(a[0], b[0]), min(a[-1], b[-1])
    if high - low < span:
        return BdRate(None, "the curves share no quality" if high <= low
                      else f"the curves share only {high - low:.2f} of quality")
    areas = [float(PchipInterpolator(quality, rate).integrate(low, high)) for rate, quality in curves]
    return BdRate(100 * (math.exp((areas[1] - areas[0]) / (high - low)) - 1), None, low, high)


def _increasing(points) -> tuple[list[float], list[float]]:
    """(log rates, qualities), both rising: what a larger file does not make better is no operating point."""
    best: list[tuple[float, float]] = []
    for rate, quality in sorted(points, key=lambda p: (p[0], -p[1])):
        if math.isfinite(quality) and (not best or quality > best[-1][1]):
            best.append((math.log(rate), quality))
    if len(best) < LEAST_POINTS:
        raise InputError(f"curve has {len(best)} rising points, and {LEAST_POINTS} are needed")
    return [rate for rate, _ in best], [quality for _, quality in best]
