"""Frames → a folder of PNG files 000001.png, 000002.png, … and times.txt: for each file a line of its name and the second at which
it is shown, then "end" and the second at which the last one ends."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

from ..errors import InputError
from .file import Frame, Shape

TIMES = "times.txt"
PATTERN = r"\d{6,}\.png|times\.txt"  # names of what is written


class FolderWriter:
    """path: of a folder that is there."""

    def __init__(self, path: Path, shape: Shape):
        self.path, self.shape, self.count, self.end = path, shape, 0, Fraction(0)
        self.times = open(path / TIMES, "w", encoding="ascii")

    def write(self, frame: Frame) -> None:
        from PIL import Image, PngImagePlugin

        self.count += 1
        name, base = f"{self.count:06d}.png", self.shape.time_base
        told = PngImagePlugin.PngInfo()
        if self.shape.aspect != 1:  # samples to a unit of length, which is not said
            told.add(b"pHYs", struct.pack(">IIB", self.shape.aspect.denominator, self.shape.aspect.numerator, 0))
        try:
            Image.fromarray(frame.rgb).save(self.path / name, "PNG", pnginfo=told)
            self.times.write(f"{name} {_seconds(frame.time * base)}\n")
        except OSError as error:
            raise InputError(f"cannot write {name} ({error.strerror or error})") from error
        self.end = (frame.time + frame.duration) * base

    def close(self) -> None:
        self.times.write(f"end {_seconds(self.end)}\n")
        self.times.close()


def _seconds(time: Fraction) -> str:
    return f"{float(time):.9f}".rstrip("0").rstrip(".")
