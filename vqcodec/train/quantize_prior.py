"""Float context prior (quantisation-aware trained) → tensors of the integer prior, as `prior.Prior` reads them."""

from __future__ import annotations

import torch

from ..indices.bounds import (
    ACCUMULATOR_LIMIT,
    ACTIVATION_LIMIT,
    FEATURE_LIMIT,
    FEATURE_STEPS,
    LOG_SCALE_MIN,
    LOG_SCALE_STEP,
    LOGIT_UNIT,
    MEAN_UNIT,
    WEIGHT_LIMIT,
    check_bounds,
    wide_count,
)
from ..indices.cdf import tables
from ..indices.config import GridModel
from ..indices.context import weight_steps
from ..indices.float_prior import UNIT, ContextPrior
from ..indices.led_prior import LedPrior
from ..zoo.schema import check_tensors
from ..indices.quantize import boundaries
from ..indices.reference import GATE_UNIT, MATRIX_LIMIT, MATRIX_SHIFT, TABLE, compander
from ..indices.tensors import forms, prior_tensors


def integer_weight(weight: torch.Tensor, largest_input: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [O,...] → (int8 of the same shape, f64[O] step). The step grows where the accumulator of a
    channel could otherwise reach its limit."""
    weight = weight.detach().double()
    step = weight_steps(weight.float()).double()
    shape = (-1, *[1] * (weight.dim() - 1))
    while True:
        whole = (weight / step.view(shape)).round()
        too_large = whole.abs().flatten(1).sum(1) * largest_input >= ACCUMULATOR_LIMIT
        if not too_large.any():
            return whole.clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT).to(torch.int8), step
        step = torch.where(too_large, step * 1.02, step)


def fixed(values: torch.Tensor) -> torch.Tensor:
    """int64 in units of 2^-24."""
    return (values.double() * UNIT).round().to(torch.int64)


def multiplier(values: torch.Tensor) -> torch.Tensor:
    return fixed(values).clamp(-(2**31) + 1, 2**31 - 1).to(torch.int32)


@torch.no_grad()
def integer_prior(prior: ContextPrior, codebooks, config: GridModel, use: list[torch.Tensor]) -> dict:
    """All tensors of prior.safetensors. `use`: for each slice int64[levels,G,K], how often each codeword was
    chosen on training pictures; it decides which codewords each quality may use."""
    tensors = tables()
    for i, (s, context) in enumerate(zip(prior.layouts, prior.contexts)):
        put = {}
        book = codebooks[i].detach()
        put["companded"] = (torch.asinh(book) / FEATURE_STEPS[0]).round().clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
        if wide_count(s.dim, s.groups * s.d):
            put["wide"] = (book / 8 / FEATURE_STEPS[1]).round().clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
        put = {name: value.to(torch.int8) for name, value in put.items()}
        step3, step4 = context.range3.step.double(), context.range4.step.double()
        if context.past_features:
            step1, step2 = context.range1.step.double(), context.range2.step.double()
            steps = prior.past_steps(i).view(1, -1, 1, 1)
            put["past1.weight"], step = integer_weight(context.past1.weight * steps, FEATURE_LIMIT)
            put["past1.mult"] = multiplier(step / step1)
            put["past1.bias"] = fixed((context.past1.bias + context.past_bias) / step1)
            put["past2.weight"], step = integer_weight(context.past2.weight, ACTIVATION_LIMIT)
            put["past2.mult"] = multiplier(step * step1 / step2)
            put["past2.bias"] = fixed(context.past2.bias / step2)
            put["past3.weight"], step = integer_weight(context.past3.weight[:, :, 0, 0], ACTIVATION_LIMIT)
            put["past3.mult"] = multiplier(step * step2 / step3)
        own = prior.near_steps(i).view(1, -1, 1, 1)
        for k, layer in enumerate(context.near, 1):
            put[f"near{k}.weight"], step = integer_weight(layer.weight * own, FEATURE_LIMIT)
            put[f"near{k}.mult"] = multiplier(step / step3)
        put["join.bias"] = fixed(context.bias / step3)
        if context.place is not None:
            put["place.bias"] = fixed(context.place / step3)
        for k, table in enumerate(context.labels):
            put[f"label{k}.bias"] = fixed(table / step3)
        put["mix.weight"], step = integer_weight(context.mix.weight[:, :, 0, 0], ACTIVATION_LIMIT)
        put["mix.mult"] = multiplier(step * step3 / step4)
        put["mix.bias"] = fixed(context.mix.bias / step4)
        layer = prior.soft[i].layer if s.d == 1 else prior.heads[i].layer
        put["head.weight"], step = integer_weight(layer.weight[:, :, 0, 0], ACTIVATION_LIMIT)
        gain, offset = step * step4, layer.bias.double()
        if s.d == 1:
            mean = torch.arange(len(gain)) < s.groups
            scale = torch.where(mean, prior.soft[i].unit * MEAN_UNIT, 1 / LOG_SCALE_STEP)
            gain, offset = gain * scale, torch.where(mean, offset, offset - LOG_SCALE_MIN) * scale
            put["bounds"] = (boundaries(book) * MEAN_UNIT).round().to(torch.int32)
        else:
            head = prior.heads[i]
            gain, offset = gain / head.step, offset / head.step
            step = head.vectors.abs().amax((1, 2)).double() / WEIGHT_LIMIT
            put["vectors"] = (head.vectors / step[:, None, None]).round().to(torch.int8)
            put["logit.mult"] = fixed(step * head.step * LOGIT_UNIT)
            put["logit.offset"] = fixed(head.offset * LOGIT_UNIT)
        put["head.mult"], put["head.bias"] = multiplier(gain), fixed(offset)
        if isinstance(prior, LedPrior):
            put |= _leads(prior, i, step4)
        put["start"], put["size"] = alphabet(use[i], sorted_line=s.d == 1)
        tensors.update({f"s{i}.{name}": value.contiguous() for name, value in put.items()})
    if isinstance(prior, LedPrior):
        tensors[TABLE] = torch.from_numpy(compander())
    check_tensors(tensors, prior_tensors(config, forms(tensors, config)), "prior.safetensors")
    check_bounds(tensors)
    return tensors


def _leads(prior: LedPrior, i: int, step4: torch.Tensor) -> dict[str, torch.Tensor]:
    """What leads slice i, whose hidden state has that step, by a reference."""
    weight, step = integer_weight(prior.gates[i].weight[:, :, 0, 0], ACTIVATION_LIMIT)
    put = {"gate.weight": weight, "gate.mult": multiplier(step * step4 * GATE_UNIT), "gate.bias": fixed(prior.gates[i].bias * GATE_UNIT)}
    if prior.layouts[i].d > 1:
        unit = (1 << MATRIX_SHIFT) / prior.heads[i].step.double()
        put["lead.matrix"] = (prior.matrices[i] * unit / MEAN_UNIT).round().clamp(-MATRIX_LIMIT, MATRIX_LIMIT).to(torch.int16)
        put["lead.bias"] = (prior.biases[i] * unit).round().to(torch.int64)
    return put


def alphabet(use: torch.Tensor, sorted_line: bool, least: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """(start, size), int32[levels,G]: the window of codewords that each quality may use, from how often
    int64[levels,G,K] they were chosen.

    A coder must give every symbol 2^-16 of the mass, so codewords that are never used cost real bits; but
    pictures unlike the training ones must not be clipped. So a window holds what this quality and the next
    used, and some more on both sides (on sorted lines), or at least `least` codewords (sorted by use)."""
    used = use > 0
    used = used | torch.cat([used[1:], used[-1:]])
    count = use.shape[2]
    last = count - 1 - used.flip(2).int().argmax(2)
    first = used.int().argmax(2) if sorted_line else torch.zeros_like(last)
    if sorted_line:
        margin = 4 + (last - first) // 4
        first, last = first - margin, last + margin
    else:
        last = torch.maximum(last + 1, torch.tensor(least - 1))
    first, last = first.clamp(min=0), last.clamp(max=count - 1)
    return first.to(torch.int32), (last - first + 1).to(torch.int32)
