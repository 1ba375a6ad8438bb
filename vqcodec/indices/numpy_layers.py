"""What the synthesis networks of pictures and sound have in common, in NumPy, as `layers.py` in torch: f32, positions × channels."""

from __future__ import annotations

import numpy as np


def interpolated(table: np.ndarray, sixteenths: int) -> np.ndarray:
    """The row of f32[L,C] at a quality, linearly interpolated."""
    low, part = divmod(sixteenths, 16)
    share = np.float32(part / 16)
    return table[low] * (1 - share) + table[min(low + 1, len(table) - 1)] * share


def soften(x: np.ndarray) -> np.ndarray:
    """f32[N,C] / √(1 + mean of squares over channels)."""
    return x * (1 / np.sqrt(np.einsum("nc,nc->n", x, x) / np.float32(x.shape[1]) + 1))[:, None]


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + e^-x), in place. Where e^-x is infinite, the result is -0."""
    x /= np.exp(-x) + 1
    return x
