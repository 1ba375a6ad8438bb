"""Directories of pictures → random crops u8[B,3,S,S], in an order that depends only on seed and step."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..errors import InputError
from . import drawn

EXTENSIONS = {".png", ".webp", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm"}
DRAWN = 400  # pictures that are drawn, if any are
GREY = 1 / 32  # of the crops of photographs lose their colour, if any crops are drawn
SCALES = (1.0, 0.7, 0.5)  # halved pictures are as sharp per pixel as a camera's downscaled output


def find_pictures(directories) -> list[Path]:
    """All pictures below the directories, sorted. Raises InputError when there are none."""
    paths = sorted(p for d in directories for p in Path(d).rglob("*") if p.suffix.lower() in EXTENSIONS)
    if not paths:
        raise InputError(f"no pictures found in {', '.join(map(str, directories))}")
    return paths


class Crops:
    """Random crops with flips from pictures held in memory, each at up to three scales; a `share` of them from drawn pictures.

    `batch(step, size, count)` → u8 tensor [count, 3, size, size]; the same (seed, step, rank) gives the
    same batch, so that a resumed run sees the data it would have seen.
    """

    def __init__(self, paths, *, seed: int = 0, min_side: int = 256, scales=SCALES, share: float = 0.0):
        self.seed, self.share = seed, share
        self.drawn = drawn.pictures(DRAWN, seed) if share else []
        self.pictures: list[np.ndarray] = []
        weights = []
        for path in paths:
            with Image.open(path) as image:
                image = image.convert("RGB")
            for scale in scales:
                width, height = (round(s * scale) for s in image.size)
                if scale != 1.0 and min(width, height) < min_side * 2:
                    continue
                small = image if scale == 1.0 else image.resize((width, height), Image.LANCZOS, reducing_gap=3)
                if min(small.size) < min_side:
                    continue
                self.pictures.append(np.asarray(small))
                weights.append((width * height) ** 0.25)
        if not self.pictures:
            raise InputError(f"no picture is at least {min_side} pixels wide and high")
        self.cumulative = list(np.cumsum(weights))

    def batch(self, step: int, size: int, count: int, rank: int = 0) -> torch.Tensor:
        rng = random.Random(f"{self.seed}/{step}/{rank}")
        crops = []
        for picture in rng.choices(self.pictures, cum_weights=self.cumulative, k=count):
            is_drawn = rng.random() < self.share
            if is_drawn:
                picture = rng.choice(self.drawn)
            height, width = picture.shape[:2]
            top, left = rng.randint(0, height - size), rng.randint(0, width - size)
            crop = picture[top : top + size, left : left + size]
            if rng.random() < 0.5:
                crop = crop[:, ::-1]
            if is_drawn:
                crop = drawn.varied(rng, crop)
            elif self.share and rng.random() < GREY:
                crop = drawn.grey(crop)
            crops.append(torch.from_numpy(np.ascontiguousarray(crop)))
        return torch.stack(crops).permute(0, 3, 1, 2)
