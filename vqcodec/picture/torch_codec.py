"""The codec in torch, which encodes; `codec.py` tells how the stages hang together, and has all that needs no torch."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch

from .. import filelimits
from . import curves, find_plain
from . import search as refine
from .aiming import Aim, encode_to
from .alpha import encode_alpha
from .codec import PATCH, STRIP_PIXELS, Codec, Encoded, Progress, bands, check_size, strips
from .colour import without_colour
from .config import REMEMBERED_PIXELS, ModelConfig
from ..indices.choosing import GridCoder
from ..indices.context import fast_arithmetic
from ..guard import guarded, more_threads
from ..errors import UnsupportedError, UsageError
from ..indices.float_prior import ContextPrior
from ..indices.network import Given
from ..zoo.loading import ModelKind, load_model
from .file import Picture
from .finish import Finish
from .plain import Plain, spread
from .integer_decoder import IntegerDecoder
from ..process import keep_freed_memory
from ..indices.quality import SIXTEENTHS, checked_sixteenths
from ..indices.rates import Rates
from ..indices.target import Goal
from ..zoo.registry import ModelEntry
from .rounding import IntegerNetwork
from .transform import Decoder, Encoder, halo, samples

# Of λ: what a pixel's squared error of 1 adds to the distortion (by MS-SSIM nearly nothing: only a tint counts).
WORTH = {"mse": 1.0, "ssimulacra2": 0.5, "ms-ssim": 0.0}
KIND = ModelKind("image", ModelConfig, Encoder, Decoder, searches=True,
                 integers=lambda transform: IntegerNetwork(transform) if transform.arithmetic == "integer" else None)


@dataclass(frozen=True)
class Coded:
    """Index grids int64[G,h,w], their segments, and what else makes the picture; nearly: uint8[H,W,3], what it is made of, nearly, where
    the encoder knows."""

    grids: torch.Tensor
    segments: tuple[bytes, ...]
    finish: Finish = Finish()
    nearly: np.ndarray | None = None


class TorchCodec(Codec):
    """A loaded model. Thread-safe: nothing changes after `load`."""

    def __init__(self, entry: ModelEntry, model: ModelConfig, coder: GridCoder, decoder: Decoder, encoder: Encoder | None,
                 context: ContextPrior | None, integers: IntegerDecoder | None = None):
        super().__init__(entry, model, coder, decoder)
        self.encoder, self.context, self.integers = encoder, context, integers

    @classmethod
    @guarded
    def load(cls, entry: ModelEntry, encoder: bool) -> TorchCodec:
        """As `Codec.open`, with or without its encoder."""
        keep_freed_memory()
        parts = load_model(entry, encoder, KIND)
        integers, transform = None, parts.config.transform
        if transform.arithmetic == "integer":
            books = [book.numpy() for book in parts.coder.codebooks]
            integers = IntegerDecoder(parts.stored, books, transform, parts.config.quantizer)
        return cls(entry, parts.config, parts.coder, parts.decoder, parts.encoder, parts.context, integers)

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
               progress: Progress = lambda text: None, *, nearly: bool = False) -> np.ndarray:
        """Index grids int64[G,h,w] → uint8[height,width,3]; `nearly`: in floats, which is faster, where the model has integers."""
        level = torch.tensor([sixteenths / SIXTEENTHS], dtype=torch.float32)
        out = np.empty((height, width, 3), np.uint8)
        several = len(strips(*grids.shape[1:])) > 1
        for (top, bottom), before, near in self._strips(grids, progress):
            with more_threads() if several else nullcontext():
                if self.integers and not nearly:
                    x = self.integers(near, sixteenths)
                else:
                    y = self.coder.dequantize(near[None])
                    x = self.decoder(y.contiguous(memory_format=torch.channels_last), level)[0]
                    x = x.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(1, 2, 0)
            x = x[before * PATCH : (before + bottom - top) * PATCH, :width].cpu().numpy()
            out[top * PATCH : bottom * PATCH] = x[: height - top * PATCH]
        return out

    # --- whole pictures ----------------------------------------------------------------------------------

    def _choose_and_code(self, latents: torch.Tensor, sixteenths: int, weights: tuple[float, ...],
                         progress: Progress = lambda text: None, given: Given | None = None):
        """Latents f32[1,D,h,w] → (index grids int64[G,h,w], segments); as `GridCoder.choose`. Of the last slices, those that
        are at rest everywhere have no bytes."""
        slices = self.coder.present(sixteenths)
        results, pieces = [], bands(*latents.shape[2:])
        for number, (top, bottom) in enumerate(pieces, 1):
            progress(f"coding, band {number} of {len(pieces)}")
            results.append(self.coder.choose(latents[0, :, top:bottom], sixteenths, weights, slices,
                                             given and given.rows(top, bottom)))
        grids = torch.cat([grids for grids, _ in results], 1)
        kept = self.coder.steps(self.coder.needed(grids))
        return grids, tuple(s if i < kept else b"" for _, segments in results for i, s in enumerate(segments))

    @guarded
    def search(self, picture: Picture, sixteenths: int, effort: int, progress: Progress = lambda text: None) -> Coded:
        """The better the greater the effort (see `search.py`)."""
        rgb, plain = picture.rgb, find_plain.find(picture.rgb, sixteenths)
        if plain is not None and plain.whole:
            grids = plain.given(self.coder, sixteenths).whole()
            return Coded(grids, self.code_grids(grids, sixteenths, plain.given(self.coder, sixteenths)), Finish(plain))
        search = refine.SEARCHES[self.model.transform.distortion]
        weights = search.weights(self.coder.layouts)
        steps = search.steps[effort] if refine.applicable(self.model.transform, *rgb.shape[:2]) else 0
        with more_threads():
            with fast_arithmetic() if steps else nullcontext():
                latents = self.latents(rgb, sixteenths)
            plain = plain and find_plain.with_indices(plain, latents[0].numpy(), self.coder, sixteenths)
            if steps:
                latents = self._searched(latents, rgb, sixteenths, steps, search, weights, progress, plain)
        given = plain and plain.given(self.coder, sixteenths)
        grids, segments = self._choose_and_code(latents, sixteenths, weights, progress, given)
        if plain is None and not effort:  # no time for it
            return Coded(grids, segments)
        nearly = self._nearly(grids, picture, sixteenths)
        return Coded(grids, segments, self._finish(nearly, sum(map(len, segments)), picture, sixteenths, plain), nearly)

    def _nearly(self, grids: torch.Tensor, picture: Picture, sixteenths: int) -> np.ndarray:
        """uint8[H,W,3] that index grids int64[G,h,w] of a picture are decoded to, nearly, before it is finished."""
        with more_threads():
            decoded = self.pixels(grids, *picture.rgb.shape[:2], sixteenths, nearly=True)
        return without_colour(decoded) if picture.grey else decoded

    def _finish(self, decoded: np.ndarray, size: int, picture: Picture, sixteenths: int, plain: Plain | None) -> Finish:
        """What makes a picture that is `decoded` to uint8[H,W,3] nearer to what it was, of `size` bytes without that."""
        rgb, transform = picture.rgb, self.model.transform
        bits = WORTH[transform.distortion] * refine.slope(transform, sixteenths / SIXTEENTHS)
        coded = None if plain is None else spread(~plain.painted, *rgb.shape[:2])
        found = curves.find(decoded, rgb, coded, picture.grey, bits, size)
        if plain is not None:
            plain = find_plain.with_cleaning(plain, Finish(None, found)(decoded.copy()), rgb, min(2.0, 1 / (PATCH * PATCH * bits or 1)))
        return Finish(plain, found)

    def _searched(self, latents: torch.Tensor, rgb: np.ndarray, sixteenths: int, steps: int, search: refine.Search, weights,
                  progress: Progress, plain: Plain | None) -> torch.Tensor:
        """Latents f32[1,D,h,w] of uint8[H,W,3] after `steps` improvements, one at least."""
        keep = rgb.shape[0] * rgb.shape[1] <= REMEMBERED_PIXELS
        at = 0

        def begin(step: int) -> None:
            nonlocal at
            at = step
            progress(f"search, step {at + 1} of {steps}")

        gradient = refine.DistortionGradient(
            self.decoder, self.model.transform, rgb, sixteenths / SIXTEENTHS, keep=keep,
            told=lambda part: progress(f"search, step {at + 1} of {steps}, {part:.0%}") if part < 1 else None,
            painted=plain and plain.painted)
        rates = self._rates(latents, sixteenths, weights, keep, plain and plain.given(self.coder, sixteenths))
        return refine.refine(latents, steps, search, rates, gradient, begin, search.damping(gradient.slope))[0]

    def _rates(self, latents: torch.Tensor, sixteenths: int, weights, keep: bool, given: Given | None) -> Rates:
        """The prior as encoders ask it, of latents f32[1,D,h,w]."""
        level = sixteenths / SIXTEENTHS
        return Rates(self.context, self.coder.codebooks, weights, torch.tensor([level], dtype=torch.float32),
                     bands=[slice(top, bottom) for top, bottom in bands(*latents.shape[2:])],
                     windows=self.coder.prior.windows(sixteenths), keep=keep,
                     present=torch.tensor([self.model.quantizer.present(level)]), given=given)

    @torch.inference_mode()
    def _nearest(self, rgb: np.ndarray, sixteenths: int):
        """(latents f32[1,D,h,w] of uint8[H,W,3], its plain blocks, the prior, for each band the codewords nearest to the latents)"""
        plain = find_plain.find(rgb, sixteenths)
        with more_threads(), fast_arithmetic():
            latents = self.latents(rgb, sixteenths)
        plain = plain and find_plain.with_indices(plain, latents[0].numpy(), self.coder, sixteenths)
        given = plain and plain.given(self.coder, sixteenths)
        rates = self._rates(latents, sixteenths, [0.0] * len(self.coder.layouts), False, given)
        return latents, plain, rates, rates.nearest(latents)

    @guarded
    @torch.inference_mode()
    def nearest_bits(self, picture: Picture, sixteenths: int) -> float:
        """What a picture takes with the codewords nearest to its latents, about: by the float twin of the prior."""
        latents, _, rates, indices = self._nearest(picture.rgb, sixteenths)
        return rates.bits(latents, indices)

    @guarded
    @torch.inference_mode()
    def nearest_pixels(self, picture: Picture, sixteenths: int) -> np.ndarray:
        """uint8[H,W,3] as decoded, nearly, from the codewords nearest to its latents."""
        latents, plain, rates, indices = self._nearest(picture.rgb, sixteenths)
        grids = []
        for rows, band in zip(rates.bands, indices):
            shape = latents[0, 0, rows].shape
            at_rest = [rest.short()[:, None].expand(-1, shape.numel()) for rest in self.coder.rest[len(band):]]
            grids.append(torch.cat([*band, *at_rest]).long().unflatten(1, shape))
        return Finish(plain)(self._nearly(torch.cat(grids, 1), picture, sixteenths))

    @guarded
    def encode(self, picture: Picture, quality: float, *, effort: int | None = None,
               metadata: bytes | None = None, progress: Progress = lambda text: None) -> Encoded:
        """Picture → .vq file. `quality` in 1..`qualities`, in sixteenths; `effort` in 0..5: how long to look for
        better codewords (see `search.py`; None: as long as is usual for its size); `metadata` as `vqcodec.metadata` packs
        them; `progress` is told how far it is. A picture without colour is coded as grey, whether or not its file was.
        Raises UsageError outside of that."""
        effort, picture = self._check_encoding(picture, effort), told_grey(picture)
        sixteenths = checked_sixteenths(quality, self.qualities)
        alpha = None if picture.alpha is None else encode_alpha(picture.alpha)
        return self.attempt(picture, sixteenths, effort, alpha, metadata, progress)[0]

    @guarded
    def attempt(self, picture: Picture, sixteenths: int, effort: int, alpha: bytes | None = None, metadata: bytes | None = None,
                progress: Progress = lambda text: None) -> tuple[Encoded, Coded]:
        """alpha: the packed plane."""
        coded = self.search(picture, sixteenths, effort, progress)
        return self._packed(coded.grids, coded.segments, *picture.rgb.shape[:2], sixteenths, picture.grey, alpha, metadata,
                            coded.finish), coded

    @guarded
    def found(self, coded: Coded, picture: Picture, sixteenths: int) -> np.ndarray:
        """uint8[H,W,3] as decoded, nearly."""
        if coded.finish.whole:
            return coded.finish(np.empty_like(picture.rgb))
        return coded.finish(self._nearly(coded.grids, picture, sixteenths) if coded.nearly is None else coded.nearly.copy())

    def _check_encoding(self, picture: Picture, effort: int | None) -> int:
        """The effort to use. Raises UnsupportedError, UsageError."""
        if self.encoder is None:
            raise UnsupportedError(f"model '{self.entry.name}' was opened without its encoder: it cannot encode")
        check_size(*picture.rgb.shape[1::-1], self.coder.prior.steps)
        return refine.checked_effort(effort, *picture.rgb.shape[:2])

    @guarded
    def encode_to_target(self, picture: Picture, *, bpp: float | None = None, psnr: float | None = None,
                         size: int | None = None, effort: int | None = None, metadata: bytes | None = None,
                         progress: Progress = lambda text: None) -> Encoded:
        """Of the one target given: a quality whose PSNR is within 0.1 dB, or rate within 3 %, or else the nearest, or for
        `size` (bytes), an upper bound, one whose result is within 3 % below it, or else nearest. Mostly by one or two encodes
        (see `aiming.py`)."""
        if sum(t is not None for t in (bpp, psnr, size)) != 1:
            raise UsageError("give exactly one of bpp, psnr and size")
        goal = (Goal(psnr, "dB", decibels=True) if psnr is not None else Goal(bpp, "bpp") if bpp is not None
                else Goal(float(size), "bytes", upper_bound=True))
        effort, picture = self._check_encoding(picture, effort), told_grey(picture)
        alpha = None if picture.alpha is None else encode_alpha(picture.alpha)
        return encode_to(goal, Aim(self, picture, effort, alpha, metadata), progress)


def told_grey(picture: Picture) -> Picture:
    """The picture, `grey` if it has no colour, as scans and drawings that were stored in colour."""
    return picture if picture.grey or not is_grey(picture.rgb) else replace(picture, grey=True)


def is_grey(rgb: np.ndarray) -> bool:
    """Whether R = G = B everywhere in uint8[H,W,3]."""
    rows = max(1, STRIP_PIXELS // rgb.shape[1])
    parts = (rgb[top : top + rows] for top in range(0, len(rgb), rows))
    return all((part[:, :, :1] == part[:, :, 1:]).all() for part in parts)
