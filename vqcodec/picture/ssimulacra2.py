"""SSIMULACRA2 (Sneyers, 2023), differentiable: pictures f32[B,3,H,W], sRGB in 0..1 → errors f32[B], scores f32[B].

    linear RGB, halved again and again ─ XYB ─┬─ means, variances, covariance of Gaussian windows ─ 1 - SSIM ──────────┐
                                              └─ |x - mean| of both ─ ratio ─ edges too many, edges too few ─ L1, L4 ──┴─ Σ weight·norm

Of the metric's 108 weights (three channels, six scales, three maps, two norms) 80 are below 0.01 and make less than 0.02 of a
point: they are left out, and with them all of the last scale and, at full size, both colour channels. A sum of 0.5 is a
score of 90, 2.6 of 70, 6.2 of 50; in between and beyond it behaves like an error, where the score is curved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

C2 = 0.0009
SIGMA, RADIUS = 1.5, 5  # of the windows
BLOCK = 64  # rows of matrices that are multiplied with at a time
TINY = 1e-20  # added to means of fourth powers, whose roots have no slope at zero

BIAS = 0.0037930732552754493
ABSORBANCE = ((0.30, 0.622, 0.078), (0.23, 0.692, 0.078), (0.24342268924547819, 0.20476744424496821, 0.55180986650955360))
X, Y, B = range(3)
SIMILAR, RINGING, BLURRED = range(3)  # the maps: 1 - SSIM, edges that the original has not, edges that it has and we have not
# (channel, map, norm): weight, for each scale from full size on
WEIGHTS = (
    {(Y, SIMILAR, 4): 7.466890328078848, (Y, BLURRED, 4): 17.445833984131262},
    {(X, SIMILAR, 4): 1.1041726426657346, (Y, SIMILAR, 4): 6.683678146179332, (Y, BLURRED, 4): 1.027889937768264},
    {(X, SIMILAR, 4): 1.8422455520539298, (X, RINGING, 4): 11.441172603757666, (Y, SIMILAR, 1): 225.20515300849274,
     (Y, SIMILAR, 4): 19.213238186143016},
    {(X, SIMILAR, 4): 1.8787594979546387, (X, RINGING, 4): 10.94906990605142, (Y, SIMILAR, 1): 176.39317598450694,
     (Y, SIMILAR, 4): 24.43300999870476, (Y, RINGING, 4): 0.28520802612117757, (B, SIMILAR, 4): 8.826982764996862,
     (B, RINGING, 4): 23.19243343998926},
    {(X, RINGING, 1): 0.9677938080626833, (X, RINGING, 4): 0.9981766977854967, (Y, SIMILAR, 4): 34.77906344483772,
     (Y, RINGING, 4): 44.835625328877896, (B, SIMILAR, 1): 95.1080498811086, (B, RINGING, 1): 0.9863978034400682,
     (B, BLURRED, 1): 0.9834382792465353, (B, RINGING, 4): 171.2667255897307, (B, BLURRED, 4): 0.9807858872435379},
)
CHANNELS = tuple(tuple(sorted({channel for channel, _, _ in weights})) for weights in WEIGHTS)


@dataclass(frozen=True)
class Scale:
    """What one scale needs of the original: XYB planes f32[B,C,H,W] (`CHANNELS`), their windows' means and variances and
    1 + |plane - mean| in their middles, each f32[B,C,h,w], `spacing` pixels apart."""

    planes: torch.Tensor
    means: torch.Tensor
    variances: torch.Tensor
    edges: torch.Tensor
    spacing: int


def error(decoded: torch.Tensor, pixels: torch.Tensor, edges: bool = False, original: Sequence[Scale] | None = None) -> torch.Tensor:
    """The weighed sum of error norms f32[B] that the score is a function of; differentiable by `decoded`, whose samples beyond
    0..1 count as 0 or 1. Sides of 8 or more; scales of fewer than 8 pixels do not count. (In the published implementations they
    leave their weights to others, so that scores of pictures with a side below 256 are not comparable with those of larger ones.)

    The package's windows see zeros at the sides of the picture and its reflection above and below; with `edges` reflections
    all round, as suits crops. original: `scales` of the pixels, where they are known."""
    total = decoded.new_zeros(len(decoded), dtype=torch.float32)
    original = original or scales(pixels, edges)
    for number, (x, y) in enumerate(zip(pyramid(decoded), original)):
        total = total + ScaleError.apply(x, y, edges, number)
    return total


def score(error: torch.Tensor) -> torch.Tensor:
    """Errors f32[B] → the metric's scores: 100 for none, 90 visually lossless, 70 high, 50 medium quality."""
    e = error * 0.9562382616834844
    e = 2.326765642916932 * e - 0.020884521182843837 * e**2 + 6.248496625763138e-05 * e**3
    return 100 - 10 * e.clamp_min(0) ** 0.6276336467831387


def scales(pixels: torch.Tensor, edges: bool = False, spacing: Sequence[int] = (1,) * len(WEIGHTS)) -> list[Scale]:
    """Of f32[B,3,H,W]; spacing of the windows at each scale."""
    result = []
    with torch.no_grad():
        for y, apart in zip(pyramid(pixels), spacing):
            means, squares = blur(torch.stack([y, y * y]), edges, apart)
            middles = y[..., ::apart, ::apart]
            result.append(Scale(y, means, squares.addcmul_(means, means, value=-1), (middles - means).abs_().add_(1), apart))
    return result


def pyramid(pixels: torch.Tensor):
    """XYB planes f32[B,C,H,W] of each scale that is large enough, `CHANNELS` only."""
    linear = Linear.apply(pixels.float().contiguous())
    for i, channels in enumerate(CHANNELS):
        if i:  # of odd sides the last row or column counts once more
            linear = F.avg_pool2d(linear, 2, ceil_mode=True, count_include_pad=False)
        if min(linear.shape[2:]) < 8:
            return
        yield to_xyb(linear, channels)


class Linear(torch.autograd.Function):
    """sRGB f32[B,3,H,W], which counts as 0 or 1 beyond 0..1, → linear light, same. (The gradient is written out, here and
    below: powers take long, and the slope of one needs no other.)"""

    @staticmethod
    def forward(ctx, x):
        light = x.clamp(0, 1).add_(0.055).div_(1.055).pow_(2.4)
        dark = x <= 0.04045
        light = torch.where(dark, x.clamp_min(0) / 12.92, light)
        ctx.save_for_backward(x, light, dark)
        return light

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, light, dark = ctx.saved_tensors
        slope = torch.where(dark, 1 / 12.92, 2.4 * light / (x + 0.055))
        return slope.mul_((x >= 0) & (x <= 1)).mul_(gradient)


class CubeRoot(torch.autograd.Function):
    """Of all that is not negative."""

    @staticmethod
    def forward(ctx, x):
        root = x.pow(1 / 3)
        ctx.save_for_backward(x, root)
        return root

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, root = ctx.saved_tensors
        return (root / x).mul_(gradient).div_(3)


def to_xyb(linear: torch.Tensor, channels: Sequence[int] = (X, Y, B)) -> torch.Tensor:
    """Linear RGB f32[B,3,H,W] → the given channels of XYB, shifted and scaled to be positive, f32[B,C,H,W]."""
    count = 3 if B in channels else 2
    matrix = linear.new_tensor(ABSORBANCE[:count])
    mixed = CubeRoot.apply((matrix @ linear.flatten(2)).add(BIAS).unflatten(2, linear.shape[2:]))
    y = (mixed[:, 0] + mixed[:, 1]) / 2
    planes = {Y: lambda: y + (0.01 - BIAS ** (1 / 3)), X: lambda: (mixed[:, 0] - mixed[:, 1]) * 7 + 0.42,
              B: lambda: mixed[:, 2] - y + 0.55}
    return torch.stack([planes[channel]() for channel in channels], 1)


class ScaleError(torch.autograd.Function):
    """XYB planes f32[B,C,H,W] → the sum f32[B] of weight·norm of all maps of that scale. Its gradient is made at once, since what it
    is made of is at hand and large."""

    @staticmethod
    def forward(ctx, x, y: Scale, edges: bool, number: int):
        channels, weights = CHANNELS[number], WEIGHTS[number]
        means, squares, products = blur(torch.stack([x, x * x, x * y.planes]), edges, y.spacing)
        off = means - y.means
        luminance = 1 - off * off
        spread = squares.addcmul_(means, means, value=-1).add_(y.variances).add_(C2)
        structure = products.addcmul_(means, y.means, value=-1).mul_(2).add_(C2).div_(spread)
        similar = F.relu(1 - luminance * structure)
        apart = x[..., :: y.spacing, :: y.spacing] - means
        ratio = (apart.abs() + 1).div_(y.edges).sub_(1) if any(kind != SIMILAR for _, kind, _ in weights) else None

        total, wanted = x.new_zeros(len(x)), ctx.needs_input_grad[0]
        by_similar, by_ratio = torch.zeros_like(means), torch.zeros_like(means)
        for (channel, kind, norm), weight in weights.items():
            plane = channels.index(channel)
            sign = -1 if kind == BLURRED else 1
            errors = similar[:, plane] if kind == SIMILAR else F.relu(ratio[:, plane] * sign)
            value = norms(errors, norm)
            total += weight * value
            if wanted:
                slope = weight / errors[0].numel() * (errors > 0 if norm == 1 else errors**3 / value[:, None, None] ** 3)
                (by_similar if kind == SIMILAR else by_ratio)[:, plane].add_(slope, alpha=sign)
        if wanted:
            by_structure = by_similar / spread  # of 1 - luminance · structure, negative
            alike = luminance * structure
            by_means = 2 * (by_similar * off * structure + by_structure * (luminance * y.means - alike * means))
            if ratio is not None:
                middle = by_ratio.mul_(apart.sign_()).div_(y.edges)
                by_means -= middle
            first, second, third = blur_back(torch.stack([by_means, by_structure * alike, by_structure * luminance * -2]),
                                             x.shape[2:], edges, y.spacing)
            gradient = first.addcmul_(x, second, value=2).addcmul_(third, y.planes)
            if ratio is not None:
                gradient[..., :: y.spacing, :: y.spacing] += middle
            ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return ctx.saved_tensors[0] * gradient[:, None, None, None], None, None, None


def norms(errors: torch.Tensor, norm: int) -> torch.Tensor:
    """L1 or L4 norm f32[B] of errors f32[B,H,W], all ≥ 0."""
    if norm == 1:
        return errors.mean((1, 2))
    return (errors.square().square_().mean((1, 2)) + TINY).sqrt().sqrt()


def blur(x: torch.Tensor, edges: bool, spacing: int = 1) -> torch.Tensor:
    """Means of the Gaussian windows around pixels that lie `spacing` apart, f32[...,H,W] → f32[...,h,w]. (Products with blocks of
    banded matrices: on CPUs they take a fraction of the time of convolutions of so few channels, and hold any edge.)"""
    height, width = x.shape[-2:]
    return multiplied(x, blocks(height, True, spacing, False, x.device), blocks(width, edges, spacing, False, x.device))


def blur_back(x: torch.Tensor, size: Sequence[int], edges: bool, spacing: int = 1) -> torch.Tensor:
    """The transpose of `blur`: f32[...,h,w] → f32[...,H,W] of `size`."""
    return multiplied(x, blocks(size[0], True, spacing, True, x.device), blocks(size[1], edges, spacing, True, x.device))


def multiplied(x: torch.Tensor, rows, columns) -> torch.Tensor:
    """R · x · Cᵀ of matrices that are given as `blocks`."""
    x = torch.cat([x[..., where] @ block.mT for where, block in columns], -1)
    return torch.cat([block @ x[..., where, :] for where, block in rows], -2)


@lru_cache(maxsize=64)
def blocks(side: int, reflect: bool, spacing: int, transposed: bool, device: torch.device) -> list[tuple[slice, torch.Tensor]]:
    """The `window` matrix, or its transpose, in blocks of BLOCK rows: of each the columns that are not all zero, and these."""
    matrix = window(side, reflect)[::spacing]
    result = []
    for rows in (matrix.mT if transposed else matrix).split(BLOCK):
        used = rows.any(0).nonzero()
        where = slice(int(used[0]), int(used[-1]) + 1)
        result.append((where, rows[:, where].contiguous().to(device)))
    return result


def window(side: int, reflect: bool) -> torch.Tensor:
    """f32[side,side]: row i holds the weights of the window around i; beyond the ends zeros, or what they reflect."""
    line = torch.exp(-(torch.arange(-RADIUS, RADIUS + 1.0, device="cpu").double()) ** 2 / (2 * SIGMA**2))
    line /= line.sum()
    matrix = torch.zeros(side, side, dtype=torch.float64, device="cpu")
    for offset, weight in zip(range(-RADIUS, RADIUS + 1), line.tolist()):
        for i in range(side):
            at = i + offset
            if 0 <= at < side:
                matrix[i, at] += weight
            elif reflect:
                at = at % (2 * side)
                matrix[i, min(at, 2 * side - 1 - at)] += weight
    return matrix.float()
