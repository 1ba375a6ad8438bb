"""The model in training, of any medium: encoder, quantiser, context prior and decoder, and the losses of each stage.

Stages, in order (why this order is in docs/training.md):
  soft    uniform noise in place of quantisation, logistic densities as prior (Ballé et al., 2017)
  vq      real codewords chosen with the prior's bits, straight-through gradients, commitment loss
  prior   transform and codebooks frozen; the prior alone, rounded as its integer twin rounds
  decoder as prior, and the decoder with it: both learn from what the encoder's search chooses
  joint   as decoder, and the encoder with it: it learns to give at once what the search makes of its latents
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from ..indices.context import bfloat16, logistic_bits
from ..indices.float_prior import ContextPrior
from ..indices.quantize import RATE_WEIGHT, choose, codewords_of, distances, look_up, nearest, split_groups
from . import vq
from .medium import of_config

SOFT_ASSIGNMENT = 0.25  # temperature, in squared latent units, of the encoder's view of the rate


@dataclass(frozen=True)
class Losses:
    """Per-sample bits per pixel f32[B], distortion f32[B] (its medium's), and bits per pixel f32[B] that the search
    saves the encoder, by its own model; auxiliary f32[]."""

    bpp: torch.Tensor
    distortion: torch.Tensor
    auxiliary: torch.Tensor | float = 0.0
    saved: torch.Tensor | float = 0.0


class Model(nn.Module):
    """Samples are, say, pictures f32[B,3,H,W] or sound f32[B,C,1,N]; everything between the transforms is the same."""

    def __init__(self, config, *, assignment: str = "straight-through", update: str = "gradient", decay: float = 0.99):
        """config: of a model of any medium."""
        super().__init__()
        self.config = config
        self.rounded = False  # whether the decoder learns with its rounding
        parts = of_config(config).networks(config)
        self.encoder, self.decoder, self.patch = parts.encoder, parts.decoder, parts.patch
        self.distortion, self.error, self.search, self.improve = parts.distortion, parts.error, parts.search, parts.improve
        self.prior = ContextPrior(config)
        self.quantizers = vq.build(config.quantizer, assignment=assignment, update=update, decay=decay)
        slices = [config.quantizer.present(level) for level in range(len(config.transform.lambdas))]
        dims = [[here for here, count in zip(row, config.quantizer.slices) for _ in range(count)] for row in slices]
        self.register_buffer("present", torch.tensor(slices), persistent=False)  # bool[L,slices]
        self.register_buffer("present_dims", None if all(map(all, slices)) else torch.tensor(dims).float()[:, :, None, None],
                             persistent=False)

    @property
    def codebooks(self):
        return [q.codebook for q in self.quantizers]

    def soft_losses(self, pixels, level) -> Losses:
        latents = self.analyse(pixels, level)
        noisy = self.masked(latents + torch.rand_like(latents) - 0.5, level)
        return self._losses(self.density_bits(noisy, level), noisy, level, pixels)

    def density_bits(self, latents, level):
        """f32[B]: bits of latents with noise under the soft heads, absent dims left out."""
        return self.masked(self.prior.density_bits(latents, level), level).sum((1, 2, 3))

    def masked(self, latents, level):
        """f32[B,D,h,w], zero in the dims of slices that are absent at these qualities."""
        return latents if self.present_dims is None else latents * self.present_dims[level.long()]

    def analyse(self, pixels, level):
        with bfloat16(pixels.device.type) if self.training else nullcontext():
            return self.masked(self.encoder(pixels, level), level)

    def synthesise(self, latents, level, *noise):
        """`noise`: of sound, what its decoder adds."""
        with bfloat16(latents.device.type) if self.training else nullcontext():
            return self.decoder(latents, level, *noise)

    def decoded(self, latents, level):
        """As `synthesise`; while `rounded`, as a decoder in integers would round, which the search does without."""
        if not self.rounded:
            return self.synthesise(latents, level)
        self.decoder.set_rounded(True)
        try:
            return self.synthesise(latents, level)
        finally:
            self.decoder.set_rounded(False)

    def _losses(self, bits, latents, level, samples, auxiliary=0.0, saved=0.0) -> Losses:
        if self.error:
            apart = self.error(self, latents, level, samples)
        else:
            apart = self.distortion(self.decoded(latents, level), samples)
        return Losses(bits / samples[0, 0].numel(), apart, auxiliary, saved)

    @torch.no_grad()
    def choice_bits(self, latents, level):
        """Bits f32[G,N,K] per slice for a rate-aware choice: the prior run on the nearest codewords."""
        indices = nearest(latents, self.codebooks, self.prior.layouts)
        values = codewords_of(indices, self.codebooks, (len(latents), *latents.shape[2:]))
        return list(self.prior.codeword_bits(values, level, self.codebooks))

    @property
    def rate_weights(self) -> tuple[float, ...]:
        """Squared latent units that a bit is worth in the encoder's choice of codewords, in each slice."""
        layouts = self.prior.layouts
        return self.search.weights(layouts) if self.search else (RATE_WEIGHT,) * len(layouts)

    @torch.no_grad()
    def choose(self, latents, level):
        """(indices int64[G,N] of each slice, values f32[B,D,h,w]): the rate-aware choice of codewords."""
        return self.choose_by(latents, self.choice_bits(latents, level), level)

    @torch.no_grad()
    def choose_by(self, latents, wish, level):
        """As `choose`, for given bits f32[G,N,K] of each slice."""
        indices = [choose(split_groups(latents[:, s.dims], s.d), book, bits, weight)
                   for s, book, bits, weight in zip(self.prior.layouts, self.codebooks, wish, self.rate_weights)]
        return indices, self.masked(codewords_of(indices, self.codebooks, (len(latents), *latents.shape[2:])), level)

    @torch.no_grad()
    def searched(self, own, pixels, level, steps: int):
        """(latents f32[B,D,h,w] after `steps` of the encoder's search from its `own`, bits f32[G,N,K] of each slice): what
        codewords are to be chosen by."""
        if not steps:
            return own.detach(), self.choice_bits(own, level)
        moved, last = self.improve(self, own.detach(), pixels, level, steps)
        return self.masked(moved, level), list(self.prior.codeword_bits(last, level, self.codebooks))

    def vq_losses(self, pixels, level, beta: float, search: int = 0) -> Losses:
        """The search moves latents without gradient, and the encoder's own commit to the codewords: were the moved ones to
        commit, nothing would hold the encoder's, and training diverges."""
        own = self.analyse(pixels, level)
        moved, wish = self.searched(own, pixels, level, search)
        latents = own + (moved - own).detach()
        assigned = [q(latents[:, s.dims], bits, weight, own[:, s.dims])
                    for s, q, bits, weight in zip(self.prior.layouts, self.quantizers, wish, self.rate_weights)]
        values = self.masked(torch.cat([a.values for a in assigned], 1), level)
        bits = self.index_bits(latents, values, [a.indices for a in assigned], level)
        auxiliary = sum(a.codebook + beta * a.commitment for a in assigned) / self.patch
        return self._losses(bits, values, level, pixels, auxiliary)

    def index_bits(self, latents, values, indices, level):
        """Bits f32[B] of the chosen codewords, of the slices that are present. The prior learns from them; the latents (if they
        carry gradients) feel the rate through a soft assignment."""
        total = 0.0
        batch = latents.shape[0]
        for i, h in enumerate(self.prior.hidden(values, level)):
            s, book, chosen = self.prior.layouts[i], self.codebooks[i].detach(), indices[i]
            if s.d == 1:
                low, high = (edge.gather(1, chosen)[:, :, None] for edge in self.prior.cells(book))
                word = look_up(chosen, book)
                here = split_groups(values[:, s.dims], 1)  # equals `word`, and carries the latents' gradient
                mean, log_scale = self.prior.logistic(i, h)
                taken = logistic_bits(here, mean, log_scale, low - word, high - word).squeeze(2)
            else:
                bits = self.prior.categorical_bits(i, h)
                taken = bits.gather(2, chosen[:, :, None]).squeeze(2)
                if latents.requires_grad:
                    away = distances(split_groups(latents[:, s.dims], s.d), book)
                    weights = torch.softmax(-away / SOFT_ASSIGNMENT, 2)
                    felt = (weights * bits.detach().clamp(max=20)).sum(2)
                    taken = taken + felt - felt.detach()
            total = total + taken.reshape(s.groups, batch, -1).sum((0, 2)) * self.present[level.long(), i]
        return total

    def frozen_losses(self, pixels, level, search: int = 0, *, decoded: bool = False, amortised: bool = False) -> Losses:
        """Rate on frozen indices; if they are to be `decoded`, distortion. If `amortised` too, a term draws the encoder's
        latents to where the search has moved them, each squared unit at what the search takes it to be worth in bits. (A
        latent inside a codeword's cell is drawn to its best place there, where straight-through gradients push it on until
        it crosses into the next: distortion's gradient and commitment in their true proportion.)"""
        with nullcontext() if amortised else torch.no_grad():
            own = self.analyse(pixels, level)
        with torch.no_grad():
            latents, wish = self.searched(own, pixels, level, search)
            indices, values = self.choose_by(latents, wish, level)
        bits = self.index_bits(latents, values, indices, level)
        count = pixels[0, 0].numel()
        if not decoded:
            return Losses(bits / count, torch.zeros_like(bits))
        saved = 0.0
        if amortised:
            worth = self.search.curvatures(self.prior.layouts) / RATE_WEIGHT
            saved = (worth * (own - latents).square()).sum((1, 2, 3)) / count
        return self._losses(bits, values, level, pixels, saved=saved)


@torch.no_grad()
def start_codebooks(model: Model, batches, level_batches) -> None:
    """Fits every group's codebook to the latents of some batches by entropy-constrained Lloyd, and starts
    the categorical heads from them."""
    latents = [model.encoder(x, level) for x, level in zip(batches, level_batches)]
    for i, (s, q) in enumerate(zip(model.prior.layouts, model.quantizers)):
        vectors = torch.cat([split_groups(z[model.present[level.long(), i], s.dims], s.d)
                             for z, level in zip(latents, level_batches)], 1)
        books, shares = zip(*(vq.fit_codebook(v, s.codewords) for v in vectors))
        q.codebook.copy_(torch.stack(books))
        q.total.copy_(q.codebook)
        if s.d > 1:
            model.prior.heads[i].start_from(q.codebook, torch.stack(shares))
    centre_codebooks(model)


@torch.no_grad()
def centre_codebooks(model: Model) -> None:
    """In slices that are absent at low qualities the codeword nearest to zero becomes zero: what they hold where they are absent."""
    for i, q in enumerate(model.quantizers):
        if not model.present[:, i].all():
            least = q.codebook.square().sum(2).argmin(1)[:, None, None].expand(-1, 1, q.codebook.shape[2])
            for values in (q.codebook, q.total):
                values.scatter_(1, least, 0.0)
