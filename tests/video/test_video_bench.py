"""What clips are compared with, and by what."""

from __future__ import annotations

import numpy as np
import pytest

from video.clips import clip, moving
from vqcodec.bench import comparison
from vqcodec.bench.codecs import CodecSpec
from vqcodec.bench.gallery import Shown
from vqcodec.bench.metrics import Unmeasurable
from vqcodec.errors import InputError
from vqcodec.video.bench import Videos
from vqcodec.video.clip import Clip, Decoded
from vqcodec.video.scores import METRICS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips")
    (path / "a.mkv").write_bytes(clip(moving(12, 62, 75)))
    (path / "b.mkv").write_bytes(clip(moving(1, 62, 75)))
    return path


def test_sources(folder):
    found = comparison.of_folder(folder)
    assert isinstance(found, Videos)
    good, bad = found.find(folder)
    assert [(s.name, s.frames, s.width, s.extent) for s in good] == [("a.mkv", 12, 75, pytest.approx(480))]
    assert bad == [("b.mkv", "a clip of one frame is a picture")] and found.summary(good) == "12 frames, 0.5 s"


@pytest.mark.parametrize("name", ["x264", "x265", "svt-av1"])
def test_peers_code_what_is_better_the_larger_it_is(folder, name):
    kind = Videos()
    original = kind.read(folder / "a.mkv")
    try:
        codec = CodecSpec(name, medium="video").open()
    except InputError as error:
        pytest.skip(str(error))
    sizes, errors = [], []
    for setting in (50, 80):
        data = codec.encode(original, setting)
        decoded = kind.conformed(codec.decode(data), original)
        sizes.append(codec.size(data))
        errors.append(METRICS["psnr"]().measure(original, decoded))
        assert sizes[-1] < len(data) and decoded.frames.shape == original.frames.shape
    assert sizes[0] < sizes[1] and errors[0] < errors[1] and errors[1] > 30
    assert "-g 48" in codec.note and codec.describe(60) == "CRF 40"


def test_frames_by_themselves_and_after_one_another(folder, tiny_video_dir):
    kind = Videos()
    original = kind.read(folder / "a.mkv")
    for name, groups in (("vqcodec", 1), ("vqcodec-pictures", 12)):
        codec = CodecSpec(name, "tinyvideo", str(tiny_video_dir), 0, "video").open()
        from vqcodec.video.inspection import inspect

        data = codec.encode(original, 2.0)
        assert inspect(data).groups == groups and kind.conformed(codec.decode(data), original)


def test_flicker_is_of_still_parts():
    still = np.repeat(moving(1, 64, 64), 4, 0)
    times = np.arange(4) / 25
    noisy = still.astype(int) + np.random.default_rng(0).normal(0, 4, still.shape)
    flicker = METRICS["flicker"]()
    one, other = (Clip(frames.clip(0, 255).astype(np.uint8), times, 0.16) for frames in (still, noisy))
    assert flicker.measure(one, one) == 0 and flicker.measure(one, other) > 1
    with pytest.raises(Unmeasurable, match="nothing stands still"):
        flicker.measure(Clip(np.stack([still[0], 255 - still[0]]), times[:2], 0.08), other)


def test_players_in_the_page(folder):
    original = Videos().read(folder / "a.mkv")
    page = Videos().gallery().article("T", [Shown("a", "line <1>", original)], 1)
    assert page.count("data:video/mp4;base64,") == 1 and "line &lt;1&gt;" in page


def test_pumping_is_what_still_parts_do_at_key_frames():
    still, times = np.repeat(moving(1, 64, 64), 6, 0), np.arange(6) / 25
    pumping, original = METRICS["pumping"](), Clip(still, times, 0.24)
    jumps = still.copy()
    jumps[3:] = np.minimum(jumps[3:].astype(int) + 3, 255)  # frame 3 is a key frame, and three levels brighter
    assert pumping.measure(original, Decoded(jumps, times, 0.24, keys=(0, 3))) == pytest.approx(3, abs=0.1)
    assert pumping.measure(original, Decoded(jumps, times, 0.24, keys=(0, 2))) < 0
    assert pumping.measure(original, Decoded(still, times, 0.24, keys=(0, 3))) == 0
    for keys in ((0,), ()):
        with pytest.raises(Unmeasurable, match="at a key frame"):
            pumping.measure(original, Decoded(jumps, times, 0.24, keys=keys))


def test_codecs_tell_their_key_frames(folder, tiny_video_dir, monkeypatch):
    from vqcodec.video import peers

    monkeypatch.setattr(peers, "KEY_DISTANCE", 5)
    original = Videos().read(folder / "a.mkv")
    codec = CodecSpec("x264", medium="video").open()
    decoded = Videos().conformed(codec.decode(codec.encode(original, 70)), original)
    assert decoded.keys == (0, 5, 10)
    ours = CodecSpec("vqcodec-pictures", "tinyvideo", str(tiny_video_dir), 0, "video").open()
    assert ours.decode(ours.encode(original, 1.0)).keys == tuple(range(12))
