"""Encoding pictures to a target: what is estimated, and that it takes few encodes."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import synthetic_picture

from vqcodec.indices.target import NEAR_DECIBELS
from vqcodec.picture import aiming
from vqcodec.picture.aiming import TILE, Aim, drawn_tiles, mosaic_shape, tile_errors
from vqcodec.picture.codec import Codec
from vqcodec.picture.file import Picture
from vqcodec.picture.psnr import psnr
from vqcodec.picture.torch_codec import TorchCodec
from vqcodec.zoo import registry


@pytest.fixture(scope="module")
def codec(tiny_model_dir):
    return Codec.open(registry.find_by_name("tiny", tiny_model_dir))


def uneven(height: int, width: int) -> Picture:
    """Noise on the left, next to nothing on the right."""
    rgb = synthetic_picture(height, width)
    rgb[:, width // 2 :] = rgb[:, width // 2 :] // 8 + 100
    return Picture(rgb)


def test_tiles_are_drawn_by_how_much_they_differ():
    rgb = np.zeros((3 * TILE + 5, 2 * TILE + 100, 3), np.uint8)
    decoded = rgb.copy()
    decoded[TILE : 2 * TILE, :TILE] = 2
    decoded[2 * TILE :, TILE:] = 1
    errors = tile_errors(rgb, decoded)
    assert errors.tolist() == [[0, 0], [4 * TILE * TILE * 3, 0], [0, TILE * TILE * 3]]
    assert drawn_tiles(errors, 4) == 3 * [(TILE, 0)] + [(2 * TILE, TILE)]
    assert len(set(drawn_tiles(tile_errors(rgb, rgb), 6))) == 6


def test_mosaics_are_much_less_than_their_pictures():
    for height, width in ((512, 512), (448, 450), (1, 300_000), (1000, 1000), (5000, 9000), (100, 5000)):
        shape = mosaic_shape(height, width)
        assert shape is None or shape[0] * shape[1] * TILE**2 <= height * width / 3.9
    assert mosaic_shape(512, 768) and not mosaic_shape(300, 300) and not mosaic_shape(TILE - 1, 100_000)


@pytest.mark.parametrize("sixteenths", [6, 24])
def test_a_searched_mosaic_tells_the_psnr_of_encodes(codec, sixteenths):
    aim = Aim(codec, uneven(460, 450), 2, None, None)
    result, coded = codec.attempt(aim.picture, sixteenths, 2)
    pixels = codec.found(coded, aim.picture, sixteenths)
    reached = psnr(aim.picture.rgb, codec.decode(result.data).rgb)
    assert reached == psnr(aim.picture.rgb, pixels)
    assert abs(aim.searched_psnr_at(sixteenths) - reached) < min(0.3, abs(aim.psnr_at(sixteenths) - reached))


def test_estimated_bytes_are_nearly_those_of_encodes(codec):
    aim = Aim(codec, uneven(200, 240), 0, b"alpha", b"metadata")
    assert aim.bytes_at(16) == pytest.approx(len(codec.attempt(aim.picture, 16, 0, b"alpha", b"metadata")[0].data), rel=0.5)


def test_psnr_takes_two_and_a_half_encodes_mosaics_included(codec, monkeypatch):
    pixels, search = [], TorchCodec.search

    def counting(self, picture, *arguments, **options):
        pixels[-1] += picture.rgb.shape[0] * picture.rgb.shape[1]
        return search(self, picture, *arguments, **options)

    monkeypatch.setattr(TorchCodec, "search", counting)
    picture = uneven(460, 450)
    for target in (30.0, 31.0, 32.0):
        pixels.append(0)
        found = codec.encode_to_target(picture, psnr=target, effort=1)
        assert abs(psnr(picture.rgb, codec.decode(found.data).rgb) - target) <= NEAR_DECIBELS
    assert sum(pixels) / len(pixels) <= 2.5 * 460 * 450, [count / 460 / 450 for count in pixels]


def test_pictures_without_error_are_estimated(codec, monkeypatch):
    plain = Picture(np.full((448, 448, 3), 128, np.uint8))
    aim = Aim(codec, plain, 2, None, None)
    monkeypatch.setattr(aiming, "psnr", lambda *arrays: np.inf)
    assert aim.searched_psnr_at(16) == np.inf
