"""The encoder's gains: they follow the level of each channel, slowly, and are lowered where the decoded sound is too loud.

Levels count quarters of a doubling (1.5 dB) of amplitude, as gains do; 0 is full scale. What decides is the peak, since models
know none above those that they were trained with: beyond, some voices come back far too loud.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .gains import LEAST, MOST, SPACING, curves, knots

RANK = 2  # of an interval's frames so many louder ones do not count: clicks and bumps
SOFTEST, USUAL, LOUDEST = -10, -4, -3  # peaks that models are given: -15, -6 and -4.5 dB
DEPTH = 20  # gains follow down to so much (30 dB) below the loudest interval of a channel
NOTHING, SILENT = -200, -66  # no level at all; a channel of less than -100 dB
BEFORE, BEHIND = 4, 3  # intervals around a knot whose loudest decides
ALIKE = 8  # two channels that are coded together have one gain if their loudest are so near
LOWEST_GAIN = -40  # what is quieter is not raised further

WINDOW = 5  # latent frames, of 20 ms in the published models, in which the level is kept
LIMIT = 10**0.07  # of power: 0.7 dB; frames are not everywhere where a listener's windows are
FLOOR = 10**-8.5  # of a recording with a peak of 1/2: mean square that never is too loud, -85 dB
MASKED, NEAR = 10**-4, 16  # nor are 40 dB below the loudest so many frames around
EARLY = 1  # frames that decoded sound may be early or late
KEPT = 1  # around a knot the decoded sound is not made softer than the original by more than this
SOFTER = 2  # that decoded sound has to be softer at a knot, to be raised
MOST_RAISED = 8


@dataclass(frozen=True)
class Plan:
    """What the encoder multiplies with, in reverse: values int64[C,n], on top of the header's gain, at knots positions int64[n]
    in latent frames."""

    positions: np.ndarray
    values: np.ndarray

    def of_chunk(self, begin: int, end: int) -> np.ndarray:
        """int64[C,n] at the knots of the chunk of frames [begin, end)."""
        first, last = np.searchsorted(self.positions, (begin, end))
        return self.values[:, first : last + 1]

    def scale(self, first: int, count: int, step: int) -> np.ndarray | float:
        """f32[count,C]: what so many samples from sample `first` on are multiplied by."""
        if not self.values.any():
            return 1.0
        place = (np.arange(first, first + count) + 0.5) / step
        near = slice(*np.searchsorted(self.positions, (place[0], place[-1])) + np.array([-1, 1]))
        return curves(place, self.positions[near], self.values[:, near] / -4)


def positions(frames: int, chunk: int) -> np.ndarray:
    """int64[n]: the knots of all chunks of a recording."""
    found = (np.arange(0, frames, chunk)[:, None] + knots(chunk)[:-1]).ravel()
    return np.append(found[found < frames], frames)


class Meter:
    """Levels f32[C] of the intervals between knots, of samples f32[n,C] that come in blocks."""

    def __init__(self, channels: int, at: np.ndarray, frame: float):
        """at: the knots, in frames; frame: samples of one."""
        self.at, self.frame, self.done = at, frame, 0
        self.levels: list[np.ndarray] = []
        self._frames = np.zeros((0, 4, channels))  # of this interval: samples, their sum, least and greatest
        self._open: np.ndarray | None = None  # the frame that is not complete

    def add(self, block: np.ndarray) -> None:
        first, end = math.floor(self.done / self.frame), self.done + len(block)
        borders = np.rint(np.arange(first, math.floor(end / self.frame) + 2) * self.frame).astype(np.int64)
        borders = borders[(borders > self.done) & (borders <= end)] - self.done
        x, starts = block.astype(np.float64), np.concatenate([[0], borders[borders < len(block)]])
        parts = np.stack([f.reduceat(part, starts) for f, part in (
            (np.add, np.ones_like(x)), (np.add, x), (np.minimum, x), (np.maximum, x))], 1)
        if self._open is not None:
            parts[0] = np.concatenate([parts[0, :2] + self._open[:2], np.minimum(parts[0, 2:3], self._open[2:3]),
                                       np.maximum(parts[0, 3:], self._open[3:])])
        self.done, self._open = end, None
        if not len(borders) or borders[-1] < len(x):
            self._open, parts = parts[-1], parts[:-1]
        self._frames = np.concatenate([self._frames, parts])
        self._close()

    def _close(self) -> None:
        while len(self.levels) < len(self.at) - 1:
            i = len(self.levels)
            count = int(self.at[i + 1] - self.at[i])
            if len(self._frames) < count:
                break
            self.levels.append(_level(self._frames[:count]))
            self._frames = self._frames[count:]

    def finish(self) -> np.ndarray:
        """f32[C,intervals]; the last frame may not be complete."""
        if self._open is not None:
            self._frames = np.concatenate([self._frames, self._open[None]])
        while len(self.levels) < len(self.at) - 1:
            self.levels.append(_level(self._frames))
            self._frames = self._frames[:0]
            self._close()
        return np.stack(self.levels, 1)


def _level(frames: np.ndarray) -> np.ndarray:
    """f32[C] of f64[frames,4,C]."""
    if not len(frames):
        return np.full(frames.shape[2], NOTHING, np.float32)
    count, total, least, most = frames.transpose(1, 0, 2)
    mean = total.sum(0) / count.sum(0)
    peaks = np.sort(np.maximum(most - mean, mean - least), 0)[::-1]
    return (4 * np.log2(np.maximum(peaks[min(RANK, len(peaks) - 1)], 2.0 ** (NOTHING / 4)))).astype(np.float32)


def followed(levels: np.ndarray, gain: int, together: int) -> np.ndarray:
    """Levels f32[C,intervals] → gains int64[C,intervals + 1] on top of `gain`. They move only where sound would become too soft
    or too loud for the model, and then to where it is `USUAL`. together: channels of a unit."""
    top = levels.max(1, keepdims=True)
    levels = np.maximum(levels, np.maximum(top - DEPTH, LOWEST_GAIN + USUAL))
    levels = np.where(top < SILENT, gain + USUAL, levels)
    if together == 2:
        for pair in (levels[i : i + 2] for i in range(0, len(levels) - 1, 2)):
            if abs(pair.max(1)[0] - pair.max(1)[1]) < ALIKE:
                pair[:] = pair.max(0)
    padded = np.pad(levels, ((0, 0), (BEFORE, BEHIND)), "edge")
    loudest = np.lib.stride_tricks.sliding_window_view(padded, BEFORE + BEHIND, 1).max(2) - gain  # of each knot
    values, now = np.empty(loudest.shape, np.int64), np.zeros(len(levels), np.int64)
    least, most = max(LEAST, LOWEST_GAIN - gain), MOST
    for k, level in enumerate(loudest.T):
        moves = (level - now > LOUDEST) | (level - now < SOFTEST)
        now = np.clip(np.where(moves, np.rint(level - USUAL), now), least, most).astype(np.int64)
        values[:, k] = now
    return values


def fitted(values: np.ndarray, decoded: np.ndarray, original: np.ndarray, before: int, frames: int) -> np.ndarray:
    """Gains int64[C,n] of a chunk of so many frames → those with which the decoded sound is nowhere much louder than the original, and where it
    would be much softer, not that soft. decoded, original: mean squares f64[C,frames] of the latent frames of the chunk and a few
    around it, `before` of them before it, both as the model has them."""
    return np.stack([_fitted(*rows, before, knots(frames)) for rows in zip(values, decoded, original)])


def _fitted(values, decoded, original, before: int, at) -> np.ndarray:
    place = np.arange(len(decoded)) - before + 0.5
    absolute = np.exp2(np.interp(place, at, values) / 2)  # but for the header's gain
    decoded, original = decoded * absolute, original * absolute
    tent = np.maximum(0, 1 - np.abs(place - at[:, None]) / SPACING)  # [n,frames]
    there, here = tent @ original, tent @ decoded
    softer = 2 * np.log2((there + FLOOR) / (here + FLOOR))
    change = np.where(softer >= SOFTER, np.clip(softer - 0.5, 0, MOST_RAISED), 0).astype(np.int64)
    width = min(WINDOW, len(decoded))
    loudness = _windows(original, width)
    allowed = _greatest(loudness, EARLY) * LIMIT + FLOOR + MASKED * _greatest(loudness, NEAR)
    least = np.minimum(0, np.floor(softer - KEPT)).astype(np.int64)
    centre = np.convolve(place, np.ones(width) / width, "valid")
    left = np.clip(np.searchsorted(at, centre) - 1, 0, len(at) - 2)
    share = np.clip((centre - at[left]) / (at[left + 1] - at[left]), 0, 1)
    for _ in range(16):
        excess = 2 * np.log2(_windows(decoded * np.exp2(np.interp(place, at, change) / 2), width) / allowed)
        if not (excess > 0).any():
            break
        lower, more = np.zeros_like(change), np.ceil(np.maximum(excess, 0)).astype(np.int64)
        np.maximum.at(lower, left, np.where(share < 0.75, more, 0))
        np.maximum.at(lower, left + 1, np.where(share > 0.25, more, 0))
        change = np.maximum(change - lower, least)
    return np.clip(values + change, LEAST, MOST)


def _greatest(power: np.ndarray, reach: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(np.pad(power, reach), 2 * reach + 1).max(1)


def _windows(power: np.ndarray, width: int) -> np.ndarray:
    return np.convolve(power, np.ones(width) / width, "valid")
