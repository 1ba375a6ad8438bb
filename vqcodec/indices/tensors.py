"""Which tensors prior.safetensors and codebook.safetensors hold (bitstream_spec.md, 6.1 and 7.1), by a model's configuration.

Two things the configuration does not tell, and the names in the file do: how many phases a slice is coded in, and whether
it has wide features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import InputError
from .bounds import (
    BIAS_LIMIT,
    CDF_BITS,
    FEATURE_LIMIT,
    MAX_PHASES,
    MEAN_LIMIT,
    MULTIPLIER_LIMIT,
    SCALES,
    WEIGHT_LIMIT,
    check_phases,
    near_spacing,
    wide_count,
)
from .config import GridModel
from .layout import SliceLayout, layouts
from .reference import MATRIX_LIMIT, TABLE, feature_count
from .specs import TensorSpec

MAX_CODEWORD = 4096.0  # in magnitude; what `prior.check_bounds` asks of scalar ones is less
MAX_REACH = 256  # positions that a kernel sees on each side: what is padded for it stays small
INT8, INT32, INT64 = ((kind,) for kind in ("int8", "int32", "int64"))


@dataclass(frozen=True)
class Form:
    phases: int
    wide: bool
    led: bool = False  # the prior looks at a reference


def forms(names: Iterable[str], config: GridModel) -> tuple[Form, ...]:
    """Of each slice, by the names of the tensors in prior.safetensors. Raises InputError for numbers of phases that cannot be."""
    names = set(names)
    found = []
    for i in range(len(config.quantizer.slices)):
        phases = 1 + sum(f"s{i}.near{k}.weight" in names for k in range(1, MAX_PHASES + 1))
        check_phases(i, phases)
        found.append(Form(phases, f"s{i}.wide" in names, TABLE in names))
    return tuple(found)


def check_trainable(found: tuple[Form, ...], config: GridModel) -> None:
    """Raises InputError where the float twin of the prior (`float_prior.ContextPrior`) has other features."""
    for i, (form, s) in enumerate(zip(found, layouts(config.quantizer))):
        if form.wide != bool(wide_count(s.dim, s.groups * s.d)):
            raise InputError(f"prior: slice {i} has {'' if form.wide else 'no '}wide features, unlike models that encode")


def prior_tensors(config: GridModel, found: tuple[Form, ...]) -> dict[str, TensorSpec]:
    """Of prior.safetensors; `prior.check_bounds` knows how their values hang together."""
    expected = {
        "table.sigmoid": TensorSpec((4096,), INT32, 0, 1 << CDF_BITS),
        "table.exp": TensorSpec((4096,), INT64, 0, 1 << 15),
        "table.inverse": TensorSpec((SCALES,), INT32, 1, (1 << 31) - 1),
    }
    known = 0  # context features of the slices before
    seen = 0  # of the reference
    if found[0].led:
        expected[TABLE] = TensorSpec((MEAN_LIMIT + 1,), INT8, 0, FEATURE_LIMIT)
        seen = feature_count(config.transform.latent_dims)
    for i, (s, form) in enumerate(zip(layouts(config.quantizer), found)):
        own = s.groups * s.d * (1 + form.wide)
        parts = _slice_tensors(config, i, s, form, own, known + seen)
        expected.update({f"s{i}.{name}": spec for name, spec in parts.items()})
        known += own
    return expected


def _slice_tensors(config, i: int, s: SliceLayout, form: Form, own: int, known: int) -> dict[str, TensorSpec]:
    levels, rank = len(config.transform.lambdas), config.transform.grid_rank
    width, coefficients = config.prior.context_channels[i], config.prior.rank[i]
    near, past = (config.prior.kernel(name, rank) for name in ("near", "past"))
    if max(near) // 2 * near_spacing(1, form.phases) > MAX_REACH:
        raise InputError(f"prior: slice {i} looks farther than {MAX_REACH} positions")
    features = TensorSpec((s.groups, s.codewords, s.d), INT8, -FEATURE_LIMIT, FEATURE_LIMIT)
    expected = {
        "companded": features,
        "start": TensorSpec((levels, s.groups), INT32, 0, s.codewords - 1),
        "size": TensorSpec((levels, s.groups), INT32, 1, s.codewords),
        "join.bias": _bias(form.phases, levels, width),
        **_layer("mix", width, width),
        "mix.bias": _bias(width),
    }
    if form.wide:
        expected["wide"] = features
    if known:
        expected |= {**_layer("past1", width, known, *past), "past1.bias": _bias(levels, width),
                     **_layer("past2", width, width, *past), "past2.bias": _bias(width),
                     **_layer("past3", width, width)}
    if config.prior.places:
        expected["place.bias"] = _bias(*config.prior.places, width)
    for k, names in enumerate(config.prior.labels):
        expected[f"label{k}.bias"] = _bias(1 + len(names), width)
    for k in range(1, form.phases):
        expected |= _layer(f"near{k}", width, own + form.led * s.groups * s.d, *near)
    outputs = 2 * s.groups if s.d == 1 else s.groups * coefficients
    expected |= {**_layer("head", outputs, width), "head.bias": _bias(outputs)}
    if form.led:
        expected |= {**_layer("gate", s.groups, width), "gate.bias": _bias(s.groups)}
    if form.led and s.d > 1:
        expected["lead.matrix"] = TensorSpec((s.groups, s.d, coefficients), ("int16",), -MATRIX_LIMIT, MATRIX_LIMIT)
        expected["lead.bias"] = _bias(s.groups, coefficients)
    if s.d == 1:
        expected["bounds"] = TensorSpec((s.groups, s.codewords - 1), INT32, 1 - (1 << 31), (1 << 31) - 1)
    else:
        expected["vectors"] = TensorSpec((s.groups, s.codewords, coefficients), INT8, -WEIGHT_LIMIT, WEIGHT_LIMIT)
        expected["logit.mult"] = TensorSpec((s.groups,), INT64, -MULTIPLIER_LIMIT, MULTIPLIER_LIMIT)
        expected["logit.offset"] = _bias(s.groups, s.codewords)
    return expected


def _layer(name: str, outputs: int, *inputs: int) -> dict[str, TensorSpec]:
    return {f"{name}.weight": TensorSpec((outputs, *inputs), INT8, -WEIGHT_LIMIT, WEIGHT_LIMIT),
            f"{name}.mult": TensorSpec((outputs,), INT32, -MULTIPLIER_LIMIT, MULTIPLIER_LIMIT)}


def _bias(*shape: int) -> TensorSpec:
    return TensorSpec(shape, INT64, -BIAS_LIMIT, BIAS_LIMIT)


def codebook_tensors(config: GridModel) -> dict[str, TensorSpec]:
    """Of codebook.safetensors."""
    return {f"s{i}": TensorSpec((s.groups, s.codewords, s.d), ("float32",), -MAX_CODEWORD, MAX_CODEWORD)
            for i, s in enumerate(layouts(config.quantizer))}
