"""Measured points and their means: the data that everything else shows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .bdrate import BdRate, bd_rate
from .comparison import Source
from .metrics import Metric

PUBLISHED = "published"  # in place of a codec's name: the curve was not measured here


@dataclass(frozen=True)
class Point:
    """One source by one codec at one setting. `bytes` is the size that counts, of the file written and read back;
    metrics are absent (None) where they have no value for the source."""

    source: Source
    codec: str
    setting: float
    described: str
    bytes: int
    values: dict[str, float | None]

    @property
    def rate(self) -> float:
        return self.source.rate(self.bytes)


@dataclass(frozen=True)
class Mean:
    """A setting's mean over sources: of the rate, and of each metric over the sources that have it, as shown. `rates`:
    the mean rate of just those, which is the rate that goes with the metric."""

    setting: float
    described: str
    rate: float
    values: dict[str, float | None]
    rates: dict[str, float | None]
    sources: int


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
    """By setting, rising rate."""
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
            rates[metric.key] = sum(p.rate for p in known) / count if known else None
        rate = sum(p.rate for p in group) / len(group)
        found.append(Mean(setting, group[0].described, rate, values, rates, len(group)))
    return sorted(found, key=lambda m: m.rate)


def bd_rates(curves: list[Curve], metrics: list[Metric]) -> list[tuple[str, str, str, BdRate]]:
    """(anchor, test, metric key, BD-rate) of every vqcodec curve against all others; of all against the first
    where there is no vqcodec curve."""
    return [(a.label, t.label, m.key, _bd_rate(a, t, m)) for a, t in _pairs(curves) for m in metrics]


def _pairs(curves: list[Curve]) -> list[tuple[Curve, Curve]]:
    ours = [c for c in curves if c.codec == "vqcodec"]
    return [(a, t) for t in ours for a in curves if a is not t] if ours else [(curves[0], t) for t in curves[1:]]


def size_differences(curves: list[Curve], metric: Metric) -> list[tuple[str, str, str, BdRate]]:
    """As `bd_rates`, of codecs without loss: how many percent larger the test's files are, on the mean of all sources."""
    return [(a.label, t.label, metric.key, BdRate(100 * (t.means[0].rate / a.means[0].rate - 1))) for a, t in _pairs(curves)]


def _bd_rate(anchor: Curve, test: Curve, metric: Metric) -> BdRate:
    if metric.better == "higher":
        return bd_rate(anchor.line(metric.key), test.line(metric.key), metric.span)
    turned = ([(rate, -value) for rate, value in curve.line(metric.key)] for curve in (anchor, test))
    found = bd_rate(*turned, metric.span)
    return found if found.percent is None else replace(found, low=-found.high, high=-found.low)


def same_sources(points: list[Point], metrics: list[Metric]) -> tuple[list[Point], list[tuple[str, str]]]:
    """(points, [(source, why)]): a metric that has no value for what one codec makes of a source has none for the
    source at all, so that its means are over the same sources for all curves."""
    lacking: dict[tuple[str, str], str] = {}
    for point in points:
        for metric in metrics:
            if point.values[metric.key] is None:
                reason = metric.refusal(point.source) or \
                    f"{metric.label} has no value for {point.codec} at {point.described}"
                lacking.setdefault((point.source.name, metric.key), reason)
    kept = [replace(p, values={k: None if (p.source.name, k) in lacking else v for k, v in p.values.items()})
            for p in points]
    return kept, [(name, reason) for (name, _), reason in lacking.items()]
