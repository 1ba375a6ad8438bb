"""latents f32[B,D,h,w] ⇄ index grids int64[B,G,h,w]: product codebooks of learned embedding vectors.

The D latent dims are cut into groups; group g owns dims [start, start+d) and K codewords f32[K,d] of its own
(van den Oord et al., 2017, with partitioned codebooks). Groups of equal shape form a slice; slices are the
units in which the prior codes.

A codeword is chosen by least squared distance, or, with `bits` from the prior, by least
distance² + weight·bits (entropy-constrained VQ, Chou et al., 1989). Ties go to the lowest index.
"""

from __future__ import annotations

import torch

from .config import QuantizerConfig
from .layout import SliceLayout, layouts

# Slope of distortion against rate for fine uniform quantisation at unit step: 2·ln 2 / 12 per bit.
RATE_WEIGHT = 0.1155
AROUND = 3  # scalar codewords beside one, on each side, about a unit apart: farther ones are hardly ever worth their distance


def split_groups(latents: torch.Tensor, d: int) -> torch.Tensor:
    """f32[B,G·d,h,w] → f32[G, B·h·w, d], positions in batch, row, column order."""
    b, c, h, w = latents.shape
    return latents.reshape(b, c // d, d, h, w).permute(1, 0, 3, 4, 2).reshape(c // d, b * h * w, d)


def join_groups(vectors: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """f32[G, B·h·w, d] → f32[B,G·d,h,w] for shape (B, h, w): the inverse of `split_groups`."""
    g, _, d = vectors.shape
    b, h, w = shape
    return vectors.reshape(g, b, h, w, d).permute(1, 0, 4, 2, 3).reshape(b, g * d, h, w)


def distances(vectors: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Squared distances f32[G,N,K] between f32[G,N,d] and the codewords f32[G,K,d]."""
    cross = torch.baddbmm(codebook.square().sum(2)[:, None, :], vectors, codebook.mT, alpha=-2)
    return cross + vectors.square().sum(2, keepdim=True)


def boundaries(codebook: torch.Tensor) -> torch.Tensor:
    """f32[G,K-1]: midpoints between neighbouring codewords of ascending scalar codebooks f32[G,K,1]."""
    line = codebook.detach().squeeze(2)
    return (line[:, 1:] + line[:, :-1]) / 2


def choose(vectors: torch.Tensor, codebook: torch.Tensor, bits=None, weight: float = RATE_WEIGHT) -> torch.Tensor:
    """Indices int64[G,N] of the codewords nearest to f32[G,N,d]; with `bits` f32[G,N,K] (or [G,1,K]), of those of least
    distance² + weight·bits. `bits` may be infinite for codewords that are not allowed."""
    cost = codebook.square().sum(2)[:, None, :]  # distance² less |vector|², which is the same for all codewords
    if bits is None and codebook.shape[2] == 1:
        return torch.searchsorted(boundaries(codebook), vectors.squeeze(2).contiguous())
    if bits is None:
        return torch.baddbmm(cost, vectors, codebook.mT, alpha=-2).argmin(2)
    # In place: these are the largest arrays of an encoder, and to fill fresh memory takes longer than to multiply.
    cost = torch.add(cost, bits.expand(-1, vectors.shape[1], -1), alpha=weight)
    return cost.baddbmm_(vectors, codebook.mT, alpha=-2).argmin(2)


def neighbours(indices: torch.Tensor, start: torch.Tensor, size: torch.Tensor, codewords: int) -> tuple[torch.Tensor, int]:
    """(first int64, count): scalar codewords beside those of `indices`, of `size` from `start` on where there are so many."""
    count = min(2 * AROUND + 1, codewords)
    return torch.maximum(torch.minimum(indices - AROUND, start + size - count), start).clamp_(max=codewords - count), count


def look_up(indices: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """f32[G,N,d]: the codewords f32[G,K,d] that indices int64[G,N] name."""
    return torch.gather(codebook, 1, indices[:, :, None].expand(-1, -1, codebook.shape[2]))


def codewords_of(indices, codebooks, shape: tuple[int, int, int]) -> torch.Tensor:
    """f32[B,D,h,w] for shape (B, h, w): the codewords that indices int64[G, B·h·w] of each slice name."""
    return torch.cat([join_groups(look_up(i, codebook), shape) for i, codebook in zip(indices, codebooks, strict=True)], 1)


def nearest(latents: torch.Tensor, codebooks, slices: tuple[SliceLayout, ...]) -> list[torch.Tensor]:
    """For each slice indices int64[G, B·h·w] of the codewords nearest to latents f32[B,D,h,w]."""
    return [choose(split_groups(latents[:, s.dims], s.d), codebook) for s, codebook in zip(slices, codebooks, strict=True)]


def dequantize(grids: torch.Tensor, codebooks, config: QuantizerConfig) -> torch.Tensor:
    """Index grids int64[B,G,h,w] → latents f32[B,D,h,w]."""
    b, _, h, w = grids.shape
    indices = [grids[:, s.planes].permute(1, 0, 2, 3).reshape(s.groups, b * h * w) for s in layouts(config)]
    return codewords_of(indices, codebooks, (b, h, w))


def quantize(latents: torch.Tensor, codebooks, config: QuantizerConfig) -> torch.Tensor:
    """Latents f32[B,D,h,w] → index grids int64[B,G,h,w] of the nearest codewords."""
    b, _, h, w = latents.shape
    return torch.cat([indices.reshape(-1, b, h, w).permute(1, 0, 2, 3)
                      for indices in nearest(latents, codebooks, layouts(config))], 1)
