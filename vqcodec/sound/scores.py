"""Quality metrics of sound. A new one is a subclass of `SoundMetric` named in `METRICS`.

    value = VisqolSpeech().measure(reference, decoded)      # two `Sound`s of one rate and length

Metrics that are defined for one channel are means over the channels, silent ones left out, where not said otherwise.
"""

from __future__ import annotations

import itertools
import math
import os
import warnings
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from ..errors import InputError
from .file import Sound
from ..bench.metrics import Metric, Unmeasurable
from ..bench.packages import require

EXTRA, COMPILED = "benchmark-sound", "benchmark-perceptual"  # the second needs a compiler where there is no wheel

_BLOCK = 2**20  # samples in the frames that are transformed at once


class SoundMetric(Metric):
    """A full-reference metric of two sounds of one rate, length and number of channels."""

    rate: int | None = None  # Hz that both are resampled to; None: as they are
    least_seconds = 0.0
    least_rate = 0  # Hz: below it, the metric's band is not there

    def refusal(self, source) -> str | None:
        if source.seconds < self.least_seconds:
            return f"{self.label} needs at least {self.least_seconds:g} s"
        if source.rate_hz < self.least_rate:
            return f"{self.label} needs a sampling rate of at least {self.least_rate} Hz"
        return f"{self.label} needs sound that is not silence" if source.silent else None

    def measure(self, reference: Sound, decoded: Sound) -> float:
        """Raises ValueError for sounds of different shapes, Unmeasurable where these two have no value."""
        if reference.rate != decoded.rate or reference.samples.shape != decoded.samples.shape:
            raise ValueError(f"{list(reference.samples.shape)} at {reference.rate} Hz and "
                             f"{list(decoded.samples.shape)} at {decoded.rate} Hz cannot be compared")
        rate = self.rate or reference.rate
        pair = [_resampled(sound.samples, sound.rate, rate) for sound in (reference, decoded)]
        if not all(len(x) and np.isfinite(x).all() for x in pair):
            raise Unmeasurable(f"{self.label}: no samples, or not numbers")
        return float(self._measure(*pair, rate))

    def _measure(self, reference: np.ndarray, decoded: np.ndarray, rate: int) -> float:
        """Of float64[N,C]."""
        values = [self._channel(r, d, rate) for r, d in zip(reference.T, decoded.T) if r.any()]
        if not values:
            raise Unmeasurable(f"{self.label}: the reference is silence")
        return float(np.mean(values))

    def _channel(self, reference: np.ndarray, decoded: np.ndarray, rate: int) -> float:
        """Of float64[N], the reference not all zero."""
        raise NotImplementedError


class _Visqol(SoundMetric):
    """ViSQOL v3, of the channels' mean, as MOS-LQO of 1 to 5: Chinen et al., "ViSQOL v3: an open source production
    ready objective speech and audio metric", QoMEX 2020; the package visqol-python computes it."""

    span, package = 0.1, "visqol-python"
    least_seconds = 1.0
    longest_seconds = 30.0  # of longer sounds the mean over equal parts: its search takes memory by the square
    mode: str
    lattice: bool | None = None

    def load(self):
        require("visqol", f"metric '{self.key}'", COMPILED, "visqol-python")
        if self.lattice:
            require("ai_edge_litert", f"metric '{self.key}'", COMPILED)

    def _measure(self, reference, decoded, rate):
        reference, decoded = reference.mean(1), decoded.mean(1)
        values = []
        for start, stop in parts(len(reference), int(self.longest_seconds * rate)):
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    if reference[start:stop].any() and decoded[start:stop].any():
                        found = _visqol(self.mode, self.lattice).measure_from_arrays(
                            reference[start:stop], decoded[start:stop], rate).moslqo
                        values += [found] if math.isfinite(found) else []
                except (ValueError, IndexError):  # no part of it is active
                    pass
        if not values:
            raise Unmeasurable(f"{self.label} finds nothing to compare")
        return float(np.mean(values))


class VisqolSpeech(_Visqol):
    """Speech mode at 16 kHz; deep-lattice mapping to MOS, as the reference implementation has it by default."""

    key, label = "visqol-speech", "ViSQOL (speech, lattice)"
    mode, lattice, rate = "speech", True, 16000


class VisqolSpeechFit(_Visqol):
    """Speech mode at 16 kHz; exponential mapping to MOS, scaled so that equal sounds have 5. It gives higher figures
    than the lattice and is what papers before 2022 report."""

    key, label = "visqol-speech-exp", "ViSQOL (speech, exponential)"
    mode, lattice, rate = "speech", False, 16000


class VisqolAudio(_Visqol):
    """Audio mode at 48 kHz; mapping to MOS by support vector regression. Equal sounds have about 4.73."""

    key, label = "visqol-audio", "ViSQOL (audio, SVR)"
    mode, rate = "audio", 48000


@lru_cache
def _visqol(mode: str, lattice: bool | None):
    import logging

    from visqol import VisqolApi

    logging.getLogger("visqol").setLevel(logging.ERROR)
    api = VisqolApi()
    with _no_messages():
        api.create(mode=mode, use_lattice_model=lattice)
    return api


@contextmanager
def _no_messages():
    """LiteRT greets on the descriptor of standard error, between lines of progress."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Pesq(SoundMetric):
    """Wideband PESQ at 16 kHz as MOS-LQO: ITU-T P.862.2 (2007), by the package pesq. Of recordings above 20 s the
    mean over equal parts, because it is made for sentences."""

    key, label, package = "pesq", "PESQ (wideband)", "pesq"
    span, rate, least_seconds, least_rate = 0.1, 16000, 0.5, 16000
    longest_seconds = 20

    def load(self):
        require("pesq", "metric 'pesq'", COMPILED)

    def _channel(self, reference, decoded, rate):
        from pesq import NoUtterancesError, pesq

        values = []
        for start, stop in parts(len(reference), self.longest_seconds * rate):
            try:
                if reference[start:stop].any() and decoded[start:stop].any():
                    values.append(pesq(rate, reference[start:stop], decoded[start:stop], "wb"))
            except NoUtterancesError:
                pass
        if not values:
            raise Unmeasurable(f"{self.label} finds no speech")
        return float(np.mean(values))


class Stoi(SoundMetric):
    """Short-time objective intelligibility, at 10 kHz: Taal, Hendriks, Heusdens, Jensen, "An algorithm for
    intelligibility prediction of time-frequency weighted noisy speech", IEEE TASLP 19(7), 2011; by pystoi."""

    key, label, package = "stoi", "STOI", "pystoi"
    span, rate, least_seconds, digits = 0.01, 10000, 0.5, 3
    extended = False

    def load(self):
        require("pystoi", f"metric '{self.key}'", EXTRA)

    def _channel(self, reference, decoded, rate):
        from pystoi import stoi

        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return stoi(reference, decoded, rate, extended=self.extended)
            except RuntimeWarning:
                raise Unmeasurable(f"{self.label} finds less than 0.4 s of speech") from None


class ExtendedStoi(Stoi):
    """Jensen, Taal, "An algorithm for predicting the intelligibility of speech masked by modulated noise maskers",
    IEEE/ACM TASLP 24(11), 2016."""

    key, label, extended = "estoi", "ESTOI", True


class LogMel(SoundMetric):
    """Multi-resolution log-mel distance in dB; less is better.

    For Hann windows of 8, 16, 32, 64 and 128 ms, each moved by a quarter: power spectra of both sounds, over triangular
    filters with centres evenly spaced on the mel scale 2595 log10(1 + f / 700) from 0 to half the sampling rate (8, 16,
    32, 64, 128 of them, of height 1, fewer where a filter would hold no bin). A level is 10 log10 of power over what
    white noise of the reference's mean power would give there, and at least -60 dB. The distance is the mean of
    |level of one - level of the other| over filters and frames, then over windows and channels."""

    key, label, unit, better = "log-mel", "Log-mel distance", "dB", "lower"
    least_seconds = 0.016
    floor = 1e-6

    def _channel(self, reference, decoded, rate):
        scale = 1 / math.sqrt(np.mean(np.square(reference)))
        pair = reference * scale, decoded * scale
        return np.mean([self._resolution(pair, max(16, round(rate * ms / 1000)), ms, rate)
                        for ms in (8, 16, 32, 64, 128)])

    def _resolution(self, pair, size, bands, rate) -> float:
        hop, window, filters = size // 4, np.hanning(size + 1)[:-1], _mel_filters(size, bands, rate)
        power = np.square(window).sum() * filters.sum(1)
        padded = [np.pad(x, size // 2) for x in pair]
        frames = [np.lib.stride_tricks.sliding_window_view(x, size)[::hop] for x in padded]
        total, block = 0.0, max(1, _BLOCK // size)
        for start in range(0, len(frames[0]), block):
            levels = [10 * np.log10(np.maximum(self.floor, np.square(np.abs(np.fft.rfft(
                f[start : start + block] * window))) @ filters.T / power)) for f in frames]
            total += np.abs(levels[0] - levels[1]).sum()
        return total / (len(frames[0]) * len(filters))


@lru_cache
def _mel_filters(size: int, bands: int, rate: int) -> np.ndarray:
    """float64[at most bands, size // 2 + 1]"""
    edges = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + rate / 1400), bands + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(size, 1 / rate)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = np.maximum(0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
    return filters[filters.any(1)]


class SiSdr(SoundMetric):
    """Scale-invariant signal-to-distortion ratio of all channels together, their means removed: Le Roux, Wisdom,
    Erdogan, Hershey, "SDR – half-baked or well done?", ICASSP 2019. It asks for the waveform, which codecs at low
    rates do not keep."""

    key, label, unit = "si-sdr", "SI-SDR", "dB"

    def _measure(self, reference, decoded, rate):
        r, d = ((x - x.mean(0)).ravel() for x in (reference, decoded))
        energy = r @ r
        if not energy:
            raise Unmeasurable(f"{self.label}: the reference is silence")
        target = (d @ r) / energy * r
        signal, noise = target @ target, np.square(d - target).sum()
        if not signal:
            return -100.0  # nothing of it is there: a bound in place of -inf
        return math.inf if not noise else max(-100.0, 10 * math.log10(signal / noise))


class Periodicity(SoundMetric):
    """Mean correlation at the reference's pitch period of what lies in 1.8–3.6 kHz (`faults.periodicity`): what is hoarse falls short
    of the reference's own value, 0.3 to 0.5 for most voices."""

    key, label, span, digits, least_rate, least_seconds = "periodicity", "Periodicity (1.8–3.6 kHz)", 0.05, 3, 8000, 0.5

    def _channel(self, reference, decoded, rate):
        from .faults import periodicity

        value = periodicity(reference, decoded, rate)
        if value is None:
            raise Unmeasurable(f"{self.label} finds no voice")
        return value


class PauseLines(SoundMetric):
    """Steady lines at multiples of 50 Hz in pauses of half a second or more, in dB above their neighbourhood (`faults.line_excess`),
    the mean of pauses: what is left of room noise should not ring. Noise itself has 4 to 5 dB in so short a time."""

    key, label, unit, better, least_rate, least_seconds = "pause-lines", "Lines in pauses", "dB", "lower", 8000, 1.0

    def _channel(self, reference, decoded, rate):
        from .faults import line_excess, pauses

        found = [line_excess(decoded[a:b], rate) for a, b in pauses(reference, rate) if b - a >= rate // 2 and decoded[a:b].any()]
        if not found:
            raise Unmeasurable(f"{self.label} finds no pauses")
        return float(np.mean(found))


class LevelExcess(SoundMetric):
    """How much louder than the reference what is decoded is in any 100 ms, at most, in dB (`faults.level_excess`)."""

    key, label, unit, better, least_seconds = "level-excess", "Louder by, at most", "dB", "lower", 0.2

    def _measure(self, reference, decoded, rate):
        from .faults import level_excess

        return max(level_excess(r, d, rate) for r, d in zip(reference.T, decoded.T))


def parts(length: int, longest: int) -> list[tuple[int, int]]:
    """(start, stop) of the fewest parts of nearly one length that are at most `longest`."""
    count = max(1, -(-length // longest))
    ends = [round(i * length / count) for i in range(count + 1)]
    return list(itertools.pairwise(ends))


def _resampled(samples: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """float64[N,C]"""
    samples = np.asarray(samples, np.float64).reshape(len(samples), -1)
    if rate_in == rate_out:
        return samples
    soxr = require("soxr", "resampling", EXTRA)
    return soxr.resample(samples, rate_in, rate_out, quality="VHQ")


def installed(metric: type[SoundMetric]) -> bool:
    """Whether its package is there."""
    try:
        metric().load()
    except InputError:
        return False
    return True


METRICS: dict[str, type[SoundMetric]] = {m.key: m for m in (
    VisqolSpeech, VisqolSpeechFit, VisqolAudio, Pesq, Stoi, ExtendedStoi, LogMel, SiSdr, Periodicity,
    PauseLines, LevelExcess)}
