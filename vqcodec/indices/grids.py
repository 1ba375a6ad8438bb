"""index grids int64[G,h,w] ⇄ segments: the prior and the range coder, hand in hand, over one band of a grid.

Pictures are coded band by band, sound chunk by chunk; what a band is, and what surrounds its segments in a file, is
the business of each medium's `codec.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from . import rangecoder
from .. import filelimits
from .bounds import CDF_BITS
from .config import QuantizerConfig
from ..errors import CorruptStreamError, UsageError
from .network import Given, Prior
from .quality import SIXTEENTHS
from .layout import layouts
from .sampling import Sampler


LABELLED = 1 << 12  # positions of a band for which labels are looked for
TRIED = 256  # labels of all kinds together of which all are tried


class SegmentReader:
    """The segments of a payload, one after the other: joined, or (older streams) each with its length given.

    Every method raises CorruptStreamError for segments that no encoder writes."""

    def __init__(self, data: bytes, lengths: list[int] | None = None):
        self.data, self.position = data, 0
        self.lengths = None if lengths is None else iter(lengths)

    def labels(self, counts: tuple[int, ...]) -> tuple[int, ...]:
        """Those before the segments of a band, one of each kind, of which there are so many."""
        if not counts:
            return ()
        found = tuple(self.data[self.position : self.position + len(counts)])
        if self.lengths is not None or len(found) < len(counts) or any(n >= count for n, count in zip(found, counts)):
            raise CorruptStreamError("the labels are damaged: the model has no such ones")
        self.position += len(counts)
        return found

    def read(self, cdf: np.ndarray) -> np.ndarray:
        """Symbols int64[N,G] under CDFs int32[N,G,A+1]."""
        start, table = self.position, cdf.reshape(-1, cdf.shape[2])
        symbols, self.position = rangecoder.decode_segment(self.data, table, start)
        self._check_length(self.position - start, "a segment is damaged: it is not what an encoder writes")
        return symbols.reshape(cdf.shape[:2])

    def read_rows(self, rows: rangecoder.Rows) -> np.ndarray:
        """Symbols int64[N,G]."""
        start = self.position
        symbols, self.position = rangecoder.decode_rows(self.data, rows, start)
        self._check_length(self.position - start, "a segment is damaged: it is not what an encoder writes")
        return symbols

    def skip(self) -> None:
        """A step without symbols."""
        self._check_length(0, "an empty step has bytes")

    def finish(self) -> None:
        if self.position != len(self.data):
            raise CorruptStreamError(f"{len(self.data) - self.position} bytes follow the last segment")

    def _check_length(self, length: int, message: str) -> None:
        if self.lengths is not None and next(self.lengths) != length:
            raise CorruptStreamError(message)


class OneSegment:
    """As a `SegmentReader`, of a payload that is one segment, whose symbols are those of all steps."""

    def __init__(self, data: bytes):
        self.data, self.decoder = data, rangecoder.SegmentDecoder(data)

    @property
    def position(self) -> int:
        return self.decoder.length

    def labels(self, counts: tuple[int, ...]) -> tuple[int, ...]:
        """There are none before it."""
        return (0,) * len(counts)

    def read(self, cdf: np.ndarray) -> np.ndarray:
        return self.decoder.read(cdf.reshape(-1, cdf.shape[2])).reshape(cdf.shape[:2])

    def read_rows(self, rows: rangecoder.Rows) -> np.ndarray:
        return self.decoder.read_rows(rows)

    def skip(self) -> None:
        """A step without symbols."""

    def finish(self) -> None:
        if self.decoder.length != len(self.data) or not self.decoder.canonical:
            raise CorruptStreamError("a segment is damaged: it is not what an encoder writes")


class GridReader:
    """Bands of index grids under a model's prior and codebooks f32[G,K,d], arrays of NumPy; `choosing.GridCoder` is the same
    with tensors of torch. Nothing changes after it is made."""

    def __init__(self, prior: Prior, codebooks: list[np.ndarray], quantizer: QuantizerConfig):
        self.prior, self.codebooks, self.quantizer = prior, codebooks, quantizer
        self.layouts = layouts(quantizer)
        self.rest = [self.array(indices_at_rest(np.asarray(book))) for book in codebooks]  # int64[G] of each slice

    @property
    def groups(self) -> int:
        return sum(s.groups for s in self.layouts)

    def array(self, values: np.ndarray):
        """The same values, of the kind of array that the prior works on."""
        return self.prior.on.array(values)

    def joined(self, parts: list, axis: int):
        """Index grids int64 of that kind, one after the other. Empties the list, so that large ones do not take their memory twice."""
        if len(parts) == 1:
            return parts.pop()
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        whole, end = self.array(np.empty(shape, np.int64)), 0
        while parts:
            part = parts.pop(0)
            whole[(slice(None),) * axis + (slice(end, end := end + part.shape[axis]),)] = part
        return whole

    def dequantize(self, grids: np.ndarray, codebooks: list[np.ndarray] | None = None) -> np.ndarray:
        """Index grids int64[B,G,h,w] → latents f32[B,D,h,w]; codebooks: instead of the model's own."""
        parts = []
        for s, book in zip(self.layouts, codebooks or self.codebooks, strict=True):
            words = book[np.arange(s.groups)[:, None, None], grids[:, s.planes]]  # [B,G,h,w,d]
            parts.append(words.transpose(0, 1, 4, 2, 3).reshape(len(grids), -1, *grids.shape[2:]))
        return np.concatenate(parts, 1)

    def labels_before(self, payload: bytes) -> tuple[int, ...]:
        """Those of the first band of a payload that has been read."""
        return SegmentReader(payload).labels(self.prior.labels)

    def present(self, sixteenths: int) -> int:
        """How many slices there are at a quality, if a stream does not say that there are fewer."""
        return sum(self.quantizer.present(sixteenths / SIXTEENTHS))

    def needed(self, grids: np.ndarray) -> int:
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

    def given(self, labels: np.ndarray, first: np.ndarray | None, count: int) -> Given:
        """Positions that are not coded, as `labels` int[h,w] tell (below 0: coded): of the `count` columns that they name the
        indices of slice 0 are `first` int64[G,count] (None: at rest), the others at rest."""
        parts = [np.repeat(np.asarray(rest)[:, None], count, 1) for rest in self.rest]
        if first is not None:
            parts[0] = first
        return Given(labels, self.array(np.concatenate(parts)))

    def code(self, grids: np.ndarray, sixteenths: int, slices: int | None = None, given: Given | None = None, *, coded=None,
             labels: tuple[int, ...] | None = None, **seen) -> list:
        """Index grids int64[G,h,w] → segments, of the first `slices`, without what is `given`, with the labels that suit them best.
        coded: what is made of the bounds int32[N,G,2] of a step's symbols, if not a segment of its own (then there are no labels
        among them, but `labels` hold); seen: `reference` and `rest` of `_walk`. Raises UsageError for an index that the quality cannot use."""
        labels = self.best_labels(grids, sixteenths, slices, given, **seen) if coded is None else labels
        made = coded or code_symbols
        segments, part = [], grids.reshape(len(grids), -1)

        def supply(step) -> np.ndarray:
            symbols = part[step.layout.planes][:, step.positions].T - step.start
            if not ((symbols >= 0) & (symbols < step.size)).all():
                raise UsageError("index grids hold a codeword that this quality does not use")
            segments.append(made(step.bounds(symbols)))
            return symbols

        self._walk(*grids.shape[1:], sixteenths, supply, lambda: segments.append(made(NO_BOUNDS)), slices, given, labels, **seen)
        return labelled(segments, labels) if coded is None else segments

    def best_labels(self, grids, sixteenths: int, slices: int | None = None, given: Given | None = None, *,
                    price: Callable[[tuple[int, ...]], float] = lambda labels: 0.0, **seen) -> tuple[int, ...]:
        """Those with which grids int64[G,h,w] have the fewest bits: of all where they are few, else one kind after the other.
        None of large grids. price: bits that labels take themselves."""
        counts = self.prior.labels
        best = (0,) * len(counts)
        if not counts or grids.shape[1] * grids.shape[2] > LABELLED:
            return best

        def least(candidates):
            return min(candidates, key=lambda labels: price(labels) + self.bits(grids, sixteenths, slices, labels, given, **seen))

        if math.prod(counts) <= TRIED:
            return least(itertools.product(*map(range, counts)))
        for kind, count in enumerate(counts):
            best = least((*best[:kind], label, *best[kind + 1 :]) for label in range(count))
        return best

    def bits(self, grids, sixteenths: int, slices: int | None = None, labels: tuple[int, ...] | None = None,
             given: Given | None = None, **seen) -> float:
        """Ideal code length of grids int64[G,h,w]; infinite for an index that the quality cannot use."""
        part, total = grids.reshape(len(grids), -1), 0.0

        def supply(step):
            nonlocal total
            symbols = part[step.layout.planes][:, step.positions].T - step.start
            if not ((symbols >= 0) & (symbols < step.size)).all():
                total = np.inf
                return symbols * 0
            total += (CDF_BITS - np.log2(np.diff(np.asarray(step.bounds(symbols)), axis=2))).sum()
            return symbols

        self._walk(*grids.shape[1:], sixteenths, supply, lambda: None, slices, given, labels, **seen)
        return total

    def read(self, reader: SegmentReader, height: int, width: int, sixteenths: int, seen=None,
             slices: int | None = None, given: Given | None = None, *, labels: tuple[int, ...] | None = None, reference=None,
             rest=None) -> np.ndarray:
        """The inverse of `code`. labels: if they are not to be read. `seen(step, symbols, length)` is told of every step that has symbols, and of the
        bytes of its segment, with the labels before it. Raises CorruptStreamError."""
        ends = [reader.position]
        if labels is None and (given is None or given.coded.any()):
            labels = reader.labels(self.prior.labels)

        def supply(step) -> np.ndarray:
            before = ends.pop() if ends else reader.position
            symbols = self.symbols(reader, step)
            if seen:
                seen(step, symbols, reader.position - before)
            return symbols

        return self._walk(height, width, sixteenths, supply, reader.skip, slices, given, labels, reference=reference, rest=rest)

    def symbols(self, reader: SegmentReader, step) -> np.ndarray:
        """int64[N,G]: those of a step of the prior."""
        return reader.read_rows(step.rows)

    def draw(self, height: int, width: int, sixteenths: int, sampler: Sampler, *, top: int = 0, left: int = 0, known=None,
             kept: np.ndarray | None = None, slices: int | None = None, given: Given | None = None,
             labels: tuple[int, ...] | None = None, coded: bool = True, reference=None, rest=None):
        """(index grids int64[G,h,w], their segments), drawn, of a band whose first position is in row `top` and column `left` of
        the whole item. given, labels: as `Prior.code`; coded: segments are wanted; reference, rest: as `_walk`. Where `kept` bool[h,w],
        indices are those of `known` int64[G,h,w], which fit the quality."""
        segments = []
        stays = np.zeros(height * width, bool) if kept is None else kept.reshape(-1)
        old = None if known is None else np.asarray(known).reshape(len(known), -1)

        def supply(step):
            positions, free = np.asarray(step.positions), ~stays[np.asarray(step.positions)]
            symbols = np.empty((len(positions), step.layout.groups), np.int64)
            if not free.all():
                symbols[~free] = old[step.layout.planes][:, positions[~free]].T - np.asarray(step.start)
            drawn = positions[free]
            if len(drawn):
                symbols[free] = sampler.symbols(np.asarray(step.cdf)[free], drawn // width + top, drawn % width + left,
                                                step.layout.group)
            symbols = self.array(symbols)
            if coded:
                segments.append(code_symbols(step.bounds(symbols)))
            return symbols

        grids = self._walk(height, width, sixteenths, supply, lambda: segments.append(b""), slices, given, labels,
                           reference=reference, rest=rest)
        return grids, labelled(segments, labels or (0,) * len(self.prior.labels))

    def _walk(self, height, width, sixteenths, supply, skip, slices: int | None = None, given: Given | None = None,
              labels: tuple[int, ...] | None = None, *, reference=None, rest=None) -> np.ndarray:
        """Runs the prior; `skip()` stands in for `supply` in steps without positions, and in those of absent slices. reference: as
        `Prior.code` has it; rest: int64[G,h,w], what the absent slices hold, if not the codewords at rest."""
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

        absent = self.layouts[slices:] if slices is not None else ()
        held = [self.rest[self.layouts.index(s)] if rest is None else rest[s.planes].reshape(s.groups, -1) for s in absent]
        grids = self.prior.code(height, width, sixteenths, counted, held, given, labels, reference)
        skip_to(self.prior.steps)
        return grids


def indices_at_rest(codebook: np.ndarray) -> np.ndarray:
    """int64[G]: the codewords of f32[G,K,d] nearest to 0. Part of the format: summed dim by dim, so that rounding is the same
    everywhere."""
    return sum(codebook[:, :, i].astype(np.float64) ** 2 for i in range(codebook.shape[2])).argmin(1)


def labelled(segments: list[bytes], labels: tuple[int, ...]) -> list[bytes]:
    """The segments of a band, the first that is there with the labels before it."""
    first = next((i for i, segment in enumerate(segments) if segment), None)
    return segments if first is None else [*segments[:first], bytes(labels) + segments[first], *segments[first + 1 :]]


NO_BOUNDS = np.zeros((0, 0, 2), np.int32)  # of a step without symbols


def flat(bounds) -> np.ndarray:
    """int32[N·G,2] of the `bounds` int32[N,G,2] of symbols."""
    return np.asarray(bounds).reshape(-1, 2)


def code_symbols(bounds) -> bytes:
    """A segment, of the `bounds` int32[N,G,2] of its symbols."""
    return rangecoder.encode_bounds(*flat(bounds).T)
