"""Directories of recordings → random excerpts f32[B,C,1,N], in an order that depends only on seed and step."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from .config import AudioTransformConfig
from ..errors import InputError, VqcodecError
from .file import read_sound, resample

EXTENSIONS = {".wav", ".flac", ".ogg", ".mp3", ".opus", ".aif", ".aiff"}
LEVELS = (-18.0, 3.0)  # dB, of excerpts relative to their recording brought to a peak of 1/2
PEAK = 0.5


def find_sounds(directories) -> list[Path]:
    """All recordings below the directories, sorted. Raises InputError when there are none."""
    paths = sorted(p for d in directories for p in Path(d).rglob("*") if p.suffix.lower() in EXTENSIONS)
    if not paths:
        raise InputError(f"no recordings found in {', '.join(map(str, directories))}")
    return paths


def load(path, config: AudioTransformConfig) -> torch.Tensor:
    """f32[1,C,1,N]: a recording at the model's rate with the model's number of channels (mixed down, or doubled)."""
    samples = resample(read_sound(path), config.sample_rate).samples
    if config.channels == 1 or samples.shape[1] == 1:
        samples = samples.mean(1, keepdims=True).repeat(config.channels, 1)
    return torch.from_numpy(np.ascontiguousarray(samples[:, : config.channels].T))[None, :, None]


class Excerpts:
    """Random excerpts of recordings held in memory, at random levels.

    `batch(step, frames, count)` → f32[count,C,1,frames·config.step]; the same (seed, step, rank) gives the same
    batch, so that a resumed run hears the data it would have heard. Short recordings are followed by others.
    """

    def __init__(self, paths, config: AudioTransformConfig, *, seed: int = 0):
        self.seed, self.config = seed, config
        self.recordings = []
        for path in paths:
            try:
                samples = load(path, config)[0, :, 0].numpy()
            except VqcodecError:
                continue
            peak = np.abs(samples).max(initial=0)
            if samples.shape[1] >= config.step and peak > 1e-3:
                self.recordings.append((samples * (PEAK / peak)).astype(np.float16))
        if not self.recordings:
            raise InputError("no recording is long and loud enough to learn from")
        self.cumulative = list(np.cumsum([r.shape[1] for r in self.recordings], dtype=float))

    def batch(self, step: int, frames: int, count: int, rank: int = 0) -> torch.Tensor:
        rng = random.Random(f"{self.seed}/{step}/{rank}")
        length = frames * self.config.step
        out = np.zeros((count, self.config.channels, 1, length), np.float32)
        for row in out:
            filled = 0
            while filled < length:
                recording = rng.choices(self.recordings, cum_weights=self.cumulative)[0]
                first = rng.randint(0, max(0, recording.shape[1] - length))
                piece = recording[:, first : first + length - filled]
                level = 10 ** (rng.uniform(*LEVELS) / 20) * rng.choice((-1, 1))
                row[:, 0, filled : filled + piece.shape[1]] = piece.astype(np.float32) * level
                filled += piece.shape[1]
        return torch.from_numpy(out)
