"""Gradients that are written out, against differences of the values."""

from __future__ import annotations

import pytest
import torch

from vqcodec.distortion import ScaleSimilarity, blur
from vqcodec.transform import soften


def numbers(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("last", [False, True])
def test_of_similarity(last):
    x, y = numbers(2, 2, 3, 14, 17)
    assert torch.autograd.gradcheck(lambda x: ScaleSimilarity.apply(x, y, blur(y), blur(y * y) - blur(y) ** 2, last), x.requires_grad_())


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (2, 5, 7, 1)])
def test_of_soften(shape):
    assert torch.autograd.gradcheck(soften, (4 * numbers(*shape) - 2).requires_grad_())
