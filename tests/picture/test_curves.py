"""Curves against a tint: found, packed, applied."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import synthetic_picture

from vqcodec.errors import CorruptStreamError
from vqcodec.picture import curves
from vqcodec.picture import stream as container
from vqcodec.picture.codec import Codec
from vqcodec.picture.file import Picture
from vqcodec.picture.inspection import inspect
from vqcodec.picture.medium import MEDIUM
from vqcodec.picture.psnr import psnr
from vqcodec.zoo import registry

TINTED = np.array([3, -4, 2])


def bent(rgb: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    rgb = rgb.copy()
    curves.apply(rgb, nodes)
    return rgb


def find(decoded, rgb, bits=0.01, size=10000, counted=None, grey=False):
    return curves.find(decoded, rgb, counted, grey, bits, size)


def test_tables():
    assert np.array_equal(curves.table(np.zeros((5, 3), int)), np.repeat(np.arange(256)[:, None], 3, 1))
    assert curves.table(np.array([[8], [-8]]))[[0, 127, 255], 0].tolist() == [2, 127, 253]
    assert curves.table(np.array([[-128], [127]]))[[0, 10, 255], 0].tolist() == [0, 0, 255]  # clamped
    assert curves.table(np.array([[2], [2]]))[100, 0] == 101  # halves up
    nodes = np.array([[-128, 0, 127], [5, 6, 7]])
    assert np.array_equal(curves.unpack(curves.pack(nodes), False), nodes)
    assert np.array_equal(curves.unpack(b"\xff", True), [[-1]])


@pytest.mark.parametrize("data, grey", [(b"", False), (b"", True), (bytes(4), False), (bytes(30), False), (bytes(10), True)])
def test_other_lengths_are_refused(data, grey):
    with pytest.raises(CorruptStreamError, match=f"curves of {len(data)} bytes"):
        curves.unpack(data, grey)


def test_a_tint_is_taken_away():
    rgb = synthetic_picture(80, 100) // 2 + 60
    decoded = (rgb.astype(int) + TINTED).astype(np.uint8)
    nodes = find(decoded, rgb)
    assert np.array_equal(bent(decoded, nodes), rgb) and len(nodes) == 1


def test_what_depends_on_brightness_takes_more_nodes():
    rgb = synthetic_picture(80, 100)
    decoded = (rgb * 0.9 + 12 + np.random.default_rng(0).normal(0, 2, rgb.shape)).clip(0, 255).astype(np.uint8)
    nodes = find(decoded, rgb)
    after = bent(decoded, nodes).astype(int) - rgb
    assert len(nodes) > 1 and np.abs(after.mean((0, 1))).max() < 0.3 and np.square(after).mean() < 10
    assert find(decoded, rgb, bits=0, size=100) is None  # neither squares nor a tint are worth so large a part of the stream
    assert find(decoded, rgb, bits=0, size=5000) is not None


def test_noise_is_left_alone():
    rgb = synthetic_picture(80, 100) // 2 + 60
    decoded = (rgb.astype(int) + np.random.default_rng(0).integers(-5, 6, rgb.shape)).astype(np.uint8)
    assert find(decoded, rgb) is None


def test_painted_samples_do_not_count():
    rgb = np.full((40, 40, 3), 100, np.uint8)
    decoded = rgb.copy()
    decoded[:20] += 40
    decoded[20:] += 2
    counted = np.zeros((40, 40), bool)
    counted[20:] = True
    assert np.array_equal(bent(decoded, find(decoded, rgb, counted=counted))[20:], rgb[20:])


def test_grey_has_one_curve(tiny_model_dir):
    rgb = np.repeat(synthetic_picture(80, 100)[:, :, :1], 3, 2) // 2 + 60
    decoded = (rgb + 5).astype(np.uint8)
    nodes = find(decoded, rgb, grey=True)
    assert nodes.shape == (1, 1) and np.array_equal(bent(decoded, nodes), rgb)


def test_encoders_take_away_tints(tiny_model_dir):
    """The tiny model knows little of colour."""
    codec, decoder = (Codec.open(registry.find_by_name("tiny", tiny_model_dir), encoder=encodes) for encodes in (True, False))
    rgb = (synthetic_picture(200, 300) // 4 + np.array([180, 140, 60])).astype(np.uint8)
    data = codec.encode(Picture(rgb), 1, effort=1).data
    stream = container.unpack(data)
    assert stream.curves is not None
    decoded = decoder.decode(data).rgb
    assert np.abs((decoded.astype(int) - rgb).mean((0, 1))).max() < 0.5
    without = codec.encode_tokens(codec.decode_grids(data), 300, 200, 1).data
    assert MEDIUM.from_tokens(decoder, decoder.decode_grids(data), inspect(data), None) == data
    assert psnr(rgb, decoded) > psnr(rgb, decoder.decode(without).rgb)
    assert container.unpack(codec.encode(Picture(rgb), 1, effort=0).data).curves is None
