"""Short windows of a recording, evenly apart, by which its rate is estimated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

FRAMES = 16  # of a window; many short ones tell more than few long ones, as speech comes and goes
MARGIN = 4  # frames on both sides that its latents depend on, nearly
APART = 64  # frames from a window to the next, at least: more in long recordings
FEWEST, MOST = 4, 128  # windows
HELD = 1 << 24  # samples in all of them
WORTH = 400  # frames of a recording that is long enough for windows to be much less work
WALK = 512  # frames that the prior goes through together
BIAS = -0.05  # of the logarithm of the rate: in whole recordings the prior sees more; of speech-2 and audio-1, on LibriSpeech


@dataclass(frozen=True)
class Window:
    """samples f32[U,C,1,n·step] of which the frames from `before` on, `count` of them, are the window's own."""

    samples: torch.Tensor
    before: int
    count: int


@dataclass(frozen=True)
class Probe:
    """share: how many times longer than all windows the recording is."""

    windows: list[Window]
    share: float

    @classmethod
    def of(cls, pieces: Iterator[tuple[torch.Tensor, int]], chunks: Sequence[tuple[int, int]], step: int) -> Probe:
        """pieces: of each of the chunks (first frame, last) its samples f32[U,C,1,n·step] and those beside it, and the frames
        of these before its own."""
        frames, windows, wanted = chunks[len(chunks) - 1][1], [], None
        for (piece, before), (begin, end) in zip(pieces, chunks):
            if wanted is None:
                held = max(1, HELD // ((FRAMES + 2 * MARGIN) * step * piece.shape[0] * piece.shape[1]))
                count = min(max(-(-frames // APART), min(FEWEST, -(-frames // FRAMES))), MOST, held)
                wanted = [max(0, (2 * i + 1) * frames // (2 * count) - FRAMES // 2) for i in range(count)]
            while wanted and wanted[0] < end:
                first = max(begin, min(wanted.pop(0), end - FRAMES))  # windows stay within their chunks
                last = min(first + FRAMES, end)
                own = first - begin + before
                start = max(0, own - MARGIN)
                samples = piece[..., start * step : (last - begin + before + MARGIN) * step]
                windows.append(Window(samples.contiguous(), own - start, last - first))
        return cls(windows, frames / sum(window.count for window in windows))

    def latents(self, encode: Callable[[torch.Tensor, int, int], torch.Tensor]) -> Iterator[torch.Tensor]:
        """Of each unit, latents f32[D,1,n] of the windows behind one another, n up to WALK. encode: (samples f32[B,C,1,n·step],
        frames before those that are wanted, how many) → latents f32[B,D,1,count]."""
        parts = []
        for (before, count, _), group in groupby(self.windows, lambda w: (w.before, w.count, w.samples.shape)):
            group = list(group)
            found = encode(torch.cat([window.samples for window in group]), before, count)
            parts += found.split(len(group[0].samples))
        for units in torch.cat(parts, 3).split(WALK, 3):
            yield from units
