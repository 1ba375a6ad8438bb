"""Pixels that nobody sees, below alpha 0, filled smoothly from those at their edge: they cost few bits then, and what was
hidden there is not in the file.

    colours weighted by alpha ─ halve until all have weight ↓ … ↑ double, take where weight lacks ─ round

Method: push–pull of Gortler et al., "The Lumigraph" (SIGGRAPH 1996), with linear interpolation on the way up.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .file import Picture

_STRIP_PIXELS = 2**18
_NOTHING_SEEN = 128  # where no pixel is visible


def fill_invisible(picture: Picture, exact: bool = False) -> Picture:
    """The picture with other colours where alpha is 0, which do not depend on those that were there; itself where nothing is
    invisible, or where `exact` asks for all samples as they are. Takes 10 bytes per pixel for a while."""
    alpha = picture.alpha
    if exact or alpha is None or alpha.min(initial=255) > 0:
        return picture
    levels = [_coarser(picture.rgb, alpha)]
    while levels[-1][1].size > 1 and levels[-1][1].min() < 1:
        levels.append(_coarser(*levels[-1]))
    top, weights = levels.pop()
    top[weights == 0] = _NOTHING_SEEN  # only the last level may have such
    while levels:
        colours, weights = levels.pop()
        for rows in _strips(weights):
            below = _finer(top, rows, weights.shape[1])
            colours[rows] -= below
            colours[rows] *= weights[rows, :, None]
            colours[rows] += below
        top = colours
    rgb = picture.rgb.copy()
    for rows in _strips(alpha):
        hidden = alpha[rows] == 0
        if hidden.any():
            rgb[rows][hidden] = np.rint(_finer(top, rows, rgb.shape[1])[hidden]).astype(np.uint8)
    return replace(picture, rgb=rgb)


def _strips(plane: np.ndarray):
    """Slices of an even number of rows each, but the last."""
    count = max(2, _STRIP_PIXELS // plane.shape[1] // 2 * 2)
    for top in range(0, len(plane), count):
        yield slice(top, min(top + count, len(plane)))


def _coarser(colours: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours f32[h,w,3] (or uint8) and weights f32[h,w] of 0…1 (or alpha, uint8) → those of half the size, rounded up: means
    of the colours by weight, and sums of weights up to 1."""
    height, width = weights.shape
    out = np.empty(((height + 1) // 2, (width + 1) // 2, 3), np.float32)
    sums = np.empty(out.shape[:2], np.float32)
    for rows in _strips(weights):
        half = slice(rows.start // 2, (rows.stop + 1) // 2)
        odd = [(0, (rows.stop - rows.start) % 2), (0, width % 2)]
        weight = np.pad(weights[rows].astype(np.float32), odd)
        weight *= 1 / 255 if weights.dtype == np.uint8 else 1
        weighted = np.pad(colours[rows].astype(np.float32), (*odd, (0, 0)))
        weighted *= weight[:, :, None]
        total, out[half] = (a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2] for a in (weight, weighted))
        out[half] /= np.maximum(total, 1e-9)[:, :, None]
        np.minimum(total, 1, out=sums[half])
    return out, sums


def _finer(coarse: np.ndarray, rows: slice, width: int) -> np.ndarray:
    """Rows of twice the size, f32[rows,width,3], by linear interpolation between centres."""
    def places(numbers: np.ndarray, size: int):
        at = np.clip((numbers - 0.5) / 2, 0, size - 1)
        low = at.astype(int)
        return low, np.minimum(low + 1, size - 1), (at - low).astype(np.float32)

    top, bottom, down = places(np.arange(rows.start, rows.stop), coarse.shape[0])
    left, right, across = places(np.arange(width), coarse.shape[1])
    lines = coarse[top] + (coarse[bottom] - coarse[top]) * down[:, None, None]
    return lines[:, left] + (lines[:, right] - lines[:, left]) * across[:, None]
