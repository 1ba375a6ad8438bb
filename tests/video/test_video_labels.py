"""Models of video that are told what is done from frame to frame: training, streams, drawing, continuing."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import make_tiny_model
from safetensors.torch import load_file, save_file
from video.clips import clip, moving

import vqcodec
from vqcodec import CorruptStreamError, InputError, UsageError, cli
from vqcodec.indices.bounds import CDF_BITS
from vqcodec.indices.config import PriorConfig
from vqcodec.indices.drawing import Drawing
from vqcodec.train.run import train
from vqcodec.video import inspection, labels, sampling, stream
from vqcodec.video.clip import Clip, ClipReader
from vqcodec.video.codec import VideoCodec
from vqcodec.video.tokens import encode_tokens
from vqcodec.video.windows import labels_beside
from vqcodec.zoo import registration, registry

CONFIG = """
[model.base]
name = "tiny"
[model.prior]
context_channels = [16, 24]
rank = [4, 6]
near = [3, 3]
past = [3, 3]
phases = [3, 2]
labels = [["left", "right", "up"], ["slow"]]
[training]
steps = 6
batch = 2
rounded_from = 0.3
unlabelled = 0.3
[training.windows]
count = 4
frames = 5
rows = 3
columns = 4
moved = 0.0
"""
LEARNED = PriorConfig(labels=(("left", "right", "up"), ("slow",)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models "tiny", "walk", and "led", the same to whose networks labels say much."""
    folder, data = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("walks")
    make_tiny_model(folder)
    for i in range(2):
        (data / f"{i}.mkv").write_bytes(clip(moving(12, 48, 64, seed=i)))
        (data / f"{i}.actions").write_text("left\nright,slow\n\n" + "up\n" * 8)
    (data / "run.toml").write_text(CONFIG)
    train("video", [data], data / "run.toml", data / "run", export="walk", models_dir=folder)
    tensors = load_file(folder / "walk" / "prior.safetensors")
    generator = torch.Generator().manual_seed(1)
    for name, tensor in tensors.items():
        if "label" in name:
            tensors[name] = (torch.randn(tensor.shape, generator=generator) * 100 * 2**24).to(torch.int64)
        if name.endswith("head.mult"):
            tensors[name] = (tensor.long() * 20).clamp(-(2**31) + 1, 2**31 - 1).int()
    made = tmp_path_factory.mktemp("made") / "led"
    made.mkdir()
    for path in (folder / "walk").iterdir():
        (made / path.name).write_bytes(path.read_bytes())
    save_file(tensors, made / "prior.safetensors")
    registration.register(made, "led", id=60040, status="default", models_dir=folder, modality="video")
    return folder


@pytest.fixture(scope="module", params=(False, True), ids=("numpy", "torch"))
def codec(folder, request):
    return VideoCodec.open(registry.find_by_name("led", folder, "video"), encoder=False, on_torch=request.param)


def drawn(codec, label=None, frames=7, **more) -> bytes:
    return sampling.sample(codec, Drawing(label=label, **more), frames, 2.0, lambda text: None)


def grids_of(codec, data) -> np.ndarray:
    return np.asarray(codec.decode_grids(data))


def test_frequencies():
    for count in (2, 3, 5, 256):
        for before in (0, count - 1):
            found = labels.frequencies(count, before)
            assert found.sum() == 1 << CDF_BITS and found.min() >= 1
            assert found.argmax() == before and found[before] > (1 << CDF_BITS - 1) - 1
            assert len(set(np.delete(found, before))) == 1
    assert labels.bits((1, 0), (1, 1), (4, 2)) == pytest.approx(-np.log2(40960 / 65536) - np.log2(16384 / 65536))


def test_labels_in_words():
    assert labels.of_words(None, LEARNED, 2) == [(0, 0), (0, 0)]
    assert labels.of_words("left*2,up+slow,-", LEARNED, 5) == [(1, 0), (1, 0), (3, 1), (0, 0), (0, 0)]
    assert labels.of_words("left*9999,up", LEARNED, 2) == [(1, 0), (1, 0)]
    assert [labels.in_words(each, LEARNED) for each in ((0, 0), (2, 0), (2, 1))] == ["-", "right", "right+slow"]
    for text, words in (("left*0", "repeated"), ("left*x", "repeated"), ("left*65537", "repeated"), ("down", "no label 'down'"),
                        ("left+right", "give one only"), ("", "no label ''")):
        with pytest.raises(UsageError, match=words):
            labels.of_words(text, LEARNED, 3)


def test_labels_beside_a_clip(tmp_path):
    text = tmp_path / "a.actions"
    text.write_text("left\n\nup,slow\n")
    assert labels_beside(tmp_path / "a.mkv", 4, LEARNED.labels) == [(0, 0), (1, 0), (0, 0), (3, 1)]
    with pytest.raises(InputError, match="3 lines for 5 frames"):
        labels_beside(tmp_path / "a.mkv", 5, LEARNED.labels)
    text.write_text("left\ndown\nup\n")
    with pytest.raises(InputError, match="no label 'down'"):
        labels_beside(tmp_path / "a.mkv", 4, LEARNED.labels)
    with pytest.raises(InputError, match="b.actions"):
        labels_beside(tmp_path / "b.mkv", 4, LEARNED.labels)


def test_configurations_that_cannot_be(folder, tmp_path):
    (tmp_path / "a.mkv").write_bytes(clip(moving(12, 48, 64)))
    for change, words in ((("rank = [4, 6]", "rank = [4, 5]"), "must be that of the base"), (("moved = 0.0", "moved = 0.5"), "have no labels"),
                          (("unlabelled = 0.3", "unlabelled = 1.3"), "shares")):
        (tmp_path / "run.toml").write_text(CONFIG.replace(*change))
        with pytest.raises(UsageError, match=words):
            train("video", [tmp_path], tmp_path / "run.toml", tmp_path / "run", models_dir=folder)


def test_what_is_drawn_hangs_on_labels_and_is_a_stream_like_others(codec):
    plain, led, other = (drawn(codec, label) for label in (None, "left+slow", "right"))
    assert codec.labels(led) == [(0, 0), *[(1, 1)] * 6]
    assert codec.labels(plain) == [(0, 0)] * 7
    assert (grids_of(codec, led)[0] == grids_of(codec, other)[0]).all()  # nothing leads to the first
    assert (grids_of(codec, led)[1] != grids_of(codec, other)[1]).any()
    assert drawn(codec, "left+slow") == led != drawn(codec, "left+slow", item=1)
    assert drawn(codec, "left+slow", temperature=0.0, seed=1) == drawn(codec, "left+slow", temperature=0.0)
    frames = list(codec.decode_stream(io.BytesIO(led)).frames())
    assert len(frames) == 7 and frames[-1].duration == 1 and frames[0].rgb.shape[2] == 3
    header = stream.peek(led)[0]
    assert header.time_base.denominator == sampling.RATE


def test_both_runtimes_draw_and_read_the_same(folder):
    entry = registry.find_by_name("led", folder, "video")
    numpy, torch_codec = (VideoCodec.open(entry, encoder=False, on_torch=on_torch) for on_torch in (False, True))
    for options in ({}, {"temperature": 0.6, "seed": 1 << 60}):
        assert drawn(numpy, "left,up+slow", **options) == (data := drawn(torch_codec, "left,up+slow", **options))
        assert (grids_of(numpy, data) == grids_of(torch_codec, data)).all() and numpy.labels(data) == torch_codec.labels(data)


def test_frames_that_follow_do_not_change_what_is_there(codec):
    data = drawn(codec, "left")
    more = sampling.extend(codec, data, Drawing(label="right*2,up"), 5, lambda text: None)
    grids = grids_of(codec, more)
    assert (grids[:7] == grids_of(codec, data)).all() and len(grids) == 12
    assert codec.labels(more) == [(0, 0), *[(1, 0)] * 6, (2, 0), (2, 0), *[(3, 0)] * 3]
    seen = inspection.inspect(more)
    assert seen.times == tuple(range(12)) and seen.end == 12
    # Frame by frame is the same as all at once, since random numbers hang on the number of a frame.
    steps = data
    for label in ("right", "right", "up", "up", "up"):
        steps = sampling.extend(codec, steps, Drawing(label=label), 1, lambda text: None)
    assert steps == more
    whole = drawn(codec, "left*6,right*2,up", frames=12)
    assert whole == more


def test_full_groups_and_groups_before_the_last(codec, monkeypatch):
    monkeypatch.setattr(sampling, "MAX_FRAMES", 4)
    data = drawn(codec, "left", frames=9)
    assert inspection.inspect(data).keys == (0, 4, 8)
    assert codec.labels(data) == [(0, 0), *[(1, 0)] * 3] * 2 + [(0, 0)]  # a group begins with a frame that nothing leads to
    more = sampling.extend(codec, data, Drawing(label="up"), 4, lambda text: None)
    assert inspection.inspect(more).keys == (0, 4, 8, 12)
    assert (grids_of(codec, more)[:9] == grids_of(codec, data)).all()


def test_tokens_there_and_back(codec):
    data = drawn(codec, "left+slow")
    grids = grids_of(codec, data)
    again = encode_tokens(codec, grids, inspection.inspect(data), None)
    assert (grids_of(codec, again) == grids).all() and len(again) <= len(data)
    assert codec.labels(again)[0] == (0, 0)


def test_encoders_find_labels(folder):
    codec = VideoCodec.open(registry.find_by_name("led", folder, "video"), encoder=True)
    asked = [(0, 0), (1, 1), (2, 0), (3, 0), (1, 0), (2, 1)]
    grids = torch.from_numpy(codec.decode_grids(drawn(codec, "left+slow,right,up,left,right+slow", frames=6)))
    right = 0
    for number in range(1, 6):
        held = asked[number - 1]
        slices, payload, best = codec.code_frame(grids[number], grids[number - 1], 16, None, held)
        right += best[0] == asked[number][0]
        for other in itertools.product(*map(range, codec.coder.prior.labels)):
            assert len(payload) <= len(codec.code_frame(grids[number], grids[number - 1], 16, other, held)[1]) + 1
        assert codec.read_frame(payload, slices, grids[number - 1], grids.shape[2:], 16, held=held)[1] == best
    assert right >= 4  # of 5, by chance 1 or 2


@pytest.mark.parametrize("effort", (0, 1))
def test_a_clip_is_coded_with_the_labels_it_is_smallest_with(folder, effort):
    codec = VideoCodec.open(registry.find_by_name("led", folder, "video"), encoder=True)
    frames = np.stack([frame.rgb for frame in codec.decode_stream(io.BytesIO(drawn(codec, "left,right", frames=4))).frames()])
    parts = []
    codec.encode_stream(ClipReader(Clip(frames, np.arange(4) / 10, 0.4), 0.0, None), parts.append, 2.0, effort=effort)
    grids, found = codec.decode_grids(b"".join(parts)), codec.labels(b"".join(parts))
    assert len(grids) == len(found) == 4
    keys = inspection.inspect(b"".join(parts)).keys
    assert all(label == (0, 0) for number, label in enumerate(found) if number in keys)


def test_damaged_labels_are_noticed(codec):
    data = bytearray(drawn(codec, "left+slow"))
    segment = next(iter(stream.SegmentsOf(open_at_groups(data), stream.peek(bytes(data))[1].checksum)))
    start = segment.start + segment.size - len(segment.payload)
    first = stream.unpack_group(segment).lengths[0]
    for bit in range(8):
        broken = bytes(data[: start + first]) + bytes([data[start + first] ^ 1 << bit]) + bytes(data[start + first + 1 :])
        with pytest.raises(CorruptStreamError):
            codec.decode_grids(broken)


def open_at_groups(data):
    file = io.BytesIO(bytes(data))
    file.seek(stream.peek(bytes(data))[1].end)
    return file


def test_a_model_without_labels_continues_too(tiny_video_dir):
    codec = VideoCodec.open(registry.find_by_name("tinyvideo", tiny_video_dir, "video"), encoder=False)
    data = sampling.sample(codec, Drawing(), 3, 1.0, lambda text: None)
    more = sampling.extend(codec, data, Drawing(temperature=0.5), 2, lambda text: None)
    assert len(codec.decode_grids(more)) == 5 and codec.labels(more) == [()] * 5
    with pytest.raises(UsageError, match="the model has none"):
        sampling.extend(codec, data, Drawing(label="left"), 2, lambda text: None)
    with pytest.raises(UsageError, match="65536 are the most"):
        sampling.extend(codec, data, Drawing(), 1 << 16, lambda text: None)


def test_sound_and_metadata_stay(tiny_video_dir):
    codec = VideoCodec.open(registry.find_by_name("tinyvideo", tiny_video_dir, "video"), encoder=False)
    sound = np.sin(np.arange(6400) / 9).astype(np.float32) / 4
    data = vqcodec.encode(clip(moving(5), sound=sound, tags={"title": "A walk"}), quality=1, model="tinyvideo",
                          models_dir=tiny_video_dir, effort=0)
    more = vqcodec.extend(data, frames=3, models_dir=tiny_video_dir)
    old, new = inspection.inspect(data), inspection.inspect(more)
    assert (new.frames, new.sound_bytes, new.metadata_bytes) == (8, old.sound_bytes, old.metadata_bytes) and old.sound_bytes
    assert new.times[5:] == tuple(old.end + i * (old.end - old.times[-1]) for i in range(3))
    codec_frames = codec.decode_grids(more)
    assert (codec_frames[:5] == codec.decode_grids(data)).all()


def test_commands(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("VQCODEC_MODELS_DIR", str(folder))
    monkeypatch.chdir(tmp_path)

    def run(arguments, code=0):
        result = CliRunner().invoke(cli.main, arguments.split())
        assert result.exit_code == code and (not code or result.stderr.count("\n") == 1), result.output
        return result

    told = json.loads(run("sample led a.vq --frames 4 --label left,up+slow --json").stdout)
    assert (told["frames"], told["model"]) == (4, "led")
    run("verify a.vq")
    assert json.loads(run("inspect a.vq --segments --json").stdout)["labels"] == ["-", "left", "up+slow", "up+slow"]
    assert "labels     -,left,up+slow*2" in run("inspect a.vq --segments").stdout
    run("continue a.vq b.mkv --frames 2 --label right --temperature 0")
    assert len(vqcodec.decode(vqcodec.extend((tmp_path / "a.vq").read_bytes(), frames=2, models_dir=folder)).frames) == 6
    assert "no label 'down'" in run("continue a.vq c.vq --frames 2 --label down", 2).stderr
    assert "--frames" in run("continue a.vq c.vq", 2).stderr
    assert "can be drawn in this way" in run("fill a.vq c.vq --box 0,0,4,4", 4).stderr


def test_any_number_of_threads(folder):
    code = ("import sys, hashlib, vqcodec; d = vqcodec.sample('led', models_dir=sys.argv[1], frames=5, label='left,up', seed=7); "
            "print(hashlib.sha256(d).hexdigest())")
    found = {subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True,
                            env={**os.environ, "OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n}).stdout for n in ("1", "3")}
    assert len(found) == 1
