"""What ViSQOL, STOI and PESQ do not mind and listeners do: rings, hoarseness, changes of level. On samples f64[N] of one channel.

    lines(decoded, rate)  periodicity(sound, rate, low, high, pitch)  excess(reference, decoded, rate)
"""

from __future__ import annotations

import numpy as np

QUIET = 10**-4.5  # of the loudest frames: power of those that are pauses
STEADY = 0.5  # seconds, of windows in which steady lines are looked for
FRAME_RATE = 50.0  # Hz, of the frames of many codecs: lines lie at its multiples
BESIDE = (6, 18)  # Hz from a line: its neighbourhood
PITCHES = (70.0, 400.0)  # Hz
VOICED = 0.6  # normalised correlation at the pitch period, below 1.2 kHz
SPAN = 0.1  # seconds in which levels are compared
EARLY = 0.02  # seconds that sound may be early or late
MASKED, NEAR = 1e-4, 0.3  # 40 dB below the loudest so many seconds around nothing is too loud
LEAST = 10**-7.5  # mean square below which nothing is too loud


def line_excess(samples: np.ndarray, rate: int) -> float:
    """dB: how far the lines at multiples of 50 Hz from 500 Hz on stand above their neighbourhood, the greatest but 5 %; of the
    mean power of windows of half a second. White noise has 2 to 4."""
    size = int(STEADY * rate)
    starts = range(0, len(samples) - size + 1, size // 4)
    window = np.hanning(size)
    power = np.mean([np.abs(np.fft.rfft(samples[i : i + size] * window)) ** 2 for i in starts], 0)
    hertz = np.fft.rfftfreq(size, 1 / rate)
    found = []
    for line in np.arange(500.0, 0.45 * rate, FRAME_RATE):
        apart = np.abs(hertz - line)
        around = power[(apart >= BESIDE[0]) & (apart <= BESIDE[1])].mean()
        found.append(10 * np.log10((power[apart <= 1.01 / STEADY].max() + 1e-20) / (around + 1e-20)))
    return float(np.percentile(found, 95))


def pauses(samples: np.ndarray, rate: int) -> list[tuple[int, int]]:
    """[(first, end)] of what lasts for 0.3 s or more and is 45 dB below the loudest 20 ms, but is not nothing."""
    size = rate // 50
    power = np.square(samples[: len(samples) // size * size].reshape(-1, size)).mean(1)
    quiet = (power < QUIET * power.max(initial=0)) & (power > 1e-12)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(int)))
    return [(a * size, b * size) for a, b in edges.reshape(-1, 2) if (b - a) * size >= 0.3 * rate]


def band(samples: np.ndarray, rate: int, low: float, high: float) -> np.ndarray:
    """What of the samples lies between two frequencies, in Hz."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / rate)
    return np.fft.irfft(spectrum * ((hertz >= low) & (hertz < high)), len(samples))


def correlation(x: np.ndarray, lags: np.ndarray, starts: np.ndarray, size: int) -> np.ndarray:
    """f64[starts,lags]: normalised correlation of x[s:s+size] with what lies a lag later."""
    frames = np.lib.stride_tricks.sliding_window_view(x, size)
    here = frames[starts]
    own = (here * here).sum(1)
    found = np.empty((len(starts), len(lags)))
    for i, lag in enumerate(lags):
        later = frames[starts + lag]
        found[:, i] = (here * later).sum(1) / np.sqrt(own * (later * later).sum(1) + 1e-20)
    return found


def pitch(samples: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """(starts int64[n], periods int64[n] in samples) of the frames that are voiced, 10 ms apart: by the correlation of what is
    below 1.2 kHz."""
    low, size = band(samples, rate, 60, 1200), int(0.03 * rate)
    lags = np.arange(int(rate / PITCHES[1]), int(rate / PITCHES[0]) + 1)
    starts = np.arange(0, len(low) - size - lags[-1], rate // 100)
    if not len(starts):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    found = correlation(low, lags, starts, size)
    best = found.max(1)
    period = lags[(found >= 0.9 * best[:, None]).argmax(1)]  # the least of those that are nearly as good; then its peak
    near = np.abs(lags - period[:, None]) <= period[:, None] // 8
    period = lags[np.where(near, found, -1).argmax(1)]
    power = np.square(np.lib.stride_tricks.sliding_window_view(low, size)[starts]).mean(1)
    voiced = (best > VOICED) & (power > 1e-3 * power.max(initial=0))
    return starts[voiced], period[voiced]


def periodicity(reference: np.ndarray, samples: np.ndarray, rate: int, low: float = 1800, high: float = 3600) -> float | None:
    """Mean correlation of a band of `samples` at the reference's pitch period, over the reference's voiced frames: 1 of a pure voice,
    0 of hiss. None where the reference has no voice."""
    starts, periods = pitch(reference, rate)
    if len(starts) < 10:
        return None
    x, size = band(samples, rate, low, high), int(0.03 * rate)
    frames = np.lib.stride_tricks.sliding_window_view(x, size)
    best = np.full(len(starts), -1.0)
    for shift in (-1, 0, 1):  # periods are not whole samples
        here, later = frames[starts], frames[np.clip(starts + periods + shift, 0, len(frames) - 1)]
        best = np.maximum(best, (here * later).sum(1) / np.sqrt((here**2).sum(1) * (later**2).sum(1) + 1e-20))
    return float(best.mean())


def level_excess(reference: np.ndarray, decoded: np.ndarray, rate: int) -> float:
    """dB: how much louder the decoded sound is than the reference in any 100 ms, at most. Sound may be 20 ms early or late; what is
    40 dB below the loudest within 0.3 s, or below −75 dB, is never too loud."""
    hop, count = rate // 100, round(100 * SPAN)

    def levels(x):
        power = np.square(x[: len(x) // hop * hop].reshape(-1, hop)).mean(1)
        return np.convolve(power, np.ones(min(count, len(power))) / min(count, len(power)), "valid")

    def greatest(x, seconds):
        reach = round(100 * seconds)
        return np.lib.stride_tricks.sliding_window_view(np.pad(x, reach), 2 * reach + 1).max(1)

    there, here = levels(reference), levels(decoded)
    allowed = greatest(there, EARLY) + MASKED * greatest(there, NEAR) + LEAST
    return float(10 * np.log10((here / allowed).max() + 1e-20))
