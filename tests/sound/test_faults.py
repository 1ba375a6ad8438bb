"""Measures of what ViSQOL does not hear, on sounds whose faults are known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("soxr", reason="needs the extra 'benchmark-sound'")
from sound_samples import voice

from vqcodec.bench.metrics import Unmeasurable
from vqcodec.sound import faults, probes, scores
from vqcodec.sound.file import Sound

RATE = 16000
TIME = np.arange(3 * RATE) / RATE


@pytest.fixture(scope="module")
def white():
    return np.random.default_rng(0).normal(0, 0.1, len(TIME))


@pytest.mark.parametrize("decibels", [12, 20])
def test_lines_stand_as_high_as_they_were_made(white, decibels):
    """A sine of power p in windows of n samples with Hann's window stands n/3 · p/variance above the noise."""
    assert faults.line_excess(white, RATE) < 5
    power = 0.01 * 3 / (RATE // 2) * 10 ** (decibels / 10)
    lines = sum(np.sqrt(2 * power) * np.sin(2 * np.pi * f * TIME + f) for f in range(500, 7200, 50))
    assert faults.line_excess(white + lines, RATE) == pytest.approx(decibels, abs=2)
    assert faults.line_excess(white + 0.1 * np.sin(2 * np.pi * 1023 * TIME), RATE) < 5  # no multiple of 50 Hz


def test_the_pitch_of_pulses_and_how_hoarse_they_are(white):
    pulses = np.zeros(len(TIME))
    pulses[::100] = 1  # 160 Hz
    starts, periods = faults.pitch(pulses, RATE)
    assert len(starts) > 250 and (periods == 100).all()
    assert faults.periodicity(pulses, pulses, RATE) > 0.99
    high = faults.band(pulses, RATE, 1800, 3600)
    hiss = faults.band(white, RATE, 1800, 3600)
    for share in (0.5, 0.0):
        mixed = pulses - high + np.sqrt(share) * high + np.sqrt(1 - share) * hiss * high.std() / hiss.std()
        assert faults.periodicity(pulses, mixed, RATE) == pytest.approx(share, abs=0.08)
    assert faults.periodicity(white, white, RATE) is None


def test_louder_by_so_much_in_any_100_ms():
    tone = 0.2 * np.sin(2 * np.pi * 440 * TIME)
    assert faults.level_excess(tone, tone, RATE) == pytest.approx(0, abs=0.1)
    louder = tone.copy()
    louder[16000:17600] *= 2
    assert faults.level_excess(tone, louder, RATE) == pytest.approx(6, abs=0.2)
    assert faults.level_excess(tone, tone / 2, RATE) == pytest.approx(-6, abs=0.1)
    assert faults.level_excess(tone, np.roll(tone, 160), RATE) < 0.3
    silence = np.where(TIME < 1, tone, 0)
    assert faults.level_excess(silence, silence + 1e-5, RATE) < 0.5 and faults.level_excess(silence, tone, RATE) > 20


def test_pauses_are_found():
    samples = 0.2 * np.sin(2 * np.pi * 300 * TIME) * (np.abs(TIME - 1.5) > 0.4) + 1e-4 * np.sin(2 * np.pi * 1000 * TIME)
    (first, end), = faults.pauses(samples, RATE)
    assert abs(first - 1.1 * RATE) < 400 and abs(end - 1.9 * RATE) < 400
    assert not faults.pauses(np.zeros(RATE), RATE)


def test_as_metrics():
    sound = voice(2.0)
    assert scores.LevelExcess().measure(sound, sound) == pytest.approx(0, abs=0.1)
    assert scores.Periodicity().measure(sound, sound) > 0.5
    with pytest.raises(Unmeasurable, match="no pauses"):
        scores.PauseLines().measure(Sound(sound.samples + np.float32(0.1), RATE), sound)


class Changed:
    """A codec that does one thing to a sound."""

    label, settings = "changed", (1.0, 2.0)

    def __init__(self, change):
        self.change = change

    def describe(self, setting):
        return f"{setting:g}"

    def encode(self, sound, setting):
        return sound

    def decode(self, sound):
        return Sound(self.change(sound.samples.astype(np.float64)).astype(np.float32), sound.rate)


def values(change, rate=RATE):
    found = {p.key: p for p in probes.probed([Changed(change)], rate)}
    assert all(list(p.values) == [("changed", "1"), ("changed", "2")] for p in found.values())
    return {key: p.values["changed", "1"] for key, p in found.items()}, {key: p.original for key, p in found.items()}


def test_probes_of_what_is_kept_softened_and_smeared():
    kept, original = values(lambda x: x)
    assert {key: kept[key] for key, value in original.items() if value is not None} == pytest.approx(
        {key: value for key, value in original.items() if value is not None}, abs=0.02)
    zero = [key for key, value in original.items() if value is None]
    assert len(zero) == 9 and all(abs(kept[key]) < 0.01 for key in zero) and kept["pre-echo"] < -50 and kept["noise-lines"] < 5
    softer, _ = values(lambda x: x / 2)
    assert all(softer[key] == pytest.approx(-6.02, abs=0.1) for key in zero) and softer["pre-echo"] < -50
    smeared, _ = values(lambda x: x + 0.1 * np.roll(x, -120, 0))
    assert smeared["pre-echo"] == pytest.approx(-20, abs=1)
    low, _ = values(lambda x: faults.band(x[:, 0], RATE, 50, 3000)[:, None])
    assert abs(low["beep-2000"]) < 0.1 and low["beep-3400"] < -40 and abs(low["dtmf"]) < 0.1
    assert "beep-7000" not in values(lambda x: x, 8000)[0]
