"""Sounds to test with."""

from __future__ import annotations

import numpy as np

from vqcodec.sound.file import Sound


def voice(seconds: float, rate: int = 16000, channels: int = 1, seed: int = 0) -> Sound:
    """Something like speech: harmonics of a wandering pitch under moving formants, in syllables with pauses."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.7 * time + seed) + 8 * np.sin(2 * np.pi * 3.1 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formants = [(500 + 250 * np.sin(2 * np.pi * 1.3 * time), 120, 1.0), (1500 + 500 * np.cos(2 * np.pi * 0.9 * time),
                180, 0.5), (2600 + 0 * time, 250, 0.25)]
    samples = np.zeros(len(time))
    for harmonic in range(1, 30):
        frequency = harmonic * pitch
        height = sum(gain / (1 + np.square((frequency - centre) / width)) for centre, width, gain in formants)
        samples += np.where(frequency < 0.45 * rate, height, 0) * np.sin(harmonic * phase)
    samples *= np.clip(np.sin(2 * np.pi * 2.2 * time + 0.5) + 0.4, 0, 1)
    samples = 0.3 * samples / np.abs(samples).max() + rng.normal(0, 1e-4, len(time))
    return Sound(np.repeat(samples[:, None], channels, 1).astype(np.float32), rate)
