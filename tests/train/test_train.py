"""Training: configuration, the stages, resuming to the step, stopping, several processes, export."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import pytorch_msssim
import torch
from conftest import synthetic_picture, tiny_config
from PIL import Image

from vqcodec.picture import distortion, torch_codec
from vqcodec.zoo import config, loading, registry
from vqcodec.errors import InputError, UsageError, VqcodecWarning
from vqcodec.picture.file import Picture
from vqcodec.indices.quantize import RATE_WEIGHT
from vqcodec.picture.crops import Crops
from vqcodec.train.data import SHELF_STEPS, Cache, set_aside, split
from vqcodec.train.model import Model
from vqcodec.train.optim import orthogonalise
from vqcodec.train.quantize_prior import integer_prior
from vqcodec.train.run import KINDS, Trainer, duration, train
from vqcodec.picture.training import RunConfig, rate_distortion
from vqcodec.sound.training import AudioRunConfig
from vqcodec.train.config import STAGES as ALL_STAGES, StageConfig, TrainingConfig, check

SMALL = dict(batch=4, crop=32, late_crop=64)
STAGES = (StageConfig("soft", steps=12, **SMALL), StageConfig("vq", steps=8, head_steps=3, **SMALL),
          StageConfig("prior", steps=34, **SMALL))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(4):
        Image.fromarray(synthetic_picture(256, 288, i)).save(folder / f"{i}.png")
    return folder


def run_config(**changes) -> RunConfig:
    training = dict(drawn=0.0, validation=1, validate_every=0, log_every=4, stages=STAGES, revive_every=3)
    return RunConfig(tiny_config(), TrainingConfig(**{**training, **changes}))


def weights(trainer) -> dict:
    return {k: v.clone() for k, v in trainer.model.state_dict().items()}


# --- configuration -----------------------------------------------------------------------------------------

def test_configuration_survives_toml(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(config.to_toml(run_config(seed=7)))
    assert config.from_dict(RunConfig, config.load_toml(path)) == run_config(seed=7)


@pytest.mark.parametrize("text, words", [
    ("[training]\nsede = 1", "unknown key 'training.sede'"),
    ("[model.transform]\nlatent_dims = 1.5", "'model.transform.latent_dims' must be int"),
    ("[model.transform]\nchannels = [1, 2]", "must have 3 entries"),
    ("[training]\noptimizer = 'sgd'", "must be one of muon, adam"),
    ("[model.transform]\ndistortion = 'ms-ssim'", "MS-SSIM needs crops of 176 pixels"),
    ("[model.transform]\ndistortion = 'ssim'", "must be one of mse, ms-ssim"),
    ("[[training.stages]]\nkind = 'hard'", "unknown stage kind 'hard'"),
    ("[[training.stages]]\ncrop = 100", "multiples of 16"),
    ("[[training.stages]]\nsearch = -1", "'search' counts gradients"),
    ("[[training.stages]]\nkind = 'soft'\nsearch = 1", "nothing is searched for"),
    ("[[training.stages]]\nkind = 'joint'", "needs 'search'"),
    ("[training]\nvalidation = -1", "must be 0 or more"),
    ("[training]\ncache_megabytes = 0", "1 or more"),
    ("[[training.stages]]\nkind = 'prior'\nvary_search = 0.5", "'vary_search' is a share"),
    ("[[training.stages]]\nkind = 'prior'\nsearch = 1\nvary_search = 1.5", "'vary_search' is a share"),
    ("[[training.stages]]\nkind = 'prior'\nsearch = 1\n[model.transform]\ndistortion = 'ms-ssim'", "MS-SSIM needs crops"),
    ("[model.quantizer]\nslices = [8, 24]", "must add up"),
    ("[model.quantizer]\ndims = [1, 1, 1, 1, 3, 2]", "multiple of its 'dims'"),
    ("[training\n", "run.toml"),
])
def test_bad_configuration_is_refused(tmp_path, text, words):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words.replace("[", r"\[")):
        check(config.from_dict(RunConfig, config.load_toml(path)))


@pytest.mark.parametrize("kind", [RunConfig, AudioRunConfig])
def test_defaults_are_a_configuration(kind):
    assert config.from_dict(kind, config.parse_toml(config.to_toml(check(kind())).encode(), "run.toml")) == kind()


def test_every_kind_of_stage_can_be_run():
    assert tuple(KINDS) == ALL_STAGES


def test_the_search_is_of_pictures_only():
    training = replace(AudioRunConfig().training, stages=(StageConfig("vq", search=1),))
    with pytest.raises(UsageError, match="of pictures only"):
        check(AudioRunConfig(training=training))
    for search in (0, 1):  # one message, not two that send to each other
        training = replace(training, stages=(StageConfig("joint", search=search),))
        with pytest.raises(UsageError, match="of pictures only .stages here: soft, vq, prior, decoder."):
            check(AudioRunConfig(training=training))


# --- data --------------------------------------------------------------------------------------------------

def test_batches_depend_on_seed_and_step_alone(pictures):
    paths = sorted(pictures.iterdir())
    one, two = Crops(paths, seed=3), Crops(paths, seed=3)
    one.batch(4, 32, 5)
    assert torch.equal(one.batch(9, 32, 5), two.batch(9, 32, 5))
    assert not torch.equal(one.batch(9, 32, 5), one.batch(10, 32, 5))
    assert not torch.equal(one.batch(9, 32, 5), one.batch(9, 32, 5, rank=1))


def test_validation_pictures_are_never_trained_on(pictures):
    paths = sorted(pictures.iterdir())
    train, held_out = split(paths, 2)
    assert len(held_out) == 2 and not set(train) & set(held_out)
    assert split(paths[:-1] + [paths[-1]], 2)[1] == held_out


@pytest.mark.parametrize("files, wanted, count", [(12, 12, 3), (100, 12, 12), (3, 12, 1), (2, 1, 1), (1, 12, 0), (8, 0, 0)])
def test_a_quarter_of_the_files_at_most_is_set_aside(files, wanted, count):
    assert set_aside(files, wanted) == count


def test_few_pictures_leave_some_to_learn_from(pictures, tmp_path, capsys):
    trainer = Trainer(run_config(validation=12), [pictures], tmp_path)
    assert len(trainer.validation) == 1 and len(trainer.medium.crops.paths) == 3
    assert "4 files: 3 to learn from, 1 set aside for validation, not 12" in capsys.readouterr().err


def test_small_and_broken_pictures_are_left_out(pictures, tmp_path):
    for i, side in enumerate((300, 100)):
        Image.fromarray(synthetic_picture(side, side, i)).save(tmp_path / f"{side}.png")
    whole = (tmp_path / "300.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "none.png").write_bytes(b"nothing")
    with pytest.warns(VqcodecWarning) as caught:
        crops = Crops(sorted(tmp_path.iterdir()))
    assert [path.name for path in crops.paths] == ["300.png", "cut.png"]
    assert {("cut.png" in str(w.message), "none.png" in str(w.message)) for w in caught} == {(True, False), (False, True)}
    whole = np.asarray(Image.open(tmp_path / "300.png"))
    either = {whole.transpose(2, 0, 1).tobytes(), whole[:, ::-1].transpose(2, 0, 1).tobytes()}
    assert {crop.numpy().tobytes() for step in range(4) for crop in crops.batch(step, 300, 4)} == either
    with pytest.raises(InputError, match="no picture is at least 256 pixels wide and high, of 1"):
        Crops([tmp_path / "100.png"])


def test_a_bounded_cache_gives_the_same_batches_however_it_came_about(pictures):
    paths = sorted(pictures.iterdir())
    size = 3 * 256 * 288
    whole, bounded, resumed = Crops(paths), Crops(paths, limit=2 * size), Crops(paths, limit=2 * size)
    batches = {step: bounded.batch(step, 64, 6) for step in (0, 1, SHELF_STEPS, 7 * SHELF_STEPS)}
    assert bounded.shelves._cache.size <= 2 * size < whole.shelves._cache.size
    for step in reversed(batches):
        assert torch.equal(resumed.batch(step, 64, 6), batches[step])
    drawn = [set(map(id, bounded.shelves.draw(random.Random(i), step, 0, 40))) for i, step in enumerate((3, 3, 4))]
    assert drawn[0] == drawn[1] == drawn[2] and len(drawn[0]) == 2  # the same two for many steps


def test_what_all_fits_is_drawn_as_it_ever_was(pictures):
    """By a picture's place among all, likelier the larger it is; then where, then whether turned over."""
    paths = sorted(pictures.iterdir())
    rng, loaded = random.Random("3/9/0"), [np.asarray(Image.open(path)) for path in paths]
    picks = rng.choices(loaded, cum_weights=list(np.cumsum([(288 * 256) ** 0.25] * 4)), k=5)
    expected = []
    for picture in picks:
        top, left = rng.randint(0, 256 - 32), rng.randint(0, 288 - 32)
        crop = picture[top : top + 32, left : left + 32]
        expected.append((crop[:, ::-1] if rng.random() < 0.5 else crop).transpose(2, 0, 1))
    assert np.array_equal(Crops(paths, seed=3).batch(9, 32, 5).numpy(), np.stack(expected))


def test_the_cache_lets_go_of_what_was_asked_for_longest_ago():
    loaded = []
    cache = Cache(lambda key: (loaded.append(key) or key, 10), 25)
    for key in "abacabb":
        assert cache.get(key) == key
    assert "".join(loaded) == "abcb" and cache.size == 20


def test_what_export_would_refuse_is_refused_first(pictures, tmp_path, tiny_model_dir):
    (tmp_path / "file").touch()
    for name, folder, words in (("Bad Name", tmp_path / "new", "bad model name"), ("tiny", tiny_model_dir, "Choose another name"),
                                ("mine", tmp_path / "file" / "models", "not a folder")):
        with pytest.raises((UsageError, InputError), match=words):
            train("image", [pictures], None, tmp_path / "run", name, folder)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seconds, text", [(0.2, "1 s"), (89, "89 s"), (100, "2 min"), (5000, "83 min"), (9000, "2.5 h")])
def test_durations_are_told_in_words(seconds, text):
    assert duration(seconds) == text


def test_the_first_steps_are_shown(pictures, tmp_path, capsys):
    stage = StageConfig("soft", steps=11, **SMALL)
    trainer = Trainer(run_config(log_every=50, stages=(stage,)), [pictures], tmp_path)
    trainer.begin()
    trainer.run()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("soft ")]
    assert [line.split()[1] for line in lines] == ["1/11", "10/11", "11/11"]
    assert all(re.search(r", about \d+ s left in this stage$", line) for line in lines[:2])
    assert lines[2].endswith("stage done")
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_no_pictures_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no pictures"):
        train("image", [tmp_path], None, tmp_path / "run")


# --- optimiser ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(16, 40), (40, 16)])
def test_orthogonalise_makes_singular_values_alike(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape) * torch.logspace(0, -1, shape[1])))
    assert values.max() < 1.5 and values.median() > 0.6


def fixed_loss(trainer, kind: str, size: int = 64) -> float:
    """Loss on one batch, the same noise and qualities every time."""
    pixels, level = trainer.batch(-77, size, 12)
    torch.manual_seed(1)
    with torch.no_grad():
        losses = trainer.model.soft_losses(pixels, level) if kind == "soft" else \
            trainer.model.vq_losses(pixels, level, 0.0)
    return (losses.bpp + trainer.lambdas[level.long()] * losses.distortion).mean().item()


@pytest.mark.parametrize("kind, learns", [
    ("prior", {"prior"}), ("decoder", {"prior", "decoder"}), ("joint", {"prior", "decoder", "encoder"})])
def test_last_stages_leave_codebooks_alone(pictures, tmp_path, tiny_model_dir, kind, learns):
    stage = StageConfig(kind, steps=120, search=2, vary_search=0.5, learning_rate=1e-2, **SMALL)
    trainer = Trainer(run_config(stages=(stage,)), [pictures], tmp_path)
    trainer.begin(registry.find_by_name("tiny", tiny_model_dir))
    start, before = weights(trainer), fixed_loss(trainer, "vq")
    for _ in range(120):
        trainer._train_step()
    assert trainer.model.prior.mode == "quantized"
    assert fixed_loss(trainer, "vq") < before
    moved = {name for name, value in weights(trainer).items() if not torch.equal(value, start[name])}
    assert {name.split(".")[0] for name in moved if not name.startswith("quantizers")} == learns
    assert not any("codebook" in name for name in moved)


def test_the_encoder_of_a_joint_stage_learns_at_half_the_rate(pictures, tmp_path, tiny_model_dir):
    stage = StageConfig("joint", steps=60, search=1, **SMALL)
    trainer = Trainer(run_config(stages=(stage,)), [pictures], tmp_path)
    trainer.begin(registry.find_by_name("tiny", tiny_model_dir))
    scale = {id(p): group["scale"] for group in trainer.optimizer.param_groups for p in group["params"]}
    theirs = dict(trainer.model.decoder.named_parameters())
    common = [(scale[id(p)], scale[id(theirs[name])]) for name, p in trainer.model.encoder.named_parameters() if name in theirs]
    assert common and all(mine == 0.5 * other for mine, other in common)


def test_a_joint_stage_teaches_the_encoder_what_the_search_finds(pictures, tmp_path, tiny_model_dir):
    stage = StageConfig("joint", steps=100, search=3, learning_rate=1e-2, **SMALL)
    trainer = Trainer(run_config(stages=(stage,)), [pictures], tmp_path)
    trainer.begin(registry.find_by_name("tiny", tiny_model_dir))
    for part in (trainer.model.decoder, trainer.model.prior):
        part.requires_grad_(False)
    trainer._build_optimizer()
    with torch.no_grad():
        trainer.model.encoder.linear.weight.mul_(0.8)  # an encoder that does not fit its decoder

    def cost():  # of the encoder's own latents
        with torch.no_grad():
            losses = trainer.model.frozen_losses(*batch, 0, decoded=True)
        return (losses.bpp + trainer.lambdas[batch[1].long()] * losses.distortion).mean().item()

    batch = trainer.batch(-5, 64, 12)
    before = cost()
    for _ in range(100):
        trainer._train_step()
    assert cost() < 0.95 * before


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_soft_stage_learns(pictures, tmp_path, optimizer):
    stage = StageConfig("soft", steps=100, batch=4, crop=64, late_crop=64, learning_rate=1e-2)
    trainer = Trainer(run_config(optimizer=optimizer, stages=(stage,)), [pictures], tmp_path)
    trainer.begin()
    before = fixed_loss(trainer, "soft")
    for _ in range(100):
        trainer._train_step()
    assert fixed_loss(trainer, "soft") < 0.95 * before


@pytest.mark.parametrize("changes", [
    dict(), dict(codebook_update="ema"), dict(assignment="soft"), dict(assignment="noise"), dict(commitment=1.0)])
def test_every_kind_of_quantiser_trains(pictures, tmp_path, changes):
    stage = StageConfig("vq", steps=200, head_steps=5, batch=4, crop=64, late_crop=64, learning_rate=1e-2)
    trainer = Trainer(run_config(stages=(stage,), **changes), [pictures], tmp_path)
    trainer.begin()
    books = [q.codebook.detach().clone() for q in trainer.model.quantizers]
    before = fixed_loss(trainer, "vq")
    for _ in range(200):
        trainer._train_step()
    assert fixed_loss(trainer, "vq") < 0.99 * before
    assert any(not torch.equal(old, q.codebook) for old, q in zip(books, trainer.model.quantizers))


def test_training_on_ms_ssim_raises_it(pictures, tmp_path):
    stage = StageConfig("soft", steps=100, batch=2, crop=176, late_crop=176, learning_rate=1e-2)
    model = tiny_config()
    model = replace(model, transform=replace(model.transform, distortion="ms-ssim"))
    trainer = Trainer(replace(run_config(stages=(stage,)), model=model), [pictures], tmp_path)
    trainer.begin()
    before = fixed_loss(trainer, "soft", 176)
    for _ in range(100):
        trainer._train_step()
    assert fixed_loss(trainer, "soft", 176) < 0.97 * before
    assert set(rate_distortion(trainer.average, trainer.validation, soft=True)[0]) == {
        "quality", "bpp", "psnr", "ms_ssim_db"}


def test_ms_ssim_is_counted_in_thousandths_with_a_share_of_mse():
    pixels = torch.rand(2, 3, 176, 176)
    assert torch.allclose(distortion.ms_ssim(pixels, pixels), torch.zeros(2), atol=0.02)
    shifted = (pixels * 0.8 + 0.1).requires_grad_()
    value = distortion.ms_ssim(shifted, pixels)
    alike = pytorch_msssim.ms_ssim(shifted, pixels, data_range=1.0, size_average=False)
    assert torch.allclose(distortion.similarity(shifted, pixels), alike, atol=1e-5)
    value.sum().backward()
    assert (value > 0.05 * distortion.mse(shifted, pixels)).all() and shifted.grad.abs().sum() > 0


def test_of_crops_every_part_counts_alike():
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(1, 3, 48, 48, generator=generator).repeat(1, 1, 4, 4)
    light = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 12, generator=generator), scale_factor=16, mode="bilinear")
    pixels = 0.5 * light + 0.25 * texture

    def spoilt(top: int, left: int) -> float:
        """Distortion of the picture without its texture in one place."""
        decoded, part = pixels.clone(), (..., slice(top, top + 48), slice(left, left + 48))
        decoded[part] = decoded[part].mean((2, 3), keepdim=True)
        return distortion.KINDS_OF_CROPS["ms-ssim"](decoded, pixels).item()

    parts = [spoilt(top, left) for top, left in ((0, 0), (0, 72), (72, 72), (144, 144))]
    assert max(parts) < 1.4 * min(parts)


# --- runs --------------------------------------------------------------------------------------------------

def final_weights(pictures, out, stops) -> dict:
    """Weights after the whole run, which was stopped after each number of steps in `stops` and resumed."""
    out.mkdir()
    done = 0
    for stop in (*stops, None):
        trainer = Trainer(run_config(), [pictures], out)
        trainer.begin()
        one_step = trainer._train_step

        def counted(trainer=trainer, one_step=one_step, stop=stop):
            nonlocal done
            entry = one_step()
            done += 1
            trainer.stopping = done == stop
            return entry

        trainer._train_step = counted
        trainer.run()
    assert done == sum(stage.steps for stage in STAGES)
    return trainer.model.state_dict()


def test_a_resumed_run_is_the_undisturbed_run(pictures, tmp_path):
    whole = final_weights(pictures, tmp_path / "whole", ())
    parts = final_weights(pictures, tmp_path / "parts", (5, 15, 30, 45))
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_export_makes_a_working_model(pictures, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(config.to_toml(run_config(validate_every=10)))
    train("image", [pictures], path, tmp_path / "run", "mine", tmp_path / "models")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {row["stage"] for row in rows} == {"soft", "vq", "prior"}
    tables = [row["validation"] for row in rows if "validation" in row]
    assert tables and all(set(point) == {"quality", "bpp", "psnr"} for table in tables for point in table)
    assert any("perplexity" in row and row["revived"] >= 0 for row in rows)
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000
    entry = registry.find_by_name("mine", tmp_path / "models")
    assert registry.check(entry) == ()
    model = torch_codec.Codec.open(entry)
    rgb = synthetic_picture(70, 50)
    assert model.decode(model.encode(Picture(rgb), 2).data).rgb.shape == rgb.shape
    plain = np.zeros((64, 64, 3), np.uint8)
    plain[:] = 255, 0, 255  # nothing like it was trained on, but what it needs can be coded
    assert np.abs(model.decode(model.encode(Picture(plain), 3).data).rgb.astype(int) - plain).mean() < 12


def test_another_model_configuration_does_not_continue_a_run(pictures, tmp_path):
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    stages = (StageConfig("soft", steps=2, **SMALL),)
    first.write_text(config.to_toml(run_config(stages=stages)))
    model = replace(tiny_config(), transform=replace(tiny_config().transform, channels=(8, 12, 24)))
    second.write_text(config.to_toml(replace(run_config(stages=stages), model=model)))
    train("image", [pictures], first, tmp_path / "run")
    with pytest.raises(UsageError, match="another model configuration"):
        train("image", [pictures], second, tmp_path / "run")


def test_a_run_starts_from_the_weights_of_another(pictures, tmp_path):
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text(config.to_toml(run_config(stages=STAGES[:1])))
    train("image", [pictures], first, tmp_path / "first")
    trainer = Trainer(run_config(stages=STAGES[:1]), [pictures], tmp_path / "second")
    trainer.begin(tmp_path / "first" / "stage0.pt")
    start = torch.load(tmp_path / "first" / "stage0.pt", weights_only=True)
    assert all(torch.equal(tensor, start[name]) for name, tensor in weights(trainer).items())
    model = replace(tiny_config(), transform=replace(tiny_config().transform, channels=(8, 12, 24)))
    second.write_text(config.to_toml(replace(run_config(stages=STAGES[:1]), model=model)))
    with pytest.raises(UsageError, match="not the weights of a model of this configuration"):
        train("image", [pictures], second, tmp_path / "third", init=tmp_path / "first" / "stage0.pt")
    for name, content in (("absent.pt", None), ("text.pt", b"not weights")):
        if content:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="cannot read weights"):
            train("image", [pictures], first, tmp_path / "fourth", init=tmp_path / name)


@pytest.fixture
def restored(pictures, tmp_path, tiny_model_dir):
    """A trainer that begins with the model "tiny" in its vq stage."""
    trainer = Trainer(run_config(stages=STAGES[1:]), [pictures], tmp_path / "restored")
    trainer.begin(registry.find_by_name("tiny", tiny_model_dir))
    return trainer


def test_a_published_model_is_restored_for_training(restored, tiny_model_dir):
    published = loading.load_model(registry.find_by_name("tiny", tiny_model_dir), True, torch_codec.KIND)
    for name in ("encoder", "decoder"):
        theirs = getattr(published, name).state_dict()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in getattr(restored.model, name).state_dict().items())
    again = integer_prior(restored.model.prior, published.coder.codebooks, restored.config.model,
                          [torch.ones(3, s.groups, s.codewords) for s in restored.model.prior.layouts])
    original = loading.read_tensors(registry.find_by_name("tiny", tiny_model_dir), "prior")
    assert set(again) == set(original)
    for key, tensor in original.items():
        if not key.endswith((".start", ".size", ".mult", ".bias", ".offset")):  # of use, and of 2^-24
            assert (again[key].long() - tensor.long()).abs().max() <= 1, key


def test_a_prior_is_restored_into_a_wider_one(restored, pictures, tmp_path, tiny_model_dir):
    entry = registry.find_by_name("tiny", tiny_model_dir)
    model = replace(tiny_config(), prior=replace(tiny_config().prior, context_channels=(20, 40)))
    stage = StageConfig("prior", steps=40, learning_rate=1e-2, **SMALL)
    wide = Trainer(replace(run_config(stages=(stage,)), model=model), [pictures], tmp_path / "wide")
    wide.begin(entry)
    pixels, level = restored.batch(-5, 64, 4)
    with torch.no_grad():
        latents = restored.model.eval().encoder(pixels, level)
        values = restored.model.choose(latents, level)[1]
        wide.model.prior.set_mode("float")
        wanted, found = ([*m.eval().prior.codeword_bits(values, level, m.codebooks)] for m in (restored.model, wide.model))
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(wanted, found))
    wide.model.train()
    wide.model.prior.set_mode("calibrate")
    heads = [wide.model.prior.soft[0].layer, wide.model.prior.heads[1].layer]
    assert not any(head.weight[:, width:].any() for head, width in zip(heads, (16, 24)))
    for _ in range(3):
        wide._train_step()
    assert all(head.weight[:, width:].any() for head, width in zip(heads, (16, 24)))  # the new part learns


def test_soft_heads_are_fitted_to_what_is_published(restored, monkeypatch):
    monkeypatch.setattr(Model, "rate_weights", (RATE_WEIGHT, RATE_WEIGHT))  # a bit at its full worth
    pixels, level = restored.batch(-5, 64, 8)
    model = restored.model.eval()
    with torch.no_grad():
        latents = model.encoder(pixels, level)
        chosen, values = model.choose(latents, level)
        bits = model.index_bits(latents, values, chosen, level).sum()
        soft = model.prior.density_bits(values, level).sum()
        for part in model.prior.soft[1].layer.parameters():
            torch.nn.init.zeros_(part)
        unfitted = model.prior.density_bits(values, level).sum()
    assert 0.5 * bits < soft < min(1.5 * bits, 0.8 * unfitted)


def test_a_run_from_a_published_model_takes_its_configuration(pictures, tmp_path, tiny_model_dir):
    path = tmp_path / "run.toml"
    path.write_text('[training]\ndrawn = 0.0\nvalidation = 1\n[[training.stages]]\nkind = "vq"\nsteps = 2\nbatch = 2\ncrop = 32\n'
                    "late_crop = 32\nsearch = 1\n")
    train("image", [pictures], path, tmp_path / "run", models_dir=tiny_model_dir, from_model="tiny")
    assert config.from_dict(RunConfig, config.load_toml(tmp_path / "run" / "config.toml")).model == tiny_config()
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 2


def test_a_published_model_may_be_exported_into_a_new_folder(pictures, tmp_path, tiny_model_dir, monkeypatch):
    monkeypatch.setenv(registry.ENV, str(tiny_model_dir))
    path = tmp_path / "run.toml"
    path.write_text(config.to_toml(run_config(validation=0, stages=(StageConfig("prior", steps=1, **SMALL),))))
    train("image", [pictures], path, tmp_path / "run", "mine", tmp_path / "new" / "models", from_model="tiny")
    assert registry.find_by_name("mine", tmp_path / "new" / "models").id >= registry.FIRST_USER_ID
    with pytest.raises(InputError, match="no models here"):
        train("image", [pictures], path, tmp_path / "other", models_dir=tmp_path / "none", from_model="tiny")


def test_a_published_model_of_another_shape_is_refused(pictures, tmp_path, tiny_model_dir):
    path = tmp_path / "run.toml"
    for other in (dict(rank=(4, 5)), dict(context_channels=(20, 20))):
        model = replace(tiny_config(), prior=replace(tiny_config().prior, **other))
        path.write_text(config.to_toml(replace(run_config(), model=model)))
        with pytest.raises(UsageError, match="model 'tiny' has another shape"):
            train("image", [pictures], path, tmp_path / next(iter(other)), models_dir=tiny_model_dir, from_model="tiny")
    with pytest.raises(UsageError, match="not from both"):
        train("image", [pictures], path, tmp_path / "run", init=tmp_path / "stage0.pt", from_model="tiny")


def test_what_a_published_model_is_tuned_for_may_change(pictures, tmp_path, tiny_model_dir):
    transform = replace(tiny_config().transform, lambdas=(0.001, 0.004, 0.02), distortion="ms-ssim")
    stage = StageConfig("vq", steps=1, batch=1, crop=176, late_crop=176)
    trainer = Trainer(replace(run_config(stages=(stage,)), model=replace(tiny_config(), transform=transform)), [pictures],
                      tmp_path)
    trainer.begin(registry.find_by_name("tiny", tiny_model_dir))
    trainer._train_step()


def test_the_search_lowers_what_training_minimises(restored):
    pixels, level = restored.batch(-5, 64, 12)
    model, costs = restored.model.eval(), []
    with torch.no_grad():
        model.decoder.linear.weight.mul_(0.8)  # an encoder that does not fit its decoder: the search has to make up for it
    for steps in (0, 1, 3):
        latents, wish = model.searched(model.encoder(pixels, level), pixels, level, steps)
        chosen, values = model.choose_by(latents, wish, level)
        bits = model.index_bits(latents, values, chosen, level) / 64**2
        error = model.distortion(model.decoder(values, level), pixels)
        costs.append((bits + restored.lambdas[level.long()] * error).mean().item())
    assert costs[2] < costs[1] < 0.97 * costs[0]


def command(pictures, path, out) -> list[str]:
    return ["-m", "vqcodec", "train", "image", str(pictures), "--config", str(path), "--out", str(out)]


def test_a_signal_saves_and_ends_the_run(pictures, tmp_path):
    path, out = tmp_path / "run.toml", tmp_path / "run"
    path.write_text(config.to_toml(run_config(stages=(StageConfig("soft", steps=10**6, **SMALL),))))
    process = subprocess.Popen([sys.executable, *command(pictures, path, out)], stderr=subprocess.DEVNULL,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.time() + 120
    while not (out / "log.jsonl").exists() and time.time() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert torch.load(out / "state.pt", weights_only=True)["step"] > 0


def test_two_processes_train_one_model(pictures, tmp_path):
    path, out = tmp_path / "run.toml", tmp_path / "run"
    stages = (StageConfig("soft", steps=8, **SMALL), StageConfig("vq", steps=6, head_steps=2, **SMALL))
    path.write_text(config.to_toml(run_config(stages=stages)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517"]
    result = subprocess.run([*launch, *command(pictures, path, out)], capture_output=True, text=True, timeout=300,
                            check=False,
                            env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stderr[-2000:]
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["pixels"] > 2 * 13 * 4 * 32 * 32  # both processes' crops are counted, and logged once
    assert len(rows) == 4
