"""The gains that a chunk is written with: the encoder decodes what it has chosen, and sees how loud it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from .levels import WINDOW, Plan, fitted
from .stream import SoundHeader
from .synthesis import halo

if TYPE_CHECKING:
    from .torch_codec import TorchAudioCodec


@dataclass(frozen=True)
class Waiting:
    """A chunk whose grids are chosen. powers: mean squares f64[C,frames] of what the encoder was given, of its frames and a few
    around it, `before` of them before it."""

    number: int
    grids: torch.Tensor
    segments: list[list[bytes]]
    powers: np.ndarray
    before: int


Ready = tuple[int, torch.Tensor, list[list[bytes]], np.ndarray]  # number, grids, segments of each unit, gains int64[C,n]


class Fitting:
    """Chunks wait for the next one, which their ends depend on."""

    def __init__(self, codec: TorchAudioCodec, header: SoundHeader, plan: Plan):
        self.codec, self.header, self.plan = codec, header, plan
        self.chunks, self.margin = codec.chunks(header), halo(codec.model.transform)[1]
        self.waiting: list[Waiting] = []
        self.latents, self.first = None, 0  # f32[U,D,1,n] from frame `first` on
        self.count = 0

    def add(self, piece: torch.Tensor, before: int, grids: torch.Tensor, segments) -> Iterator[Ready]:
        """The next chunk: samples f32[U,C,1,n·step] of it and around it, frames of these before it, grids int64[G,U,T],
        segments of each unit → chunks that are ready."""
        codec = self.codec
        begin, end = self.chunks[self.count]
        powers = _powers(piece.flatten(0, 1)[: self.header.coded_channels, 0].numpy(), codec.model.transform.step)
        left = min(WINDOW - 1, before)
        powers = powers[:, before - left : before + end - begin + WINDOW - 1]
        self.waiting.append(Waiting(self.count, grids, segments, powers, left))
        self.count += 1
        found = codec.coder.dequantize(grids.transpose(0, 1)[:, :, None]).numpy()
        self.latents = found if self.latents is None else np.concatenate([self.latents, found], 3)
        while self.waiting and (end >= self.chunks[self.waiting[0].number][1] + self.margin or end == self.chunks.frames):
            yield self._ready(self.waiting.pop(0), end)

    def _ready(self, chunk: Waiting, known: int) -> Ready:
        begin, end = self.chunks[chunk.number]
        start, stop = max(0, begin - self.margin - chunk.before), min(known, end + self.margin)
        self.latents, self.first = self.latents[..., start - self.first :], start
        frames = chunk.powers.shape[1]
        decoded = self.codec._synthesise(self.latents[..., : stop - start], start, begin - chunk.before - start, frames,
                                         self.header.quality)[:, : self.header.coded_channels]
        powers = _powers(decoded.T, self.codec.model.transform.step)
        gains = fitted(self.plan.of_chunk(begin, end), powers, chunk.powers[:, : powers.shape[1]], chunk.before, end - begin)
        return chunk.number, chunk.grids, chunk.segments, gains


def _powers(samples: np.ndarray, step: int) -> np.ndarray:
    """f64[C,n] of f32[C,n·step]."""
    return np.square(samples.reshape(len(samples), -1, step), dtype=np.float64).mean(2)
