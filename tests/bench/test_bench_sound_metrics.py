"""Metrics of sound against values that follow from their definitions, and codecs of sound."""

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("soxr", reason="needs the extra 'benchmark-sound'")
from sound_samples import voice

from vqcodec.sound import scores as metrics
from vqcodec.bench.codecs import CodecSpec
from vqcodec.bench.metrics import Unmeasurable
from vqcodec.sound.peers import conformed
from vqcodec.sound.bench import SoundSource
from vqcodec.errors import InputError
from vqcodec.sound.file import Sound


def noise(rate=16000, seconds=1.0, channels=1, seed=1) -> Sound:
    samples = np.random.default_rng(seed).normal(0, 0.1, (round(seconds * rate), channels))
    return Sound(samples.astype(np.float32), rate)


def worse(sound: Sound, level: float) -> Sound:
    """With white noise of this part of its power."""
    added = np.random.default_rng(9).normal(0, np.std(sound.samples) * math.sqrt(level), sound.samples.shape)
    return Sound((sound.samples + added).astype(np.float32), sound.rate)


def opened(name):
    pytest.importorskip("av", reason="needs the extra 'benchmark-sound'")
    return CodecSpec(name, medium="sound").open()


def test_si_sdr_is_that_of_the_noise_added_at_any_scale():
    sound = noise(seconds=20)
    assert metrics.SiSdr().measure(sound, worse(sound, 0.01)) == pytest.approx(20, abs=0.1)
    scaled = Sound(np.float32(0.25) * sound.samples + np.float32(0.1), sound.rate)
    assert metrics.SiSdr().measure(sound, scaled) > 100
    assert metrics.SiSdr().measure(sound, sound) == math.inf
    assert metrics.SiSdr().measure(sound, Sound(0 * sound.samples, sound.rate)) == -100


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (48000, 1)])
def test_log_mel_distance_of_a_gain_is_the_gain(rate, channels):
    sound = noise(rate, channels=channels)
    assert metrics.LogMel().measure(sound, sound) == 0
    half = Sound(sound.samples / 2, rate)
    assert metrics.LogMel().measure(sound, half) == pytest.approx(6.0206, abs=1e-3)
    assert metrics.LogMel().measure(sound, Sound(sound.samples * 0, rate)) == pytest.approx(60, abs=3)  # to the floor


def test_log_mel_distance_does_not_depend_on_blocks(monkeypatch):
    sound = noise(seconds=3)
    whole = metrics.LogMel().measure(sound, worse(sound, 0.5))
    monkeypatch.setattr(metrics, "_BLOCK", 5000)
    assert metrics.LogMel().measure(sound, worse(sound, 0.5)) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_mel_filters_reach_every_band(rate):
    for size in (64, 1024, 4096):
        filters = metrics._mel_filters(size, 64, rate)
        assert filters.shape[1] == size // 2 + 1 and (filters.sum(1) > 0).all() and filters.max() <= 1
        assert np.array_equal(filters.argmax(1), np.sort(filters.argmax(1)))


@pytest.mark.parametrize(("key", "best", "package"), [
    ("pesq", 4.64, "pesq"), ("stoi", 1, "pystoi"), ("estoi", 1, "pystoi"), ("visqol-speech", 4.7, "visqol"),
    ("visqol-speech-exp", 5, "visqol"), ("visqol-audio", 4.73, "visqol")])
def test_perceptual_metrics_fall_with_noise(key, best, package):
    pytest.importorskip(package, reason="needs the extra 'benchmark-perceptual' or 'benchmark-sound'")
    metric = metrics.METRICS[key]()
    try:
        metric.load()
    except InputError as error:
        pytest.skip(str(error))
    sound = voice(2.0)
    values = [metric.measure(sound, sound), *(metric.measure(sound, worse(sound, level)) for level in (0.01, 0.5))]
    assert values[0] == pytest.approx(best, abs=0.1) and values == sorted(values, reverse=True)
    assert values[0] > values[2] + 0.05


def test_channels_are_averaged_and_silent_ones_left_out():
    left, right = voice(1.5), worse(voice(1.5), 0.2)
    reference = Sound(np.concatenate([left.samples] * 2, 1), left.rate)
    decoded = Sound(np.concatenate([left.samples, right.samples], 1), left.rate)
    one = metrics.LogMel().measure(left, right)
    assert metrics.LogMel().measure(reference, decoded) == pytest.approx(one / 2)
    half_silent = Sound(reference.samples * np.float32([0, 1]), left.rate)
    assert metrics.LogMel().measure(half_silent, decoded) == pytest.approx(one)


def test_what_cannot_be_compared_is_said():
    sound = noise()
    for other in (noise(8000), noise(seconds=2), noise(channels=2)):
        with pytest.raises(ValueError, match="cannot be compared"):
            metrics.SiSdr().measure(sound, other)
    silence = Sound(np.zeros((16000, 1), np.float32), 16000)
    for metric in (metrics.LogMel(), metrics.SiSdr()):
        with pytest.raises(Unmeasurable, match="silence"):
            metric.measure(silence, sound)
    with pytest.raises(Unmeasurable, match="not numbers"):
        metrics.SiSdr().measure(sound, Sound(np.full((16000, 1), np.nan, np.float32), 16000))


def test_stoi_needs_some_speech():
    pytest.importorskip("pystoi", reason="needs the extra 'benchmark-sound'")
    click = np.zeros((16000, 1), np.float32)
    click[8000:8100] = 0.5
    with pytest.raises(Unmeasurable, match=r"less than 0\.4 s"):
        metrics.Stoi().measure(Sound(click, 16000), Sound(click, 16000))


def test_refusals():
    def source(rate, seconds, silent=False):
        return SoundSource("a", "a", "a", rate, 1, round(rate * seconds), silent)

    assert "at least 1 s" in metrics.VisqolSpeech().refusal(source(16000, 0.9))
    assert "16000 Hz" in metrics.Pesq().refusal(source(8000, 3))
    assert "silence" in metrics.LogMel().refusal(source(8000, 3, True))
    assert metrics.Pesq().refusal(source(16000, 3)) is None


def test_parts_are_nearly_equal_and_cover_all():
    assert metrics.parts(10, 20) == [(0, 10)] and metrics.parts(20, 20) == [(0, 20)]
    found = metrics.parts(65, 20)
    assert found[0][0] == 0 and found[-1][1] == 65 and all(a[1] == b[0] for a, b in itertools.pairwise(found))
    assert len(found) == 4 and {b - a for a, b in found} <= {16, 17}


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (11025, 1), (16000, 1), (16000, 2), (44100, 2), (48000, 1)])
def test_opus_gives_back_the_same_samples_in_time(rate, channels):
    codec, sound = opened("opus"), voice(1.0, rate, channels)
    data = codec.encode(sound, 64)
    assert data[:4] == b"OggS" and data == codec.encode(sound, 64)
    decoded = conformed(codec.decode(data), sound)
    assert decoded.samples.shape == sound.samples.shape and decoded.rate == rate
    best = max(range(-40, 41), key=lambda lag: float(np.sum(np.roll(decoded.samples, lag, 0) * sound.samples)))
    assert abs(best) <= 1
    assert metrics.SiSdr().measure(sound, decoded) > 8


@pytest.mark.parametrize("name", ["opus", "opus-packets", "opus-voip"])
def test_opus_covers_a_range_that_rises(name):
    codec, sound = opened(name), voice(2.0)
    found = [codec.encode(sound, setting) for setting in codec.settings[::3]]
    sizes = [codec.size(data) for data in found]
    assert sizes == sorted(sizes) and sizes[-1] > 3 * sizes[0]
    distances = [metrics.LogMel().measure(sound, conformed(codec.decode(data), sound)) for data in found]
    assert distances == sorted(distances, reverse=True)
    assert codec.settings == tuple(sorted(codec.settings)) and codec.fine == tuple(sorted(codec.fine))


def test_opus_container_costs_what_is_said():
    file, packets, sound = opened("opus"), opened("opus-packets"), voice(3.0)
    data = file.encode(sound, 12)
    assert data == packets.encode(sound, 12) and file.size(data) == len(data)
    frames = math.ceil((3.0 + 0.0065) / 0.06)  # with what the encoder looks ahead
    assert len(data) - packets.size(data) == 97 + 27 + frames


def test_opus_refuses_more_than_two_channels():
    with pytest.raises(InputError, match="one or two channels"):
        opened("opus").encode(noise(channels=3), 12)


def test_another_sound_is_not_taken_for_the_decoded_one():
    sound = noise(44100)
    assert conformed(noise(48000), sound).samples.shape == sound.samples.shape
    for other in (noise(44100, 1.1), noise(44100, channels=2)):
        with pytest.raises(ValueError, match="is decoded as"):
            conformed(other, sound)
