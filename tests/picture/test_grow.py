"""Larger models that start as smaller ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import synthetic_picture, tiny_config
from PIL import Image

from vqcodec.errors import UsageError
from vqcodec.indices.config import PriorConfig, QuantizerConfig
from vqcodec.picture import grow
from vqcodec.picture.training import RunConfig
from vqcodec.train.config import StageConfig, TrainingConfig
from vqcodec.train.model import Model
from vqcodec.train.run import Trainer
from vqcodec.zoo import registry


def large_config():
    """Five qualities, of which the second and third are the tiny model's first two, and 8 dims that the last two have."""
    tiny = tiny_config()
    return replace(tiny, transform=replace(tiny.transform, latent_dims=32, lambdas=(0.0002, 0.0006, 0.002, 0.007, 0.02)),
                   quantizer=QuantizerConfig((8, 16, 8), (1, 2, 2), (256, 64, 32), (1, 1, 4)),
                   prior=PriorConfig((16, 24, 16), (4, 6, 6)))


@pytest.fixture(scope="module")
def grown(tmp_path_factory, tiny_model_dir):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(3):
        Image.fromarray(synthetic_picture(256, 288, i)).save(folder / f"{i}.png")
    stage = StageConfig("soft", steps=10, batch=4, crop=64, late_crop=64)
    training = TrainingConfig(drawn=0.0, validation=1, validate_every=0, stages=(stage,))
    entry = registry.find_by_name("tiny", tiny_model_dir)
    small = Trainer(RunConfig(tiny_config(), training), [folder], folder / "small")
    large = Trainer(RunConfig(large_config(), training), [folder], folder / "large")
    small.begin(entry)
    large.begin(entry)
    return small, large


def test_a_grown_model_does_what_the_small_one_did(grown):
    small, large = grown
    pixels, _ = small.batch(-3, 64, 4)
    mine, theirs = large.model.eval(), small.model.eval()
    with torch.no_grad():
        for level in (0.0, 1.0):  # of the small one
            before, after = torch.full((4,), level), torch.full((4,), level + 1)
            a, b = theirs.analyse(pixels, before), mine.analyse(pixels, after)
            assert torch.allclose(a, b[:, :24], atol=1e-3) and not b[:, 24:].any()
            assert torch.allclose(theirs.synthesise(a, before), mine.synthesise(b, after), atol=1e-4)
            assert torch.allclose(theirs.density_bits(a.round(), before), mine.density_bits(b.round(), after), rtol=1e-3)


def test_new_dims_tell_of_what_was_left_out(grown):
    _, large = grown
    pixels, _ = large.batch(-4, 64, 8)
    with torch.no_grad():
        level = torch.full((8,), 4.0)
        latents = large.model.eval().analyse(pixels, level)
        assert latents[:, 24:].any()
        less = torch.cat([latents[:, :24], torch.zeros_like(latents[:, 24:])], 1)
        errors = [(large.model.synthesise(y, level) - pixels).square().mean() for y in (less, latents)]
    assert errors[1] < 0.9 * errors[0]


def test_gains_go_on_beyond_the_ends():
    spots = grow.positions((0.0002, 0.0006, 0.002, 0.02), (0.0006, 0.002, 0.007))
    assert spots[0] < -0.5 and spots[1] == 0 and spots[2] == 1 and 2.5 < spots[3] < 3.5
    table = torch.tensor([[0.0], [1.0], [2.0]])
    assert torch.allclose(grow.at(table, spots, beyond=True).squeeze(1), spots.float())
    assert grow.at(table, spots).squeeze(1).tolist() == [0, 0, 1, 2]


def test_only_what_is_larger_grows(tiny_model_dir):
    tiny, large = tiny_config(), large_config()
    assert grow.smaller(tiny, tiny) is None
    part = grow.smaller(large, tiny)
    assert part == tiny
    Model(part)


def test_slices_that_do_not_end_where_the_small_model_does_are_refused(grown, tmp_path, tiny_model_dir):
    model = large_config()
    model = replace(model, quantizer=replace(model.quantizer, slices=(8, 14, 10)))
    trainer = Trainer(RunConfig(model, grown[1].config.training), [grown[0].validation[0].parent], tmp_path)
    with pytest.raises(UsageError, match="another shape"):
        trainer.begin(registry.find_by_name("tiny", tiny_model_dir))
