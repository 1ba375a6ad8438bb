"""Gains that follow the signal: bytes, the encoder's choice, and what is heard of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from conftest import synthetic_sound

from vqcodec.errors import CorruptStreamError
from vqcodec.sound import gains, levels
from vqcodec.sound import stream as streams
from vqcodec.sound.codec import AudioCodec
from vqcodec.sound.file import Sound
from vqcodec.sound.highpass import high_passed
from vqcodec.sound.inspection import inspect
from vqcodec.zoo import registry


@pytest.fixture(scope="module")
def codec():
    torch.set_num_threads(1)
    return AudioCodec.open(registry.find_by_name("speech-2", modality="audio"))


# --- bytes -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("channels, frames, spread", [(1, 512, 0), (1, 512, 2), (2, 500, 20), (3, 1, 60), (1, 17, 63)])
def test_gains_come_back(channels, frames, spread):
    rng = np.random.default_rng(frames)
    values = rng.integers(-spread, spread + 1, (channels, len(gains.knots(frames))))
    data = gains.pack(values) + b"rest"
    found, end = gains.unpack(data, channels, frames)
    np.testing.assert_array_equal(found, values)
    assert data[end:] == b"rest" and gains.size(data)[2] == end


def test_gains_that_stay_take_a_byte_and_those_that_move_little():
    values = np.zeros((1, 33), int)
    assert gains.pack(values) == b"\0"
    values[:, 10:] = -9
    assert len(gains.pack(values)) <= 5
    walk = np.cumsum(np.random.default_rng(0).integers(-1, 2, (1, 33)), 1)
    assert 8 * len(gains.pack(walk)) / 10.24 <= 12  # bit/s


@pytest.mark.parametrize("form", range(4))
def test_tables_are_what_the_coder_takes(form):
    row = gains.table(form)
    assert row[0] == 0 and row[-1] == 65536 and len(row) == 129 and (np.diff(row) >= gains.RARE).all()


@pytest.mark.parametrize("data", [b"", b"\1", b"\3", b"\x08\1", b"\x80\x80\x80\x01", b"\x80\0", b"\x0c\0\0\0", b"\x04\xff"])
def test_damaged_gains_are_refused(data):
    with pytest.raises(CorruptStreamError):
        gains.unpack(data, 1, 512)


def test_gains_of_nothing_that_take_a_segment_are_refused():
    row = gains.table(0)
    segment = gains.code_symbols(np.tile([[row[0], row[1]]], (3, 1)))
    with pytest.raises(CorruptStreamError, match="all 0"):
        gains.unpack(bytes([4 * len(segment)]) + segment, 1, 32)


def test_between_knots_gains_are_exponentials():
    found = gains.curve(np.array([[0, 4, 4]]), 20, 10)[:, 0]
    assert found.shape == (200,) and found[79] == pytest.approx(2 ** (0.5 * 15.9 / 16), rel=0.02)
    np.testing.assert_allclose(found[161:], 2, rtol=1e-6)
    np.testing.assert_allclose(np.diff(np.log2(found[:160])), 1 / 160, rtol=1e-2)


# --- what the encoder does -----------------------------------------------------------------------------------

def measured(samples, rate=16000, frames=None, chunk=512):
    frames = frames or -(-len(samples) // (rate // 50))
    meter = levels.Meter(samples.shape[1], levels.positions(frames, chunk), rate / 50)
    for first in range(0, len(samples), 1700):
        meter.add(samples[first : first + 1700])
    return meter.finish()


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100])
def test_levels_are_peaks_of_intervals_but_for_clicks_and_dc(rate):
    time = np.arange(2 * rate) / rate
    samples = 0.25 * np.sin(2 * np.pi * 200 * time)[:, None] + 0.3
    samples[rate // 3] = 2
    found = measured(samples, rate, 100)
    assert found.shape == (1, 7) and np.abs(found + 8).max() < 0.2
    assert measured(np.zeros((50, 2)), rate, 1).tolist() == [[levels.NOTHING]] * 2


@pytest.mark.parametrize("chunk", [16, 24, 64, 512])
def test_knots_of_all_chunks(chunk):
    found = levels.positions(100, chunk)
    plan = levels.Plan(found, found[None])
    begins = [*range(0, 100, chunk), 100]
    for begin, end in zip(begins, begins[1:]):
        assert plan.of_chunk(begin, end)[0].tolist() == (begin + gains.knots(end - begin)).tolist()


def test_gains_move_only_where_they_must():
    steady = np.tile(np.float32([[-4, -6, -9, -5]]), 10)
    assert not levels.followed(steady, 0, 1).any()
    assert set(levels.followed(steady - 20, 0, 1)[0]) == {-20}
    falls = np.concatenate([steady, steady - 16], 1)
    found = levels.followed(falls, 0, 1)[0]
    assert found[0] == 0 and found[-1] == -16 and len(set(found)) == 2 and not found[:40].any()
    rises = levels.followed(falls[:, ::-1], 0, 1)[0]
    assert rises[0] <= -16 and (rises[38:] >= -1).all()  # down in time for what is loud


def test_silence_is_not_raised_and_pauses_by_30_db_at_most():
    found = levels.followed(np.float32([[-4] * 20 + [levels.NOTHING] * 20, [levels.NOTHING] * 40]), 0, 1)
    assert found[0].min() == -20 and not found[1].any()


def test_channels_that_are_coded_together_have_one_gain_unless_one_is_much_softer():
    first = np.float32([-4] * 10 + [-14] * 10)
    pair = levels.followed(np.stack([first, first[::-1]]), 0, 2)
    assert (pair[0] == pair[1]).all()
    apart = levels.followed(np.stack([first, first - 20]), 0, 2)
    assert (apart[0] == 0).any() and apart[1].max() == -20


def test_what_comes_back_too_loud_is_lowered_and_what_is_far_too_soft_raised():
    original = np.full((1, 66), 0.01)
    for decibels, expected in ((11, -11), (0, 0), (0.5, 0), (-10, 10)):
        decoded = original * 10 ** (decibels / 10)
        change = levels.fitted(np.zeros((1, 5), int), decoded, original, 1, 64)[0] * 20 * np.log10(2) / 4
        assert (change <= max(0, expected) + 0.1).all() and (change + decibels < 1).all(), decibels
        assert np.abs(change - expected).max() < 2.1, decibels
    silence = original * (np.arange(66) < 34)  # which is as loud as before when decoded, at its end
    change = levels.fitted(np.zeros((1, 5), int), original * (1 - 0.9 * (np.arange(66) >= 34)), silence, 1, 64)[0]
    assert change[0] == change[1] == 0 and change[-1] < -20


@pytest.mark.parametrize("size", [1000, 1 << 16])
def test_what_is_below_hearing_goes_and_nothing_else(size):
    time = np.arange(48000) / 16000
    tone = 0.2 * np.sin(2 * np.pi * 80 * time)[:, None]
    for low, left in ((np.full_like(tone, 0.3), 1e-6), (0.3 * np.sin(2 * np.pi * 4 * time)[:, None], 0.01)):
        mixed = np.float32(tone + low)
        found = np.concatenate(list(high_passed((mixed[i : i + size] for i in range(0, 48000, size)), 16000)))
        assert found.shape == mixed.shape and found.dtype == np.float32
        assert np.abs(found - tone)[400:-400].max() < 0.02 * 0.2 + left
        np.testing.assert_array_equal(found, np.concatenate(list(high_passed([mixed], 16000))))
    assert not np.concatenate(list(high_passed([np.full((7, 2), 0.5, np.float32)], 16000))).round(6).any()


# --- what is heard of it -----------------------------------------------------------------------------------

def decibels(samples) -> float:
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-14)


def test_a_bump_before_quiet_sound_changes_nothing_of_it(codec):
    quiet = synthetic_sound(32000, 1, 16000) * np.float32(0.1)
    bump = np.zeros((8000, 1), np.float32)
    bump[4000:4003] = 0.95
    alone, after = (codec.encode(Sound(x, 16000), 4).data for x in (quiet, np.concatenate([bump, quiet])))
    codes = codec.decode_grids(alone), codec.decode_grids(after)[:, :, 25:]
    assert (codes[0] == codes[1]).mean() > 0.3  # gains may differ by a step
    assert np.abs(inspect(after).kbps / inspect(alone).kbps - 1) < 0.3


def test_a_channel_that_is_30_db_lower_is_coded_as_well(codec):
    sound = synthetic_sound(32000, 1, 16000)
    data = codec.encode(Sound(np.concatenate([sound, sound * np.float32(0.0316)], 1), 16000), 4).data
    grids = codec.decode_grids(data)
    assert (grids[:, 0] == grids[:, 1]).mean() > 0.7
    back = codec.decode(data).samples
    assert decibels(back[:, 0]) - decibels(back[:, 1]) == pytest.approx(30, abs=1.5)


def test_dc_goes_and_loud_tones_are_tamed(codec):
    sound = synthetic_sound(16000, 1, 16000)
    level = decibels(codec.decode(codec.encode(Sound(sound + np.float32(0.3), 16000), 4).data).samples)
    assert level == pytest.approx(decibels(sound), abs=1.5)
    time = np.arange(16000) / 16000
    tones = np.float32(0.25) * np.float32(np.sin(2 * np.pi * 697 * time) + np.sin(2 * np.pi * 1209 * time))[:, None]
    back = codec.decode(codec.encode(Sound(tones, 16000), 4).data).samples
    assert decibels(back) - decibels(tones) < 1 and np.abs(back).max() < 1.2


def test_silence_stays_silent(codec):
    sound = synthetic_sound(48000, 1, 16000)
    sound[16000:] = 0
    back = codec.decode(codec.encode(Sound(sound, 16000), 4).data).samples
    assert decibels(back[24000:40000]) < -80


def test_a_lost_chunk_fades_at_the_gains_of_its_neighbours(codec):
    sound = synthetic_sound(3 * 512 * 320, 1, 16000) * np.float32(0.01)
    sound[100:103] = 0.9
    data = bytearray(codec.encode(Sound(sound, 16000), 2).data)
    at, file = [], io.BytesIO(bytes(data))
    reader = streams.ChunkReader(file, 3, streams.seed_of(*streams.read_header(file)))
    at = [reader.read(i) for i in range(3)]
    data[at[1].position + 40] ^= 1
    stream = codec.decode_stream(io.BytesIO(bytes(data)), conceal=True)
    samples = np.concatenate(list(stream.blocks()))
    assert len(stream.lost) == 1 and np.abs(samples[163840 : 2 * 163840]).max() < 0.02
    data[at[1].position + 40] ^= 1
    data[at[1].position] ^= 1  # of its gains
    with pytest.raises(CorruptStreamError):
        codec.decode(bytes(data))
