"""Drawn pictures among the crops."""

from __future__ import annotations

import random

import numpy as np
import pytest
from conftest import synthetic_picture
from PIL import Image

from vqcodec.picture import crops as crops_module
from vqcodec.picture import drawn


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(2):
        Image.fromarray(synthetic_picture(256, 288, i)).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


def crops(photographs, share, monkeypatch, count=16):
    monkeypatch.setattr(crops_module, "DRAWN", count)
    return crops_module.Crops(photographs, share=share)


def test_drawn_pictures_depend_on_seed_and_number_alone():
    one, two, other = drawn.pictures(len(drawn.KINDS), 3), drawn.pictures(len(drawn.KINDS), 3), drawn.pictures(2, 4)
    assert all(p.shape == (drawn.SIDE, drawn.SIDE, 3) and p.dtype == np.uint8 for p in one)
    assert all(np.array_equal(a, b) for a, b in zip(one, two))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other))


def test_kinds_are_what_they_are_called():
    by_kind = dict(zip([kind.__name__ for kind in drawn.KINDS], drawn.pictures(len(drawn.KINDS), 0)))
    assert by_kind["flat"].std((0, 1)).max() == 0 and by_kind["textured"].std((0, 1)).min() > 0
    for kind in ("page", "chart", "lines", "screenshot"):  # most of it is one colour
        colours, counts = np.unique(by_kind[kind].reshape(-1, 3) // 16, axis=0, return_counts=True)
        assert len(colours) > 3 and counts.max() > 0.15 * counts.sum(), kind


def test_pages_are_drawn_without_fonts(monkeypatch):
    monkeypatch.setattr(drawn, "FONTS", "/nonexistent")
    assert drawn.pictures(2, 0)[1].std() > 5


def test_a_share_of_the_crops_is_drawn(photographs, monkeypatch):
    plain = sum(int(c.float().std((1, 2)).max() == 0) for c in crops(photographs, 0.5, monkeypatch).batch(1, 48, 64))
    assert 4 < plain < 40  # a quarter of the drawn pictures is of one colour, more of their crops are
    assert not any(c.float().std((1, 2)).max() == 0 for c in crops(photographs, 0.0, monkeypatch).batch(1, 48, 64))


def test_crops_without_drawn_ones_are_parts_of_the_pictures(photographs, monkeypatch):
    pictures = [np.array(Image.open(path)) for path in photographs]
    for crop in crops(photographs, 0.0, monkeypatch).batch(2, 32, 6):
        crop = crop.permute(1, 2, 0).numpy()
        rows = [np.lib.stride_tricks.sliding_window_view(p, (32, 32, 3))[:, :, 0] for p in pictures]
        assert any((r[:, :, 0, 0] == c[0, 0]).all(2)[..., None].any() and
                   any(np.array_equal(r[y, x], c) for y, x in zip(*np.where((r[:, :, 0, 0] == c[0, 0]).all(2))))
                   for r in rows for c in (crop, crop[:, ::-1]))


class Chances(random.Random):
    """Answers `random` with what it was given, keeps the order of samples, and takes the least or greatest integers."""

    def __init__(self, *chances: float):
        super().__init__(0)
        self.chances = iter(chances)

    def random(self):
        return next(self.chances)

    def sample(self, population, k):
        return list(population)[:k]

    def randint(self, a, b):
        return b if a else a


def test_colours_change_as_they_should():
    crop = np.broadcast_to(np.array([255, 0, 51], np.uint8), (2, 2, 3))
    luma = round((255 * 77 + 51 * 29) / 256)
    for chances, expected in (((0.9, 0.9, 0.9), [255, 0, 51]), ((0.1, 0.9, 0.9), [0, 255, 204]),
                              ((0.9, 0.9, 0.1), [luma] * 3)):
        changed = drawn.varied(Chances(*chances), crop)
        assert changed.dtype == np.uint8 and (changed == expected).all()
    assert {tuple(drawn.varied(random.Random(seed), crop)[0, 0] == 255) for seed in range(40)} >= {
        (True, False, False), (False, True, False), (False, False, True)}  # channels are exchanged


def test_contrast_falls_and_never_rises():
    crop = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    spans = [int(np.ptp(drawn.varied(random.Random(seed), crop).astype(int))) for seed in range(60)]
    assert max(spans) == 255 and 6 < sum(span < 240 for span in spans) < 40


def test_fonts_that_have_one_size_or_none_are_left_out(monkeypatch, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(drawn, "FONTS", str(tmp_path))
    assert drawn.fonts() == []
    monkeypatch.setattr(drawn.ImageFont, "truetype", lambda path, size: path)
    assert drawn.fonts() == [str(tmp_path / "broken.ttf")]
