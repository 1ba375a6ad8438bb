"""Clips by the commands, with their sound."""

from __future__ import annotations

import io
import json

import av
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import synthetic_sound

import vqcodec
from video.clips import clip, moving
from vqcodec.cli import main
from vqcodec.video.clip import Clip
from vqcodec.video.sound_track import is_speech
from vqcodec.sound.file import Sound, SoundReader


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "clip.mkv"
    path.write_bytes(clip(moving(8, 48, 64), [0, 40, 80, 120, 200, 240, 280, 320], sound=synthetic_sound(6400, rate=16000)[:, 0],
                          tags={"title": "Test"}))
    return path


def run(*args, code=0):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


def streams_of(path):
    with av.open(str(path)) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = [frame for frame in container.decode(audio=0)] if container.streams.audio else []
    samples = sum(frame.samples for frame in sound)
    return times, samples / sound[0].sample_rate if sound else 0.0


def test_there_and_back(source, tiny_video_dir, tmp_path):
    models, out = ("--models-dir", tiny_video_dir), tmp_path / "a.vq"
    facts = json.loads(run("encode", source, out, "-q", 2, "--effort", 0, "--verify", "--json", *models).stdout)
    assert (facts["frames"], facts["width"], facts["model"]) == (8, 64, "tinyvideo")
    shown = json.loads(run("inspect", out, "--segments", "--bits", tmp_path / "bits.png", "--json", *models).stdout)
    assert (shown["sound"], shown["frames"], len(shown["group_bytes"]), shown["metadata"]["title"]) == ("coded", 8, 1, "Test")
    assert "8 frames in 1 groups" in run("inspect", out, *models).output
    assert run("verify", out, *models).output.strip().endswith("ok")
    for name in ("b.mp4", "b.mkv"):
        run("decode", out, tmp_path / name, *models)
        times, seconds = streams_of(tmp_path / name)
        assert times == pytest.approx([0, .04, .08, .12, .2, .24, .28, .32], abs=1e-3) and seconds == pytest.approx(0.4, abs=0.08)


def test_a_part_with_its_sound_copied_or_without(source, tiny_video_dir, tmp_path):
    models, out = ("--models-dir", tiny_video_dir), tmp_path / "a.vq"
    run("encode", source, out, "--effort", 0, "--audio", "copy", "--start", 0.08, "--duration", 0.2, *models)
    found = vqcodec.inspect(out)
    assert (found.frames, found.sound) == (4, "copied")
    run("decode", out, tmp_path / "b.mkv", *models)
    times, seconds = streams_of(tmp_path / "b.mkv")
    assert times == pytest.approx([0, .04, .12, .16], abs=1e-3) and 0 < seconds < 0.45
    run("encode", source, out, "-f", "--effort", 0, "--audio", "none", *models)
    assert vqcodec.inspect(out).sound == "none"


def test_targets(source, tiny_video_dir, tmp_path):
    out = tmp_path / "a.vq"
    run("encode", source, out, "--effort", 0, "--audio", "none", "--size", 1500, "--models-dir", tiny_video_dir)
    assert out.stat().st_size <= 1500 or vqcodec.inspect(out).quality == 1
    assert "psnr is for images" in run("encode", source, tmp_path / "b.vq", "--psnr", 30, "--models-dir", tiny_video_dir, code=2).output


def test_damage_of_the_only_group_is_an_error(source, tiny_video_dir, tmp_path):
    out = tmp_path / "a.vq"
    run("encode", source, out, "--effort", 0, "--audio", "none", "--models-dir", tiny_video_dir)
    data = bytearray(out.read_bytes())
    data[len(data) // 2] ^= 1
    out.write_bytes(data)
    run("decode", out, tmp_path / "b.mkv", "--models-dir", tiny_video_dir, code=3)
    assert not (tmp_path / "b.mkv").exists()


def test_batches(source, tiny_video_dir, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "c.mkv").write_bytes(source.read_bytes())
    made = json.loads(run("batch", "encode", tmp_path / "in", tmp_path / "coded", "--audio", "none", "--effort", 0, "--jobs", 0,
                          "--json", "--models-dir", tiny_video_dir).stdout)
    assert made["done"] == 1
    run("batch", "decode", tmp_path / "coded", tmp_path / "out", "--jobs", 0, "--models-dir", tiny_video_dir)
    assert len(streams_of(tmp_path / "out" / "deep" / "c.mp4")[0]) == 8


def test_clips_of_python(tiny_video_dir):
    frames, times = moving(4, 32, 48), np.array([0, 0.04, 0.1, 0.14])
    data = vqcodec.encode(Clip(frames, times, 0.2), quality=2, effort=0, models_dir=tiny_video_dir)
    back = vqcodec.decode(data, models_dir=tiny_video_dir)
    assert back.frames.shape == frames.shape and back.times == pytest.approx(times, abs=1e-4) and back.end == pytest.approx(0.2)
    grids = vqcodec.tokens(data, models_dir=tiny_video_dir)
    assert grids.shape[0] == 4
    assert vqcodec.from_tokens(grids, vqcodec.inspect(data), models_dir=tiny_video_dir) == data
    with pytest.raises(vqcodec.InputError, match="times of a clip must rise"):
        vqcodec.encode(Clip(frames, times[::-1], 0.2), models_dir=tiny_video_dir)


def test_speech_is_told_from_music_by_its_pauses():
    t = np.arange(64000) / 16000
    spoken = np.sin(900 * t) * (np.sin(2 * np.pi * 2 * t) > 0.3)
    played = np.sin(900 * t) * (1 + 0.2 * np.sin(2 * np.pi * 2 * t))
    assert [is_speech(SoundReader.of(Sound(s.astype(np.float32)[:, None], 16000))) for s in (spoken, played)] == [True, False]


def test_a_file_that_is_cut_off_is_coded_as_far_as_it_goes(source, tiny_video_dir, tmp_path):
    whole = clip(moving(30, 48, 64))
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    run("encode", tmp_path / "cut.mkv", tmp_path / "a.vq", "--effort", 0, "--models-dir", tiny_video_dir)
    assert 5 < vqcodec.inspect(tmp_path / "a.vq").frames < 30


def test_a_still_gif_is_a_picture(tiny_video_dir):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(moving(1)[0]).save(file, "GIF")
    assert vqcodec.encode(file.getvalue(), models_dir=tiny_video_dir)[3] & 7 == 0
