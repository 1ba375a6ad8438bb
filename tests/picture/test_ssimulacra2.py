"""SSIMULACRA2 in torch against the published implementation in Python, and as something to train for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import synthetic_picture, tiny_config
from PIL import Image

from vqcodec.errors import UsageError
from vqcodec.picture import distortion, ssimulacra2
from vqcodec.picture.training import RunConfig
from vqcodec.picture.transform import samples
from vqcodec.train.config import StageConfig, TrainingConfig, check
from vqcodec.train.run import Trainer

reference = pytest.importorskip("ssimulacra2")
PHOTOGRAPH = Path(__file__).parents[2] / "examples" / "coffee.png"


def spoilt(picture: np.ndarray, quality: int, folder: Path) -> tuple[Path, Path]:
    """Paths of a picture and of what JPEG leaves of it."""
    original, jpeg, decoded = folder / "original.png", folder / "spoilt.jpg", folder / "spoilt.png"
    Image.fromarray(picture).save(original)
    Image.fromarray(picture).save(jpeg, quality=quality)
    Image.open(jpeg).save(decoded)
    return original, decoded


def tensors(*paths: Path) -> list[torch.Tensor]:
    return [samples(np.array(Image.open(path).convert("RGB"))) for path in paths]


@pytest.mark.parametrize("quality, size", [(8, (256, 320)), (50, (261, 303)), (92, (277, 258))])
def test_scores_are_those_of_the_published_implementation(tmp_path, quality, size):
    original, decoded = spoilt(synthetic_picture(*size), quality, tmp_path)
    pixels, spoiled = tensors(original, decoded)
    score = ssimulacra2.score(ssimulacra2.error(spoiled, pixels)).item()
    assert abs(score - reference.compute_ssimulacra2(original, decoded)) < 0.15


def test_scores_of_a_photograph(tmp_path):
    picture = np.array(Image.open(PHOTOGRAPH).convert("RGB"))[:270, :300]
    for quality in (15, 60, 95):
        original, decoded = spoilt(picture, quality, tmp_path)
        pixels, spoiled = tensors(original, decoded)
        known = ssimulacra2.error(spoiled, pixels, original=ssimulacra2.scales(pixels))
        assert torch.equal(known, ssimulacra2.error(spoiled, pixels))
        assert abs(ssimulacra2.score(known).item() - reference.compute_ssimulacra2(original, decoded)) < 0.15


def test_errors_are_zero_for_the_same_and_rise_with_noise():
    pixels = samples(synthetic_picture(128, 144)).expand(3, -1, -1, -1)
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.0, 0.02, 0.1])[:, None, None, None]
    for edges in (False, True):
        errors = ssimulacra2.error((pixels + noise).clamp(0, 1), pixels, edges)
        assert errors[0] < 0.01 and 10 * errors[0] < errors[1] < errors[2]


def test_gradients_lead_to_less_error():
    pixels = samples(synthetic_picture(128, 128))
    decoded = (pixels + 0.05 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))).clamp(0.01, 0.99)
    for steps in range(3):
        decoded.requires_grad_()
        error = ssimulacra2.error(decoded, pixels, True)
        slope = torch.autograd.grad(error.sum(), decoded)[0]
        assert slope.isfinite().all()
        closer = (decoded - 0.001 * slope / slope.square().mean().sqrt()).detach()
        assert ssimulacra2.error(closer, pixels, True) < error
        decoded = closer
    same = pixels.clone().requires_grad_()  # roots of zero have no slope
    assert torch.autograd.grad(ssimulacra2.error(same, pixels).sum(), same)[0].isfinite().all()


def by_autograd(decoded, pixels, edges, spacing):
    """`ssimulacra2.error` in float64, as it is defined."""
    total = 0.0
    light = [torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) for x in (decoded.clamp(0, 1), pixels)]
    for weights, channels, apart in zip(ssimulacra2.WEIGHTS, ssimulacra2.CHANNELS, spacing):
        rows, columns = (ssimulacra2.window(side, reflect)[::apart].double()
                         for side, reflect in zip(light[0].shape[2:], (True, edges)))
        x, y = (torch.stack([plane[:, channel] for channel in channels], 1) for plane in map(xyb, light))
        mx, my, sxx, syy, sxy = (rows @ z @ columns.mT for z in (x, y, x * x, y * y, x * y))
        alike = (1 - (mx - my) ** 2) * (2 * (sxy - mx * my) + ssimulacra2.C2) / (sxx - mx**2 + syy - my**2 + ssimulacra2.C2)
        x, y = x[..., ::apart, ::apart], y[..., ::apart, ::apart]
        ratio = (1 + (x - mx).abs()) / (1 + (y - my).abs()) - 1
        found = {ssimulacra2.SIMILAR: 1 - alike, ssimulacra2.RINGING: ratio, ssimulacra2.BLURRED: -ratio}
        for (channel, kind, norm), weight in weights.items():
            errors = found[kind][:, channels.index(channel)].clamp_min(0)
            total = total + weight * ((errors**norm).mean((1, 2)) + 1e-30) ** (1 / norm)
        light = [torch.nn.functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False) for x in light]
    return total


def xyb(light):
    mixed = torch.einsum("oc,bchw->bohw", torch.tensor(ssimulacra2.ABSORBANCE).double(), light) + ssimulacra2.BIAS
    mixed = mixed ** (1 / 3) - ssimulacra2.BIAS ** (1 / 3)
    y = (mixed[:, 0] + mixed[:, 1]) / 2
    return torch.stack([(mixed[:, 0] - mixed[:, 1]) * 7 + 0.42, y + 0.01, mixed[:, 2] - y + 0.55], 1)


@pytest.mark.parametrize("edges, spacing", [(False, (1,) * 5), (True, (2, 2, 1, 1, 1)), (False, (3, 1, 2, 1, 1))])
def test_gradients_are_those_of_the_errors(edges, spacing):
    pixels = samples(synthetic_picture(150, 203)).expand(2, -1, -1, -1).contiguous()
    decoded = pixels + 0.06 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(1))  # some beyond 0 and 1
    decoded.requires_grad_()
    errors = ssimulacra2.error(decoded, pixels, edges, ssimulacra2.scales(pixels, edges, spacing))
    expected = by_autograd(decoded.double(), pixels.double(), edges, spacing)
    assert torch.allclose(errors.double(), expected, rtol=1e-4)
    parts = torch.tensor([1.0, 3.0])
    found, wanted = (torch.autograd.grad((e * parts).sum(), decoded)[0] for e in (errors, expected))
    assert (found - wanted).norm() < 0.005 * wanted.norm()


def test_windows_further_apart_see_nearly_the_same():
    pixels = samples(synthetic_picture(256, 320))
    spoilt_pixels = pixels + 0.04 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(2))
    every, some = (ssimulacra2.error(spoilt_pixels, pixels, original=ssimulacra2.scales(pixels, False, spacing))
                   for spacing in ((1,) * 5, distortion.SPACING))
    assert abs(every - some) < 0.01 * every and every != some


def test_the_tint_of_flat_blocks_counts_and_of_others_hardly():
    flat, busy = torch.full((1, 3, 48, 48), 0.9), torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    tints = [distortion.flat_error(x + 2 / 255, x).item() for x in (flat, busy)]
    assert tints[0] == pytest.approx(4, rel=1e-3) and tints[1] < 0.01
    speckled = flat + 0.1 * (torch.arange(48) % 2 * 2 - 1)  # errors that cancel out in each block
    assert distortion.flat_error(speckled, flat) < 1e-3
    assert distortion.mixed(flat + 2 / 255, flat) > distortion.FLAT_SHARE * 4


def test_errors_of_colour_count_once_more():
    pixels = samples(synthetic_picture(192, 192)) * 0.5 + 0.2
    grey, red = (pixels + 0.05 * torch.tensor(shift)[:, None, None] for shift in ([1.0] * 3, [1.0, 0, 0]))
    assert distortion.chroma_error(grey, pixels).item() == pytest.approx(0, abs=1e-4)
    expected = (0.05 * 255) ** 2 * ((1 - 0.299) ** 2 + 2 * 0.299**2) / 3
    assert distortion.chroma_error(red, pixels).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("side, counts", [(192, True), (160, False)])
def test_the_mix_has_its_parts_and_small_pictures_go_without_ms_ssim(side, counts):
    pixels = samples(synthetic_picture(side, side))
    decoded = (pixels + 0.03 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    parts = (distortion.SSIMULACRA2_UNIT * ssimulacra2.error(decoded, pixels) + distortion.SSIMULACRA2_MSE_SHARE * distortion.mse(decoded, pixels)
             + distortion.CHROMA_SHARE * distortion.chroma_error(decoded, pixels)
             + distortion.FLAT_SHARE * distortion.flat_error(decoded, pixels)).item()
    rest = distortion.mixed(decoded, pixels).item() - parts
    missing = distortion.SSIMULACRA2_MS_SSIM_UNIT * (1 - distortion.similarity(decoded, pixels).item()) if counts else 0
    assert rest == pytest.approx(missing, abs=1e-2) and (missing > 0.5) == counts
    assert distortion.against("ssimulacra2", pixels)(decoded).item() == pytest.approx(parts + rest, rel=0.05)


def test_training_raises_the_score(tmp_path):
    for i in range(3):
        Image.fromarray(synthetic_picture(256, 288, i)).save(tmp_path / f"{i}.png")
    stage = StageConfig("soft", steps=60, batch=2, crop=128, late_crop=128, learning_rate=1e-2)
    model = replace(tiny_config(), transform=replace(tiny_config().transform, distortion="ssimulacra2"))
    trainer = Trainer(RunConfig(model, TrainingConfig(drawn=0.0, validation=1, validate_every=0, stages=(stage,))),
                      [tmp_path], tmp_path / "run")
    trainer.begin()
    rows = [trainer.medium.validate(trainer.model, trainer.validation, True, 0)]
    for _ in range(60):
        trainer._train_step()
    rows.append(trainer.medium.validate(trainer.model, trainer.validation, True, 0))
    assert set(rows[0][0]) == {"quality", "bpp", "psnr", "ssimulacra2"}
    costs = [sum(row["bpp"] - row["ssimulacra2"] / 100 for row in table) for table in rows]
    assert costs[1] < costs[0] - 0.02


def test_crops_must_be_large_enough():
    stage = StageConfig("soft", crop=112, late_crop=192)
    model = replace(tiny_config(), transform=replace(tiny_config().transform, distortion="ssimulacra2"))
    with pytest.raises(UsageError, match="SSIMULACRA2 needs crops of 128"):
        check(RunConfig(model, TrainingConfig(stages=(stage,))))
