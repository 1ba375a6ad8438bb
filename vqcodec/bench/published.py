"""Curves that others measured and published, drawn beside those measured here."""

from __future__ import annotations

from dataclasses import dataclass

from .metrics import Metric
from .points import PUBLISHED, Curve, Mean


@dataclass(frozen=True)
class Published:
    """rates: in the medium's unit; values: by the key of a metric, the means over `sources` sources, before `Metric.shown`."""

    label: str
    note: str
    source: str
    sources: int
    rates: tuple[float, ...]
    values: dict[str, tuple[float, ...]]

    def curve(self, metrics: list[Metric]) -> Curve:
        means = []
        for i, rate in enumerate(self.rates):
            values = {m.key: m.shown(self.values[m.key][i]) if m.key in self.values else None for m in metrics}
            rates = {key: None if value is None else rate for key, value in values.items()}
            means.append(Mean(rate, "published", rate, values, rates, self.sources))
        return Curve(PUBLISHED, f"{self.label} (published)", self.note, self.source, means)
