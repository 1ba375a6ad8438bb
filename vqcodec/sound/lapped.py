"""samples f32[B,C,1,T·S] ⇄ coefficients f32[B,C,T,n]: the modified discrete cosine transform with a sine window.

Each frame is the DCT-IV of its own S samples, after a rotation of the samples on both sides of every border between
frames (Princen and Bradley, 1987; as rotations: Malvar, 1990). Nothing is rotated at the two ends, so that a piece needs no
neighbours, and inside a piece only its first and last half frame depend on where it was cut. Coefficient k is about
(k + ½)·rate/(2·S) hertz; a full-scale sine has about 1. The first n of S are kept.
"""

from __future__ import annotations

import functools
import math

import torch


@functools.cache
def cosines(size: int, count: int) -> torch.Tensor:
    """f32[size,count]: the first vectors of the orthonormal DCT-IV."""
    sample, number = torch.arange(size, dtype=torch.float64), torch.arange(count, dtype=torch.float64)
    angle = torch.pi / size * (sample[:, None] + 0.5) * (number + 0.5)
    return (angle.cos() * math.sqrt(2 / size)).float()


def rotate(frames: torch.Tensor, sign: int) -> torch.Tensor:
    """f32[B,C,T,S] → the same with both sides of each border turned; `sign` -1 turns back."""
    half = frames.shape[3] // 2
    angle = torch.pi / (2 * frames.shape[3]) * (half + torch.arange(half, dtype=torch.float32) + 0.5)
    cosine, sine = angle.sin(), sign * angle.cos()
    before, after = frames[:, :, :-1, frames.shape[3] - half :].flip(3), frames[:, :, 1:, :half]
    frames = frames.clone()
    frames[:, :, 1:, :half] = cosine * after + sine * before
    frames[:, :, :-1, frames.shape[3] - half :] = (cosine * before - sine * after).flip(3)
    return frames


def analyse(samples: torch.Tensor, size: int, count: int) -> torch.Tensor:
    """f32[B,C,1,T·size] → f32[B,C,T,count]"""
    b, c, _, n = samples.shape
    with torch.autocast("cpu", enabled=False):
        frames = rotate(samples.float().reshape(b, c, n // size, size), 1)
        return frames @ cosines(size, count) * math.sqrt(2 / size)


def synthesise(coefficients: torch.Tensor, size: int) -> torch.Tensor:
    """f32[B,C,T,count] → f32[B,C,1,T·size]: the inverse of `analyse`, were count equal to size."""
    b, c, t, count = coefficients.shape
    with torch.autocast("cpu", enabled=False):
        frames = coefficients.float() @ cosines(size, count).T * math.sqrt(size / 2)
        return rotate(frames, -1).reshape(b, c, 1, t * size)
