"""How many channels a file says it has, without libsndfile."""

from __future__ import annotations

import pytest
import soundfile
from sound_bytes import encoded, id3

from vqcodec.sound.formats.heads import BYTES, USUAL, channels_of


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG"])
@pytest.mark.parametrize("channels", [1, 5])
def test_channels(kind, channels):
    data = encoded(kind, seconds=0.05, channels=channels)
    assert channels_of(data[:BYTES]) == channels
    assert channels_of(id3() + data) == channels or kind != "FLAC"


def test_opus_and_others():
    if soundfile.check_format("OGG", "OPUS"):
        assert channels_of(encoded("OGG", "OPUS", seconds=0.1, channels=2)) == 2
    assert channels_of(encoded("MP3", seconds=0.1)) == USUAL


@pytest.mark.parametrize("data", [b"", b"text", b"RIFF", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_sound(data):
    assert channels_of(data) == 0


def test_heads_that_are_cut():
    for kind in ("WAV", "AIFF", "AU", "CAF", "FLAC", "OGG", "W64"):
        data = encoded(kind, seconds=0.05, channels=5)
        assert all(channels_of(data[:end]) in (0, 5, USUAL) for end in range(120))
