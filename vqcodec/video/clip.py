"""A clip in memory, as Python programs take and give it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..errors import InputError
from ..sound.file import Sound, SoundReader, sound_of
from .file import BT601, BT709, HD_LINES, MAX_SIDE, Colour, Frame, Shape

BASE = Fraction(1, 90000)  # seconds, of the times of such clips


@dataclass(frozen=True)
class Clip:
    """frames: uint8[T,H,W,3]; times: seconds f64[T], ascending, at which each is shown; end: when the last one ends; sound: a
    `vqcodec.Sound`, None where there is none; offset: seconds from the first frame to the first sample."""

    frames: np.ndarray
    times: np.ndarray
    end: float
    sound: Sound | None = None
    offset: float = 0.0


@dataclass(frozen=True)
class Decoded(Clip):
    """A clip that a codec has decoded. keys: numbers of its key frames."""

    keys: tuple[int, ...] = ()


class ClipReader:
    """As `file.VideoReader`, of a `Clip`. Raises InputError for what is none."""

    metadata, name = None, "clip"

    def __init__(self, clip: Clip, start: float = 0.0, duration: float | None = None):
        frames, times = np.asarray(clip.frames), np.asarray(clip.times, np.float64)
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not frames.size or times.shape != frames.shape[:1]:
            raise InputError("a clip has frames uint8[T,H,W,3] and as many times")
        if max(frames.shape[1:3]) > MAX_SIDE:
            raise InputError(f"frames have {MAX_SIDE} pixels on a side at most")
        if not (np.isfinite(times).all() and (np.diff(times) > 0).all() and times[-1] < clip.end < 1e9):
            raise InputError("the times of a clip must rise, and its end be after them")
        until = clip.end if duration is None else min(clip.end, times[0] + start + duration)
        kept = (times - times[0] >= start - 1e-9) & (times < until - 1e-9)
        if not kept.any():
            raise InputError("no frame in this part of the clip")
        self.pixels, whole = frames[kept], np.rint((np.append(times[kept], until) - times[kept][0]) / float(BASE)).astype(np.int64)
        if (np.diff(whole) <= 0).any():
            raise InputError("times of frames must be 1/90000 s apart")
        self.times, self.total = whole.tolist(), len(self.pixels)
        matrix = BT709 if frames.shape[1] >= HD_LINES else BT601
        self.shape = Shape(frames.shape[2], frames.shape[1], Fraction(1), BASE, Colour(matrix=matrix))

        self._sound, self._first = None, float(times[kept][0])
        if clip.sound is not None:
            found = sound_of(clip.sound)
            # by the clip's clock: its samples begin at `begin`, the part lasts from its first frame to `until`
            begin = times[0] + clip.offset - self._first
            cut, stop = max(0, round(-begin * found.rate)), round((until - self._first - begin) * found.rate)
            samples = found.samples[cut : len(found.samples) if duration is None else max(0, stop)]
            if len(samples):
                self._sound = Sound(samples, found.rate), Fraction(max(begin, 0)).limit_denominator(10**6)
        self.has_sound = self._sound is not None

    def sound(self) -> tuple[SoundReader, Fraction]:
        """(samples, seconds from the first frame to the first of them), where there is sound."""
        return SoundReader.of(self._sound[0], "sound of the clip"), self._sound[1]

    def frames(self) -> Iterator[Frame]:
        for i, rgb in enumerate(self.pixels):
            yield Frame(np.ascontiguousarray(rgb), self.times[i], self.times[i + 1] - self.times[i])
