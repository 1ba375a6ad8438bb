"""Quality of decoded 8-bit pictures."""

from __future__ import annotations

import math

import numpy as np


def psnr(reference: np.ndarray, decoded: np.ndarray) -> float:
    """dB over all samples of two uint8 arrays of one shape; infinite when equal."""
    difference = reference.astype(np.int16) - decoded
    error = float(np.mean(np.square(difference, dtype=np.int32)))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
