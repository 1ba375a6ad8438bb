"""codewords → prices of all that could stand in their place, and the gradient of what they make the others cost.

What the encoder's search (`refine.py`) asks of the prior, in one pass of the float network over all steps instead of one walk
of the integer one: it need not be exact, since the stream is made afterwards by the integer prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.autograd.function import once_differentiable

from .. import filelimits
from .context import fast_arithmetic, logistic_bits
from .float_prior import BITS, ContextPrior
from .network import Given
from .quantize import SliceLayout, choose, codewords_of, join_groups, look_up, nearest, neighbours, split_groups

CHUNK = 1 << 20  # prices computed at a time

Indices = list[torch.Tensor]  # of each slice int16[G, B·h·w], positions in batch, row, column order


@dataclass(frozen=True)
class Shortlist:
    """What the latents of a slice may become, and at what price f16[G,n,C] (parts of the positions), squared latent units.

    Of slices of single dims C codewords f32[G,N,C] from `first` int16[G,N] on, else all f32[G,C,d]."""

    layout: SliceLayout
    first: torch.Tensor | None
    words: torch.Tensor
    prices: list[torch.Tensor]

    def choose(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(indices int16[G,N], codewords f32[G,N,d]) of least distance² + price for f32[G,N,d]."""
        if self.first is None:
            parts = vectors.split([prices.shape[1] for prices in self.prices], 1)
            indices = torch.cat([choose(part, self.words, prices, weight=1.0) for part, prices in zip(parts, self.prices)], 1)
            return indices.short(), look_up(indices, self.words)
        cost = (self.words - vectors).square_().add_(torch.cat([prices.float() for prices in self.prices], 1))
        offset = cost.argmin(2)
        return self.first + offset.short(), self.words.gather(2, offset[:, :, None])


class Held:
    """The indices of a band that are given."""

    def __init__(self, given: Given, layouts: Sequence[SliceLayout]):
        labels = torch.from_numpy(given.labels.ravel())
        self.where = (labels >= 0).nonzero().squeeze(1)
        self.coded = (labels < 0).float()[:, None]  # f32[h·w,1]
        self.indices = [given.indices[s.planes][:, labels[self.where]] for s in layouts]
        self.shape = given.labels.shape

    def hold(self, indices: Indices) -> None:
        """Puts them in their place."""
        for numbers, own in zip(indices, self.indices):
            numbers[:, self.where] = own.to(numbers.dtype)

    def hold_words(self, i: int, words: torch.Tensor, codebook: torch.Tensor) -> None:
        """Likewise, into the codewords f32[1,D',h,w] of slice i."""
        own = look_up(self.indices[i], codebook)  # [G,n,d]
        words.view(len(own), own.shape[2], -1)[:, :, self.where] = own.permute(0, 2, 1)


class Slope(torch.autograd.Function):
    """A scalar, 0, whose gradient by a tensor is `slope`, of the same shape. (To be given the gradients by anything but scalars
    torch imports a system of symbolic algebra, which takes 0.2 s.)"""

    @staticmethod
    def forward(ctx, tensor, slope):
        ctx.save_for_backward(slope)
        return tensor.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0], None


class Rates:
    """The prior as the search sees it, at one quality.

    weights: squared latent units that a bit is worth, for each slice; level f32[B]; bands: rows that are coded apart, all if
    not given; windows: (first codeword, number of codewords), int64[G] each, of each slice, that the quality may use, all if
    not given; keep: remember prices from one renewal to the next; present: bool[B,slices], all if not given: absent slices are
    zeros, and cost nothing; given: positions (of one grid, not of several) that are not chosen, and cost nothing."""

    def __init__(self, prior: ContextPrior, codebooks: Sequence[torch.Tensor], weights: Sequence[float], level: torch.Tensor, *,
                 bands: Sequence[slice] = (slice(None),), windows=None, keep: bool = True,
                 present: torch.Tensor | None = None, given: Given | None = None):
        self.layouts, self.present = prior.layouts, None
        if present is not None:
            self.layouts = prior.layouts[: int(present.any(0).sum())]
            self.present = None if present[:, : len(self.layouts)].all() else present
        self.prior, self.codebooks, self.weights, self.level = prior, codebooks, weights, level
        self.bands, self.keep = bands, keep
        whole = [(torch.zeros(s.groups, dtype=torch.int64), torch.full((s.groups,), s.codewords)) for s in prior.layouts]
        self.windows = windows or whole
        self.cells = [prior.cells(book) if s.d == 1 else None for s, book in zip(self.layouts, codebooks)]
        self.lists = [[] for _ in bands]
        self.held = [None if given is None else Held(Given(given.labels[rows], given.indices), self.layouts) for rows in bands]

    @torch.no_grad()
    def nearest(self, latents: torch.Tensor) -> list[Indices]:
        """For each band the codewords nearest to latents f32[B,D,h,w], prices aside."""
        books, result = self.codebooks[: len(self.layouts)], []
        for rows, held in zip(self.bands, self.held):
            result.append([indices.short() for indices in nearest(latents[:, :, rows], books, self.layouts)])
            if held:
                held.hold(result[-1])
        return result

    @torch.no_grad()
    def bits(self, latents: torch.Tensor, indices: list[Indices]) -> float:
        """Ideal code length of codewords, chosen for each band of latents f32[1,D,h,w]."""
        total = 0.0
        for rows, band, held in zip(self.bands, indices, self.held):
            whole = [numbers.long() for numbers in band]
            values = codewords_of(whole, self.codebooks[: len(self.layouts)], (1, *latents[:, :, rows].shape[2:]))
            with fast_arithmetic():
                for i, h in enumerate(self.prior.hidden(values, self.level)):
                    one = self._scalar_bits if self.prior.layouts[i].d == 1 else self._vector_bits
                    total += one(i, h, whole[i], None if held is None else held.coded)
        return total

    @torch.no_grad()
    def choose(self, latents: torch.Tensor, before: list[Indices], renew: bool, gradient: torch.Tensor):
        """(codewords f32[B,D,h,w] of least distance² + price for latents, same; their indices, for each band). To `renew`
        prices they become those beside the codewords chosen `before`, and `gradient`, of the same shape, that of all bits by
        what the prior sees."""
        values, indices = torch.zeros_like(latents), []
        for rows, old, lists, held in zip(self.bands, before, self.lists, self.held):
            filelimits.tick()
            band = latents[:, :, rows]
            if renew or not self.keep:
                lists[:] = []  # the old ones go before new ones come
                lists[:] = self._look(old, gradient[:, :, rows], held)
            chosen = [entry.choose(split_groups(band[:, entry.layout.dims], entry.layout.d)) for entry in lists]
            for i, (entry, (_, words)) in enumerate(zip(lists, chosen)):
                here = join_groups(words, (len(band), *band.shape[2:]))
                if held:
                    held.hold_words(i, here, self.codebooks[i])
                values[:, entry.layout.dims, rows] = here if self.present is None else here * self.present[:, i, None, None, None]
            indices.append([numbers for numbers, _ in chosen])
            if held:
                held.hold(indices[-1])
            if not self.keep:
                lists[:] = []
        return values, indices

    def _look(self, indices: Indices, gradient: torch.Tensor, held: Held | None = None) -> list[Shortlist]:
        """The shortlists beside codewords; fills `gradient` f32[B,D,h,w], by what the prior sees only: what a codeword
        itself costs is in the prices."""
        whole = [numbers.long() for numbers in indices]
        values = codewords_of(whole, self.codebooks[: len(self.layouts)], (len(gradient), *gradient.shape[2:]))
        if self.present is not None:
            for i, s in enumerate(self.layouts):
                values[:, s.dims] *= self.present[:, i, None, None, None]
        values.requires_grad_()
        lists, outputs, slopes = [], [], []
        with torch.enable_grad(), fast_arithmetic(values.device.type):
            for i, h in enumerate(self.prior.hidden(values, self.level)):
                one = self._scalar if self.prior.layouts[i].d == 1 else self._vector
                output, slope, entry = one(i, h, whole[i])
                if self.present is not None:
                    counted = self.present[:, i].repeat_interleave(h[0, 0].numel())[:, None]
                    slope = [each * counted for each in slope]
                if held:
                    slope = [each * held.coded for each in slope]
                outputs += output
                slopes += slope
                lists.append(entry)
            total = sum(map(Slope.apply, outputs, slopes))
            gradient[:, : values.shape[1]] = torch.autograd.grad(total, values)[0]
        return lists

    def _scalar(self, i: int, h: torch.Tensor, indices: torch.Tensor):
        """(outputs of the network, gradients of the bits of the chosen by them, shortlist) of a slice of single dims."""
        s, (low, high), words = self.prior.layouts[i], self.cells[i], self.codebooks[i].squeeze(2)
        outputs = tuple(self.prior.logistic(i, h))
        own = [output.detach().requires_grad_() for output in outputs]
        here = (edges.gather(1, indices)[:, :, None] for edges in (low, high))
        slopes = torch.autograd.grad(logistic_bits(0.0, *own, *here).sum(), own)
        with torch.no_grad():
            start, size = (bound[:, None] for bound in self.windows[i])
            first, count = neighbours(indices, start, size, s.codewords)
            near = first[:, :, None] + torch.arange(count)
            low, high, words = (table.gather(1, near.flatten(1)).view(near.shape) for table in (low, high, words))
            prices = logistic_bits(0.0, *own, low, high).mul_(self.weights[i])
            prices.masked_fill_((near < start[:, :, None]) | (near >= (start + size)[:, :, None]), torch.inf)
        return outputs, slopes, Shortlist(s, first.short(), words, [prices.half()])

    def _vector(self, i: int, h: torch.Tensor, indices: torch.Tensor):
        """As `_scalar`, of a slice of several dims per group."""
        s, head, (_, size) = self.prior.layouts[i], self.prior.heads[i], self.windows[i]
        width = int(size.max())
        output = head.coefficients(h, self.prior.mode == "quantized")
        unused = (torch.arange(width) >= size[:, None])[:, None]
        vectors, offset = head.vectors.detach()[:, :width], head.offset.detach()[:, None, :width].masked_fill(unused, -torch.inf)
        prices, means = [], []
        with torch.no_grad():
            for part in output.detach().split(max(1, CHUNK // (s.groups * width)), 1):
                logs = torch.log_softmax(torch.baddbmm(offset, part, vectors.mT), 2)
                prices.append((logs * (-BITS * self.weights[i])).half())
                means.append(logs.exp_() @ vectors)
            slope = torch.cat(means, 1).sub_(look_up(indices, head.vectors)).mul_(BITS)
        return (output,), (slope,), Shortlist(s, None, self.codebooks[i][:, :width], prices)

    def _scalar_bits(self, i: int, h: torch.Tensor, indices: torch.Tensor, coded: torch.Tensor | None) -> float:
        here = (edges.gather(1, indices)[:, :, None] for edges in self.cells[i])
        bits = logistic_bits(0.0, *self.prior.logistic(i, h), *here)
        return (bits if coded is None else bits * coded).double().sum().item()

    def _vector_bits(self, i: int, h: torch.Tensor, indices: torch.Tensor, coded: torch.Tensor | None) -> float:
        s, head, total = self.prior.layouts[i], self.prior.heads[i], 0.0
        output, size = head.coefficients(h, self.prior.mode == "quantized"), max(1, CHUNK // (s.groups * s.codewords))
        counted = torch.ones(indices.shape[1], 1) if coded is None else coded
        for part, chosen, here in zip(output.split(size, 1), indices.split(size, 1), counted.split(size)):
            logits = torch.baddbmm(head.offset[:, None, :], part, head.vectors.mT)
            logs = logits.gather(2, chosen[:, :, None]).squeeze(2) - logits.logsumexp(2)
            total -= BITS * (logs * here[:, 0]).double().sum().item()
        return total
