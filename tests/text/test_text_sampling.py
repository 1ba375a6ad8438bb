"""Text that is drawn: as the specification has it, in UTF-8, at the rate that the prior expects, the same everywhere."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

import reference_text
import vqcodec
from text_samples import text_of
from vqcodec import metadata
from vqcodec.cli import main
from vqcodec.errors import UnsupportedError, UsageError
from vqcodec.indices.drawing import Drawing
from vqcodec.text import sampling, stream
from vqcodec.text.codec import TextCodec
from vqcodec.text.mixing import Lanes
from vqcodec.zoo import registry


QUIET = str.strip  # of progress


@pytest.fixture(scope="module")
def codec(tiny_text_dir):
    return TextCodec.open(registry.find_by_name("tinytext", tiny_text_dir, "text"))


@pytest.fixture(scope="module")
def tensors(tiny_text_dir):
    return load_file(tiny_text_dir / "tinytext" / "prior.safetensors")


def drawn(codec, count, kept=None, **how):
    if kept is None:
        return codec.decode(sampling.sample(codec, Drawing(**how), count, QUIET))
    text = codec.decode(sampling.extend(codec, codec.encode(kept), Drawing(**how), count, lambda text: None))
    assert text[: len(kept)] == kept
    return text[len(kept) :]


@pytest.mark.parametrize("temperature, inverse", [(1.0, 4096), (0.7, 5851), (0, None), (30.0, 137)])
def test_as_the_specification_has_it(codec, tensors, temperature, inverse):
    found = drawn(codec, 100, seed=(5 << 40) + 3, item=9, temperature=temperature)
    assert found == reference_text.draw(tensors, 100, seed=(5 << 40) + 3, item=9, inverse=inverse)
    found.decode()


@pytest.mark.parametrize("kept, characters", [
    pytest.param(text_of(150, 3), True, id="1 lane"),
    pytest.param(text_of(4099, 4)[:-8] + b"Z\xc3\xbcrich", True, id="2 lanes", marks=pytest.mark.slow),
    pytest.param(b"d\xe9j\xe0 vu\r\n" * 9, False, id="Latin-1")])
def test_behind_a_text_as_the_specification_has_it(codec, tensors, kept, characters):
    assert drawn(codec, 50, kept, seed=8) == reference_text.draw(tensors, 50, kept, seed=8, characters=characters)


def test_only_the_end_of_long_texts_is_read(codec, monkeypatch):
    monkeypatch.setattr(sampling, "MAX_BLOCK", 160)
    monkeypatch.setattr(sampling, "MOST", 40)
    text = text_of(300, 7)
    assert len({drawn(codec, 40, kept, seed=1) for kept in (text, b"-" * 180 + text[-120:])}) == 1


def test_all_is_text(codec):
    for temperature in (1.0, 100.0):  # the hottest: nearly any byte
        for count in (1, 2, 3, 4, 150):
            text = drawn(codec, count, seed=count, temperature=temperature)
            assert len(text) == count and all(c in "\t\n\r" or c.isprintable() or ord(c) > 126 for c in text.decode())
    assert any(len(c.encode()) == 4 for c in text.decode())


def test_a_character_that_is_cut_is_ended(codec):
    kept = b"caf\xc3"
    found = [drawn(codec, 5, kept, seed=seed, temperature=100.0) for seed in range(8)]
    assert all((kept + text).decode() for text in found) and len(set(found)) == 8
    for head in (b"\xe0", b"\xed", b"\xf0", b"\xf4", b"\xf0\x90", b"\xe2\x82"):
        (head + drawn(codec, 4, head, seed=2, temperature=100.0)).decode()
    with pytest.raises(UnicodeDecodeError):
        (b"x\xff" + drawn(codec, 100, b"x\xff", temperature=100.0)).decode()


def test_the_rate_is_what_the_prior_expects(codec, monkeypatch):
    expected, probability = [], Lanes.probability

    def told(lanes):
        found = probability(lanes)
        expected.append(found[0] / 65536)
        return found

    monkeypatch.setattr(Lanes, "probability", told)
    data = sampling.sample(codec, Drawing(seed=4), 2000, QUIET)
    p = np.array(expected[: 8 * 2000])  # what follows is of encoding
    entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum()
    (block,) = stream.blocks(data)
    deviation = np.sqrt((p * (1 - p) * np.log2(p / (1 - p)) ** 2).sum())  # of the cost of what is drawn
    assert block.method == stream.CODED and deviation < 0.03 * entropy
    assert abs(8 * len(block.parts[0]) - entropy) < 3 * deviation + 16


def test_seeds_items_and_temperature(codec):
    one = drawn(codec, 90, seed=1)
    assert one == drawn(codec, 90, seed=1) and len({one, drawn(codec, 90, seed=2), drawn(codec, 90, seed=1, item=1)}) == 3
    assert codec.bits(drawn(codec, 90, seed=1, temperature=0.5)).sum() < codec.bits(one).sum()


def test_metadata_and_tokens_stay(codec, tiny_text_dir):
    data = codec.encode(b"What was to be ", metadata.pack(metadata.Metadata(modified=5)))
    more = vqcodec.extend(data, bytes=20, seed=3, models_dir=tiny_text_dir)
    assert stream.peek(more)[0].metadata_length == stream.peek(data)[0].metadata_length > 0
    assert vqcodec.tokens(more, models_dir=tiny_text_dir).shape == (1, 35)


def test_what_is_refused(codec, tiny_text_dir):
    for count in (0, sampling.MOST + 1):
        with pytest.raises(UsageError, match="1 to 262144 bytes"):
            sampling.sample(codec, Drawing(), count, QUIET)
    with pytest.raises(UsageError, match="no label 'cat'"):
        sampling.sample(codec, Drawing(label="cat"), 5, QUIET)
    data = codec.encode(b"some text")
    with pytest.raises(UnsupportedError, match="not what is behind it: no text can be filled in"):
        vqcodec.fill(data, span=(1, 2), models_dir=tiny_text_dir)
    with pytest.raises(UsageError, match="rows is not for texts; give bytes"):
        vqcodec.extend(data, rows=4, models_dir=tiny_text_dir)


def test_the_commands(tiny_text_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("VQCODEC_MODELS_DIR", str(tiny_text_dir))
    monkeypatch.chdir(tmp_path)

    def run(line, code=0):
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == code, result.output
        return result

    run("sample tinytext a.txt --bytes 90 --count 2 --seed 5")
    run("sample tinytext b.vq --bytes 90 --item 1 --seed 5")
    assert vqcodec.decode("b.vq") == (tmp_path / "a-1.txt").read_bytes() != (tmp_path / "a-0.txt").read_bytes()
    assert len(run("sample tinytext - --temperature 0.6 --bytes 50").stdout_bytes) == 50
    run("continue b.vq c.txt --bytes 10")
    run("continue a-1.txt d.md --bytes 10 --model tinytext")
    assert (tmp_path / "c.txt").read_bytes() == (tmp_path / "d.md").read_bytes()
    assert len((tmp_path / "d.md").read_bytes()) == 100
    assert "quality must be between 1 and 1" in run("sample tinytext e.txt -q 2", 2).stderr
    assert "give --bytes (N)" in run("continue b.vq e.txt", 2).stderr
    assert "no text can be filled in" in run("fill b.vq e.txt --box 1,2,3,4", 4).stderr
    (tmp_path / "f.pdf").write_bytes(b"%PDF-1.7\n")
    assert "no documents are drawn" in run("continue f.pdf e.pdf --rows 9", 4).stderr


def test_the_number_of_threads_changes_nothing(tiny_text_dir):
    found = set()
    for threads in ("1", "3"):
        environment = {**os.environ, "VQCODEC_MODELS_DIR": str(tiny_text_dir), "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", "import sys, vqcodec; sys.stdout.buffer.write(vqcodec.sample('tinytext', seed=1, bytes=120))"]
        found.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(found) == 1 and len(found.pop()) > 20
