"""The network in NumPy against that in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vqcodec.sound import synthesis
from vqcodec.sound.config import AudioTransformConfig
from vqcodec.sound.transform import Decoder
from vqcodec.zoo import loading

MUSIC = dict(channels=2, latent_dims=40, tones=(6, 3), hop=24, bands=0)
SPEECH = dict(latent_dims=12, hop=16)


@pytest.mark.parametrize("sixteenths", [0, 7, 16])
@pytest.mark.parametrize("frames", [1, 2, 3, 30])
@pytest.mark.parametrize("shape", [MUSIC, SPEECH])
def test_every_layer_agrees(shape, frames, sixteenths):
    config = AudioTransformConfig(widths=(10, 14), decoder_dilations=((1, 4), (2,)), lambdas=(1.0, 2.0), **shape)
    torch.manual_seed(0)
    net = Decoder(config).eval().requires_grad_(False)
    assert synthesis.shapes(config) == loading.shapes(net)
    for tensor in net.state_dict().values():
        tensor.normal_(0, 0.2)
    network = synthesis.Synthesis({name: tensor.numpy() for name, tensor in net.state_dict().items()}, config)
    latents = np.random.default_rng(1).normal(0, 2, (frames, config.latent_dims)).astype(np.float32)
    noise = synthesis.white_noise(5, frames * config.step, config.channels)
    expected = net(torch.from_numpy(latents.T.copy())[None, :, None], torch.tensor([sixteenths / 16]),
                   torch.from_numpy(noise)[None, :, None])[0, :, 0].numpy()
    found = network(latents, sixteenths, noise)
    assert found.dtype == np.float32 and found.shape == (config.channels, frames * config.step)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
