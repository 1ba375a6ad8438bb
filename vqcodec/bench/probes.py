"""Sounds and pictures made by program, each to show one fault: what the files in a folder may not hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Probed:
    """What became of one probe. sentence: what is measured, and what is good; original: the value of the probe itself, where it
    is not 0; values: of {(codec's label, setting as shown): value, None where there is none}."""

    key: str
    label: str
    unit: str
    sentence: str
    original: float | None
    values: dict[tuple[str, str], float | None]

    def columns(self) -> list[tuple[str, str]]:
        return list(self.values)
