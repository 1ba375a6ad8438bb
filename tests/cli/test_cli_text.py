"""The commands on text."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import vqcodec
from text_samples import text_of
from vqcodec.cli import main

TEXT = "Zürich, naïve\r\n".encode("latin-1") + text_of(300)


@pytest.fixture
def run(tiny_text_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("VQCODEC_MODELS_DIR", str(tiny_text_dir))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.md").write_bytes(TEXT)

    def invoke(line: str, code: int = 0):
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == code, result.output
        return result

    return invoke


def test_there_and_back(run, tmp_path):
    assert "bits per byte" in run("encode notes.md --model tinytext --verify").stderr
    run("decode notes.vq")
    run("decode notes.vq back.md")
    assert (tmp_path / "notes.txt").read_bytes() == (tmp_path / "back.md").read_bytes() == TEXT
    assert run("verify notes.vq").stdout == "notes.vq: ok\n"
    facts = json.loads(run("inspect notes.vq --json --segments --bits bits.png --grids grids.png").stdout)
    size = (tmp_path / "notes.vq").stat().st_size
    assert facts["modality"] == "text" and facts["length"] == len(TEXT) and facts["bytes"] == size
    assert facts["model"] == "tinytext" and facts["bpc"] == 8 * size / len(TEXT) and sum(facts["block_bytes"]) < size
    assert "blocks     1 (1 coded), 1 lane" in run("inspect notes.vq").stdout
    data = bytearray((tmp_path / "notes.vq").read_bytes())
    data[-9] ^= 4
    (tmp_path / "notes.vq").write_bytes(data)
    assert "FAILED" in run("verify notes.vq", 3).stdout


def test_what_text_has_not(run, tmp_path):
    assert "quality must be between 1 and 1" in run("encode notes.md -q 3 --model tinytext", 2).stderr
    assert "texts have no targets" in run("encode notes.md --bpp 1 --model tinytext", 2).stderr
    run("encode notes.md --model tinytext")
    assert "text is not written as .png" in run("decode notes.vq a.png", 2).stderr
    assert "--conceal is not for texts" in run("decode notes.vq --conceal", 2).stderr


def test_batch_takes_a_tree(run, tmp_path):
    for name in ("in/a.txt", "in/b/c.html"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(TEXT[:120])
    run("batch encode in out --model tinytext -j 0")
    run("batch decode out back -j 0")
    assert [p.relative_to(tmp_path / "back").as_posix() for p in sorted((tmp_path / "back").rglob("*.txt"))] == ["a.txt", "b/c.txt"]
    assert (tmp_path / "back" / "a.txt").read_bytes() == TEXT[:120]


def test_python(run, tmp_path):
    data = vqcodec.encode("notes.md", model="tinytext")
    assert vqcodec.encode(TEXT, model="tinytext") == data and vqcodec.decode(data) == TEXT
    grids = vqcodec.tokens(data)
    assert vqcodec.from_tokens(grids, vqcodec.inspect(data)) == data
    with pytest.raises(vqcodec.LimitError):
        vqcodec.decode(data, limits=vqcodec.Limits(output=100))
