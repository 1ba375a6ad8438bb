"""Frames → a Y4M file: a line about all of them, then for each "FRAME" and its planes, as they are (yuv4mpeg(5))."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from .file import Colour, Frame, Shape, from_rgb

COMMON = tuple(Fraction(n) for n in (24, 25, 30, 50, 60, 15, 12, 10, 100, 120, 20, 5, 1)) + tuple(
    Fraction(n * 1000, 1001) for n in (24, 30, 60, 120))

FINE = 8  # units of time that a frame lasts, from which on another rate may be meant than their number says


class Y4mWriter:
    """A file that is open to write; it is not sought in."""

    def __init__(self, file, pixels: str, shape: Shape, colour: Colour, rate: Fraction):
        """pixels: yuv444p or yuv420p; colour: of the samples; rate: frames a second."""
        self.file, self.pixels, self.shape, self.colour = file, pixels, shape, colour
        kind = "420jpeg XYSCSS=420JPEG" if pixels == "yuv420p" else "444 XYSCSS=444"
        span = "FULL" if colour.full else "LIMITED"
        file.write(f"YUV4MPEG2 W{shape.width} H{shape.height} F{rate.numerator}:{rate.denominator} Ip "
                   f"A{shape.aspect.numerator}:{shape.aspect.denominator} C{kind} XCOLORRANGE={span}\n".encode())

    def write(self, frame: Frame) -> None:
        self.file.write(b"FRAME\n")
        height, width = frame.rgb.shape[:2]
        half = self.pixels == "yuv420p"
        rgb = np.pad(frame.rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") if half else frame.rgb
        made = from_rgb(rgb, self.pixels, self.colour)
        for number, plane in enumerate(made.planes):
            rows, columns = (-(-height // 2), -(-width // 2)) if half and number else (height, width)
            samples = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            self.file.write(np.ascontiguousarray(samples[:rows, :columns]))

    def close(self) -> None:
        pass


def rate_of(times: Sequence[int], end: int, base: Fraction) -> tuple[Fraction, bool]:
    """(frames a second, whether all frames last as long, but for the rounding of times), of times and the end of the last frame
    in units of `base` seconds. A common rate, where one fits."""
    steps = max(1, len(times) - 1)
    mean = steps / ((times[-1] - times[0] if len(times) > 1 else end - times[0]) * base)
    fine = 1 / (mean * base) >= FINE  # times may be rounded
    for rate in (*(sorted(COMMON, key=lambda rate: abs(rate - mean)) if fine else ()), mean):
        step = 1 / (rate * base)
        if all(abs(time - times[0] - number * step) <= 1 for number, time in enumerate(times)):
            return (rate if len(times) > 1 else mean), True
    return mean.limit_denominator(1001), False
