"""The float twin of the integer prior: what training trains, and what the encoder's search asks before it decides.

`train/quantize_prior.py` makes the integers of prior.safetensors from it; `fill` is the inverse, up to their rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import nn

from .cdf import LOG_SCALE_MIN, LOG_SCALE_STEP, LOGIT_UNIT, MEAN_UNIT, SHIFT
from .config import GridModel
from .context import (
    ActivationRange,
    CategoricalHead,
    LogisticHead,
    SliceContext,
    bfloat16,
    feature_steps,
    features,
    logistic_bits,
    wide_count,
)
from .prior import of_slice, phase_count
from .quantize import boundaries, layouts, split_groups

UNIT = 1 << SHIFT
BITS = 1 / math.log(2)  # per nat
WEIGHT_RMS = 0.03  # of restored hidden layers: relu leaves their scale open, and this is where Muon's steps suit it
COEFFICIENT_STEP = 0.03  # likewise of the coefficients of categorical heads


class ContextPrior(nn.Module):
    """Contexts and heads of all slices; `soft` heads are per-dim logistics, `heads` the categorical ones of
    slices with d > 1 (slices with d = 1 keep their logistic, integrated over each codeword's cell). `phases` of each slice:
    of a published model, which may have others than models get today."""

    def __init__(self, config: GridModel, phases: Sequence[int] | None = None, seen: int = 0):
        """seen: features of a reference that contexts look at too (`led_prior.LedPrior`)."""
        super().__init__()
        levels, rank = len(config.transform.lambdas), config.transform.grid_rank
        self.layouts = layouts(config.quantizer)
        self.contexts, self.soft, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        past = 0
        for i, s in enumerate(self.layouts):
            dims, width = s.groups * s.d, config.prior.context_channels[i]
            own = dims + wide_count(s.dim, dims)
            count = phases[i] if phases else config.prior.phases[i] if config.prior.phases else phase_count(s.dim, rank)
            self.contexts.append(SliceContext(
                past + seen, own + (dims if seen else 0), width, count, levels, near=config.prior.kernel("near", rank),
                past=config.prior.kernel("past", rank), places=config.prior.places, labels=tuple(map(len, config.prior.labels))))
            self.soft.append(LogisticHead(width, dims, 4.0 if i == 0 else 1.0))
            self.heads.append(nn.Identity() if s.d == 1 else
                              CategoricalHead(width, s.groups, s.codewords, config.prior.rank[i]))
            self.register_buffer(f"steps{i}", feature_steps(s.dim, dims), persistent=False)
            past += own

    @property
    def steps(self) -> list[torch.Tensor]:
        """`feature_steps` of each slice."""
        return [getattr(self, f"steps{i}") for i in range(len(self.layouts))]

    def past_steps(self, i: int) -> torch.Tensor:
        """Of all that the context of slice i looks at beside its own features."""
        return torch.cat(self.steps[:i])

    def fill_lead(self, i: int, tensors: dict[str, torch.Tensor], step: float) -> None:
        """Fills what else slice i has, whose hidden state has that step, with what its tensors mean."""

    def near_steps(self, i: int) -> torch.Tensor:
        """Of its own."""
        return self.steps[i]

    def set_mode(self, mode: str) -> None:
        """'float', 'calibrate' (observe ranges, from nothing) or 'quantized'."""
        self.mode = mode
        for context in self.contexts:
            context.set_mode(mode)
        if mode == "calibrate":
            for part in self.modules():
                if isinstance(part, (ActivationRange, CategoricalHead)):
                    part.step.zero_()

    mode = "float"

    def hidden(self, latents, level, labels=None):
        """The hidden state of every slice that the latents f32[B,D,h,w] have, f32[B,C,h,w], all phases in one pass. labels
        int64[B,kinds], 0: none; None: none of all."""
        own = [features(latents[:, s.dims], s.dim) for s in self.layouts if s.dim < latents.shape[1]]
        for i, context in enumerate(self.contexts[: len(own)]):
            past = torch.cat(own[:i], 1) if i else None
            past_steps = torch.cat(self.steps[:i]) if i else None
            with bfloat16(latents.device.type) if self.training and self.mode == "float" else nullcontext():
                h = context(past, own[i], level, past_steps, self.steps[i], labels)
            yield h.float()

    def density_bits(self, latents, level, labels=None):
        """Bits f32[B,D,h,w] of noisy latents under the soft heads."""
        bits = []
        for s, head, h in zip(self.layouts, self.soft, self.hidden(latents, level, labels)):
            mean, log_scale = head(h, self.mode == "quantized")
            bits.append(logistic_bits(latents[:, s.dims], mean, log_scale))
        return torch.cat(bits, 1)

    def codeword_bits(self, latents, level, codebooks, labels=None):
        """For each slice, bits f32[G,N,K] of every codeword, given dequantised latents f32[B,D,h,w]."""
        for i, (s, h) in enumerate(zip(self.layouts, self.hidden(latents, level, labels))):
            if s.d > 1:
                yield self.categorical_bits(i, h)
            else:
                mean, log_scale = self.logistic(i, h)
                low, high = self.cells(codebooks[i])
                yield logistic_bits(0.0, mean, log_scale, low[:, None], high[:, None])

    def categorical_bits(self, i: int, h):
        """f32[G,N,K]"""
        logits = self.heads[i](h, self.mode == "quantized", self.mode == "calibrate")
        return torch.log_softmax(logits, 2) * -BITS

    def logistic(self, i: int, h):
        """(mean, log scale), each f32[G,N,1]"""
        return (split_groups(t, 1) for t in self.soft[i](h, self.mode == "quantized"))

    def cells(self, codebook):
        """(lower, upper) edges f32[G,K] of the cells of ascending scalar codewords f32[G,K,1]."""
        edges = boundaries(codebook)
        if self.mode == "quantized":
            edges = (edges * MEAN_UNIT).round() / MEAN_UNIT
        far = edges.new_full((len(edges), 1), 1e4)
        return torch.cat([-far, edges], 1), torch.cat([edges, far], 1)


@torch.no_grad()
def fill(prior: ContextPrior, tensors: dict[str, torch.Tensor]) -> None:
    """Fills the float context network with what the tensors of prior.safetensors mean."""
    for i in range(len(prior.layouts)):
        part = {name: value.double() for name, value in of_slice(tensors, i).items()}
        prior.fill_lead(i, part, _fill_slice(prior, i, part))


def _fill_slice(prior: ContextPrior, i: int, t: dict[str, torch.Tensor]) -> float:
    """Gives back the step of the hidden state."""
    s, context = prior.layouts[i], prior.contexts[i]

    def scaled(name):
        """Weights in steps of the layer's output."""
        weight, mult = t[f"{name}.weight"], t[f"{name}.mult"] / UNIT
        return weight * mult.view(-1, *[1] * (weight.dim() - 1))

    def put(layer, weight, bias=None):
        """Output channels beyond those of `weight` keep what they are, the others hear nothing of further inputs."""
        own = layer.weight[: len(weight)]
        own.zero_()[:, : weight.shape[1]] = weight.view(*weight.shape[:2], *own.shape[2:])
        if bias is not None:
            layer.bias[: len(bias)] = bias

    def steps_of(all_steps, name):
        """Of as many inputs as the weight of that name has: the prior may look at more."""
        return all_steps[: t[f"{name}.weight"].shape[1]].double().view(1, -1, 1, 1)

    own = steps_of(prior.near_steps(i), "near1")
    near = [scaled(f"near{k}") / own for k in range(1, len(context.near) + 1)]
    step3 = WEIGHT_RMS / rms(near[0])
    for layer, weight in zip(context.near, near):
        put(layer, weight * step3)
    if context.past_features and "past1.weight" not in t:
        context.past3.weight.zero_()
    elif context.past_features:
        past1 = scaled("past1") / steps_of(prior.past_steps(i), "past1")
        step1 = WEIGHT_RMS / rms(past1)
        put(context.past1, past1 * step1, torch.zeros(len(past1)))
        context.past_bias[:, : len(past1)] = (t["past1.bias"] / UNIT * step1).float()
        past2 = scaled("past2") / step1
        step2 = WEIGHT_RMS / rms(past2)
        put(context.past2, past2 * step2, t["past2.bias"] / UNIT * step2)
        put(context.past3, scaled("past3") * step3 / step2)
        context.range1.step.fill_(step1)
        context.range2.step.fill_(step2)
    context.bias[:, :, : len(near[0])] = (t["join.bias"] / UNIT * step3).float()
    if "place.bias" in t:
        context.place[..., : len(near[0])] = (t["place.bias"] / UNIT * step3).float()
    for k, table in enumerate(context.labels if "label0.bias" in t else ()):
        table[:, : len(near[0])] = (t[f"label{k}.bias"] / UNIT * step3).float()
    mix = scaled("mix") / step3
    step4 = WEIGHT_RMS / rms(mix)
    put(context.mix, mix * step4, t["mix.bias"] / UNIT * step4)
    context.range3.step.fill_(step3)
    context.range4.step.fill_(step4)
    gain, offset = scaled("head") / step4, t["head.bias"] / UNIT
    if s.d == 1:
        mean = torch.arange(len(gain)) < s.groups
        units, lowest = (torch.tensor(pair, dtype=torch.float32).double() for pair in (
            (1 / LOG_SCALE_STEP, prior.soft[i].unit * MEAN_UNIT), (LOG_SCALE_MIN, 0.0)))
        scale = units[mean.long()]
        put(prior.soft[i].layer, gain / scale[:, None], offset / scale + lowest[mean.long()])
    else:
        head = prior.heads[i]
        put(head.layer, gain * COEFFICIENT_STEP, offset * COEFFICIENT_STEP)
        step = t["logit.mult"] / UNIT / LOGIT_UNIT / COEFFICIENT_STEP
        head.vectors.copy_(t["vectors"] * step[:, None, None])
        head.offset.copy_(t["logit.offset"] / UNIT / LOGIT_UNIT)
        head.step.fill_(COEFFICIENT_STEP)
    return step4


def rms(weight: torch.Tensor) -> float:
    """Of weights that are all zero, what they shall have."""
    return weight.square().mean().sqrt().item() or WEIGHT_RMS
