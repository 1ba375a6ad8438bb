"""The float twin of a prior that looks at a reference (`reference.py`): a `ContextPrior` with gates.

    features of the reference ──────────→ contexts of all slices, as those of slices before
    own features − those of the reference → near, beside the own features
    hidden ─ gate[g] ─ · reference ──────────────→ + mean            (d = 1)
                     ─ · (matrix[g] · reference + bias[g]) → + coefficients   (d > 1)

It starts as a prior that has none: nothing hangs on what is new in it but gates, which begin low.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import nn

from .bounds import LOGIT_UNIT, MEAN_UNIT, wide_count
from .config import GridModel
from .context import bfloat16, features, feature_steps, round_through, round_weight
from .float_prior import BITS, COEFFICIENT_STEP, UNIT, ContextPrior, fill
from .quantize import split_groups
from .reference import GATE_LIMIT, GATE_UNIT, MATRIX_SHIFT, feature_count

FIRST_GATE = 0.1


class LedPrior(ContextPrior):
    """All that a `ContextPrior` is, once it is `given` a reference."""

    def __init__(self, config: GridModel, phases=None):
        dims = config.transform.latent_dims
        super().__init__(config, phases, feature_count(dims))
        self.gates, self.matrices, self.biases = nn.ModuleList(), nn.ParameterList(), nn.ParameterList()
        for i, s in enumerate(self.layouts):
            gate = nn.Conv2d(config.prior.context_channels[i], s.groups, 1)
            nn.init.normal_(gate.weight, 0, 1e-3)
            nn.init.constant_(gate.bias, FIRST_GATE)
            self.gates.append(gate)
            rank = config.prior.rank[i] if s.d > 1 else 0
            self.matrices.append(nn.Parameter(torch.zeros(s.groups, s.d if rank else 0, rank)))
            self.biases.append(nn.Parameter(torch.zeros(s.groups, rank)))
        self.register_buffer("seen_steps", feature_steps(0, dims), persistent=False)

    @torch.no_grad()
    def start_from(self, tensors: dict[str, torch.Tensor], codebooks) -> None:
        """Starts as the prior without a reference whose integer tensors these are. What the reference says of vectors begins as
        the nearest that their coefficients have to -|codeword - reference|²."""
        fill(self, tensors)
        for context in self.contexts:
            for activation in context.ranges():
                activation.step.clamp_(min=1e-6)
        self._lead_vectors(codebooks)

    @torch.no_grad()
    def start_anew(self, tensors: dict[str, torch.Tensor], codebooks) -> None:
        """Starts from nothing, but for what codewords are to a prior without a reference that has the same `rank`."""
        for i, s in enumerate(self.layouts):
            if s.d > 1:
                step = tensors[f"s{i}.logit.mult"].double() / UNIT / LOGIT_UNIT / COEFFICIENT_STEP
                self.heads[i].vectors.copy_(tensors[f"s{i}.vectors"] * step[:, None, None])
                self.heads[i].offset.copy_(tensors[f"s{i}.logit.offset"] / UNIT / LOGIT_UNIT)
        self._lead_vectors(codebooks)

    def _lead_vectors(self, codebooks) -> None:
        for i, s in enumerate(self.layouts):
            if s.d > 1:
                vectors, book = self.heads[i].vectors.detach(), codebooks[i]
                ones = torch.ones_like(vectors[:, :, :1])  # what is the same for all codewords does not matter
                wanted = torch.cat([2 * book, -book.square().sum(2, keepdim=True)], 2)
                found = torch.linalg.lstsq(torch.cat([vectors, ones], 2).double(), wanted.double(), driver="gelsd").solution.float()
                self.matrices[i].copy_(found[:, :-1, :-1].mT)
                self.biases[i].copy_(found[:, :-1, -1])

    def fill_lead(self, i: int, tensors: dict[str, torch.Tensor], step: float) -> None:
        if "gate.weight" not in tensors:  # of a prior without a reference
            return
        gain = tensors["gate.mult"] / (UNIT * GATE_UNIT * step)
        self.gates[i].weight.copy_((tensors["gate.weight"] * gain[:, None])[:, :, None, None])
        self.gates[i].bias.copy_(tensors["gate.bias"] / (UNIT * GATE_UNIT))
        if self.layouts[i].d > 1:
            unit = self.heads[i].step.double() / (1 << MATRIX_SHIFT)
            self.matrices[i].copy_(tensors["lead.matrix"] * unit * MEAN_UNIT)
            self.biases[i].copy_(tensors["lead.bias"] * unit)

    def past_steps(self, i: int) -> torch.Tensor:
        return torch.cat([*self.steps[:i], self.seen_steps])

    def near_steps(self, i: int) -> torch.Tensor:
        return torch.cat([self.steps[i], self.steps[i][: self.layouts[i].groups * self.layouts[i].d]])

    def hidden_given(self, latents, level, reference, labels=None):
        """As `hidden`; reference: f32[B,D,h,w]."""
        own = [features(latents[:, s.dims], s.dim) for s in self.layouts if s.dim < latents.shape[1]]
        seen = features(reference, 0)
        for i, context in enumerate(self.contexts[: len(own)]):
            past, dims = torch.cat([*own[:i], seen], 1), self.layouts[i].dims
            near = torch.cat([own[i], own[i][:, : dims.stop - dims.start] - seen[:, dims]], 1)
            with bfloat16(latents.device.type) if self.training and self.mode == "float" else nullcontext():
                h = context(past, near, level, self.past_steps(i), self.near_steps(i), labels)
            yield h.float()

    def gate(self, i: int, h):
        """f32[G,N,1]"""
        layer, quantized = self.gates[i], self.mode == "quantized"
        gate = F.conv2d(h, round_weight(layer.weight) if quantized else layer.weight, layer.bias).float()
        gate = round_through(gate * GATE_UNIT) / GATE_UNIT if quantized else gate
        return split_groups(gate.clamp(-GATE_LIMIT / GATE_UNIT, GATE_LIMIT / GATE_UNIT), 1)

    def given(self, reference, labels=None) -> Given:
        """reference: f32[B,D,h,w]; labels: int64[B,kinds], 0: none; None: none of all"""
        return Given(self, reference, labels)


class Given:
    """A `LedPrior`, its reference f32[B,D,h,w] and labels: to whoever asks for bits it is a `ContextPrior`."""

    def __init__(self, prior: LedPrior, reference, labels=None):
        self.prior, self.reference, self.labels = prior, reference, labels
        self.layouts, self.mode, self.cells = prior.layouts, prior.mode, prior.cells
        self.heads = [head if s.d == 1 else _Head(self, i) for i, (s, head) in enumerate(zip(prior.layouts, prior.heads))]

    def hidden(self, latents, level):
        return self.prior.hidden_given(latents, level, self.reference, self.labels)

    def values(self, i: int):
        """f32[G,N,d]: of the reference, what slice i is led by."""
        s = self.layouts[i]
        return split_groups(self.reference[:, s.dims], s.d)

    def logistic(self, i: int, h):
        mean, log_scale = self.prior.logistic(i, h)
        lead = self.prior.gate(i, h) * self.values(i)
        if self.mode == "quantized":
            lead = round_through(lead * MEAN_UNIT) / MEAN_UNIT
        return mean + lead, log_scale

    def categorical_bits(self, i: int, h):
        head = self.heads[i]
        coefficients = head.coefficients(h, self.mode == "quantized", self.mode == "calibrate")
        vectors = head.vectors
        if self.mode == "quantized":
            vectors = self.prior.heads[i].rounded_vectors()
        return torch.log_softmax(torch.baddbmm(head.offset[:, None, :], coefficients, vectors.mT), 2) * -BITS

    def codeword_bits(self, latents, level, codebooks):
        return ContextPrior.codeword_bits(self, latents, level, codebooks)


class _Head:
    """A categorical head whose coefficients are led."""

    def __init__(self, given: Given, i: int):
        self.given, self.i, self.head = given, i, given.prior.heads[i]
        self.vectors, self.offset, self.rank = self.head.vectors, self.head.offset, self.head.rank

    def coefficients(self, h, quantized: bool, calibrate: bool = False):
        """f32[G,N,r]"""
        prior, i = self.given.prior, self.i
        lead = torch.baddbmm(prior.biases[i][:, None], self.given.values(i), prior.matrices[i])
        return self.head.coefficients(h, quantized, calibrate, prior.gate(i, h) * lead)
