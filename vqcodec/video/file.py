"""Files of video → frames uint8[H,W,3] and their times, by PyAV (FFmpeg), one after the other: nothing here holds a whole clip.

Colours. Frames are R'G'B' of 8 bits by the matrix and range that the file tells; where it tells no matrix, BT.709 from 720 lines
on and BT.601 below. What the file says of primaries and transfer is kept beside them, not applied. Deeper samples are rounded to
8 bits, and a warning says so. Frames are upright: a rotation, or mirroring, that the file tells is applied.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from .. import filelimits
from ..errors import InputError, UsageError, VqcodecWarning
from ..metadata import Metadata
from .kinds import demuxer

BT709, BT601 = 1, 6  # matrices, as ITU-T H.273 numbers them
UNKNOWN = 2
HD_LINES = 720
MATRICES = {1: "itu709", 4: "fcc", 5: "itu601", 6: "itu601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}
HDR = (16, 18)  # transfers: PQ, HLG
MAX_SIDE = 1 << 14


@dataclass(frozen=True)
class Colour:
    """As ITU-T H.273 numbers them; matrix and full: of the file's samples, and of what is decoded to a file again."""

    primaries: int = UNKNOWN
    transfer: int = UNKNOWN
    matrix: int = BT709
    full: bool = False


@dataclass(frozen=True)
class Shape:
    """Of a clip: width, height of upright frames; aspect: of a sample, width to height; time_base: seconds of a unit of time."""

    width: int
    height: int
    aspect: Fraction
    time_base: Fraction
    colour: Colour


@dataclass(frozen=True)
class Frame:
    """rgb: uint8[H,W,3]; time, duration: in units of the clip's time base, from its first frame on."""

    rgb: np.ndarray
    time: int
    duration: int


def require_av():
    """PyAV. Raises InputError where it is not installed."""
    try:
        import av
    except ImportError:
        raise InputError('video is read and written by PyAV, the extra "video": pip install ".[video]"') from None
    return av


class VideoReader:
    """A clip that can be read again and again.

    start, duration: seconds of the file that are read, whole if not given. shape: a `Shape`; metadata: the container's tags;
    has_sound. Raises InputError for what is no video."""

    def __init__(self, source, *, start: float = 0.0, duration: float | None = None):
        """source: a `fileio.Source`."""
        self.source, self.name, self.start, self.duration = source, source.name, start, duration
        self._demuxer = demuxer(source.head, source.path or source.name)
        self._av, self._told, self._first = require_av(), False, None
        with self._opened() as container:
            stream = self._stream(container)
            first = next(self._decoded(container, stream), None)
            if first is None:
                raise InputError(f"{self.name}: no frame of video could be read")
            self.shape, self.upright = self._shape(stream, first), Upright.of(first)
            if self.upright.across:
                self.shape = replace(self.shape, width=self.shape.height, height=self.shape.width, aspect=1 / self.shape.aspect)
            tags = tuple((name.lower(), value) for name, value in sorted(container.metadata.items())
                         if name.lower() not in ("major_brand", "minor_version", "compatible_brands", "encoder"))
            self.metadata = Metadata(tags=tags) if tags else None
            self.has_sound = bool(container.streams.audio)
            self.total = self._count(stream)
        filelimits.check(filelimits.Extent(pixels=self.shape.width * self.shape.height))
        if max(self.shape.width, self.shape.height) > MAX_SIDE:
            raise InputError(f"{self.name}: {self.shape.width}x{self.shape.height} pixels; {MAX_SIDE} on a side are the most")

    def frames(self) -> Iterator[Frame]:
        """All frames, in the order in which they are shown. Damage within the file ends them, with a warning."""
        base, usual, held, first = self.shape.time_base, self._usual, None, None
        end = None if self.duration is None else self.start + self.duration
        with self._opened() as container:
            stream = self._stream(container)
            begin = stream.start_time or 0
            if self.start:
                container.seek(begin + int(self.start / base), stream=stream, backward=True)
            last = None
            for decoded in self._decoded(container, stream):
                filelimits.tick()
                time = decoded.pts if decoded.pts is not None else (begin if last is None else last + usual)
                if last is not None and time <= last:
                    continue  # two frames at once: what is shown is the former
                last = time
                seconds = float((time - begin) * base)
                if seconds < self.start - 1e-9:
                    continue
                if end is not None and seconds >= end - 1e-9:
                    break
                first = time if first is None else first
                self._first = begin, first
                if held is not None:
                    yield Frame(held.rgb, held.time, time - first - held.time)
                held = Frame(self._rgb(decoded), time - first, decoded.duration or usual)
            if held is None:
                raise InputError(f"{self.name}: no frame in this part of it")
            yield held

    def times(self) -> tuple[Fraction, Fraction | None]:
        """(seconds at which the first frame of the part that is read is shown, at which the part ends or None), by the file's
        clock."""
        if self._first is None:
            next(self.frames())
        begin, first = (time * self.shape.time_base for time in self._first)
        return first, None if self.duration is None else begin + Fraction(self.start + self.duration).limit_denominator(10**6)

    def _opened(self):
        file = self.source.path if self.source.path is not None else io.BytesIO(self.source.data())
        try:
            return self._av.open(file, format=self._demuxer, metadata_errors="replace")
        except (self._av.FFmpegError, ValueError) as error:
            raise InputError(f"{self.name}: not a file of video, or damaged ({error})") from error

    def _stream(self, container):
        streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not streams:
            raise InputError(f"{self.name}: no video in it")
        streams[0].thread_type = "AUTO"
        return streams[0]

    def _decoded(self, container, stream):
        try:
            yield from container.decode(stream)
        except self._av.FFmpegError as error:
            self._warn(f"damaged, what could be read of it is coded ({error})")

    def _shape(self, stream, frame) -> Shape:
        self._usual = frame.duration or round(1 / (stream.average_rate or 25) / stream.time_base) or 1
        context = stream.codec_context
        matrix = int(frame.colorspace) if int(frame.colorspace) in MATRICES else (BT709 if frame.height >= HD_LINES else BT601)
        grey_or_rgb = frame.format.is_rgb or frame.format.name.startswith(("gbr", "pal8"))
        colour = Colour(_number(frame, "color_primaries"), _number(frame, "color_trc"),
                        matrix if not grey_or_rgb else BT709 if frame.height >= HD_LINES else BT601, self._full(frame))
        aspect = stream.sample_aspect_ratio or context.sample_aspect_ratio
        return Shape(frame.width, frame.height, Fraction(aspect) if aspect else Fraction(1), Fraction(stream.time_base), colour)

    @staticmethod
    def _full(frame) -> bool:
        return int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")

    def _rgb(self, frame) -> np.ndarray:
        """uint8[H,W,3], upright."""
        depth = max((c.bits for c in frame.format.components), default=8)
        if depth > 8 and not self._told:
            self._warn(f"samples of {depth} bits become ones of 8")
        if self.shape.colour.transfer in HDR and not self._told:
            self._warn("its colours are of high dynamic range, which is kept as it is: players that do not know show it pale")
        self._told = True
        expected = (self.shape.height, self.shape.width)[:: -1 if self.upright.across else 1]
        if (frame.height, frame.width) != expected:
            raise InputError(f"{self.name}: it goes on with {frame.width}x{frame.height} pixels")
        return np.ascontiguousarray(self.upright.turned(to_rgb(frame, self.shape.colour)))

    def _count(self, stream) -> int:
        """Frames there are, about; 0 where nobody knows."""
        count = stream.frames or (int(stream.duration * stream.time_base * stream.average_rate)
                                  if stream.duration and stream.average_rate else 0)
        if self.duration is not None and stream.average_rate:
            count = min(count or 1 << 40, round(self.duration * float(stream.average_rate)))
        return count

    def _warn(self, text: str) -> None:
        warnings.warn(f"{self.name}: {text}", VqcodecWarning, stacklevel=4)


@dataclass(frozen=True)
class Upright:
    """How stored frames are shown: rows and columns change places (across), then rows (down), columns (left) change their order."""

    across: bool = False
    down: bool = False
    left: bool = False

    @classmethod
    def of(cls, frame) -> Upright:
        """By the container's matrix (a b · c d): x' = a·x + c·y, y' = b·x + d·y, to the nearest right angle."""
        data = next((bytes(each) for each in frame.side_data if each.type.name == "DISPLAYMATRIX"), b"")
        if len(data) < 36:
            return cls()
        a, b, _, c, d = struct.unpack("=5i", data[:20])
        across = abs(b) > abs(a)
        return cls(across, (b if across else d) < 0, (c if across else a) < 0)

    def turned(self, rgb: np.ndarray) -> np.ndarray:
        rgb = rgb.transpose(1, 0, 2) if self.across else rgb
        return rgb[:: -1 if self.down else 1, :: -1 if self.left else 1]


def _number(thing, name: str) -> int:
    try:
        value = int(getattr(thing, name))
    except (AttributeError, TypeError, ValueError):
        return UNKNOWN
    return value if 0 < value < 256 else UNKNOWN


def _flags(av):
    interpolation = av.video.reformatter.Interpolation
    flags = interpolation.BICUBIC
    for name in ("ACCURATE_RND", "FULL_CHR_H_INT", "FULL_CHR_H_INP"):
        flags |= getattr(interpolation, name, 0)
    return flags


def to_rgb(frame, colour: Colour) -> np.ndarray:
    """An `av.VideoFrame` → uint8[H,W,3], not turned."""
    av = require_av()
    if frame.format.name == "rgb24":
        return frame.to_ndarray()
    ranges = av.video.reformatter.ColorRange
    return frame.reformat(format="rgb24", src_colorspace=MATRICES[colour.matrix], dst_colorspace=MATRICES[colour.matrix],
                          src_color_range=ranges.JPEG if colour.full else ranges.MPEG, dst_color_range=ranges.JPEG,
                          interpolation=_flags(av), threads=1).to_ndarray()


def from_rgb(rgb: np.ndarray, pixels: str, colour: Colour):
    """uint8[H,W,3] → an `av.VideoFrame` in the format `pixels`, with the colours' tags."""
    av = require_av()
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    if pixels == "rgb24":
        return frame
    ranges = av.video.reformatter.ColorRange
    made = frame.reformat(format=pixels, src_colorspace=MATRICES[colour.matrix], dst_colorspace=MATRICES[colour.matrix],
                          src_color_range=ranges.JPEG, dst_color_range=ranges.JPEG if colour.full else ranges.MPEG,
                          interpolation=_flags(av), threads=1)
    made.color_range = ranges.JPEG if colour.full else ranges.MPEG
    made.colorspace = colour.matrix
    return made


def checked_part(start: float | None, duration: float | None) -> dict[str, float | None]:
    """start and duration, as readers and decoders take them. Raises UsageError."""
    start = 0.0 if start is None else start
    if not 0 <= start < float("inf") or not (duration is None or duration > 0):
        raise UsageError("a part begins at 0 s or later, and lasts longer than 0 s")
    return {"start": float(start), "duration": duration}


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


class After(Kept):
    """What is in a file behind its first bytes."""

    def __init__(self, file, start: int):
        super().__init__(file)
        self.start = start
        file.seek(start)

    def seek(self, offset, whence=0):
        return self.file.seek(offset + (self.start if whence == 0 else 0), whence) - self.start

    def tell(self):
        return self.file.tell() - self.start
