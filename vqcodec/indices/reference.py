"""What a prior may look at beside the grid that it codes: a *reference*, integer values for all latent dims, which the decoder has too.

    reference int64[h,w,D] in 1/64 ─┬─ companded and wide features → contexts of all slices
                                    └─ gate · value → means (d = 1), gate · (matrix · value + bias) → coefficients (d > 1)

Of video it is the frame before, its codewords in 1/64; that it could be anything else that is exact, such as what motion makes
of decoded pixels, is why values are given and no indices. NumPy and integers only; `bitstream_spec.md` defines every step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bounds import COEFFICIENT_LIMIT, FEATURE_LIMIT, FEATURE_STEPS, MEAN_LIMIT, MEAN_UNIT, wide_count

GATE_UNIT = 256
GATE_LIMIT = 1023
MATRIX_SHIFT = 12  # of what a matrix makes of a reference
LEAD_LIMIT = 1 << 15  # of that, in coefficients
MATRIX_LIMIT = (1 << 15) - 1
TABLE = "reference.companded"


@dataclass(frozen=True)
class Reference:
    """values: int64[h·w,D] in 1/64, ±MEAN_LIMIT; features f32[h,w,F], integers; both arrays of a runtime's kind."""

    values: object
    features: object

    @classmethod
    def of(cls, values: np.ndarray, table: np.ndarray, on) -> Reference:
        """values: int64[h,w,D]; table: `compander`; on: an `Arithmetic`."""
        values = values.clip(-MEAN_LIMIT, MEAN_LIMIT)
        h, w, dims = values.shape
        return cls(on.array(np.ascontiguousarray(values.reshape(h * w, dims))),
                   on.array(features(values, np.asarray(table)).astype(np.float32)))


def compander() -> np.ndarray:
    """int8[MEAN_LIMIT+1]: asinh of 0, 1/64, 2/64 … in steps of a feature; stored with a model, so that no decoder computes it."""
    return np.rint(np.arcsinh(np.arange(MEAN_LIMIT + 1) / MEAN_UNIT) / FEATURE_STEPS[0]).astype(np.int8)


def feature_count(dims: int) -> int:
    return dims + wide_count(0, dims)


def features(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """int64[h,w,F]: of values int64[h,w,D] the companded ones of all dims, then the first dims in whole units."""
    companded = np.sign(values) * table[np.abs(values)].astype(np.int64)
    wide = (values[:, :, : wide_count(0, values.shape[2])] + MEAN_UNIT // 2) // MEAN_UNIT
    return np.concatenate([companded, wide.clip(-FEATURE_LIMIT, FEATURE_LIMIT)], 2)


def whole_codewords(codebooks) -> list[np.ndarray]:
    """int64[G,K,d] of each slice: codewords f32[G,K,d] in 1/64, halves to even. (Exact: 64 is a power of two.)"""
    return [np.rint(np.asarray(book) * np.float32(MEAN_UNIT)).astype(np.int64) for book in codebooks]


def values_of(grids: np.ndarray, whole: list[np.ndarray]) -> np.ndarray:
    """Index grids int64[G,h,w] → the reference int64[h,w,D] that their codewords are."""
    parts, group = [], 0
    for book in whole:
        count = len(book)
        words = book[np.arange(count)[:, None, None], grids[group : group + count]]  # [G,h,w,d]
        parts.append(words.transpose(1, 2, 0, 3).reshape(*grids.shape[1:], -1))
        group += count
    return np.concatenate(parts, 2)


def apart(own, lead):
    """Companded features f32[N,n] of a slice, the first of its `own`, less those of the reference, the same."""
    return (own[:, : lead.shape[1]] - lead).clip(-FEATURE_LIMIT, FEATURE_LIMIT)


def led(out, gate, values, tensors, layout):
    """Outputs int64[N,O] of a slice's network after its reference int64[N,G·d] has had its say, by gates int64[N,G]. For arrays of
    NumPy or torch alike."""
    g, d = layout.groups, layout.d
    gate = gate.clip(-GATE_LIMIT, GATE_LIMIT)
    if d == 1:
        out[:, :g] += (gate * values + GATE_UNIT // 2) >> 8
        return out
    matrix, bias = tensors["lead.matrix"], tensors["lead.bias"]  # [G,d,r], [G,r]
    values = values.reshape(-1, g, d)
    lead = bias + (1 << MATRIX_SHIFT - 1) + sum(values[:, :, i, None] * matrix[:, i] for i in range(d))
    lead = (lead >> MATRIX_SHIFT).clip(-LEAD_LIMIT, LEAD_LIMIT)
    return out + ((gate[:, :, None] * lead + GATE_UNIT // 2) >> 8).reshape(out.shape)


assert GATE_LIMIT * max(LEAD_LIMIT, MEAN_LIMIT) < 1 << 31 and COEFFICIENT_LIMIT < LEAD_LIMIT
