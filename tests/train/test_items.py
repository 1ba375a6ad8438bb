"""Training on whole files with labels: what is drawn, and a run from files to samples of a label."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from conftest import synthetic_picture, synthetic_sound, tiny_audio_config, tiny_config
from PIL import Image
from safetensors.torch import load_file

import vqcodec
from vqcodec.errors import InputError, UsageError, VqcodecWarning
from vqcodec.picture.training import RunConfig
from vqcodec.picture.training import whole as whole_picture
from vqcodec.sound.training import AudioRunConfig, AudioTrainingConfig
from vqcodec.sound.training import whole as whole_sound
from vqcodec.train.config import StageConfig, TrainingConfig, check
from vqcodec.train.items import Items
from vqcodec.train.run import Trainer, train
from vqcodec.zoo.config import to_toml

LABELS = (("dark", "light"),)
SMALL = dict(batch=8, crop=32, late_crop=32)
STAGES = (StageConfig("soft", steps=3, learning_rate=1e-2, **SMALL), StageConfig("vq", steps=1, **SMALL),
          StageConfig("prior", steps=32, learning_rate=1e-2, **SMALL))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(16):
        name, scale = (("dark", 0.2), ("light", 1.0))[i % 2]
        Image.fromarray((synthetic_picture(40, 40, i) * scale).astype(np.uint8)).save(folder / f"{name}_{i}.png")
    return folder


def config_of(kind=RunConfig, model=None, **changes):
    model = model or tiny_config()
    model = replace(model, prior=replace(model.prior, labels=LABELS, places=(2, 2), near=(3, 3)))
    training = dict(drawn=0.0, validation=1, validate_every=0, log_every=50, stages=STAGES, whole=True)
    return kind(model, (TrainingConfig if kind is RunConfig else AudioTrainingConfig)(**{**training, **changes}))


def test_batches_and_labels_go_together(pictures):
    paths = sorted(pictures.glob("*.png"))
    items = Items(paths, lambda path: torch.full((1,), "light" in path.name), LABELS, seed=1, unlabelled=0.25)
    samples, labels = items.batch(7, 200), items.labels(7, 200)
    assert labels.shape == (200, 1) and 0.1 < (labels == 0).float().mean() < 0.4
    told = labels[:, 0] > 0
    assert (samples[told, 0].long() + 1 == labels[told, 0]).all()
    assert torch.equal(items.batch(7, 200), samples) and torch.equal(items.labels(7, 200), labels)
    assert not torch.equal(items.batch(8, 200), samples) and not torch.equal(items.batch(7, 200, 1), samples)


def test_files_that_cannot_be_read_are_left_out(pictures, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    load = lambda path: whole_picture(path, 32)  # noqa: E731
    with pytest.warns(VqcodecWarning, match="bad.png.*left out"):
        items = Items([tmp_path / "bad.png", next(pictures.glob("*.png"))], load, (), seed=0, unlabelled=0)
    assert items.batch(0, 3).shape == (3, 3, 32, 32) and items.labels(0, 3) is None
    with pytest.warns(VqcodecWarning), pytest.raises(InputError, match="none of the 1 files"):
        Items([tmp_path / "bad.png"], load, (), seed=0, unlabelled=0)


def test_whole_files(tmp_path):
    Image.fromarray(np.zeros((50, 60, 4), np.uint8)).save(tmp_path / "clear.png")
    assert (whole_picture(tmp_path / "clear.png", 32) == 255).all()  # over white
    soundfile.write(tmp_path / "a.wav", synthetic_sound(900) * 0.1, 8000)
    config = tiny_audio_config().transform
    x = whole_sound(tmp_path / "a.wav", 16, config)
    assert x.shape == (1, 1, 1280) and x[..., 900:].abs().max() == 0 and x.abs().max() == pytest.approx(0.5)
    assert whole_sound(tmp_path / "a.wav", 8, config).shape == (1, 1, 640)


def test_what_does_not_fit_together():
    for changes, message in ((dict(whole=False), "'training.whole' must be true"), (dict(unlabelled=1.5), "share"),
                             (dict(stages=(StageConfig("soft"),)), "must be equal")):
        with pytest.raises(UsageError, match=message):
            check(config_of(**changes))


def test_a_run_from_files_to_samples(pictures, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(to_toml(config_of()))
    train("image", [pictures], tmp_path / "run.toml", tmp_path / "run", export="narrow", models_dir=tmp_path / "models")
    models = tmp_path / "models"
    learned = load_file(models / "narrow" / "prior.safetensors")
    for i in range(2):
        assert learned[f"s{i}.label0.bias"].shape[0] == 3 and (learned[f"s{i}.label0.bias"] != 0).all()
        assert learned[f"s{i}.place.bias"].shape[:2] == (2, 2) and (learned[f"s{i}.place.bias"] != 0).any()
        assert learned[f"s{i}.near1.weight"].shape[2:] == (3, 3)
    drawn = {vqcodec.sample("narrow", label=label, models_dir=models) for label in (None, "dark", "light")}
    assert len(drawn) == 3
    assert all(vqcodec.decode(data, models_dir=models).size == (32, 32) for data in drawn)
    floating, integer = map(float, re.search(r"narrow: ([\d.]+) bpp with the float prior, ([\d.]+)", capsys.readouterr().out).groups())
    assert abs(integer / floating - 1) < 0.1  # with the same labels


def test_sound_learns_labels_too(tmp_path):
    for i in range(8):
        soundfile.write(tmp_path / f"{('dark', 'light')[i % 2]}_{i}.wav", synthetic_sound(3000, seed=i), 8000)
    stages = (StageConfig("soft", steps=30, batch=4, crop=64, late_crop=64),)
    trainer = Trainer(config_of(AudioRunConfig, tiny_audio_config(), stages=stages), [tmp_path], tmp_path / "run")
    trainer.begin()
    trainer.step = 1
    for _ in range(3):
        trainer._train_step()
    assert all(table[:3].abs().sum(1).gt(0).all() for context in trainer.model.prior.contexts for table in context.labels)
