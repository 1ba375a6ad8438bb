"""The excitation of voices: pitch as a latent dim ⇄ hertz, and pulses at that pitch. NumPy only.

The first latent dim of a model with `excitation = "harmonic"` is VOICELESS where there is no voice, and else FIRST or more, in 64ths
of an octave. A frame's pitch is that at its beginning; within it the frequency moves straight to that of the next one, if that
has a voice. Phases are integrated from the beginning of each voiced stretch, so that harmonics stay what they are from frame to
frame, however high.
"""

from __future__ import annotations

import numpy as np

LOWEST = 60.0  # Hz
FIRST, VOICELESS = -64.0, -80.0  # the value of that frequency, and that of no voice; what lies between is the nearer of the two
OCTAVE = 64.0
TAPS = 16  # samples of a pulse


def hertz(pitch: np.ndarray) -> np.ndarray:
    """f64: 0 where there is no voice."""
    return np.where(pitch >= (FIRST + VOICELESS) / 2, LOWEST * np.exp2((pitch.astype(np.float64) - FIRST) / OCTAVE), 0.0)


def values(frequency: np.ndarray) -> np.ndarray:
    """The inverse of `hertz`, f32."""
    found = FIRST + OCTAVE * np.log2(np.maximum(frequency, LOWEST) / LOWEST)
    return np.where(frequency > 0, found, VOICELESS).astype(np.float32)


def phases(frequency: np.ndarray, step: int, rate: int, phase: float = 0.0) -> np.ndarray:
    """Hz f64[T] → cycles f64[T + 1] at the beginnings of frames, from `phase` on; 0 behind frames without a voice."""
    behind = np.append(frequency[1:], frequency[-1:])
    turns = (frequency + np.where(behind > 0, behind, frequency)) / 2 * step / rate
    found = np.empty(len(frequency) + 1)
    found[0] = phase
    for t, (own, more) in enumerate(zip(frequency, turns)):
        found[t + 1] = (found[t] + more) % 1.0 if own > 0 else 0.0
    return found


def pulses(frequency: np.ndarray, step: int, rate: int, phase: float = 0.0) -> np.ndarray:
    """Hz f64[T] → f32[T·step]: a pulse wherever the phase is whole, of mean power 1 where there is a voice."""
    starts, behind = phases(frequency, step, rate, phase), np.append(frequency[1:], frequency[-1:])
    out = np.zeros(len(frequency) * step + 2 * TAPS)
    offsets = np.arange(TAPS) - TAPS // 2 + 1
    for t in np.flatnonzero(frequency):
        f0, f1 = frequency[t] / rate, (behind[t] or frequency[t]) / rate
        wanted = np.arange(np.ceil(starts[t] - 1e-9), np.ceil(starts[t] + (f0 + f1) / 2 * step - 1e-9)) - starts[t]
        slope = (f1 - f0) / step  # cycles after s samples: f0·s + slope·s²/2
        at = t * step + 2 * wanted / (f0 + np.sqrt(np.maximum(f0 * f0 + 2 * slope * wanted, 1e-12)))
        whole = np.floor(at).astype(np.int64)
        x = offsets - (at - whole)[:, None]
        shape = np.sinc(x) * (0.5 + 0.5 * np.cos(np.pi * x / (TAPS / 2 + 0.5)))
        np.add.at(out, whole[:, None] + offsets + TAPS, shape * np.sqrt(2 / (f0 + f1)))
    return out[TAPS:-TAPS].astype(np.float32)


def advanced(starts: np.ndarray, latents: np.ndarray, count: int, step: int, rate: int) -> np.ndarray:
    """Cycles f64[U] at the beginning of latents f32[U,D,1,n] → those `count` < n frames later."""
    if not count:
        return starts
    return np.array([phases(hertz(unit[0, 0]), step, rate, phase)[count] for unit, phase in zip(latents, starts)])
