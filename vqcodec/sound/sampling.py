"""The prior of sound as a generator: whole recordings, seconds behind one, a part of one → bytes of a .vq file.

A chunk's index grids are drawn in the order in which they are coded, so that what is kept of a chunk is seen by all that is
coded after it; nothing is seen of other chunks.
"""

from __future__ import annotations

import io
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
from ..stream import checked_metadata
from . import gains as knotted
from . import stream as streams
from .codec import AudioCodec, packed_chunk
from .memory import needed
from .pace import Pace
from .stream import MAX_LENGTH, SoundHeader

USUAL = 5.0  # seconds
MAX_FRAMES = (1 << 32) - 1  # a frame's number is a word of the random numbers' counter


def usual_seconds(codec: AudioCodec) -> float:
    """As many frames as the model tells apart, if it does."""
    places = codec.model.prior.places
    return places[1] * codec.model.transform.step / codec.rate if places else USUAL


@guarded
def sample(codec: AudioCodec, drawing: Drawing, seconds: float, quality: float, progress) -> bytes:
    """A recording at the model's own rate and number of channels. Raises UsageError, LimitError."""
    channels = codec.model.transform.channels
    header = SoundHeader(model_id=codec.entry.id, model_hash=codec.entry.hash, quality=checked_sixteenths(quality, codec.qualities),
                         rate=codec.rate, channels=channels, coded_channels=channels,
                         length=max(1, round(min(seconds * codec.rate, MAX_LENGTH + 1))), gain=0)
    _check(codec, header)
    return _drawn(codec, header, drawing, codec.model.prior.numbers(drawing.label), progress)


@guarded
def extend(codec: AudioCodec, data: bytes, drawing: Drawing, seconds: float, progress) -> bytes:
    """A recording and so many seconds behind it. A latent frame that its end cuts is drawn anew. Raises UsageError, LimitError,
    and CorruptStreamError as `AudioCodec.decode`."""
    old, _ = streams.peek(data)
    header = replace(old, length=old.length + max(1, round(min(seconds * old.rate, MAX_LENGTH + 1))))
    _check(codec, header)
    known = codec.decode_grids(data)
    whole = min(known.shape[2], old.length * codec.rate // old.rate // codec.model.transform.step)
    kept = np.zeros(codec.frames(header), bool)
    kept[:whole] = True
    known = np.pad(known, ((0, 0), (0, 0), (0, len(kept) - known.shape[2])))
    return _redrawn(codec, data, header, drawing, progress, known, kept)


@guarded
def fill(codec: AudioCodec, data: bytes, drawing: Drawing, span: tuple[float, float], progress) -> bytes:
    """A recording of which the latent frames that a span (from, to) of seconds touches are drawn anew. Raises as `extend`, and
    UsageError for a span that is not within."""
    header, _ = streams.peek(data)
    first, last = (second * codec.rate / codec.model.transform.step for second in span)
    if not 0 <= span[0] < span[1] <= header.length / header.rate:
        raise UsageError(f"the span {span[0]:g},{span[1]:g} (START,END) is not within {header.length / header.rate:g} seconds")
    known = codec.decode_grids(data)
    kept = np.ones(known.shape[2], bool)
    kept[int(first) : int(np.ceil(last))] = False
    return _redrawn(codec, data, header, drawing, progress, known, kept)


def _redrawn(codec: AudioCodec, data: bytes, header: SoundHeader, drawing: Drawing, progress, known, kept) -> bytes:
    """data: the stream that was; header: of the one that is to be; known int64[G,U,T] and kept bool[T]: as in
    `GridReader.draw`, over all frames."""
    file = io.BytesIO(data)
    old, sealed = streams.read_header(file)
    sizes, gains = codec.chunks(old), []
    chunks = streams.ChunkReader(file, len(sizes), streams.seed_of(old, sealed))
    for number, (begin, end) in enumerate(sizes):
        chunk = chunks.read(number)
        gains.append(codec.read_gains(chunk, end - begin, old))
    labels = codec.model.prior.numbers(drawing.label)
    if drawing.label is None and labels:  # those of the last chunk
        labels = codec.coder.labels_before(chunk.payload[knotted.size(chunk.payload)[2] if old.gains else 0 :])
    more = dict(known=known, kept=kept, metadata=checked_metadata(data, sealed), gains=gains if old.gains else None)
    found = _drawn(codec, header, drawing, labels, progress, **more)
    if not drawing.sweeps:
        return found
    grids = codec.decode_grids(found)
    for unit in range(grids.shape[1]):
        grids[:, unit] = settle(codec.coder, grids[:, unit, None], ~kept[None], header.quality, Sampler(drawing), drawing.sweeps,
                                codec.coder.present(header.quality), labels, top=unit, progress=progress)[:, 0]
    return _drawn(codec, header, drawing, labels, progress, **{**more, "known": grids, "kept": np.ones_like(kept)})


def _drawn(codec: AudioCodec, header: SoundHeader, drawing: Drawing, labels, progress, *, known=None, kept=None,
           metadata: bytes | None = None, gains: list[np.ndarray] | None = None) -> bytes:
    """gains: of each chunk, at its knots; those that are missing go on as the last ones end."""
    sampler, slices, step = Sampler(drawing), codec.coder.present(header.quality), codec.model.transform.step
    pace = Pace(progress, header.length / header.rate)
    header = replace(header, bound=True)
    parts = [streams.pack_header(header, metadata)]
    seed = streams.seed_of(header, streams.peek(parts[0])[1])
    for number, (begin, end) in enumerate(codec.chunks(header)):
        results = []
        for unit in range(codec.units(header)):
            part = {} if known is None else {"known": known[:, unit, None, begin:end], "kept": kept[begin:end]}
            results.append(codec.coder.draw(1, end - begin, header.quality, sampler, top=unit, left=begin, slices=slices,
                                            labels=labels, **part))
        level = None
        if gains:
            level = gains[number] if number < len(gains) else gains[-1][:, -1:]
            level = np.pad(level, ((0, 0), (0, len(knotted.knots(end - begin)) - level.shape[1])), mode="edge")
        parts.append(packed_chunk(number, codec.coder.joined([grids for grids, _ in results], 1), [s for _, s in results], seed, level))
        pace(end * step / codec.rate)
    return b"".join(parts)


def _check(codec: AudioCodec, header: SoundHeader) -> None:
    frames = codec.frames(header)
    if header.length > MAX_LENGTH or frames > MAX_FRAMES:
        raise UsageError(f"a recording of {header.length / header.rate:g} seconds cannot be coded")
    samples = header.length * header.channels
    grids = 16 * codec.coder.groups * codec.units(header) * frames
    filelimits.check(Extent(samples=samples, output=2 * samples, memory=needed(header.channels, header.coded_channels) + grids))
