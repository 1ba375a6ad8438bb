"""Layers that the networks of all media and the prior share."""

from __future__ import annotations

import torch
from torch import nn
from torch.autograd.function import once_differentiable


def soften(x):
    """x / √(1 + mean of squares over channels): linear for small features, bounded for large ones, so that
    no input, however odd, makes a stack of blocks blow up."""
    return Soften.apply(x)


class Soften(torch.autograd.Function):
    """Its gradient is written out: as autograd makes it, it takes a fifth of the time of the whole network's."""

    @staticmethod
    def forward(ctx, x):
        scale = torch.rsqrt(x.square().mean(1, keepdim=True) + 1)
        ctx.save_for_backward(x, scale)
        return x * scale

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        x, scale = ctx.saved_tensors
        along = (gradient * x).mean(1, keepdim=True).mul_(scale**3)
        return (gradient * scale).addcmul_(x, along, value=-1)


class QualityScale(nn.Module):
    """Per-quality channel scale and bias, interpolated between the L trained qualities."""

    def __init__(self, levels: int, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(levels, channels))
        self.bias = nn.Parameter(torch.zeros(levels, channels))

    def forward(self, x, level):
        scale, bias = lerp_rows(self.scale, level), lerp_rows(self.bias, level)
        return x * scale[:, :, None, None].to(x.dtype) + bias[:, :, None, None].to(x.dtype)


def lerp_rows(table: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """Rows of `table` [L, C] at the fractional positions `level` [B] (0..L-1), linearly interpolated."""
    low = level.floor().clamp(0, table.shape[0] - 1).long()
    high = (low + 1).clamp(max=table.shape[0] - 1)
    part = (level - low).unsqueeze(1).to(table.dtype)
    return table[low] * (1 - part) + table[high] * part
