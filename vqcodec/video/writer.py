"""Frames → files of video, by PyAV (FFmpeg).

    mp4, mov   H.264 at a CRF of 10, or the one that the subtype names (CRF18), or LOSSLESS (CRF 0, which few players play)
    mkv        FFV1 (lossless, of R'G'B'), or as above
    y4m        samples as they are, 4:4:4 or 4:2:0 (the subtype 420): `y4m.py`
    png        a folder with a file for each frame: `folder.py`
"""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ..errors import InputError, UsageError, VqcodecWarning
from .file import BT601, BT709, HD_LINES, Colour, Frame, Kept, Shape, from_rgb, require_av
from .folder import FolderWriter
from .y4m import Y4mWriter, rate_of

USUAL_CRF = 10
CONTAINERS = {"mp4": "mp4", "m4v": "mp4", "mov": "mov", "mkv": "matroska", "y4m": "y4m", "png": "png"}


@dataclass(frozen=True)
class Coding:
    """How frames are coded: an encoder (of FFmpeg's, where the container is one of its), its format of pixels, its options."""

    container: str
    codec: str
    pixels: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def holds_sound(self) -> bool:
        return self.container not in ("y4m", "png")

    @property
    def few_bytes(self) -> bool:
        """Whether a file is much smaller than its samples."""
        return self.container not in ("y4m", "png")


def coding_of(extension: str, subtype: str | None) -> Coding:
    """extension: without its dot. Raises UsageError for what cannot be written."""
    container = CONTAINERS.get(extension.lower())
    if container is None:
        raise UsageError(f"video is written as {', '.join(CONTAINERS)}, not as '{extension}'")
    if container == "png":
        if subtype is not None:
            raise UsageError("png has no subtypes of video")
        return Coding(container, "png", "rgb24")
    subtype = (subtype or {"matroska": "FFV1", "y4m": "444"}.get(container, f"CRF{USUAL_CRF}")).upper()
    if container == "y4m":
        if subtype not in ("420", "444"):
            raise UsageError(f"y4m has the subtypes 420 and 444, not {subtype}")
        return Coding(container, "y4m", f"yuv{subtype}p")
    if subtype == "FFV1" and container == "matroska":
        return Coding(container, "ffv1", "bgr0")
    crf = re.fullmatch(r"CRF(\d{1,2})", subtype)
    if subtype == "LOSSLESS" or (crf and int(crf[1]) <= 51):
        value = "0" if subtype == "LOSSLESS" else crf[1]
        return Coding(container, "libx264", "yuv444p" if value == "0" else "yuv420p", (("crf", value), ("preset", "medium")))
    known = "FFV1, " if container == "matroska" else ""
    raise UsageError(f"{extension} has the subtypes {known}LOSSLESS and CRF0 to CRF51, not {subtype}")


def writer_of(file, coding: Coding, shape: Shape, times, end: int | None, tags: dict[str, str] | None = None, sound=None):
    """What has `write(Frame)` and `close()`. file: open to write and to seek, of "png" the path of a folder; times, end: of all
    frames, in units of the shape's time base; the rest as of `VideoWriter`."""
    if coding.container == "png":
        return FolderWriter(Path(file), shape)
    if coding.container == "y4m":
        rate, even = rate_of(times, max(end or 0, times[-1] + 1), shape.time_base)
        if not even:
            warnings.warn(f"frames do not last equally long, which y4m cannot say: each is shown for 1/{float(rate):.6g} s",
                          VqcodecWarning, stacklevel=3)
        return Y4mWriter(file, coding.pixels, shape, untold(shape), rate)
    return VideoWriter(Kept(file), coding, shape, tags, sound)


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
        self.colour = shape.colour if coding.codec == "libx264" else untold(shape)
        stream = self.stream
        stream.width, stream.height, stream.pix_fmt = *_even(shape, coding.pixels), coding.pixels
        stream.time_base = stream.codec_context.time_base = shape.time_base
        stream.codec_context.sample_aspect_ratio = shape.aspect
        if shape.aspect != 1 and coding.codec != "libx264":  # PyAV has no way to tell the container
            warnings.warn(f"samples are {shape.aspect} as wide as high, which FFV1 does not say: give --subtype LOSSLESS",
                          VqcodecWarning, stacklevel=3)
        context = stream.codec_context
        context.color_primaries, context.color_trc = shape.colour.primaries, shape.colour.transfer
        if coding.codec == "libx264":
            context.colorspace, context.color_range = shape.colour.matrix, 2 if shape.colour.full else 1
        if sound:
            try:
                sound.add_to(self.container)
            except (self.av.FFmpegError, ValueError) as error:
                raise InputError(f"its sound cannot be written so ({error}); give --audio none") from error

    def write(self, frame: Frame) -> None:
        rgb, (width, height) = frame.rgb, _even(self.shape, self.coding.pixels)
        if rgb.shape[:2] != (height, width):
            import numpy as np

            rgb = np.pad(rgb, ((0, height - rgb.shape[0]), (0, width - rgb.shape[1]), (0, 0)), mode="edge")
        made = from_rgb(rgb, self.coding.pixels, self.colour)
        made.pts, made.time_base, made.duration = frame.time, self.shape.time_base, frame.duration
        with self._writing():
            self.container.mux(self.stream.encode(made))
            if self.sound:
                self.sound.write(self.container, float((frame.time + frame.duration) * self.shape.time_base))

    def close(self) -> None:
        with self._writing():
            self.container.mux(self.stream.encode(None))
            if self.sound:
                self.sound.write(self.container)
            self.container.close()

    @contextmanager
    def _writing(self):
        try:
            yield
        except self.av.FFmpegError as error:
            more = "; sound that was copied does not go into every container: give --audio none" if self.sound else ""
            raise InputError(f"video cannot be written ({error}{more})") from error


def untold(shape: Shape) -> Colour:
    """What readers take samples for where the file does not say."""
    return Colour(matrix=BT709 if shape.height >= HD_LINES else BT601)


def _even(shape: Shape, pixels: str) -> tuple[int, int]:
    """(width, height) with half as many samples of colour: both even."""
    if "420" not in pixels:
        return shape.width, shape.height
    return shape.width + shape.width % 2, shape.height + shape.height % 2


def _rate(time_base: Fraction) -> Fraction:
    """A rate that FFmpeg asks for: times are those of the frames."""
    rate = 1 / time_base
    return rate if 1 <= rate <= 240 else Fraction(30)
