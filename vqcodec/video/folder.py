"""Frames → a folder of PNG files 000001.png, 000002.png, … and times.txt: for each file a line of its name and the second at which
it is shown, then "end" and the second at which the last one ends."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

from ..errors import InputError
from .file import Frame, Shape

TIMES = "times.txt"
HEADER = 33  # bytes of a PNG's signature and first chunk
PATTERN = r"\d{6,}\.png|times\.txt"  # names of what is written


class FolderWriter:
    """path: of a folder that is there."""

    def __init__(self, path: Path, shape: Shape):
        self.path, self.shape, self.count, self.end = path, shape, 0, Fraction(0)
        self.times = open(path / TIMES, "w", encoding="ascii")

    def write(self, frame: Frame) -> None:
        from PIL import Image

        self.count += 1
        name, base, file = f"{self.count:06d}.png", self.shape.time_base, io.BytesIO()
        Image.fromarray(frame.rgb).save(file, "PNG")
        data = file.getvalue()
        try:
            (self.path / name).write_bytes(data[:HEADER] + self._aspect() + data[HEADER:])
            self.times.write(f"{name} {_seconds(frame.time * base)}\n")
        except OSError as error:
            raise InputError(f"cannot write {name} ({error.strerror or error})") from error
        self.end = (frame.time + frame.duration) * base

    def _aspect(self) -> bytes:
        """A chunk pHYs: samples to a unit of length across and down, where the unit is not said."""
        if self.shape.aspect == 1:
            return b""
        chunk = b"pHYs" + struct.pack(">IIB", self.shape.aspect.denominator, self.shape.aspect.numerator, 0)
        return struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))

    def close(self) -> None:
        self.times.write(f"end {_seconds(self.end)}\n")
        self.times.close()


def _seconds(time: Fraction) -> str:
    return f"{float(time):.9f}".rstrip("0").rstrip(".")
