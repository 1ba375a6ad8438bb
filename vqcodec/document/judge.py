"""Is a page print, so that layers carry it, or a photograph, which goes to the picture model whole? A deterministic measure."""

from __future__ import annotations

import numpy as np

from .layers import Layers, joined, luma
from .pages import PageImage

MOST_INK = 0.35  # of the page: more is no print
LEAST_INK = 0.0005
BLOCK = 16
MOST_LOST = 22.0  # levels of luma, root mean square, within a block: more is what neither layer can show
MOST_BAD = 0.06  # of the page's blocks


def worth_layers(page: PageImage, layers: Layers) -> bool:
    """Whether layers show the page: those that are not coded yet."""
    share = layers.mask.mean()
    if not LEAST_INK <= share <= MOST_INK:
        return False
    return bad_blocks(luma(page.samples), luma(joined(layers)), layers.mask) <= MOST_BAD


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
