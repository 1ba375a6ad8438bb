"""A model of photographs against AVIF on a folder of pictures, with little arithmetic: real bytes, BD-rates by PSNR,
MS-SSIM, SSIMULACRA2 and, on some of the pictures, CVVDP; whether every score rises with quality on each picture.

    python benchmarks/photographs.py KODAK/ --cache points.jsonl [--models photo-4] [--codecs avif,avif-ssimulacra2] [--jobs 2]
    python benchmarks/photographs.py PHOTOS/ --held-out 12 --side 768 --cache points.jsonl

`vqcodec benchmark` makes a report of the same; here MS-SSIM and SSIMULACRA2 are those of training (the packages' within 0.001 dB and
0.001 points), which take a fifth of the time, and every point is one line in a file that later runs read. --held-out: only those of
the folder that training sets aside, by the hash of their names. --side: scale to this at most. --qualities: of the models, --settings:
of the others.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vqcodec.bench.bdrate import bd_rate
from vqcodec.bench.codecs import CodecSpec
from vqcodec.fileio import write_output
from vqcodec.picture import distortion, ssimulacra2
from vqcodec.picture.peers import CODECS
from vqcodec.picture.psnr import psnr
from vqcodec.picture.scores import METRICS
from vqcodec.picture.transform import samples
from vqcodec.train.data import split

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")
SPANS = {"psnr": 0.5, "ms-ssim": 0.5, "ssimulacra2": 2.0, "cvvdp": 0.1}


def pictures(folder: Path, held_out: int) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    return split(found, held_out)[1] if held_out else found


def opened(path: Path, side: int) -> np.ndarray:
    """uint8[H,W,3], scaled to `side` at most, if it is not 0."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    if side:
        image.thumbnail((side, side), Image.LANCZOS)
    return np.asarray(image).copy()


def scores(rgb: np.ndarray, decoded: np.ndarray, cvvdp: bool) -> dict[str, float]:
    """PSNR and MS-SSIM in dB."""
    x, y = samples(decoded.copy()), samples(rgb)
    with torch.inference_mode():
        found = {"psnr": psnr(rgb, decoded), "ms-ssim": -10 * math.log10(1 - distortion.similarity(x, y).item()),
                 "ssimulacra2": ssimulacra2.score(ssimulacra2.error(x, y)).item()}
    if cvvdp:
        metric = METRICS["cvvdp"]()
        metric.load()
        found["cvvdp"] = metric.measure(rgb, decoded)
    return found


def measure(job) -> dict[tuple, dict]:
    """All settings of one picture by one codec that are not known yet: {key: scores}."""
    path, side, spec, settings, known, cvvdp, cache = job
    torch.set_num_threads(1)
    codec, rgb, points = CODECS[spec.name](spec), None, {}
    for setting in settings or codec.settings:
        key = (path.name, side, codec.label, codec.version, setting)
        found = dict(known.get(key, {}))
        if not found or cvvdp and "cvvdp" not in found:
            rgb = opened(path, side) if rgb is None else rgb
            data = codec.encode(rgb, setting)
            found = {"bpp": 8 * len(data) / (rgb.shape[0] * rgb.shape[1]), **scores(rgb, codec.decode(data), cvvdp)}
            with open(cache, "a") as file:
                file.write(json.dumps({"key": key, **found}) + "\n")
        points[key] = found
    return points


def read_cache(path: Path) -> dict[tuple, dict]:
    known = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        entry = json.loads(line)
        known[tuple(entry.pop("key"))] = entry
    return known


def curves(points: dict[tuple, dict]) -> dict[str, dict[float, list[dict]]]:
    """{codec: {setting: points}}"""
    result: dict[str, dict[float, list[dict]]] = {}
    for (_, _, label, _, setting), found in points.items():
        result.setdefault(label, {}).setdefault(setting, []).append(found)
    return result


def line(curve: dict[float, list[dict]], metric: str) -> list[tuple[float, float]]:
    """(mean bpp, mean score) of each setting, over the pictures that have it. Of MS-SSIM the mean is not of its dB."""
    result = []
    for found in curve.values():
        values = [point for point in found if metric in point]
        if not values:
            continue
        mean = np.mean([point[metric] for point in values])
        if metric == "ms-ssim":
            mean = -10 * math.log10(np.mean([10 ** (-point[metric] / 10) for point in values]))
        result.append((float(np.mean([point["bpp"] for point in values])), float(mean)))
    return result


def falling(points: dict[tuple, dict], label: str) -> list[str]:
    """Where a rate or a score does not rise with quality."""
    by_picture: dict[str, list] = {}
    for (name, _, codec, _, setting), found in points.items():
        if codec == label:
            by_picture.setdefault(name, []).append((setting, found))
    result = []
    for name, found in by_picture.items():
        found.sort(key=lambda entry: entry[0])
        for (low, a), (high, b) in zip(found, found[1:]):
            result += [f"{name} {key} {low:g} {a[key]:.4f}, {high:g} {b[key]:.4f}"
                       for key in a if key in b and b[key] <= a[key]]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default="")
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("--codecs", default="avif,avif-ssimulacra2")
    parser.add_argument("--qualities", default="")
    parser.add_argument("--settings", default="", help="of the other codecs")
    parser.add_argument("--effort", type=int)
    parser.add_argument("--held-out", type=int, default=0)
    parser.add_argument("--first", type=int, help="only so many of the pictures")
    parser.add_argument("--side", type=int, default=0)
    parser.add_argument("--cvvdp", type=int, default=0, help="of so many of the pictures")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    paths = pictures(options.folder, options.held_out)[: options.first]
    peers = [name for name in options.codecs.split(",") if name]
    models = [name for name in options.models.split(",") if name]
    qualities, settings = (tuple(float(q) for q in text.split(",") if q) for text in (options.qualities, options.settings))
    known = read_cache(options.cache)
    jobs = [(path, options.side, CodecSpec(name), settings, known, i < options.cvvdp, options.cache)
            for name in peers for i, path in enumerate(paths)]
    folder = options.models_dir and str(options.models_dir)
    jobs += [(path, options.side, CodecSpec("vqcodec", name, folder, options.effort), qualities, known, i < options.cvvdp,
              options.cache) for name in models for i, path in enumerate(paths)]
    points: dict[tuple, dict] = {}
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        for found in pool.imap_unordered(measure, jobs):
            points |= found

    by_codec, rates = curves(points), {}
    metrics = [m for m in SPANS if any(m in point for point in points.values())]
    for label, curve in by_codec.items():
        print(f"\n{label}\n| setting | bpp | " + " | ".join(metrics) + " |")
        table = {metric: dict(zip(curve, line(curve, metric))) for metric in metrics}
        for setting in sorted(curve):
            shown = [f"{table[m][setting][1]:.3f}" if setting in table[m] else "" for m in metrics]
            print(f"| {setting:g} | {table['psnr'][setting][0]:.4f} | " + " | ".join(shown) + " |")
    ours = [label for label in by_codec if label.startswith("vqcodec ")]
    print()
    for label in ours:
        for other in by_codec:
            if other != label:
                found = {m: bd_rate(line(by_codec[other], m), line(by_codec[label], m), SPANS[m]) for m in metrics}
                rates[f"{label} against {other}"] = {m: r.percent for m, r in found.items()}
                print(f"{label} against {other}: " + ", ".join(
                    f"{m} {r.percent:+.1f} % ({r.low:.1f} to {r.high:.1f})" if r.percent is not None else f"{m}: {r.reason}"
                    for m, r in found.items()))
        wrong = falling(points, label)
        print(f"{label}: not rising with quality: {'; '.join(wrong) or 'nowhere'}")
    if options.json:
        lines = {label: {m: line(curve, m) for m in metrics} for label, curve in by_codec.items()}
        write_output(str(options.json), json.dumps({"bd_rates": rates, "curves": lines}).encode(), force=True)


if __name__ == "__main__":
    main()
