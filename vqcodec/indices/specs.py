"""What a stored tensor must be: dtype, shape, range (`zoo/schema.py` checks it)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class TensorSpec:
    """shape; the dtypes of which it may be one; least and most of its values, none of which may be NaN or infinite."""

    shape: tuple[int, ...]
    dtypes: tuple[torch.dtype, ...]
    least: float
    most: float

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def extent(tensor: torch.Tensor) -> tuple[int, int] | tuple[float, float]:
    """(least, most) value: exact integers, or floats; NaN where there is one; (0, 0) of none."""
    if not tensor.numel():
        return 0, 0
    least, most = tensor.aminmax()
    return least.item(), most.item()
