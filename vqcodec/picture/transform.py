"""samples f32[B,3,H,W] ⇄ latents f32[B,D,H/16,W/16]: the analysis and synthesis networks.

    pixels ─┬─ unshuffle 16 ── linear path (patch PCA at the start) ──────────────┐
            └─ unshuffle 4 ─ blocks ─ down 2 ─ blocks ─ down 2 ─ blocks ─ head ─ (+) ─ · gain[q] → latents

    latents ─ / gain[q] ─┬─ linear path ─ shuffle 16 ──────────────────────────────┐
                         └─ stem ─ blocks ─ up 2 ─ blocks ─ up 2 ─ blocks ─ head ─ (+) → pixels

Latents are in units of the quantiser: a training proxy adds noise of width 1 to them. Both networks are
purely convolutional with finite receptive fields, so that pictures can be worked on in strips with halos
(`halo`, in latent rows). Quality q is continuous: gains and per-quality biases of
the L trained qualities are interpolated linearly (gains in the log domain).

Blocks are plain dense 3×3 convolutions at 1/4, 1/8 and 1/16 resolution: on CPUs they reach many times the
throughput of depthwise ones. The linear path beside the network makes step 0 of training a transform coder.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..indices.bounds import ACCUMULATOR_LIMIT
from ..indices.context import round_through, round_weight, weight_steps
from ..indices.layers import QualityScale, lerp_rows, soften
from .config import TransformConfig
from .integer import ACTIVATION_LIMIT
from .synthesis import PATCH, halo  # noqa: F401


def samples(rgb: np.ndarray) -> torch.Tensor:
    """uint8[H,W,3] → f32[1,3,H,W] in 0..1, channels last. (With the batch's dim added after the permutation its stride would
    be 3, and convolutions would not know the layout.)"""
    return torch.from_numpy(rgb)[None].permute(0, 3, 1, 2).float().div_(255)


class Block(nn.Module):
    """x + conv3×3(silu(conv3×3(soften(x)))), the residual branch starting small. While `rounded`, kernels and their inputs are
    rounded about as `rounding.py` rounds them, gradients passing straight through."""

    rounded = False

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x):
        if not self.rounded:
            return x + self.conv2(F.silu(self.conv1(soften(x))))
        inner = rounded_conv(self.conv1, soften(x), 1.0)
        return x + rounded_conv(self.conv2, F.silu(inner), 0.5)


def rounded_conv(layer: nn.Conv2d, x: torch.Tensor, share: float) -> torch.Tensor:
    """`layer` of x f32[B,C,h,w], both rounded: x to as many steps, over the range of this batch, as its sums have room for; of the
    sum of weights without their signs they reach `share`."""
    x, steps = x.float(), weight_steps(layer.weight)
    with torch.no_grad():
        most = (layer.weight.flatten(1) / steps[:, None]).round().abs().sum(1).max() * share
        step = x.abs().amax().clamp_min(1e-6) / (ACCUMULATOR_LIMIT / most).clamp(max=ACTIVATION_LIMIT).floor()
    return F.conv2d(round_through(x / step) * step, round_weight(layer.weight), layer.bias, padding=1)


class Encoder(nn.Module):
    """Pixels f32[B,3,H,W] in 0..1 → latents f32[B,D,H/16,W/16] in quantiser units."""

    def __init__(self, config: TransformConfig):
        super().__init__()
        c1, c2, c3 = config.channels
        n1, n2, n3 = config.encoder_blocks
        levels = len(config.lambdas)
        self.linear = nn.Conv2d(3 * PATCH * PATCH, config.latent_dims, 1)
        self.stem = nn.Conv2d(48, c1, 3, padding=1)
        self.blocks1 = nn.Sequential(*(Block(c1) for _ in range(n1)))
        self.down1 = nn.Conv2d(4 * c1, c2, 1)
        self.blocks2 = nn.Sequential(*(Block(c2) for _ in range(n2)))
        self.down2 = nn.Conv2d(4 * c2, c3, 1)
        self.condition = QualityScale(levels, c3)
        self.blocks3 = nn.Sequential(*(Block(c3) for _ in range(n3)))
        self.head = nn.Conv2d(c3, config.latent_dims, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.log_gain = nn.Parameter(torch.zeros(levels, config.latent_dims))

    def forward(self, pixels, level):
        x = pixels - 0.5
        direct = self.linear(F.pixel_unshuffle(x, PATCH))
        h = self.blocks1(self.stem(2 * F.pixel_unshuffle(x, 4)))
        h = self.blocks2(self.down1(F.pixel_unshuffle(h, 2)))
        h = self.blocks3(self.condition(self.down2(F.pixel_unshuffle(h, 2)), level))
        latents = direct.float() + self.head(h).float()
        return latents * lerp_rows(self.log_gain, level).exp()[:, :, None, None]


class Decoder(nn.Module):
    """Latents f32[B,D,h,w] in quantiser units → pixels f32[B,3,16h,16w], nominally in 0..1 (not clamped)."""

    def __init__(self, config: TransformConfig):
        super().__init__()
        c1, c2, c3 = config.channels
        n1, n2, n3 = config.decoder_blocks
        levels = len(config.lambdas)
        self.linear = nn.Conv2d(config.latent_dims, 3 * PATCH * PATCH, 1)
        self.stem = nn.Conv2d(config.latent_dims, c3, 3, padding=1)
        self.condition = QualityScale(levels, c3)
        self.blocks3 = nn.Sequential(*(Block(c3) for _ in range(n3)))
        self.up2 = nn.Conv2d(c3, 4 * c2, 1)
        self.blocks2 = nn.Sequential(*(Block(c2) for _ in range(n2)))
        self.up1 = nn.Conv2d(c2, 4 * c1, 1)
        self.blocks1 = nn.Sequential(*(Block(c1) for _ in range(n1)))
        self.head = nn.Conv2d(c1, 48, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.log_gain = nn.Parameter(torch.zeros(levels, config.latent_dims))

    def set_rounded(self, rounded: bool) -> None:
        """Whether the rounding of a decoder in integers is simulated."""
        for module in self.modules():
            if isinstance(module, Block):
                module.rounded = rounded

    def forward(self, latents, level):
        y = latents * lerp_rows(-self.log_gain, level).exp()[:, :, None, None]
        direct = F.pixel_shuffle(self.linear(y), PATCH)
        h = self.blocks3(self.condition(self.stem(y), level))
        h = self.blocks2(F.pixel_shuffle(self.up2(h), 2))
        h = self.blocks1(F.pixel_shuffle(self.up1(h), 2))
        return direct.float() + F.pixel_shuffle(self.head(h), 4).float() + 0.5


def init_linear_path(encoder: Encoder, decoder: Decoder, patches: torch.Tensor, lambdas) -> None:
    """Starts both linear paths as the PCA of `patches` f32[N,3,16,16] (0..1) and the gains at the
    high-rate optimum of rate + λ·MSE: quantiser step √(26/λ) in 0..255 units."""
    flat = F.pixel_unshuffle(patches - 0.5, PATCH).flatten(1)
    covariance = flat.T @ flat / len(flat)
    values, vectors = torch.linalg.eigh(covariance.double())
    basis = vectors.flip(1)[:, : encoder.linear.out_channels].T.float()
    steps = torch.tensor([(26 / lam) ** 0.5 / 255 for lam in lambdas])
    with torch.no_grad():
        encoder.linear.weight.copy_(basis[:, :, None, None])
        encoder.linear.bias.zero_()
        decoder.linear.weight.copy_(basis.T[:, :, None, None])
        decoder.linear.bias.zero_()
        gain = -steps.log()[:, None].expand_as(encoder.log_gain)
        encoder.log_gain.copy_(gain)
        decoder.log_gain.copy_(gain)
