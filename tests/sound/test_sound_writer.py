"""What is written: tags, loudspeakers, and files that their format cannot hold."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from conftest import synthetic_sound
from sound_bytes import encoded, made_by_av, replaced

from vqcodec.errors import InputError, UnsupportedError
from vqcodec.metadata import Metadata
from vqcodec.sound.formats import writer
from vqcodec.sound.file import (
    HEAD,
    Sound,
    SoundReader,
    SoundWriter,
    looks_like_sound,
    read_sound,
    read_tags,
    write_sound,
)

TAGS = (("title", "Grüße 日本"), ("artist", "Ärtist €"), ("album", "Albüm"), ("date", "2024-05-06"), ("tracknumber", "3"),
        ("genre", "Jazz und Blüs"), ("comment", "Zeile 1\nZeile 2"), ("copyright", "© wir"), ("license", "CC-BY"),
        ("software", "Söft 2"))


@pytest.mark.parametrize("name, lost", [
    ("a.wav", {"license"}), ("a.rf64", {"license"}), ("a.caf", set()), ("a.flac", set()), ("a.ogg", set()), ("a.opus", set()),
    ("a.mp3", {"license"}), ("a.aiff", {"album", "date", "tracknumber", "genre", "license", "copyright", "software"}),
    ("a.w64", {name for name, _ in TAGS}), ("a.au", {name for name, _ in TAGS})])
def test_tags_come_back(name, lost, tmp_path):
    sound = Sound(synthetic_sound(48000, 1, 48000), 48000)
    data = write_sound(sound, name, tags=TAGS)
    (tmp_path / name).write_bytes(data)
    os.utime(tmp_path / name, ns=(1, 1234567890_123456789))
    metadata = read_tags(tmp_path / name)
    assert metadata.tags == tuple(tag for tag in TAGS if tag[0] not in lost)
    assert metadata.modified == os.stat(tmp_path / name).st_mtime_ns
    assert read_tags(data) == Metadata(tags=metadata.tags)
    assert SoundReader.open(data).metadata == (Metadata(tags=metadata.tags) if metadata.tags else None)
    assert len(read_sound(data).samples) == 48000 and looks_like_sound(data[:HEAD])
    if name == "a.mp3":
        np.testing.assert_array_equal(read_sound(data).samples, read_sound(write_sound(sound, name)).samples)
    assert read_tags(write_sound(sound, name)).tags == ()


def test_odd_tags():
    sound = Sound(synthetic_sound(480, 1, 48000), 48000)
    odd = (("TITLE", "one"), ("title", "two"), ("title", "one"), ("artist", "  "), ("comment", "x" * 20000), ("album", "a\0b\ud800"),
           ("rating", "5"), ("year", "1999"))
    for name in ("a.wav", "a.flac", "a.mp3", "a.ogg", "a.caf"):
        assert read_tags(write_sound(sound, name, tags=odd)).tags == (("title", "one; two"), ("album", "a b?"), ("date", "1999"))
        long = (("comment", "ü" * 16000), ("title", "ö" * 16000))
        data = write_sound(sound, name, tags=long)
        assert len(read_sound(data).samples) == 480
        assert set(read_tags(data).tags) <= set(long)
    assert read_tags(b"no sound at all").tags == ()


def test_tags_of_others():
    latin = write_sound(Sound(synthetic_sound(480), 48000), "a.wav", tags=(("title", "Gruesse"),))
    assert dict(read_tags(latin.replace(b"Gruesse", b"Gr\xfc\xdfe \x80")).tags)["title"] == "Grüße €"  # Windows
    cut = encoded("WAV")
    assert read_tags(replaced(cut, 40, bytes(4))[:-100]).tags == ()


@pytest.mark.parametrize("channels, mask", [(3, 0x7), (4, 0x33), (5, 0x37), (6, 0x3F), (7, 0x70F), (8, 0x63F)])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("name, as_path", [("a.wav", False), ("a.rf64", False), ("a.wav", True)])
def test_wav_tells_its_loudspeakers(name, as_path, subtype, channels, mask, tmp_path):
    sound = Sound(synthetic_sound(300, channels, 48000), 48000)
    if as_path:
        with SoundWriter(tmp_path / name, name, 48000, channels, subtype, tags=TAGS) as writer:
            writer.write(sound.samples)
        data = (tmp_path / name).read_bytes()
    else:
        data = write_sound(sound, name, subtype, tags=TAGS)
    at = data.index(b"fmt ")
    assert int.from_bytes(data[at + 8 : at + 10], "little") == 0xFFFE
    assert int.from_bytes(data[at + 28 : at + 32], "little") == mask
    av = pytest.importorskip("av")
    with av.open(io.BytesIO(data)) as other:
        assert other.streams.audio[0].layout.nb_channels == channels
        if channels == 6:
            assert other.streams.audio[0].layout.name == "5.1"
    np.testing.assert_allclose(read_sound(data).samples, sound.samples, atol=2**-15)


def test_tags_that_pyav_reads():
    pytest.importorskip("av")
    data = made_by_av("ipod", "aac", tags=(("title", "Grüße"), ("artist", "日本"), ("track", "3/9")))
    tags = dict(read_tags(data).tags)
    assert (tags["title"], tags["artist"], tags["tracknumber"]) == ("Grüße", "日本", "3/9")


def test_one_and_two_channels_are_plain_wav():
    for channels in (1, 2, 9):
        data = write_sound(Sound(synthetic_sound(300, channels, 48000), 48000), "a.wav")
        assert data[20:22] == b"\1\0"


def test_files_beyond_their_format(monkeypatch):
    limit = 10000
    monkeypatch.setattr(writer, "LIMITS", dict.fromkeys(writer.LIMITS, limit))
    samples = synthetic_sound(limit // 4 + 1, 2, 48000)

    def write(name, length, subtype=None, count=len(samples)):
        file = io.BytesIO()
        with SoundWriter(file, name, 48000, 2, subtype, length=length) as out:
            out.write(samples[:count])
        return file.getvalue()

    assert write("a.wav", limit // 4, count=limit // 4)[:4] == b"RIFF" == write("a.wav", None, count=limit // 4)[:4]
    data = write("a.wav", limit // 4 + 1)
    assert data[:4] == b"RF64" and len(read_sound(data).samples) == len(samples)
    assert write("a.wav", 1251, "DOUBLE", 600)[:4] == b"RF64" == write("a.wav", 3334 // 2 + 1, "PCM_24", 600)[:4]
    for name in ("a.aiff", "a.au", "a.aif"):
        with pytest.raises(UnsupportedError, match=r"no more than 10000 bytes .*\.w64"):
            write(name, limit // 4 + 1)
        with pytest.raises(InputError, match=r"no more than 10000 bytes .*\.w64"):
            write(name, None)
    with pytest.raises(InputError, match=r"\.rf64"):
        write("a.wav", None)
    with pytest.raises(UnsupportedError):
        write("a.wav", 10000, "IMA_ADPCM")
    for name in ("a.w64", "a.rf64", "a.caf", "a.flac"):
        assert len(read_sound(write(name, None)).samples) == len(samples)
