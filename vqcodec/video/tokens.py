"""Index grids int64[T,G,h,w] → a .vq file: the inverse of `VideoCodec.decode_grids`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import UsageError
from ..indices.quality import checked_sixteenths
from . import stream as streams
from .codec import VideoCodec, grid_shape
from .inspection import VideoInspection


def encode_tokens(codec: VideoCodec, grids, shape: VideoInspection, quality: float | None) -> bytes:
    """shape: what `inspect` gave of a stream like this one, whose times and groups it has. Raises UsageError for grids of another
    shape, or with codewords that the quality does not use."""
    sixteenths = shape.header.quality if quality is None else checked_sixteenths(quality, codec.qualities)
    header = replace(shape.header, quality=sixteenths, model_id=codec.entry.id, model_hash=codec.entry.hash)
    grids = np.asarray(grids)
    expected = (shape.frames, codec.coder.groups, *grid_shape(header))
    if grids.dtype.kind not in "iu" or grids.shape != expected:
        raise UsageError(f"index grids must be integers of shape {expected}, not {grids.dtype} of {grids.shape}")
    parts = [streams.pack_header(header)]
    seed = streams.peek(parts[0])[1].checksum
    for number, (begin, end) in enumerate(zip(shape.keys, (*shape.keys[1:], shape.frames))):
        before, labels, coded, whole = None, None, [], [codec.coder.array(each.astype(np.int64)) for each in grids[begin:end]]
        for each in whole:
            coded.append(codec.code_frame(each, before, sixteenths, held=labels))
            before, labels = each, coded[-1][2]
        parts.append(codec.pack_group(number, shape.times[begin:end], coded, whole, seed))
    parts.append(streams.pack_end(streams.Totals(len(shape.keys), shape.frames, shape.end), seed))
    return b"".join(parts)
