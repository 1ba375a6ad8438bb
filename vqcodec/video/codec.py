"""Composes the stages for video; the only place that knows their order there.

    file → frames → latents → codewords ┐                             ┌ codewords → pixels → frames → file
                                        ├ prior ⇄ range coder, by group ┤
                    groups of a stream ─┘                             └─ groups of a stream

The first frame of a group is coded as a picture is, by the prior of the model's base; each further one by a prior that sees the
codewords of the frame before. A group is decoded by itself. Memory does not grow with the length of a clip.
"""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module

import numpy as np

from .. import filelimits
from ..errors import CorruptStreamError, InputError, UnknownModelError, UnsupportedError, UsageError, VqcodecWarning
from ..guard import guarded
from ..indices import rangecoder
from ..indices.bounds import CDF_BITS
from ..indices.grids import GridReader, OneSegment, flat
from ..indices.numpy_prior import NumpyPrior
from ..indices.quality import checked_quality
from ..indices.reference import values_of, whole_codewords
from ..picture.codec import PATCH, Codec, bands
from ..stream import Sealed, checked_metadata, grids_crc
from ..zoo import reading, registry
from ..zoo.registry import ModelEntry
from . import config as configuration
from . import labels as wording
from . import stream as streams
from .file import Colour, Frame, Shape
from .labels import Labels
from .stream import GROUP, Group, Segment, VideoHeader

Progress = Callable[[str], None]
Ahead = Callable[[Iterable[Segment]], Iterator[tuple[Segment, Iterator | None]]]  # → each with (time, content) of its frames, of a group


@dataclass(frozen=True)
class Lost:
    """Seconds [start, end) of a clip in which the frame before stands still, because a group is damaged."""

    start: float
    end: float


def base_of(entry: ModelEntry, config: configuration.VideoModelConfig) -> ModelEntry:
    """The model of pictures that a model of video is made over: in its own folder, or wherever models are. Raises
    UnknownModelError where it is not installed."""
    own = registry.read_registry(entry.path.parent, missing_ok=True)
    for found in (*own, *registry.list_models()):
        if found.fingerprint.hex() == config.base.fingerprint:
            return found
    raise UnknownModelError(f"model '{entry.name}' needs model '{config.base.name}' with the fingerprint {config.base.fingerprint}, "
                            "which is not installed; 'vqcodec models import FILE' installs it")


class VideoCodec:
    """A loaded model of video, which decodes: in NumPy. `TorchVideoCodec` is one that encodes too. Thread-safe: nothing changes
    after `open`."""

    def __init__(self, entry: ModelEntry, base: Codec, coder: GridReader, config: configuration.VideoModelConfig):
        """base: the codec of pictures; coder: of frames that follow others."""
        self.entry, self.base, self.coder, self.config = entry, base, coder, config
        self.whole = whole_codewords(coder.codebooks)

    @classmethod
    def open(cls, entry: ModelEntry, *, encoder: bool = True, on_torch: bool = False) -> VideoCodec:
        """Loads a model and its base. Raises as `picture.codec.Codec.open`, and UnknownModelError where the base is missing."""
        if entry.modality != "video":
            raise UnsupportedError(f"model '{entry.name}' is one of {entry.modality}, not of video")
        config = configuration.of_model(entry)
        base = Codec.open(base_of(entry, config), encoder=encoder, on_torch=on_torch)
        frames = configuration.frames_config(config, base.model)
        tensors = reading.read_prior(entry, frames, led=True)
        if encoder or on_torch:
            return import_module(f"{__package__}.torch_codec").TorchVideoCodec.of(entry, base, tensors, frames, config)
        return cls(entry, base, GridReader(NumpyPrior(tensors, frames.quantizer), base.coder.codebooks, frames.quantizer), config)

    @property
    def qualities(self) -> int:
        return self.base.qualities

    # --- index grids ⇄ payloads --------------------------------------------------------------------------

    def reference(self, before, rows: slice):
        """What the prior sees of a band: the grids int64[G,h,w] of the frame before."""
        return self.coder.prior.reference(values_of(np.asarray(before)[:, rows], self.whole))

    @property
    def no_labels(self) -> Labels:
        """Those of a frame that has none."""
        return (0,) * len(self.coder.prior.labels)

    def code_frame(self, grids, before, sixteenths: int, labels: Labels | None = None, held: Labels | None = None
                   ) -> tuple[int, bytes, Labels]:
        """(slices, payload, labels) of index grids int64[G,h,w]; before: those of the frame before, None in front of a group; labels:
        if not those with which it is smallest; held: those of the frame before."""
        slices = self._needed(grids, before, sixteenths)
        if before is None or not slices:
            labels = self.no_labels
        elif labels is None:
            labels = self.best_labels(grids, before, sixteenths, slices, held)
        told = [self._told(labels, held)] if before is not None and slices else []
        return slices, one_segment(told + [part for top, bottom in bands(*grids.shape[1:]) for part in
                                           self._code_band(grids, before, slice(top, bottom), sixteenths, slices, labels)]), labels

    def _told(self, labels: Labels, held: Labels | None) -> np.ndarray:
        return wording.bounds(labels, held or self.no_labels, self.coder.prior.labels)

    def best_labels(self, grids, before, sixteenths: int, slices: int, held: Labels | None) -> Labels:
        """With which grids int64[G,h,w] have the fewest bits. None of large grids."""
        counts = self.coder.prior.labels
        if not counts:
            return ()
        return self.coder.best_labels(grids, sixteenths, slices, reference=self.reference(before, slice(None)), rest=before,
                                      price=lambda labels: wording.bits(labels, held or self.no_labels, counts))

    def _code_band(self, grids, before, rows: slice, sixteenths: int, slices: int, labels: Labels) -> list[np.ndarray]:
        if before is None:
            return self.base.coder.code(grids[:, rows], sixteenths, slices, coded=flat)
        if not slices:
            return []
        return self.coder.code(grids[:, rows], sixteenths, slices, coded=flat, labels=labels,
                               reference=self.reference(before, rows), rest=before[:, rows])

    def _needed(self, grids, before, sixteenths: int) -> int:
        """How many slices there must be. Raises UsageError where that is more than the quality has."""
        present = self.coder.present(sixteenths)
        if before is None:
            found = self.base.coder.needed(grids)
        else:
            found = next((i + 1 for i in range(len(self.coder.layouts) - 1, -1, -1)
                          if (grids[self.coder.layouts[i].planes] != before[self.coder.layouts[i].planes]).any()), 0)
        if found > present:
            raise UsageError("index grids hold slices that this quality does not have")
        return found

    def read_frame(self, payload: bytes, slices: int, before, shape: tuple[int, int], sixteenths: int, seen=None,
                   held: Labels | None = None):
        """(index grids int64[G,h,w], labels); held: those of the frame before. Raises CorruptStreamError."""
        present = self.coder.present(sixteenths)
        if not (before is None) <= slices <= present:
            raise CorruptStreamError(f"a frame has {slices} of {present} slices")
        if not slices:
            if payload:
                raise CorruptStreamError("a frame without slices has bytes")
            return before, self.no_labels
        reader, (rows, columns) = OneSegment(payload), shape
        prior = self.base.coder.prior if before is None else self.coder.prior
        if len(payload) < prior.least_bytes(rows * columns, sixteenths, slices):
            raise CorruptStreamError(f"{len(payload)} bytes cannot hold a frame")
        parts, labels = [], self.no_labels
        if before is not None:
            labels = wording.read(reader, held or labels, self.coder.prior.labels)
        for top, bottom in bands(rows, columns):
            of_band = seen and partial(seen, top=top)
            if before is None:
                parts.append(self.base.coder.read(reader, bottom - top, columns, sixteenths, of_band, slices))
            else:
                band = slice(top, bottom)
                parts.append(self.coder.read(reader, bottom - top, columns, sixteenths, of_band, slices, labels=labels,
                                             reference=self.reference(before, band), rest=before[:, band]))
        reader.finish()
        return self.coder.joined(parts, 1), labels

    def pack_group(self, number: int, times, coded: list[tuple[int, bytes]], grids, seed: bytes) -> bytes:
        """coded: (slices, payload, …) of each frame; grids: int64[G,h,w] of each."""
        payloads = [frame[1] for frame in coded]
        group = Group(tuple(times), tuple(frame[0] for frame in coded), tuple(map(len, payloads)),
                      grids_crc(np.stack([np.asarray(each) for each in grids])))
        return streams.pack_group(number, group, payloads, seed)

    @guarded
    def read_group(self, segment: Segment, header: VideoHeader, seen=None, begin: Callable[[], object] = lambda: None,
                   told: Callable[[Labels], object] = lambda labels: None) -> Iterator[tuple[int, object]]:
        """(time, index grids int64[G,h,w]) of each frame of a group; at the end, or before, CorruptStreamError. `begin()` is called
        before each frame, `told` with its labels behind it, `seen` as in `GridReader.read`."""
        group = streams.unpack_group(segment)
        quality, shape = checked_quality(header.quality, self.qualities), grid_shape(header)
        before, labels, position, crc = None, None, 0, 0
        for time, slices, length in zip(group.times, group.slices, group.lengths):
            filelimits.tick()
            begin()
            before, labels = self.read_frame(segment.payload[position : position + length], slices, before, shape, quality, seen, labels)
            told(labels)
            position += length
            crc = zlib.crc32(np.ascontiguousarray(before, "<u2"), crc)
            yield time, before
        if crc != group.grids_crc:
            raise CorruptStreamError(f"checksum of the index grids of group {segment.number} does not match: it is damaged")

    # --- whole clips -------------------------------------------------------------------------------------

    def encode(self, *_arguments, **_options):
        """`TorchVideoCodec` does it. Raises UnsupportedError."""
        raise UnsupportedError(f"model '{self.entry.name}' was opened without its encoder: it cannot encode")

    def decode_stream(self, file, *, conceal: bool = False, start: float = 0.0, duration: float | None = None) -> DecodedClip:
        """An open .vq file → its frames, one after the other; start, duration: seconds, for which groups are decoded. Raises
        CorruptStreamError, UnsupportedError; damage within a group only when its frames are asked for, or, with `conceal`, never:
        the frame before stands still, and the seconds are listed."""
        place = file.tell()
        header, sealed = streams.peek(file.read(streams.MAX_HEADER))
        file.seek(place)
        try:
            checked_metadata(file.read(sealed.end), sealed)
        except CorruptStreamError as error:
            if not conceal:
                raise
            warnings.warn(f"{error}; they are passed over", VqcodecWarning, stacklevel=2)
        file.seek(place + sealed.end)
        if (header.model_id, header.model_hash) != (self.entry.id, self.entry.hash):
            raise UnsupportedError(f"the stream was made by model {header.model_id}, not by '{self.entry.name}'")
        checked_quality(header.quality, self.qualities)
        return DecodedClip(self, file, header, sealed, conceal, start, duration)

    @guarded
    def decode_grids(self, data: bytes) -> np.ndarray:
        """.vq file → index grids int64[T,G,h,w], checked against the stream's checksums."""
        return np.stack([np.asarray(grids) for _, _, grids in self.decode_stream(io.BytesIO(data)).grids()])

    def labels(self, data: bytes) -> list[Labels]:
        """.vq file → the labels of each frame, of the way to it from the one before."""
        found: list[Labels] = []
        for _ in self.decode_stream(io.BytesIO(data)).grids(told=found.append):
            pass
        return found

    def bits_per_frame(self, data: bytes) -> np.ndarray:
        """f64[T]: bits that the index stream spends on each frame (ideal code length)."""
        spent: list[float] = []

        def add(step, symbols, _length: int, top: int) -> None:
            low, high = np.asarray(step.bounds(symbols)).transpose(2, 0, 1)
            spent[-1] += float((CDF_BITS - np.log2(high - low)).sum())

        for _ in self.decode_stream(io.BytesIO(data)).grids(add, lambda: spent.append(0.0)):
            pass
        return np.array(spent)


def one_segment(bounds: list[np.ndarray]) -> bytes:
    """The payload of a frame, of the bounds int32[N,2] of the symbols of each step."""
    return rangecoder.encode_bounds(*np.concatenate([*bounds, np.zeros((0, 2), np.int32)]).T)


def grid_shape(header: VideoHeader) -> tuple[int, int]:
    return -(-header.height // PATCH), -(-header.width // PATCH)


def shape_of(header: VideoHeader) -> Shape:
    return Shape(header.width, header.height, header.aspect, header.time_base,
                 Colour(header.primaries, header.transfer, header.matrix, header.full))


class DecodedClip:
    """A .vq file that is being decoded: its `header`; after its frames have been read, `lost`, and its `totals` (None where the
    end is lost). start, duration: of the part that is shown, in seconds."""

    def __init__(self, codec: VideoCodec, file, header: VideoHeader, sealed: Sealed, conceal: bool, start: float = 0.0,
                 duration: float | None = None):
        self.codec, self.file, self.header, self.conceal = codec, file, header, conceal
        self.seed, self.position = sealed.checksum, file.tell()
        self.lost: list[Lost] = []
        self.totals: streams.Totals | None = None
        self.whole = not start and duration is None
        unit, hair = float(header.time_base), 1e-9
        self.begin = (start - hair) / unit
        self.stop = float("inf") if duration is None else (start + duration - hair) / unit

    @cached_property
    def outline(self) -> streams.Outline:
        """What the tables say, without payloads. Raises CorruptStreamError."""
        position = self.file.tell()
        self.file.seek(self.position)
        found = streams.outline(self.file, self.seed, conceal=self.conceal)
        self.file.seek(position)
        return found

    @cached_property
    def origin(self) -> int:
        """Time of the first frame that is shown. Raises InputError where there is none in the part."""
        if self.whole:
            return 0
        first = self.outline.first(self.begin)
        if first is None or first >= self.stop:
            raise InputError("no frame in this part of it")
        return first

    def segments(self) -> list[streams.Segment]:
        """All of them."""
        self.file.seek(self.position)
        return list(streams.SegmentsOf(self.file, self.seed, conceal=self.conceal))

    def grids(self, seen=None, begin: Callable[[], object] = lambda: None, told: Callable[[Labels], object] = lambda labels: None,
              ahead: Ahead | None = None) -> Iterator:
        """(whether a group begins, time, index grids int64[G,h,w]) of each frame of the groups that are needed; if damage is
        concealed, grids are of uint16, and (None, 0, None) stands for groups that are lost. ahead: decodes groups elsewhere; what
        it gives stands in for grids."""
        groups, frames, last = 0, 0, -1
        needed = None if self.whole else self.outline.between(self.begin, self.stop)
        self.file.seek(self.position)
        segments = streams.SegmentsOf(self.file, self.seed, conceal=self.conceal,
                                      wanted=lambda kind, number: kind != GROUP or needed is None or number in needed)
        for segment, found in (ahead or self._here(seen, begin, told))(segments):
            if segment.kind == GROUP:
                groups += 1
                if segment.number >= groups:  # some are missing
                    groups = segment.number + 1
                    yield None, 0, None
                if segment.unread:
                    found = ((time, None) for time in streams.unpack_group(segment).times)
                found = ((i == 0, *each) for i, each in enumerate(found))
                if self.conceal:
                    found = self._whole(found)
                for first, time, grids in found:
                    if first is not None and time <= last:
                        if not self.conceal:
                            raise CorruptStreamError(f"the times of group {segment.number} do not rise")
                        yield None, 0, None
                        break
                    frames, last = frames + 1, time if first is not None else last
                    if first is None or not segment.unread:
                        yield first, time, grids
            elif segment.kind == streams.END:
                self.totals = streams.unpack_end(segment)
                if self.conceal and self.totals.groups > groups:
                    yield None, 0, None
            else:
                self.check_sound(segment)
        if not self.conceal and ((self.totals.groups, self.totals.frames) != (groups, frames) or self.totals.end <= last):
            raise CorruptStreamError(f"the stream has {frames} frames in {groups} groups, and its end says something else")

    def _here(self, seen, begin, told) -> Ahead:
        """Groups are decoded where they are asked for."""
        def groups(segments):
            for segment in segments:
                known = segment.kind != GROUP or segment.unread
                yield segment, None if known else self.codec.read_group(segment, self.header, seen, begin, told)

        return groups

    def check_sound(self, segment: Segment) -> None:
        if zlib.crc32(segment.payload).to_bytes(4, "little") != segment.table and not self.conceal:
            raise CorruptStreamError(f"piece {segment.number} of the sound is damaged: its checksum does not match")

    def frames(self, ahead: Ahead | None = None) -> Iterator[Frame]:
        """All frames of the part. Of a group that is damaged none is shown, if damage is concealed: the last good frame is
        repeated. ahead: see `grids`."""
        rgb, shown, origin = None, None, self.origin
        for time, duration, content in self._timed(ahead):
            if not self.begin <= time < self.stop:
                continue
            if shown is None or not _same(content, shown):  # often it is, in what stands still
                rgb, shown = self._pixels(content), content
            yield Frame(rgb, time - origin, duration)
        if shown is None:
            raise CorruptStreamError("no frame of the stream could be decoded")

    def _timed(self, ahead) -> Iterator[tuple[int, int, object]]:
        """(time, duration, content) of each frame, and of those that stand in for what is lost."""
        held, usual, gap = None, None, False
        for first, time, content in self.grids(ahead=ahead):
            if content is None:
                gap = True
                continue
            if held is not None:
                usual = usual or time - held[0]
                if gap and first:
                    yield from self._repeated(*held, time, usual)
                    gap = False
                else:
                    yield held[0], time - held[0], held[1]
            elif gap:
                self._lose(0, time)
                gap = False
            held = time, content
        if held is None:
            return
        end = self.totals and self.totals.end
        if not self.whole and (following := self.outline.first(held[0] + 1)) is not None:
            end = following
        end = max(end or 0, held[0] + 1)
        if gap and usual and self.totals:
            yield from self._repeated(*held, end, usual)
        else:
            yield held[0], end - held[0] if self.totals else usual or 1, held[1]

    @staticmethod
    def _whole(group) -> list:
        """A group once it has been checked; (None, 0, None) in its place if it is damaged."""
        try:
            return [(first, time, content if content is None or content.dtype == np.uint8 else np.asarray(content).astype(np.uint16))
                    for first, time, content in group]
        except CorruptStreamError:
            return [(None, 0, None)]

    def _repeated(self, time: int, content, until: int, usual: int) -> Iterator[tuple[int, int, object]]:
        """The last good frame, up to the time of the next one."""
        self._lose(time + usual, until)
        while time + usual < until and (until - time) // usual < 1 << 16:
            yield time, usual, content
            time += usual
        yield time, until - time, content

    def _lose(self, start: int, end: int) -> None:
        start, end = max(start, self.origin), min(end, self.stop)
        if start < end:
            base = self.header.time_base
            self.lost.append(Lost(float((start - self.origin) * base), float((end - self.origin) * base)))

    @guarded
    def _pixels(self, content) -> np.ndarray:
        """uint8[H,W,3] of grids; of what is that already, itself."""
        if content.dtype == np.uint8:
            return content
        if content.dtype == np.uint16:  # as groups are held
            content = self.codec.coder.array(content.astype(np.int64))
        return self.codec.base.pixels(content, self.header.height, self.header.width, self.header.quality)


def _same(one, other) -> bool:
    return one is other or (one.dtype != np.uint8 and np.array_equal(one, other))
