"""The network that says how black a pixel is: integers in, an integer log-odds out, by exact products in float32.

    inputs int[n,I] → a: I × (H+1) → H hidden, and one that is the sum of a line → b: H × K → K hidden → c: K → + line

Weights of `a` are in 2^-12, hidden values 0..511 in 2^-6, weights of `b` and `c` in 2^-8, natural log-odds in 2^-14. Every sum
is of integers below 2^24 (`check`), so that floats hold it exactly in whatever order it is added up.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import InputError
from ..indices.runs import CLASSES
from ..indices.specs import TensorSpec
from .inputs import of_count

HIDDEN = 511
A_SHIFT, B_SHIFT, LINE_SHIFT, CLASS_SHIFT = 6, 8, 2, 12
_EXACT = 1 << 24


def tensors(inputs: int, hidden: int, last: int) -> dict[str, TensorSpec]:
    """What prior.safetensors holds."""
    weight, bias = (np.iinfo(np.int16).max, _EXACT - 1)
    return {
        "a.weight": TensorSpec((inputs, hidden + 1), ("int16",), -weight, weight),
        "a.bias": TensorSpec((hidden + 1,), ("int32",), -bias, bias),
        "b.weight": TensorSpec((hidden, last), ("int16",), -weight, weight),
        "b.bias": TensorSpec((last,), ("int32",), -bias, bias),
        "c.weight": TensorSpec((last, 1), ("int16",), -weight, weight),
        "c.bias": TensorSpec((1,), ("int32",), -bias, bias),
    }


def check(weights: Mapping[str, np.ndarray]) -> None:
    """The proof that no sum leaves the integers that float32 holds. Raises InputError."""
    known = of_count(len(weights["a.weight"]))
    widest = np.maximum(np.abs(np.array(known.LEAST)), np.array(known.MOST))
    for name, most in (("a", widest), ("b", HIDDEN), ("c", HIDDEN)):
        kernel = np.abs(weights[f"{name}.weight"].astype(np.int64))
        reach = (kernel * (most[:, None] if isinstance(most, np.ndarray) else most)).sum(0)
        reach += np.abs(weights[f"{name}.bias"].astype(np.int64))
        if reach.max() >= _EXACT:
            raise InputError(f"sums of '{name}' reach {reach.max()}, and {_EXACT} is not exact any more")


class MaskNetwork:
    """weights: as `tensors`, checked. contexts: the class that makes its inputs."""

    def __init__(self, weights: Mapping[str, np.ndarray]):
        check(weights)
        self.contexts = of_count(len(weights["a.weight"]))
        self.a, self.b, self.c = (np.ascontiguousarray(weights[f"{name}.weight"], np.float32) for name in "abc")
        self.a_bias, self.b_bias, self.c_bias = (weights[f"{name}.bias"].astype(np.float32) for name in "abc")

    def log_odds(self, inputs: np.ndarray) -> np.ndarray:
        """float32[n,I], integers → int32[n]: of black, in 2^-14."""
        first = inputs @ self.a
        first += self.a_bias
        line = first[:, -1].astype(np.int32)
        second = _hidden(first[:, :-1], A_SHIFT) @ self.b
        second += self.b_bias
        third = _hidden(second, B_SHIFT) @ self.c
        return (third[:, 0] + self.c_bias[0]).astype(np.int32) + (line << LINE_SHIFT)


def _hidden(sums: np.ndarray, shift: int) -> np.ndarray:
    sums = sums * np.float32(2.0**-shift)
    np.floor(sums, out=sums)
    return np.clip(sums, 0, HIDDEN, out=sums)


def classes(log_odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int32[n] → (int[n]: how sure, of `indices.runs`; uint8[n]: the likely colour)."""
    return np.minimum(np.abs(log_odds) >> CLASS_SHIFT, CLASSES - 1), (log_odds > 0).view(np.uint8)
