"""Rate–distortion of vqcodec and Pillow's codecs on a directory of pictures, by real file bytes.

    python benchmarks/rate_distortion.py DIR [--codecs vqcodec,jpeg,webp] [--csv FILE] [--plot FILE]

Every picture is written to a file and read back; bpp counts all bytes, PSNR (RGB) and MS-SSIM are of the
decoded 8-bit picture. Needs pytorch-msssim, and matplotlib for --plot.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import platform
import tempfile
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image
from pytorch_msssim import ms_ssim

import vqcodec
from vqcodec import codec, registry
from vqcodec.media import Picture
from vqcodec.metrics import psnr

SWEEPS = {
    "jpeg": [dict(format="JPEG", quality=q, optimize=True, subsampling="4:2:0")
             for q in (1, 3, 5, 7, 10, 14, 18, 24, 30, 40, 50, 60, 75)],
    "webp": [dict(format="WEBP", quality=q, method=6) for q in (0, 3, 8, 15, 25, 40, 55, 70, 80, 90)],
    "jpeg2000": [dict(format="JPEG2000", quality_mode="rates", quality_layers=[24 / b], irreversible=True)
                 for b in (0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)],
    "avif": [dict(format="AVIF", quality=q, speed=4) for q in (5, 12, 20, 28, 36, 45, 55, 65, 75)],
}


@dataclass(frozen=True)
class Point:
    codec: str
    setting: str
    picture: str
    bpp: float
    psnr: float
    ms_ssim: float


def measure(name: str, setting: str, path: Path, data: bytes, rgb: np.ndarray, decoded: np.ndarray) -> Point:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        size = Path(file.name).stat().st_size
    x, y = (torch.from_numpy(a.copy()).permute(2, 0, 1)[None].float() for a in (rgb, decoded))
    similarity = ms_ssim(x, y, data_range=255).item()
    return Point(name, setting, path.name, 8 * size / (rgb.shape[0] * rgb.shape[1]), psnr(rgb, decoded), similarity)


def classical(name: str, path: Path, rgb: np.ndarray):
    for options in SWEEPS[name]:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, **options)
        decoded = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
        setting = ",".join(f"{k}={v}" for k, v in options.items() if k != "format")
        yield measure(name, setting, path, buffer.getvalue(), rgb, decoded)


def neural(model, path: Path, rgb: np.ndarray, qualities):
    for quality in qualities:
        data = model.encode(Picture(rgb, None, False), quality).data
        yield measure(f"vqcodec {model.entry.name}", f"q={quality:g}", path, data, rgb, model.decode(data).rgb)


def means(points):
    """{codec: [(bpp, psnr, MS-SSIM dB), …] by setting}: means over pictures; MS-SSIM is averaged, then in dB."""
    groups: dict = {}
    for p in points:
        groups.setdefault(p.codec, {}).setdefault(p.setting, []).append(p)
    return {name: sorted((float(np.mean([p.bpp for p in g])), float(np.mean([p.psnr for p in g])),
                          -10 * math.log10(1 - np.mean([p.ms_ssim for p in g]))) for g in settings.values())
            for name, settings in groups.items()}


def bd_rate(reference, test, column: int) -> float | None:
    """Bjøntegaard's rate difference in percent, by PCHIP of log rate on the overlap; None without overlap."""
    from scipy.interpolate import PchipInterpolator

    curves = []
    for points in (reference, test):
        by_quality = sorted({p[column]: math.log(p[0]) for p in points}.items())
        curves.append(tuple(zip(*by_quality)))
    low, high = max(c[0][0] for c in curves), min(c[0][-1] for c in curves)
    if high - low < 0.5:
        return None
    areas = [PchipInterpolator(*c).integrate(low, high) for c in curves]
    return 100 * (math.exp((areas[1] - areas[0]) / (high - low)) - 1)


def plot(curves, out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5), layout="constrained")
    for axis, column, label in zip(figure.subplots(1, 2), (1, 2), ("PSNR (RGB), dB", "MS-SSIM, dB")):
        for name, points in curves.items():
            style = dict(linewidth=2.5, marker="o") if name.startswith("vqcodec") else dict(linewidth=1.2, marker=".")
            axis.plot([p[0] for p in points], [p[column] for p in points], label=name, **style)
        axis.set(xlabel="bits per pixel", ylabel=label, xlim=(0, 1))
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(out, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--codecs", default="vqcodec,jpeg,webp,jpeg2000,avif")
    parser.add_argument("--model")
    parser.add_argument("--models-dir")
    parser.add_argument("--csv", type=Path, help="write every point")
    parser.add_argument("--also", type=Path, help="add the points of an earlier run's --csv")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    names = arguments.codecs.split(",")
    model = None
    if "vqcodec" in names:
        model = codec.Codec.open(registry.find_by_name(arguments.model, arguments.models_dir))
    points = []
    for path in sorted(p for p in arguments.directory.iterdir() if p.suffix.lower() in (".png", ".webp", ".ppm")):
        rgb = np.asarray(Image.open(path).convert("RGB"))
        for name in names:
            points += neural(model, path, rgb, range(1, model.qualities + 1)) if name == "vqcodec" else \
                classical(name, path, rgb)
    if arguments.csv:
        with open(arguments.csv, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([f.name for f in fields(Point)])
            writer.writerows(astuple(p) for p in points)
    if arguments.also:
        with open(arguments.also, newline="") as file:
            points += [Point(*row[:3], *map(float, row[3:])) for row in list(csv.reader(file))[1:]]
    curves = means(points)
    print(f"vqcodec {vqcodec.__version__}, torch {torch.__version__}, Pillow {PIL.__version__}, "
          f"{platform.machine()}, {len({p.picture for p in points})} pictures")
    for name, curve in curves.items():
        print(f"\n{name}\n   bpp    PSNR  MS-SSIM dB")
        for point in curve:
            print("{:6.4f} {:7.3f} {:7.3f}".format(*point))
    ours = [name for name in curves if name.startswith("vqcodec")]
    for mine in ours:
        for other in curves:
            if other not in ours:
                rates = [bd_rate(curves[other], curves[mine], column) for column in (1, 2)]
                shown = ["no overlap" if r is None else f"{r:+.1f} %" for r in rates]
                print(f"BD-rate of {mine} against {other}: PSNR {shown[0]}, MS-SSIM {shown[1]}")
    if arguments.plot:
        plot(curves, arguments.plot)


if __name__ == "__main__":
    main()
