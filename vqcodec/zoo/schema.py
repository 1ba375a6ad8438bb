"""What each tensor of a model's files must be: name → dtype, shape, range. Checked before anything is computed with them.

Whoever knows a file says what is in it: `indices/tensors.py` of the prior and the codebooks, a network of itself
(`network_tensors`). A model passes only if its files hold just these tensors.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..errors import InputError
from ..indices.specs import TensorSpec, extent
from .weights import LEVELS, SCALE

MAX_VALUES = 1 << 26  # of all tensors of a model: 256 MiB as binary32
MAX_WEIGHT = 65504.0  # of networks: the largest half
MAX_LOG_GAIN = 24.0  # e^24 is 2.6·10^10; gains of trained models are below e^6
FLOATS = (torch.float16, torch.float32)


def check_tensors(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, TensorSpec], where: str) -> None:
    """Raises InputError unless `tensors` are just the `expected` ones."""
    for names, what in ((expected.keys() - tensors.keys(), "lacks"), (tensors.keys() - expected.keys(), "does not know")):
        if names:
            raise InputError(_other(where, f"it {what} {min(names)!r:.60}"))
    for name, spec in expected.items():
        tensor = tensors[name]
        if tensor.dtype not in spec.dtypes or tuple(tensor.shape) != spec.shape:
            found, wanted = _shown(tensor.dtype, tensor.shape), _shown(spec.dtypes[0], spec.shape)
            raise InputError(_other(where, f"{name} is {found}, not {wanted}"))
        least, most = extent(tensor)
        if not (spec.least <= least and most <= spec.most):  # NaN is neither
            limits = "{:g}..{:g}" if isinstance(least, float) else "{}..{}"
            raise InputError(f"{where}: {name} has values that are not in {limits.format(spec.least, spec.most)}")


def check_size(*parts: Mapping[str, TensorSpec]) -> None:
    """Raises InputError for a model that would take too much memory: to be asked before its networks are made."""
    values = sum(spec.count for part in parts for spec in part.values())
    if values > MAX_VALUES:
        raise InputError(f"its tensors have {values} values; {MAX_VALUES} are the most")


def network_tensors(net: torch.nn.Module, stored: Mapping[str, torch.dtype] | None = None) -> dict[str, TensorSpec]:
    """Of the file with the weights of `net`, which may be on the device "meta": halves or floats, or, where `stored` says so
    of a tensor, int8 with a scale for each output channel (`weights.pack`)."""
    stored, expected = stored or {}, {}
    for name, tensor in net.state_dict().items():
        shape = tuple(tensor.shape)
        if stored.get(name) is torch.int8 and shape:
            expected[name] = TensorSpec(shape, (torch.int8,), -LEVELS, LEVELS)
            expected[name + SCALE] = TensorSpec(shape[:1], (torch.float32,), 0.0, MAX_WEIGHT / LEVELS)
        else:
            most = MAX_LOG_GAIN if name.endswith("log_gain") else MAX_WEIGHT
            expected[name] = TensorSpec(shape, FLOATS, -most, most)
    return expected


def _other(where: str, reason: str) -> str:
    return f"{where} has other tensors than its config.toml asks for ({reason})"


def _shown(dtype: torch.dtype, shape) -> str:
    return f"{str(dtype).removeprefix('torch.')}[{','.join(map(str, shape))}]"
