"""Encoding a clip to a target of rate or size: once or twice, after estimates by a few short runs of its frames (see
`indices/target.py`).

    runs of frames, evenly apart → the first of each as a key frame, the others as those that follow → bytes of both kinds → of all
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from .torch_codec import KEY_DISTANCE, USUAL_EFFORT

if TYPE_CHECKING:
    from .torch_codec import TorchVideoCodec

MOST = 2  # encodes
ESTIMATES = 2
SHARE, FEW = 12, 16  # frames of the clip for each one that is in a run; from here on there are two at least
RUN, MOST_RUNS = 4, 4  # frames in a run; runs
FOLLOWING = 0.5  # bytes of a frame that follows, for each of a key frame, where there are none in runs
FRAME_BYTES, CLIP_BYTES = 6, 60  # besides codewords, about


@dataclass(frozen=True)
class Runs:
    """frames: uint8[H,W,3], those of a run follow one another; count, end: frames of all the clip, and when its last one ends, in units of
    its time base."""

    runs: list[list[np.ndarray]]
    count: int
    end: int

    @classmethod
    def of(cls, reader) -> Runs:
        expected = reader.total or sum(1 for _ in reader.frames())
        taken = max(1 + (expected >= FEW), expected // SHARE)
        number = min(MOST_RUNS, -(-taken // RUN))
        length = min(RUN, taken // number)
        starts = [(2 * i + 1) * expected // (2 * number) - length // 2 for i in range(number)]
        runs, count, end = [[] for _ in starts], 0, 0
        for frame in reader.frames():
            for start, run in zip(starts, runs):
                if start <= count < start + length:
                    run.append(frame.rgb)
            count, end = count + 1, frame.time + frame.duration
        return cls([run for run in runs if run] or [[frame.rgb]], count, end)

    def estimate(self, codec: TorchVideoCodec, effort: int | None) -> Callable[[int], float]:
        """Sixteenths → bytes of the clip's groups, about."""
        effort, keys = USUAL_EFFORT if effort is None else effort, 1 + (self.count - 1) // KEY_DISTANCE

        def expected(sixteenths: int) -> float:
            first, following = [], []
            for run in self.runs:
                before = None
                for rgb in run:
                    grids, _, payload = codec.frame(rgb, codec.latents(rgb, sixteenths), before, sixteenths, effort)
                    if before is None:
                        first.append(len(payload))
                    before = grids
                if len(run) > 1:  # the last one: at first what follows makes up for what the key frame had coarsely
                    following.append(len(payload))
            key = fmean(first)
            other = fmean(following) if following else FOLLOWING * key
            return CLIP_BYTES + keys * key + (self.count - keys) * other + FRAME_BYTES * self.count

        return expected
