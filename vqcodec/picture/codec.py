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
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import numpy as np

from .. import filelimits
from . import stream as streams
from .alpha import decode_alpha
from ..indices.bounds import CDF_BITS
from .colour import without_colour
from .config import ModelConfig, TransformConfig
from . import finish as finishes
from .finish import Finish
from .plain import Plain
from ..guard import guarded
from ..errors import CorruptStreamError, UnsupportedError, UsageError
from ..indices.grids import GridReader, SegmentReader
from ..indices.network import Given, Prior
from ..zoo.reading import load_decoder
from ..zoo.schema import FloatNetwork, NetworkFile
from .file import Picture
from ..stream import grids_crc
from ..process import available_threads
from ..indices.quality import checked_quality, checked_sixteenths, quality_of
from ..zoo.registry import ModelEntry
from .integer_synthesis import POSITIONS, IntegerSynthesis
from .rounding import IntegerNetwork
from .synthesis import PATCH, Synthesis, halo, shapes

BAND_POSITIONS = 1 << 14  # grid positions per band; part of the format, see bitstream_spec.md
STRIP_PIXELS = 1 << 21  # pixels per strip in the transforms; not part of the format
TILE = 512  # columns of latents that go through the synthesis in integers at a time; not part of the format either
THREADED = 1 << 12  # positions of pictures that it takes two threads for, where there are two
Progress = Callable[[str], None]


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
    """A loaded model, which decodes: in NumPy. `TorchCodec` is one that encodes too. Thread-safe: nothing changes after `open`."""

    def __init__(self, entry: ModelEntry, model: ModelConfig, coder: GridReader, decoder):
        self.entry, self.model, self.coder, self.decoder = entry, model, coder, decoder

    @classmethod
    def open(cls, entry: ModelEntry, *, encoder: bool = True, on_torch: bool = False) -> Codec:
        """Loads a model. With its encoder, or if it shall decode `on_torch`, it is a `torch_codec.TorchCodec`. Raises
        UnsupportedError when `encoder` is asked of a decoder-only model, or for a model of something else than images."""
        if encoder or on_torch:
            return import_module(f"{__package__}.torch_codec").TorchCodec.load(entry, encoder)
        model, coder, tensors = load_decoder(entry, "image", ModelConfig, decoder_file)
        if model.transform.arithmetic == "integer":
            return cls(entry, model, coder, IntegerSynthesis(tensors, coder.codebooks, model.transform))
        return cls(entry, model, coder, Synthesis(tensors, model.transform))

    @property
    def qualities(self) -> int:
        return len(self.model.transform.lambdas)

    @property
    def exact(self) -> bool:
        """Whether pixels are the same on every machine."""
        return self.model.transform.arithmetic == "integer"

    # --- index grids → pixels, in strips ---------------------------------------------------------------------

    @guarded
    def pixels(self, grids: np.ndarray, height: int, width: int, sixteenths: int,
               progress: Progress = lambda text: None) -> np.ndarray:
        """Index grids int64[G,h,w] → uint8[height,width,3]."""
        out = np.empty((height, width, 3), np.uint8)
        if self.exact:
            values, columns = self.decoder.values(sixteenths), grids.shape[2]
            threads = available_threads() if grids[0].size >= THREADED else 1
            reach = halo(self.model.transform)[1]
            for left in range(0, columns, TILE):
                first, last = max(0, left - reach), min(columns, left + TILE + reach)
                top, own = 0, out[:, left * PATCH : (left + TILE) * PATCH]
                skipped = (left - first) * PATCH
                for x in self.decoder.rows(self._pieces(grids[:, :, first:last], values, progress), sixteenths, threads):
                    own[top : top + len(x)] = x[: height - top, skipped : skipped + own.shape[1]]
                    top += len(x)
            return out
        for (top, bottom), before, near in self._strips(grids, progress):
            y = self.coder.dequantize(near[None])
            x = self.decoder(np.ascontiguousarray(y[0].transpose(1, 2, 0)), sixteenths)
            x = x[before * PATCH : (before + bottom - top) * PATCH, :width]
            np.rint(np.multiply(x.clip(0, 1, out=x), 255, out=x), out=x)
            out[top * PATCH : bottom * PATCH] = x[: height - top * PATCH]
        return out

    def _pieces(self, grids: np.ndarray, values, progress: Progress):
        """Latents f64[n,w,D] of index grids int64[G,h,w], some rows after the other; values: of codewords, [G,K,d] of each slice."""
        rows = max(1, POSITIONS // (16 * grids.shape[2]))
        for top in range(0, grids.shape[1], rows):
            filelimits.tick()
            progress(f"pixels, row {PATCH * top} of {PATCH * grids.shape[1]}")
            y = self.coder.dequantize(grids[None, :, top : top + rows], values)
            yield np.ascontiguousarray(y[0].transpose(1, 2, 0))

    def _strips(self, grids, progress: Progress):
        """Of index grids [G,h,w] ((top, bottom), rows before top that the decoder looks at, the grids of all it looks at) of each
        strip."""
        reach = halo(self.model.transform)[1]
        pieces = strips(*grids.shape[1:])
        for number, (top, bottom) in enumerate(pieces, 1):
            filelimits.tick()
            progress(f"pixels, strip {number} of {len(pieces)}")
            first, last = max(0, top - reach), min(grids.shape[1], bottom + reach)
            yield (top, bottom), top - first, grids[:, first:last]

    # --- index grids ⇄ segments, in bands -------------------------------------------------------------------

    @guarded
    def code_grids(self, grids, sixteenths: int, given: Given | None = None) -> tuple[bytes, ...]:
        """Index grids int64[G,h,w] → segments, without what is `given`. Raises UsageError for an index that the quality cannot use."""
        slices = self.coder.needed(grids)
        if slices > self.coder.present(sixteenths):
            raise UsageError("index grids hold slices that this quality does not have")
        return tuple(segment for top, bottom in bands(*grids.shape[1:])
                     for segment in self.coder.code(grids[:, top:bottom], sixteenths, slices, given and given.rows(top, bottom)))

    def _read_grids(self, stream: streams.Stream, plain: Plain | None, seen=None, progress: Progress = lambda text: None):
        """Index grids int64[G,h,w] of a stream with these plain blocks; `seen(step, symbols, length, top)` is told of every step that has
        symbols, of the bytes of its segment, and of the first row of its band."""
        rows, columns = -(-stream.height // PATCH), -(-stream.width // PATCH)
        pieces = bands(rows, columns)
        quality = checked_quality(stream.quality, self.qualities)
        slices = self.coder.present(quality)
        if stream.slices is not None and stream.slices >= slices:
            raise CorruptStreamError(f"{stream.slices} slices are not fewer than this quality has, {slices}")
        slices = stream.slices or slices
        given = None if plain is None else plain.given(self.coder, quality)
        reader = segment_reader(stream, pieces, self.coder.prior, slices, given)
        parts = []
        for number, (top, bottom) in enumerate(pieces, 1):
            progress(f"reading, band {number} of {len(pieces)}")
            parts.append(self.coder.read(reader, bottom - top, columns, quality, seen and partial(seen, top=top), slices,
                                         given and given.rows(top, bottom)))
        grids = self.coder.joined(parts, 1)
        reader.finish()
        if grids_crc(np.asarray(grids)) != stream.grids_crc:
            raise CorruptStreamError("checksum of the index grids does not match: the stream is damaged")
        return grids

    # --- whole pictures ----------------------------------------------------------------------------------

    def encode(self, *_arguments, **_options):
        """`TorchCodec` does it. Raises UnsupportedError."""
        raise UnsupportedError(f"model '{self.entry.name}' was opened without its encoder: it cannot encode")

    @guarded
    def encode_tokens(self, grids, width: int, height: int, quality: float, *, grey: bool = False,
                      finish: Finish = Finish()) -> Encoded:
        """Index grids int[G,h,w] → .vq file of a width×height picture. The inverse of `decode_grids`."""
        sixteenths = checked_sixteenths(quality, self.qualities)
        check_size(width, height, self.coder.prior.steps)
        grids = np.asarray(grids)
        if grids.dtype.kind not in "iu":
            raise UsageError(f"index grids must be integers, not {grids.dtype}")
        grids = self.coder.array(grids.astype(np.int64))
        expected = (self.coder.groups, -(-height // PATCH), -(-width // PATCH))
        if tuple(grids.shape) != expected:
            raise UsageError(f"index grids must have shape {expected}, not {tuple(grids.shape)}")
        return self._packed(grids, self.code_grids(grids, sixteenths), height, width, sixteenths, grey, None, finish=finish)

    def _packed(self, grids, segments, height, width, sixteenths, grey, alpha, metadata=None,
                finish: Finish = Finish()) -> Encoded:
        slices = self.coder.needed(grids)
        data = streams.pack(streams.Stream(
            slices=slices if slices < self.coder.present(sixteenths) else None,
            grey=grey, alpha=alpha, metadata=metadata, **finish.parts(grey),
            width=width, height=height, quality=sixteenths, model_id=self.entry.id,
            model_hash=self.entry.hash, grids_crc=grids_crc(np.asarray(grids)),
            joined=True, segments=(b"".join(segments),)))
        return Encoded(data, quality_of(sixteenths), 8 * len(data) / (width * height))

    @guarded
    def decode(self, data: bytes, *, progress: Progress = lambda text: None) -> Picture:
        """.vq file → Picture. Raises CorruptStreamError for damage, UnsupportedError for other versions."""
        stream = self._checked(data)
        finish = finishes.of_stream(stream)
        grids = self._read_grids(stream, finish.plain, progress=progress)
        alpha = None if stream.alpha is None else decode_alpha(stream.alpha, stream.height, stream.width)
        rgb = self._as_decoded(grids, stream.height, stream.width, stream.quality, stream.grey, finish, progress)
        return Picture(rgb, alpha, stream.grey)

    def _as_decoded(self, grids, height: int, width: int, sixteenths: int, grey: bool, finish: Finish,
                    progress: Progress = lambda text: None) -> np.ndarray:
        """Index grids int64[G,h,w] → uint8[height,width,3], without colour if `grey`, and finished."""
        if finish.whole:
            return finish(np.empty((height, width, 3), np.uint8))
        rgb = self.pixels(grids, height, width, sixteenths, progress)
        return finish(without_colour(rgb) if grey else rgb)

    @guarded
    def decode_grids(self, data: bytes) -> np.ndarray:
        """.vq file → index grids int64[G,h,w], checked against the stream's checksum."""
        stream = self._checked(data)
        grids = self._read_grids(stream, finishes.of_stream(stream).plain)  # first: a small alpha payload may stand for a huge plane
        if stream.alpha is not None:
            decode_alpha(stream.alpha, stream.height, stream.width)
        return np.asarray(grids)

    @guarded
    def bits_per_block(self, data: bytes) -> np.ndarray:
        """f64[h,w]: bits that the index stream spends on each 16×16 block (ideal code length)."""
        stream = self._checked(data)
        columns = -(-stream.width // PATCH)
        spent = np.zeros(-(-stream.height // PATCH) * columns)

        def add(step, symbols, _length: int, top: int) -> None:
            low, high = np.asarray(step.bounds(symbols)).transpose(2, 0, 1)
            np.add.at(spent, np.asarray(step.positions) + top * columns, (CDF_BITS - np.log2(high - low)).sum(1))

        self._read_grids(stream, finishes.of_stream(stream).plain, add)
        return spent.reshape(-1, columns)

    @guarded
    def segment_bytes(self, data: bytes) -> tuple[int, ...]:
        """Bytes of each segment of a .vq file, in coding order; of steps without symbols 0."""
        stream = self._checked(data)
        rows, columns = -(-stream.height // PATCH), -(-stream.width // PATCH)
        index = {top: i for i, (top, _) in enumerate(bands(rows, columns))}
        lengths = [0] * (len(index) * self.coder.prior.steps)

        def note(step, _symbols, length: int, top: int) -> None:
            lengths[index[top] * self.coder.prior.steps + step.number] = length

        self._read_grids(stream, finishes.of_stream(stream).plain, note)
        return tuple(lengths)

    def _checked(self, data: bytes) -> streams.Stream:
        stream = streams.unpack(data)
        if (stream.model_id, stream.model_hash) != (self.entry.id, self.entry.hash):
            raise UnsupportedError(f"the stream was made by model {stream.model_id}, not by '{self.entry.name}'")
        return stream


def decoder_file(transform: TransformConfig) -> NetworkFile:
    """What decoder.safetensors holds."""
    return IntegerNetwork(transform) if transform.arithmetic == "integer" else FloatNetwork(shapes(transform))


def segment_reader(stream: streams.Stream, pieces: list[tuple[int, int]], prior: Prior, slices: int,
                   given: Given | None) -> SegmentReader:
    """pieces: rows of each band. Raises CorruptStreamError where there cannot be enough segments for the picture."""
    data, needed = b"".join(stream.segments), len(pieces) * prior.steps
    columns = -(-stream.width // PATCH)
    coded = [(bottom - top) * columns if given is None else int(given.rows(top, bottom).coded.sum()) for top, bottom in pieces]
    if not stream.joined and len(stream.segments) != needed:
        raise CorruptStreamError(f"expected {needed} segments, found {len(stream.segments)}")
    # Some phase of each slice has positions in every band that is coded, and a segment with symbols has a byte or more.
    few = len(data) < max(np.count_nonzero(coded) * slices, prior.least_bytes(sum(coded), stream.quality, slices))
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
