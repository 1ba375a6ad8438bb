"""Pages in the benchmark."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vqcodec import medium
from vqcodec.bench import comparison
from vqcodec.document import legibility, peers
from vqcodec.document.bench import Leaf


def page(width: int = 240, height: int = 96) -> Image.Image:
    image = Image.new("L", (width, height), 245)
    ImageDraw.Draw(image).multiline_text((6, 4), "Figures 3816,\nof 1986.", fill=20, font_size=22)
    return image


@pytest.fixture(scope="module")
def kind():
    return medium.of_key("document").comparison()


def test_the_first_page_of_a_file_is_compared(kind, tmp_path):
    page().convert("1").save(tmp_path / "a.tif", save_all=True, append_images=[page(64, 64)], dpi=(200, 200))
    page().save(tmp_path / "b.png")
    (tmp_path / "b.txt").write_text("Figures 3816, of 1986.")
    sources, bad = kind.find(tmp_path)
    assert [s.name for s in sources] == ["a.tif", "b.png"] and not bad
    assert sources[0].sizes() == {"width": 240, "height": 96}
    first, second = (kind.read(tmp_path / name) for name in ("a.tif", "b.png"))
    assert first.bilevel and first.dpi == 200 and first.text is None
    assert not second.bilevel and second.text == "Figures 3816, of 1986."


def test_folders_of_pictures_are_pictures_still(tmp_path):
    page().save(tmp_path / "b.png")
    assert comparison.of_folder(tmp_path).key == "picture"
    (tmp_path / "b.png").rename(tmp_path / "b.pdf")
    assert comparison.of_folder(tmp_path).key == "document"


@pytest.mark.parametrize("name", ["vqcodec", "jpeg", "webp", "jpeg2000", "g4"])
def test_codecs_give_pages_back(kind, name):
    two = Leaf(np.asarray(page().convert("1").convert("RGB")), True, 200.0)
    codec = kind.specs([name], [None], None, None)[0].open()
    data = codec.encode(two, codec.settings[-1])
    found = kind.conformed(codec.decode(data), two)
    assert 0 < codec.size(data) <= len(data)
    if name in ("vqcodec", "g4"):
        np.testing.assert_array_equal(found.rgb, two.rgb)
    assert kind.metrics_by_name()["psnr-y"]().measure(two, found) > 20


def test_pages_in_grey_are_print_to_codecs_of_two_levels():
    grey = Leaf(np.asarray(page().convert("RGB")), False)
    mask = peers.mask_of(grey)
    assert 0.02 < mask.mean() < 0.3
    found = peers.Group4(None)
    np.testing.assert_array_equal(found.decode(found.encode(grey, 1.0))[:, :, 0] < 128, mask)


def test_distances_are_levenshteins():
    def slow(a: str, b: str) -> int:
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            before, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
        return row[-1]

    random = np.random.default_rng(0)
    for _ in range(30):
        a, b = ("".join(random.choice(list("abc"), random.integers(0, 12))) for _ in range(2))
        assert legibility.distance(a, b) == slow(a, b)
    assert legibility.error_rate("fgures\n 3816 ", "figures 3816") == pytest.approx(100 / 12)
    with pytest.raises(ValueError):
        legibility.error_rate("a", " \n")


@pytest.mark.skipif(not legibility.has_tesseract(), reason="no tesseract")
def test_what_is_read_is_compared_with_the_text():
    big = page().resize((960, 384))
    leaf = Leaf(np.asarray(big.convert("RGB")), False, 300.0, "Figures 3816, of 1986.")
    white = Leaf(np.full_like(leaf.rgb, 255), False, 300.0)
    metric = legibility.CharacterErrors()
    metric.load()
    assert metric.measure(leaf, leaf) < 10 < 90 < metric.measure(leaf, white)
