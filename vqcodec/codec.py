"""Composes the stages; the only place that knows their order.

    Picture → encoder → latents → codewords ┐                     ┌ codewords → decoder → Picture
                                            ├ prior ⇄ range coder ┤
                          Stream → bytes ───┘                     └─── bytes → Stream

Long grids are coded in bands of rows, and pictures are transformed in strips with halos, so that memory does
not grow with the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from . import config as configuration
from . import container, refine, registry
from .alpha import decode_alpha, encode_alpha
from .config import ModelConfig
from .errors import CorruptStreamError, InputError, UnsupportedError, UsageError
from .inspection import Inspection, inspect, quality_of  # noqa: F401 (part of this module's interface)
from .media import Picture
from .prior import CDF_BITS, CHUNK, Prior, Step
from .quantize import choose, dequantize, layouts, look_up
from .segments import SegmentReader, code_symbols
from .transform import PATCH, Decoder, Encoder, halo

SIXTEENTHS = 16  # quality steps between two trained qualities
BAND_POSITIONS = 1 << 14  # grid positions per band; part of the format, see bitstream_spec.md
STRIP_PIXELS = 1 << 21  # pixels per strip in the transforms; not part of the format


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


def read_tensors(entry: registry.ModelEntry, name: str) -> dict[str, torch.Tensor]:
    """Tensors of `name`.safetensors of a model, its hash checked. Raises InputError or CorruptStreamError."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = entry.read(f"{name}.safetensors")
    try:
        return load(data)
    except SafetensorError as error:
        raise InputError(f"model '{entry.name}': {name}.safetensors cannot be read ({error})") from None


class Codec:
    """A loaded model. Thread-safe: nothing changes after `open`."""

    def __init__(self, entry, model: ModelConfig, prior: Prior, codebooks, decoder: Decoder, encoder: Encoder | None):
        self.entry, self.model, self.prior = entry, model, prior
        self.codebooks, self.decoder, self.encoder = codebooks, decoder, encoder

    @classmethod
    def open(cls, entry: registry.ModelEntry, *, encoder: bool = True) -> Codec:
        """Loads a model. Raises UnsupportedError when `encoder` is asked of a decoder-only model."""
        table = configuration.parse_toml(entry.read("config.toml"), entry.name)
        model = configuration.check_model(configuration.from_dict(ModelConfig, table, complete=True))
        if encoder:
            entry.require_encoder()
        prior = Prior(read_tensors(entry, "prior"), model.quantizer)
        stored = read_tensors(entry, "codebook")
        codebooks = [stored[f"s{i}"].float() for i in range(len(model.quantizer.slices))]
        nets = []
        for name, kind in (("decoder", Decoder), ("encoder", Encoder)):
            if name == "encoder" and not encoder:
                nets.append(None)
                continue
            net = kind(model.transform)
            weights = read_tensors(entry, name)
            net.load_state_dict({k: v.float() for k, v in weights.items()})
            nets.append(net.eval().requires_grad_(False).to(memory_format=torch.channels_last))
        return cls(entry, model, prior, codebooks, *nets)

    @property
    def qualities(self) -> int:
        return len(self.model.transform.lambdas)

    # --- quality -----------------------------------------------------------------------------------------

    def _sixteenths(self, quality: float) -> int:
        if not (math.isfinite(quality) and 1 <= quality <= self.qualities):
            raise UsageError(f"quality must be between 1 and {self.qualities}, not {quality:g}")
        return round((quality - 1) * SIXTEENTHS)

    def _checked_quality(self, sixteenths: int) -> int:
        if sixteenths > (self.qualities - 1) * SIXTEENTHS:
            raise CorruptStreamError("quality is beyond what the stream's model knows")
        return sixteenths

    # --- pixels ⇄ latents, in strips ---------------------------------------------------------------------

    @torch.inference_mode()
    def latents(self, rgb: np.ndarray, sixteenths: int) -> torch.Tensor:
        """uint8[H,W,3] → latents f32[1,D,h,w], the picture padded to whole patches by its edge."""
        height, width = rgb.shape[:2]
        rows, columns = -(-height // PATCH), -(-width // PATCH)
        level = torch.tensor([sixteenths / SIXTEENTHS])
        reach, _ = halo(self.model.transform)
        parts = []
        for top, bottom in strips(rows, columns):
            first, last = max(0, top - reach), min(rows, bottom + reach)
            piece = rgb[first * PATCH : min(last * PATCH, height)]
            padding = ((0, (last - first) * PATCH - len(piece)), (0, columns * PATCH - width), (0, 0))
            piece = torch.from_numpy(np.pad(piece, padding, mode="edge"))
            pixels = piece.permute(2, 0, 1)[None].float().div_(255)
            y = self.encoder(pixels.contiguous(memory_format=torch.channels_last), level)
            parts.append(y[:, :, top - first : bottom - first])
        return torch.cat(parts, 2)

    @torch.inference_mode()
    def pixels(self, grids: torch.Tensor, height: int, width: int, sixteenths: int) -> np.ndarray:
        """Index grids int64[G,h,w] → uint8[height,width,3]."""
        rows, columns = grids.shape[1:]
        level = torch.tensor([sixteenths / SIXTEENTHS])
        _, reach = halo(self.model.transform)
        out = np.empty((height, width, 3), np.uint8)
        for top, bottom in strips(rows, columns):
            first, last = max(0, top - reach), min(rows, bottom + reach)
            y = dequantize(grids[None, :, first:last], self.codebooks, self.model.quantizer)
            x = self.decoder(y.contiguous(memory_format=torch.channels_last), level)[0]
            x = x[:, (top - first) * PATCH : (bottom - first) * PATCH, :width]
            x = x.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(1, 2, 0).numpy()
            out[top * PATCH : bottom * PATCH] = x[: height - top * PATCH]
        return out

    # --- index grids ⇄ segments --------------------------------------------------------------------------

    @torch.inference_mode()
    def _choose_and_code(self, latents: torch.Tensor, sixteenths: int, rate_aware: bool, code: bool = True):
        """Latents f32[1,D,h,w] → (index grids int64[G,h,w], segments, empty unless `code`)."""
        grids, segments = [], []
        for top, bottom in bands(*latents.shape[2:]):
            part = latents[0, :, top:bottom]

            def supply(step: Step, part=part) -> torch.Tensor:
                symbols = self._best_symbols(part, step, rate_aware)
                segments.append(code_symbols(symbols, step.cdf) if code else b"")
                return symbols

            grids.append(self._code_band(bottom - top, latents.shape[3], sixteenths, supply, lambda: segments.append(b"")))
        return torch.cat(grids, 1), tuple(segments)

    @torch.inference_mode()
    def code_grids(self, grids: torch.Tensor, sixteenths: int) -> tuple[bytes, ...]:
        """Index grids int64[G,h,w] → segments. Raises UsageError for an index that the quality cannot use."""
        segments = []
        for top, bottom in bands(*grids.shape[1:]):
            part = grids[:, top:bottom].flatten(1)

            def supply(step: Step, part=part) -> torch.Tensor:
                symbols = part[step.layout.planes][:, step.positions].T - step.start
                inside = (symbols >= 0) & (symbols < step.cdf.shape[2] - 1)
                mass = step.cdf.long().diff(dim=2).gather(2, symbols.clamp(0, step.cdf.shape[2] - 2)[:, :, None])
                if not (inside & (mass[:, :, 0] > 0)).all():
                    raise UsageError("index grids hold a codeword that this quality does not use")
                segments.append(code_symbols(symbols, step.cdf))
                return symbols

            self._code_band(bottom - top, grids.shape[2], sixteenths, supply, lambda: segments.append(b""))
        return tuple(segments)

    @torch.inference_mode()
    def _read_grids(self, stream: container.Stream, seen=None) -> torch.Tensor:
        """Index grids int64[G,h,w] of a stream; `seen(step, symbols, top, length)` is told of every step that has
        symbols, and of the bytes of its segment."""
        rows, columns = -(-stream.height // PATCH), -(-stream.width // PATCH)
        pieces = bands(rows, columns)
        reader = SegmentReader(stream, len(pieces), self.prior)
        grids = []
        for top, bottom in pieces:

            def supply(step: Step, top=top) -> torch.Tensor:
                before = reader.position
                symbols = reader.read(step.cdf)
                if seen:
                    seen(step, symbols, top, reader.position - before)
                return symbols

            quality = self._checked_quality(stream.quality)
            grids.append(self._code_band(bottom - top, columns, quality, supply, reader.skip))
        reader.finish()
        grids = torch.cat(grids, 1)
        if container.grids_crc(grids.numpy()) != stream.grids_crc:
            raise CorruptStreamError("checksum of the index grids does not match: the stream is damaged")
        return grids

    def _code_band(self, height, width, sixteenths, supply, skip):
        """Runs the prior over one band; `skip()` stands in for `supply` in steps without positions."""
        done = 0

        def skip_to(number):
            nonlocal done
            while done < number:
                skip()
                done += 1

        def counted(step):
            nonlocal done
            skip_to(step.number)
            done += 1
            return supply(step)

        grids = self.prior.code(height, width, sixteenths, counted)
        skip_to(self.prior.steps)
        return grids

    def _best_symbols(self, latents: torch.Tensor, step: Step, rate_aware: bool) -> torch.Tensor:
        """int64[N,G]: symbols of least distance² (+ RATE_WEIGHT·bits) for latents f32[D,h,w] of the band."""
        s = step.layout
        g, symbols = s.groups, step.cdf.shape[2] - 1
        vectors = latents[s.dims].reshape(g, s.d, -1)[:, :, step.positions].permute(0, 2, 1)
        window = (step.start[:, None] + torch.arange(symbols)).clamp(max=s.codewords - 1)
        book = look_up(window, self.codebooks[list(layouts(self.model.quantizer)).index(s)])
        chosen, count = [], max(1, CHUNK // (g * symbols))
        for part, cdf in zip(vectors.split(count, 1), step.cdf.split(count)):
            mass = cdf.diff(dim=2).permute(1, 0, 2).float()
            # Without mass: infinite. Otherwise, if the rate does not matter, nothing.
            bits = CDF_BITS - torch.log2(mass if rate_aware else mass.clamp_(max=1).mul_(1 << CDF_BITS))
            chosen.append(choose(part, book, bits))
        return torch.cat(chosen, 1).T.contiguous()

    # --- whole pictures ----------------------------------------------------------------------------------

    def search(self, rgb: np.ndarray, sixteenths: int, effort: int) -> torch.Tensor:
        """uint8[H,W,3] → latents f32[1,D,h,w] to choose codewords for, the better the greater the effort."""
        latents = self.latents(rgb, sixteenths)
        transform = self.model.transform
        if not refine.applicable(transform, *rgb.shape[:2]):
            return latents

        def choose(latents):
            grids, _ = self._choose_and_code(latents, sixteenths, True, code=False)
            return dequantize(grids[None], self.codebooks, self.model.quantizer)

        def gradient(chosen):
            return refine.distortion_gradient(self.decoder, transform, chosen, rgb, sixteenths / SIXTEENTHS)

        return refine.refine(latents, refine.STEPS[effort], refine.PULL[transform.distortion], choose, gradient)

    def encode(self, picture: Picture, quality: float, *, effort: int | None = None) -> Encoded:
        """Picture → .vq file. `quality` in 1..`qualities`, in sixteenths; `effort` in 0..5: how long to look for
        better codewords (see `refine.py`; None: as long as is usual for its size). Raises UsageError outside of that."""
        if self.encoder is None:
            raise UnsupportedError(f"model '{self.entry.name}' was opened without its encoder: it cannot encode")
        sixteenths = self._sixteenths(quality)
        check_size(*picture.rgb.shape[1::-1], self.prior.steps)
        effort = refine.checked_effort(effort, *picture.rgb.shape[:2])
        latents = self.search(picture.rgb, sixteenths, effort)
        grids, segments = self._choose_and_code(latents, sixteenths, rate_aware=effort > 0)
        alpha = None if picture.alpha is None else encode_alpha(picture.alpha)
        return self._packed(grids, segments, *picture.rgb.shape[:2], sixteenths, picture.grey, alpha)

    def encode_tokens(self, grids, width: int, height: int, quality: float, *, grey: bool = False) -> Encoded:
        """Index grids int[G,h,w] → .vq file of a width×height picture. The inverse of `decode_grids`."""
        sixteenths = self._sixteenths(quality)
        check_size(width, height, self.prior.steps)
        grids = np.asarray(grids)
        if grids.dtype.kind not in "iu":
            raise UsageError(f"index grids must be integers, not {grids.dtype}")
        grids = torch.from_numpy(grids.astype(np.int64))
        groups = sum(s.groups for s in layouts(self.model.quantizer))
        expected = (groups, -(-height // PATCH), -(-width // PATCH))
        if tuple(grids.shape) != expected:
            raise UsageError(f"index grids must have shape {expected}, not {tuple(grids.shape)}")
        return self._packed(grids, self.code_grids(grids, sixteenths), height, width, sixteenths, grey, None)

    def _packed(self, grids, segments, height, width, sixteenths, grey, alpha) -> Encoded:
        data = container.pack(container.Stream(
            grey=grey, alpha=alpha, width=width, height=height, quality=sixteenths, model_id=self.entry.id,
            model_hash=self.entry.hash, grids_crc=container.grids_crc(grids.numpy()),
            joined=True, segments=(b"".join(segments),)))
        return Encoded(data, quality_of(sixteenths), 8 * len(data) / (width * height))

    def encode_to_target(self, picture: Picture, *, bpp: float | None = None, psnr: float | None = None,
                         size: int | None = None, effort: int | None = None) -> Encoded:
        """The quality whose result is nearest to the one target given; `size` (bytes) is an upper bound.

        Rates and PSNR rise with quality, so that a bisection over its sixteenths finds it."""
        if sum(t is not None for t in (bpp, psnr, size)) != 1:
            raise UsageError("give exactly one of bpp, psnr and size")
        tried: dict[int, tuple[Encoded, float]] = {}

        def attempt(sixteenths: int) -> float:
            if sixteenths not in tried:
                result = self.encode(picture, quality_of(sixteenths), effort=effort)
                value = result.bpp if bpp is not None else float(len(result.data))
                if psnr is not None:
                    from .metrics import psnr as measure

                    value = measure(picture.rgb, self.decode(result.data).rgb)
                tried[sixteenths] = result, value
            return tried[sixteenths][1]

        target = bpp if bpp is not None else psnr if psnr is not None else float(size)
        if not (math.isfinite(target) and target > 0):
            raise UsageError(f"a target must be a number above 0, not {target:g}")
        low, high = 0, (self.qualities - 1) * SIXTEENTHS
        if attempt(low) >= target:
            best = low
        elif attempt(high) <= target:
            best = high
        else:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if attempt(middle) <= target else (low, middle)
            nearest = abs(attempt(high) - target) < abs(attempt(low) - target)
            best = high if nearest and size is None else low
        result, value = tried[best]
        off = value / target - 1
        if (size is not None and value > target) or abs(off) > 0.03:
            limit = "lowest" if best == 0 else "highest" if best == (self.qualities - 1) * SIXTEENTHS else "nearest"
            result = replace(result, note=f"target {target:g} is not reached: the {limit} quality gives {value:.5g}")
        return result

    def decode(self, data: bytes) -> Picture:
        """.vq file → Picture. Raises CorruptStreamError for damage, UnsupportedError for other versions."""
        stream = self._checked(data)
        grids = self._read_grids(stream)
        alpha = None if stream.alpha is None else decode_alpha(stream.alpha, stream.height, stream.width)
        rgb = self.pixels(grids, stream.height, stream.width, stream.quality)
        if stream.grey:
            luma = (rgb.astype(np.uint16) @ np.array([77, 150, 29], np.uint16) + 128) >> 8
            rgb = np.repeat(luma.astype(np.uint8)[:, :, None], 3, axis=2)
        return Picture(rgb, alpha, stream.grey)

    def decode_grids(self, data: bytes) -> np.ndarray:
        """.vq file → index grids int64[G,h,w], checked against the stream's checksum."""
        stream = self._checked(data)
        grids = self._read_grids(stream)  # first: a small alpha payload may stand for a huge plane
        if stream.alpha is not None:
            decode_alpha(stream.alpha, stream.height, stream.width)
        return grids.numpy()

    def bits_per_block(self, data: bytes) -> np.ndarray:
        """f64[h,w]: bits that the index stream spends on each 16×16 block (ideal code length)."""
        stream = self._checked(data)
        columns = -(-stream.width // PATCH)
        spent = np.zeros(-(-stream.height // PATCH) * columns)

        def add(step: Step, symbols: torch.Tensor, top: int, _length: int) -> None:
            mass = step.cdf.diff(dim=2).gather(2, symbols[:, :, None]).squeeze(2)
            np.add.at(spent, step.positions.numpy() + top * columns, (CDF_BITS - mass.double().log2()).sum(1).numpy())

        self._read_grids(stream, add)
        return spent.reshape(-1, columns)

    def segment_bytes(self, data: bytes) -> tuple[int, ...]:
        """Bytes of each segment of a .vq file, in coding order; of steps without symbols 0."""
        stream = self._checked(data)
        rows, columns = -(-stream.height // PATCH), -(-stream.width // PATCH)
        index = {top: i for i, (top, _) in enumerate(bands(rows, columns))}
        lengths = [0] * (len(index) * self.prior.steps)

        def note(step: Step, _symbols: torch.Tensor, top: int, length: int) -> None:
            lengths[index[top] * self.prior.steps + step.number] = length

        self._read_grids(stream, note)
        return tuple(lengths)

    def _checked(self, data: bytes) -> container.Stream:
        stream = container.unpack(data)
        if (stream.model_id, stream.model_hash) != (self.entry.id, self.entry.hash):
            raise UnsupportedError(f"the stream was made by model {stream.model_id}, not by '{self.entry.name}'")
        if stream.modality != container.IMAGE:
            raise UnsupportedError("the stream does not hold an image")
        return stream


def check_size(width: int, height: int, steps: int) -> None:
    """Raises UsageError for a picture that a stream cannot describe, before any work goes into it."""
    if not (1 <= width <= container.MAX_SIDE and 1 <= height <= container.MAX_SIDE
            and width * height <= container.MAX_PIXELS
            and len(bands(-(-height // PATCH), -(-width // PATCH))) * steps <= container.MAX_SEGMENTS):
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
