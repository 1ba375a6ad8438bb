"""Texts in the benchmark."""

from __future__ import annotations

import json

import pytest

from text_samples import text_of
from vqcodec.bench.codecs import CodecSpec
from vqcodec.bench.comparison import of_folder, of_key
from vqcodec.cli import main
from vqcodec.text.peers import CODECS


@pytest.mark.parametrize("name", sorted(set(CODECS) - {"vqcodec"}))
def test_peers_give_back_what_they_got(name):
    codec = CodecSpec(name, medium="text")
    try:
        codec = codec.open()
    except Exception as error:
        pytest.skip(str(error))
    for text in (b"x", text_of(5000), bytes(3000)):
        assert codec.decode(codec.encode(text, 1.0)) == text
    assert codec.version and codec.describe(1.0) == "the strongest"


def test_another_text_is_an_error():
    with pytest.raises(ValueError, match="something else"):
        of_key("text").conformed(b"a", b"b")


def test_a_report_without_loss(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(2):
        (folder / f"{i}.txt").write_bytes(text_of(4000, i))
    assert of_folder(folder).key == "text"
    code = main.main(["benchmark", str(folder), "--codecs", "gzip,bzip2,xz", "--out", str(tmp_path / "out"), "--timing-files",
                      "0"], standalone_mode=False)
    assert code == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [m["values"] for c in results["curves"] for m in c["means"]] == [{"exact": 1.0}] * 3
    rates = {c["label"]: c["means"][0]["bpc"] for c in results["curves"]}
    found = {r["test"]: r["percent"] for r in results["bd_rates"] if r["anchor"] == "gzip"}
    assert found == pytest.approx({name: 100 * (rates[name] / rates["gzip"] - 1) for name in ("bzip2", "xz")})
    assert "| codec | against | size |" in (tmp_path / "out" / "results.md").read_text()


def test_pictures_with_texts_beside_them_are_compared_as_pictures(tmp_path):
    for name in ("a.png", "readme.txt"):
        (tmp_path / name).touch()
    assert of_folder(tmp_path).key == "picture"
