"""The synthesis network in floats ⇄ the integers of `integer.py`.

Kernels of residual blocks have 8 bits and a scale for each output channel; their inputs take as many steps as the bound on sums
leaves, about 10 to 12 bits, over the range that calibration found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..indices.bounds import ACCUMULATOR_LIMIT, SHIFT
from ..zoo.schema import NetworkFile
from .config import TransformConfig
from .integer import (
    ACTIVATION_LIMIT,
    EXP2_BITS,
    GAIN_BITS,
    MOST_SHIFT,
    RANGE_BITS,
    SCALE_BITS,
    TABLE,
    UNIT_BITS,
    WEIGHT_LIMIT,
    WIDE_LIMIT,
    blocks,
    check_bounds,
    most_sum,
    signed_sums,
    tensors,
)

LEAST_SILU = 0.2785  # in magnitude
FLAT = -11.0  # below it silu is nothing


@dataclass(frozen=True)
class IntegerNetwork(NetworkFile):
    """decoder.safetensors of a model whose pictures are decoded in integers."""

    config: TransformConfig

    def tensors(self, stored=None):
        return tensors(self.config)

    def read(self, stored):
        check_bounds(stored)
        return stored

    def floats(self, read):
        return floats(read, self.config)


@dataclass(frozen=True)
class Range:
    """What goes through a block: |softened|, at most; inputs of silu from `low` to `high`; outputs up to `top`."""

    soft: float
    low: float
    high: float
    top: float

    @classmethod
    def of(cls, stored: np.ndarray) -> Range:
        """Of a tensor `range`."""
        return cls(*(int(value) / (1 << RANGE_BITS) for value in stored))

    @property
    def stored(self) -> np.ndarray:
        return fixed(np.array([self.soft, self.low, self.high, self.top]), RANGE_BITS)


def rounded_weight(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f32[O,...] → (integers f64, same, f64[O] size of their steps)."""
    flat = weight.astype(np.float64).reshape(len(weight), -1)
    step = (np.abs(flat).max(1) / WEIGHT_LIMIT).clip(1e-12)
    return np.rint(flat / step[:, None]).reshape(weight.shape), step


def soften_limit(weight: np.ndarray) -> int:
    """Of the integer inputs of conv1, of integer weights [O,...]."""
    return min(ACTIVATION_LIMIT, (ACCUMULATOR_LIMIT - 1) // max(1, most_sum(signed_sums(weight), -1, 1)))


def silu_limit(weight: np.ndarray, top: float) -> int:
    """Of the integer inputs of conv2, which stand for numbers from -LEAST_SILU to `top`."""
    limit, sums = ACTIVATION_LIMIT, signed_sums(weight)
    while most_sum(sums, -math.ceil(limit * LEAST_SILU / top), limit) >= ACCUMULATOR_LIMIT:
        limit -= 1 + limit // 256
    return limit


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def integers(weights: Mapping[str, np.ndarray], ranges: Mapping[str, Range], config: TransformConfig) -> dict[str, np.ndarray]:
    """Tensors of decoder.safetensors of f32 weights of `transform.Decoder` and of what goes through its blocks. Raises InputError
    for weights that have none."""
    for name, value in weights.items():
        if not np.isfinite(value).all():
            raise InputError(f"decoder: {name} does not fit into integers")
    found = {
        "gain": np.rint(weights["log_gain"].astype(np.float64) * (-(1 << GAIN_BITS) / math.log(2))),
        "table.exp2": np.rint(2.0 ** (EXP2_BITS + np.arange(1 << GAIN_BITS) / (1 << GAIN_BITS))),
        "condition.scale": fixed(weights["condition.scale"], SCALE_BITS),
        "condition.bias": fixed(weights["condition.bias"], UNIT_BITS),
    }
    wide = {name: (weights[f"{name}.weight"].astype(np.float64), weights[f"{name}.bias"].astype(np.float64))
            for name in ("linear", "stem", "up2", "up1", "head")}
    wide["linear"] = wide["linear"][0], wide["linear"][1] + 0.5
    wide |= {name: tuple(255 * part for part in wide[name]) for name in ("linear", "head")}
    shifts = {name: most_shift(weight) for name, (weight, _) in wide.items()}
    found["shift"] = np.array([min(shifts.pop("linear"), shifts.pop("head"))])
    for name, (weight, bias) in wide.items():
        shift = shifts.get(name, found["shift"][0])
        found |= {f"{name}.weight": np.rint(weight * 2.0**shift), f"{name}.bias": fixed(bias, UNIT_BITS)}
        if name in shifts:
            found[f"{name}.shift"] = np.array([shift])
    for name, _ in blocks(config):
        found |= {f"{name}.{part}": value for part, value in block(weights, name, ranges[name]).items()}
    checked = {}
    for name, spec in tensors(config).items():
        value = found[name]
        if value.shape != spec.shape or not (spec.least <= value.min() and value.max() <= spec.most):  # NaN is neither
            raise InputError(f"decoder: {name} does not fit into integers")
        checked[name] = np.ascontiguousarray(value, spec.dtypes[0])
    check_bounds(checked)
    return checked


def block(weights: Mapping[str, np.ndarray], name: str, through: Range) -> dict[str, np.ndarray]:
    through = Range.of(through.stored)  # as it can be read again
    first, step1 = rounded_weight(weights[f"{name}.conv1.weight"])
    second, step2 = rounded_weight(weights[f"{name}.conv2.weight"])
    limit, top = soften_limit(first), silu_limit(second, through.top)
    soft, inner = through.soft / limit, through.top / top
    unit = (through.high - through.low) / (TABLE - 1)
    arguments = through.low + unit * np.arange(TABLE)
    bias1, bias2 = (weights[f"{name}.conv{k}.bias"].astype(np.float64) for k in (1, 2))
    return {
        "soften": np.rint(np.array([math.sqrt(len(first)) / soft * (1 << SHIFT)])),
        "limit": np.array([limit]), "range": through.stored,
        "silu": np.rint(silu(arguments) / inner).clip(-math.ceil(top * LEAST_SILU / through.top), top),
        "conv1.weight": first, "conv1.mult": fixed(step1 * soft / unit, SHIFT), "conv1.bias": fixed((bias1 - through.low) / unit, SHIFT),
        "conv2.weight": second, "conv2.mult": fixed(step2 * inner, UNIT_BITS + SHIFT), "conv2.bias": fixed(bias2, UNIT_BITS + SHIFT),
    }


def floats(stored: Mapping[str, np.ndarray], config: TransformConfig) -> dict[str, np.ndarray]:
    """The inverse of `integers` but for rounding: f32 weights of `transform.Decoder`, for encoders and training."""
    found = {
        "log_gain": stored["gain"] * (-math.log(2) / (1 << GAIN_BITS)),
        "condition.scale": stored["condition.scale"] / (1 << SCALE_BITS),
        "condition.bias": stored["condition.bias"] / (1 << UNIT_BITS),
    }
    for name in ("linear", "stem", "up2", "up1", "head"):
        unit = 255 if name in ("linear", "head") else 1
        shift = int(stored.get(f"{name}.shift", stored["shift"])[0])
        found[f"{name}.weight"] = stored[f"{name}.weight"] / (unit * 2.0**shift)
        found[f"{name}.bias"] = stored[f"{name}.bias"] / (unit * 2.0**UNIT_BITS)
    found["linear.bias"] -= 0.5
    for name, _ in blocks(config):
        through, (first, second) = Range.of(stored[f"{name}.range"]), (stored[f"{name}.conv{k}.weight"] for k in (1, 2))
        soft, inner = through.soft / int(stored[f"{name}.limit"][0]), through.top / silu_limit(second, through.top)
        unit = (through.high - through.low) / (TABLE - 1)
        steps = (stored[f"{name}.conv1.mult"] * (unit / soft / 2.0**SHIFT), stored[f"{name}.conv2.mult"] / (inner * 2.0 ** (UNIT_BITS + SHIFT)))
        for k, (weight, step) in enumerate(zip((first, second), steps), 1):
            found[f"{name}.conv{k}.weight"] = weight * step.reshape(-1, 1, 1, 1)
        found[f"{name}.conv1.bias"] = stored[f"{name}.conv1.bias"] * (unit / 2.0**SHIFT) + through.low
        found[f"{name}.conv2.bias"] = stored[f"{name}.conv2.bias"] / 2.0 ** (UNIT_BITS + SHIFT)
    return {name: value.astype(np.float32) for name, value in found.items()}


def fixed(values: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(values.astype(np.float64) * 2.0**bits)


def most_shift(weight: np.ndarray) -> int:
    """Bits of the fraction that weights have room for."""
    largest = max(float(np.abs(weight).max()), 1e-9)
    return int(min(MOST_SHIFT, max(1, math.floor(math.log2(WIDE_LIMIT / largest)))))
