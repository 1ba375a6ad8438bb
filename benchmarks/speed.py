"""Seconds and peak memory of loading, encoding, reading grids and decoding, each file in a process of its own: alone, and beside one
busy process of the lowest priority, which must not make anything more than 2.2 times slower.

    python benchmarks/speed.py FILE... [--model photo-3] [--quality 4]... [--size 768x512]... [--cores 2] [--as command]

A FILE is a picture or a recording. Everything is measured twice: as the commands run, which tell waiting threads to sleep, and as a
program that has set nothing and calls the library. Everything is kept on `--cores` cores. Medians of what is done in SECONDS, at
least one time. The exit code is 1 where something beside the busy process takes more than 2.2 times as long. The arithmetic
coder is the plain one where torchac's extension is not built, or with TORCH_EXTENSIONS_DIR set to an empty folder.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager

ALLOWED = 2.2  # times as long as alone
TASKS = ("load", "encode", "decode", "grids")
SECONDS, MOST = 8, 5  # of all that is done with a file in one process, and how many times
CALLERS = ("command", "library")
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def work(path: str, size: str, model: str, quality: float, caller: str) -> dict:
    """In a process of its own. decode and grids as `vqcodec decode` does them, without torch's part of the codec."""
    from vqcodec.process import peak_memory, wait_passively

    if caller == "command":
        wait_passively()
    from vqcodec.fileio import Source
    from vqcodec.indices import rangecoder
    from vqcodec.sound.formats.kinds import looks_like_sound
    from vqcodec.zoo import registry

    sound = looks_like_sound(Source.open(path).head, path)
    what, encode, decoder = (_sound if sound else _picture)(path, size, quality)
    wall, spent = {}, {}

    def measure(task: str, do):
        before = time.perf_counter(), time.process_time()
        result = do()
        wall.setdefault(task, []).append(time.perf_counter() - before[0])
        spent.setdefault(task, []).append(time.process_time() - before[1])
        return result

    entry = registry.find_by_name(model or None, None, "audio" if sound else "image")
    began = time.perf_counter()
    small = decoder.open(entry, encoder=False)
    codec = measure("load", lambda: decoder.open(entry))
    while not wall.get("grids") or len(wall["grids"]) < MOST and time.perf_counter() - began < SECONDS:
        data = measure("encode", lambda: encode(codec))
        measure("decode", lambda: small.decode(data))
        measure("grids", lambda: small.decode_grids(data))
    return dict(what=what, coder="torchac" if rangecoder.torchac_ready() else "plain", times=len(wall["grids"]),
                wall={task: statistics.median(times) for task, times in wall.items()},
                cpu={task: statistics.median(times) for task, times in spent.items()}, peak_mib=(peak_memory() or 0) / (1 << 20))


def _sound(path: str, _size: str, quality: float):
    """(what it is, codec → its stream, the class of codecs)"""
    from vqcodec.sound.codec import AudioCodec
    from vqcodec.sound.file import SoundReader

    reader = SoundReader.open(path)

    def encode(codec) -> bytes:
        parts = []
        codec.encode_stream(reader, parts.append, quality)
        return b"".join(parts)

    return f"{reader.length / reader.rate:.1f} s", encode, AudioCodec


def _picture(path: str, size: str, quality: float):
    """As `_sound`."""
    import numpy as np
    from PIL import Image

    from vqcodec.picture.codec import Codec
    from vqcodec.picture.file import Picture

    Image.MAX_IMAGE_PIXELS = None
    image = Image.open(path).convert("RGB")
    if size != "-":
        image = image.resize(tuple(map(int, size.split("x"))), Image.Resampling.LANCZOS)
    picture = Picture(np.asarray(image), None, False)
    return f"{image.width}x{image.height}", lambda codec: codec.encode(picture, quality).data, Codec


@contextmanager
def busy_process():
    """One that takes all it gets, at the lowest priority."""
    process = subprocess.Popen([sys.executable, "-c", "import os\nif hasattr(os, 'nice'): os.nice(19)\nwhile True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measured(*request) -> dict:
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_SETTINGS}
    done = subprocess.run([sys.executable, __file__, "--worker", json.dumps(request)], env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{request[0]}: cannot be measured")
    return json.loads(done.stdout)


def shown(where: str, caller: str, r: dict) -> str:
    columns = "  ".join(f"{r['wall'][task]:6.2f} ({r['cpu'][task]:5.2f})" for task in TASKS)
    return f"{r['what']:>10} {caller:>8} {where:>8} {r['coder']:>8}  {columns} {r['peak_mib']:8.0f} {r['times']:6}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--model", default="")
    parser.add_argument("--quality", action="append", type=float, help="4 unless given, perhaps several times")
    parser.add_argument("--size", action="append", help="scale pictures to WIDTHxHEIGHT first; may be given several times")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--as", choices=CALLERS, dest="callers", action="append", help="only so, not both")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(*json.loads(arguments.worker))))
        return 0
    if not arguments.files:
        parser.error("name a picture or a recording")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    began, worst = time.monotonic(), (0.0, "")
    print("seconds (CPU seconds of all threads), medians")
    print(f"{'':10} {'as':>8} {'':8} {'coder':>8}  " + "  ".join(f"{task:>14}" for task in TASKS) + " peak MiB  times")
    for path, size, quality, caller in itertools.product(arguments.files, arguments.size or ["-"], arguments.quality or [4.0],
                                                         arguments.callers or CALLERS):
        request = path, size, arguments.model, quality, caller
        alone = measured(*request)
        print(shown("alone", caller, alone), flush=True)
        with busy_process():
            beside = measured(*request)
        print(shown("beside", caller, beside), flush=True)
        factors = {task: beside["wall"][task] / alone["wall"][task] for task in TASKS}
        print(f"{'':10} {'':>8} {'factor':>8} {'':8}  " + "  ".join(f"{factors[task]:14.2f}" for task in TASKS), flush=True)
        worst = max(worst, *((factor, f"{task} of {alone['what']} as {caller}") for task, factor in factors.items()))
    print(f"beside one busy process at most {worst[0]:.2f} times slower ({worst[1]}; {ALLOWED} allowed); "
          f"all took {time.monotonic() - began:.0f} s")
    return int(worst[0] > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
