"""What each tensor of a model's files must be: name → dtype, shape, range. Checked before anything is computed with them.

Whoever knows a file says what is in it: `indices/tensors.py` of the prior and the codebooks, a network of itself
(`shapes`). A model passes only if its files hold just these tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import InputError
from ..indices.specs import TensorSpec, extent
from .weights import LEVELS, SCALE, unpack

MAX_VALUES = 1 << 26  # of all tensors of a model: 256 MiB as binary32
MAX_WEIGHT = 65504.0  # of networks: the largest half
MAX_LOG_GAIN = 24.0  # e^24 is 2.6·10^10; gains of trained models are below e^6
FLOATS = ("float16", "float32")


def check_tensors(tensors: Mapping[str, Any], expected: Mapping[str, TensorSpec], where: str) -> None:
    """Raises InputError unless `tensors`, of NumPy or torch, are just the `expected` ones."""
    for names, what in ((expected.keys() - tensors.keys(), "lacks"), (tensors.keys() - expected.keys(), "does not know")):
        if names:
            raise InputError(_other(where, f"it {what} {min(names)!r:.60}"))
    for name, spec in expected.items():
        tensor = tensors[name]
        if dtype_name(tensor) not in spec.dtypes or tuple(tensor.shape) != spec.shape:
            found, wanted = _shown(dtype_name(tensor), tensor.shape), _shown(spec.dtypes[0], spec.shape)
            raise InputError(_other(where, f"{name} is {found}, not {wanted}"))
        least, most = extent(np.asarray(tensor))
        if not (spec.least <= least and most <= spec.most):  # NaN is neither
            limits = "{:g}..{:g}" if isinstance(least, float) else "{}..{}"
            raise InputError(f"{where}: {name} has values that are not in {limits.format(spec.least, spec.most)}")


def dtype_name(tensor) -> str:
    """"float32" of an array of NumPy or a tensor of torch."""
    return str(tensor.dtype).removeprefix("torch.")


def check_size(*parts: Mapping[str, TensorSpec]) -> None:
    """Raises InputError for a model that would take too much memory: to be asked before its networks are made."""
    values = sum(spec.count for part in parts for spec in part.values())
    if values > MAX_VALUES:
        raise InputError(f"its tensors have {values} values; {MAX_VALUES} are the most")


def network_tensors(shapes: Mapping[str, tuple[int, ...]], stored: Mapping[str, Any] | None = None) -> dict[str, TensorSpec]:
    """Of the file with the weights of a network of these `shapes`: halves or floats, or, where the `stored` tensor is one, int8
    with a scale for each output channel (`weights.pack`)."""
    stored, expected = stored or {}, {}
    for name, shape in shapes.items():
        if name in stored and dtype_name(stored[name]) == "int8" and shape:
            expected[name] = TensorSpec(shape, ("int8",), -LEVELS, LEVELS)
            expected[name + SCALE] = TensorSpec(shape[:1], ("float32",), 0.0, MAX_WEIGHT / LEVELS)
        else:
            most = MAX_LOG_GAIN if name.endswith("log_gain") else MAX_WEIGHT
            expected[name] = TensorSpec(shape, FLOATS, -most, most)
    return expected


class NetworkFile(Protocol):
    """What the file of a network's weights must hold."""

    def tensors(self, stored: Mapping[str, Any] | None = None) -> dict[str, TensorSpec]:
        """By name; where there is a choice, of those that are `stored`."""

    def read(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Tensors as decoders compute with them, of `stored` ones that `tensors` allows. Raises InputError."""

    def floats(self, read: dict[str, Any]) -> dict[str, Any]:
        """f32 weights of the network in torch, of what `read` gave."""


@dataclass(frozen=True)
class FloatNetwork(NetworkFile):
    """Weights of these shapes, f32 when they are read."""

    shapes: Mapping[str, tuple[int, ...]]

    def tensors(self, stored=None):
        return network_tensors(self.shapes, stored)

    def read(self, stored):
        return unpack(stored)

    def floats(self, read):
        return read


def _other(where: str, reason: str) -> str:
    return f"{where} has other tensors than its config.toml asks for ({reason})"


def _shown(dtype: str, shape) -> str:
    return f"{dtype}[{','.join(map(str, shape))}]"
