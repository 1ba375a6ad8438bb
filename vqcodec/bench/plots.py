"""Rate–distortion curves as SVG: for the report (its page colours them) or as a file of its own."""

from __future__ import annotations

import math
from html import escape

from .metrics import Metric
from .points import PUBLISHED
from .result import Result
from .tables import number

WIDTH, HEIGHT = 620, 430
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 18, 46
LETTER = 7.5  # mean width of a letter of the legend
PUBLISHED_COLOURS = ("#5c940d", "#a0522d", "#0c8599", "#5f3dc4")
SPARE = ("#0c8599", "#5c940d", "#a0522d")

STANDALONE = """<style>
.back{fill:#fff}.grid{stroke:#e3e6ea}.axis,.legend{fill:#343a40;font:13px system-ui,sans-serif}
</style><rect class="back" width="100%" height="100%"/>"""


def colours(result: Result) -> list[str]:
    """Of the curves."""
    used: dict[str, int] = {}
    found, codecs = [], result.medium.codecs_by_name()
    for curve in result.curves:
        shades = PUBLISHED_COLOURS if curve.codec == PUBLISHED else codecs[curve.codec].colours or SPARE
        found.append(shades[used.get(curve.codec, 0) % len(shades)])
        used[curve.codec] = used.get(curve.codec, 0) + 1
    return found


def rate_distortion(result: Result, metric: Metric, standalone: bool = False) -> str:
    """One plot, rate against a metric; empty curves are left out."""
    curves, medium = result.curves, result.medium
    lines = [[p for p in c.line(metric.key) if math.isfinite(p[1])] for c in curves]
    every = [p for line in lines for p in line]
    if not every:
        return ""
    axis = _Log(every) if medium.log_rate else _Linear(every, medium.highest_shown)
    highest = axis.high
    inside = [y for x, y in every if x <= highest]
    low, high = min(inside, default=0), max(inside, default=1)
    margin = 0.05 * (high - low) or 1
    low, high = low - margin, high + margin

    def x_of(rate):
        return LEFT + (WIDTH - LEFT - RIGHT) * axis.part(rate)

    def y_of(value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    unit = f", {metric.unit}" if metric.unit else ""
    parts = [(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
              f'aria-label="{escape(metric.label)} over {medium.rate_name}">'), STANDALONE if standalone else "",
             (f'<clipPath id="clip-{metric.key}"><rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
              f'height="{HEIGHT - TOP - BOTTOM}"/></clipPath>')]
    for tick in axis.ticks():
        x = x_of(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
                     f'<text class="axis" x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>')
    for tick in _ticks(low, high):
        y = y_of(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<text class="axis" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
                 f"{medium.rate_name}</text>"
                 f'<text class="axis" x="14" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" '
                 f'transform="rotate(-90 14 {(TOP + HEIGHT - BOTTOM) / 2})">{escape(metric.label + unit)}</text>')
    legend = []
    shades = colours(result)
    order = sorted(range(len(curves)), key=lambda i: curves[i].codec == "vqcodec")  # ours is drawn last, on top
    for i in order:
        curve, line, shade = curves[i], lines[i], shades[i]
        if not line:
            continue
        ours = curve.codec == "vqcodec"
        dashes = ' stroke-dasharray="6 4"' if curve.codec == PUBLISHED else ""
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line)
        described = {(m.rates[metric.key], m.values[metric.key]): m.described for m in curve.means}
        dots = "".join(
            f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="{4 if ours else 3}" fill="{shade}" '
            f'data-tip="{escape(curve.label)}|{escape(described[x, y])}|{x:.3f} {medium.rate_unit}|{number(y, metric.digits)} {metric.unit}">'
            f"<title>{escape(curve.label)}, {escape(described[x, y])}: {x:.3f} {medium.rate_unit}, {number(y, metric.digits)} {metric.unit}</title>"
            "</circle>" for x, y in line)
        parts.append(f'<g class="curve" data-curve="{i}" clip-path="url(#clip-{metric.key})"><polyline '
                     f'points="{path}" fill="none" stroke="{shade}" stroke-width="{3 if ours else 1.8}" '
                     f'stroke-linejoin="round"{dashes}/>{dots}</g>')
    shown = [i for i in range(len(curves)) if lines[i]]
    left = WIDTH - RIGHT - 36 - LETTER * max(len(curves[i].label) for i in shown)
    for row, i in enumerate(shown):
        y = HEIGHT - BOTTOM - 14 - 19 * (len(shown) - 1 - row)
        legend.append(f'<g class="key" data-curve="{i}"><line x1="{left:g}" x2="{left + 22:g}" y1="{y}" '
                      f'y2="{y}" stroke="{shades[i]}" stroke-width="3"/><text class="legend" x="{left + 30:g}" '
                      f'y="{y + 4}">{escape(curves[i].label)}</text></g>')
    return "".join([*parts, *legend, "</svg>"])


class _Linear:
    """Rates from 0 to the highest there is, or that is worth showing."""

    def __init__(self, points: list[tuple[float, float]], most: float):
        self.high = max(1e-3, min(max(x for x, _ in points), most))

    def part(self, rate: float) -> float:
        return rate / self.high

    def ticks(self) -> list[float]:
        return _ticks(0, self.high)


class _Log:
    """Rates with a power of two at every tick."""

    def __init__(self, points: list[tuple[float, float]]):
        rates = [x for x, _ in points]
        self.low, self.high = 0.94 * min(rates), 1.06 * max(rates)

    def part(self, rate: float) -> float:
        return math.log(rate / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        found = [2.0**i for i in range(math.ceil(math.log2(self.low)), math.floor(math.log2(self.high)) + 1)]
        return found if len(found) > 1 else _ticks(self.low, self.high)


def _ticks(low: float, high: float) -> list[float]:
    """About six round numbers."""
    raw = (high - low) / 6
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]
