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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import numpy as np

from .. import filelimits
from ..errors import CorruptStreamError, UnknownModelError, UnsupportedError, UsageError, VqcodecWarning
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

    def decode_stream(self, file, *, conceal: bool = False) -> DecodedClip:
        """An open .vq file → its frames, one after the other. Raises CorruptStreamError, UnsupportedError; damage within a group
        only when its frames are asked for, or, with `conceal`, never: the frame before stands still, and the seconds are listed."""
        start = file.tell()
        header, sealed = streams.peek(file.read(streams.MAX_HEADER))
        file.seek(start)
        try:
            checked_metadata(file.read(sealed.end), sealed)
        except CorruptStreamError as error:
            if not conceal:
                raise
            warnings.warn(f"{error}; they are passed over", VqcodecWarning, stacklevel=2)
        file.seek(start + sealed.end)
        if (header.model_id, header.model_hash) != (self.entry.id, self.entry.hash):
            raise UnsupportedError(f"the stream was made by model {header.model_id}, not by '{self.entry.name}'")
        checked_quality(header.quality, self.qualities)
        return DecodedClip(self, file, header, sealed, conceal)

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
    """A .vq file that is being decoded: its `header`; after its frames have been read, `lost`, the pieces of its `sound`, and its
    `totals` (None where the end is lost)."""

    def __init__(self, codec: VideoCodec, file, header: VideoHeader, sealed: Sealed, conceal: bool):
        self.codec, self.file, self.header, self.conceal = codec, file, header, conceal
        self.seed = sealed.checksum
        self.lost: list[Lost] = []
        self.sound: dict[int, list[bytes]] = {}
        self.totals: streams.Totals | None = None

    def segments(self) -> list[streams.Segment]:
        """All of them, whose frames nobody has looked at."""
        return list(streams.SegmentsOf(self.file, self.seed, conceal=self.conceal))

    def grids(self, seen=None, begin: Callable[[], object] = lambda: None, told: Callable[[Labels], object] = lambda labels: None
              ) -> Iterator:
        """(whether a group begins, time, index grids int64[G,h,w]) of each frame; if damage is concealed, grids are of uint16, and
        (None, 0, None) stands for groups that are lost."""
        groups, frames, last = 0, 0, -1
        for segment in streams.SegmentsOf(self.file, self.seed, conceal=self.conceal):
            if segment.kind == GROUP:
                groups += 1
                if segment.number >= groups:  # some are missing
                    groups = segment.number + 1
                    yield None, 0, None
                found = ((i == 0, *each) for i, each in enumerate(self.codec.read_group(segment, self.header, seen, begin, told)))
                if self.conceal:
                    found = self._whole(found)
                for first, time, grids in found:
                    if first is not None and time <= last:
                        if not self.conceal:
                            raise CorruptStreamError(f"the times of group {segment.number} do not rise")
                        yield None, 0, None
                        break
                    frames, last = frames + 1, time if first is not None else last
                    yield first, time, grids
            elif segment.kind == streams.END:
                self.totals = streams.unpack_end(segment)
                if self.conceal and self.totals.groups > groups:
                    yield None, 0, None
            else:
                self._keep_sound(segment)
        if not self.conceal and ((self.totals.groups, self.totals.frames) != (groups, frames) or self.totals.end <= last):
            raise CorruptStreamError(f"the stream has {frames} frames in {groups} groups, and its end says something else")

    def _keep_sound(self, segment: Segment) -> None:
        whole = zlib.crc32(segment.payload).to_bytes(4, "little") == segment.table
        if not whole and not self.conceal:
            raise CorruptStreamError(f"piece {segment.number} of the sound is damaged: its checksum does not match")
        self.sound.setdefault(segment.kind, []).append(segment.payload)

    def frames(self) -> Iterator[Frame]:
        """All frames. Of a group that is damaged none is shown, if damage is concealed: the last good frame is repeated."""
        held, usual, gap, shown = None, None, False, None
        for first, time, grids in self.grids():
            if grids is None:
                gap = True
                continue
            if held is not None:
                usual = usual or time - held.time
                if gap and first:
                    yield from self._repeated(held, time, usual)
                    gap = False
                else:
                    yield Frame(held.rgb, held.time, time - held.time)
            elif gap:
                self.lost.append(Lost(0.0, float(time * self.header.time_base)))
                gap = False
            again = shown is not None and np.array_equal(grids, shown)  # as often in what stands still
            held, shown = Frame(held.rgb if again else self._pixels(grids), time, 0), grids
        if held is None:
            raise CorruptStreamError("no frame of the stream could be decoded")
        end = max(self.totals.end if self.totals else 0, held.time + 1)
        if gap and usual and self.totals:
            yield from self._repeated(held, end, usual)
        else:
            yield Frame(held.rgb, held.time, end - held.time if self.totals else usual or 1)

    @staticmethod
    def _whole(group) -> list:
        """A group once it has been checked; (None, 0, None) in its place if it is damaged."""
        try:
            return [(first, time, np.asarray(grids).astype(np.uint16)) for first, time, grids in group]
        except CorruptStreamError:
            return [(None, 0, None)]

    def _repeated(self, held: Frame, until: int, usual: int) -> Iterator[Frame]:
        """The last good frame, up to the time of the next one."""
        base = self.header.time_base
        self.lost.append(Lost(float((held.time + usual) * base), float(until * base)))
        time = held.time
        while time + usual < until and (until - time) // usual < 1 << 16:
            yield Frame(held.rgb, time, usual)
            time += usual
        yield Frame(held.rgb, time, until - time)

    @guarded
    def _pixels(self, grids) -> np.ndarray:
        if grids.dtype == np.uint16:  # as groups are held
            grids = self.codec.coder.array(grids.astype(np.int64))
        return self.codec.base.pixels(grids, self.header.height, self.header.width, self.header.quality)
