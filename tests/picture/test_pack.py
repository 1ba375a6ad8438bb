"""Pictures packed to travel."""

from __future__ import annotations

import pytest
from conftest import synthetic_picture
from PIL import Image

from vqcodec.errors import UsageError
from vqcodec.picture.crops import find_pictures
from vqcodec.picture.pack import SIDES, main, pack


@pytest.fixture
def pictures(tmp_path):
    for i in range(3):
        (tmp_path / "in" / str(i % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(synthetic_picture(256, 288, i)).save(tmp_path / "in" / str(i % 2) / f"{i // 2}.png")
    return tmp_path / "in"


def test_pictures_are_packed_to_fit(pictures, tmp_path, capsys):
    assert pack([pictures], tmp_path / "all", 10.0) == SIDES[0]
    with pytest.raises(UsageError, match="3 pictures do not fit"):
        pack([pictures], tmp_path / "none", 0.001)
    whole = sum(path.stat().st_size for path in (tmp_path / "all").iterdir())
    main([str(pictures), "--out", str(tmp_path / "most"), "--megabytes", str(whole / 1e6)])
    assert f"up to {SIDES[0]} pixels" in capsys.readouterr().err
    packed = find_pictures([tmp_path / "most"])
    assert [path.name for path in packed] == ["0.png.1.webp", "0.png.webp", "1.png.webp"]  # two were called 0.png
    with Image.open(packed[0]) as image:
        assert image.size == (288, 256) and image.format == "WEBP"


def test_pictures_are_made_smaller_until_they_fit(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(synthetic_picture(600, 800)).save(tmp_path / "in" / "a.png")
    pack([tmp_path / "in"], tmp_path / "all", 10.0)
    whole = (tmp_path / "all" / "a.png.webp").stat().st_size
    side = pack([tmp_path / "in"], tmp_path / "less", 0.9 * whole / 1e6)
    assert side in SIDES and side < 800
    with Image.open(tmp_path / "less" / "a.png.webp") as image:
        assert max(image.size) == side
    assert (tmp_path / "less" / "a.png.webp").stat().st_size <= 0.9 * whole


@pytest.mark.parametrize("megabytes, text, code", [("0.001", "do not fit", 2), ("9", "cannot read", 1)])
def test_what_cannot_be_packed_is_one_line(pictures, tmp_path, capsys, megabytes, text, code):
    if code == 1:
        (pictures / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as stopped:
        main([str(pictures), "--out", str(tmp_path / "out"), "--megabytes", megabytes])
    assert stopped.value.code == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and text in lines[0]
