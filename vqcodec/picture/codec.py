"""Composes the stages; the only place that knows their order.

    Picture → encoder → latents → codewords ┐                     ┌ codewords → decoder → Picture
                                            ├ prior ⇄ range coder ┤
                          Stream → bytes ───┘                     └─── bytes → Stream

Long grids are coded in bands of rows, and pictures are transformed in strips with halos, so that memory does
not grow with the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from .. import filelimits
from . import search as refine
from . import stream as streams
from .alpha import decode_alpha, encode_alpha
from ..indices.cdf import CDF_BITS, Step
from .config import REMEMBERED_PIXELS, ModelConfig
from ..indices.context import fast_arithmetic
from ..guard import guarded, more_threads
from ..errors import CorruptStreamError, UnsupportedError, UsageError
from ..indices.float_prior import ContextPrior
from ..indices.grids import GridCoder, SegmentReader
from ..zoo.loading import ModelKind, load_model
from .file import Picture
from ..indices.prior import Prior
from ..process import keep_freed_memory
from ..stream import grids_crc
from ..indices.quality import SIXTEENTHS, checked_quality, checked_sixteenths, quality_of
from ..indices.rates import Rates
from ..indices.target import Estimate, Goal, reach
from ..zoo.registry import ModelEntry
from .psnr import psnr as measure
from .transform import PATCH, Decoder, Encoder, halo, samples

BAND_POSITIONS = 1 << 14  # grid positions per band; part of the format, see bitstream_spec.md
STRIP_PIXELS = 1 << 21  # pixels per strip in the transforms; not part of the format
# What encodes give more than estimates of their rate (its logarithm) and PSNR (dB), at efforts 0, 1, and more; of photo-3.
FIXED_BYTES = 40  # of a stream, about
RATE_BIAS, PSNR_BIAS = (-0.2, -0.06, -0.06), (-0.3, 0.5, 1.1)
Progress = Callable[[str], None]
KIND = ModelKind("image", ModelConfig, Encoder, Decoder, searches=True)


@dataclass(frozen=True)
class Encoded:
    """A .vq file, the quality it was made at, its bits per pixel, and a note when a target was out of reach."""

    data: bytes
    quality: float
    bpp: float
    note: str | None = None


def bands(height: int, width: int) -> list[tuple[int, int]]:
    """Rows [top, bottom) of each band of a grid: as many whole rows as BAND_POSITIONS allow, at least two."""
    rows = max(2, BAND_POSITIONS // width // 2 * 2)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


class Codec:
    """A loaded model. Thread-safe: nothing changes after `open`."""

    def __init__(self, entry: ModelEntry, model: ModelConfig, coder: GridCoder, decoder: Decoder, encoder: Encoder | None,
                 context: ContextPrior | None):
        self.entry, self.model, self.coder = entry, model, coder
        self.decoder, self.encoder, self.context = decoder, encoder, context

    @classmethod
    @guarded
    def open(cls, entry: ModelEntry, *, encoder: bool = True) -> Codec:
        """Loads a model. Raises UnsupportedError when `encoder` is asked of a decoder-only model, or for a model of
        something else than images."""
        keep_freed_memory()
        parts = load_model(entry, encoder, KIND)
        return cls(entry, parts.config, parts.coder, parts.decoder, parts.encoder, parts.context)

    @property
    def qualities(self) -> int:
        return len(self.model.transform.lambdas)

    # --- pixels ⇄ latents, in strips ---------------------------------------------------------------------

    @guarded
    @torch.inference_mode()
    def latents(self, rgb: np.ndarray, sixteenths: int) -> torch.Tensor:
        """uint8[H,W,3] → latents f32[1,D,h,w], the picture padded to whole patches by its edge."""
        height, width = rgb.shape[:2]
        rows, columns = -(-height // PATCH), -(-width // PATCH)
        level = torch.tensor([sixteenths / SIXTEENTHS], dtype=torch.float32)
        reach, _ = halo(self.model.transform)
        parts = []
        for top, bottom in strips(rows, columns):
            filelimits.tick()
            first, last = max(0, top - reach), min(rows, bottom + reach)
            piece = rgb[first * PATCH : min(last * PATCH, height)]
            padding = ((0, (last - first) * PATCH - len(piece)), (0, columns * PATCH - width), (0, 0))
            y = self.encoder(samples(np.pad(piece, padding, mode="edge")), level)
            parts.append(y[:, :, top - first : bottom - first])
        return torch.cat(parts, 2)

    @guarded
    @torch.inference_mode()
    def pixels(self, grids: torch.Tensor, height: int, width: int, sixteenths: int,
               progress: Progress = lambda text: None) -> np.ndarray:
        """Index grids int64[G,h,w] → uint8[height,width,3]."""
        rows, columns = grids.shape[1:]
        level = torch.tensor([sixteenths / SIXTEENTHS], dtype=torch.float32)
        _, reach = halo(self.model.transform)
        out = np.empty((height, width, 3), np.uint8)
        pieces = strips(rows, columns)
        for number, (top, bottom) in enumerate(pieces, 1):
            filelimits.tick()
            progress(f"pixels, strip {number} of {len(pieces)}")
            first, last = max(0, top - reach), min(rows, bottom + reach)
            y = self.coder.dequantize(grids[None, :, first:last])
            with more_threads() if len(pieces) > 1 else nullcontext():
                x = self.decoder(y.contiguous(memory_format=torch.channels_last), level)[0]
            x = x[:, (top - first) * PATCH : (bottom - first) * PATCH, :width]
            x = x.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(1, 2, 0).numpy()
            out[top * PATCH : bottom * PATCH] = x[: height - top * PATCH]
        return out

    # --- index grids ⇄ segments, in bands -------------------------------------------------------------------

    def _choose_and_code(self, latents: torch.Tensor, sixteenths: int, weights: tuple[float, ...], progress: Progress):
        """Latents f32[1,D,h,w] → (index grids int64[G,h,w], segments); as `GridCoder.choose`. Of the last slices, those that
        are at rest everywhere have no bytes."""
        slices = self.coder.present(sixteenths)
        results, pieces = [], bands(*latents.shape[2:])
        for number, (top, bottom) in enumerate(pieces, 1):
            progress(f"coding, band {number} of {len(pieces)}")
            results.append(self.coder.choose(latents[0, :, top:bottom], sixteenths, weights, slices))
        grids = torch.cat([grids for grids, _ in results], 1)
        kept = self.coder.steps(self.coder.needed(grids))
        return grids, tuple(s if i < kept else b"" for _, segments in results for i, s in enumerate(segments))

    @guarded
    def code_grids(self, grids: torch.Tensor, sixteenths: int) -> tuple[bytes, ...]:
        """Index grids int64[G,h,w] → segments. Raises UsageError for an index that the quality cannot use."""
        slices = self.coder.needed(grids)
        if slices > self.coder.present(sixteenths):
            raise UsageError("index grids hold slices that this quality does not have")
        return tuple(segment for top, bottom in bands(*grids.shape[1:])
                     for segment in self.coder.code(grids[:, top:bottom], sixteenths, slices))

    def _read_grids(self, stream: streams.Stream, seen=None, progress: Progress = lambda text: None) -> torch.Tensor:
        """Index grids int64[G,h,w] of a stream; `seen(step, symbols, length, top)` is told of every step that has
        symbols, of the bytes of its segment, and of the first row of its band."""
        rows, columns = -(-stream.height // PATCH), -(-stream.width // PATCH)
        pieces = bands(rows, columns)
        quality = checked_quality(stream.quality, self.qualities)
        slices = self.coder.present(quality)
        if stream.slices is not None and stream.slices >= slices:
            raise CorruptStreamError(f"{stream.slices} slices are not fewer than this quality has, {slices}")
        slices = stream.slices or slices
        reader = segment_reader(stream, len(pieces), self.coder.prior, slices)
        parts = []
        for number, (top, bottom) in enumerate(pieces, 1):
            progress(f"reading, band {number} of {len(pieces)}")
            parts.append(self.coder.read(reader, bottom - top, columns, quality, seen and partial(seen, top=top), slices))
        grids = torch.cat(parts, 1)
        reader.finish()
        if grids_crc(grids.numpy()) != stream.grids_crc:
            raise CorruptStreamError("checksum of the index grids does not match: the stream is damaged")
        return grids

    # --- whole pictures ----------------------------------------------------------------------------------

    @guarded
    def search(self, rgb: np.ndarray, sixteenths: int, effort: int, progress: Progress = lambda text: None):
        """uint8[H,W,3] → (index grids int64[G,h,w], segments), the better the greater the effort (see `search.py`)."""
        search = refine.SEARCHES[self.model.transform.distortion]
        weights = search.weights(self.coder.layouts)
        steps = search.steps[effort] if refine.applicable(self.model.transform, *rgb.shape[:2]) else 0
        with more_threads():
            latents = self._searched(rgb, sixteenths, steps, search, weights, progress)
        return self._choose_and_code(latents, sixteenths, weights, progress)

    def _searched(self, rgb: np.ndarray, sixteenths: int, steps: int, search: refine.Search, weights,
                  progress: Progress) -> torch.Tensor:
        """uint8[H,W,3] → latents f32[1,D,h,w], after `steps` improvements."""
        with fast_arithmetic() if steps else nullcontext():
            latents = self.latents(rgb, sixteenths)
        if not steps:
            return latents
        keep = rgb.shape[0] * rgb.shape[1] <= REMEMBERED_PIXELS
        at = 0

        def begin(step: int) -> None:
            nonlocal at
            at = step
            progress(f"search, step {at + 1} of {steps}")

        gradient = refine.DistortionGradient(
            self.decoder, self.model.transform, rgb, sixteenths / SIXTEENTHS, keep=keep,
            told=lambda part: progress(f"search, step {at + 1} of {steps}, {part:.0%}") if part < 1 else None)
        return refine.refine(latents, steps, search, self._rates(latents, sixteenths, weights, keep), gradient, begin)[0]

    def _rates(self, latents: torch.Tensor, sixteenths: int, weights, keep: bool) -> Rates:
        """The prior as encoders ask it, of latents f32[1,D,h,w]."""
        level = sixteenths / SIXTEENTHS
        return Rates(self.context, self.coder.codebooks, weights, torch.tensor([level], dtype=torch.float32),
                     bands=[slice(top, bottom) for top, bottom in bands(*latents.shape[2:])],
                     windows=self.coder.prior.windows(sixteenths), keep=keep,
                     present=torch.tensor([self.model.quantizer.present(level)]))

    @torch.inference_mode()
    def _estimate(self, picture: Picture, sixteenths: int, of_psnr: bool) -> float:
        """Bits or PSNR of a picture, about: with the codewords nearest to its latents, and by the float twin of the prior."""
        with more_threads(), fast_arithmetic():
            latents = self.latents(picture.rgb, sixteenths)
        rates = self._rates(latents, sixteenths, [0.0] * len(self.coder.layouts), False)
        indices = rates.nearest(latents)
        if not of_psnr:
            return rates.bits(latents, indices)
        grids = []
        for rows, band in zip(rates.bands, indices):
            shape = latents[0, 0, rows].shape
            at_rest = [rest.short()[:, None].expand(-1, shape.numel()) for rest in self.coder.rest[len(band):]]
            grids.append(torch.cat([*band, *at_rest]).long().unflatten(1, shape))
        return measure(picture.rgb, self._as_decoded(torch.cat(grids, 1), *picture.rgb.shape[:2], sixteenths, picture.grey))

    @guarded
    def encode(self, picture: Picture, quality: float, *, effort: int | None = None,
               metadata: bytes | None = None, progress: Progress = lambda text: None) -> Encoded:
        """Picture → .vq file. `quality` in 1..`qualities`, in sixteenths; `effort` in 0..5: how long to look for
        better codewords (see `search.py`; None: as long as is usual for its size); `metadata` as `vqcodec.metadata` packs
        them; `progress` is told how far it is. Raises UsageError outside of that."""
        effort = self._check_encoding(picture, effort)
        sixteenths = checked_sixteenths(quality, self.qualities)
        grids, segments = self.search(picture.rgb, sixteenths, effort, progress)
        alpha = None if picture.alpha is None else encode_alpha(picture.alpha)
        return self._packed(grids, segments, *picture.rgb.shape[:2], sixteenths, picture.grey, alpha, metadata)

    def _check_encoding(self, picture: Picture, effort: int | None) -> int:
        """The effort to use. Raises UnsupportedError, UsageError."""
        if self.encoder is None:
            raise UnsupportedError(f"model '{self.entry.name}' was opened without its encoder: it cannot encode")
        check_size(*picture.rgb.shape[1::-1], self.coder.prior.steps)
        return refine.checked_effort(effort, *picture.rgb.shape[:2])

    @guarded
    def encode_tokens(self, grids, width: int, height: int, quality: float, *, grey: bool = False) -> Encoded:
        """Index grids int[G,h,w] → .vq file of a width×height picture. The inverse of `decode_grids`."""
        sixteenths = checked_sixteenths(quality, self.qualities)
        check_size(width, height, self.coder.prior.steps)
        grids = np.asarray(grids)
        if grids.dtype.kind not in "iu":
            raise UsageError(f"index grids must be integers, not {grids.dtype}")
        grids = torch.from_numpy(grids.astype(np.int64))
        expected = (self.coder.groups, -(-height // PATCH), -(-width // PATCH))
        if tuple(grids.shape) != expected:
            raise UsageError(f"index grids must have shape {expected}, not {tuple(grids.shape)}")
        return self._packed(grids, self.code_grids(grids, sixteenths), height, width, sixteenths, grey, None)

    def _packed(self, grids, segments, height, width, sixteenths, grey, alpha, metadata=None) -> Encoded:
        slices = self.coder.needed(grids)
        data = streams.pack(streams.Stream(
            slices=slices if slices < self.coder.present(sixteenths) else None,
            grey=grey, alpha=alpha, metadata=metadata, width=width, height=height, quality=sixteenths, model_id=self.entry.id,
            model_hash=self.entry.hash, grids_crc=grids_crc(grids.numpy()),
            joined=True, segments=(b"".join(segments),)))
        return Encoded(data, quality_of(sixteenths), 8 * len(data) / (width * height))

    @guarded
    def encode_to_target(self, picture: Picture, *, bpp: float | None = None, psnr: float | None = None,
                         size: int | None = None, effort: int | None = None, metadata: bytes | None = None,
                         progress: Progress = lambda text: None) -> Encoded:
        """Of the one target given: the quality whose PSNR is nearest, one whose rate is within 3 % or else nearest, or for
        `size` (bytes), an upper bound, one whose result is within 3 % below it, or else nearest. Mostly by one or two encodes
        (see `indices/target.py`)."""
        if sum(t is not None for t in (bpp, psnr, size)) != 1:
            raise UsageError("give exactly one of bpp, psnr and size")
        goal = (Goal(psnr, "dB", decibels=True) if psnr is not None else Goal(bpp, "bpp") if bpp is not None
                else Goal(float(size), "bytes", upper_bound=True))
        effort = self._check_encoding(picture, effort)
        height, width = picture.rgb.shape[:2]
        alpha = None if picture.alpha is None else encode_alpha(picture.alpha)
        overhead = FIXED_BYTES + len(alpha or b"") + len(metadata or b"")

        def value(length: float) -> float:
            return 8 * length / (width * height) if bpp is not None else length

        def expected(sixteenths: int) -> float:
            found = self._estimate(picture, sixteenths, psnr is not None)
            return found if psnr is not None else value(overhead + found / 8)

        def attempt(sixteenths: int) -> tuple[Encoded, float]:
            grids, segments = self.search(picture.rgb, sixteenths, effort, lambda text: progress(
                f"trying quality {quality_of(sixteenths):g}: {text}"))
            result = self._packed(grids, segments, height, width, sixteenths, picture.grey, alpha, metadata)
            if psnr is None:
                return result, value(len(result.data))
            return result, measure(picture.rgb, self._as_decoded(grids, height, width, sixteenths, picture.grey))

        bias = (RATE_BIAS if psnr is None else PSNR_BIAS)[min(effort, 2)]
        estimate = None if self.context is None else Estimate(expected, bias, times=3 if effort else 2)
        result, note = reach(goal, self.qualities, attempt, estimate=estimate, progress=progress)
        return replace(result, note=note)

    @guarded
    def decode(self, data: bytes, *, progress: Progress = lambda text: None) -> Picture:
        """.vq file → Picture. Raises CorruptStreamError for damage, UnsupportedError for other versions."""
        stream = self._checked(data)
        grids = self._read_grids(stream, progress=progress)
        alpha = None if stream.alpha is None else decode_alpha(stream.alpha, stream.height, stream.width)
        return Picture(self._as_decoded(grids, stream.height, stream.width, stream.quality, stream.grey, progress), alpha,
                       stream.grey)

    def _as_decoded(self, grids: torch.Tensor, height: int, width: int, sixteenths: int, grey: bool,
                    progress: Progress = lambda text: None) -> np.ndarray:
        """Index grids int64[G,h,w] → uint8[height,width,3], without colour if `grey`."""
        rgb = self.pixels(grids, height, width, sixteenths, progress)
        if grey:
            luma = (rgb.astype(np.uint16) @ np.array([77, 150, 29], np.uint16) + 128) >> 8
            rgb = np.repeat(luma.astype(np.uint8)[:, :, None], 3, axis=2)
        return rgb

    @guarded
    def decode_grids(self, data: bytes) -> np.ndarray:
        """.vq file → index grids int64[G,h,w], checked against the stream's checksum."""
        stream = self._checked(data)
        grids = self._read_grids(stream)  # first: a small alpha payload may stand for a huge plane
        if stream.alpha is not None:
            decode_alpha(stream.alpha, stream.height, stream.width)
        return grids.numpy()

    @guarded
    def bits_per_block(self, data: bytes) -> np.ndarray:
        """f64[h,w]: bits that the index stream spends on each 16×16 block (ideal code length)."""
        stream = self._checked(data)
        columns = -(-stream.width // PATCH)
        spent = np.zeros(-(-stream.height // PATCH) * columns)

        def add(step: Step, symbols: torch.Tensor, _length: int, top: int) -> None:
            mass = step.cdf.diff(dim=2).gather(2, symbols[:, :, None]).squeeze(2)
            np.add.at(spent, step.positions.numpy() + top * columns, (CDF_BITS - mass.double().log2()).sum(1).numpy())

        self._read_grids(stream, add)
        return spent.reshape(-1, columns)

    @guarded
    def segment_bytes(self, data: bytes) -> tuple[int, ...]:
        """Bytes of each segment of a .vq file, in coding order; of steps without symbols 0."""
        stream = self._checked(data)
        rows, columns = -(-stream.height // PATCH), -(-stream.width // PATCH)
        index = {top: i for i, (top, _) in enumerate(bands(rows, columns))}
        lengths = [0] * (len(index) * self.coder.prior.steps)

        def note(step: Step, _symbols: torch.Tensor, length: int, top: int) -> None:
            lengths[index[top] * self.coder.prior.steps + step.number] = length

        self._read_grids(stream, note)
        return tuple(lengths)

    def _checked(self, data: bytes) -> streams.Stream:
        stream = streams.unpack(data)
        if (stream.model_id, stream.model_hash) != (self.entry.id, self.entry.hash):
            raise UnsupportedError(f"the stream was made by model {stream.model_id}, not by '{self.entry.name}'")
        return stream


def segment_reader(stream: streams.Stream, pieces: int, prior: Prior, slices: int) -> SegmentReader:
    """Raises CorruptStreamError where there cannot be enough segments for the picture."""
    data, needed = b"".join(stream.segments), pieces * prior.steps
    positions = -(-stream.height // PATCH) * -(-stream.width // PATCH)
    if not stream.joined and len(stream.segments) != needed:
        raise CorruptStreamError(f"expected {needed} segments, found {len(stream.segments)}")
    # Phase 0 of each slice has positions in every band, and a segment with symbols has a byte or more.
    few = len(data) < max(pieces * slices, prior.least_bytes(positions, stream.quality, slices))
    if needed > streams.MAX_SEGMENTS or few:
        raise CorruptStreamError(f"{len(data)} bytes cannot hold the segments of such a picture")
    return SegmentReader(data, None if stream.joined else [len(segment) for segment in stream.segments])


def check_size(width: int, height: int, steps: int) -> None:
    """Raises UsageError for a picture that a stream cannot describe, before any work goes into it."""
    if not (1 <= width <= streams.MAX_SIDE and 1 <= height <= streams.MAX_SIDE
            and width * height <= streams.MAX_PIXELS
            and len(bands(-(-height // PATCH), -(-width // PATCH))) * steps <= streams.MAX_SEGMENTS):
        raise UsageError(f"a picture of {width}×{height} pixels cannot be coded")


def strips(rows: int, columns: int) -> list[tuple[int, int]]:
    """Latent rows [top, bottom) of each strip of a transform."""
    count = max(8, STRIP_PIXELS // (PATCH * PATCH * columns))
    return [(top, min(top + count, rows)) for top in range(0, rows, count)]


def grids_image(grids: np.ndarray) -> np.ndarray:
    """uint8[H,W]: all index grids [G,h,w] side by side, each stretched to its own range."""
    groups, height, width = grids.shape
    across = max(1, round(math.sqrt(groups * height / width)))
    down = -(-groups // across)
    sheet = np.zeros((down * (height + 1), across * (width + 1)), np.uint8)
    for i, grid in enumerate(grids):
        low, high = int(grid.min()), int(grid.max())
        top, left = i // across * (height + 1), i % across * (width + 1)
        sheet[top : top + height, left : left + width] = (grid - low) * 255 // max(1, high - low)
    return sheet
