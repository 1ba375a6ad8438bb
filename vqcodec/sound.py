"""Sound in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sound:
    """samples: float32[N,C], nominally within ±1; rate: samples a second."""

    samples: np.ndarray
    rate: int
