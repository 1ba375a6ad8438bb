"""Samples f32[n,C] at one sampling rate → at another, block by block. soxr does the work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from .. import filelimits
from .formats.decoders import BLOCK
from .samples import Sound

RESAMPLER = "VHQ"
BLOCK_SAMPLES = 1 << 22  # of all channels, that a block becomes at most, more or less


def resampled(blocks: Iterable[np.ndarray], rate: int, new_rate: int, length: int) -> Iterator[np.ndarray]:
    """Blocks f32[n,C] at `rate` → blocks at `new_rate`, without delay, `length` sample frames in all (cut, or filled up
    with silence). The result does not depend on how the samples come in blocks."""
    done, channels = 0, 1
    for block in _resampled(blocks, rate, new_rate):
        channels = block.shape[1]
        block = block[: length - done]
        if len(block):
            done += len(block)
            yield block
    while done < length:
        count = min(BLOCK, length - done, max(64, BLOCK_SAMPLES // channels))
        done += count
        yield np.zeros((count, channels), np.float32)


def _resampled(blocks: Iterable[np.ndarray], rate: int, new_rate: int) -> Iterator[np.ndarray]:
    if rate == new_rate:
        yield from blocks
        return
    import soxr

    stream = None
    for block in blocks:
        stream = stream or soxr.ResampleStream(rate, new_rate, block.shape[1], dtype="float32", quality=RESAMPLER)
        shape = block.shape[1]
        # Samples of fixed numbers at a time: how much soxr gives out at once depends on how much it is given.
        size = max(64, min(BLOCK, int(BLOCK_SAMPLES / (shape * max(1, new_rate / rate)))))
        for first in range(0, len(block), size):
            filelimits.tick()
            yield _as_rows(stream.resample_chunk(_as_given(block[first : first + size])), shape)
    if stream:
        yield _as_rows(stream.resample_chunk(_as_given(np.empty((0, shape), np.float32)), last=True), shape)


def _as_given(block: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(block[:, 0] if block.shape[1] == 1 else block, np.float32)


def _as_rows(block: np.ndarray, channels: int) -> np.ndarray:
    return block.reshape(-1, channels)


def resample(sound: Sound, rate: int) -> Sound:
    """The whole of a sound at another rate."""
    if sound.rate == rate:
        return sound
    length = -(-len(sound.samples) * rate // sound.rate)
    return Sound(np.concatenate(list(resampled([sound.samples], sound.rate, rate, length))), rate)
