"""Where recordings end: joined, chained, cut and damaged files, and headers that tell no length or a wrong one."""

from __future__ import annotations

import re
import struct
import warnings

import numpy as np
import pytest
from sound_bytes import encoded, id3, replaced, samples_of, wav_of, with_flac_length

from vqcodec.errors import InputError, VqcodecWarning
from vqcodec.sound.formats import mpeg
from vqcodec.sound.file import SoundReader, read_sound
from vqcodec.sound.formats.source import Window
from vqcodec.sound.formats.survey import survey

PLAIN = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "SVX", "NIST", "AVR"]
CODED = [("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]


def quietly(data) -> np.ndarray:
    """Samples of a file that must give no warning, of the length that its reader tells."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader = SoundReader.open(data)
    samples = np.concatenate(list(reader.blocks(1000)))
    assert len(samples) == reader.length and reader.notes == ()
    return samples


def noted(data, words: str) -> tuple[np.ndarray, str]:
    """Samples of a file that must give one warning, and an error where strict."""
    with pytest.warns(VqcodecWarning, match=words) as seen:
        reader = SoundReader.open(data, "it")
    assert len(seen) == 1 and str(seen[0].message) == f"it: {reader.notes[0]}"
    with pytest.raises(InputError, match=words):
        SoundReader.open(data, "it", strict=True)
    samples = np.concatenate(list(reader.blocks()))
    assert len(samples) == reader.length
    return samples, reader.notes[0]


@pytest.mark.parametrize("kind, subtype", [*((kind, None) for kind in PLAIN), *CODED, ("VOC", None), ("PAF", None),
                                           ("PVF", None), ("IRCAM", None), ("MAT4", None), ("MAT5", None), ("XI", None),
                                           ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("CAF", "ALAC_16"), ("SDS", None)])
def test_whole_files_give_no_warning(kind, subtype):
    data = encoded(kind, subtype, rate=8000 if subtype == "GSM610" else 48000)
    np.testing.assert_array_equal(quietly(data), samples_of(data))


@pytest.mark.parametrize("after", [bytes(3000), b"TAG" + b"x" * 125, b"\0" * 128 + b"TAG" + bytes(125),
                                   b"value of a tag.." + b"APETAGEX" + struct.pack("<IIII", 2000, 48, 1, 0) + bytes(8)])
@pytest.mark.parametrize("kind", ["MP3", "FLAC", "WAV"])
def test_tags_and_zeros_after_a_file_are_nothing_to_warn_of(kind, after):
    data = encoded(kind)
    np.testing.assert_array_equal(quietly(data + after), samples_of(data))


@pytest.mark.parametrize("kind", PLAIN)
def test_cut_files_of_samples(kind):
    data = encoded(kind)
    samples, note = noted(data[: len(data) * 2 // 3], "cut off at")
    whole = samples_of(data)
    assert 60000 < len(samples) < 64100
    np.testing.assert_array_equal(samples, whole[: len(samples)])
    at, missing = map(float, re.findall(r"[\d.]+(?= s)", note))
    assert at == pytest.approx(len(samples) / 48000, abs=1e-3) and missing == pytest.approx(2 - at, abs=2e-3)


@pytest.mark.parametrize("kind, subtype", CODED)
def test_cut_coded_files(kind, subtype):
    data = encoded(kind, subtype, seconds=4)
    samples, note = noted(data[: len(data) * 2 // 3], "cut off at")
    whole = samples_of(data)
    assert 1.5 < len(samples) / 48000 < 3.2
    np.testing.assert_allclose(samples[:-4000], whole[: len(samples) - 4000], atol=1e-6)
    seconds = list(map(float, re.findall(r"[\d.]+(?= s)", note)))
    assert seconds[0] == pytest.approx(len(samples) / 48000, abs=1e-3)
    if kind in ("FLAC", "MP3"):  # Ogg does not tell
        assert seconds[1] == pytest.approx(4 - seconds[0], abs=0.06)


def test_flac_is_decoded_up_to_its_last_whole_frame():
    data = encoded("FLAC")
    for cut in (1, 500, 3000, 40000):
        samples, _ = noted(data[:-cut], "cut off at")
        assert len(samples) % 4096 == 0 and 96000 - len(samples) >= 1792
        np.testing.assert_array_equal(samples, samples_of(data)[: len(samples)])
    assert len(noted(data[:-1], "about 0.037 s are missing")[0]) == 94208  # 23 frames of 4096; the last has 1792


@pytest.mark.parametrize("kind, subtype", CODED[1:] + [("FLAC", None), ("WAV", None), ("AIFF", None), ("AU", None), ("CAF", None)])
def test_recordings_in_a_row_are_one(kind, subtype):
    first, second = (encoded(kind, subtype, seed=seed) for seed in (1, 2))
    np.testing.assert_array_equal(quietly(first + second), np.concatenate([samples_of(first), samples_of(second)]))
    assert len(quietly(first + second + first)) == 3 * 96000


@pytest.mark.parametrize("kind, subtype", CODED[1:2] + CODED[3:] + [("FLAC", None), ("WAV", None)])
def test_another_rate_is_left_out(kind, subtype):
    first, second = encoded(kind, subtype), encoded(kind, subtype, rate=24000, seconds=1)
    samples, _ = noted(first + second, "what follows 2.000 s is left out: 1.000 s of 1 channel at 24000 Hz, not 1 channel at 48000")
    np.testing.assert_array_equal(samples, samples_of(first))


@pytest.mark.parametrize("kind", ["OGG", "MP3"])
def test_other_channels_are_left_out_and_the_end_of_the_second_is_looked_at(kind):
    first, second = encoded(kind), encoded(kind, channels=2)
    assert len(noted(first + second, "2.000 s of 2 channels")[0]) == 96000
    data = first + encoded(kind)
    samples, note = noted(data[: len(data) * 5 // 6], "cut off at")
    assert 2 < float(note.split()[3]) == pytest.approx(len(samples) / 48000, abs=1e-3)


def test_mp3_with_tags_and_zeros_between():
    first, second = encoded("MP3", seed=1), encoded("MP3", seed=2)
    whole = np.concatenate([samples_of(first), samples_of(second)])
    for between in (id3(), b"TAG" + bytes(125), bytes(5000), b"TAG" + bytes(125) + id3(999)):
        np.testing.assert_array_equal(quietly(first + between + second), whole)
    samples, _ = noted(first + b"garbage " * 2000 + second, "16000 bytes that are no sound are left out")
    np.testing.assert_array_equal(samples, whole)


def test_mp3_without_a_first_frame_of_counts():
    """libsndfile would take the size of the first frame for that of all, and stop early."""
    data = encoded("MP3")
    size = mpeg.frame(data[:4]).size
    assert data[21:25] == b"Xing" and len({data[at + 2] >> 4 for at in range(size, len(data) - 4)
                                           if mpeg.frame(data[at : at + 4])}) > 1
    plain = data[size:]
    frames = 85  # of 1152 samples; 529 is the delay of the decoder
    samples = quietly(plain)
    assert len(samples) == frames * 1152 - 529 and len(samples_of(plain)) < 40000
    np.testing.assert_allclose(samples[576:][:96000], samples_of(data), atol=1e-6)  # 576: the encoder's delay
    assert len(quietly(plain + plain)) == 2 * frames * 1152 - 529
    assert len(quietly(id3() + plain)) == len(samples)
    samples, note = noted(plain[:-20], "cut off at 2.")
    assert len(samples) == (frames - 1) * 1152 - 529 and "missing" not in note


def test_mp3_in_wav():
    data = encoded("MP3", rate=44100)
    np.testing.assert_array_equal(quietly(wav_of(data, 0x55, 44100)), samples_of(data))
    assert len(quietly(wav_of(data + data, 0x55, 44100))) == 2 * len(samples_of(data))
    noted(wav_of(data, 0x55, 44100)[:-5000], "cut off at")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0xFFFFFFDB])
@pytest.mark.parametrize("outer", [0, 36, 0xFFFFFFFF, None])
def test_wav_whose_size_was_never_written(size, outer):
    data = encoded("WAV", channels=2)
    broken = replaced(data, data.index(b"data") + 4, struct.pack("<I", size))
    broken = broken if outer is None else replaced(broken, 4, struct.pack("<I", outer))
    np.testing.assert_array_equal(quietly(broken), samples_of(data))
    np.testing.assert_array_equal(quietly(broken[:-1]), samples_of(data)[:-1])


def test_other_headers_that_tell_no_size():
    for kind, mark, at, size, nothing in (("AU", b".snd", 8, 4, (0, 2**32 - 1)), ("AIFF", b"SSND", 4, 4, (0, 2**32 - 1)),
                                          ("CAF", b"data", 4, 8, (2**64 - 1,))):
        data = encoded(kind)
        for value in nothing:
            broken = replaced(data, data.index(mark) + at, value.to_bytes(size, "big"))
            np.testing.assert_array_equal(quietly(broken), samples_of(data))


def test_a_wav_without_samples_is_what_it_says():
    data = encoded("WAV", seconds=0) + b"LIST\4\0\0\0INFO"
    with pytest.raises(InputError, match="no samples"):
        SoundReader.open(data)


def test_wav_of_more_than_4_gib(tmp_path):
    """Its header read only: sizes that overflowed, and samples that no 32-bit size can tell."""
    head = encoded("WAV", seconds=0)
    size = (1 << 32) + 1000
    for written in (0, size % (1 << 32)):
        path = tmp_path / f"{written}.wav"
        outer = (len(head) - 8 + size) % (1 << 32) if written else 0
        path.write_bytes(replaced(replaced(head, 40, struct.pack("<I", written)), 4, struct.pack("<I", outer)))
        with open(path, "r+b") as file:
            file.truncate(len(head) + size)
        with open(path, "rb") as file:
            found = survey(Window(file, len(head) + size))
        assert not found.junk and [part.cut for part in found.parts] == [False]
        assert found.parts[0].pieces[0][:4] == b"RF64" and found.parts[0].pieces[-1] == (len(head), len(head) + size)
        reader = SoundReader.open(path)
        assert reader.length == size // 2 and len(next(reader.blocks())) == 65536


@pytest.mark.parametrize("frames", [0, 1000, 2**36 - 1, 96001])
def test_flac_that_tells_another_length(frames):
    data = encoded("FLAC")
    broken = with_flac_length(data, frames)
    if frames > 96000:
        samples, _ = noted(broken, "cut off at 2.000 s: about ")
    else:
        samples = quietly(broken)
    np.testing.assert_array_equal(samples, samples_of(data))


def test_flac_of_unknown_length_that_is_cut():
    data = with_flac_length(encoded("FLAC"), 0)
    assert len(noted(data[:-2000], "cut off at 1.963 s$")[0]) == 94208


@pytest.mark.parametrize("kind", ["FLAC", "WAV", "AIFF", "OGG", "MP3"])
def test_id3_before_a_file(kind):
    data = encoded(kind)
    np.testing.assert_array_equal(quietly(id3() + data), samples_of(data))
    np.testing.assert_array_equal(quietly(id3(1000) + id3() + data), samples_of(data))


def test_damage_within_flac():
    data = encoded("FLAC", seconds=4)
    half = len(data) // 2
    samples, note = noted(replaced(data, half, bytes(20000)), "damaged at 1.")
    assert len(samples) % 4096 == 0 and 80000 < len(samples) < 100000
    np.testing.assert_array_equal(samples, samples_of(data)[: len(samples)])


def test_bytes_after_the_end_that_are_no_sound():
    data = encoded("WAV")
    noted(data + b"rubbish!" * 1000, "8000 bytes that are no sound are left out")


def test_read_sound_is_strict_where_asked():
    data = encoded("WAV")[:-1000]
    with pytest.raises(InputError, match="cut off"):
        read_sound(data, strict=True)
    with pytest.warns(VqcodecWarning):
        assert len(read_sound(data).samples) == 96000 - 500


def test_resource_forks_beside_a_file_are_not_looked_at(tmp_path):
    (tmp_path / "a.mp3").write_bytes(encoded("MP3"))
    (tmp_path / "._a.mp3").write_bytes(b"\0\5\x16\7\0\2\0\0" + bytes(100))
    assert len(quietly(tmp_path / "a.mp3")) == 96000


@pytest.mark.parametrize("data", [b"RIFF\0\0\0\0WAVE" + bytes(1 << 20), b"FORM\0\0\0\0AIFF" + bytes(1 << 20),
                                  b"caff\0\1\0\0" + bytes(1 << 20), b"\xff" * (1 << 20), b"ID3\4\0\0\0\0\0\0" + b"\xff" * (1 << 20),
                                  b"fLaC\0\0\0\x22" + b"\xff\xf8" * (1 << 19), b"OggS" * (1 << 18),
                                  b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\4\xc1\0\0" + b"\xff" * 4096])
def test_nonsense_takes_no_time(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError):
            read_sound(data)
