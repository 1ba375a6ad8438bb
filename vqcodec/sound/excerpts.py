"""Directories of recordings → random excerpts f32[B,C,1,N], in an order that depends only on seed and step."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import numpy as np
import torch

from .config import AudioTransformConfig
from .drawn import draw
from ..errors import InputError, VqcodecError
from ..train.data import LIMIT, Shelves, reading
from .file import SoundReader, read_sound, resample

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
    """Random excerpts of recordings, at random levels. Recordings are held in memory up to `limit` bytes
    (`train.data.Shelves`).

    `batch(step, frames, count)` → f32[count,C,1,frames·config.step]; the same (seed, step, rank) gives the same
    batch, so that a resumed run hears the data it would have heard. Short recordings are followed by others.
    """

    def __init__(self, paths, config: AudioTransformConfig, *, seed: int = 0, limit: int = LIMIT, drawn: float = 0.0):
        """drawn: share of the excerpts that are made by program, or in part (`drawn.py`)."""
        self.seed, self.config, self.paths, self.drawn = seed, config, [], drawn
        lengths = []  # of each, as its header has it, at the model's rate
        for path in reading(list(paths), "looking at recordings:"):
            length = _length(path, config.sample_rate)
            if length >= config.step:
                self.paths.append(path)
                lengths.append(length)
        load = self._load
        if self._bytes(sum(lengths)) <= limit:
            load, lengths = self._loaded()
        if not lengths:
            raise InputError(f"no recording is long and loud enough to learn from, of {len(paths)}")
        sizes = [self._bytes(length) for length in lengths]
        self.shelves = Shelves(sizes, [(i, 0, float(length)) for i, length in enumerate(lengths)], load,
                               limit if load == self._load else sum(sizes), seed=seed)

    def _bytes(self, length: int) -> int:
        return 2 * self.config.channels * length

    def _load(self, index: int) -> tuple[tuple[np.ndarray], int]:
        """(f16[C,N] at a peak of 1/2, in a tuple; bytes). Raises InputError for what is too quiet."""
        samples = load(self.paths[index], self.config)[0, :, 0].numpy()
        peak = np.abs(samples).max(initial=0)
        if samples.shape[1] < self.config.step or peak <= 1e-3:
            raise InputError(f"{self.paths[index]}: too short or too quiet")
        samples = (samples * (PEAK / peak)).astype(np.float16)
        return (samples,), samples.nbytes

    def _loaded(self):
        """(what gives the recordings that can be used, all in memory; their lengths)."""
        found = []
        for index in reading(range(len(self.paths)), "reading recordings:"):
            try:
                found.append(self._load(index))
            except VqcodecError:
                continue
        return found.__getitem__, [recording.shape[1] for (recording,), _ in found]

    def batch(self, step: int, frames: int, count: int, rank: int = 0) -> torch.Tensor:
        rng = random.Random(f"{self.seed}/{step}/{rank}")
        length = frames * self.config.step
        out = np.zeros((count, self.config.channels, 1, length), np.float32)
        for row in out:
            filled = 0
            while filled < length:
                recording = self.shelves.draw(rng, step, rank, 1)[0]
                first = rng.randint(0, max(0, recording.shape[1] - length))
                piece = recording[:, first : first + length - filled]
                level = 10 ** (rng.uniform(*LEVELS) / 20) * rng.choice((-1, 1))
                row[:, 0, filled : filled + piece.shape[1]] = piece.astype(np.float32) * level
                filled += piece.shape[1]
            if self.drawn and rng.random() < self.drawn:
                row[:, 0] = draw(rng, row[:, 0], self.config.sample_rate)
        return torch.from_numpy(out)


def _length(path, rate: int) -> int:
    """Samples at that rate, by the file's structure; 0 of what cannot be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever reads it says what is wrong
        try:
            reader = SoundReader.open(path)
        except VqcodecError:
            return 0
    return -(-reader.length * rate // reader.rate)
