"""What is taken for sound; and what PyAV reads, or would."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from conftest import synthetic_sound
from PIL import Image
from sound_bytes import encoded, id3, made_by_av, samples_of

from vqcodec.errors import InputError, UnsupportedError, UsageError, VqcodecWarning
from vqcodec.sound import file as sound_file
from vqcodec.sound.formats import source
from vqcodec.sound.file import EXTENSIONS, HEAD, Sound, SoundReader, looks_like_sound, read_sound
from vqcodec.sound.formats.writer import FORMATS

av = pytest.importorskip("av")


@pytest.mark.parametrize("kind, subtype, rate", [
    *((kind, None, 48000) for kind in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3", "NIST", "VOC",
                                       "SVX", "AVR", "PAF", "PVF", "IRCAM", "MAT4", "MAT5", "XI", "SDS",
                                       "MPC2K")),
    ("OGG", "OPUS", 48000), ("WVE", None, 8000)])
def test_every_format_of_libsndfile_that_can_be_told_is_sound(kind, subtype, rate):
    data = encoded(kind, subtype, rate=rate, seconds=0.5)
    assert looks_like_sound(data[:HEAD]) and looks_like_sound(data[:HEAD], "x.png")
    assert len(read_sound(data).samples) == rate // 2


@pytest.mark.parametrize("endian, kind", [
    ("BIG", "WAV"), ("LITTLE", "AIFF"), ("LITTLE", "AU"), ("LITTLE", "IRCAM"), ("LITTLE", "PAF"), ("BIG", "IRCAM"), ("BIG", "PAF"),
    ("BIG", "MAT4"), ("LITTLE", "MAT4")])
def test_either_byte_order(endian, kind):
    import soundfile

    file, samples = io.BytesIO(), synthetic_sound(5000)
    soundfile.write(file, samples, 8000, format=kind, endian=endian, subtype="DOUBLE" if kind == "MAT4" else "PCM_16")
    assert looks_like_sound(file.getvalue()[:HEAD])
    np.testing.assert_allclose(read_sound(file.getvalue()).samples, samples, atol=2**-15)
    if kind in ("WAV", "AU", "AIFF"):
        with pytest.warns(VqcodecWarning, match="cut off at 0.5"):
            assert 4000 < len(read_sound(file.getvalue()[:9000]).samples) < 4500


def test_pictures_and_text_are_not_sound():
    picture, others = Image.new("RGB", (8, 8)), []
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "ICO", "TGA", "AVIF", "PCX", "SGI", "JPEG2000", "DDS"):
        file = io.BytesIO()
        picture.save(file, kind)
        others.append(file.getvalue())
    texts = ("Hello, world. " * 9, "<html><body>", "#!/bin/sh\n", "MACHINE", "TTA", "%PDF-1.7", "Привет, мир", "你好世界" * 9)
    others += [text.encode(coding) for text in texts for coding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig")]
    others += [b"\0\0\0\x1cftyp" + brand + bytes(50) for brand in (b"heic", b"avif", b"isom", b"qt  ")]
    others += [b"", b"\xff", b"\xff\xfb", bytes(64), b"\xff" * 64, b"RIFF\0\0\0\0WEBPVP8 ", b"VQ\1\1" + bytes(60)]
    assert [data[:16] for data in others if looks_like_sound(data[:HEAD])] == []


def test_extensions():
    assert {f".{extension}" for extension in FORMATS} <= EXTENSIONS
    assert {".m4a", ".mp2", ".sph", ".voc", ".wma"} <= EXTENSIONS and not EXTENSIONS & {".mp4", ".webm", ".mkv", ".mat", ".png"}


@pytest.mark.parametrize("container, codec, name, length", [
    ("ipod", "aac", "a.m4a", 96000), ("ipod", "alac", "a.m4a", 96000), ("mp4", "aac", "a.m4a", 96000),
    ("adts", "aac", "a.aac", None),
    ("ac3", "ac3", "a.ac3", None), ("eac3", "eac3", "a.eac3", None), ("matroska", "libopus", "a.mka", 96000),
    ("webm", "libopus", "a.webm", 96000), ("matroska", "flac", "a.mka", 96000), ("asf", "wmav2", "a.wma", None),
    ("tta", "tta", "a.tta", 96000), ("wv", "wavpack", "a.wv", 96000), ("wav", "ac3", "a.wav", None)])
def test_what_libsndfile_does_not_read(container, codec, name, length, tmp_path, monkeypatch):
    try:
        data = made_by_av(container, codec)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this FFmpeg does not write {codec}: {error}")
    assert looks_like_sound(data[:HEAD], name)
    (tmp_path / name).write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader = SoundReader.open(tmp_path / name)
    samples = np.concatenate(list(reader.blocks(1000)))
    assert samples.shape == (reader.length, 2) and samples.dtype == np.float32 and reader.rate == 48000
    if length is None:
        assert 94208 <= len(samples) < 96000 + 4096
    else:
        assert len(samples) == length
        original = synthetic_sound(96000, 2, 48000) * 0.5
        assert np.corrcoef(samples[:90000, 0], original[:90000, 0])[0, 1] > 0.9  # no delay
    monkeypatch.setattr(sound_file, "have_av", lambda: False)
    with pytest.raises(InputError, match=r'pip install "\.\[av\]"'):
        SoundReader.open(tmp_path / name)


def test_samples_of_integers_are_scaled():
    original = synthetic_sound(96000, 2, 48000) * 0.5
    for codec in ("flac", "pcm_s16le", "pcm_u8", "pcm_s32le", "pcm_f64le", "pcm_s24le"):
        samples = read_sound(made_by_av("matroska", codec)).samples
        np.testing.assert_allclose(samples, original, atol=1 / 64 if codec == "pcm_u8" else 2**-14)


def test_cut_files_that_pyav_reads():
    data = made_by_av("matroska", "flac")
    with pytest.warns(VqcodecWarning, match=r"cut off at 1\.\d+ s: about 0\.\d+ s are missing"):
        assert 40000 < SoundReader.open(data[: len(data) * 2 // 3]).length < 70000
    with pytest.raises(InputError, match="cut off"):
        SoundReader.open(data[: len(data) * 2 // 3], strict=True)
    data = made_by_av("adts", "aac")
    with pytest.warns(VqcodecWarning, match="damaged, 1.3.. s could be read"):
        SoundReader.open(data[: len(data) * 2 // 3])
    with pytest.raises(InputError, match="not a sound file, or damaged"):
        read_sound(made_by_av("ipod", "aac")[:20000])  # the index is at its end


def test_video_is_not_sound():
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        output.mux(stream.encode(None))
    with pytest.raises(InputError, match="it holds video"):
        SoundReader.open(file.getvalue())


def test_playlists_are_not_followed(tmp_path):
    (tmp_path / "secret.wav").write_bytes(encoded("WAV"))
    for text in (f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n",
                 f"ffconcat version 1.0\nfile {tmp_path}/secret.wav\n"):
        for before in (b"", id3(), b"ID3"):
            with pytest.raises(InputError):
                read_sound(before + text.encode())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_pipes_are_read_once(tmp_path, monkeypatch):
    path, data = tmp_path / "fifo", encoded("WAV")
    os.mkfifo(path)
    for spool in (1 << 30, 1000):
        monkeypatch.setattr(source, "SPOOL", spool)
        thread = threading.Thread(target=path.write_bytes, args=(data,))
        thread.start()
        reader = SoundReader.open(path)
        thread.join()
        for _ in range(2):
            np.testing.assert_array_equal(np.concatenate(list(reader.blocks())), samples_of(data))
        both = [reader.blocks(100), reader.blocks(100)]
        for _ in range(9):
            one, other = (next(blocks) for blocks in both)
            np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="no /dev/stdin here")
def test_standard_input_and_endless_devices():
    code = ("import sys; from vqcodec.sound.file import SoundReader, read_tags; "
            "reader = SoundReader.open('/dev/stdin'); print(reader.length, sum(map(len, reader.blocks())))")
    result = subprocess.run([sys.executable, "-c", code], input=encoded("MP3"), capture_output=True, check=True)
    assert result.stdout.split() == [b"96000", b"96000"]
    with pytest.raises(InputError, match="/dev/zero: not a sound file"):
        SoundReader.open("/dev/zero")


@pytest.mark.parametrize("value, error, words", [
    ((16000, np.zeros(100, np.float32)), UsageError, "swapped"),
    ((np.zeros(100, np.float32), 16000, 1), UsageError, "not 3 things"),
    (np.zeros(100, np.float32), UsageError, "not a ndarray"),
    ((np.zeros(100, np.int16), 16000), UsageError, "must be floats of shape .* not int16 of .*divide"),
    ((np.zeros((1, 2, 3)), 16000), UsageError, "must be floats"),
    ((["a", "b"], 16000), UsageError, "must be floats"),
    (([[1.0], [1.0, 2.0]], 16000), UsageError, "floats of shape"),
    ((np.zeros(100), "16000"), UsageError, "must be an integer in Hz"),
    ((np.zeros(100), 16000.5), UsageError, "must be an integer in Hz"),
    ((np.zeros(100), True), UsageError, "must be an integer in Hz"),
    ((np.zeros(100), None), UsageError, "must be an integer in Hz"),
    ((np.zeros(100), np.zeros(3)), UsageError, "must be an integer in Hz"),
    ((np.zeros(100), 16), UnsupportedError, "Hz are supported"),
    ((np.zeros((2, 4000)), 16000), UnsupportedError, r"4000 channels.*samples are of shape \[N,C\]"),
    ((np.zeros(0), 16000), InputError, "no samples")])
def test_wrong_arguments(value, error, words):
    with pytest.raises(error, match=words):
        SoundReader.of(value)
    if isinstance(value, tuple) and len(value) == 2 and error is not InputError:
        with pytest.raises(error, match=words):
            SoundReader.of(Sound(*value))


def test_right_arguments():
    samples = synthetic_sound(500)[:, 0]
    for value in ((samples, 8000), (samples[:, None], np.int64(8000)), (samples.astype(np.float64), 8000.0),
                  Sound(samples, 8000), (samples.tolist(), 8000)):
        reader = SoundReader.of(value)
        assert (reader.rate, reader.channels, reader.length) == (8000, 1, 500)
        np.testing.assert_array_equal(next(reader.blocks())[:, 0], samples)
