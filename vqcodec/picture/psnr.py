"""Quality of decoded 8-bit pictures."""

from __future__ import annotations

import math

import numpy as np


def psnr(reference: np.ndarray, decoded: np.ndarray) -> float:
    """dB over all samples of two uint8 arrays of one shape; infinite when equal."""
    difference = reference.astype(np.int16) - decoded
    return decibels(float(np.mean(np.square(difference, dtype=np.int32))))


def decibels(error: float) -> float:
    """PSNR of a mean squared error of 8-bit samples."""
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
