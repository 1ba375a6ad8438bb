"""`vqcodec batch` on recordings, and on trees of pictures and recordings."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from batch_runs import batch, digests
from click.testing import CliRunner
from conftest import synthetic_picture, synthetic_sound
from PIL import Image

from vqcodec import cli
from vqcodec.sound import stream as sound_container
from vqcodec.batch import memory
from vqcodec.batch.jobs import Encoding, Settings
from vqcodec.sound import memory as sound_memory
from vqcodec.batch.manifest import NAME
from vqcodec.batch.stores import TEMPORARY, LocalStore

BAD = {"bad/magic.wav": b"RIFF\0\0\0\0WAVEjunk", "bad/empty.flac": b"", "bad/text.mp3": b"hello"}


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path, tiny_audio_dir):
    monkeypatch.setenv("VQCODEC_MODELS_DIR", str(tiny_audio_dir))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tree(tmp_path):
    """src: recordings of several formats, rates and channels, a picture of the same name as one, damaged ones."""
    src = tmp_path / "src"
    (src / "sub").mkdir(parents=True)
    (src / "bad").mkdir()
    for i, (name, rate, channels) in enumerate([("a.wav", 8000, 1), ("sub/b.FLAC", 11025, 2), ("sub/c.ogg", 16000, 1)]):
        soundfile.write(src / name, synthetic_sound(6000 + 777 * i, channels, rate, i), rate,
                        format=Path(name).suffix[1:].upper())
    Image.fromarray(synthetic_picture(40, 70)).save(src / "a.png")
    Image.fromarray(synthetic_picture(50, 33)).save(src / "sub" / "d.webp")
    for name, data in BAD.items():
        (src / name).write_bytes(data)
    (src / "notes.dat").write_text("neither")
    return src


def done(folder) -> dict[str, dict]:
    rows = map(json.loads, (Path(folder) / NAME).read_text().splitlines())
    return {row["source"]: row for row in rows if row["status"] == "done"}


def header(path) -> sound_container.SoundHeader:
    return sound_container.peek(Path(path).read_bytes())[0]


def test_a_mixed_tree_is_encoded_and_decoded(tree, tmp_path):
    before = digests(tree)
    summary = batch("encode src dst --verify", code=1)
    assert (summary["done"], summary["failed"], summary["ignored"], summary["collisions"]) == (5, 3, 1, 2)
    assert {failure["source"] for failure in summary["failures"]} == set(BAD)
    assert {failure["error"].split(" (")[0] for failure in summary["failures"]} == {"empty", "not a sound file, or damaged"}
    assert set(digests("dst")) == {"a.png.vq", "a.wav.vq", "sub/b.vq", "sub/c.vq", "sub/d.vq"}
    assert digests(tree) == before
    rows = done("dst")
    seconds = sum(row.get("duration", 0) for row in rows.values())
    assert seconds == pytest.approx(6000 / 8000 + 6777 / 11025 + 7554 / 16000)
    assert summary["sound_seconds"] == pytest.approx(seconds, abs=1e-3) and summary["megapixels"] == pytest.approx(0.00445)
    for name, row in rows.items():
        data = (tmp_path / "dst" / row["output"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        source = (tree / name).read_bytes()
        assert (row["bytes_in"], row["source_sha256"]) == (len(source), hashlib.sha256(source).hexdigest())
        assert row["verified"] and row["quality"] == 2 and ("bpp" in row) != ("kbps" in row)
        result = CliRunner().invoke(cli.main, ["encode", str(tree / name), "single.vq", "-f"])
        assert result.exit_code == 0 and (tmp_path / "single.vq").read_bytes() == data
    row = rows["sub/b.FLAC"]
    assert (row["samples"], row["rate"], row["channels"]) == (6777, 11025, 2)
    assert row["kbps"] == pytest.approx(8 * row["bytes"] / row["duration"] / 1000, rel=1e-5)
    assert batch("encode src dst --verify", code=1)["complete"] == 5

    summary = batch("decode dst out")
    assert summary["done"] == 5 and summary["sound_seconds"] == pytest.approx(seconds, abs=1e-3)
    assert set(digests("out")) == {"a.png", "a.wav", "sub/b.wav", "sub/c.wav", "sub/d.png"}
    info = soundfile.info("out/sub/b.wav")
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (6777, 11025, 2, "PCM_16")
    for name, row in done("out").items():
        assert row["sha256"] == digests("out")[row["output"]]
        result = CliRunner().invoke(cli.main, ["decode", f"dst/{name}", "single" + Path(row["output"]).suffix, "-f"])
        assert result.exit_code == 0
        assert Path("single" + Path(row["output"]).suffix).read_bytes() == Path("out", row["output"]).read_bytes()
    assert batch("decode dst out")["complete"] == 5


def test_workers_in_processes_write_the_same(tree):
    batch("encode src here --exclude bad")
    assert batch("encode src there --exclude bad -j 2")["peak_memory_per_worker"] > 0
    assert digests("here") == digests("there")


def test_targets_apply_to_their_kind(tree):
    batch("encode src low -q 1 --exclude bad")
    batch("encode src high -q 3 --exclude bad")
    low, high = done("low"), done("high")
    kbps = (low["a.wav"]["kbps"] + high["a.wav"]["kbps"]) / 2
    bpp = (low["a.png"]["bpp"] + high["a.png"]["bpp"]) / 2
    batch(f"encode src dst --kbps {kbps} --bpp {bpp} --include a.*")
    rows = done("dst")
    assert rows["a.wav"]["kbps"] == pytest.approx(kbps, rel=0.1) and rows["a.png"]["bpp"] == pytest.approx(bpp, rel=0.1)
    batch(f"encode src one --kbps {kbps} --include a.*")
    assert done("one")["a.wav"]["sha256"] == rows["a.wav"]["sha256"] and done("one")["a.png"]["quality"] == 2
    # another target of sound leaves pictures as they are
    assert batch(f"encode src one --kbps {0.9 * kbps} --include a.*")["complete"] == 1
    summary = batch("encode src small --size 60 --include a.*")
    rows = done("small")
    assert summary["done"] == 2 and all("note" in row or row["bytes"] <= 60 for row in rows.values())


def test_models_of_both_kinds(tree):
    batch("encode src dst --model tinysound --model tiny --include a.*")
    assert len(done("dst")) == 2
    assert batch("encode src dst --model tiny --model tinysound --include a.*")["complete"] == 2
    # one that is named, and the default of the other kind
    assert batch("encode src dst --model tinysound --include a.*")["complete"] == 2


def test_what_one_kind_cannot_do_fails_for_it_alone(tree, monkeypatch):
    from vqcodec.zoo import registry

    find = registry.find_by_name

    def without_sound(name=None, models_dir=None, modality="image"):
        if modality == "audio":
            raise registry.UnknownModelError("no model of audio is installed")
        return find(name, models_dir, modality)

    monkeypatch.setattr(registry, "find_by_name", without_sound)
    summary = batch("encode src dst --include a.*", code=4)
    assert summary["done"] == 1
    assert [(f["source"], f["error"]) for f in summary["failures"]] == [("a.wav", "no model of audio is installed")]
    assert batch("encode src only --include *.png")["failed"] == 0


@pytest.mark.parametrize("arguments, code", [
    ("encode src dst -q 1 --kbps 1", 2), ("encode src dst --kbps 1 --size 20", 2), ("encode src dst --bpp 1 --psnr 30", 2),
    ("encode src dst -q 99", 2), ("encode src dst --model tinysound -q 99", 2), ("encode src dst --model none", 4),
    ("encode src dst --model tiny --model tiny", 2), ("decode src dst --format wav --format flac", 2),
    ("decode src dst --format nothing", 2), ("decode src dst --subtype VORBIS", 2)])
def test_usage(tree, arguments, code):
    batch(arguments, code)
    assert not Path("dst").exists()


def test_formats(tree):
    batch("encode src dst --exclude bad")
    batch("decode dst out --format flac --format webp --subtype PCM_24")
    assert set(digests("out")) == {"a.png.webp", "a.wav.flac", "sub/b.flac", "sub/c.flac", "sub/d.webp"}
    assert soundfile.info("out/sub/b.flac").subtype == "PCM_24"
    assert batch("decode dst out --format flac --format webp")["complete"] == 2  # pictures have no subtype
    assert soundfile.info("out/sub/b.flac").subtype == "PCM_16"
    # what a format cannot hold
    soundfile.write("src/nine.wav", synthetic_sound(800, 9), 8000)
    batch("encode src dst --include nine.wav")
    summary = batch("decode dst flac --format flac --include nine.vq", code=4)
    assert "cannot hold 9 channels" in summary["failures"][0]["error"] and digests("flac") == {}


def test_damage(tree):
    batch("encode src dst --exclude bad")
    data = bytearray(Path("dst/sub/b.vq").read_bytes())
    data[-20] ^= 1
    Path("dst/sub/b.vq").write_bytes(data)
    Path("dst/sub/c.vq").write_bytes(Path("dst/sub/c.vq").read_bytes()[:4])
    summary = batch("decode dst out", code=3)
    assert {failure["source"] for failure in summary["failures"]} == {"sub/b.vq", "sub/c.vq"} and summary["done"] == 3
    assert not list(Path("out").rglob(TEMPORARY + "*"))
    nan = np.zeros((9000, 1), np.float32)
    nan[4000] = np.nan
    soundfile.write("src/nan.wav", nan, 8000, subtype="FLOAT")
    assert "at 0.500 s" in batch("encode src other --include nan.wav", code=1)["failures"][0]["error"]
    assert digests("other") == {}


def test_all_looks_into_files_of_unknown_extensions(tree):
    (tree / "speech.data").write_bytes((tree / "a.wav").read_bytes())
    (tree / "picture.data").write_bytes((tree / "a.png").read_bytes())
    (tree / "notes.dat").write_bytes(b"\1\2\3 of no kind")
    summary = batch("encode src dst --all --include *.data --include *.dat", code=1)
    assert summary["done"] == 2 and header("dst/speech.vq").length == 6000
    assert [failure["source"] for failure in summary["failures"]] == ["notes.dat"]


def test_a_dry_run_names_outputs_by_what_streams_hold(tree):
    batch("encode src dst --exclude bad")
    rows = {row["source"]: row["output"] for row in batch("decode dst out --dry-run")["files"]}
    assert rows["sub/b.vq"] == "sub/b.wav" and rows["sub/d.vq"] == "sub/d.png" and not Path("out").exists()


def test_memory_limit(tree):
    soundfile.write("src/many.wav", synthetic_sound(100, 200), 48000)
    summary = batch("encode src dst --include *.wav --exclude bad --limit-memory 700MiB", code=1)
    assert summary["done"] == 1 and [failure["source"] for failure in summary["failures"]] == ["many.wav"]
    batch("encode src dst --include many.wav")
    store = LocalStore("dst")
    with store.open("many.vq") as file:
        assert sound_memory.size_of(file, "decode") == (200, 200)
    assert memory.of_file(store, "many.vq", "audio", "decode") == sound_memory.needed(200, 200, "decode")
    with LocalStore("src").open("notes.dat") as file:
        assert sound_memory.size_of(file, "encode") == (0, 0)


def test_long_recordings_are_not_held(tree):
    """Sixteen times the length takes no more memory, in a process of its own; 4 minutes would be 92 MB of samples."""
    def peak(seconds: int):
        name = f"{seconds}.wav"
        second = np.repeat(synthetic_sound(48000, 1, 48000), 2, 1)  # equal channels, coded once
        with soundfile.SoundFile(tree / name, "w", 48000, 2, "PCM_16") as file:
            for _ in range(seconds):
                file.write(second)
        for command in (["encode", "src", "dst", "--include", name, "--verify"],
                        ["decode", "dst", "out", "--include", f"{seconds}.vq"]):
            result = subprocess.run([sys.executable, "-m", "vqcodec", "batch", *command, "-j", "1", "--json"],
                                    capture_output=True, text=True, check=True)
            yield json.loads(result.stdout)["peak_memory_per_worker"]

    short, long = list(peak(15)), list(peak(240))
    assert all(b - a < 30 << 20 for a, b in zip(short, long)), (short, long)


def test_the_summary_in_words(tree):
    result = CliRunner().invoke(cli.main, ["batch", "encode", "src", "dst", "--exclude", "bad", "-j", "0"])
    assert "megapixels and 0:00:01 of sound in" in result.stderr and "x real time" in result.stderr
    result = CliRunner().invoke(cli.main, ["batch", "encode", "src", "dst", "--include", "*.webp", "--exclude", "bad", "-j", "0", "-f", "-q", "1"])
    assert "megapixels in" in result.stderr and "real time" not in result.stderr


def test_a_model_that_is_another_one_is_refused(tree):
    from vqcodec.batch.work import Worker
    from vqcodec.errors import UnsupportedError
    from vqcodec.zoo import registry

    entry = registry.find_by_name("tinysound", None, "audio")
    own, encoder = entry.fingerprint.hex(), entry.sha256[registry.ENCODER]
    Worker(Settings("encode", "src", "dst", {"audio": Encoding("tinysound", own, encoder)}))
    for model, of in (("00" * 32, encoder), (own[:8], encoder), (own[:8] + "00" * 28, encoder), (own, "00" * 32)):
        with pytest.raises(UnsupportedError, match="is another one here"):
            Worker(Settings("encode", "src", "dst", {"audio": Encoding("tinysound", model, of)}))


# --- other file systems ----------------------------------------------------------------------------------

def test_objects_in_memory(tree):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    fs = fsspec.filesystem("memory")
    try:
        assert batch("encode src memory://sounds/dst --exclude bad --verify")["done"] == 5
        assert batch("encode src memory://sounds/dst --exclude bad")["complete"] == 5
        batch("encode src local --exclude bad")
        found = {path.removeprefix("/sounds/dst/"): hashlib.sha256(fs.cat_file(path)).hexdigest()
                 for path in fs.find("/sounds/dst") if NAME not in path}
        assert found == digests("local")
        assert batch("decode memory://sounds/dst memory://sounds/out --limit-memory 4GiB")["done"] == 5
        batch("decode local out")
        assert hashlib.sha256(fs.cat_file("/sounds/out/sub/b.wav")).hexdigest() == digests("out")["sub/b.wav"]
        fs.pipe_file("/sounds/in/x.wav", b"")
        assert "empty" in batch("encode memory://sounds/in memory://sounds/x", code=1)["failures"][0]["error"]
    finally:
        fs.rm("/sounds", recursive=True)


def test_sources_within_an_archive(tree):
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    with zipfile.ZipFile("src.zip", "w") as archive:
        for path in tree.rglob("*.*"):
            archive.write(path, path.relative_to(tree))
    assert batch("encode zip://::src.zip dst --exclude bad -j 1")["done"] == 5
    batch("encode src local --exclude bad")
    assert digests("dst") == digests("local")


def test_a_file_system_that_renames_shows_no_half_file(tree, monkeypatch):
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    from vqcodec.batch.remote import RemoteStore

    store = RemoteStore("memory://sounds/renaming")
    monkeypatch.setattr(store, "renames", True)
    try:
        with store.create("a/b.wav") as file:
            file.write(b"first")
        with pytest.raises(RuntimeError), store.create("a/b.wav") as file:
            file.write(b"half")
            raise RuntimeError
        assert store.read("a/b.wav") == b"first" and store.sizes(["a/b.wav"]) == {"a/b.wav": 5}
        assert [path for path in store.fs.find("/sounds") if TEMPORARY in path] == []
        assert store.heads(["a/b.wav", "none"], 3) == {"a/b.wav": b"fir", "none": b""}
    finally:
        store.fs.rm("/sounds", recursive=True)


@pytest.mark.slow
def test_ray_gives_the_same_bytes(tree):
    pytest.importorskip("ray", reason="ray is not installed")
    subprocess.run([sys.executable, "-m", "vqcodec", "batch", "encode", "src", "dst", "--exclude", "bad", "-j", "2",
                    "--engine", "ray"], check=True, capture_output=True)
    batch("encode src local --exclude bad")
    assert digests("dst") == digests("local")
