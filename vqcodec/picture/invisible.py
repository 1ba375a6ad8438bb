"""Pixels that nobody sees, below alpha 0, filled smoothly from those at their edge: they cost few bits then, and what was
hidden there is not in the file.

    colours weighted by alpha ─ halve until one is left ↓ … ↑ double, take where there is no weight ─ rounded

Method: push–pull of Gortler et al., "The Lumigraph" (SIGGRAPH 1996), with linear interpolation on the way up.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .file import Picture

_STRIP = 128  # rows at a time at full size; even
_NOTHING_SEEN = 128  # where no pixel is visible


def fill_invisible(picture: Picture, exact: bool = False) -> Picture:
    """The picture with other colours where alpha is 0, which do not depend on those that were there; itself where nothing is
    invisible, or where `exact` asks for all samples as they are."""
    alpha = picture.alpha
    if exact or alpha is None or alpha.min(initial=255) > 0:
        return picture
    rgb, height = picture.rgb.copy(), picture.rgb.shape[0]
    coarse = _filled(*_halved_picture(rgb, alpha))
    for top in range(0, height, _STRIP):
        rows = slice(top, min(top + _STRIP, height))
        hidden = alpha[rows] == 0
        if hidden.any():
            smooth = _doubled(coarse, rows, rgb.shape[1])
            rgb[rows][hidden] = np.rint(smooth[hidden]).astype(np.uint8)
    return replace(picture, rgb=rgb)


def _halved_picture(rgb: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean colours f32[⌈H/2⌉,⌈W/2⌉,3] weighted by alpha, and weights f32[…] of 0…1."""
    height, width = alpha.shape
    colours = np.empty(((height + 1) // 2, (width + 1) // 2, 3), np.float32)
    weights = np.empty(colours.shape[:2], np.float32)
    for top in range(0, height, _STRIP):
        rows = slice(top, top + _STRIP)
        half = slice(top // 2, (min(top + _STRIP, height) + 1) // 2)
        colours[half], weights[half] = _halved(rgb[rows].astype(np.float32), alpha[rows].astype(np.float32) / 255)
    return colours, weights


def _halved(colours: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    odd = [(0, size % 2) for size in weights.shape]
    weighted = np.pad(colours * weights[:, :, None], (*odd, (0, 0)))
    weights = np.pad(weights, odd)
    total, weighted = (a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2] for a in (weights, weighted))
    return weighted / np.maximum(total, 1e-9)[:, :, None], np.minimum(total, 1)


def _filled(colours: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """f32[h,w,3] without gaps."""
    if weights.min() >= 1:
        return colours
    if weights.size == 1:
        return colours if weights[0, 0] > 0 else np.full_like(colours, _NOTHING_SEEN)
    below = _doubled(_filled(*_halved(colours, weights)), slice(0, len(colours)), colours.shape[1])
    return below + (colours - below) * weights[:, :, None]


def _doubled(coarse: np.ndarray, rows: slice, width: int) -> np.ndarray:
    """Rows of twice the size, f32[rows,width,3], by linear interpolation between centres."""
    def places(count: np.ndarray, size: int):
        at = np.clip((count - 0.5) / 2, 0, size - 1)
        low = at.astype(int)
        return low, np.minimum(low + 1, size - 1), (at - low).astype(np.float32)

    top, bottom, down = places(np.arange(rows.start, rows.stop), coarse.shape[0])
    left, right, across = places(np.arange(width), coarse.shape[1])
    lines = coarse[top] + (coarse[bottom] - coarse[top]) * down[:, None, None]
    return lines[:, left] + (lines[:, right] - lines[:, left]) * across[:, None]
