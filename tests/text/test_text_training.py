"""`vqcodec train text`."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from text_samples import text_of

from vqcodec.cli import main
from vqcodec.errors import InputError
from vqcodec.text import prime, training
from vqcodec.text.codec import TextCodec
from vqcodec.zoo import registry


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus" / "deep"
    folder.mkdir(parents=True)
    for number in range(12):
        (folder / f"{number:02}.txt").write_bytes(text_of(250, number))
    (folder / "empty.txt").write_bytes(b"")
    return tmp_path / "corpus"


def run(*arguments):
    return CliRunner().invoke(main, ["train", "text", *map(str, arguments)])


def test_texts_become_a_model(corpus, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("[training]\nthresholds = [1, 1, 2, 2, 3, 3, 2, 2]\nweighed = 4\n")
    made = run(corpus, "--config", config, "--out", tmp_path / "run", "--export", "mine", "--models-dir", tmp_path / "models")
    assert made.exit_code == 0, made.output
    codec = TextCodec.open(registry.find_by_name("mine", tmp_path / "models", "text"))
    text = text_of(900, 99)
    assert codec.decode(codec.encode(text)) == text
    assert len(codec.tables.keys) > 100


@pytest.mark.parametrize("more, line", [
    (("--minutes", "3"), "at once"), (("--from-model", "text-1"), "at once"), (("--export", "a b"), "name")])
def test_what_makes_no_sense_is_refused(corpus, tmp_path, more, line):
    refused = run(corpus, "--out", tmp_path / "run", "--models-dir", tmp_path / "models", *more)
    assert refused.exit_code and line in refused.output and "Traceback" not in refused.output


@pytest.mark.parametrize("key", ["thresholds = [1, 2]", "weighed = 1", "groups = 0"])
def test_configurations_are_checked(corpus, tmp_path, key):
    (tmp_path / "config.toml").write_text(f"[training]\n{key}\n")
    refused = run(corpus, "--config", tmp_path / "config.toml", "--out", tmp_path / "run")
    assert refused.exit_code and key.split()[0] in refused.output


def test_one_text_in_so_many_weighs():
    texts = [bytes([i]) for i in range(45)]
    learnt, weighed = training.split(texts, 20)
    assert weighed == [b"\x13", b"\x27"] and len(learnt) == 43
    assert training.split(texts[:3], 20) == (texts[:2], texts[2:3])
    with pytest.raises(InputError, match="no such folder"):
        prime.texts(["/nowhere/at/all"])
