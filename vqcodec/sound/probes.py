"""Probes of sound: noise, voice, beeps, clicks, fades and DC by program, coded and measured. float64[N] at any rate from 8 kHz on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..bench.codecs import BenchCodec
from ..bench.probes import Probed
from ..errors import VqcodecError
from . import faults
from .file import Sound
from .peers import conformed

BEEPS = (400.0, 1000.0, 2000.0, 3400.0, 5000.0, 7000.0)  # Hz
BEEP, GAP = 0.5, 0.3  # seconds
LEVEL = 10 ** (-12 / 20) * 2**0.5  # a sine's peak, whose power is 12 dB below that of a full-scale square
CLICK = 0.5  # seconds before the click
TAIL = -53.0  # dB, at which a fade ends


@dataclass(frozen=True)
class Probe:
    """make(rate) → samples; measure(original, decoded, rate) → a value. above: Hz that half the rate must exceed; own: whether the
    original has a value that is not 0."""

    key: str
    label: str
    unit: str
    sentence: str
    make: Callable[[int], np.ndarray]
    measure: Callable[[np.ndarray, np.ndarray, int], float | None]
    above: float = 0.0
    own: bool = False


def decibels(samples: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(samples)) + 1e-14)


def noise(rate: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, 3 * rate)


def voice(rate: int) -> np.ndarray:
    """Pulses of a gliding pitch through three formants, in syllables."""
    time = np.arange(3 * rate) / rate
    frequency = 130 + 30 * np.sin(2 * np.pi * 0.6 * time)
    phase = 2 * np.pi * np.cumsum(frequency) / rate
    total = np.zeros(len(time))
    for k in range(1, 60):
        f = k * frequency
        height = sum(a / (1 + ((f - centre) / 200) ** 2) for centre, a in ((600, 1), (1700, 0.5), (2700, 0.4))) + 0.01
        total += np.where(f < 0.45 * rate, height, 0) * np.sin(k * phase)
    total *= np.clip(1.2 * np.sin(2 * np.pi * 1.5 * time) + 0.4, 0, 1)
    return 0.4 * total / np.abs(total).max() + np.random.default_rng(1).normal(0, 1e-3, len(time))


def beep_at(frequency: float) -> Callable[[int], np.ndarray]:
    def make(rate: int) -> np.ndarray:
        """After a voice."""
        time = np.arange(round(BEEP * rate)) / rate
        return np.concatenate([voice(rate)[: 2 * rate], np.zeros(round(GAP * rate)), LEVEL * np.sin(2 * np.pi * frequency * time),
                               np.zeros(round(GAP * rate))])

    return make


def beep_level(frequency: float):
    def measure(original: np.ndarray, decoded: np.ndarray, rate: int) -> float:
        """dB, within a twelfth of the frequency."""
        first = 2 * rate + round((GAP + 0.1) * rate)
        parts = (faults.band(x[first : first + round((BEEP - 0.2) * rate)] * np.hanning(round((BEEP - 0.2) * rate)), rate,
                             frequency * 11 / 12, frequency * 13 / 12) for x in (original, decoded))
        there, here = map(decibels, parts)
        return here - there

    return measure


def dialling(rate: int) -> np.ndarray:
    """DTMF: twelve keys of 0.1 s, 0.08 s apart."""
    time, parts = np.arange(round(0.1 * rate)) / rate, []
    for low in (697, 770, 852, 941):
        for high in (1209, 1336, 1477):
            parts += [0.25 * (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time)), np.zeros(round(0.08 * rate))]
    return np.concatenate(parts)


def louder(original: np.ndarray, decoded: np.ndarray, rate: int) -> float:
    return decibels(decoded) - decibels(original)


def click(rate: int) -> np.ndarray:
    samples = np.random.default_rng(2).normal(0, 1e-4, rate)
    start, count = round(CLICK * rate), round(0.004 * rate)
    samples[start : start + count] += 0.8 * np.exp(-np.arange(count) / (count / 4)) * (-1.0) ** np.arange(count)
    return samples


def before_click(original: np.ndarray, decoded: np.ndarray, rate: int) -> float:
    start = round(CLICK * rate)
    part = decoded[start - round(0.010 * rate) : start - round(0.005 * rate)]
    return decibels(part) - decibels(decoded[start : start + round(0.005 * rate)])


def fade(rate: int) -> np.ndarray:
    """A chord of 4 s that fades to `TAIL`."""
    time = np.arange(4 * rate) / rate
    chord = sum(np.sin(2 * np.pi * f * time) for f in (220, 277.2, 329.6)) / 6
    return chord * 10 ** ((TAIL + 9) / 20 * time / 4)


def tail(original: np.ndarray, decoded: np.ndarray, rate: int) -> float:
    return louder(original[-rate // 2 :], decoded[-rate // 2 :], rate)


def offset(rate: int) -> np.ndarray:
    return 0.2 * voice(rate) + 0.3


def off_by(original: np.ndarray, decoded: np.ndarray, rate: int) -> float:
    return louder(original - original.mean(), decoded - decoded.mean(), rate)


def _lines(original: np.ndarray, decoded: np.ndarray, rate: int) -> float:
    return faults.line_excess(decoded, rate)


PROBES = (
    Probe("noise-lines", "Lines in white noise", "dB", "White noise should hiss, not ring: how far steady lines at multiples of 50 Hz "
          "stand above their neighbourhood.", noise, _lines, own=True),
    Probe("voice-periodicity", "Periodicity of a voice, 1.8–3.6 kHz", "", "Correlation at the pitch period: 1 is a clear voice, what "
          "falls short of the original is hoarse.", voice, faults.periodicity, 3600, own=True),
    *(Probe(f"beep-{f:g}", f"Beep of {f / 1000:g} kHz", "dB", "Level of a beep after speech, against the original's: 0 is right.",
            beep_at(f), beep_level(f), f * 1.1) for f in BEEPS),
    Probe("dtmf", "DTMF", "dB", "Level of twelve keys of a telephone, against the original's: 0 is right.", dialling, louder, 1600),
    Probe("pre-echo", "Before a click", "dB", "Level 10 to 5 ms before a click, against that of the click: the lower the better.", click,
          before_click, own=True),
    Probe("tail", "Tail of a fade", "dB", f"Level of the last half second of a chord that fades to {TAIL:g} dB, against the "
          "original's: 0 is right.", fade, tail),
    Probe("dc", "Voice on DC", "dB", "Level of a voice with a DC of 0.3, both without their means: 0 is right.", offset, off_by),
)


def probed(codecs: list[BenchCodec], rate: int) -> Iterator[Probed]:
    """Every probe by every codec, at its lowest, its middle and its highest setting."""
    for probe in PROBES:
        if rate / 2 <= probe.above:
            continue
        original, values = probe.make(rate), {}
        sound = Sound(original[:, None].astype(np.float32), rate)
        for codec in codecs:
            settings = codec.settings
            for setting in dict.fromkeys((settings[0], settings[len(settings) // 2 - 1], settings[-1])):
                try:
                    decoded = conformed(codec.decode(codec.encode(sound, setting)), sound).samples[:, 0].astype(np.float64)
                    value = probe.measure(original, decoded, rate)
                except VqcodecError:
                    value = None
                values[codec.label, codec.describe(setting)] = value
        own = probe.measure(original, original, rate) if probe.own else None
        yield Probed(probe.key, probe.label, probe.unit, probe.sentence, own, values)
