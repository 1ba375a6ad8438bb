"""The prior of video as a generator: whole clips, and what follows one, frame by frame, by what is done in it → bytes of a .vq file.

The first frame is drawn by the base, each further one by the prior that sees the frame before, under its labels. In random numbers the
row of a position counts on by 2^16 from frame to frame.
"""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np

from .. import filelimits
from ..errors import CorruptStreamError, UsageError
from ..filelimits import Extent
from ..guard import guarded
from ..indices.drawing import Drawing
from ..indices.quality import checked_sixteenths
from ..indices.sampling import Sampler
from ..picture.codec import bands
from ..picture.memory import needed
from ..picture.sampling import usual_size
from . import stream as streams
from .codec import Progress, VideoCodec, grid_shape
from .file import Colour
from .labels import Labels, of_words
from .stream import END, GROUP, MAX_FRAMES, Group, VideoHeader

USUAL = 16  # frames
RATE = 10  # of what is made up, frames a second
MOST = 1 << 16  # frames of a clip


@guarded
def sample(codec: VideoCodec, drawing: Drawing, frames: int, quality: float, progress: Progress) -> bytes:
    """A clip, of the size of pictures that the base draws. Raises UsageError for a quality or a number of frames that cannot be,
    LimitError."""
    sixteenths, (width, height), colour = checked_sixteenths(quality, codec.qualities), usual_size(codec.base), Colour()
    header = VideoHeader(model_id=codec.entry.id, model_hash=codec.entry.hash, quality=sixteenths, width=width, height=height,
                         aspect=Fraction(1), time_base=Fraction(1, RATE), primaries=colour.primaries, transfer=colour.transfer,
                         matrix=colour.matrix, full=colour.full)
    _check(header, frames)
    head = streams.pack_header(header)
    writer = _Writer(codec, header, streams.peek(head)[1].checksum)
    _draw(writer, drawing, range(frames), 1, progress)
    writer.finish_group()
    return b"".join([head, *writer.parts, streams.pack_end(streams.Totals(writer.groups, frames, frames), writer.seed)])


@guarded
def extend(codec: VideoCodec, data: bytes, drawing: Drawing, frames: int, progress: Progress) -> bytes:
    """A clip and so many frames behind it, as long as its last one; what is there stays, byte for byte but for its last group. Raises
    as `sample`, and CorruptStreamError as `VideoCodec.decode_stream`."""
    file = io.BytesIO(data)
    header, sealed = streams.peek(data)
    segments = codec.decode_stream(file).segments()  # checks whose stream it is
    groups = [s for s in segments if s.kind == GROUP]
    others = [s for s in segments if s.kind not in (GROUP, END)]
    totals = streams.unpack_end(segments[-1])
    _check(header, totals.frames + frames)
    writer = _Writer(codec, header, sealed.checksum)
    writer.groups = len(groups) - 1
    last = writer.take(groups[-1])
    tick = totals.end - last
    if tick < 1:
        raise CorruptStreamError("the last frame of the stream has no time")
    _draw(writer, drawing, range(totals.frames, totals.frames + frames), tick, progress, totals.end)
    writer.finish_group()
    whole = [data[s.start : s.start + s.size] for s in groups[:-1]]
    end = streams.Totals(writer.groups, totals.frames + frames, totals.end + tick * frames)
    return b"".join([data[: sealed.end], *whole, *writer.parts, *(data[s.start : s.start + s.size] for s in others),
                     streams.pack_end(end, writer.seed)])


def _draw(writer: _Writer, drawing: Drawing, numbers: range, tick: int, progress: Progress, start: int = 0) -> None:
    """numbers: of frames in the clip; tick: time of each; start: time of the first."""
    codec, sampler = writer.codec, Sampler(drawing)
    config = codec.config.prior
    asked = of_words(drawing.label, config, len(numbers) - (not numbers.start))
    labels = iter(asked if numbers.start else [codec.no_labels, *asked])  # nothing leads to the first frame of a clip
    for i, number in enumerate(numbers):
        filelimits.tick()
        progress(f"drawing, frame {i + 1} of {len(numbers)}")
        own = next(labels)
        writer.add(start + i * tick, draw_frame(codec, writer.header, writer.before, own, sampler, number), own)


def draw_frame(codec: VideoCodec, header: VideoHeader, before, labels: Labels, sampler: Sampler, number: int):
    """Index grids int64[G,h,w] of the frame of that number in a clip; before: those of the frame before, or None."""
    rows, columns = grid_shape(header)
    parts = []
    for top, bottom in bands(rows, columns):
        place = dict(top=top + (number << 16), coded=False)
        if before is None:
            parts.append(codec.base.coder.draw(bottom - top, columns, header.quality, sampler, **place,
                                               slices=codec.base.coder.present(header.quality))[0])
        else:
            band = slice(top, bottom)
            parts.append(codec.coder.draw(bottom - top, columns, header.quality, sampler, **place, labels=labels,
                                          slices=codec.coder.present(header.quality), reference=codec.reference(before, band),
                                          rest=before[:, band])[0])
    return codec.coder.joined(parts, 1)


class _Writer:
    """Groups of a stream that grows; `parts`: those that are done. A group ends where it can hold no more."""

    def __init__(self, codec: VideoCodec, header: VideoHeader, seed: bytes):
        self.codec, self.header, self.seed = codec, header, seed
        self.groups, self.parts = 0, []
        self.before = None
        self._begin()

    def _begin(self) -> None:
        self.times, self.coded, self.grids, self.held = [], [], [], self.codec.no_labels

    def take(self, segment: streams.Segment) -> int:
        """Goes on with a group of a stream; returns the time of its last frame."""
        group: Group = streams.unpack_group(segment)
        position = 0
        for time, grids in self.codec.read_group(segment, self.header, told=self._hold):
            length = group.lengths[len(self.times)]
            self.coded.append((group.slices[len(self.times)], segment.payload[position : position + length]))
            self.times.append(time)
            self.grids.append(np.asarray(grids).astype(np.uint16))
            self.before, position = grids, position + length
        return self.times[-1]

    def _hold(self, labels: Labels) -> None:
        self.held = labels

    def add(self, time: int, grids, labels: Labels) -> None:
        if len(self.times) == MAX_FRAMES:
            self.finish_group()
        slices, payload, self.held = self.codec.code_frame(grids, self.before if self.times else None, self.header.quality, labels,
                                                           self.held)
        self.times.append(time)
        self.coded.append((slices, payload))
        self.grids.append(np.asarray(grids).astype(np.uint16))
        self.before = grids

    def finish_group(self) -> None:
        self.parts.append(self.codec.pack_group(self.groups, self.times, self.coded, self.grids, self.seed))
        self.groups += 1
        self._begin()


def _check(header: VideoHeader, frames: int) -> None:
    if frames > MOST:
        raise UsageError(f"a clip of {frames} frames: {MOST} are the most that can be drawn")
    pixels = header.width * header.height
    filelimits.check(Extent(pixels=pixels, memory=needed(header.width, header.height) + 2 * frames * pixels // 64))
