"""The prior of pictures as a generator: whole pictures, rows below one, a part of one → bytes of a .vq file.

Index grids are drawn in the order in which they are coded, so that what is drawn is seen by all that comes after it, and
what is kept by all that comes after that: an index that is drawn early does not know of kept ones that are coded later.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import filelimits
from ..errors import UsageError
from ..filelimits import Extent
from ..guard import guarded
from ..indices.drawing import Drawing
from ..indices.quality import checked_sixteenths
from ..indices.sampling import Sampler
from ..indices.settling import settle
from . import finish as finishes
from . import stream as streams
from .alpha import decode_alpha, encode_alpha
from .codec import PATCH, Codec, Progress, bands, check_size
from .finish import Finish
from .memory import needed
from .plain import CODED

USUAL = 256  # pixels of a side


def usual_size(codec: Codec) -> tuple[int, int]:
    """(width, height): those whose places the model tells apart, if it does."""
    rows, columns = codec.model.prior.places or (USUAL // PATCH,) * 2
    return columns * PATCH, rows * PATCH


@guarded
def sample(codec: Codec, drawing: Drawing, width: int, height: int, quality: float, progress: Progress) -> bytes:
    """A picture. Raises UsageError for a size or quality that cannot be coded, LimitError."""
    sixteenths = checked_sixteenths(quality, codec.qualities)
    _check(codec, width, height)
    labels = codec.model.prior.numbers(drawing.label)
    grids, segments = _draw(codec, drawing, labels, -(-height // PATCH), -(-width // PATCH), sixteenths, progress)
    return codec._packed(grids, segments, height, width, sixteenths, False, None).data


@guarded
def extend(codec: Codec, data: bytes, drawing: Drawing, rows: int, progress: Progress) -> bytes:
    """A picture and so many rows of pixels below it; they are opaque. Raises UsageError, LimitError, and CorruptStreamError as
    `Codec.decode`."""
    stream, old = codec._checked(data), codec.decode_grids(data)
    height = stream.height + rows
    _check(codec, stream.width, height)
    known = np.zeros((len(old), -(-height // PATCH), old.shape[2]), np.int64)
    known[:, : old.shape[1]] = old
    kept = np.zeros(known.shape[1:], bool)
    kept[: old.shape[1]] = True
    alpha = None
    if stream.alpha is not None:
        plane = decode_alpha(stream.alpha, stream.height, stream.width)
        alpha = encode_alpha(np.pad(plane, ((0, rows), (0, 0)), constant_values=255))
    finish = finishes.of_stream(stream)
    if finish.plain is not None:
        blocks = np.pad(finish.plain.labels, ((0, len(kept) - old.shape[1]), (0, 0)), constant_values=CODED)
        finish = replace(finish, plain=replace(finish.plain, labels=blocks))
    return _redrawn(codec, replace(stream, height=height, alpha=alpha), drawing, known, kept, finish, codec.coder.needed(old), progress)


@guarded
def fill(codec: Codec, data: bytes, drawing: Drawing, box: tuple[int, int, int, int], progress: Progress) -> bytes:
    """A picture in which the 16×16 blocks that a box (x, y, width, height) of pixels touches are drawn anew. Raises as
    `extend`, and UsageError for a box that is not within."""
    stream = codec._checked(data)
    x, y, width, height = box
    if not (x >= 0 and y >= 0 and width >= 1 and height >= 1 and x + width <= stream.width and y + height <= stream.height):
        raise UsageError(f"the box {','.join(map(str, box))} (X,Y,WIDTH,HEIGHT) is not within {stream.width}x{stream.height} pixels")
    known = codec.decode_grids(data)
    kept = np.ones(known.shape[1:], bool)
    kept[y // PATCH : -(-(y + height) // PATCH), x // PATCH : -(-(x + width) // PATCH)] = False
    finish = finishes.of_stream(stream)
    if finish.plain is not None:
        finish = replace(finish, plain=replace(finish.plain, labels=np.where(kept, finish.plain.labels, CODED).astype(np.uint8)))
    return _redrawn(codec, stream, drawing, known, kept, finish, codec.coder.needed(known), progress)


def _redrawn(codec, stream: streams.Stream, drawing, known: np.ndarray, kept: np.ndarray, finish: Finish, slices: int,
             progress) -> bytes:
    given = None if finish.plain is None else finish.plain.given(codec.coder, stream.quality)
    labels = (codec.model.prior.numbers(drawing.label) if drawing.label is not None
              else codec.coder.labels_before(b"".join(stream.segments)))
    grids, segments = _draw(codec, drawing, labels, *kept.shape, stream.quality, progress, known, kept, given, slices)
    if drawing.sweeps:
        settled = settle(codec.coder, np.asarray(grids), ~kept, stream.quality, Sampler(drawing), drawing.sweeps, slices, labels,
                         progress=progress)
        grids, segments = _draw(codec, drawing, labels, *kept.shape, stream.quality, progress, settled, np.ones_like(kept),
                                given, slices)
    return codec._packed(grids, segments, stream.height, stream.width, stream.quality, stream.grey, stream.alpha,
                         stream.metadata, finish).data


def _draw(codec: Codec, drawing, labels, rows: int, columns: int, sixteenths: int, progress, known=None, kept=None,
          given=None, slices=None):
    """(index grids int64[G,h,w], segments); the rest as in `GridReader.draw`."""
    sampler, pieces, results = Sampler(drawing), bands(rows, columns), []
    slices = slices or codec.coder.present(sixteenths)
    for number, (top, bottom) in enumerate(pieces, 1):
        progress(f"drawing, band {number} of {len(pieces)}")
        part = {} if known is None else {"known": known[:, top:bottom], "kept": kept[top:bottom]}
        results.append(codec.coder.draw(bottom - top, columns, sixteenths, sampler, top=top, slices=slices, labels=labels,
                                        given=given and given.rows(top, bottom), **part))
    grids = codec.coder.joined([grids for grids, _ in results], 1)
    coded = codec.coder.steps(codec.coder.needed(grids))  # of slices that have turned out to be at rest there are no bytes
    return grids, tuple(s if i < coded else b"" for _, segments in results for i, s in enumerate(segments))


def _check(codec: Codec, width: int, height: int) -> None:
    check_size(width, height, codec.coder.prior.steps)
    filelimits.check(Extent(pixels=width * height, output=3 * width * height, memory=needed(width, height)))
