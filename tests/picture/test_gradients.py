"""Gradients that are written out, against differences of the values."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from conftest import synthetic_picture

from vqcodec.picture.distortion import ScaleSimilarity, against, blur, ms_ssim
from vqcodec.picture.transform import samples, soften


def numbers(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("spacing", [1, 2])
@pytest.mark.parametrize("last", [False, True])
def test_of_similarity(last, spacing):
    x, y = numbers(2, 2, 3, 14, 17)
    means = blur(y, spacing)
    of_y = y, means, blur(y * y, spacing) - means**2
    assert torch.autograd.gradcheck(lambda x: ScaleSimilarity.apply(x, *of_y, spacing, last), x.requires_grad_())


def test_windows_apart_are_some_of_all():
    x = numbers(2, 3, 14, 17)
    assert torch.allclose(blur(x, 2), blur(x)[:, :, ::2, ::2])


def test_every_other_window_gives_about_the_same_gradient():
    pixels = samples(synthetic_picture(256, 288, 0))
    decoded = F.avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False).requires_grad_()
    every, other = (torch.autograd.grad(f(decoded).sum(), decoded)[0]
                    for f in (partial(ms_ssim, pixels=pixels), against("ms-ssim", pixels)))
    assert F.cosine_similarity(every.flatten(), other.flatten(), 0) > 0.995


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (2, 5, 7, 1)])
def test_of_soften(shape):
    assert torch.autograd.gradcheck(soften, (4 * numbers(*shape) - 2).requires_grad_())
