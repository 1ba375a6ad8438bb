"""The codec of video in torch, which encodes; `codec.py` has all that needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import numpy as np
import torch

from .. import filelimits
from ..errors import UnsupportedError
from ..guard import guarded, more_threads
from ..indices.choosing import GridCoder
from ..indices.context import fast_arithmetic
from ..indices.float_prior import fill
from ..indices.grids import LABELLED, flat
from ..indices.led_prior import LedPrior
from ..indices.prior import Prior
from ..indices.quality import SIXTEENTHS, checked_sixteenths
from ..indices.quantize import look_up, nearest, split_groups
from ..indices.rates import Rates
from ..indices.tensors import forms
from ..picture import search as refine
from ..picture.codec import bands
from ..picture.search import SEARCHES
from ..zoo.loading import as_tensors
from . import stream as streams
from .codec import Progress, VideoCodec, one_segment
from .file import Frame, VideoReader
from .group import CodedGroup
from .labels import Labels
from .pace import Pace
from .stream import VideoHeader

KEY_DISTANCE = 48  # frames from one key frame to the next, at most
CUT = 0.5  # of the variance of a frame's first dims that the frame before leaves unexplained: then a key frame is tried
FIRST_DIMS = 8
KEPT = 0.35  # squared latent units that staying with the codeword of the frame before may be off more than the nearest one
USUAL_EFFORT = 1
CHEAPER = 1.02  # times the bytes of the other that a key frame may take at a cut


@dataclass(frozen=True)
class EncodedVideo:
    """header; bytes of its groups; frames, key frames; seconds; bytes in all."""

    header: VideoHeader
    video_bytes: int
    size: int
    frames: int
    keys: int
    seconds: float


class TorchVideoCodec(VideoCodec):
    """A loaded model. Thread-safe: nothing changes after `of`."""

    context: LedPrior | None = None  # what the search asks, where there is an encoder

    @classmethod
    @guarded
    def of(cls, entry, base, tensors, frames, config) -> TorchVideoCodec:
        """tensors: of prior.safetensors, arrays of NumPy."""
        tensors = as_tensors(tensors)
        codec = cls(entry, base, GridCoder(Prior(tensors, frames.quantizer), base.coder.codebooks, frames.quantizer),
                    config)
        if base.encoder is not None:
            with torch.random.fork_rng(devices=[]):
                codec.context = LedPrior(frames, [form.phases for form in forms(tensors, frames)]).float()
            fill(codec.context, tensors)
            codec.context.eval().requires_grad_(False)
        return codec

    # --- a frame -----------------------------------------------------------------------------------------

    @guarded
    @torch.inference_mode()
    def latents(self, rgb: np.ndarray, sixteenths: int) -> torch.Tensor:
        """uint8[H,W,3] → f32[D,h,w]"""
        with fast_arithmetic():
            return self.base.latents(rgb, sixteenths)[0].float()

    @property
    def weights(self) -> tuple[float, ...]:
        """Squared latent units that a bit is worth, in each slice."""
        return SEARCHES[self.base.model.transform.distortion].weights(self.coder.layouts)

    @guarded
    def choose(self, latents: torch.Tensor, before, sixteenths: int, labels: Labels | None = None, held: Labels | None = None
               ) -> tuple[torch.Tensor, int, bytes]:
        """(index grids int64[G,h,w], slices, payload) of a frame's latents f32[D,h,w]; before: grids of the frame before, or None;
        labels: its own, none if not given; held: those of the frame before."""
        labels = labels or self.no_labels
        parts, pieces, present = [], [], self.coder.present(sixteenths)
        for top, bottom in bands(*latents.shape[1:]):
            rows = slice(top, bottom)
            if before is None:
                grids, segments = self.base.coder.choose(latents[:, rows], sixteenths, self.weights, present, coded=flat)
            else:
                grids, segments = self.coder.choose(latents[:, rows], sixteenths, self.weights, present, coded=flat, labels=labels,
                                                    reference=self.reference(before, rows))
            parts.append(grids)
            pieces.append(segments)
        grids = torch.cat(parts, 1)
        slices = self._needed(grids, before, sixteenths)
        kept = self.coder.steps(slices) if before is not None else self.base.coder.steps(slices)
        told = [self._told(labels, held)] if before is not None and slices else []
        return grids, slices, one_segment(told + [bounds for segments in pieces for bounds in segments[:kept]])

    @guarded
    def likeliest(self, latents: torch.Tensor, before, sixteenths: int, held: Labels) -> Labels:
        """The labels with which the codewords are smallest that are chosen without; latents, before, held as in `choose`."""
        if before is None or not self.coder.prior.labels or latents.shape[1] * latents.shape[2] > LABELLED:
            return self.no_labels
        grids, slices, _ = self.choose(latents, before, sixteenths)
        return self.best_labels(grids, before, sixteenths, slices, held) if slices else self.no_labels

    @guarded
    def frame(self, rgb: np.ndarray, latents: torch.Tensor, before, sixteenths: int, effort: int, labels: Labels | None = None,
              held: Labels | None = None):
        """As `choose`, of a frame uint8[H,W,3]; with some effort its codewords are searched for, as those of pictures."""
        search, transform = SEARCHES[self.base.model.transform.distortion], self.base.model.transform
        if search.steps[effort] and len(bands(*latents.shape[1:])) == 1 and refine.applicable(transform, *rgb.shape[:2]):
            with more_threads():
                latents = self._searched(rgb, latents, before, sixteenths, search, search.steps[effort], labels)
        return self.choose(latents, before, sixteenths, labels, held)

    def _searched(self, rgb: np.ndarray, latents: torch.Tensor, before, sixteenths: int, search, steps: int,
                  labels: Labels | None) -> torch.Tensor:
        model, level = self.base.model, sixteenths / SIXTEENTHS
        more = dict(windows=self.coder.prior.windows(sixteenths), present=torch.tensor([model.quantizer.present(level)]))
        asked = self.coder.codebooks, self.weights, torch.tensor([level], dtype=torch.float32)
        if before is None:
            rates = Rates(self.base.context, *asked, **more)
        else:
            told = torch.tensor([labels or self.no_labels], dtype=torch.int64)
            rates = FollowingRates(self.context.given(self.coder.dequantize(before[None]), told), *asked, **more)
        gradient = refine.DistortionGradient(self.base.decoder, model.transform, rgb, level)
        return refine.refine(latents[None].clone(), steps, search, rates, gradient, damping=search.damping(gradient.slope))[0][0]

    def is_cut(self, latents: torch.Tensor, before, sixteenths: int) -> bool:
        """Whether a frame has little to do with the grids of the frame before."""
        first, old = latents[:FIRST_DIMS], self.coder.dequantize(before[None])[0, :FIRST_DIMS]
        own = (first - first.mean((1, 2), keepdim=True)).square().sum()
        return bool((first - old).square().sum() > CUT * own)

    def following(self, rgb: np.ndarray, group: CodedGroup, sixteenths: int, effort: int, key_distance: int):
        """(whether a group begins with a frame, as `choose` and its labels): with it ends the group so far, which may be empty."""
        latents, before, held = self.latents(rgb, sixteenths), group.last, group.labels or self.no_labels
        if before is None or len(group.times) >= key_distance:
            return True, (*self.frame(rgb, latents, None, sixteenths, effort), self.no_labels)
        labels = self.likeliest(latents, before, sixteenths, held)
        coded = self.frame(rgb, latents, before, sixteenths, effort, labels, held)
        if self.is_cut(latents, before, sixteenths):
            key = self.frame(rgb, latents, None, sixteenths, effort)
            if len(key[2]) <= CHEAPER * len(coded[2]):
                return True, (*key, self.no_labels)
        return False, (*coded, labels)

    # --- a clip ------------------------------------------------------------------------------------------

    def groups(self, frames: Iterable[Frame], sixteenths: int, effort: int, key_distance: int) -> Iterator[CodedGroup]:
        group = CodedGroup()
        for frame in frames:
            begins, coded = self.following(frame.rgb, group, sixteenths, effort, key_distance)
            if begins and group.times:
                yield group
                group = CodedGroup()
            group.add(frame.time, *coded)
        yield group

    @guarded
    def encode_stream(self, reader: VideoReader, write: Callable[[bytes], object], quality: float, *, effort: int | None = None,
                      metadata: bytes | None = None, sound: Callable[[], tuple[int, BinaryIO] | None] = lambda: None,
                      key_distance: int = KEY_DISTANCE, workers: int = 1, progress: Progress = lambda text: None) -> EncodedVideo:
        """A clip → a .vq file, group by group. quality: in 1..`qualities`, in sixteenths. effort: in 0..5, as of
        pictures, by default 1; sound: gives (kind, file) of the sound track, or None; workers: processes that share the groups,
        which changes no byte."""
        if self.base.encoder is None:
            raise UnsupportedError(f"model '{self.entry.name}' was opened without its encoder: it cannot encode")
        sixteenths = checked_sixteenths(quality, self.qualities)
        effort = USUAL_EFFORT if effort is None else refine.checked_effort(effort, 1, 1)
        shape = reader.shape
        header = VideoHeader(model_id=self.entry.id, model_hash=self.entry.hash, quality=sixteenths, width=shape.width,
                             height=shape.height, aspect=shape.aspect, time_base=shape.time_base, primaries=shape.colour.primaries,
                             transfer=shape.colour.transfer, matrix=shape.colour.matrix, full=shape.colour.full)
        head = streams.pack_header(header, metadata)
        seed = streams.peek(head)[1].checksum
        write(head)
        coding, pace, video, groups, done = (sixteenths, effort, key_distance), Pace(progress, reader.total), 0, 0, 0
        if workers > 1:
            from .workers import coded_groups

            frames = Counted(reader, lambda count: None)
            found = coded_groups(self.entry, frames, (shape.height, shape.width), coding, workers)
        else:
            frames = Counted(reader, pace)
            found = self.groups(frames, *coding)
        for groups, group in enumerate(found, 1):
            data = self.pack_group(groups - 1, group.times, group.coded, group.grids, seed)
            write(data)
            video, done = video + len(data), done + len(group.times)
            pace(done)
        size, track = len(head) + video, sound()
        if track is not None:
            pieces = iter(partial(track[1].read, 1 << 20), b"")
            for number, piece in enumerate(pieces):
                piece = streams.pack_sound(number, track[0], piece, seed)
                write(piece)
                size += len(piece)
        last = streams.pack_end(streams.Totals(groups, frames.count, frames.end), seed)
        write(last)
        return EncodedVideo(header, video, size + len(last), frames.count, groups, float(frames.end * shape.time_base))


class FollowingRates(Rates):
    """Of a frame that follows another: the first guess is to stay with its codewords where they are hardly worse than the nearest."""

    @torch.no_grad()
    def nearest(self, latents: torch.Tensor):
        found = super().nearest(latents)[0]
        before = nearest(self.prior.reference, self.codebooks[: len(self.layouts)], self.layouts)
        return [[kept(near, old, split_groups(latents[:, s.dims], s.d), book).short()
                 for near, old, s, book in zip(found, before, self.layouts, self.codebooks)]]


def kept(near: torch.Tensor, old: torch.Tensor, vectors: torch.Tensor, book: torch.Tensor) -> torch.Tensor:
    """int64[G,N]: `old` indices, int64[G,N], but those `near` f32[G,N,d] where the old ones are much farther from them."""
    off = [(look_up(each.long(), book) - vectors).square().sum(2) for each in (old, near)]
    return torch.where(off[0] - off[1] < KEPT, old.long(), near.long())


class Counted:
    """The frames of a clip. count, end: of those that were taken; after: is told how many are done with."""

    def __init__(self, reader: VideoReader, after: Callable[[int], object]):
        self.reader, self.after, self.count, self.end = reader, after, 0, 0

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.reader.frames():
            filelimits.tick()
            self.count, self.end = self.count + 1, frame.time + frame.duration
            yield frame
            self.after(self.count)
