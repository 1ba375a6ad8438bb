"""Float context network of the prior; `prior.py` runs its integer twin.

Slices are coded in order; a slice is coded in phases (sets of grid positions). What one phase may look at:
all earlier slices everywhere, and its own slice at the positions of earlier phases.

    earlier slices ─ conv3×3 ─ relu ─ conv3×3 ─ relu ─ 1×1 ─┐
    own slice, earlier phases ─ conv5×5 (one per phase) ────(+)─ bias[phase, q] ─ relu ─ 1×1 ─ relu ─ head

Over grids of rank 1 the kernels are 1×9 for the own slice and 1×5 else.
Channel slices × checkerboard after Minnen & Singh (2020) and He et al. (2021, 2022). With `quantized` set,
weights, activations and outputs are rounded as in the integer network (quantisation-aware training, Jacob
et al., 2018), gradients passing straight through.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import nn

from .bounds import (
    COEFFICIENT_LIMIT,
    FEATURE_STEPS,
    LOG_SCALE_MIN,
    LOG_SCALE_STEP,
    MEAN_UNIT,
    SCALES,
    WEIGHT_LIMIT,
    near_spacing,
    wide_count,
)
from .layers import lerp_rows
from .prior import phase_map


def features(values: torch.Tensor, first_dim: int) -> torch.Tensor:
    """Context features of latents f32[B,n,h,w], whose first is dim `first_dim`: asinh of each dim, then for
    the wide ones the value itself / 8."""
    companded = torch.asinh(values)
    wide = wide_count(first_dim, values.shape[1])
    return torch.cat([companded, values[:, :wide] / 8], 1) if wide else companded


def feature_steps(first_dim: int, dims: int) -> torch.Tensor:
    """f32[F]: the size of one integer step of each context feature."""
    wide = wide_count(first_dim, dims)
    return torch.tensor([FEATURE_STEPS[0]] * dims + [FEATURE_STEPS[1]] * wide, dtype=torch.float32)


def round_through(x: torch.Tensor) -> torch.Tensor:
    return x + (x.round() - x).detach()


def round_weight(weight: torch.Tensor) -> torch.Tensor:
    """Weights [O,...] rounded to WEIGHT_LIMIT steps of each output channel's largest."""
    step = weight_steps(weight).view(-1, *[1] * (weight.dim() - 1))
    return round_through(weight / step) * step


def weight_steps(weight: torch.Tensor) -> torch.Tensor:
    """f32[O]: the size of one integer step of each output channel's weights."""
    return weight.detach().flatten(1).abs().amax(1).clamp_min(1e-8) / WEIGHT_LIMIT


class ActivationRange(nn.Module):
    """Relu, and when quantised, rounding to 0..255 steps of `step`, calibrated as a running maximum."""

    def __init__(self):
        super().__init__()
        self.register_buffer("step", torch.tensor(0.0))
        self.mode = "float"  # 'float', 'calibrate' or 'quantized'

    def forward(self, x):
        x = F.relu(x)
        if self.mode == "calibrate":
            sample = x.detach().float().flatten()[:: 1 + x.numel() // 2**20]
            self.step.copy_(torch.maximum(self.step, sample.quantile(0.9998) / 255).clamp_min(1e-6))
        elif self.mode == "quantized":
            x = round_through((x / self.step).clamp(0, 255)) * self.step
        return x




def conv(inputs: int, outputs: int, kernel: tuple[int, int], bias: bool = True, spacing: int = 1) -> nn.Conv2d:
    """A convolution that keeps the grid's size."""
    padding = (kernel[0] // 2 * spacing, kernel[1] // 2 * spacing)
    return nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=spacing, bias=bias)


class SliceContext(nn.Module):
    """Hidden state f32[B,C,h,w] from which a slice's distributions are read."""

    def __init__(self, past_features: int, own_features: int, channels: int, phases: int, levels: int, *,
                 near: tuple[int, int], past: tuple[int, int], places: tuple[int, ...] = (), labels: tuple[int, ...] = ()):
        """near, past: sides of the kernels; places: of the grid whose positions differ, none: (); labels: how many of each kind."""
        super().__init__()
        self.phases, self.channels, self.past_features = phases, channels, past_features
        self.quantized = False
        if past_features:
            self.past1 = conv(past_features, channels, past)
            self.past2 = conv(channels, channels, past)
            self.past3 = nn.Conv2d(channels, channels, 1, bias=False)
            self.past_bias = nn.Parameter(torch.zeros(levels, channels))
            self.range1, self.range2 = ActivationRange(), ActivationRange()
        self.near = nn.ModuleList(conv(own_features, channels, near, bias=False, spacing=near_spacing(k, phases))
                                  for k in range(1, phases))
        self.bias = nn.Parameter(torch.randn(phases, levels, channels) * 0.1)
        self.place = nn.Parameter(torch.zeros(*places, channels)) if places else None
        self.labels = nn.ParameterList(torch.zeros(1 + count, channels) for count in labels)
        self.mix = nn.Conv2d(channels, channels, 1)
        self.range3, self.range4 = ActivationRange(), ActivationRange()

    def ranges(self):
        return [m for m in self.modules() if isinstance(m, ActivationRange)]

    def set_mode(self, mode: str) -> None:
        self.quantized = mode == "quantized"
        for activation in self.ranges():
            activation.mode = mode

    def conv(self, layer: nn.Conv2d, x):
        weight = round_weight(layer.weight) if self.quantized else layer.weight
        return F.conv2d(x, weight, layer.bias, padding=layer.padding, dilation=layer.dilation)

    def feature_conv(self, layer: nn.Conv2d, x, steps):
        """A convolution over context features: their steps are folded into the weights before rounding."""
        if not self.quantized:
            return self.conv(layer, x)
        steps = steps.view(1, -1, 1, 1)
        whole = round_through((x / steps).clamp(-127, 127))
        return F.conv2d(whole, round_weight(layer.weight * steps), layer.bias, padding=layer.padding, dilation=layer.dilation)

    def given(self, height: int, width: int, labels):
        """What places and labels (int64[B,kinds], 0: none; None: none of all) say, of a shape that broadcasts to [B,C,h,w]."""
        total = 0.0
        if self.place is not None:
            rows, columns = (torch.arange(side).clamp(max=most - 1) for side, most in zip((height, width), self.place.shape))
            total = self.place[rows][:, columns].permute(2, 0, 1)[None]
        for k, table in enumerate(self.labels):
            row = table[:1] if labels is None else table[labels[:, k]]
            total = total + row[:, :, None, None]
        return total

    def forward(self, past, own, level, past_steps=None, own_steps=None, labels=None):
        """past: features of earlier slices (None for the first), own: features of the slice itself; labels: as `given`."""
        size = own.shape[2:]
        phase = phase_map(*size, self.phases)
        h = 0.0
        if past is not None:
            bias = lerp_rows(self.past_bias, level)[:, :, None, None]
            h = self.range1(self.feature_conv(self.past1, past, past_steps) + bias.to(past.dtype))
            h = self.conv(self.past3, self.range2(self.conv(self.past2, h)))
        total = self.given(*size, labels)
        for k in range(self.phases):
            here = lerp_rows(self.bias[k], level)[:, :, None, None].expand(-1, -1, *size)
            if k:
                here = here + self.feature_conv(self.near[k - 1], own * (phase < k), own_steps).float()
            total = total + here * (phase == k)
        return self.range4(self.conv(self.mix, self.range3(h + total)))


class LogisticHead(nn.Module):
    """Hidden state → per-dim logistic (mean, log scale), each f32[B,n,h,w]."""

    def __init__(self, channels: int, dims: int, unit: float):
        super().__init__()
        self.layer = nn.Conv2d(channels, 2 * dims, 1)
        self.unit = unit
        with torch.no_grad():
            self.layer.weight.mul_(0.1)

    def forward(self, h, quantized: bool):
        weight = round_weight(self.layer.weight) if quantized else self.layer.weight
        mean, log_scale = F.conv2d(h, weight, self.layer.bias).float().chunk(2, 1)
        mean = mean * self.unit
        if quantized:
            mean = round_through(mean * MEAN_UNIT) / MEAN_UNIT
            index = round_through((log_scale - LOG_SCALE_MIN) / LOG_SCALE_STEP).clamp(0, SCALES - 1)
            log_scale = index * LOG_SCALE_STEP + LOG_SCALE_MIN
        return mean, log_scale


class CategoricalHead(nn.Module):
    """Hidden state → logits over codewords, low-rank: logits[g,k] = vectors[g,k]·coefficients[g] + offset[g,k]."""

    def __init__(self, channels: int, groups: int, codewords: int, rank: int):
        super().__init__()
        self.groups, self.rank = groups, rank
        self.layer = nn.Conv2d(channels, groups * rank, 1)
        self.vectors = nn.Parameter(torch.randn(groups, codewords, rank) * 0.3)
        self.offset = nn.Parameter(torch.zeros(groups, codewords))
        self.register_buffer("step", torch.tensor(0.0))  # of one integer coefficient

    @torch.no_grad()
    def start_from(self, codebook: torch.Tensor, share: torch.Tensor) -> None:
        """Vectors start as the sufficient statistics of Gaussians and Laplacians of the codewords f32[G,K,d],
        offsets at the log of the codewords' `share` f32[G,K]."""
        moments = [codebook, codebook.square() / 4, codebook.square().sum(2, keepdim=True) / 4,
                   codebook.abs().sum(2, keepdim=True) / 2,
                   (codebook.square().sum(2, keepdim=True) > 0.1).float(), codebook.abs() / 2]
        moments = torch.cat(moments, 2)[:, :, : self.rank]
        self.vectors[:, :, : moments.shape[2]] = moments
        self.offset.copy_(share.clamp_min(1e-7).log())
        self.layer.weight.mul_(0.1)
        self.layer.bias.zero_()

    def coefficients(self, h, quantized: bool, calibrate: bool = False, lead=0.0):
        """f32[G, B·h·w, r]; lead, of the same shape, is added."""
        weight = round_weight(self.layer.weight) if quantized else self.layer.weight
        f = F.conv2d(h, weight, self.layer.bias).float()
        b, _, height, width = f.shape
        f = f.reshape(b, self.groups, self.rank, height * width).permute(1, 0, 3, 2).flatten(1, 2) + lead
        if calibrate:
            self.step.copy_(torch.maximum(self.step, f.detach().abs().max() / COEFFICIENT_LIMIT))
        if quantized:
            f = round_through((f / self.step).clamp(-COEFFICIENT_LIMIT, COEFFICIENT_LIMIT)) * self.step
        return f

    def rounded_vectors(self):
        """With one step per group."""
        step = self.vectors.detach().abs().amax((1, 2), keepdim=True) / WEIGHT_LIMIT
        return round_through(self.vectors / step) * step

    def forward(self, h, quantized: bool, calibrate: bool = False):
        """f32[G, B·h·w, K] logits in nats, positions in batch, row, column order."""
        vectors = self.rounded_vectors() if quantized else self.vectors
        f = self.coefficients(h, quantized, calibrate)
        return torch.baddbmm(self.offset[:, None, :], f, vectors.mT)


def logistic_bits(latents, mean, log_scale, low=-0.5, high=0.5):
    """Bits of the interval [latents + low, latents + high] under a logistic density. Shapes broadcast."""
    inverse = torch.exp(-log_scale.clamp(LOG_SCALE_MIN, LOG_SCALE_MIN + LOG_SCALE_STEP * (SCALES - 1)))
    upper, lower = (latents + high - mean) * inverse, (latents + low - mean) * inverse
    sign = torch.where(upper + lower > 0, -1.0, 1.0).float()  # work in the tail where the sigmoid keeps its precision
    mass = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()
    return -torch.log2(mass.clamp_min(1e-7))


def bfloat16(device: str = "cpu"):
    """Mixed precision for the networks on that type of device; distances and probabilities stay in float32."""
    return torch.autocast(device, dtype=torch.bfloat16)


def fast_arithmetic(device: str = "cpu"):
    """bfloat16 where the processor multiplies it: the direction of a step need not be exact."""
    return bfloat16(device) if device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported() else nullcontext()
