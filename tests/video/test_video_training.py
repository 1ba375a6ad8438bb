"""Training the prior of video: it learns, goes on where it was stopped, and its integers are those of its floats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from video.clips import clip, moving
from vqcodec.errors import InputError, UsageError
from vqcodec.indices.numpy_prior import NumpyPrior
from vqcodec.indices.prior import Prior
from vqcodec.indices.reference import Reference, compander, features, values_of, whole_codewords
from vqcodec.train.run import train
from vqcodec.video.codec import VideoCodec
from vqcodec.zoo import registry
from vqcodec.zoo.loading import read_tensors
from vqcodec.zoo.reading import read_tensors as read_arrays

CONFIG = """
[model.base]
name = "tiny"
fingerprint = ""
[training]
steps = 8
batch = 3
rounded_from = 0.3
log_every = 2
[training.windows]
count = 4
frames = 6
rows = 3
columns = 4
moved = 0.25
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from PIL import Image

    path = tmp_path_factory.mktemp("train")
    (path / "a.mkv").write_bytes(clip(moving(14, 64, 80)))
    Image.fromarray(moving(1, 200, 300)[0]).save(path / "b.png")
    (path / "run.toml").write_text(CONFIG)
    return path


def test_a_run_stops_and_goes_on_and_is_exported(folder, tiny_video_dir, tmp_path):
    arguments = dict(config=folder / "run.toml", out=tmp_path / "run", models_dir=tiny_video_dir)
    train("video", [folder], minutes=0, **arguments)
    assert not (tmp_path / "run" / "log.jsonl").exists()
    train("video", [folder], export="twice", **arguments)
    assert (tmp_path / "run" / "log.jsonl").read_text().count("step") == 5
    entry = registry.find_by_name("twice", tiny_video_dir, "video")
    assert VideoCodec.open(entry, encoder=False).qualities == 3
    other = CONFIG.replace("columns = 4", "columns = 3")
    (tmp_path / "other.toml").write_text(other)
    with pytest.raises(UsageError, match="another configuration"):
        train("video", [folder], **{**arguments, "config": tmp_path / "other.toml"})


def test_what_cannot_be_trained(folder, tiny_video_dir, tmp_path):
    with pytest.raises(InputError, match="no video to learn from"):
        train("video", [tmp_path], folder / "run.toml", tmp_path / "run", models_dir=tiny_video_dir)
    with pytest.raises(UsageError, match="from that of its base"):
        train("video", [folder], folder / "run.toml", tmp_path / "run", init=tmp_path / "x.pt", models_dir=tiny_video_dir)


def test_the_reference_is_integers_and_the_same_in_both_runtimes(tiny_video_dir):
    entry = registry.find_by_name("tinyvideo", tiny_video_dir, "video")
    codec = VideoCodec.open(entry, encoder=False)
    rng = np.random.default_rng(0)
    prior, quality = codec.coder.prior, 16
    twin = Prior(read_tensors(entry, "prior"), codec.coder.quantizer)
    assert read_arrays(entry, "prior").keys() == read_tensors(entry, "prior").keys()
    start, size = (np.concatenate([np.asarray(w[i]) for w in prior.windows(quality)]) for i in (0, 1))
    before, grids = ((start + rng.integers(0, 1 << 30, (5, 6, len(size))) % size).transpose(2, 0, 1) for _ in range(2))
    values = values_of(before, codec.whole)
    found = []
    for each in (prior, twin):
        tables = []

        def supply(step):
            tables.append(np.asarray(step.cdf))
            return each.on.array(grids.reshape(len(grids), -1)[step.layout.planes][:, np.asarray(step.positions)].T) - step.start

        each.code(5, 6, quality, supply, reference=each.reference(values))
        found.append(tables)
    assert len(found[0]) == prior.steps
    assert all((a == b).all() for a, b in zip(*found, strict=True))
    assert all((np.diff(t, axis=2) >= 0).all() and (t[..., -1] == 65536).all() for t in found[0])


def test_features_of_a_reference():
    values = np.array([[[0, 64, -64, 16384, -16384, 640]]])
    assert features(values, compander()).tolist() == [[[0, 14, -14, 100, -100, 48, 0, 1, -1, 127, -127, 10]]]
    book = [torch.tensor([[[0.5], [1.0078125]]]), torch.tensor([[[2.0, -3.0], [0.25, 0.125]]])]
    whole = whole_codewords(book)
    assert values_of(np.array([[[1]], [[0]]]), whole).tolist() == [[[64, 128, -192]]]  # 64.5 becomes 64: halves to even


def test_values_beyond_the_limit_are_cut(tiny_video_dir):
    codec = VideoCodec.open(registry.find_by_name("tinyvideo", tiny_video_dir, "video"), encoder=False)
    prior = codec.coder.prior
    assert isinstance(prior, NumpyPrior)
    values = np.full((2, 3, 24), 1 << 20)
    assert prior.reference(values).values.max() == 1 << 14
    assert (prior.reference(values).features == Reference.of(np.full((2, 3, 24), 1 << 14), prior.table, prior.on).features).all()


def test_the_float_twin_is_restored_from_integers(tiny_video_dir):
    """Its bits are those of the integer prior, nearly."""
    codec = VideoCodec.open(registry.find_by_name("tinyvideo", tiny_video_dir, "video"), encoder=True)
    pictures = moving(2, 64, 96)
    before = codec.choose(codec.latents(pictures[0], 16), None, 16)[0]
    latents = codec.latents(pictures[1], 16)
    grids, _, payload = codec.choose(latents, before, 16)
    from vqcodec.indices.rates import Rates

    given = codec.context.given(codec.coder.dequantize(before[None]))
    rates = Rates(given, codec.coder.codebooks, codec.weights, torch.tensor([1.0]))
    indices = [[grids[s.planes].flatten(1) for s in codec.coder.layouts]]
    bits = rates.bits(codec.coder.dequantize(grids[None]), indices)
    assert 8 * len(payload) == pytest.approx(bits, rel=0.1, abs=8 * codec.coder.prior.steps)


def test_a_search_makes_less_of_rate_and_error(tiny_video_dir):
    codec = VideoCodec.open(registry.find_by_name("tinyvideo", tiny_video_dir, "video"), encoder=True)
    pictures = moving(2, 64, 96)
    before = codec.choose(codec.latents(pictures[0], 16), None, 16)[0]
    slope, costs = codec.base.model.transform.lambdas[1], []
    for effort in (0, 4):
        grids, _, payload = codec.frame(pictures[1], codec.latents(pictures[1], 16), before, 16, effort)
        rgb = codec.base.pixels(grids, 64, 96, 16)
        costs.append(8 * len(payload) / rgb[..., 0].size + slope * np.square(rgb.astype(float) - pictures[1]).mean())
    assert costs[1] < 1.02 * costs[0]


def test_some_clips_are_held_out_by_a_hash_of_their_names(folder, tiny_video_dir, tmp_path, monkeypatch, capsys):
    from vqcodec.video import training
    from vqcodec.video.windows import Windows

    (tmp_path / "clips").mkdir()
    for name in "abcdefgh":
        (tmp_path / "clips" / f"{name}.mkv").write_bytes((folder / "a.mkv").read_bytes())
    seen, made = [], Windows.load_or_make

    def noted(path, config, clips, *more):
        seen.extend(clip.name for clip in clips)
        return made(path, config, clips, *more)

    monkeypatch.setattr(training.Windows, "load_or_make", noted)
    train("video", [tmp_path / "clips"], folder / "run.toml", tmp_path / "run", minutes=0, models_dir=tiny_video_dir)
    said = next(line for line in capsys.readouterr().err.splitlines() if "held out" in line)
    assert len(seen) == 6 and said == f"6 clips to learn from; held out: {', '.join(sorted({f'{n}.mkv' for n in 'abcdefgh'} - set(seen)))}"
