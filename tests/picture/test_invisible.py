"""Colours that nobody sees: filled without regard to what was there, smoothly, in bounded memory."""

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import synthetic_picture

from vqcodec.picture.file import Picture
from vqcodec.picture.invisible import fill_invisible

RNG = np.random.default_rng(0)


def cut_out(height: int = 256, width: int = 256) -> np.ndarray:
    """Alpha: a disc with a soft edge, one sixth of the picture."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 2)
    return np.clip((0.23 * min(height, width) - distance) * 100, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(256, 256), (1, 9), (9, 1), (301, 127), (130, 258)])
def test_the_result_does_not_depend_on_what_was_hidden(size):
    alpha = cut_out(*size)
    alpha[0, 0] = 255
    photograph = synthetic_picture(*size)
    noise = np.where(alpha[..., None] > 0, photograph, RNG.integers(0, 256, (*size, 3))).astype(np.uint8)
    one, other = fill_invisible(Picture(photograph, alpha)), fill_invisible(Picture(noise, alpha))
    assert (alpha == 0).any() and np.array_equal(one.rgb, other.rgb) and one.alpha is alpha
    assert np.array_equal(one.rgb[alpha > 0], photograph[alpha > 0])


def test_pictures_are_not_changed_in_place_and_stay_what_they_are():
    photograph, alpha = synthetic_picture(20, 30), cut_out(20, 30)
    before = photograph.copy()
    assert not np.array_equal(fill_invisible(Picture(photograph, alpha)).rgb, before)
    assert np.array_equal(photograph, before)
    for picture in (Picture(photograph), Picture(photograph, np.maximum(alpha, 1))):
        assert fill_invisible(picture) is picture
    assert fill_invisible(Picture(photograph, alpha), exact=True).rgb is photograph
    grey = fill_invisible(Picture(np.repeat(photograph[..., :1], 3, 2), alpha, True))
    assert grey.grey and (grey.rgb == grey.rgb[..., :1]).all()


def test_nothing_visible_becomes_one_colour():
    filled = fill_invisible(Picture(synthetic_picture(20, 30), np.zeros((20, 30), np.uint8)))
    assert len(np.unique(filled.rgb)) == 1


def test_the_fill_is_smooth_and_meets_the_edge():
    y, x = np.mgrid[:200, :300]
    ramp = np.stack([x * 255 / 300, y * 255 / 200, np.full_like(x, 90)], axis=-1).astype(np.uint8)
    alpha = np.full((200, 300), 255, np.uint8)
    alpha[60:120, 100:180] = 0
    hidden = np.where(alpha[..., None] == 0, 255, ramp).astype(np.uint8)
    filled = fill_invisible(Picture(hidden, alpha)).rgb.astype(int)
    assert np.abs(filled - ramp).max() < 30 and (filled[..., 2] == 90).all()
    assert max(np.abs(np.diff(filled, axis=axis)).max() for axis in (0, 1)) < 12  # the ramp's own steps are 1 and 2


def test_files_are_smaller():
    from vqcodec.picture.codec import Codec
    from vqcodec.zoo.registry import find_by_name

    codec = Codec.open(find_by_name("photo-3"))
    texture = RNG.normal(0, 60, (64, 64, 1)).repeat(4, 0).repeat(4, 1)  # busier than the synthetic picture
    hidden = Picture(np.clip(synthetic_picture(256, 256) + texture, 0, 255).astype(np.uint8), cut_out())
    before, after = (len(codec.encode(picture, 3, effort=0).data) for picture in (hidden, fill_invisible(hidden)))
    assert after < 0.6 * before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_memory_is_bounded():
    """12 megapixels, 36 MB: a copy of these, and twice as much beside."""
    script = """
import re
import numpy as np
from vqcodec.picture.file import Picture
from vqcodec.picture.invisible import fill_invisible

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])

rgb, alpha = np.full((3000, 4000, 3), 7, np.uint8), np.zeros((3000, 4000), np.uint8)
alpha[1000:2000] = 255
before = peak()
fill_invisible(Picture(rgb, alpha))
print(peak() - before)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(result.stdout) < 3.5 * 36_000
