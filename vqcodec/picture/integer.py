"""The integers of the synthesis network of models with `transform.arithmetic = "integer"`: units, tensors, and what a model must
keep for all of its arithmetic to be exact. No torch.

`integer_synthesis.py` is NumPy's runtime, `integer_decoder.py` torch's, `rounding.py` makes these integers of floats;
`bitstream_spec.md`, section 9.12, states each step normatively.

Two kinds of products, both exact in any order of summation:
- inside residual blocks, activations of up to 12 bits by weights of 8 bits, the sums over each row of a kernel below 2^24: float32,
  and float64 for the sum of the three;
- what carries the picture itself (`linear`, `stem`, `up2`, `up1`, `head`), values below VALUE_LIMIT = 2^20 by weights of 16 bits,
  of at most 9·1024 inputs: sums below 2^20 · 2^15 · 2^13.2 < 2^49: float64.
Other bounds: the sum of squares of soften is below 1024 · (2^40 + 2^26) < 2^51, so that its root in binary64, rounded down, is the
integer root; no value is greater than the root, so value · inverse is SOFTEN_LIMIT at most; accumulator · multiplier + bias +
half is below 3 · 2^24 · 2^26 + 2^51 + 2^23 < 2^53.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..indices.bounds import ACCUMULATOR_LIMIT
from ..indices.network import at_quality
from ..indices.specs import TensorSpec
from .config import TransformConfig

UNIT_BITS = 13  # values, the fixed-point numbers that carry the picture, are in 2^-13
VALUE_LIMIT = (1 << 20) - 1
WORD_BITS = 12  # codewords are in 2^-12
GAIN_BITS = 12  # of log2 of gains, which are in 2^-12
EXP2_BITS = 23
LEAST_GAIN, MOST_GAIN = -24, 8  # log2
SCALE_BITS = 16  # condition.scale is in 2^-16
SCALE_LIMIT = 1 << 24
WIDE_LIMIT = (1 << 15) - 1  # weights of layers that carry the picture
WEIGHT_LIMIT = 127
MOST_SHIFT = 30
SOFTEN_LIMIT = (1 << 48) - 1
ACTIVATION_LIMIT = 2047
RANGE_BITS = 16  # what goes through a block, for encoders, is in 2^-16
RANGE_LIMIT = 1 << 24
TABLE = 4096  # entries of a silu table
MULTIPLIER_LIMIT = (1 << 26) - 1
BIAS_LIMIT = (1 << 51) - 1

INT8, INT16, INT32, INT64 = (("int8",), ("int16",), ("int32",), ("int64",))


def tensors(config: TransformConfig) -> dict[str, TensorSpec]:
    """Of decoder.safetensors; `check_bounds` knows how their values hang together."""
    d, (c1, c2, c3), levels = config.latent_dims, config.channels, len(config.lambdas)
    found = {
        "gain": TensorSpec((levels, d), INT32, LEAST_GAIN << GAIN_BITS, (MOST_GAIN << GAIN_BITS) - 1),
        "table.exp2": TensorSpec((1 << GAIN_BITS,), INT32, 1 << EXP2_BITS, (1 << EXP2_BITS + 1) - 1),
        "condition.scale": TensorSpec((levels, c3), INT32, -SCALE_LIMIT, SCALE_LIMIT),
        "condition.bias": TensorSpec((levels, c3), INT32, -VALUE_LIMIT, VALUE_LIMIT),
        "shift": TensorSpec((1,), INT32, 1, MOST_SHIFT),  # of linear and head, whose sum is the pixels
    }

    def wide(name: str, inputs: int, outputs: int, side: int, own: bool = True) -> None:
        found[f"{name}.weight"] = TensorSpec((outputs, inputs, side, side), INT16, -WIDE_LIMIT, WIDE_LIMIT)
        found[f"{name}.bias"] = TensorSpec((outputs,), INT32, 1 - (1 << 31), (1 << 31) - 1)
        if own:
            found[f"{name}.shift"] = TensorSpec((1,), INT32, 1, MOST_SHIFT)

    wide("linear", d, 768, 1, own=False)
    wide("stem", d, c3, 3)
    wide("up2", c3, 4 * c2, 1)
    wide("up1", c2, 4 * c1, 1)
    wide("head", c1, 48, 3, own=False)
    for name, channels in blocks(config):
        found[f"{name}.soften"] = TensorSpec((1,), INT64, 1, SOFTEN_LIMIT)
        found[f"{name}.limit"] = TensorSpec((1,), INT32, 1, ACTIVATION_LIMIT)
        found[f"{name}.silu"] = TensorSpec((TABLE,), INT16, -ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        found[f"{name}.range"] = TensorSpec((4,), INT32, -RANGE_LIMIT, RANGE_LIMIT)
        for layer in ("conv1", "conv2"):
            found[f"{name}.{layer}.weight"] = TensorSpec((channels, channels, 3, 3), INT8, -WEIGHT_LIMIT, WEIGHT_LIMIT)
            found[f"{name}.{layer}.mult"] = TensorSpec((channels,), INT32, -MULTIPLIER_LIMIT, MULTIPLIER_LIMIT)
            found[f"{name}.{layer}.bias"] = TensorSpec((channels,), INT64, -BIAS_LIMIT, BIAS_LIMIT)
    return found


def blocks(config: TransformConfig) -> list[tuple[str, int]]:
    """(name, channels) of all residual blocks, in the order in which they are computed."""
    return [(f"blocks{stage}.{i}", config.channels[stage - 1]) for stage in (3, 2, 1) for i in range(config.decoder_blocks[stage - 1])]


def check_bounds(stored: Mapping[str, Any]) -> None:
    """Raises InputError unless every sum inside the residual blocks stays below its proven limit, whatever the input; of tensors,
    of NumPy or torch, that are as `tensors` says."""
    for name, tensor in stored.items():
        if not name.endswith(".conv1.weight"):
            continue
        block = name.removesuffix(".conv1.weight")
        limit, table = int(stored[f"{block}.limit"][0]), np.asarray(stored[f"{block}.silu"])
        soft, low, high, top = stored[f"{block}.range"]
        if not (soft > 0 and low < high and top > 0):
            raise InputError(f"decoder.safetensors: {block}.range is none")
        ranges = {"conv1": (-limit, limit), "conv2": (min(0, int(table.min())), max(0, int(table.max())))}
        for layer, (low, high) in ranges.items():
            total = most_sum(signed_sums(np.asarray(stored[f"{block}.{layer}.weight"])), low, high)
            if total >= ACCUMULATOR_LIMIT:
                raise InputError(f"decoder.safetensors: {block}.{layer}.weight may overflow its accumulator ({total} ≥ 2^24)")
    exp2 = np.asarray(stored["table.exp2"])
    if exp2[0] != 1 << EXP2_BITS or (exp2[1:] < exp2[:-1]).any():
        raise InputError("decoder.safetensors: bad table of powers of two")


def signed_sums(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of integer weights [O,I,k,k] those above and those below zero, added up without signs: int64[O,k] each, of a row of the kernel."""
    weight = weight.astype(np.int64)
    return np.maximum(weight, 0).sum((1, 3)), np.maximum(-weight, 0).sum((1, 3))


def most_sum(sums: tuple[np.ndarray, np.ndarray], low: int, high: int) -> int:
    """Of weights with these `signed_sums` by inputs in low..high, where low ≤ 0 ≤ high: no sum of some of the products of an output
    and a row of the kernel is greater in magnitude."""
    up, down = sums
    return int(np.maximum(up * high - down * low, down * high - up * low).max(initial=0))


def shifted(value: np.ndarray, bits) -> np.ndarray:
    """int64 / 2^bits, to the nearest integer, halves up; bits of 1 or more."""
    return value + (1 << np.asarray(bits, np.int64) - 1) >> bits


def clamped(value: np.ndarray) -> np.ndarray:
    return value.clip(-VALUE_LIMIT, VALUE_LIMIT)


def words(codebook: np.ndarray) -> np.ndarray:
    """Codewords f32[G,K,d] → int64, the nearest multiples of 2^-12, halves to even. (Exact in binary64.)"""
    return np.rint(codebook.astype(np.float64) * (1 << WORD_BITS)).astype(np.int64)


def scaled(codebooks: list[np.ndarray], stored: Mapping[str, np.ndarray], sixteenths: int) -> list[np.ndarray]:
    """Codebooks f32[G,K,d] of all slices → int64, their values at a quality, below VALUE_LIMIT."""
    logarithm = at_quality(stored["gain"].astype(np.int64), sixteenths)
    whole, part = logarithm >> GAIN_BITS, logarithm & (1 << GAIN_BITS) - 1
    gain, bits = stored["table.exp2"].astype(np.int64)[part], EXP2_BITS + WORD_BITS - UNIT_BITS - whole
    first, found = 0, []
    for codebook in codebooks:
        groups, _, d = codebook.shape
        here = slice(first, first + groups * d)
        shape = groups, 1, d
        found.append(clamped(shifted(words(codebook) * gain[here].reshape(shape), bits[here].reshape(shape))))
        first += groups * d
    return found
