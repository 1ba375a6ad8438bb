"""Seconds and peak memory of loading, encoding and decoding, each measured in a process of its own, as a command would run:
alone, and beside one busy process of the lowest priority, which must not make anything more than 2.2 times slower.

    python benchmarks/speed.py FILE... [--model photo-3] [--quality 4]... [--size 768x512]... [--cores 2] [--active]

A FILE is a picture or a recording. Everything is kept on `--cores` cores. The arithmetic coder is the plain one where
torchac's extension is not built, or with TORCH_EXTENSIONS_DIR set to an empty folder.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from contextlib import contextmanager

ALLOWED = 2.2  # times as long as alone
TASKS = ("load", "encode", "decode", "grids")

WORKER = """
import json, sys, time
from vqcodec.process import peak_memory, wait_passively
path, size, name, quality, active = sys.argv[1:5] + [len(sys.argv) > 5]
if not active:
    wait_passively()
from vqcodec.fileio import first_bytes
from vqcodec.indices import rangecoder
from vqcodec.sound.file import looks_like_sound
from vqcodec.zoo import registry
sound = looks_like_sound(first_bytes(path))
if sound:
    from vqcodec.sound.codec import AudioCodec as Codec
    from vqcodec.sound.file import SoundReader
    original = SoundReader.open(path)
    large, what = original.length > 30 * original.rate, f"{original.length / original.rate:.1f} s"
else:
    import numpy as np
    from PIL import Image
    from vqcodec.picture.codec import Codec
    from vqcodec.picture.file import Picture
    Image.MAX_IMAGE_PIXELS = None
    image = Image.open(path).convert("RGB")
    if size != "-":
        image = image.resize(tuple(map(int, size.split("x"))), Image.LANCZOS)
    original = Picture(np.asarray(image), None, False)
    large, what = original.rgb.size > 6e6, f"{image.width}x{image.height}"
    del image
wall, spent = {}, {}
def measure(task, do):
    before = time.perf_counter(), time.process_time()
    result = do()
    wall.setdefault(task, []).append(time.perf_counter() - before[0])
    spent.setdefault(task, []).append(time.process_time() - before[1])
    return result
codec = measure("load", lambda: Codec.open(registry.find_by_name(name or None, None, "audio" if sound else "image")))
for _ in range(1 if large else 5):
    parts = []
    data = measure("encode", lambda: codec.encode_stream(original, parts.append, float(quality)) and b"".join(parts) if sound
                   else codec.encode(original, float(quality)).data)
    measure("decode", lambda: codec.decode(data))
    measure("grids", lambda: codec.decode_grids(data))
print(json.dumps(dict(what=what, coder="torchac" if rangecoder.torchac_ready() else "plain",
                      first={task: times[0] for task, times in wall.items()}, best={task: min(times) for task, times in wall.items()},
                      cpu={task: min(times) for task, times in spent.items()}, peak_mib=(peak_memory() or 0) / (1 << 20))))
"""


@contextmanager
def busy_process():
    """One that takes all it gets, at the lowest priority."""
    process = subprocess.Popen([sys.executable, "-c", "import os\nos.nice(19)\nwhile True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measured(*arguments: str) -> dict:
    return json.loads(subprocess.run([sys.executable, "-c", WORKER, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout)


def shown(where: str, r: dict) -> str:
    columns = "  ".join(f"{r['best'][task]:6.2f} ({r['first'][task]:.2f}, {r['cpu'][task]:.2f})" for task in TASKS)
    return f"{r['what']:>10} {where:>8} {r['coder']:>8}  {columns} {r['peak_mib']:8.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--model", default="")
    parser.add_argument("--quality", action="append", help="4 unless given, perhaps several times")
    parser.add_argument("--size", action="append", help="scale pictures to WIDTHxHEIGHT first; may be given several times")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--active", action="store_true", help="let waiting threads spin, as in a program that has set nothing")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    print("seconds: best (first, CPU seconds of all threads)")
    print(f"{'':10} {'':8} {'coder':>8}  " + "  ".join(f"{task:>19}" for task in TASKS) + " peak MiB")
    worst = 0.0
    for path, size, quality in itertools.product(arguments.files, arguments.size or ["-"], arguments.quality or ["4"]):
        request = [path, size, arguments.model, quality, *["active"] * arguments.active]
        alone = measured(*request)
        print(shown("alone", alone), flush=True)
        with busy_process():
            beside = measured(*request)
        print(shown("beside", beside), flush=True)
        factors = {task: beside["best"][task] / alone["best"][task] for task in TASKS}
        print(f"{'':10} {'times':>8} {'':8}  " + "  ".join(f"{factors[task]:19.2f}" for task in TASKS), flush=True)
        worst = max(worst, *factors.values())
    print(f"beside one busy process at most {worst:.2f} times slower ({ALLOWED} allowed)")
    return int(worst > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
