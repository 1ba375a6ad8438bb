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

C2 = 0.0009
SIGMA, RADIUS = 1.5, 5  # of the windows
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
    """What one scale needs of the original: XYB planes f32[B,C,H,W] (`CHANNELS`), their windows' means and variances, same, and
    1 + |plane - mean|."""

    planes: torch.Tensor
    means: torch.Tensor
    variances: torch.Tensor
    edges: torch.Tensor


def error(decoded: torch.Tensor, pixels: torch.Tensor, edges: bool = False, original: Sequence[Scale] | None = None) -> torch.Tensor:
    """The weighed sum of error norms f32[B] that the score is a function of; differentiable by `decoded`, whose samples beyond
    0..1 count as 0 or 1. Sides of 8 or more; scales of fewer than 8 pixels do not count. (In the published implementations they
    leave their weights to others, so that scores of pictures with a side below 256 are not comparable with those of larger ones.)

    The package's windows see zeros at the sides of the picture and its reflection above and below; with `edges` reflections
    all round, as suits crops. original: `scales` of the pixels, where they are known."""
    total = decoded.new_zeros(len(decoded), dtype=torch.float32)
    original = original or scales(pixels, edges)
    for x, y, channels, weights in zip(pyramid(decoded), original, CHANNELS, WEIGHTS):
        for (channel, kind, norm), errors in maps(x, y, channels, edges, weights):
            total = total + weights[channel, kind, norm] * norms(errors, norm)
    return total


def score(error: torch.Tensor) -> torch.Tensor:
    """Errors f32[B] → the metric's scores: 100 for none, 90 visually lossless, 70 high, 50 medium quality."""
    e = error * 0.9562382616834844
    e = 2.326765642916932 * e - 0.020884521182843837 * e**2 + 6.248496625763138e-05 * e**3
    return 100 - 10 * e.clamp_min(0) ** 0.6276336467831387


def scales(pixels: torch.Tensor, edges: bool = False) -> list[Scale]:
    """Of f32[B,3,H,W]."""
    result = []
    with torch.no_grad():
        for y in pyramid(pixels):
            means, squares = blur(torch.stack([y, y * y]), edges)
            result.append(Scale(y, means, squares.addcmul_(means, means, value=-1), (y - means).abs_().add_(1)))
    return result


def pyramid(pixels: torch.Tensor):
    """XYB planes f32[B,C,H,W] of each scale that is large enough, `CHANNELS` only."""
    linear = to_linear(pixels)
    for i, channels in enumerate(CHANNELS):
        if i:  # of odd sides the last row or column counts once more
            linear = F.avg_pool2d(linear, 2, ceil_mode=True, count_include_pad=False)
        if min(linear.shape[2:]) < 8:
            return
        yield to_xyb(linear, channels)


def to_linear(pixels: torch.Tensor) -> torch.Tensor:
    """sRGB f32[B,3,H,W] → linear light, same, contiguous."""
    x = pixels.float().contiguous().clamp(0, 1)
    return torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055).pow(2.4))


def to_xyb(linear: torch.Tensor, channels: Sequence[int] = (X, Y, B)) -> torch.Tensor:
    """Linear RGB f32[B,3,H,W] → the given channels of XYB, shifted and scaled to be positive, f32[B,C,H,W]."""
    count = 3 if B in channels else 2
    matrix = linear.new_tensor(ABSORBANCE[:count])
    mixed = (torch.einsum("oc,bchw->bohw", matrix, linear) + BIAS).clamp_min(0).pow(1 / 3) - BIAS ** (1 / 3)
    y = (mixed[:, 0] + mixed[:, 1]) / 2
    planes = {Y: lambda: y + 0.01, X: lambda: (mixed[:, 0] - mixed[:, 1]) * 7 + 0.42, B: lambda: mixed[:, 2] - y + 0.55}
    return torch.stack([planes[channel]() for channel in channels], 1)


def maps(x: torch.Tensor, y: Scale, channels: Sequence[int], edges: bool, weights):
    """((channel, map, norm), its errors f32[B,H,W]) for all weights of a scale; x: planes f32[B,C,H,W]."""
    means, squares, products = blur(torch.stack([x, x * x, x * y.planes]), edges)
    structure = 2 * (products - means * y.means) + C2
    alike = (1 - (means - y.means).square()) * structure / (squares - means.square() + y.variances + C2)
    similar = F.relu(1 - alike)
    ratio = None
    for channel, kind, norm in weights:
        plane = channels.index(channel)
        if kind == SIMILAR:
            yield (channel, kind, norm), similar[:, plane]
            continue
        ratio = (1 + (x - means).abs()) / y.edges - 1 if ratio is None else ratio
        yield (channel, kind, norm), F.relu(ratio[:, plane] if kind == RINGING else -ratio[:, plane])


def norms(errors: torch.Tensor, norm: int) -> torch.Tensor:
    """L1 or L4 norm f32[B] of errors f32[B,H,W], all ≥ 0."""
    if norm == 1:
        return errors.mean((1, 2))
    return (errors.square().square().mean((1, 2)) + TINY).sqrt().sqrt()


def blur(x: torch.Tensor, edges: bool) -> torch.Tensor:
    """Means of the Gaussian windows around all pixels, f32[...,H,W] same. (Products with banded matrices: on CPUs they take a
    fraction of the time of convolutions of so few channels, and hold any edge.)"""
    height, width = x.shape[-2:]
    rows, columns = window(height, True, x.device), window(width, edges, x.device)
    return rows @ (x @ columns.mT)


@lru_cache(maxsize=64)
def window(side: int, reflect: bool, device: torch.device) -> torch.Tensor:
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
    return matrix.float().to(device)
