"""`vqcodec batch` as a whole: trees in, trees out, failures, resuming after kills, other file systems, Ray."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from batch_runs import batch, digests
from click.testing import CliRunner
from conftest import synthetic_picture
from PIL import Image

from vqcodec import cli
from vqcodec.batch import engine_local
from vqcodec.batch.manifest import NAME
from vqcodec.batch.stores import TEMPORARY

BAD = {"bad/text.png": b"hello", "bad/empty.jpg": b"", "bad/magic.gif": b"GIF89aNOT"}


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path, tiny_model_dir):
    monkeypatch.setenv("VQCODEC_MODELS_DIR", str(tiny_model_dir))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tree(tmp_path):
    """src: good pictures of several formats, a collision, bad files and one that is no picture."""
    src = tmp_path / "src"
    (src / "sub" / "deep").mkdir(parents=True)
    (src / "bad").mkdir()
    for i, name in enumerate(["a.png", "a.jpg", "sub/b.webp", "sub/deep/c.ppm", "d.gif"]):
        Image.fromarray(synthetic_picture(40 + 9 * i, 70 - 3 * i, i)).save(src / name)
    for name, data in BAD.items():
        (src / name).write_bytes(data)
    (src / "notes.dat").write_text("not a picture")
    return src


def records(folder, status) -> list[dict]:
    rows = []
    for line in (Path(folder) / NAME).read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return [row for row in rows if row["status"] == status]


def test_a_tree_is_encoded_and_decoded(tree, tmp_path):
    before = digests(tree)
    summary = batch("encode src dst --verify", code=1)
    assert (summary["done"], summary["failed"], summary["ignored"], summary["collisions"]) == (5, 3, 1, 2)
    assert {failure["source"] for failure in summary["failures"]} == set(BAD)
    assert {failure["error"] for failure in summary["failures"]} >= {"empty"}
    assert set(digests("dst")) == {"a.png.vq", "a.jpg.vq", "sub/b.vq", "sub/deep/c.vq", "d.vq"}
    assert digests(tree) == before
    assert len(records("dst", "failed")) == 3
    for row in records("dst", "done"):
        data = (tmp_path / "dst" / row["output"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert row["bytes_in"] == (tree / row["source"]).stat().st_size and row["verified"]
        assert row["bpp"] == 8 * len(data) / row["pixels"] and row["seconds"] > 0
        result = CliRunner().invoke(cli.main, ["encode", str(tree / row["source"]), "single.vq", "-f"])
        assert result.exit_code == 0 and (tmp_path / "single.vq").read_bytes() == data
    assert batch("decode dst out")["done"] == 5
    assert set(digests("out")) == {"a.png", "a.jpg.png", "sub/b.png", "sub/deep/c.png", "d.png"}
    assert Image.open("out/sub/b.png").size == Image.open(tree / "sub/b.webp").size


def test_what_is_complete_is_not_done_again(tree):
    batch("encode src dst", code=1)
    times = {path: path.stat().st_mtime_ns for path in Path("dst").rglob("*.vq")}
    assert batch("encode src dst", code=1)["complete"] == 5
    assert all(path.stat().st_mtime_ns == value for path, value in times.items())
    # another output, source or setting
    Path("dst/d.vq").write_bytes(b"short")
    Image.fromarray(synthetic_picture(30, 30)).save(tree / "a.png")
    Path("dst/sub/b.vq").unlink()
    summary = batch("encode src dst", code=1)
    assert (summary["done"], summary["complete"]) == (3, 2)
    assert batch("encode src dst -q 1", code=1)["done"] == 5
    assert batch("encode src dst -q 1 --verify", code=1)["done"] == 5
    assert batch("encode src dst -q 1", code=1)["complete"] == 5


def test_checksum_looks_at_content(tree):
    batch("encode src dst", code=1)
    os.utime(tree / "d.gif")
    damaged = bytearray(Path("dst/sub/b.vq").read_bytes())
    damaged[-1] ^= 1
    Path("dst/sub/b.vq").write_bytes(damaged)
    dry = batch("encode src dst --checksum --dry-run")
    todo = {row["source"] for row in dry["files"] if row["state"] == "to do"}
    assert todo == {"sub/b.webp", *BAD}


def test_foreign_files_are_not_overwritten(tree):
    Path("dst").mkdir()
    Path("dst/d.vq").write_text("mine")
    summary = batch("encode src dst --exclude bad", code=1)
    assert Path("dst/d.vq").read_text() == "mine" and summary["done"] == 4
    assert "use -f" in summary["failures"][0]["error"]
    assert batch("encode src dst --exclude bad -f")["done"] == 1
    assert Path("dst/d.vq").read_bytes()[:2] == b"VQ"


def test_a_crash_between_output_and_manifest_is_repaired(tree):
    batch("encode src dst --exclude bad")
    undisturbed = digests("dst")
    lines = Path("dst", NAME).read_bytes()
    Path("dst", NAME).write_bytes(lines[: lines.rindex(b'{"status"') + 40])  # torn
    Path("dst/sub", f"{TEMPORARY}0123.tmp").write_bytes(b"half")
    summary = batch("encode src dst --exclude bad")
    assert (summary["done"], summary["complete"]) == (1, 4) and digests("dst") == undisturbed


def test_in_place_and_nested_folders(tree):
    assert batch("encode src src --exclude bad")["done"] == 5
    assert batch("encode src src --exclude bad")["complete"] == 5
    assert batch("decode src src/out")["done"] == 5
    assert batch("encode src src/out --exclude bad")["done"] == 5  # out's own pictures are no sources
    assert batch("encode src . --exclude bad --exclude out")["done"] == 5  # SRC inside DST


def test_dry_run_creates_nothing(tree):
    dry = batch("encode src dst --dry-run")
    assert not Path("dst").exists() and len(dry["files"]) == 8
    assert {row["output"] for row in dry["files"]} >= {"a.png.vq", "d.vq"}


def test_the_exit_code_is_the_highest_class(tree):
    batch("encode src dst --exclude bad")
    Path("dst/a.png.vq").write_bytes(b"not a stream")
    assert batch("decode dst out", code=3)["failed"] == 1
    broken = bytearray(Path("dst/d.vq").read_bytes())
    broken[2] = 99  # a version of the future
    Path("dst/d.vq").write_bytes(broken)
    assert batch("decode dst out", code=4)["failed"] == 2


def test_all_reports_unknown_kinds(tree):
    (tree / "notes.dat").write_bytes(b"\1\2\3 of no kind")
    summary = batch("encode src dst --all --exclude bad", code=1)
    assert [failure["source"] for failure in summary["failures"]] == ["notes.dat"] and summary["ignored"] == 0


@pytest.mark.parametrize("arguments, code", [
    ("encode missing dst", 1), ("encode src dst -q 1 --bpp 1", 2), ("encode src dst -q 99", 2), ("encode - dst", 2),
    ("encode src dst --model none", 4), ("decode src dst --format nothing", 2), ("encode src dst --gpus 1", 2),
    ("encode src/a.png dst", 1)])
def test_usage(tree, arguments, code):
    batch(arguments, code)
    assert not Path("dst").exists()


def test_memory_limit(tree):
    Image.new("RGB", (4000, 3000)).save(tree / "big.png")
    summary = batch("encode src dst --exclude bad --limit-memory 700MiB", code=1)
    assert summary["done"] == 5
    assert [failure["source"] for failure in summary["failures"]] == ["big.png"]
    Image.new("1", (131_072, 544)).save(tree / "wide.png")  # once took 5.5 GiB of 4.4
    summary = batch("encode src dst --include wide.png --limit-memory 4400MiB", code=1)
    assert "MiB beside the model, more than --limit-memory leaves" in summary["failures"][0]["error"]


def test_targets(tree):
    batch("encode src dst --include d.gif --size 400")
    assert Path("dst/d.vq").stat().st_size <= 400


def test_progress_counts():
    from vqcodec.batch.progress import Totals

    totals = Totals(files=4, bytes_left=300, started=time.monotonic() - 10)
    totals.add({"bytes_in": 100, "bytes": 10, "pixels": 20_000_000})
    line = totals.line()
    assert line.startswith("1/4 files, 2.") and "100 B -> 10 B (10.0:1)" in line and "ETA 0:00:30" in line


# --- processes -------------------------------------------------------------------------------------------

def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "vqcodec", "batch", *map(str, arguments)]


def many(folder, count=16):
    folder.mkdir()
    for i in range(count):
        Image.fromarray(synthetic_picture(96 + 8 * i, 128, i)).save(folder / f"{i:02}.png")


def alive(pid) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def killed_run(dst, after: int, whom: str, arguments, signal_number=signal.SIGKILL) -> int:
    """Starts a run and kills it, or one of its workers, when `after` more files are done. Returns the exit code."""
    have = len(records(dst, "done")) if (dst / NAME).exists() else 0
    process = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        done = records(dst, "done") if (dst / NAME).exists() else []
        if len(done) >= have + after:
            workers = {int(row["worker"].rpartition(":")[2]) for row in done[have:]}
            os.kill(process.pid if whom == "parent" else max(workers), signal_number)
            break
        time.sleep(0.005)
    process.communicate(timeout=200)
    if whom == "parent":
        end = time.monotonic() + 20
        while any(map(alive, workers)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(map(alive, workers)), "workers outlive their parent"
    return process.returncode


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_and_resumed_gives_the_undisturbed_tree(tmp_path, kills):
    many(tmp_path / "src")
    arguments = ["encode", "src", "dst", "-j", 2]
    rng, first = random.Random(kills), {}
    for _ in range(kills):
        assert killed_run(tmp_path / "dst", rng.randint(1, 3), "parent", arguments) == -signal.SIGKILL
        first |= {row["output"]: row["sha256"] for row in records("dst", "done")}
    written = {name: os.stat(tmp_path / "dst" / name).st_mtime_ns for name in first}
    subprocess.run(command(*arguments), check=True, capture_output=True)
    assert all(os.stat(tmp_path / "dst" / name).st_mtime_ns == value for name, value in written.items())
    assert batch("encode src whole")["done"] == 16
    assert digests("dst") == digests("whole")


def test_a_killed_worker_costs_nothing(tmp_path):
    many(tmp_path / "src")
    assert killed_run(tmp_path / "dst", 2, "worker", ["encode", "src", "dst", "-j", 2]) == 0
    assert len(digests("dst")) == 16 and len(records("dst", "done")) == 16


def test_a_worker_that_hangs_is_ended(tree, tmp_path, monkeypatch):
    """Real processes; over one file a worker sleeps where no loop looks at the clock."""
    monkeypatch.setattr(engine_local, "_MAIN", engine_local._MAIN.replace("from vqcodec.batch.worker_process", (
        "import time; from vqcodec.batch import work; do = work.Worker.do; "
        "work.Worker.do = lambda self, job: (time.sleep(600) if 'hangs' in job['source'] else 0) or do(self, job); "
        "from vqcodec.batch.worker_process")))
    Image.fromarray(synthetic_picture(20, 20)).save("src/hangs.png")
    began = time.monotonic()
    found = batch("encode src dst --exclude bad -j 1 --limit-seconds 6", code=4)
    assert [f["source"] for f in found["failures"]] == ["hangs.png"] and found["done"] == found["files"] - 1
    assert "not done after 6 s" in found["failures"][0]["error"] and time.monotonic() - began < 300
    assert not [path for path in Path("dst").rglob("*.tmp")]


def test_a_file_that_crashes_a_library_fails_alone(tree, tmp_path, monkeypatch):
    """Real processes; over one file a worker ends by SIGSEGV, as libraries that read files of others may."""
    monkeypatch.setattr(engine_local, "_MAIN", engine_local._MAIN.replace("from vqcodec.batch.worker_process", (
        "import os, signal; from vqcodec.batch import work; do = work.Worker.do; "
        "work.Worker.do = lambda self, job: os.kill(os.getpid(), signal.SIGSEGV) if 'crashes' in job['source'] else do(self, job); "
        "from vqcodec.batch.worker_process")))
    Image.fromarray(synthetic_picture(20, 20)).save("src/crashes.png")
    found = batch("encode src dst --exclude bad -j 2", code=1)
    assert [f["source"] for f in found["failures"]] == ["crashes.png"] and found["done"] == found["files"] - 1 == 5
    assert "died twice over this file (signal 11); a library that reads it crashes" in found["failures"][0]["error"]
    assert len(records("dst", "failed")) == 1 and not [path for path in Path("dst").rglob("*.tmp")]


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_signals_stop_cleanly(tmp_path, number, code):
    many(tmp_path / "src")
    assert killed_run(tmp_path / "dst", 1, "parent", ["encode", "src", "dst", "-j", 1], number) == code
    assert len(digests("dst")) < 16 and not list((tmp_path / "dst").rglob(TEMPORARY + "*"))


# --- strange trees ---------------------------------------------------------------------------------------

def test_names_and_ignored_files_are_shown_safely(tmp_path, monkeypatch):
    from vqcodec import medium

    taken = medium.of_extension  # as without the extra
    monkeypatch.setattr(medium, "of_extension", lambda path: None if path.endswith(".heic") else taken(path))
    src = tmp_path / "src"
    src.mkdir()
    name = os.fsdecode(b"a\n\x1b[31m\xff")
    Image.fromarray(synthetic_picture(20, 20)).save(src / f"{name}.png")
    for bad in (f"{name}.jpg", f"{name}.heic", "b.xyz"):
        (src / bad).write_bytes(b"no")
    result = CliRunner().invoke(cli.main, ["batch", "encode", "src", "dst", "-j", "0", "-v"])
    lines = result.output.splitlines()
    assert result.exit_code == 1 and "\x1b" not in result.output and len(lines) == 5
    shown = r"a\n\x1b[31m\xff"
    assert lines[0].startswith(f"{shown}.jpg: FAILED: ") and lines[1] == f"{shown}.heic: ignored: HEIC needs the extra 'heif'"
    assert "2 ignored (1 .heic: HEIC needs the extra 'heif'; 1 .xyz: unknown extension)" in lines[3]
    files = batch("encode src dst", code=1)["ignored_files"]
    assert [file["source"] for file in files] == [f"{name}.heic", "b.xyz"]
    assert (tmp_path / "dst" / f"{name}.png.vq").exists()


def test_outputs_below_a_link_fail_and_the_rest_is_done(tmp_path):
    for path in ("src/a/x.png", "src/b/x.png"):
        (tmp_path / path).parent.mkdir(parents=True)
        Image.fromarray(synthetic_picture(20, 20)).save(tmp_path / path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst" / "a").symlink_to(tmp_path / "elsewhere")
    failure, = batch("encode src dst", code=1)["failures"]
    assert failure["source"] == "a/x.png" and "a is a link" in failure["error"]
    assert list(digests("dst")) == ["b/x.vq"] and os.listdir("elsewhere") == []


def test_workers_load_nothing_from_the_current_folder(tmp_path):
    (tmp_path / "src").mkdir()
    Image.fromarray(synthetic_picture(20, 20)).save("src/x.png")
    for name in ("torch", "json", "vqcodec"):
        Path(f"{name}.py").write_text("open('loaded', 'w'); raise SystemExit('not mine')")
    assert batch("encode src dst -j 1")["done"] == 1 and not Path("loaded").exists()


# --- other file systems ----------------------------------------------------------------------------------

def test_objects_in_memory(tree):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    fs = fsspec.filesystem("memory")
    try:
        assert batch("encode src memory://batch/dst --exclude bad")["done"] == 5
        assert batch("encode src memory://batch/dst --exclude bad")["complete"] == 5
        batch("encode src local --exclude bad")
        found = {path.removeprefix("/batch/dst/"): hashlib.sha256(fs.cat_file(path)).hexdigest()
                 for path in fs.find("/batch/dst") if NAME not in path}
        assert found == digests("local")
        assert batch("decode memory://batch/dst memory://batch/dst/out")["done"] == 5
        assert batch("encode memory://batch/none dst", code=1) == {}
    finally:
        fs.rm("/batch", recursive=True)


def test_sources_within_an_archive(tree):
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    with zipfile.ZipFile("src.zip", "w") as archive:
        for path in tree.rglob("*.*"):
            archive.write(path, path.relative_to(tree))
    assert batch("encode zip://::src.zip dst --exclude bad -j 1")["done"] == 5
    batch("encode src local --exclude bad")
    assert digests("dst") == digests("local")


# --- Ray -------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_ray_gives_the_same_bytes_though_a_worker_is_killed(tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    many(tmp_path / "src")
    arguments = ["encode", "src", "dst", "-j", 2, "--engine", "ray"]
    assert killed_run(tmp_path / "dst", 2, "worker", arguments) == 0
    assert len(records("dst", "done")) == 16
    assert len({row["worker"] for row in records("dst", "done")}) >= 2
    assert batch("encode src whole")["done"] == 16
    assert digests("dst") == digests("whole")


@pytest.mark.slow
def test_ray_resumes_what_the_local_engine_began(tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    many(tmp_path / "src")
    killed_run(tmp_path / "dst", 3, "parent", ["encode", "src", "dst", "-j", 2])
    done = len(records("dst", "done"))
    result = subprocess.run(command("encode", "src", "dst", "-j", 2, "--engine", "ray", "--json"), check=True,
                            capture_output=True)
    assert json.loads(result.stdout)["complete"] == done
    assert batch("encode src dst")["complete"] == 16
