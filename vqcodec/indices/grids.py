"""index grids int64[G,h,w] ⇄ segments: the prior and the range coder, hand in hand, over one band of a grid.

Pictures are coded band by band, sound chunk by chunk; what a band is, and what surrounds its segments in a file, is
the business of `codec.py` and `audio_codec.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from . import rangecoder
from .. import filelimits
from .cdf import CDF_BITS, Step
from .config import QuantizerConfig
from ..errors import CorruptStreamError, UsageError
from .prior import Prior
from .quality import SIXTEENTHS
from .quantize import SliceLayout, choose, dequantize, layouts, neighbours


class SegmentReader:
    """The segments of a payload, one after the other: joined, or (older streams) each with its length given.

    Every method raises CorruptStreamError for segments that no encoder writes."""

    def __init__(self, data: bytes, lengths: list[int] | None = None):
        self.data, self.position = data, 0
        self.lengths = None if lengths is None else iter(lengths)

    def read(self, cdf: torch.Tensor) -> torch.Tensor:
        """Symbols int64[N,G] under CDFs int32[N,G,A+1]."""
        start, table = self.position, cdf.reshape(-1, cdf.shape[2]).numpy()
        symbols, self.position = rangecoder.decode_segment(self.data, table, start)
        self._check_length(self.position - start, "a segment is damaged: it is not what an encoder writes")
        return torch.from_numpy(symbols).reshape(cdf.shape[:2])

    def skip(self) -> None:
        """A step without symbols."""
        self._check_length(0, "an empty step has bytes")

    def finish(self) -> None:
        if self.position != len(self.data):
            raise CorruptStreamError(f"{len(self.data) - self.position} bytes follow the last segment")

    def _check_length(self, length: int, message: str) -> None:
        if self.lengths is not None and next(self.lengths) != length:
            raise CorruptStreamError(message)


class GridCoder:
    """Bands of index grids under a model's prior and codebooks. Nothing changes after it is made."""

    def __init__(self, prior: Prior, codebooks: list[torch.Tensor], quantizer: QuantizerConfig):
        self.prior, self.codebooks, self.quantizer = prior, codebooks, quantizer
        self.layouts = layouts(quantizer)
        self.rest = [indices_at_rest(book) for book in codebooks]  # int64[G] of each slice

    @property
    def groups(self) -> int:
        return sum(s.groups for s in self.layouts)

    def dequantize(self, grids: torch.Tensor) -> torch.Tensor:
        """Index grids int64[B,G,h,w] → latents f32[B,D,h,w]."""
        return dequantize(grids, self.codebooks, self.quantizer)

    def present(self, sixteenths: int) -> int:
        """How many slices there are at a quality, if a stream does not say that there are fewer."""
        return sum(self.quantizer.present(sixteenths / SIXTEENTHS))

    def needed(self, grids: torch.Tensor) -> int:
        """How many slices of grids int64[G,h,w] there must be, one at least: those after them are at rest everywhere. (Models
        all of whose qualities have all slices are from before there could be fewer.)"""
        if not self.quantizer.from_quality:
            return len(self.layouts)
        for i in range(len(self.layouts) - 1, 0, -1):
            if (grids[self.layouts[i].planes] != self.rest[i][:, None, None]).any():
                return i + 1
        return 1

    def steps(self, slices: int) -> int:
        """Of so many slices, in a band."""
        return sum(s.phases for s in self.prior.slices[:slices])

    @torch.inference_mode()
    def choose(self, latents: torch.Tensor, sixteenths: int, weights: Sequence[float], slices: int | None = None):
        """Latents f32[D,h,w] → (index grids int64[G,h,w], segments); codewords of least distance² + weight·bits, with a weight
        for each slice. Only the first `slices` are chosen (all, if not given), the others are at rest."""
        segments, prices = [], self._prices(weights)

        def supply(step: Step) -> torch.Tensor:
            best = self._best_scalars if step.layout.d == 1 else self._best_vectors
            symbols, found = best(latents, step, prices[step.layout])
            segments.append(code_symbols(found))
            return symbols

        return self._walk(*latents.shape[1:], sixteenths, supply, lambda: segments.append(b""), slices), segments

    @torch.inference_mode()
    def code(self, grids: torch.Tensor, sixteenths: int, slices: int | None = None) -> list[bytes]:
        """Index grids int64[G,h,w] → segments, of the first `slices`. Raises UsageError for an index that the quality cannot
        use."""
        segments, part = [], grids.flatten(1)

        def supply(step: Step) -> torch.Tensor:
            symbols = part[step.layout.planes][:, step.positions].T - step.start
            if not ((symbols >= 0) & (symbols < step.size)).all():
                raise UsageError("index grids hold a codeword that this quality does not use")
            segments.append(code_symbols(step.entries(torch.stack([symbols, symbols + 1], 2))))
            return symbols

        self._walk(*grids.shape[1:], sixteenths, supply, lambda: segments.append(b""), slices)
        return segments

    @torch.inference_mode()
    def read(self, reader: SegmentReader, height: int, width: int, sixteenths: int, seen=None,
             slices: int | None = None) -> torch.Tensor:
        """The inverse of `code`. `seen(step, symbols, length)` is told of every step that has symbols, and of the
        bytes of its segment. Raises CorruptStreamError."""

        def supply(step: Step) -> torch.Tensor:
            before = reader.position
            symbols = reader.read(step.cdf)
            if seen:
                seen(step, symbols, reader.position - before)
            return symbols

        return self._walk(height, width, sixteenths, supply, reader.skip, slices)

    def _walk(self, height, width, sixteenths, supply, skip, slices: int | None = None) -> torch.Tensor:
        """Runs the prior; `skip()` stands in for `supply` in steps without positions, and in those of absent slices."""
        done = 0

        def skip_to(number):
            nonlocal done
            while done < number:
                skip()
                done += 1

        def counted(step):
            nonlocal done
            filelimits.tick()
            skip_to(step.number)
            done += 1
            return supply(step)

        grids = self.prior.code(height, width, sixteenths, counted, self.rest[slices:] if slices else ())
        skip_to(self.prior.steps)
        return grids

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


def indices_at_rest(codebook: torch.Tensor) -> torch.Tensor:
    """int64[G]: the codewords of f32[G,K,d] nearest to 0. Part of the format: summed dim by dim, so that rounding is the same
    everywhere."""
    return sum(dim.square() for dim in codebook.double().unbind(2)).argmin(1)


def bounds(entries: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """int32[...,2]: of entries int32[...,J] of CDFs those below and above the symbols int64[...]."""
    return entries.gather(-1, torch.stack([which, which + 1], -1))


def code_symbols(bounds: torch.Tensor) -> bytes:
    """A segment, of the `bounds` int32[N,G,2] of its symbols."""
    return rangecoder.encode_bounds(*bounds.flatten(0, 1).T.numpy())


def vectors_at(latents: torch.Tensor, layout: SliceLayout, positions: torch.Tensor) -> torch.Tensor:
    """f32[G,N,d]: the vectors of a slice of latents f32[D,h,w] at int64[N] positions."""
    return latents[layout.dims].reshape(layout.groups, layout.d, -1)[:, :, positions].permute(0, 2, 1)


def price_of_mass(weight: float) -> torch.Tensor:
    """f32[65537]: weight·bits of a symbol with that many 65536ths of the probability; infinite for none."""
    price = CDF_BITS - torch.log2(torch.arange((1 << CDF_BITS) + 1).float())
    price[1:] *= weight
    return price
