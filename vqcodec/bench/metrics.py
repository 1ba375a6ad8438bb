"""What a quality metric is to the benchmark. The metrics themselves are the media's."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Unmeasurable(ValueError):
    """A metric has no value for these two."""


class Metric(ABC):
    """A full-reference metric of two uint8[H,W,3] pictures or two `Sound`s of one shape and rate."""

    key: str
    label: str
    unit: str = ""
    digits: int = 2  # behind the point, in tables
    better: str = "higher"  # or "lower"
    package: str | None = None  # that computes it: its version decides about the value
    span: float = 0.5  # the least overlap of two curves, in shown units, that a BD-rate is computed on

    def load(self) -> None:
        """Import what is needed. Raises InputError where a package is missing."""

    def refusal(self, source) -> str | None:
        """Why a source, by its size or rate, has no value, if so."""
        return None

    @abstractmethod
    def measure(self, reference, decoded) -> float:
        """Raises Unmeasurable."""

    def shown(self, mean: float) -> float:
        """The mean over sources on the scale of plots and BD-rates."""
        return mean
