"""latents → index grids and segments: the encoder's choice of codewords, which goes along with the prior. In torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .cdf import CDF_BITS, Step
from .grids import NO_BOUNDS, GridReader, SegmentReader, code_symbols, labelled
from .layout import SliceLayout
from .network import Given
from .quantize import choose, dequantize, neighbours


class GridCoder(GridReader):
    """A `GridReader` of torch that encodes too: `prior.Prior` and codebooks are tensors, as are all grids and latents."""

    def dequantize(self, grids: torch.Tensor) -> torch.Tensor:
        """Index grids int64[B,G,h,w] → latents f32[B,D,h,w]."""
        return dequantize(grids, self.codebooks, self.quantizer)

    def symbols(self, reader: SegmentReader, step: Step) -> torch.Tensor:
        return self.array(reader.read(step.cdf.numpy()))

    @torch.inference_mode()
    def choose(self, latents: torch.Tensor, sixteenths: int, weights: Sequence[float], slices: int | None = None,
               given: Given | None = None, *, coded=None, labels: tuple[int, ...] | None = None, **seen):
        """Latents f32[D,h,w] → (index grids int64[G,h,w], segments); codewords of least distance² + weight·bits, with a weight
        for each slice. Only the first `slices` are chosen (all, if not told), the others are at rest, and what is
        `given` stays. Of labels those that suit the codewords best that are chosen without. coded, labels, seen: as in `code`."""
        grids, segments = self._choose(latents, sixteenths, weights, slices, given, labels if coded else None, coded, seen)
        if coded is not None:
            return grids, segments
        labels = self.best_labels(grids, sixteenths, slices, given, **seen)
        if any(labels):
            grids, segments = self._choose(latents, sixteenths, weights, slices, given, labels, coded, seen)
        return grids, labelled(segments, labels)

    def _choose(self, latents, sixteenths, weights, slices, given, labels, coded, seen):
        segments, prices, coded = [], self._prices(weights), coded or code_symbols

        def supply(step: Step) -> torch.Tensor:
            best = self._best_scalars if step.layout.d == 1 else self._best_vectors
            symbols, found = best(latents, step, prices[step.layout])
            segments.append(coded(found))
            return symbols

        return self._walk(*latents.shape[1:], sixteenths, supply, lambda: segments.append(coded(NO_BOUNDS)), slices, given, labels,
                          **seen), segments

    def _prices(self, weights: Sequence[float]) -> dict[SliceLayout, torch.Tensor]:
        """The table of `price_of_mass` of each slice."""
        tables = {weight: price_of_mass(weight) for weight in set(weights)}  # mostly one serves all
        return {s: tables[weight] for s, weight in zip(self.layouts, weights, strict=True)}

    def _best_scalars(self, latents: torch.Tensor, step: Step, price: torch.Tensor):
        """(symbols int64[N,G] of least distance² + price for latents f32[D,h,w] of the band, their bounds int32[N,G,2])."""
        s = step.layout
        book = self.codebooks[self.layouts.index(s)]
        vectors = vectors_at(latents, s, step.positions)
        first, count = neighbours(choose(vectors, book).T, step.start, step.size, s.codewords)
        number = first[:, :, None] + torch.arange(count + 1)
        words = book.squeeze(2).expand(len(first), -1, -1).gather(2, number[:, :, :-1])
        entries = step.entries(number.sub_(step.start[:, None]))
        prices = price.index_select(0, entries.diff(dim=2).view(-1)).view(words.shape)
        best = prices.add_(words.sub_(vectors.permute(1, 0, 2)).square_()).argmin(2)
        return first - step.start + best, bounds(entries, best)

    def _best_vectors(self, latents: torch.Tensor, step: Step, price: torch.Tensor):
        """As `_best_scalars`, for groups of several dims."""
        s = step.layout
        vectors = vectors_at(latents, s, step.positions)
        book = self.codebooks[self.layouts.index(s)][:, : int(step.size.max())]  # these alphabets start at 0
        symbols, found = [], []
        for rows, cdf in step.parts():
            mass = cdf.diff(dim=2)
            prices = price.index_select(0, mass.view(-1)).view(mass.shape)
            symbols.append(choose(vectors[:, rows], book, prices, weight=1.0))
            found.append(bounds(cdf, symbols[-1]))
        return torch.cat(symbols, 1).T, torch.cat(found, 1).transpose(0, 1)


def bounds(entries: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """int32[...,2]: of entries int32[...,J] of CDFs those below and above the symbols int64[...]."""
    return entries.gather(-1, torch.stack([which, which + 1], -1))


def vectors_at(latents: torch.Tensor, layout: SliceLayout, positions: torch.Tensor) -> torch.Tensor:
    """f32[G,N,d]: the vectors of a slice of latents f32[D,h,w] at int64[N] positions."""
    return latents[layout.dims].reshape(layout.groups, layout.d, -1)[:, :, positions].permute(0, 2, 1)


def price_of_mass(weight: float) -> torch.Tensor:
    """f32[65537]: weight·bits of a symbol with that many 65536ths of the probability; infinite for none."""
    price = CDF_BITS - torch.log2(torch.arange((1 << CDF_BITS) + 1).float())
    price[1:] *= weight
    return price
