"""Encoder-side search: latents moved so that the codewords chosen for them cost less rate + λ·distortion, as the
real prior and the real decoder see it. It changes what an encoder writes, never how a stream is read.

    latents → rate-aware choice → codewords → decoder → distortion
       ↑                                  └─→ prior → bits of the others
       └───── codewords - step · gradient ──────┴────────────┘

Around codewords v with gradient g (in bits per latent unit, of the distortion and of what v makes other codewords cost) the
cost is modelled as the quantiser's own |v - y|² of a bit worth RATE_WEIGHT, with `curvature` times its curvature, so
v - g·RATE_WEIGHT/(2·curvature) are better latents y, and the rate-aware choice goes on from there: proximal gradient descent
with momentum over codewords, in a metric of its own for each slice of the dims. (Campos et al., 2019, and Yang et al., 2020,
descend over continuous latents instead.)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .. import filelimits
from .config import MS_SSIM_SIDE, TransformConfig
from ..indices.context import fast_arithmetic
from .distortion import against
from ..errors import UsageError
from ..indices.quantize import RATE_WEIGHT
from ..indices.rates import Rates
from .plain import spread
from .transform import PATCH, Decoder, samples

USUAL_EFFORT, USUAL_PIXELS = 2, 1 << 22  # larger pictures are encoded at effort 1 unless told otherwise


@dataclass(frozen=True)
class Search:
    """What a distortion asks of the search, by trials on validation pictures (docs/training_log.md).

    `weight`: squared latent units that a bit is worth in the choice; `curvature`: of the distortion, in units of the
    quantiser's, both in the first slice. In a slice that begins at dim n the curvature is (1 + n/8)^`fall` times less, and a
    bit is worth so much more. `pull`: the part of the way to the better latents that the first step goes; it falls
    evenly, towards `last_pull` after the last. `limit`: latent units that a latent may have moved after the first step; each
    further one gives it `leeway`, up to FARTHEST in all. Without it the search runs away on very busy pictures and drawings.
    `steep`: above a λ of STEEP_FROM the pull falls as λ^-steep, for distortions that are rather norms of errors than squares, and
    have the more curvature the less they are.
    `steps`: gradients taken at each effort; the usual one has as many as 768 × 512 pixels have time for in 1.2 s."""

    weight: float
    curvature: float
    pull: float
    last_pull: float
    momentum: float
    fall: float = 0.0
    steep: float = 0.0
    limit: float = 0.5
    leeway: float = 0.1
    steps: tuple[int, ...] = (0, 2, 8, 12, 20, 40)

    def weights(self, layouts) -> tuple[float, ...]:
        """`weight` in each slice."""
        return tuple(self.weight * (1 + s.dim / 8) ** self.fall for s in layouts)

    def damping(self, slope):
        """What pulls are multiplied with at a λ, a number or a tensor."""
        if not self.steep:
            return 1.0
        beyond = slope / STEEP_FROM
        return (beyond.clamp(min=1) if isinstance(beyond, torch.Tensor) else max(beyond, 1.0)) ** -self.steep

    def curvatures(self, layouts) -> torch.Tensor:
        """f32[1,D,1,1]: `curvature` in each dim."""
        return torch.cat([torch.full((1, s.groups * s.d, 1, 1), self.curvature * (1 + s.dim / 8) ** -self.fall, dtype=torch.float32)
                          for s in layouts], 1)


SEARCHES = {
    "mse": Search(weight=0.75 * RATE_WEIGHT, curvature=1.0, pull=0.7, last_pull=0.15, momentum=0.4),
    "ms-ssim": Search(weight=0.7 * RATE_WEIGHT, curvature=1.2, pull=0.24, last_pull=0.06, momentum=0.4, fall=0.6,
                      steps=(0, 2, 7, 12, 20, 20)),
    "ssimulacra2": Search(weight=0.5 * RATE_WEIGHT, curvature=1.2, pull=0.13, last_pull=0.035, momentum=0.4, fall=0.45, steep=0.5,
                          steps=(0, 2, 6, 12, 20, 20)),
}
EFFORTS = len(SEARCHES["mse"].steps)
FARTHEST = 1.0
STEEP_FROM = 0.008
RENEW = 2  # steps after which the prior is asked again, though not for the last step alone
TILE = 64  # latents on a side of the tiles that gradients are taken in
REACH = 4  # latents beyond a tile whose pixels its gradient takes into account


def refine(latents: torch.Tensor, steps: int, search: Search, rates: Rates, gradient: Callable,
           begin: Callable[[int], object] = lambda step: None, damping: torch.Tensor | float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents f32[B,D,h,w] after `steps` improvements, at least one, and the codewords, same, from which the last was made.
    gradient: codewords → gradient of the distortion in bits, same, and the caller's own no more. begin: told the number of
    each step, from 0 on; damping: of the search, a number or f32[B,1,1,1]. (In place where it can be: of a picture of 100 megapixels each of these takes 300 MB.)"""
    indices = rates.nearest(latents)
    moved, velocity, felt = latents, None, torch.zeros_like(latents)
    scale = RATE_WEIGHT / (2 * search.curvatures(rates.prior.layouts))
    for step in range(steps):
        filelimits.tick()
        begin(step)
        renew = step % RENEW == 0 and (step == 0 or step + 1 < steps)
        chosen = None  # the old ones go before new ones come
        chosen, indices = rates.choose(moved, indices, renew, felt)
        away = gradient(chosen).add_(felt).mul_(-scale).add_(chosen).sub_(moved)  # the better latents, from here
        velocity = away if velocity is None else velocity.mul_(search.momentum).add_(away)
        del away
        limit = min(FARTHEST, search.limit + search.leeway * step)
        pull = (search.pull + (search.last_pull - search.pull) * step / steps) * damping
        way = torch.addcmul(moved, velocity, pull) if isinstance(pull, torch.Tensor) else torch.add(moved, velocity, alpha=pull)
        moved = way.sub_(latents).clamp_(-limit, limit).add_(latents)
    return moved, chosen


def checked_effort(effort: int | None, height: int, width: int) -> int:
    """The effort to use for a picture. Raises UsageError beyond the scale."""
    if effort is None:
        return USUAL_EFFORT if height * width <= USUAL_PIXELS else 1
    if effort not in range(EFFORTS):
        raise UsageError(f"effort must be between 0 and {EFFORTS - 1}, not {effort}")
    return effort


def applicable(config: TransformConfig, height: int, width: int) -> bool:
    """MS-SSIM has no value for small pictures."""
    return config.distortion != "ms-ssim" or min(height, width) >= MS_SSIM_SIDE


def slope(config: TransformConfig, level: float) -> float:
    """λ at a fractional level: bits per pixel that a unit of distortion is worth."""
    low = min(int(level), len(config.lambdas) - 2) if len(config.lambdas) > 1 else 0
    first, second = config.lambdas[low], config.lambdas[min(low + 1, len(config.lambdas) - 1)]
    return first * (second / first) ** (level - low)


def gradient_at(chosen: torch.Tensor, decode: Callable, distortion: Callable, slope) -> torch.Tensor:
    """Gradient f32[B,D,h,w] of `slope`·distortion of pictures decoded from codewords, same."""
    chosen = chosen.detach().requires_grad_()
    with torch.enable_grad():
        loss = distortion(decode(chosen)) * slope
        return torch.autograd.grad(loss.sum(), chosen)[0]


class DistortionGradient:
    """Codewords f32[1,D,h,w] → gradient, same, of λ·distortion, in bits, of the picture decoded from them against uint8[H,W,3];
    in tiles, so that memory is bounded. keep: remember what the distortion needs of the picture from one call to the next; told:
    of the part that is done, after each tile; painted: bool[h,w], blocks that decoders paint as they are in the picture."""

    def __init__(self, decoder: Decoder, config: TransformConfig, rgb: np.ndarray, level: float, *, keep: bool = True,
                 told: Callable[[float], object] = lambda part: None, painted: np.ndarray | None = None):
        self.painted = painted
        self.decoder, self.rgb, self.level, self.keep, self.told = decoder, rgb, level, keep, told
        self.distortion, self.slope = config.distortion, slope(config, level)
        self.known = {}

    def __call__(self, chosen: torch.Tensor) -> torch.Tensor:
        result = torch.empty_like(chosen)
        every = list(itertools.product(*map(tiles, chosen.shape[2:])))
        for done, tile in enumerate(every, 1):
            filelimits.tick()
            (rows, near_rows), (columns, near_columns) = tile
            piece = chosen[:, :, near_rows, near_columns].contiguous(memory_format=torch.channels_last)
            painted = None if self.painted is None else self.painted[near_rows, near_columns]
            if painted is not None and painted.all():
                gradient = torch.zeros_like(piece)
            else:
                gradient = self._of_tile(piece, pixels_of(near_rows), pixels_of(near_columns), painted)
            result[:, :, rows, columns] = gradient[:, :, within(near_rows, rows), within(near_columns, columns)]
            self.told(done / len(every))
        return result

    def _of_tile(self, piece: torch.Tensor, rows: slice, columns: slice, painted: np.ndarray | None) -> torch.Tensor:
        height, width = self.rgb[rows, columns].shape[:2]
        hidden = None if painted is None or not painted.any() else torch.from_numpy(spread(painted, height, width))
        wanted = None if hidden is None else samples(self.rgb[rows, columns].copy())

        def decode(piece):
            with fast_arithmetic():
                x = self.decoder(piece, torch.tensor([self.level], dtype=torch.float32))[:, :, :height, :width]
            return x if hidden is None else torch.where(hidden, wanted, x)

        key = rows.start, columns.start
        distortion = self.known.get(key) or against(self.distortion, samples(self.rgb[rows, columns].copy()))
        if self.keep:
            self.known[key] = distortion
        return gradient_at(piece, decode, distortion, self.slope * height * width)


def tiles(count: int) -> list[tuple[slice, slice]]:
    """`count` latents in a row → even parts of TILE at most, each also with REACH more on both sides. No part is too
    small for MS-SSIM, if the whole is not."""
    parts = -(-count // TILE)
    edges = [count * i // parts for i in range(parts + 1)]
    return [(slice(start, stop), slice(max(0, start - REACH), min(count, stop + REACH)))
            for start, stop in itertools.pairwise(edges)]


def within(outer: slice, inner: slice) -> slice:
    """Where `inner` lies in what `outer` cuts out."""
    return slice(inner.start - outer.start, inner.stop - outer.start)


def pixels_of(latents: slice) -> slice:
    return slice(latents.start * PATCH, latents.stop * PATCH)
