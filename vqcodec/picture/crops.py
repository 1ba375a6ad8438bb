"""Directories of pictures → random crops u8[B,3,S,S], in an order that depends only on seed and step."""

from __future__ import annotations

import random
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..errors import InputError, VqcodecWarning, cause
from ..train.data import LIMIT, Shelves, reading
from . import drawn
from .colour import without_colour

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
    """Random crops with flips from pictures, each at up to three scales; a `share` of them from drawn pictures. Pictures are
    held in memory up to `limit` bytes (`train.data.Shelves`).

    `batch(step, size, count)` → u8 tensor [count, 3, size, size]; the same (seed, step, rank) gives the
    same batch, so that a resumed run sees the data it would have seen.
    """

    def __init__(self, paths, *, seed: int = 0, min_side: int = 256, scales=SCALES, share: float = 0.0, limit: int = LIMIT):
        self.seed, self.share = seed, share
        self.drawn = drawn.pictures(DRAWN, seed) if share else []
        self.paths, self.sizes, sizes, weights = [], [], [], []
        for path in reading(list(paths), "looking at pictures:"):
            try:
                with opened(path) as image:
                    size = image.size
            except InputError as error:
                warnings.warn(f"{error}: left out", VqcodecWarning, stacklevel=2)
                continue
            found = [scaled for scale in scales if (scaled := _scaled(size, scale, min_side))]
            if found:
                weights += [(len(self.paths), scaled, (scaled[0] * scaled[1]) ** 0.25) for scaled in found]
                sizes.append(sum(3 * width * height for width, height in found))
                self.paths.append(path)
                self.sizes.append(found)
        if not self.paths:
            raise InputError(f"no picture is at least {min_side} pixels wide and high, of {len(paths)} to learn from")
        self.shelves = Shelves(sizes, weights, self._load, limit, seed=seed)
        self.shelves.fill("reading pictures:")

    def _load(self, index: int) -> tuple[dict[tuple[int, int], np.ndarray], int]:
        """({(width, height): uint8[H,W,3]} of a picture, bytes)."""
        with opened(self.paths[index]) as image:
            image = image.convert("RGB")
        found = {size: np.asarray(image if size == image.size else image.resize(size, Image.LANCZOS, reducing_gap=3))
                 for size in self.sizes[index]}
        return found, sum(pixels.nbytes for pixels in found.values())

    def batch(self, step: int, size: int, count: int, rank: int = 0) -> torch.Tensor:
        rng = random.Random(f"{self.seed}/{step}/{rank}")
        crops = []
        for picture in self.shelves.draw(rng, step, rank, count):
            is_drawn = self.share > 0 and rng.random() < self.share  # without drawn ones the draws are those of before
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
                crop = without_colour(crop)
            crops.append(torch.from_numpy(np.ascontiguousarray(crop)))
        return torch.stack(crops).permute(0, 3, 1, 2)


@contextmanager
def opened(path):
    """Raises InputError for what is no picture, or a damaged one."""
    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:
        raise InputError(f"{path}: cannot read ({cause(error)})") from error


def _scaled(size: tuple[int, int], scale: float, min_side: int) -> tuple[int, int] | None:
    """A picture's size at a scale; None where it is too small to be made smaller, or at all."""
    width, height = (round(side * scale) for side in size)
    return None if min(width, height) < (min_side if scale == 1.0 else 2 * min_side) else (width, height)
