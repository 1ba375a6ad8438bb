"""The network in NumPy against that in torch: pixels within one, as `test_golden` asks of other machines too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vqcodec.picture import codec as codec_module
from vqcodec.picture import synthesis
from vqcodec.picture.codec import Codec
from vqcodec.picture.config import TransformConfig
from vqcodec.picture.file import Picture
from vqcodec.picture.transform import Decoder
from vqcodec.zoo import loading, registry

from conftest import synthetic_picture


@pytest.fixture(scope="module")
def codecs(tiny_model_dir):
    entry = registry.find_by_name("tiny", tiny_model_dir)
    return Codec.open(entry, encoder=False), Codec.open(entry)


def latents(seed, config, rows, columns):
    return np.random.default_rng(seed).normal(0, 2, (rows, columns, config.latent_dims)).astype(np.float32)


@pytest.mark.parametrize("config", [TransformConfig(), TransformConfig(latent_dims=5, channels=(3, 5, 7), decoder_blocks=(0, 2, 1))])
def test_shapes_are_those_of_the_network_in_torch(config):
    with torch.device("meta"):
        assert synthesis.shapes(config) == loading.shapes(Decoder(config))


@pytest.mark.parametrize("rows, columns", [(1, 1), (1, 5), (5, 1), (4, 6)])
@pytest.mark.parametrize("sixteenths", [0, 7, 32])
def test_every_layer_agrees(rows, columns, sixteenths, monkeypatch):
    """With weights as large as may be, in pieces of few rows, at borders and between qualities."""
    monkeypatch.setattr(synthesis, "POSITIONS", 50)
    config = TransformConfig(latent_dims=6, channels=(8, 9, 10), decoder_blocks=(1, 2, 1), lambdas=(1.0, 2.0, 3.0))
    torch.manual_seed(0)
    net = Decoder(config).eval().requires_grad_(False)
    for tensor in net.state_dict().values():
        tensor.normal_(0, 0.3)
    network = synthesis.Synthesis({name: tensor.numpy() for name, tensor in net.state_dict().items()}, config)
    values = latents(1, config, rows, columns)
    expected = net(torch.from_numpy(values).permute(2, 0, 1)[None], torch.tensor([sixteenths / 16]))[0].permute(1, 2, 0).numpy()
    found = network(values, sixteenths)
    assert found.dtype == np.float32 and np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_pictures_in_one_strip_and_in_several(codecs, monkeypatch):
    ours, theirs = codecs
    data = theirs.encode(Picture(synthetic_picture(333, 70)), 2.4375).data
    expected, whole = theirs.decode(data).rgb, ours.decode(data).rgb
    assert whole.shape == (333, 70, 3) and np.abs(whole.astype(int) - expected).max() <= 1
    monkeypatch.setattr(codec_module, "STRIP_PIXELS", 1)
    assert len(codec_module.strips(21, 5)) == 3
    assert np.abs(ours.decode(data).rgb.astype(int) - whole).max() <= 1


def test_a_decoder_says_that_it_does_not_encode(codecs):
    from vqcodec.errors import UnsupportedError

    with pytest.raises(UnsupportedError, match="without its encoder"):
        codecs[0].encode(Picture(synthetic_picture(20, 20)), 1)


@pytest.mark.parametrize("setting", ["raise", "ignore"])
def test_errors_of_numpy_that_the_caller_wants_do_not_matter(codecs, setting):
    ours, theirs = codecs
    data = theirs.encode(Picture(synthetic_picture(40, 50)), 3).data
    expected = ours.decode(data).rgb
    with np.errstate(all=setting):
        np.testing.assert_array_equal(ours.decode(data).rgb, expected)
