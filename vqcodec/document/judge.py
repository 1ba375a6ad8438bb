"""Is a page print, so that layers carry it, or a photograph, which goes to the picture model whole? A deterministic measure."""

from __future__ import annotations

import numpy as np

from ..picture.colour import luma
from .layers import Layers, joined
from .pages import PageImage

MOST_INK = 0.35  # of the page: more is no print
LEAST_INK = 0.0005
BLOCK = 16
SOLID_INCH = 1 / 12  # side of squares that are all ink: letters have few
MOST_SOLID = 0.5  # of the ink
MOST_LOST = 9.0  # levels of luma, root mean square, within a block: more is what neither layer can show
MOST_BAD = 0.15  # of the page's blocks
TONE = 40  # levels of luma that paper spans
LEAST_PAPER = 0.62  # of the background
LEAST_BRIGHT = 128  # the middle of paper's tone


def worth_layers(page: PageImage, layers: Layers, dpi: float) -> bool:
    """Whether layers show the page: those that are not coded yet."""
    share = layers.mask.mean()
    if not LEAST_INK <= share <= MOST_INK or solid(layers.mask, dpi) > MOST_SOLID:
        return False
    if paper(luma(layers.below)) < LEAST_PAPER:
        return False
    return bad_blocks(luma(page.samples), luma(joined(layers)), layers.mask) <= MOST_BAD


def paper(below: np.ndarray) -> float:
    """uint8[h,w] → the share of a background that is of one bright tone."""
    counts = np.convolve(np.bincount(below.ravel(), minlength=256), np.ones(TONE, np.int64), "valid")
    return float(counts[LEAST_BRIGHT - TONE // 2 :].max() / below.size)


def solid(mask: np.ndarray, dpi: float) -> float:
    """The share of ink that is in squares of nothing else: of areas, not of letters."""
    side = max(4, round(dpi * SOLID_INCH))
    rows, columns = mask.shape[0] // side * side, mask.shape[1] // side * side
    squares = mask[:rows, :columns].reshape(rows // side, side, columns // side, side).all((1, 3))
    return float(squares.sum() * side * side / max(mask.sum(), 1))


def bad_blocks(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> float:
    """The share of blocks whose pixels, those at edges of the mask not counted, are not as before: texture that is gone."""
    rows, columns = before.shape[0] // BLOCK * BLOCK, before.shape[1] // BLOCK * BLOCK
    if not rows or not columns:
        return 0.0
    edge = np.zeros(mask.shape, bool)
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    edge[:, :-1] |= edge[:, 1:]
    edge[1:] |= mask[1:] != mask[:-1]
    edge[:-1] |= edge[1:]
    error = np.square(before.astype(np.float32) - after)
    error[edge] = 0
    blocks = error[:rows, :columns].reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    inner = (~edge)[:rows, :columns].reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK).sum((1, 3))
    lost = np.sqrt(blocks.sum((1, 3)) / np.maximum(inner, 1))
    return float((lost > MOST_LOST).mean())
