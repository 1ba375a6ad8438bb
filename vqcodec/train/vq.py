"""Trainable product codebooks: straight-through, soft or noisy assignment; gradient or moving-average update."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ..indices.config import QuantizerConfig
from ..indices.quantize import RATE_WEIGHT, choose, distances, join_groups, layouts, look_up, split_groups

ASSIGNMENTS = ("straight-through", "soft", "noise")
UPDATES = ("gradient", "ema")


@dataclass
class Assigned:
    """What the quantiser made of one slice: values f32[B,n,h,w], indices int64[G,N] and its two losses
    (sums over dims, means over positions)."""

    values: torch.Tensor
    indices: torch.Tensor
    commitment: torch.Tensor
    codebook: torch.Tensor


class SliceQuantizer(nn.Module):
    """Codebook f32[G,K,d] of one slice.

    assignment 'straight-through': the value is the chosen codeword, gradients are copied to the latents
    (van den Oord et al., 2017); 'soft': the value is the codeword, gradients are those of the softmax
    average over codewords at `temperature` (soft-to-hard annealing, Agustsson et al., 2017); 'noise':
    uniform noise of unit width in place of quantisation (Ballé et al., 2017).
    update 'gradient': codebook loss ‖sg[z] − e‖² and the gradient through the value; 'ema': N, m decayed
    by `decay` and e = m/N (Razavi et al., 2019). `revive` re-seeds codewords whose share of the choices
    fell below `dead_share` of uniform.
    """

    def __init__(self, groups: int, codewords: int, d: int, *, assignment="straight-through", update="gradient",
                 decay: float = 0.99, temperature: float = 0.1, dead_share: float = 1e-4):
        super().__init__()
        assert assignment in ASSIGNMENTS and update in UPDATES
        self.assignment, self.update = assignment, update
        self.decay, self.temperature, self.dead_share = decay, temperature, dead_share
        self.codebook = nn.Parameter(lattice(groups, codewords, d), requires_grad=update == "gradient")
        self.register_buffer("count", torch.ones(groups, codewords))
        self.register_buffer("total", self.codebook.detach().clone())

    def forward(self, latents: torch.Tensor, bits: torch.Tensor | None = None, weight: float = RATE_WEIGHT,
                committed: torch.Tensor | None = None) -> Assigned:
        """latents f32[B,G·d,h,w]; `bits` f32[G,N,K] makes the choice rate-aware. `committed`: what commits to the chosen
        codewords, if not the latents themselves."""
        groups, _, d = self.codebook.shape
        shape = (latents.shape[0], *latents.shape[2:])
        vectors = split_groups(latents, d)
        with torch.no_grad():
            indices = choose(vectors, self.codebook, bits, weight)
            if self.training:
                self._observe(vectors, indices)
        chosen = look_up(indices, self.codebook)
        if self.assignment == "noise":
            values = vectors + torch.rand_like(vectors) - 0.5
        elif self.assignment == "soft":
            weights = torch.softmax(-distances(vectors, self.codebook) / self.temperature, 2)
            soft = weights @ self.codebook
            values = soft + (chosen - soft).detach()
        elif self.update == "gradient":
            values = chosen + (vectors - vectors.detach())
        else:
            values = vectors + (chosen - vectors).detach()
        committed = vectors if committed is None else split_groups(committed, d)
        commitment = F.mse_loss(committed, chosen.detach(), reduction="none").sum((0, 2)).mean()
        codebook = F.mse_loss(chosen, vectors.detach(), reduction="none").sum((0, 2)).mean()
        if self.update == "ema":
            codebook = codebook.detach()
        return Assigned(join_groups(values, shape), indices, commitment, codebook)

    def _observe(self, vectors, indices):
        """Counts choices; for 'ema' also moves the codewords."""
        counts = torch.zeros_like(self.count).scatter_add_(1, indices, torch.ones_like(indices, dtype=torch.float32))
        self.count.lerp_(counts, 1 - self.decay)
        if self.update == "ema":
            sums = torch.zeros_like(self.total)
            sums.scatter_add_(1, indices[:, :, None].expand_as(vectors), vectors)
            self.total.lerp_(sums, 1 - self.decay)
            seen = self.count > 1e-3
            mean = self.total / self.count.clamp_min(1e-3)[:, :, None]
            self.codebook.data.copy_(torch.where(seen[:, :, None], mean, self.codebook))

    @torch.no_grad()
    def revive(self, latents: torch.Tensor, generator=None) -> torch.Tensor:
        """Moves dead codewords onto latents f32[B,G·d,h,w] drawn in proportion to their squared error, so that
        they go where codewords are missing (the tails), not where most latents are. Returns bool[G,K]: which."""
        groups, codewords, d = self.codebook.shape
        share = self.count / self.count.sum(1, keepdim=True).clamp_min(1e-9)
        dead = share < self.dead_share / codewords
        vectors = split_groups(latents, d)
        error = distances(vectors, self.codebook).amin(2).clamp_min(1e-9)
        fresh = look_up(torch.multinomial(error, codewords, replacement=True, generator=generator), vectors)
        self.codebook.data[dead] = fresh[dead]
        self.total[dead] = fresh[dead]
        self.count[dead] = 1.0
        return dead

    def perplexity(self) -> torch.Tensor:
        """f32[G]: 2^entropy of the running codeword use; K when all are used alike."""
        p = self.count / self.count.sum(1, keepdim=True).clamp_min(1e-9)
        return torch.exp2(-(p * p.clamp_min(1e-12).log2()).sum(1))


def build(config: QuantizerConfig, **options) -> nn.ModuleList:
    """One SliceQuantizer per slice."""
    return nn.ModuleList(SliceQuantizer(s.groups, s.codewords, s.d, **options) for s in layouts(config))


def lattice(groups: int, codewords: int, d: int) -> torch.Tensor:
    """f32[G,K,d]: the K integer points of least norm, nearest to zero first (ascending for d = 1)."""
    if d == 1:
        line = torch.arange(codewords, dtype=torch.float32) - (codewords - 1) // 2
        return line[None, :, None].repeat(groups, 1, 1)
    reach = 1
    while (2 * reach + 1) ** d < 4 * codewords:
        reach += 1
    points = torch.cartesian_prod(*[torch.arange(-reach, reach + 1.0)] * d)
    order = points.square().sum(1).argsort(stable=True)[:codewords]
    return points[order][None].repeat(groups, 1, 1)


@torch.no_grad()
def fit_codebook(vectors: torch.Tensor, codewords: int, *, weight: float = RATE_WEIGHT, rounds: int = 15):
    """Entropy-constrained Lloyd (Chou et al., 1989) of one group: f32[N,d] → codebook f32[K,d], most used
    first (ascending for d = 1), and its share of choices f32[K]. Starts from a lattice, so that the tails
    are covered."""
    d = vectors.shape[1]
    book = lattice(1, codewords, d)[0]
    bits = book.square().sum(1) * 0.5
    for _ in range(rounds):
        indices = choose(vectors[None], book[None], bits[None, None], weight)[0]
        counts = torch.bincount(indices, minlength=codewords).float()
        sums = torch.zeros_like(book).index_add_(0, indices, vectors)
        book = torch.where((counts > 0)[:, None], sums / counts.clamp_min(1)[:, None], book)
        bits = -torch.log2((counts + 0.1) / (counts.sum() + 0.1 * codewords))
    order = book[:, 0].argsort() if d == 1 else bits.argsort(stable=True)
    return book[order], torch.exp2(-bits[order])
