"""Measured points and their means: the data that everything else shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from .bdrate import BdRate, bd_rate
from .metrics import Metric


@dataclass(frozen=True)
class Point:
    """One picture by one codec at one setting. `bytes` is the file's size on disk; metrics are absent (None)
    where the picture is too small for them."""

    picture: str
    width: int
    height: int
    codec: str
    setting: float
    described: str
    bytes: int
    values: dict[str, float | None]

    @property
    def bpp(self) -> float:
        return 8 * self.bytes / (self.width * self.height)


@dataclass(frozen=True)
class Mean:
    """A setting's mean over pictures: of bpp, and of each metric over the pictures that have it, as shown. `rates`:
    the mean bpp of just those, which is the rate that goes with the metric."""

    setting: float
    described: str
    bpp: float
    values: dict[str, float | None]
    rates: dict[str, float | None]
    pictures: int


@dataclass(frozen=True)
class Curve:
    codec: str
    label: str
    note: str
    version: str
    means: list[Mean] = field(default_factory=list)

    def line(self, metric: str) -> list[tuple[float, float]]:
        return sorted((m.rates[metric], m.values[metric]) for m in self.means if m.values.get(metric) is not None)


def means(points: list[Point], metrics: list[Metric]) -> list[Mean]:
    """By setting, rising bpp."""
    groups: dict[float, list[Point]] = {}
    for point in points:
        groups.setdefault(point.setting, []).append(point)
    found = []
    for setting, group in groups.items():
        values, rates = {}, {}
        for metric in metrics:
            known = [p for p in group if p.values.get(metric.key) is not None]
            count = len(known)
            values[metric.key] = metric.shown(sum(p.values[metric.key] for p in known) / count) if known else None
            rates[metric.key] = sum(p.bpp for p in known) / count if known else None
        bpp = sum(p.bpp for p in group) / len(group)
        found.append(Mean(setting, group[0].described, bpp, values, rates, len(group)))
    return sorted(found, key=lambda m: m.bpp)


def bd_rates(curves: list[Curve], metrics: list[Metric]) -> list[tuple[str, str, str, BdRate]]:
    """(anchor, test, metric key, BD-rate) of every vqcodec curve against all others; of all against the first
    where there is no vqcodec curve."""
    ours = [c for c in curves if c.codec == "vqcodec"]
    pairs = [(a, t) for t in ours for a in curves if a is not t] if ours else [(curves[0], t) for t in curves[1:]]
    return [(a.label, t.label, m.key, bd_rate(a.line(m.key), t.line(m.key), m.span))
            for a, t in pairs for m in metrics]
