"""A page in colour or grey ⇄ mask, background and ink: mixed raster content.

What is thin and dark is print: the mask says where, without loss; the ink gives its colour and the background what is beside it,
both smooth and at a fraction of the resolution, with what the mask hides filled in from around.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .pages import PageImage

BELOW_DPI, INK_DPI = 100, 50  # of the layers
_WINDOW = 1 / 6  # inches, over which paper is looked at
_PAPER = 0.82  # of the paper's brightness, below which a pixel is print
_CONTRAST = 24  # grey levels that print is darker than the paper at least


@dataclass(frozen=True)
class Layers:
    """mask: bool[H,W]; below, ink: uint8[h,w,3], smaller."""

    mask: np.ndarray
    below: np.ndarray
    ink: np.ndarray


def find_print(grey: np.ndarray, dpi: float) -> np.ndarray:
    """uint8[H,W] → bool[H,W]: what is darker than the paper around it, by a threshold that follows the page."""
    height, width = grey.shape
    side = max(8, round(dpi * _WINDOW))
    small = Image.fromarray(grey).resize((max(1, width // 4), max(1, height // 4)), Image.Resampling.BOX)
    paper = _spread(np.asarray(small), max(2, side // 4))
    paper = np.asarray(Image.fromarray(paper).resize((width, height), Image.Resampling.BILINEAR))
    middle = np.minimum(paper * np.float32(_PAPER), paper.astype(np.float32) - _CONTRAST)
    ink = grey < middle
    if not ink.any():
        return ink
    # Half-way between paper and the ink of the page, where that is lighter
    dark = float(np.percentile(grey[ink], 25))
    return grey < np.minimum(middle, (paper.astype(np.float32) + dark) / 2 + 8)


def _spread(grey: np.ndarray, side: int) -> np.ndarray:
    """The brightness of paper around each pixel: the 85th percentile of tiles, smoothed."""
    rows, columns = -(-grey.shape[0] // side), -(-grey.shape[1] // side)
    padded = np.pad(grey, ((0, rows * side - grey.shape[0]), (0, columns * side - grey.shape[1])), mode="edge")
    tiles = np.percentile(padded.reshape(rows, side, columns, side).transpose(0, 2, 1, 3).reshape(rows, columns, -1), 85, axis=2)
    image = Image.fromarray(tiles.astype(np.uint8))
    return np.asarray(image.resize((grey.shape[1], grey.shape[0]), Image.Resampling.BILINEAR))


def cleaned(mask: np.ndarray) -> np.ndarray:
    """bool[H,W] without single pixels of either colour, specks of dust and pinholes; a dot of two pixels stays."""
    around = np.zeros(mask.shape, np.uint8)
    padded = np.pad(mask, 1).astype(np.uint8)
    for y in range(3):
        for x in range(3):
            if (y, x) != (1, 1):
                around += padded[y : y + mask.shape[0], x : x + mask.shape[1]]
    result = mask.copy()
    result[mask & (around == 0)] = False
    result[~mask & (around == 8)] = True
    return result


def split(page: PageImage, mask: np.ndarray, dpi: float) -> Layers:
    """Background and ink of a page for a mask. What is within a pixel of an edge is a mixture: it counts for ink only where that
    has nothing else, and never for the background."""
    inside, outside = _shrunk(mask), _shrunk(~mask)
    below = _layer(page.samples, outside, outside, dpi / BELOW_DPI)
    return Layers(mask, below, _layer(page.samples, inside, mask, dpi / INK_DPI))


def _shrunk(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1, mode="edge")
    result = mask.copy()
    for y in range(3):
        for x in range(3):
            result &= padded[y : y + mask.shape[0], x : x + mask.shape[1]]
    return result


def _layer(samples: np.ndarray, sure: np.ndarray, known: np.ndarray, factor: float) -> np.ndarray:
    """uint8[h,w,3]: the mean of the sure pixels of each block; of blocks without any, of the known ones; else from around."""
    height, width = sure.shape
    size = max(1, round(height / max(1, factor))), max(1, round(width / max(1, factor)))
    rows, columns = (np.arange(n) * whole // n for n, whole in zip(size, (height, width)))
    totals, counts = _sums(samples, sure, rows, columns)
    more, some = _sums(samples, known, rows, columns)
    use = counts == 0
    totals[use], counts[use] = more[use], some[use]
    return _filled(totals, counts)


def _sums(samples, where, rows, columns):
    counts = np.add.reduceat(np.add.reduceat(where, rows, 0, dtype=np.int32), columns, 1)
    totals = np.stack([np.add.reduceat(np.add.reduceat(np.where(where, samples[:, :, c], 0), rows, 0, dtype=np.int32), columns, 1)
                       for c in range(3)], 2)
    return totals.astype(np.float32), counts.astype(np.float32)


def _filled(totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pull and push: blocks of which nothing is known take what wider ones around have."""
    if min(counts.shape) <= 1 or counts.all():
        mean = totals.sum((0, 1)) / max(counts.sum(), 1)
        found = np.where(counts[:, :, None] > 0, totals / np.maximum(counts, 1)[:, :, None], mean)
        return np.rint(found).astype(np.uint8)
    known = (counts > 0).astype(np.float32)
    means = totals / np.maximum(counts, 1)[:, :, None]
    rows, columns = np.arange(0, counts.shape[0], 2), np.arange(0, counts.shape[1], 2)
    wide = _filled(np.add.reduceat(np.add.reduceat(means * known[:, :, None], rows, 0), columns, 1),
                   np.add.reduceat(np.add.reduceat(known, rows, 0), columns, 1))
    wide = np.asarray(Image.fromarray(wide).resize(counts.shape[::-1], Image.Resampling.BILINEAR), np.float32)
    return np.rint(np.where(known[:, :, None] > 0, means, wide)).clip(0, 255).astype(np.uint8)


def joined(layers: Layers) -> np.ndarray:
    """uint8[H,W,3]: ink where the mask is black, else the background, both made as large as it."""
    below, ink = (enlarged(layer, layers.mask.shape) for layer in (layers.below, layers.ink))
    return np.where(layers.mask[:, :, None], ink, below)


def enlarged(layer: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if layer.shape[:2] == (1, 1):
        return np.broadcast_to(layer, (*shape, 3))
    return np.asarray(Image.fromarray(layer).resize(shape[::-1], Image.Resampling.BICUBIC))
