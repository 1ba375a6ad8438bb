"""Seconds and peak memory of loading, encoding and decoding, each measured in a process of its own.

    python benchmarks/speed.py PICTURE [--model photo-3] [--quality 4]... [--threads 2] [--size 768x512]...

The arithmetic coder is the plain one where torchac's extension is not built, or with TORCH_EXTENSIONS_DIR set to an empty folder.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys

WORKER = """
import json, resource, sys, time
import numpy as np
from PIL import Image
import torch
path, threads, size, name, quality = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], float(sys.argv[5])
torch.set_num_threads(threads)
from vqcodec import codec, registry, rangecoder
from vqcodec.media import Picture
Image.MAX_IMAGE_PIXELS = None
image = Image.open(path).convert("RGB")
if size != "-":
    image = image.resize(tuple(map(int, size.split("x"))), Image.LANCZOS)
picture = Picture(np.asarray(image), None, False)
del image
start = time.perf_counter()
model = codec.Codec.open(registry.find_by_name(name or None))
load = time.perf_counter() - start
times = {"encode": [], "decode": []}
repeats = 5 if picture.rgb.size < 6e6 else 1
for _ in range(repeats):
    start = time.perf_counter(); data = model.encode(picture, quality).data; times["encode"].append(time.perf_counter() - start)
    start = time.perf_counter(); model.decode(data); times["decode"].append(time.perf_counter() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(dict(size=f"{picture.rgb.shape[1]}x{picture.rgb.shape[0]}", coder="torchac" if rangecoder.torchac_ready()
    else "plain", load=load, first_encode=times["encode"][0], first_decode=times["decode"][0],
    encode=min(times["encode"]), decode=min(times["decode"]), peak_mib=peak)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture")
    parser.add_argument("--model", default="")
    parser.add_argument("--quality", action="append", help="4 unless given, perhaps several times")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", action="append", help="scale to WIDTHxHEIGHT first; may be given several times")
    arguments = parser.parse_args()
    print("      size quality    coder  load  encode  decode (first encode, decode)  peak MiB")
    for size, quality in itertools.product(arguments.size or ["-"], arguments.quality or ["4"]):
        command = [sys.executable, "-c", WORKER, arguments.picture, str(arguments.threads), size, arguments.model, quality]
        r = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{r['size']:>10} {quality:>7} {r['coder']:>8} {r['load']:5.2f} {r['encode']:7.2f} {r['decode']:7.2f}"
              f" ({r['first_encode']:.2f}, {r['first_decode']:.2f}) {r['peak_mib']:16.0f}", flush=True)


if __name__ == "__main__":
    main()
