"""Gains that follow the signal: of each coded channel, a level at knots within a chunk. int64[C,n] ⇄ bytes. NumPy only.

`bitstream_spec.md`, section 10.11, defines every byte. Knots lie SPACING latent frames apart and at both ends of a chunk, so that
each chunk can be decoded by itself; between them a gain is an exponential. Gains count quarters of a doubling (1.5 dB).
"""

from __future__ import annotations

import functools

import numpy as np

from ..errors import CorruptStreamError
from ..indices.grids import SegmentReader, code_symbols
from ..stream import Reader, uvarint

SPACING = 16  # latent frames from a knot to the next
LEAST, MOST = -64, 63
WEIGHTS = (160, 640, 2560, 6400)  # what changes of one step are worth in each of the four tables
RARE = 8  # what the rarest change is worth, in 65536ths
ALPHABET = MOST - LEAST + 1
LENGTH = 3  # bytes that tell how many the changes take


def knots(frames: int) -> np.ndarray:
    """int64[n]: the latent frames of a chunk at whose beginnings there are knots, the last one at the chunk's end."""
    return np.append(np.arange(0, frames, SPACING), frames)


@functools.cache
def table(form: int) -> np.ndarray:
    """int32[129]: cumulative frequencies of changes 0, 1 … 63, −64 … −1 from one knot to the next."""
    size = np.abs((np.arange(ALPHABET) + ALPHABET // 2) % ALPHABET - ALPHABET // 2)
    mass = RARE + (WEIGHTS[form] >> size // 2)
    mass[0] = 65536 - mass[1:].sum()
    return np.append(0, np.cumsum(mass)).astype(np.int32)


def pack(values: np.ndarray) -> bytes:
    """int[C,n], each LEAST..MOST → the first bytes of a chunk's payload; one byte where all are 0."""
    if not values.any():
        return b"\0"
    changes = np.diff(values, axis=1, prepend=0).ravel() % ALPHABET
    found = []
    for form in range(len(WEIGHTS)):
        rows = table(form)
        segment = code_symbols(np.stack([rows[changes], rows[changes + 1]], 1))
        found.append(uvarint(len(segment) * len(WEIGHTS) + form) + segment)
    return min(found, key=len)


def size(payload: bytes) -> tuple[int, int, int]:
    """(table, where the segment of changes begins, where it ends and those of the grids begin). Raises CorruptStreamError."""
    reader = Reader(payload)
    length, form = divmod(reader.uvarint(LENGTH), len(WEIGHTS))
    if form and not length or reader.position + length > len(payload):
        raise CorruptStreamError("the gains of a chunk are damaged")
    return form, reader.position, reader.position + length


def unpack(payload: bytes, channels: int, frames: int) -> tuple[np.ndarray, int]:
    """(int64[C,n], where the segments of the grids begin) of a chunk's payload. Raises CorruptStreamError."""
    count = len(knots(frames))
    form, start, end = size(payload)
    if start == end:
        return np.zeros((channels, count), np.int64), end
    reader = SegmentReader(payload[start:end])
    changes = reader.read(np.broadcast_to(table(form), (channels * count, 1, ALPHABET + 1)))
    reader.finish()
    values = (np.cumsum(changes.reshape(channels, count), 1) - LEAST) % ALPHABET + LEAST
    if not values.any():
        raise CorruptStreamError("the gains of a chunk are damaged: they are all 0, and written")
    return values, end


def curve(values: np.ndarray, frames: int, step: int) -> np.ndarray:
    """int[C,n] at a chunk's knots → f32[frames·step,C]: what decoded samples are multiplied by."""
    if not values.any():
        return np.ones((frames * step, len(values)), np.float32)
    return curves((np.arange(frames * step) + 0.5) / step, knots(frames), values / 4)


def curves(place: np.ndarray, at: np.ndarray, doublings: np.ndarray) -> np.ndarray:
    """f32[n,C]: 2 to the doublings f64[C,knots] at frames `at`, at the places f64[n]."""
    found = np.empty((len(place), len(doublings)), np.float32)
    for column, row in zip(found.T, doublings):
        column[:] = np.exp2(np.interp(place, at, row))
    return found
