"""Sounds made by program, for training: what recordings hold too little of, f32[C,N]. Noise, beeps, keys of a telephone, sweeps,
fades, clicks, silence and softer sound, alone or over a recording."""

from __future__ import annotations

import math
import random

import numpy as np

LOW_KEYS, HIGH_KEYS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)  # Hz, of DTMF
FADE = 0.005  # seconds, at the ends of beeps


def draw(rng: random.Random, recording: np.ndarray, rate: int) -> np.ndarray:
    """The recording f32[C,N] changed, or something else in its place."""
    count, kind = recording.shape[1], rng.choice(KINDS)
    return np.clip(kind(rng, recording, count, rate), -1, 1).astype(np.float32)


def _level(rng: random.Random, least: float, most: float) -> float:
    return 10 ** (rng.uniform(least, most) / 20)


def _noise(rng: random.Random, count: int, slope: float) -> np.ndarray:
    """Of mean square 1; its power falls by `slope` dB an octave."""
    spectrum = np.fft.rfft(np.random.default_rng(rng.getrandbits(32)).normal(0, 1, count))
    spectrum *= np.arange(1, len(spectrum) + 1) ** (-slope / (20 * math.log10(2)))
    found = np.fft.irfft(spectrum, count)
    return found / found.std()


def noise(rng, recording, count, rate):
    """White, pink or between, now and then in steps of level."""
    found = _noise(rng, count, rng.choice((0.0, 0.0, 3.0, rng.uniform(0, 6)))) * _level(rng, -60, -16)
    if rng.random() < 0.4:
        border = rng.randrange(count)
        found[border:] *= _level(rng, -30, 0)
    return found[None] + 0 * recording


def noisy(rng, recording, count, rate):
    return recording + _noise(rng, count, rng.choice((0.0, 3.0))) * _level(rng, -65, -30)


def _gated(rng: random.Random, tone: np.ndarray, rate: int) -> np.ndarray:
    """In bursts with pauses."""
    gate, at, ramp = np.zeros(len(tone)), 0, max(1, round(FADE * rate))
    while at < len(tone):
        length = max(2 * ramp, round(rng.uniform(0.06, 0.8) * rate))
        gate[at : at + length] = 1
        at += length + round(rng.uniform(0.04, 0.5) * rate)
    smooth = np.convolve(gate, np.hanning(ramp + 2)[1:-1] / np.hanning(ramp + 2).sum(), "same")
    return tone * smooth


def beeps(rng, recording, count, rate):
    """One tone or two, each anywhere up to nine tenths of the band, alone or behind a part of the recording."""
    time = np.arange(count) / rate
    tones = sum(math.sqrt(2) * np.sin(2 * np.pi * (200 * (0.45 * rate / 200) ** rng.random()) * time + rng.uniform(0, 6.3))
                for _ in range(rng.choice((1, 1, 2))))
    tones = _gated(rng, tones, rate) * _level(rng, -34, -9)
    border = rng.choice((0, 0, rng.randrange(count)))
    return np.where(np.arange(count) < border, recording, tones[None] + recording * rng.choice((0, 0, 0.1)))


def keys(rng, recording, count, rate):
    found, at, level = np.zeros(count), 0, _level(rng, -34, -10)
    while at < count:
        length = round(rng.uniform(0.05, 0.2) * rate)
        time = np.arange(min(length, count - at)) / rate
        found[at : at + length] = level * sum(np.sin(2 * np.pi * rng.choice(of) * time) for of in (LOW_KEYS, HIGH_KEYS))
        at += length + round(rng.uniform(0.04, 0.2) * rate)
    return found[None] + 0 * recording


def sweep(rng, recording, count, rate):
    ends = [80 * (0.45 * rate / 80) ** rng.random() for _ in range(2)]
    phase = np.cumsum(ends[0] * (ends[1] / ends[0]) ** (np.arange(count) / count)) / rate
    return math.sqrt(2) * np.sin(2 * np.pi * phase)[None] * _level(rng, -34, -9) + 0 * recording


def fade(rng, recording, count, rate):
    """By up to 60 dB, in or out."""
    curve = 10 ** (-rng.uniform(20, 60) / 20 * np.arange(count) / count)
    return recording * (curve if rng.random() < 0.6 else curve[::-1])


def gap(rng, recording, count, rate):
    """Digital silence in the recording."""
    first, found = rng.randrange(count), recording.copy()
    found[:, first : first + round(rng.uniform(0.1, 1.5) * rate)] = 0
    return found


def softer(rng, recording, count, rate):
    return recording * _level(rng, -40, -12)


def click(rng, recording, count, rate):
    found, start, length = recording * rng.choice((0.0, 0.05, 1.0)), rng.randrange(count), rng.choice((1, 3, 30, 100))
    found = found + 0 * recording
    part = found[:, start : start + length]
    part += rng.uniform(0.1, 0.9) * np.random.default_rng(rng.getrandbits(32)).choice((-1.0, 1.0), part.shape)
    return found


KINDS = (noise, noise, noisy, noisy, beeps, beeps, keys, sweep, fade, gap, softer, click)
