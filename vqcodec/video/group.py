"""A group of frames on its way from the encoder into a stream."""

from __future__ import annotations

import numpy as np


class CodedGroup:
    """A group that grows. times, coded (slices, payload) and grids uint16[G,h,w] of its frames; last, labels: the grids and the
    labels of the last one, None where it has none."""

    def __init__(self):
        self.times: list[int] = []
        self.coded: list[tuple[int, bytes]] = []
        self.grids: list[np.ndarray] = []
        self.last, self.labels = None, None

    def add(self, time: int, grids, slices: int, payload: bytes, labels=None) -> None:
        self.times.append(time)
        self.coded.append((slices, payload))
        self.grids.append(grids.numpy().astype(np.uint16))
        self.last, self.labels = grids, labels if slices else None
