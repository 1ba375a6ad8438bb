"""Quality of decoded 8-bit pictures."""

from __future__ import annotations

import math

import numpy as np


STRIP = 1 << 22  # samples that are compared at a time


def psnr(reference: np.ndarray, decoded: np.ndarray) -> float:
    """dB over all samples of two uint8 arrays of one shape; infinite when equal."""
    rows = max(1, STRIP * len(reference) // max(1, reference.size))
    parts = ((reference[top : top + rows], decoded[top : top + rows]) for top in range(0, len(reference), rows))
    total = sum(int(np.square(one.astype(np.int16) - other, dtype=np.int32).sum(dtype=np.int64)) for one, other in parts)
    return decibels(total / reference.size)


def decibels(error: float) -> float:
    """PSNR of a mean squared error of 8-bit samples."""
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
