"""Sound files and resampling: what is read and written comes back, in blocks of any size."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from conftest import synthetic_sound

from vqcodec.errors import InputError, UnsupportedError, UsageError
from vqcodec.sound.file import (
    Sound,
    SoundReader,
    format_for,
    looks_like_sound,
    read_sound,
    resample,
    resampled,
    write_sound,
)

NAMES = ["a.wav", "a.flac", "a.ogg", "a.aiff", "a.au", "a.caf", "a.w64", "a.rf64"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [8, 48001])
def test_files_come_back(name, count):
    sound = Sound(synthetic_sound(count, 2, 48000), 48000)
    data = write_sound(sound, name)
    assert looks_like_sound(data[:16])
    back = read_sound(data)
    assert back.rate == 48000 and back.samples.shape == (count, 2) and back.samples.dtype == np.float32
    if name != "a.ogg":
        np.testing.assert_allclose(back.samples, sound.samples, atol=2**-15)


@pytest.mark.parametrize("name", ["a.mp3", "a.opus"])
def test_lossy_files_are_read_with_exact_lengths(name):
    try:
        data = write_sound(Sound(synthetic_sound(30000, 1, 48000), 48000), name)
    except UsageError:
        pytest.skip("this libsndfile does not write it")
    reader = SoundReader.open(data)
    assert reader.length == sum(len(block) for block in reader.blocks(1000)) >= 30000
    assert looks_like_sound(data[:16])


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_subtypes(subtype):
    sound = Sound(synthetic_sound(500), 8000)
    data = write_sound(sound, "a.wav", subtype)
    assert soundfile.info(io.BytesIO(data)).subtype == subtype
    np.testing.assert_allclose(read_sound(data).samples, sound.samples, atol=2**-6 if subtype == "PCM_U8" else 2**-15)


def test_integers_are_clipped_and_floats_are_not():
    sound = Sound(np.array([[2.0], [-3.0], [0.5]], np.float32), 8000)
    np.testing.assert_allclose(read_sound(write_sound(sound, "a.wav")).samples[:, 0], [1, -1, 0.5], atol=1e-4)
    np.testing.assert_array_equal(read_sound(write_sound(sound, "a.wav", "FLOAT")).samples, sound.samples)


@pytest.mark.parametrize("data", [b"x", b"RIFF\4\0\0\0WAVE", b"fLaC" + bytes(60), b"OggS" + bytes(60), b"\xff\xfb" + bytes(60)])
def test_what_is_no_sound(data):
    with pytest.raises(InputError, match="not a sound file|no samples|damaged"):
        read_sound(data)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "empty.wav").touch()
    for path, words in ((tmp_path / "empty.wav", "empty"), (tmp_path, "cannot read"), (tmp_path / "no.wav", "cannot read")):
        with pytest.raises(InputError, match=words):
            read_sound(path)
    with pytest.raises(InputError, match="no samples"):
        read_sound(write_sound(Sound(np.zeros((0, 1), np.float32), 8000), "a.wav"))
    cut = write_sound(Sound(synthetic_sound(9000), 8000), "a.flac")[:-3000]
    with pytest.raises(InputError, match="cut off at 0.512 s"):
        read_sound(cut, strict=True)


def test_formats_and_limits():
    assert format_for("x.WAV") == "WAV" and format_for("a.b.oga") == "OGG"
    with pytest.raises(UsageError, match="known: wav"):
        format_for("x.txt")
    with pytest.raises(UsageError, match="cannot hold VORBIS"):
        write_sound(Sound(np.zeros((10, 1), np.float32), 8000), "a.wav", "VORBIS")
    with pytest.raises(UnsupportedError):
        write_sound(Sound(np.zeros((10, 9), np.float32), 48000), "a.flac")
    with pytest.raises(UnsupportedError, match="Hz are supported"):
        SoundReader.of(Sound(np.zeros((10, 1), np.float32), 10))
    with pytest.raises(UnsupportedError, match="channels"):
        SoundReader.of(Sound(np.zeros((10, 256), np.float32), 8000))
    with pytest.raises(InputError, match=r"not a number, at 1\.000 s"):
        list(SoundReader.of(Sound(np.where(np.arange(9000) == 8000, np.inf, 0)[:, None], 8000)).blocks())


@pytest.mark.parametrize("rate, other", [(44100, 16000), (16000, 44100), (8000, 16000), (48000, 16000), (11025, 16000)])
def test_resampling_does_not_depend_on_blocks(rate, other):
    samples = synthetic_sound(3000, 2, rate)
    length = -(-len(samples) * other // rate)
    whole = np.concatenate(list(resampled([samples], rate, other, length)))
    assert whole.shape == (length, 2)
    for size in (1, 7, 1000):
        blocks = (samples[i : i + size] for i in range(0, len(samples), size))
        np.testing.assert_array_equal(np.concatenate(list(resampled(blocks, rate, other, length))), whole)


def test_resampling_has_no_delay_and_keeps_levels():
    t = np.arange(44100) / 44100
    samples = (np.sin(2 * np.pi * 1000 * t) * np.hanning(44100))[:, None].astype(np.float32)
    there = resample(Sound(samples, 44100), 16000)
    assert len(there.samples) == 16000
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000) * np.interp(np.arange(16000) / 16000, t, np.hanning(44100))
    np.testing.assert_allclose(there.samples[:, 0], expected, atol=1e-4)
    np.testing.assert_allclose(resample(there, 44100).samples, samples, atol=1e-4)
    assert np.concatenate(list(resampled([samples], 44100, 44100, 50000))).shape == (50000, 1)


def test_looks_like_sound():
    assert not any(looks_like_sound(data) for data in (b"", b"\x89PNG\r\n\x1a\n" + bytes(8), b"\xff\xd8\xff\xe0" + bytes(12),
                                                       b"RIFF\0\0\0\0WEBPVP8 ", b"VQ\1\1" + bytes(12), b"GIF89a" + bytes(10)))


def test_no_torch_is_imported():
    code = "import sys, vqcodec.sound.file, vqcodec.sound.stream; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
