"""The encoder's search: cheaper files at more effort, gradients in strips, limits."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import synthetic_picture
from PIL import Image

from vqcodec.indices import quantize
from vqcodec.picture import search as refine
from vqcodec.zoo import registry
from vqcodec.picture.codec import Codec
from vqcodec.indices.config import QuantizerConfig
from vqcodec.picture.config import TransformConfig
from vqcodec.picture.distortion import KINDS
from vqcodec.errors import UsageError
from vqcodec.picture.file import Picture


@pytest.fixture(scope="module")
def codec(tiny_model_dir):
    return Codec.open(registry.find_by_name("tiny", tiny_model_dir))


def cost(codec, picture, quality: int, effort: int) -> float:
    """Bits per pixel + λ·distortion, of the file and the decoded picture."""
    encoded = codec.encode(picture, quality, effort=effort)
    pixels = [torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255
              for rgb in (codec.decode(encoded.data).rgb, picture.rgb)]
    t = codec.model.transform
    return encoded.bpp + t.lambdas[quality - 1] * KINDS[t.distortion](*pixels).item()


@pytest.mark.parametrize("model, qualities, longest", [("photo-3", (5,), 0.9), ("photo-ssim-1", (3, 7), 0.975)])
def test_more_effort_makes_files_cheaper(model, qualities, longest):
    """By the shipped models: the tests' tiny one is a linear transform with nothing left to find."""
    codec = Codec.open(registry.find_by_name(model))
    with Image.open(Path(__file__).parents[2] / "examples" / "coffee.png") as image:
        picture = Picture(np.asarray(image.convert("RGB").crop((180, 100, 388, 292))))
    costs = np.array([[cost(codec, picture, quality, effort) for effort in range(5)] for quality in qualities])
    costs /= costs[:, :1]
    assert (np.diff(costs.mean(0)) < 0).all()
    assert (np.diff(costs[:, :3]) < 0).all() and (costs[:, 3:].min(1) < costs[:, 2]).all()
    assert (np.diff(costs) < 0.004 * costs[:, :-1]).all()  # at one quality the last steps may be in vain
    assert (costs[:, 2] < 0.98).all() and (costs[:, 4] < longest).all()


def test_effort_beyond_the_scale_is_refused(codec):
    for effort in (-1, 6):
        with pytest.raises(UsageError, match="effort must be between 0 and 5"):
            codec.encode(Picture(synthetic_picture(20, 20)), 1, effort=effort)


def test_usual_effort_depends_on_the_size():
    assert refine.checked_effort(None, 2048, 2048) == 2 and refine.checked_effort(None, 2049, 2048) == 1
    assert refine.checked_effort(0, 5000, 5000) == 0


def test_pulls_fall_where_a_distortion_is_a_norm():
    steep, even = refine.SEARCHES["ssimulacra2"], refine.SEARCHES["mse"]
    slopes = [0.002, refine.STEEP_FROM, 4 * refine.STEEP_FROM]
    assert [steep.damping(slope) for slope in slopes] == pytest.approx([1, 1, 0.5])
    assert steep.damping(torch.tensor(slopes)).tolist() == pytest.approx([1, 1, 0.5])
    assert even.damping(0.5) == even.damping(torch.tensor(slopes)) == 1


@pytest.mark.parametrize("kind", refine.SEARCHES)
def test_the_search_does_not_run_away(kind):
    """Where the distortion is much steeper than the search assumes, each step goes too far and the next one farther."""
    search = refine.SEARCHES[kind]
    layouts = quantize.layouts(QuantizerConfig(slices=(2, 6), dims=(1, 2), codewords=(8, 8)))
    latents = torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(0)) * 3

    rates = SimpleNamespace(prior=SimpleNamespace(layouts=layouts), nearest=lambda y: [],
                            choose=lambda y, *_: (torch.round(y), []))
    for steps, limit in ((1, 0.5), (2, 0.6), (10, 1.0)):
        moved, _ = refine.refine(latents, steps, search, rates, lambda chosen: 200 * (chosen - latents))
        away = (moved - latents).abs().max()
        assert 0 < away <= limit + 1e-5


def gradient(codec, chosen, rgb, transform=None):
    return refine.DistortionGradient(codec.decoder, transform or codec.model.transform, rgb, 1.0)(chosen)


def test_gradient_is_that_of_the_decoded_picture(codec, monkeypatch):
    monkeypatch.setattr(refine, "fast_arithmetic", nullcontext)
    rgb = synthetic_picture(43, 58)  # not whole patches: what lies beyond the picture must not count
    latents = codec.latents(rgb, 16).clone()
    found = gradient(codec, latents, rgb)
    direction = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)) * 0.01
    pixels = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].double()

    def bits(y):
        decoded = codec.decoder(y, torch.tensor([1.0]))[:, :, :43, :58].double() * 255
        return codec.model.transform.lambdas[1] * (decoded - pixels).square().sum() / 3

    with torch.no_grad():
        slope = bits(latents + direction) - bits(latents - direction)
    assert torch.isclose(2 * (found * direction).sum().double(), slope, rtol=0.02)


@pytest.mark.parametrize("height, width", [(700, 48), (33, 500), (330, 410)])
def test_gradient_in_tiles_is_near_the_whole(codec, monkeypatch, height, width):
    monkeypatch.setattr(refine, "fast_arithmetic", nullcontext)
    rgb = synthetic_picture(height, width)
    latents = codec.latents(rgb, 16).clone()
    whole = gradient(codec, latents, rgb)
    monkeypatch.setattr(refine, "TILE", 12)
    parts = gradient(codec, latents, rgb)
    assert torch.allclose(parts, whole, rtol=1e-4, atol=1e-4 * whole.abs().max())


def test_tiles_cover_everything_once_and_are_large_enough():
    for count in range(1, 400):
        own, near = zip(*refine.tiles(count))
        assert [i for part in own for i in range(part.start, part.stop)] == list(range(count))
        sizes = [part.stop - part.start for part in own]
        assert max(sizes) <= refine.TILE and max(sizes) - min(sizes) <= 1
        assert all(part.stop - part.start >= min(count, 12) for part in near)  # 11 and a partial one are MS-SSIM's 176


def test_ms_ssim_gradient_needs_a_picture_of_some_size(codec):
    transform = TransformConfig(**{**vars(codec.model.transform), "distortion": "ms-ssim"})
    assert not refine.applicable(transform, 175, 500) and refine.applicable(transform, 176, 500)
    rgb = synthetic_picture(400, 200)
    assert gradient(codec, codec.latents(rgb, 16).clone(), rgb, transform).abs().sum() > 0


def test_lambda_is_interpolated_between_qualities():
    transform = TransformConfig(lambdas=(0.001, 0.004, 0.016))
    found = [refine.slope(transform, level) for level in (0, 0.5, 1, 1.5, 2)]
    assert np.allclose(found, [0.001, 0.002, 0.004, 0.008, 0.016])
    assert refine.slope(TransformConfig(lambdas=(0.01,)), 0) == 0.01
