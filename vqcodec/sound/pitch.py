"""The pitch of voices, f32[B,T] in values of `pulses`, of samples f32[B,T·step]: normalised correlation (as in RAPT, Talkin, 1995, and
YIN, de Cheveigné and Kawahara, 2002), a few candidates in each frame, and the cheapest path through them (Viterbi)."""

from __future__ import annotations

import numpy as np

from .pulses import values

RANGE = (62.0, 420.0)  # Hz
WINDOW = 0.04  # seconds that are compared with as many a period later
BAND = 1200.0  # Hz, up to which the sound is looked at
CANDIDATES = 5
VOICELESS = 0.45  # correlation from which on a frame has a voice, more or less
SHORTER = 0.02  # what twice the period costs
TURN, JUMP = 0.25, 2.0  # what it costs to begin or end a voice; for an octave from frame to frame
QUIET = 1e-4  # of the greatest power: frames below have no voice


def track(samples: np.ndarray, step: int, rate: int) -> np.ndarray:
    """At the beginnings of frames; 0 where there is no voice."""
    b, n = samples.shape
    scores, frequency = _candidates(samples, n // step, step, rate)
    best = _path(scores, np.log2(frequency))
    chosen = np.take_along_axis(frequency, np.minimum(best, CANDIDATES - 1)[..., None], 2)[..., 0]
    return values(np.where(best < CANDIDATES, chosen, 0.0))


def _candidates(samples: np.ndarray, frames: int, step: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """(correlations f64[B,T,C], Hz f64[B,T,C]) of the best lags of each frame."""
    size, longest, shortest = int(WINDOW * rate), int(rate / RANGE[0]) + 2, int(rate / RANGE[1]) - 1
    spectrum = np.fft.rfft(samples)
    at = np.fft.rfftfreq(samples.shape[1], 1 / rate)
    low = np.fft.irfft(spectrum * np.clip((BAND + 300 - at) / 300, 0, 1) * (at > 50), samples.shape[1])
    side = (size + longest) // 2
    padded = np.pad(low, ((0, 0), (side, side + size + longest)))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size + longest, 1)[:, : frames * step : step]
    length = 1 << (size + 2 * longest - 1).bit_length()
    cross = np.fft.irfft(np.fft.rfft(pieces, length) * np.conj(np.fft.rfft(pieces[..., :size], length)), length)[..., :longest]
    sums = np.cumsum(np.pad(pieces**2, ((0, 0), (0, 0), (1, 0))), 2)
    power = sums[..., size : size + longest] - sums[..., :longest]
    floor = QUIET * power[..., 0].max(1, keepdims=True)[..., None] + 1e-9
    r = cross / np.sqrt((power[..., :1] + floor) * (power + floor))
    peak = (r[..., 1:-1] >= r[..., :-2]) & (r[..., 1:-1] > r[..., 2:])
    peak[..., : shortest - 1] = False
    lags = np.arange(1, longest - 1)
    ranked = np.where(peak, r[..., 1:-1] - SHORTER * np.log2(lags / shortest), -1.0)
    best = np.argpartition(-ranked, CANDIDATES, 2)[..., :CANDIDATES]
    left, middle, right = (np.take_along_axis(r[..., i : longest - 2 + i], best, 2) for i in range(3))
    bend = left - 2 * middle + right
    shift = np.where(bend < -1e-9, 0.5 * (left - right) / np.where(bend < -1e-9, bend, -1), 0)
    return np.take_along_axis(ranked, best, 2), rate / (best + 1 + np.clip(shift, -0.5, 0.5))


def _path(scores: np.ndarray, octave: np.ndarray) -> np.ndarray:
    """int64[B,T]: which candidate, CANDIDATES for none."""
    b, frames, count = scores.shape
    own = np.concatenate([1 - scores, np.full((b, frames, 1), 1 - VOICELESS)], 2)
    total, back = own[:, 0], np.zeros((b, frames, count + 1), np.int64)
    for t in range(1, frames):
        move = np.full((b, count + 1, count + 1), TURN)
        move[:, :count, :count] = JUMP * np.abs(octave[:, t - 1, :, None] - octave[:, t, None, :])
        move[:, count, count] = 0
        whole = total[:, :, None] + move
        back[:, t] = whole.argmin(1)
        total = whole.min(1) + own[:, t]
    found = np.empty((b, frames), np.int64)
    found[:, -1] = total.argmin(1)
    for t in range(frames - 1, 0, -1):
        found[:, t - 1] = np.take_along_axis(back[:, t], found[:, t, None], 1)[:, 0]
    return found
