"""Groups by several processes: the same bytes, the same frames, whatever is guessed."""

from __future__ import annotations

import io
import json
import os
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np
import pytest
from click.testing import CliRunner

from video.clips import clip, moving
from vqcodec.cli import main
from vqcodec.errors import CorruptStreamError, InputError
from vqcodec.fileio import Source
from vqcodec.video import stream, workers
from vqcodec.video.codec import VideoCodec
from vqcodec.video.file import VideoReader
from vqcodec.zoo import registry


@pytest.fixture(scope="module")
def codec(tiny_video_dir):
    return VideoCodec.open(registry.find_by_name("tinyvideo", tiny_video_dir, "video"), encoder=True)


class Here:
    """Does what it is given at once, in this process."""

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def here(codec, monkeypatch):
    @contextmanager
    def pool(entry, count, *, encoder):
        yield Here()

    monkeypatch.setattr(workers, "pool", pool)
    monkeypatch.setattr(workers, "_codec", codec)


PICTURES = np.concatenate([moving(7, 56, 72), 255 - moving(6, 56, 72, seed=5)[:, ::-1], moving(5, 56, 72, seed=2)])


def encoded(codec, count, pictures=PICTURES) -> bytes:
    parts: list[bytes] = []
    reader = VideoReader(Source.of_bytes(clip(pictures)))
    codec.encode_stream(reader, parts.append, 2.5, effort=0, key_distance=4, workers=count)
    return b"".join(parts)


@pytest.fixture(scope="module")
def data(codec):
    return encoded(codec, 1)


@pytest.mark.parametrize("cuts", [None, set(), {2, 3, 7, 11, 13, 17}, set(range(1, 18))])
def test_bytes_are_the_same_whatever_is_guessed(codec, here, data, monkeypatch, cuts):
    if cuts is not None:
        monkeypatch.setattr(workers.Likely, "add", lambda self, number, rgb: self.cuts.update({number} & cuts))
    assert encoded(codec, 2) == encoded(codec, 3) == data


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_short_clips(codec, here, count):
    assert encoded(codec, 2, PICTURES[:count]) == encoded(codec, 1, PICTURES[:count])


def test_cuts_are_guessed():
    likely = workers.Likely()
    for number, rgb in enumerate(PICTURES):
        likely.add(number, rgb)
    assert likely.cuts == {7, 13}
    assert (likely.after(0, 4), likely.after(4, 4), likely.after(7, 4), likely.after(11, 4)) == (4, 7, 11, 13)
    likely.forget(9)
    assert likely.cuts == {13}


def shown(clip_, ahead=None):
    return [(frame.time, frame.duration, frame.rgb) for frame in clip_.frames(ahead)]


@pytest.mark.parametrize("part", [{}, {"start": 0.2, "duration": 0.3}, {"start": 0.6}])
def test_frames_are_the_same(codec, here, data, part):
    one = shown(codec.decode_stream(io.BytesIO(data), **part))
    clip_ = codec.decode_stream(io.BytesIO(data), **part)
    with workers.decoded_ahead(clip_, 2) as ahead:
        two = shown(clip_, ahead)
    assert len(one) == len(two) > 2
    assert all(a[:2] == b[:2] and (a[2] == b[2]).all() for a, b in zip(one, two))


def test_damage_is_the_same(codec, here, data):
    file, sealed = io.BytesIO(data), stream.peek(data)[1]
    file.seek(sealed.end)
    second = [s for s in stream.SegmentsOf(file, sealed.checksum) if s.kind == stream.GROUP][1]
    broken = bytearray(data)
    broken[second.start + second.size - 5] ^= 1
    found = []
    for conceal in (False, True):
        clips = [codec.decode_stream(io.BytesIO(bytes(broken)), conceal=conceal) for _ in range(2)]
        with workers.decoded_ahead(clips[1], 2) as ahead:
            if not conceal:
                with pytest.raises(CorruptStreamError):
                    shown(clips[1], ahead)
                continue
            found = [shown(clips[0]), shown(clips[1], ahead)]
        assert clips[0].lost == clips[1].lost and clips[0].lost
    assert len(found[0]) == len(found[1]) and all(a[:2] == b[:2] and (a[2] == b[2]).all() for a, b in zip(*found))


@pytest.mark.slow
def test_by_processes(tiny_video_dir, tmp_path):
    (tmp_path / "a.mkv").write_bytes(clip(np.concatenate([moving(30, 48, 64), 255 - moving(30, 48, 64, seed=3), moving(30, 48, 64)])))
    outputs = []
    for count in (1, 2):
        run = CliRunner().invoke(main, ["encode", str(tmp_path / "a.mkv"), str(tmp_path / f"{count}.vq"), "--effort", "1", "--workers",
                                        str(count), "--json", "--models-dir", str(tiny_video_dir)])
        assert run.exit_code == 0 and json.loads(run.stdout)["frames"] == 90, run.output
        run = CliRunner().invoke(main, ["decode", str(tmp_path / "1.vq"), str(tmp_path / f"{count}.mkv"), "--workers", str(count),
                                        "--models-dir", str(tiny_video_dir)])
        assert run.exit_code == 0, run.output
        frames = list(VideoReader(Source.open(str(tmp_path / f"{count}.mkv"))).frames())
        outputs.append(((tmp_path / f"{count}.vq").read_bytes(), np.stack([frame.rgb for frame in frames]).tobytes()))
    assert outputs[0] == outputs[1]


def dies(*_):
    os._exit(1)


def test_a_process_that_dies_is_an_error(tiny_video_dir, data, monkeypatch):
    codec = VideoCodec.open(registry.find_by_name("tinyvideo", tiny_video_dir, "video"), encoder=False)
    monkeypatch.setattr(workers, "_decode", dies)
    clip_ = codec.decode_stream(io.BytesIO(data))
    with pytest.raises(InputError, match="has died"), workers.decoded_ahead(clip_, 2) as ahead:
        shown(clip_, ahead)
