"""The benchmark knows media by what they answer: a toy medium, and the two that there are."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

pytest.importorskip("scipy", reason="needs the extra 'benchmark'")

from vqcodec import medium
from vqcodec.bench import comparison, runner, sweep
from vqcodec.cli import main
from vqcodec.cli.benchmark import benchmark
from vqcodec.picture import search

TOY = '''
"""Texts, of whose letters some bits are dropped."""

import zlib
from dataclasses import dataclass
from pathlib import Path

from vqcodec.bench.codecs import BenchCodec
from vqcodec.bench.comparison import Comparison, Source
from vqcodec.bench.gallery import Gallery
from vqcodec.bench.metrics import Metric


@dataclass(frozen=True)
class Text(Source):
    length: int

    extent = property(lambda self: self.length)

    def sizes(self):
        return {"length": self.length}


class Zlib(BenchCodec):
    label, extension, note, version = "Zlib", "z", "level 9", "1"
    settings = fine = (2, 4, 6, 8)

    def encode(self, original, setting):
        mask = 256 - 2 ** (8 - int(setting))
        return zlib.compress(bytes(b & mask for b in original), 9)

    def decode(self, data):
        return zlib.decompress(data)


class Stored(Zlib):
    label, note = "Stored", "level 0"

    def encode(self, original, setting):
        return zlib.compress(zlib.decompress(super().encode(original, setting)), 0)


class Error(Metric):
    key, label, better = "error", "Mean error", "lower"

    def measure(self, reference, decoded):
        return sum(abs(a - b) for a, b in zip(reference, decoded)) / len(reference)


class Pages(Gallery):
    note, levels = "Read.", (1,)

    def article(self, title, versions, level):
        return f"<article>{title}{''.join(f'<pre>{v.label}: {v.line}</pre>' for v in versions)}</article>"


class Texts(Comparison):
    key, noun, nouns = "letter", "text", "texts"
    rate_unit, rate_name, log_rate, highest_shown = "bpl", "bits per letter", False, 8.0
    speed_name, speed_extent, compared = "s/MB", 1e6, "the letters"
    suffixes, codecs, more_codecs, beside = (".toy",), ("zlib",), ("stored",), ("zlib", "stored")
    metrics, more_metrics, packages, compare = ("error",), (), (), (2.0,)

    def codecs_by_name(self):
        return {"zlib": Zlib, "stored": Stored}

    def metrics_by_name(self):
        return {"error": Error}

    def gallery(self):
        return Pages()

    def read(self, path):
        return Path(path).read_bytes()

    def source(self, path, content):
        return Text(path.name, str(path), content.hex(), len(content))

    def conformed(self, decoded, original):
        return decoded

    def metric_names(self, asked, sources, codecs):
        return list(asked or self.metrics)

    def summary(self, sources):
        return f"{sum(s.length for s in sources)} letters"


class Medium:
    key, code = "letter", 9

    def comparison(self):
        return Texts()


MEDIUM = Medium()
'''


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """A folder of two texts, with their medium in the list, and one that is not compared."""
    (tmp_path / "toytext").mkdir()
    (tmp_path / "toytext" / "__init__.py").touch()
    (tmp_path / "toytext" / "medium.py").write_text(TOY)
    (tmp_path / "mute").mkdir()
    (tmp_path / "mute" / "medium.py").write_text(
        "class Medium:\n    key = 'mute'\n    def comparison(self):\n        return None\nMEDIUM = Medium()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(medium, "MEDIA", (*medium.MEDIA, "toytext", "mute"))
    monkeypatch.setattr(sweep, "ProcessPoolExecutor", lambda workers, context: ThreadPoolExecutor(1))
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(2):
        (folder / f"{i}.toy").write_bytes(bytes((7 * k * k + i) % 256 for k in range(3000)))
    yield folder
    medium._load.cache_clear()
    sweep.opened.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] in ("toytext", "mute")]:
        del sys.modules[name]


def test_a_toy_medium_is_compared(toys, tmp_path):
    out = tmp_path / "out"
    code = main.main(["benchmark", str(toys), "--out", str(out), "--codecs", "zlib,stored", "--timing-files", "0"],
                     standalone_mode=False)
    assert code == 0
    results = json.loads((out / "results.json").read_text())
    assert results["medium"] == "letter" and [t["length"] for t in results["texts"]] == [3000, 3000]
    stored = next(c for c in results["curves"] if c["label"] == "Stored")
    assert [m["bpl"] for m in stored["means"]] == [8 * 3011 / 3000] * 4
    assert stored["means"][-1]["values"] == {"error": 0.0}
    page = (out / "index.html").read_text()
    assert page.count("<article>") == 2 and "original: the original" in page and "6000 letters" in page


def test_choices_and_messages_follow_the_list(toys, tmp_path, capsys):
    def run(*more):
        code = main.main(["benchmark", str(toys), "--out", str(tmp_path / "out"), *more], standalone_mode=False)
        return code, capsys.readouterr().err

    code, error = run("--medium", "mute")
    assert code == 2 and "'picture', 'sound', 'video', 'document', 'text', 'letter'" in error
    assert run("--effort", "1") == (2, "vqcodec: error: --effort is for pictures, clips and pages only\n")
    assert "(for letters there are zlib, stored)" in run("--codecs", "jpeg")[1]
    assert "(for letters there are error)" in run("--metrics", "psnr")[1]
    assert run("--published") == (2, "vqcodec: error: --published: there are no published curves of texts\n")
    (toys / "a.png").touch()
    assert "holds pictures and texts: choose with --medium picture or --medium letter" in run()[1]
    text = CliRunner().invoke(benchmark, ["--help"]).output
    assert "texts: zlib, also stored" in " ".join(text.split()) and "[picture|sound|video|document|text|letter]" in text


@pytest.mark.parametrize("key", ["picture", "sound", "video", "text", "document"])
def test_help_names_all_that_there_is(key):
    compared = comparison.of_key(key)
    assert {*compared.codecs, *compared.more_codecs} == set(compared.codecs_by_name())
    assert {*compared.metrics, *compared.more_metrics} - {"visqol"} == set(compared.metrics_by_name())
    assert set(compared.beside) <= set(compared.codecs)


def test_efforts_are_those_of_the_encoder(tmp_path):
    pictures = comparison.of_key("picture")
    assert (pictures.efforts, pictures.usual_effort) == (search.EFFORTS, search.USUAL_EFFORT)
    with pytest.raises(Exception, match="--effort of pictures is 0 to 5"):
        pictures.specs(["vqcodec"], [None], None, 6)


def test_too_few_qualities_are_told_before_the_sweep(toys, tmp_path, monkeypatch):
    compared = comparison.of_key("letter")
    monkeypatch.setattr(compared.codecs_by_name()["zlib"], "settings", (2, 4))
    monkeypatch.setattr(sweep, "run", _stop)
    specs = tuple(compared.specs(["zlib", "stored"], [], None, None))
    with pytest.warns(UserWarning, match="(Zlib|Stored): too few qualities for a BD-rate .2, and 3 are needed"), \
            pytest.raises(InterruptedError):
        runner.run(toys, runner.Options(compared, specs, None, tmp_path / "cache"))


def _stop(*_):
    raise InterruptedError


def test_nothing_of_the_benchmark_imports_a_medium():
    code = ("import importlib, pkgutil, sys, vqcodec.bench as bench\n"
            "for module in pkgutil.iter_modules(bench.__path__): importlib.import_module(f'vqcodec.bench.{module.name}')\n"
            "print([m for m in sys.modules if m.split('.')[:2] in (['vqcodec', 'picture'], ['vqcodec', 'sound'], ['vqcodec', 'text'])])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
