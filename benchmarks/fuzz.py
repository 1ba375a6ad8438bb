"""Feeds damaged and hostile files to the codecs for some minutes and counts what comes of them.

    python benchmarks/fuzz.py --minutes 10 [--target sound ...] [--seed N] [--add SUMMARY]
    python benchmarks/fuzz.py --target sound --replay fuzz-findings/finding-sound-0123456789ab

Targets are streams of pictures, of sound, of video and of text, metadata, models, files of pictures and of sound that are to be encoded,
and the golden files of all media and models. Streams are of these kinds: bytes of real files changed at random; fields (flags among
them), payloads, chunks and metadata changed below checksums that fit (header, metadata, chunks, alpha); arbitrary payloads
made into valid files (of pictures); sizes up to the format's limits that the payloads cannot fill. Models have hashes that fit,
PNG checksums that do. Decoders are those in torch and those without it.

Every input must end in an error of the vqcodec family, or in what is right: grids for which an encoder writes this very file,
sound of its full length, a model that encodes and decodes. It may take MAX_SECONDS of processor time and MAX_MEMORY.
Anything else is a finding, as is the end of the process that works on it: the input, which is written before it is opened, is kept
as a file, and the exit code is 1. The one object on standard output is the summary, of each target; all else goes to standard
error. Ctrl-C or SIGTERM ends a run early, with its summary. --add takes the summary of an earlier run, whose counts are added to
(give another --seed). By default the codecs are the tests' tiny models, whose speed allows many inputs; --model takes an
installed one (of streams).
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

MAX_SECONDS = 20  # of processor time, for one input
MAX_MEMORY = 400 << 20  # that the process grows by, above what it has taken before
WALL = 300  # seconds of the clock: nothing takes so long
MAX_FINDINGS = 20
TARGETS = {"picture": "streams.Pictures", "sound": "streams.Sounds", "video": "clips.Videos", "metadata": "streams.Metadatas",
           "models": "others.Models", "picture-files": "others.PictureFiles", "sound-files": "others.SoundFiles",
           "golden": "golden.Golden", "document": "documents.Documents", "document-files": "documents.DocumentFiles",
           "text": "texts.Texts"}


def target_of(name: str):
    from importlib import import_module

    module, kind = TARGETS[name].split(".")
    return getattr(import_module(f"fuzzing.{module}"), kind)


def work(arguments) -> None:
    """The child: makes and judges inputs of one target until its time is over, and writes what came of them to a file."""
    from helpers import time_limit

    from vqcodec.errors import VqcodecError
    from vqcodec.filelimits import Limits, within
    from vqcodec.zoo import registry

    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    warnings.simplefilter("ignore")
    allowed = Limits(pixels=1 << 20, samples=1 << 22, output=1 << 26, memory=1 << 32, seconds=MAX_SECONDS)
    rng, keep = random.Random(arguments.seed), arguments.keep
    entry = registry.find_by_name(arguments.model, arguments.models_dir, None) if arguments.model else None
    outcomes, facts = Counter(), {"seconds": 0.0, "memory": 0, "findings": 0}
    files = arguments.target[0].endswith("-files")
    with tempfile.TemporaryDirectory() as folder:
        target = target_of(arguments.target[0])(Path(folder), rng, entry)
        replayed = [path.read_bytes() for path in arguments.replay or ()]
        current = keep / f"current-{arguments.target[0]}"
        end, told = time.monotonic() + 60 * arguments.minutes, 0.0
        while time.monotonic() < end and facts["findings"] < MAX_FINDINGS and (replayed or not arguments.replay):
            kind = "replayed" if replayed else rng.choices(list(target.kinds), target.kinds.values())[0]
            data = replayed.pop() if replayed else target.make(kind)
            if not data:
                continue
            current.write_bytes(data)
            try:
                began = time.process_time()
                with time_limit(WALL), within(allowed):
                    before = memory(renew=True)
                    try:
                        outcome = target.judge(current if files else data)
                    except VqcodecError as error:
                        outcome = type(error).__name__
                    grown = memory() - before
                took = time.process_time() - began
                facts["seconds"], facts["memory"] = max(facts["seconds"], took), max(facts["memory"], grown)
                if took > MAX_SECONDS + 5:
                    raise AssertionError(f"took {took:.1f} s of processor time")
                if grown > MAX_MEMORY:
                    raise AssertionError(f"took {grown >> 20} MiB")
                outcomes[f"{kind}: {outcome}"] += 1
            except Exception:
                facts["findings"] += 1
                outcomes[f"{kind}: FINDING"] += 1
                print(f"{kept(keep, arguments.target[0], data)} ({kind}):", file=sys.stderr)
                traceback.print_exc()
            if time.monotonic() > told + 2:
                told = time.monotonic()
                (keep / f"counts-{arguments.target[0]}").write_text(json.dumps({**facts, "outcomes": outcomes}))
        (keep / f"counts-{arguments.target[0]}").write_text(json.dumps({**facts, "outcomes": outcomes}))
        current.unlink(missing_ok=True)


def memory(renew: bool = False) -> int:
    """Most bytes that this process has had since that was renewed; 0 where Linux does not tell."""
    try:
        if renew:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) << 10
    except OSError:
        return 0


def kept(keep: Path, target: str, data: bytes) -> Path:
    path = keep / f"finding-{target}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def watch(arguments, name: str, minutes: float, stopped: list[str]) -> dict:
    """Has a target worked on by child processes, a new one after each that has died; their counts together. stopped: gets its
    name if the user ends it, and then no more is done."""
    total = {"findings": 0, "seconds": 0.0, "memory": 0, "outcomes": Counter()}
    began, seed = time.monotonic(), arguments.seed
    while (left := minutes - (time.monotonic() - began) / 60) > 0.02 and total["findings"] < MAX_FINDINGS and not stopped:
        words = [sys.executable, __file__, "--child", "--target", name, "--minutes", str(left), "--seed", str(seed),
                 "--keep", str(arguments.keep)]
        words += ["--model", arguments.model] if arguments.model else []
        words += ["--models-dir", arguments.models_dir] if arguments.models_dir else []
        words += ["--replay", *map(str, arguments.replay)] if arguments.replay else []
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL)  # libsndfile prints what it thinks of some files
        try:
            child.wait(60 * left + 2 * WALL)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as end:
            if isinstance(end, KeyboardInterrupt):
                stopped.append(name)
            child.kill()
            child.wait()
        counts, current = arguments.keep / f"counts-{name}", arguments.keep / f"current-{name}"
        if counts.exists():
            found = json.loads(counts.read_text())
            counts.unlink()
            total["seconds"], total["memory"] = (max(total[key], found[key]) for key in ("seconds", "memory"))
            total["findings"] += found["findings"]
            total["outcomes"].update(found["outcomes"])
        if child.returncode and not stopped:
            total["findings"] += 1
            what = kept(arguments.keep, name, current.read_bytes()) if current.exists() else "before any input"
            print(f"{what}: the process ended with {child.returncode}", file=sys.stderr)
            seed += 1
        current.unlink(missing_ok=True)
        if arguments.replay:
            break
    kinds = Counter()
    for outcome, count in total["outcomes"].items():
        kinds[outcome.partition(":")[0]] += count
    return {"inputs": kinds.total(), **total, "seconds": round(total["seconds"], 2), "memory": total["memory"] >> 20,
            "kinds": dict(kinds.most_common()), "outcomes": dict(total["outcomes"].most_common())}


def together(one: dict, other: dict) -> dict:
    """The counts of two runs of a target."""
    most = {key: max(one[key], other[key]) for key in ("seconds", "memory")}
    counts = {key: dict((Counter(one[key]) + Counter(other[key])).most_common()) for key in ("kinds", "outcomes")}
    return {**{key: one[key] + other[key] for key in ("inputs", "findings")}, **most, **counts}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2, help="for all targets together")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeat a run (inputs, not times)")
    parser.add_argument("--model", help="an installed model, instead of the tests' tiny one")
    parser.add_argument("--models-dir")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for inputs that are findings")
    parser.add_argument("--target", choices=TARGETS, nargs="+", default=list(TARGETS))
    parser.add_argument("--add", type=Path, help="the summary of an earlier run")
    parser.add_argument("--replay", type=Path, nargs="+", help="inputs that were kept, of one target, instead of new ones")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.keep.mkdir(parents=True, exist_ok=True)
    if arguments.child:
        work(arguments)
        return 0
    if arguments.replay and len(arguments.target) > 1:
        parser.error("--replay needs the one --target")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    before = json.loads(arguments.add.read_text()) if arguments.add else {"minutes": 0, "seeds": [], "targets": {}}
    found, stopped, began = before["targets"], [], time.monotonic()
    for name in arguments.target:
        if not stopped:
            now = watch(arguments, name, arguments.minutes / len(arguments.target), stopped)
            found[name] = together(found[name], now) if name in found else now
            print(f"{name}: {now['inputs']} inputs, {now['findings']} findings, at most {now['seconds']} s and {now['memory']} MiB",
                  file=sys.stderr)
    if not any(arguments.keep.iterdir()):
        arguments.keep.rmdir()
    sums = {key: sum(target[key] for target in found.values()) for key in ("inputs", "findings")}
    print(json.dumps({"minutes": round(before["minutes"] + (time.monotonic() - began) / 60, 2),
                      "seeds": [*before["seeds"], arguments.seed], **sums, "targets": found}, indent=1))
    return 1 if sums["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
