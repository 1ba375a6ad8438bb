"""What commands say of how far they are, with -v."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from conftest import synthetic_picture, synthetic_sound
from PIL import Image

from vqcodec import cli


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_audio_dir):
    monkeypatch.setenv("VQCODEC_MODELS_DIR", str(tiny_audio_dir))
    monkeypatch.chdir(tmp_path)
    Image.fromarray(synthetic_picture(70, 90)).save("in.png")
    soundfile.write("in.wav", np.asarray(synthetic_sound(9000)), 8000)
    return lambda arguments: CliRunner().invoke(cli.main, arguments.split())


def test_pictures(run):
    said = run("encode in.png a.vq -v").stderr
    assert "in.png: search, step 1 of 8\n" in said and "in.png: coding, band 1 of 1\n" in said
    said = run("encode in.png b.vq -v --bpp 0.5").stderr
    assert "in.png: estimating quality 2\n" in said and " bpp\n" in said and ": search, step 8 of 8\n" in said
    assert "a.vq: pixels, strip 1 of 1\n" in run("decode a.vq a.png -v").stderr


def test_sound(run):
    said = run("encode in.wav a.vq -v").stderr
    assert "in.wav: 100%, " in said and " times real time\n" in said
    said = run("encode in.wav b.vq -v --kbps 6").stderr
    assert "in.wav: trying quality " in said and " kbps\n" in said
    assert "a.vq: 100%, " in run("decode a.vq a.wav -v").stderr


def test_nothing_is_said_where_it_is_no_terminal(run):
    assert "step" not in run("encode in.png a.vq").stderr
