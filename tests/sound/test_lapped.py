"""The lapped transform: exact back, of equal energy, sharp in frequency, and the same in pieces."""

from __future__ import annotations

import pytest
import torch

from vqcodec.sound import lapped


@pytest.mark.parametrize(("size", "frames"), [(80, 5), (960, 3), (9, 4), (80, 1)])
def test_all_coefficients_give_the_samples_back(size, frames):
    torch.manual_seed(0)
    samples = torch.randn(2, 2, 1, size * frames)
    coefficients = lapped.analyse(samples, size, size)
    assert coefficients.shape == (2, 2, frames, size)
    assert torch.allclose(coefficients.square().sum() * size / 2, samples.square().sum(), rtol=1e-4)
    assert torch.allclose(lapped.synthesise(coefficients, size), samples, atol=1e-5)


def test_a_tone_is_two_coefficients():
    time = torch.arange(960 * 6) / 48000
    coefficients = lapped.analyse(torch.sin(2 * torch.pi * 1000 * time)[None, None, None], 960, 200)[0, 0, 1:-1]
    power = coefficients.square()
    assert power[:, 39:41].sum() > 0.999 * power.sum()  # of 25 Hz each
    assert (power.sum(1) - 1).abs().max() < 0.02


def test_few_coefficients_are_a_low_pass():
    torch.manual_seed(0)
    samples = torch.randn(1, 1, 1, 80 * 20)
    low = lapped.synthesise(lapped.analyse(samples, 80, 20), 80)
    spectrum = torch.fft.rfft(low[0, 0, 0]).abs().square()
    assert spectrum[300:].sum() < 0.02 * spectrum.sum()  # a quarter of the band, and a bit


def test_pieces_are_as_the_whole_but_for_half_a_frame_at_their_ends():
    torch.manual_seed(0)
    samples = torch.randn(1, 1, 1, 80 * 10)
    whole, piece = lapped.analyse(samples, 80, 30), lapped.analyse(samples[..., 240:640], 80, 30)
    assert torch.allclose(whole[:, :, 4:7], piece[:, :, 1:4], atol=1e-5)
    assert not torch.allclose(whole[:, :, 3], piece[:, :, 0], atol=1e-2)
    back, part = lapped.synthesise(whole, 80), lapped.synthesise(whole[:, :, 3:8], 80)
    assert torch.allclose(back[..., 240 + 40 : 640 - 40], part[..., 40:-40], atol=1e-5)
