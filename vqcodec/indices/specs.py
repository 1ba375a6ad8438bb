"""What a stored tensor must be: dtype, shape, range (`zoo/schema.py` checks it)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """shape; the names of the dtypes of which it may be one; least and most of its values, none of which may be NaN or infinite."""

    shape: tuple[int, ...]
    dtypes: tuple[str, ...]
    least: float
    most: float

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def extent(tensor: np.ndarray) -> tuple[int, int] | tuple[float, float]:
    """(least, most) value: exact integers, or floats; NaN where there is one; (0, 0) of none."""
    if not tensor.size:
        return 0, 0
    return tensor.min().item(), tensor.max().item()
