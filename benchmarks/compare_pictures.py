"""A sheet of one picture coded by several codecs to about the same number of bytes.

    python benchmarks/compare_pictures.py PICTURE OUT.png --bpp 0.15 [--crop LEFT,TOP,WIDTH,HEIGHT]
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vqcodec import codec, registry
from vqcodec.media import Picture
from vqcodec.metrics import psnr


def classical(image: Image.Image, target: int, **options) -> bytes:
    """The largest file of at most `target` bytes over all qualities; the smallest there is if none fits."""
    files = []
    for quality in range(96):
        buffer = io.BytesIO()
        image.save(buffer, quality=quality, **options)
        files.append(buffer.getvalue())
    fitting = [f for f in files if len(f) <= target]
    return max(fitting, key=len) if fitting else min(files, key=len)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bpp", type=float, required=True)
    parser.add_argument("--crop")
    arguments = parser.parse_args()
    image = Image.open(arguments.picture).convert("RGB")
    rgb = np.asarray(image)
    model = codec.Codec.open(registry.find_by_name(None))
    ours = model.encode_to_target(Picture(rgb), bpp=arguments.bpp).data
    target = len(ours)
    panels = [("original", None, rgb), ("vqcodec", ours, model.decode(ours).rgb)]
    for name, options in (("WebP", dict(format="WEBP", method=6)), ("AVIF", dict(format="AVIF", speed=4)),
                          ("JPEG", dict(format="JPEG", optimize=True, subsampling="4:2:0"))):
        data = classical(image, target, **options)
        panels.append((name, data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))))
    left, top, width, height = map(int, arguments.crop.split(",")) if arguments.crop else (0, 0, *image.size)
    sheet = Image.new("RGB", (len(panels) * (width + 4) - 4, height + 14), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (name, data, pixels) in enumerate(panels):
        sheet.paste(Image.fromarray(pixels).crop((left, top, left + width, top + height)), (i * (width + 4), 14))
        label = name if data is None else f"{name} {len(data)} bytes, {psnr(rgb, pixels):.1f} dB"
        draw.text((i * (width + 4) + 2, 1), label, fill="black")
    sheet.save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
