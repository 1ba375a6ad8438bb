"""The integers of the prior: units and limits, phases, and what a model must keep for all of its arithmetic to be exact.

No torch: `prior.py` and `cdf.py` are torch's runtime of what is said here, `numpy_prior.py` is NumPy's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from .config import WIDE_DIMS
from .specs import extent

WEIGHT_LIMIT = 127
ACTIVATION_LIMIT = 255
FEATURE_LIMIT = 127
FEATURE_STEPS = (1 / 16, 1 / 8)  # of asinh(value), and of value/8 for the wide dims
ACCUMULATOR_LIMIT = 1 << 24
MULTIPLIER_LIMIT = (1 << 31) - 1
BIAS_LIMIT = (1 << 58) - 1
MAX_PHASES = 15  # a first lattice of every 128th row and column: bands have no more than that
MEAN_UNIT = 64  # logistic means and codeword boundaries are in 1/64
MEAN_LIMIT = 1 << 14
SCALES = 64  # logistic scales exp(LOG_SCALE_MIN + i·LOG_SCALE_STEP)
LOG_SCALE_MIN, LOG_SCALE_STEP = -3.5, 8.5 / 63
SIGMOID_UNIT = 128  # arguments of the sigmoid table are in 1/128, clamped to ±2047
INVERSE_SHIFT = 8
COEFFICIENT_LIMIT = 1023
LOGIT_UNIT = 256  # logits are in 1/256 nat
SHIFT = 24
CDF_BITS = 16


def wide_count(first_dim: int, dims: int) -> int:
    return max(0, min(WIDE_DIMS - first_dim, dims))


def check_phases(index: int, phases: int) -> None:
    """Raises InputError for a number of phases that slice `index` cannot have."""
    if phases != 2 and not (3 <= phases <= MAX_PHASES and phases % 2):
        raise InputError(f"prior: slice {index} has {phases} phases, which must be 2 or odd, and {MAX_PHASES} at most")


def phase_map(height: int, width: int, phases: int) -> np.ndarray:
    """int64[h,w]: the phase in which each grid position is coded.

    Two phases: a checkerboard. 1 + 2n: multiples of 2^n in both coordinates; then n times a lattice of half the spacing,
    first where neither coordinate was in the one before, then the rest."""
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    if phases == 2:
        return (y + x) % 2
    phase = np.zeros((height, width), np.int64)
    for k in range(1, phases, 2):
        spacing = near_spacing(k, phases)
        new_y, new_x = (y // spacing) % 2, (x // spacing) % 2
        here = (y % spacing == 0) & (x % spacing == 0) & (new_y | new_x).astype(bool)
        phase = np.where(here, np.where((new_y & new_x).astype(bool), k, k + 1), phase)
    return phase


def near_spacing(phase: int, phases: int) -> int:
    """Of the lattice that a phase after the first completes: how far apart the positions are that its kernel sees."""
    return 1 << (phases - 1 - phase) // 2


def check_bounds(tensors: Mapping[str, Any]) -> None:
    """Raises InputError unless all tensors, of NumPy or torch, are integers, and every integer of the network stays below its
    proven limit, whatever the input."""

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise InputError(f"prior: {what}")

    for name, tensor in tensors.items():
        require("int" in str(tensor.dtype), f"{name} must hold integers, not {tensor.dtype}")
    tensors = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        kind = name.split(".")[-1]
        least, most = (int(value) for value in extent(tensor))
        largest = max(-least, most)  # not the tensor's abs: that of -2^63 is -2^63
        if kind in ("weight", "companded", "wide", "vectors"):
            require(largest <= WEIGHT_LIMIT, f"{name} has values beyond ±{WEIGHT_LIMIT}")
        if kind == "weight":
            inputs = FEATURE_LIMIT if ("near" in name or "past1" in name) else ACTIVATION_LIMIT
            total = int(np.abs(tensor.astype(np.int64)).reshape(len(tensor), -1).sum(1).max(initial=0)) * inputs
            require(total < ACCUMULATOR_LIMIT, f"{name} may overflow its accumulator ({total} ≥ 2^24)")
        elif kind == "mult":
            require(largest <= MULTIPLIER_LIMIT, f"{name} is 2^31 or more")
        elif kind in ("bias", "offset"):
            require(largest <= BIAS_LIMIT, f"{name} is 2^58 or more")
        elif kind == "bounds":
            require(bool((tensor[:, 1:] >= tensor[:, :-1]).all()), f"{name} is not in ascending order")
            reach = (largest + MEAN_LIMIT) * int(tensors["table.inverse"].max())
            require(reach < 1 << 31, f"{name} may overflow 32 bits")
        elif kind == "start":
            size = tensors[name.replace("start", "size")]
            words = tensors[name.replace("start", "companded")].shape[1]
            # Each by itself first, so that their sum cannot overflow.
            require(0 <= least and 1 <= extent(size)[0] and max(most, extent(size)[1]) <= words
                    and bool((tensor.astype(np.int64) + size.astype(np.int64) <= words).all()), f"{name}: no such codewords")
            require(name.replace("start", "vectors") not in tensors or largest == 0, f"{name} must be 0")
    sigmoid, exponential = tensors["table.sigmoid"], tensors["table.exp"]
    require(ascending(sigmoid) and sigmoid[0] == 0 and sigmoid[-1] == 1 << CDF_BITS, "bad sigmoid table")
    require(exponential[0] == 1 << 15 and ascending(exponential[::-1]) and exponential[-1] >= 0, "bad exp table")
    require(bool((tensors["table.inverse"] > 0).all()), "bad table of inverse scales")


def ascending(table: np.ndarray) -> bool:
    """Compared, since differences may overflow."""
    return bool((table[1:] >= table[:-1]).all())
