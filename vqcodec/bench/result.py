"""All that one run of the benchmark found."""

from __future__ import annotations

from dataclasses import dataclass, field

from .bdrate import BdRate
from .comparison import Comparison, Source
from .matched import Match
from .metrics import Metric
from .points import Curve, Point
from .probes import Probed
from .timing import Timing


@dataclass(frozen=True)
class Result:
    """bad: sources that could not be read or coded; absent: sources that a metric has no value for, and why."""

    medium: Comparison
    machine: dict
    sources: list[Source]
    bad: list[tuple[str, str]]
    absent: list[tuple[str, str]]
    metrics: list[Metric]
    points: list[Point]
    curves: list[Curve]
    bd_rates: list[tuple[str, str, str, BdRate]]
    jobs: int
    threads: int
    timings: list[Timing] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    probes: list[Probed] = field(default_factory=list)

    def machine_line(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.machine["versions"].items())
        return f"{self.machine['cpu']}, {self.machine['cores']} cores; Python {self.machine['python']}, {versions}."
