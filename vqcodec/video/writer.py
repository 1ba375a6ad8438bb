"""Frames → files of video, by PyAV (FFmpeg).

    mp4, mov   H.264 at a CRF of 10, or the one that the subtype names (CRF18), or LOSSLESS (CRF 0, which few players play)
    mkv        FFV1 (lossless, of R'G'B'), or as above            y4m   samples as they are, 4:4:4 or 4:2:0 (the subtype 420)
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from fractions import Fraction

from ..errors import InputError, UsageError, VqcodecWarning
from .file import BT601, BT709, HD_LINES, Colour, Frame, Shape, from_rgb, require_av

USUAL_CRF = 10
CONTAINERS = {"mp4": "mp4", "m4v": "mp4", "mov": "mov", "mkv": "matroska", "y4m": "yuv4mpegpipe"}


@dataclass(frozen=True)
class Coding:
    """How frames are coded: an encoder of FFmpeg's, its format of pixels, its options."""

    container: str
    codec: str
    pixels: str
    options: tuple[tuple[str, str], ...] = ()


def coding_of(extension: str, subtype: str | None) -> Coding:
    """extension: without its dot. Raises UsageError for what cannot be written."""
    container = CONTAINERS.get(extension.lower())
    if container is None:
        raise UsageError(f"video is written as {', '.join(CONTAINERS)}, not as '{extension}'")
    subtype = (subtype or {"matroska": "FFV1"}.get(container, "444" if container == "yuv4mpegpipe" else f"CRF{USUAL_CRF}")).upper()
    if container == "yuv4mpegpipe":
        if subtype not in ("420", "444"):
            raise UsageError(f"y4m has the subtypes 420 and 444, not {subtype}")
        return Coding(container, "wrapped_avframe", f"yuv{subtype}p")
    if subtype == "FFV1" and container == "matroska":
        return Coding(container, "ffv1", "bgr0")
    crf = re.fullmatch(r"CRF(\d{1,2})", subtype)
    if subtype == "LOSSLESS" or (crf and int(crf[1]) <= 51):
        value = "0" if subtype == "LOSSLESS" else crf[1]
        return Coding(container, "libx264", "yuv444p" if value == "0" else "yuv420p", (("crf", value), ("preset", "medium")))
    known = "FFV1, " if container == "matroska" else ""
    raise UsageError(f"{extension} has the subtypes {known}LOSSLESS and CRF0 to CRF51, not {subtype}")


class VideoWriter:
    """A file that is open to write and to seek. `write` frame by frame, then `close`."""

    def __init__(self, file, coding: Coding, shape: Shape, tags: dict[str, str] | None = None, sound=None):
        """sound: a `sound_track.Track`, or None."""
        self.av, self.coding, self.shape, self.sound = require_av(), coding, shape, sound
        try:
            self.container = self.av.open(file, "w", format=coding.container)
            self.container.metadata.update(tags or {})
            self.stream = self.container.add_stream(coding.codec, rate=_rate(shape.time_base), options=dict(coding.options))
        except (self.av.FFmpegError, ValueError) as error:
            raise InputError(f"video cannot be written so ({error})") from error
        untold = Colour(matrix=BT709 if shape.height >= HD_LINES else BT601)  # what readers take it for
        self.colour = shape.colour if coding.codec == "libx264" else untold
        stream = self.stream
        stream.width, stream.height, stream.pix_fmt = *_even(shape, coding.pixels), coding.pixels
        stream.time_base = stream.codec_context.time_base = shape.time_base
        stream.codec_context.sample_aspect_ratio = shape.aspect
        if shape.aspect != 1 and coding.codec != "libx264":  # PyAV has no way to tell the container
            warnings.warn(f"samples are {shape.aspect} as wide as high, which is only written with H.264: give --subtype LOSSLESS",
                          VqcodecWarning, stacklevel=3)
        context = stream.codec_context
        if coding.codec == "libx264":
            context.color_primaries, context.color_trc = shape.colour.primaries, shape.colour.transfer
            context.colorspace, context.color_range = shape.colour.matrix, 2 if shape.colour.full else 1
        if sound:
            sound.add_to(self.container)

    def write(self, frame: Frame) -> None:
        rgb, (width, height) = frame.rgb, _even(self.shape, self.coding.pixels)
        if rgb.shape[:2] != (height, width):
            import numpy as np

            rgb = np.pad(rgb, ((0, height - rgb.shape[0]), (0, width - rgb.shape[1]), (0, 0)), mode="edge")
        made = from_rgb(rgb, self.coding.pixels, self.colour)
        made.pts, made.time_base, made.duration = frame.time, self.shape.time_base, frame.duration
        try:
            self.container.mux(self.stream.encode(made))
            if self.sound:
                self.sound.write(self.container, float((frame.time + frame.duration) * self.shape.time_base))
        except self.av.FFmpegError as error:
            raise InputError(f"video cannot be written ({error})") from error

    def close(self) -> None:
        try:
            self.container.mux(self.stream.encode(None))
            if self.sound:
                self.sound.write(self.container)
            self.container.close()
        except self.av.FFmpegError as error:
            raise InputError(f"video cannot be written ({error})") from error


def _even(shape: Shape, pixels: str) -> tuple[int, int]:
    """(width, height) with half as many samples of colour: both even."""
    if "420" not in pixels:
        return shape.width, shape.height
    return shape.width + shape.width % 2, shape.height + shape.height % 2


def _rate(time_base: Fraction) -> Fraction:
    """A rate that FFmpeg asks for: times are those of the frames."""
    rate = 1 / time_base
    return rate if 1 <= rate <= 240 else Fraction(30)


class Kept(io.RawIOBase):
    """A file that FFmpeg does not close when it is done."""

    def __init__(self, file):
        self.file = file

    def read(self, size=-1):
        return self.file.read(size)

    def write(self, data):
        return self.file.write(data)

    def seek(self, offset, whence=0):
        return self.file.seek(offset, whence)

    def tell(self):
        return self.file.tell()

    def readable(self):
        return True

    def writable(self):
        return True

    def seekable(self):
        return True

    def close(self):
        pass
