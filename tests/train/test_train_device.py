"""Training on another device, and for so many minutes: no tensor is left behind on the CPU."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from conftest import synthetic_picture, tiny_config
from PIL import Image

from vqcodec.errors import UnsupportedError, UsageError
from vqcodec.indices.config import PriorConfig, QuantizerConfig
from vqcodec.picture.training import Pictures, RunConfig
from vqcodec.sound.training import Sounds
from vqcodec.train.config import StageConfig, TrainingConfig, check
from vqcodec.train.model import Model
from vqcodec.train.run import Trainer, device_of


def sliced(distortion: str):
    model = replace(tiny_config(), quantizer=QuantizerConfig((8, 8, 8), (1, 2, 2), (256, 64, 64), (1, 1, 3)),
                    prior=PriorConfig((16, 24, 24), (4, 6, 6)))
    return replace(model, transform=replace(model.transform, distortion=distortion))


@pytest.mark.parametrize("distortion, size", [("mse", 32), ("ssimulacra2", 128)])
def test_a_soft_step_stays_on_its_device(distortion, size):
    """On a device whose tensors have shapes and no values, and meet no others; the model is made on the CPU, as training does."""
    with pytest.raises(RuntimeError, match="meta"):
        torch.rand(3, device="meta") + torch.rand(3)
    model = Model(sliced(distortion)).eval().to("meta")
    with torch.device("meta"):
        pixels, level = torch.rand(2, 3, size, size), torch.tensor([0.0, 2.0])
        losses = model.soft_losses(pixels, level)
        total = (losses.bpp + losses.distortion).mean()
        total.backward()
    assert total.device.type == "meta"
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert all(grad.device.type == "meta" for grad in grads.values()) and any("encoder.linear" in name for name in grads)


def test_a_device_that_is_not_there_is_unsupported():
    assert device_of("cpu", Pictures).type == "cpu" and device_of("auto", Sounds).type == "cpu"
    assert device_of("auto", Pictures).type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(UnsupportedError, match="no such device"):
            device_of("cuda", Pictures)
    with pytest.raises(UnsupportedError, match="audio are trained on the CPU"):
        device_of("cuda", Sounds)
    with pytest.raises(UsageError, match="training.device"):
        check(RunConfig(training=TrainingConfig(device="tpu")))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(3):
        Image.fromarray(synthetic_picture(256, 288, i)).save(folder / f"{i}.png")
    return folder


def test_a_run_stops_after_its_minutes_and_goes_on(pictures, tmp_path):
    stage = StageConfig("soft", steps=100000, batch=1, crop=32, late_crop=32)
    config = RunConfig(tiny_config(), TrainingConfig(drawn=0.0, validation=1, validate_every=0, stages=(stage,)))
    done = []
    for _ in range(2):
        trainer = Trainer(config, [pictures], tmp_path)
        trainer.begin()
        began = time.time()
        trainer.run(0.02)
        assert time.time() - began < 30 and trainer.stopping
        done.append(trainer.step)
    assert 0 < done[0] < done[1] < stage.steps


def test_soft_weights_go_on_with_other_codebooks(pictures, tmp_path):
    """A run whose codebooks have other sizes starts from a soft stage, and one that begins with frozen codebooks fits them first."""
    soft = StageConfig("soft", steps=1, batch=1, crop=32, late_crop=32)
    training = TrainingConfig(drawn=0.0, validation=1, validate_every=0, stages=(soft,))
    first = Trainer(RunConfig(tiny_config(), training), [pictures], tmp_path)
    first.begin()
    first.save_named("stage0")
    q = tiny_config().quantizer
    model = replace(tiny_config(), quantizer=replace(q, codewords=(q.codewords[0], q.codewords[1] // 2)))
    joint = StageConfig("joint", steps=1, batch=1, crop=32, late_crop=32, search=1)
    second = Trainer(RunConfig(model, replace(training, stages=(joint,))), [pictures], tmp_path / "second")
    second.begin(tmp_path / "stage0.pt")
    assert torch.equal(second.model.encoder.linear.weight, first.average.encoder.linear.weight)
    lattice = Model(model).quantizers[1].codebook
    assert second.model.quantizers[1].codebook.shape == lattice.shape
    assert not torch.equal(second.model.quantizers[1].codebook, lattice)
    wider = replace(tiny_config(), transform=replace(tiny_config().transform, channels=(8, 12, 24)))
    third = Trainer(RunConfig(wider, training), [pictures], tmp_path / "third")
    with pytest.raises(UsageError, match="not the weights of a model of this configuration"):
        third.begin(tmp_path / "stage0.pt")
