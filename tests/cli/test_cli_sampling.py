"""sample, continue and fill: files and streams, names, what is refused, the same of any number of threads."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from conftest import synthetic_picture, synthetic_sound
from PIL import Image

import vqcodec
from vqcodec import cli


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_audio_dir):
    """Runs the command line within tmp_path, with the tiny models alone."""
    monkeypatch.setenv("VQCODEC_MODELS_DIR", str(tiny_audio_dir))
    monkeypatch.chdir(tmp_path)

    def invoke(arguments, input=None):
        return CliRunner().invoke(cli.main, arguments.split(), input=input)

    return invoke


def ok(result):
    assert result.exit_code == 0, result.output
    return result


def refused(result, code, words):
    assert result.exit_code == code and words in result.stderr and result.stderr.count("\n") == 1, result.output


def test_items_are_numbered_files(run, tmp_path):
    told = json.loads(ok(run("sample tiny out/x.png --count 2 --item 9 --size 40x24 --seed 5 --json".replace("out/", ""))).stdout)
    assert [item["output"] for item in told["files"]] == ["x-09.png", "x-10.png"]
    assert [(item["seed"], item["item"], item["model"], item["width"]) for item in told["files"]] == [(5, 9, "tiny", 40), (5, 10, "tiny", 40)]
    with Image.open(tmp_path / "x-10.png") as image:
        assert image.size == (40, 24)
    ok(run("sample tiny y.png --item 10 --size 40x24 --seed 5"))
    assert (tmp_path / "y.png").read_bytes() == (tmp_path / "x-10.png").read_bytes()


def test_streams_and_standard_output(run, tmp_path):
    result = ok(run("sample tiny a.vq --size 40x24 -q 3 --temperature 0.5"))
    assert result.stderr.startswith("a.vq: ") and " bytes, " in result.stderr
    ok(run("verify a.vq"))
    piped = ok(run("sample tiny - --size 40x24 -q 3 --temperature 0.5 --format vq"))
    assert piped.stdout_bytes == (tmp_path / "a.vq").read_bytes()
    shown = ok(run("sample tiny - --size 40x24"))
    assert Image.open(io.BytesIO(shown.stdout_bytes)).format == "PNG"
    ok(run("sample tinysound b.flac --seconds 0.3 --subtype PCM_24"))
    assert soundfile.info(tmp_path / "b.flac").subtype == "PCM_24" and soundfile.info(tmp_path / "b.flac").frames == 2400


def test_continue_and_fill_of_files_and_streams(run, tmp_path):
    Image.fromarray(synthetic_picture(64, 48)).save(tmp_path / "in.png")
    soundfile.write(tmp_path / "in.wav", np.asarray(synthetic_sound(4000)), 8000)
    ok(run("encode in.png in.vq -q 2 --quiet"))
    told = json.loads(ok(run("continue in.vq more.vq --rows 16 --seed 3 --json")).stdout)
    assert (told["height"], told["input"], told["seed"]) == (80, "in.vq", 3)
    ok(run("continue in.png more.png --rows 16 --seed 3 -q 2"))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "more.png")),
                          np.asarray(vqcodec.decode(tmp_path / "more.vq").convert("RGB")))
    ok(run("fill in.vq filled.png --box 0,0,16,16"))
    ok(run("continue in.wav more.wav --seconds 0.25 --model tinysound"))
    assert soundfile.info(tmp_path / "more.wav").frames == 6000
    ok(run("fill in.wav filled.wav --span 0.1,0.2"))
    assert soundfile.info(tmp_path / "filled.wav").frames == 4000
    piped = ok(run("continue - - --rows 16 --seed 3 --format vq", input=(tmp_path / "in.vq").read_bytes()))
    assert piped.stdout_bytes == (tmp_path / "more.vq").read_bytes()


def test_what_is_refused(run, tmp_path):
    ok(run("sample tiny a.vq --size 32x32"))
    ok(run("sample tinysound s.vq --seconds 0.1"))
    before = sorted(os.listdir(tmp_path))
    for arguments, code, words in (
            ("sample nobody x.png", 4, "not installed"),
            ("sample tiny a.vq", 1, "exists"),
            ("sample tiny x.png --size 32", 2, "--size is WxH"),
            ("sample tiny x.png --size 32,32", 2, "not WxH"),
            ("sample tiny x.png --seconds 2", 2, "--seconds is not for images; give --size (WxH)"),
            ("sample tiny x.png -q 9", 2, "quality must be between 1 and 3"),
            ("sample tiny x.png --temperature 1000", 2, "temperature must be"),
            ("sample tiny x.png --seed -1", 2, "--seed"),
            ("sample tiny x.png --label cat", 2, "no label 'cat'"),
            ("sample tiny x.xyz", 2, "xyz"),
            ("sample tiny x.vq --subtype PCM_24", 2, "--subtype"),
            ("sample tiny - --count 2", 2, "--count"),
            ("sample tiny x.png --size 999x999 --limit-pixels 1000", 4, "--limit-pixels"),
            ("continue a.vq x.png", 2, "give --rows (N)"),
            ("continue a.vq x.png --seconds 1", 2, "--seconds is not for images"),
            ("continue a.vq x.png --rows 4 -q 2", 2, "is a .vq file"),
            ("continue a.vq a.vq --rows 4 -f", 2, "same file"),
            ("continue missing.vq x.png --rows 4", 1, "missing.vq"),
            ("fill a.vq x.png --box 1,2,3", 2, "--box is X,Y,W,H"),
            ("fill a.vq x.png --box 30,30,9,9", 2, "not within 32x32"),
            ("fill s.vq x.wav --box 0,0,1,1", 2, "--box is not for sound; give --span (START,END)"),
            ("fill s.vq x.wav --span 0,7", 2, "not within 0.1 seconds")):
        refused(run(arguments), code, words)
    (tmp_path / "cut.vq").write_bytes((tmp_path / "a.vq").read_bytes()[:-1])
    refused(run("continue cut.vq x.png --rows 4"), 3, "cut.vq: ")
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "cut.vq"])


def test_the_number_of_threads_changes_nothing(tiny_audio_dir):
    found = set()
    for threads in ("1", "3"):
        environment = {**os.environ, "VQCODEC_MODELS_DIR": str(tiny_audio_dir), "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", "import sys, vqcodec; sys.stdout.buffer.write(vqcodec.sample('tiny', seed=1, size=(320, 320)))"]
        found.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(found) == 1 and len(found.pop()) > 100
