"""The order in which the pixels of a mask are coded: diagonals, each as a whole.

Pixel (y, x) has its turn at step t = x + SLOPE·y. When it comes all pixels of earlier steps are known: of its row those to
the left, of the row above those up to SLOPE - 1 to the right, of the row above that up to 2·SLOPE - 1, and so on. So a step is
a vector of pixels that do not wait for each other, and NumPy decodes a page in W + SLOPE·H steps.
"""

from __future__ import annotations

import numpy as np

SLOPE = 3
TILE = 32  # pixels: side of a tile, which is coded only where it is neither all white nor all black


def busy_tiles(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mask bool[H,W] → (bool[h,w]: tiles that are of both colours, bool[h,w]: tiles that are all black)."""
    height, width = mask.shape
    rows, columns = -(-height // TILE), -(-width // TILE)
    counts = np.add.reduceat(np.add.reduceat(mask, np.arange(rows) * TILE, 0, dtype=np.int32), np.arange(columns) * TILE, 1)
    tall = np.minimum(TILE, height - np.arange(rows) * TILE)
    wide = np.minimum(TILE, width - np.arange(columns) * TILE)
    black = counts == tall[:, None] * wide
    return (counts > 0) & ~black, black


def steps(busy: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tiles bool[h,w] → the pixels in them in coding order: (y int64[N], x int64[N], ends int64[T]: where each step that has
    pixels ends). Within a step from the top down."""
    y, x = np.nonzero(busy.repeat(TILE, 0).repeat(TILE, 1)[:height, :width])
    turn = x + SLOPE * y
    turn = turn.astype(np.uint16 if height * SLOPE + width < 1 << 16 else np.int64)
    order = np.argsort(turn, kind="stable")
    turn = turn[order]
    ends = np.append(np.flatnonzero(np.diff(turn)) + 1, len(turn)) if len(turn) else np.zeros(0, np.int64)
    return y[order], x[order], ends
