"""Acceptance run of `vqcodec batch`: failures, throughput, memory, kills, Ray, on a tree made of real photographs.

    python benchmarks/batch.py PHOTOS [--count 500] [--bad 20] [--kills 5] [--loop 20] [--no-ray] [--work DIR]

Makes `count` pictures of mixed formats, modes and sizes (64…1024 a side), `bad` of them damaged, and prints one
JSON object per step. Needs the cores for itself: timings are of whole commands, start of workers included.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from vqcodec.batch.manifest import NAME
from vqcodec.batch.stores import TEMPORARY

FORMATS = ("png", "jpg", "webp", "gif", "bmp", "tif", "ppm")
COMMAND = [sys.executable, "-m", "vqcodec"]
DAMAGE = ("truncated", "empty", "text", "magic", "zeros")


def make_tree(photos: Path, folder: Path, count: int, bad: int, seed: int = 0) -> set[str]:
    """Writes the pictures; returns the paths of the bad ones."""
    rng = random.Random(seed)
    sources = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".webp"))
    damaged = set(rng.sample(range(count), bad))
    names = set()
    for i in range(count):
        image = Image.open(rng.choice(sources)).convert("RGB")
        side = int(64 * 16 ** rng.random())
        width, height = side, max(64, min(1024, int(side * rng.uniform(0.6, 1.6))))
        if rng.random() < 0.5 and width <= image.width and height <= image.height:
            left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
            image = image.crop((left, top, left + width, top + height))
        else:
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        extension = FORMATS[i % len(FORMATS)]
        kind = rng.choice(("colour", "colour", "colour", "grey", "palette", "alpha"))
        if kind == "grey":
            image = image.convert("L")
        elif kind == "palette" and extension in ("png", "gif", "bmp", "tif"):
            image = image.quantize(64)
        elif kind == "alpha" and extension in ("png", "webp", "tif"):
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        encoded = io.BytesIO()
        image.save(encoded, {"jpg": "JPEG", "tif": "TIFF"}.get(extension, extension.upper()))
        data = encoded.getvalue()
        path = f"{i // 50}/{i % 50 // 2:02}.{extension}"  # two neighbours share a stem: their outputs collide
        if i in damaged:
            names.add(path)
            kind = DAMAGE[len(names) % len(DAMAGE)]
            data = {"truncated": data[: len(data) // 3], "empty": b"", "text": b"this is no picture\n" * 50,
                    "magic": b"\x00\x01" + data[2:], "zeros": bytes(len(data))}[kind]
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return names


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file() and path.name != NAME}


def batch(source: Path, destination: Path, *extra: str) -> dict:
    """The summary of a whole run, and its seconds from outside."""
    shutil.rmtree(destination, ignore_errors=True)
    return resume(source, destination, *extra)


def resume(source: Path, destination: Path, *extra: str) -> dict:
    started = time.monotonic()
    result = subprocess.run([*COMMAND, "batch", "encode", source, destination, "--json", "--no-build-coder", *extra],
                            stdout=subprocess.PIPE, check=False)
    if not result.stdout:
        sys.exit(f"batch failed with {result.returncode}")
    return {**json.loads(result.stdout), "wall": time.monotonic() - started}


def show(step: str, **facts) -> None:
    print(json.dumps({"step": step, **facts}), flush=True)


def kill_at_random(source: Path, destination: Path, kills: int, seconds: float, rng: random.Random) -> None:
    """Runs whose parent is killed, at instants all over what an undisturbed run takes."""
    shutil.rmtree(destination, ignore_errors=True)
    for number in range(kills):
        process = subprocess.Popen([*COMMAND, "batch", "encode", source, destination, "-j", "2", "--no-build-coder"],
                                   stderr=subprocess.DEVNULL)
        delay = rng.uniform(0.2, 1) * seconds / kills + 4
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        code = process.wait()
        manifest = destination / NAME
        done = manifest.read_bytes().count(b'"status": "done"') if manifest.exists() else 0
        show("kill", number=number, after=round(delay, 2), code=code, done=done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--bad", type=int, default=20)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--loop", type=int, default=20, help="single encode calls to compare with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--work", type=Path, help="a folder to work in, kept afterwards")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="batch-"))
    source, whole = work / "src", work / "two"
    shutil.rmtree(source, ignore_errors=True)
    bad = make_tree(options.photos, source, options.count, options.bad, options.seed)
    before, good, passed = digests(source), options.count - options.bad, {}

    two = batch(source, whole, "-j", "2", "--verify")
    listed = {failure["source"] for failure in two["failures"]}
    passed["all good ones are encoded, all bad ones listed"] = two["done"] == good and listed == bad
    two = batch(source, whole, "-j", "2")
    one = batch(source, work / "one", "-j", "1")
    expected = digests(whole)
    passed["one worker gives the same bytes"] = digests(work / "one") == expected
    gain = one["wall"] / two["wall"]
    passed["two workers are 1.7 times as fast as one"] = gain >= 1.7
    show("throughput", one=one["wall"], two=two["wall"], gain=gain, mp_per_second=two["megapixels"] / two["wall"],
         peak_mib_per_worker=two["peak_memory_per_worker"] / 2**20)

    rows = [json.loads(line) for line in (whole / NAME).read_text().splitlines()]
    done = [row for row in rows if row["status"] == "done"]
    sample = random.Random(options.seed).sample(done, min(options.loop, len(done)))
    started = time.monotonic()
    same = True
    for row in sample:
        out = work / "single.vq"
        subprocess.run([*COMMAND, "encode", source / row["source"], out, "-f", "--quiet"], check=True,
                       stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        same &= hashlib.sha256(out.read_bytes()).hexdigest() == row["sha256"]
    per_call = (time.monotonic() - started) / len(sample)
    loop_gain = per_call / (two["wall"] / good)
    passed["single encode calls give the same bytes"] = same
    passed["batch is 3 times as fast as a loop of single calls"] = loop_gain >= 3
    show("loop", seconds_per_call=per_call, gain=loop_gain)

    kill_at_random(source, work / "killed", options.kills, two["wall"], random.Random(options.seed + 1))
    finished = resume(source, work / "killed", "-j", "2")
    passed["killed and resumed gives the same tree"] = digests(work / "killed") == expected
    passed["no temporary files"] = not list((work / "killed").rglob(TEMPORARY + "*"))
    again = resume(source, work / "killed", "-j", "2")
    passed["nothing is done twice"] = again["done"] == 0 and again["complete"] == good
    show("resumed", complete_before=finished["complete"], done=finished["done"])

    if not options.no_ray:
        ray = batch(source, work / "ray", "-j", "2", "--engine", "ray")
        passed["Ray gives the same bytes"] = digests(work / "ray") == expected
        show("ray", seconds=ray["wall"])
    passed["sources are untouched"] = digests(source) == before
    show("result", passed=passed, ok=all(passed.values()))
    if options.work is None:
        shutil.rmtree(work)
    sys.exit(not all(passed.values()))


if __name__ == "__main__":
    main()
