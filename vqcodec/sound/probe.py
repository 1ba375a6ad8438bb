"""Windows of a recording, evenly apart, by which its rate is estimated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

FRAMES = 64  # of a window
APART = 384  # frames from a window to the next, at least: more in long recordings
MOST = 48  # windows


@dataclass(frozen=True)
class Probe:
    """windows: (samples f32[U,C,1,n·step], frames before the window's own, own frames); share: how many times longer the
    recording is."""

    windows: list[tuple[torch.Tensor, int, int]]
    share: float

    @classmethod
    def of(cls, pieces: Iterator[tuple[torch.Tensor, int]], chunks: Sequence[tuple[int, int]], margin: int, step: int) -> Probe:
        """pieces: of each of the chunks its samples and those within the encoder's reach, `margin` frames, and the frames of
        these before its own."""
        frames = chunks[len(chunks) - 1][1]
        count = min(MOST, -(-frames // APART))
        wanted = [max(0, (2 * i + 1) * frames // (2 * count) - FRAMES // 2) for i in range(count)]
        windows = []
        for (piece, before), (begin, end) in zip(pieces, chunks):
            while wanted and wanted[0] < end:
                first = max(wanted.pop(0), begin)  # windows stay within their chunks
                first = max(begin, min(first, end - FRAMES))
                last = min(first + FRAMES, end)
                start = max(0, first - begin + before - margin)
                samples = piece[..., start * step : (last - begin + before + margin) * step]
                windows.append((samples.contiguous(), first - begin + before - start, last - first))
        return cls(windows, frames / sum(window[2] for window in windows))
