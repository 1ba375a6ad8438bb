"""Pages in colour: what is print, what is a photograph, and what comes back."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import vqcodec
from vqcodec.document.inspection import inspect
from vqcodec.document.judge import worth_layers
from vqcodec.document.layers import Layers, cleaned, find_print, joined, split
from vqcodec.document.pages import PageImage
from vqcodec.picture.colour import luma


def letter(width: int = 340, height: int = 220) -> np.ndarray:
    """uint8[H,W,3]: blue print on cream paper that gets darker to the right."""
    shade = 255 - np.linspace(0, 40, width)[None, :, None] - np.array([0, 5, 30])
    image = Image.fromarray(np.broadcast_to(shade, (height, width, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for line in range(7):
        draw.text((12, 10 + 28 * line), f"{line}. Sum of 86 and 68: {154 + line},00", fill=(20, 30, 110), font_size=19)
    return np.asarray(image)


def test_print_is_found_on_uneven_paper():
    page = letter()
    mask = find_print(luma(page), 200.0)
    truth = luma(page) < 130
    assert (mask != truth).mean() < 0.02 and 0.03 < mask.mean() < 0.2
    assert not find_print(np.full((50, 60), 230, np.uint8), 200.0).any()


def test_layers_show_the_page_again():
    page = PageImage(letter())
    parts = split(page, find_print(luma(page.samples), 200.0), 200.0)
    assert parts.below.shape == (110, 170, 3) and parts.ink.shape == (55, 85, 3)
    assert worth_layers(page, parts, 200.0)
    again = joined(parts)
    assert again.shape == page.samples.shape
    assert np.abs(again.astype(int) - page.samples).mean() < 6
    ink = parts.mask & np.roll(parts.mask, 1, 1) & np.roll(parts.mask, -1, 1)
    assert np.abs(again[ink].astype(int) - (20, 30, 110)).max() < 90
    # nothing of the ink gets into the paper
    assert luma(parts.below).min() > 180


def test_photographs_are_not_print():
    page = PageImage(np.asarray(Image.open(Path(__file__).parents[2] / "examples" / "coffee.png").convert("RGB")))
    mask = find_print(luma(page.samples), 200.0)
    assert not worth_layers(page, split(page, mask, 200.0), 200.0)
    blank = PageImage(np.full((64, 64, 3), 250, np.uint8))
    assert not worth_layers(blank, Layers(np.zeros((64, 64), bool), blank.samples[:1, :1], blank.samples[:1, :1]), 200.0)


def test_cleaning_takes_single_pixels_alone():
    mask = np.zeros((9, 12), bool)
    mask[2, 2] = mask[5:7, 5] = True
    mask[2:5, 8:11] = True
    mask[3, 9] = False
    wanted = mask.copy()
    wanted[2, 2], wanted[3, 9] = False, True
    np.testing.assert_array_equal(cleaned(mask), wanted)


@pytest.fixture(scope="module")
def coded():
    out = io.BytesIO()
    Image.fromarray(letter()).save(out, "PNG", dpi=(200, 200))
    return vqcodec.encode(out.getvalue(), model="pages-1", effort=0, quality=3)


def test_a_letter_is_layers_and_stays_readable(coded):
    found = inspect(coded).pages[0]
    assert found.kind == "layers" and found.dpi == (200, 200) and not found.cleaned
    image, = vqcodec.decode(coded)
    page = letter()
    assert image.size == (340, 220) and image.mode == "RGB"
    np.testing.assert_array_equal(vqcodec.tokens(coded)[0][0], find_print(luma(page), 200.0))
    assert np.abs(np.asarray(image, int) - page).mean() < 8


def test_without_a_mask_it_is_a_picture():
    data = vqcodec.encode([letter()], mask="off", effort=0, quality=3)
    assert inspect(data).pages[0].kind == "picture"
    image, = vqcodec.decode(data)
    assert image.size == (340, 220)


def test_layers_become_pdf(coded, tmp_path):
    pytest.importorskip("pikepdf")
    pypdfium2 = pytest.importorskip("pypdfium2")
    from click.testing import CliRunner

    from vqcodec.cli import main

    (tmp_path / "a.vq").write_bytes(coded)
    result = CliRunner().invoke(main, ["decode", str(tmp_path / "a.vq")])
    assert result.exit_code == 0, result.output
    shown = np.asarray(pypdfium2.PdfDocument(tmp_path / "a.pdf")[0].render(scale=200 / 72).to_pil().convert("RGB"), int)
    decoded = np.asarray(vqcodec.decode(coded)[0], int)
    assert abs(shown.shape[0] - 220) <= 1 and abs(shown.shape[1] - 340) <= 1
    assert np.abs(shown[:220, :340] - decoded[: shown.shape[0], : shown.shape[1]]).mean() < 12
