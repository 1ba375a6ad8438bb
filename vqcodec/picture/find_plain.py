"""uint8[H,W,3] → plain blocks, for encoders: which blocks have one colour, what the networks are told of them, and what is
gained by cleaning the others (see `plain.py`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..indices.grids import GridReader
from ..indices.quality import quality_of
from .plain import BLOCK, CLEANED, CLEANING, CODED, MOST_COLOURS, PAINTED, Plain, drawn, nearest, pack, pack_indices

COLOUR_BITS = 64  # that a colour takes in the stream, about
TOLERANCE, COMMON = 1, 0.05  # levels that a block may be off a colour that this part of all blocks have exactly; elsewhere steps could be seen
DEEP = 6  # blocks from its edge the middle of a surface hardly depends on what is around it
CLEAR = 0.25  # part of a block that must be of the colours it is cleaned with: skies that are nearly white stay as they are
REACHES = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # that are tried
_STRIP_BLOCKS = 1 << 10


def saved_bits(sixteenths: int) -> float:
    """That a plain block takes if it is coded, about; of photo-3 and photo-4."""
    return 1 + quality_of(sixteenths)


def find(rgb: np.ndarray, sixteenths: int) -> Plain | None:
    """The blocks of a picture that are of one colour which enough others have too; None where there are none, or too few for
    the bytes that they take in the stream."""
    plain = _found(rgb, COLOUR_BITS / saved_bits(sixteenths))
    if plain is None or plain.whole:
        return plain
    return plain if 8 * len(pack(plain, False)) + COLOUR_BITS < plain.painted.sum() * saved_bits(sixteenths) else None


def _found(rgb: np.ndarray, least: float) -> Plain | None:
    """least: blocks that a colour must have."""
    low, high = (_of_blocks(rgb, extreme) for extreme in (np.minimum, np.maximum))
    exact = (low == high).all(2)
    packed = low.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    values, counts = np.unique(packed[exact], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] >= min(least, exact.size)][:MOST_COLOURS]  # of a picture of one colour there is always enough
    if not len(order):
        return None
    values, counts = values[order], counts[order]
    colours = np.stack([values >> 16, values >> 8 & 255, values & 255], 1).astype(np.uint8)
    labels = np.full(exact.shape, CODED, np.uint8)
    near = (high - low <= 2 * TOLERANCE).all(2)
    for number, colour in reversed(list(enumerate(colours[counts >= COMMON * exact.size].astype(np.int16)))):  # the most frequent wins
        fits = near & (low >= colour - TOLERANCE).all(2) & (high <= colour + TOLERANCE).all(2)
        labels[fits] = PAINTED + number
    for number, value in enumerate(values):
        labels[exact & (packed == value)] = PAINTED + number
    return Plain(labels, colours)


def _of_blocks(rgb: np.ndarray, extreme: np.ufunc) -> np.ndarray:
    """uint8[rows,columns,3]: of the samples of each block."""
    height, width = rgb.shape[:2]
    return extreme.reduceat(extreme.reduceat(rgb, range(0, height, BLOCK), 0), range(0, width, BLOCK), 1)


def with_indices(plain: Plain, latents: np.ndarray, coder: GridReader, sixteenths: int) -> Plain:
    """The same, with the indices of slice 0 nearest to latents f32[D,h,w] amid surfaces of each colour."""
    if plain.whole:
        return plain  # nobody looks at them
    start, size = (np.asarray(part) for part in coder.prior.windows(sixteenths)[0])
    layout, book = coder.layouts[0], np.asarray(coder.codebooks[0])
    depth, found = _depth(plain.labels), []
    for number in range(len(plain.colours)):
        here = depth * (plain.labels == PAINTED + number)
        here = here == here.max()
        vectors = np.median(latents[layout.dims][:, here], 1).reshape(layout.groups, 1, layout.d)
        distances = np.square(book - vectors).sum(2)
        every = np.arange(layout.codewords)
        distances[(every < start[:, None]) | (every >= (start + size)[:, None])] = np.inf
        found.append(distances.argmin(1))
    return replace(plain, indices=pack_indices(np.stack(found, 1), start, size))


def _depth(labels: np.ndarray) -> np.ndarray:
    """int[rows,columns]: how many blocks around each, up to DEEP, have the same label; beyond the picture all have."""
    depth, alike = np.ones(labels.shape, np.int64), np.ones(labels.shape, bool)
    padded = np.pad(labels, 1, mode="edge")
    rows, columns = labels.shape
    for dy in range(3):
        for dx in range(3):
            alike &= padded[dy : dy + rows, dx : dx + columns] == labels
    for _ in range(DEEP):
        depth += alike
        padded = np.pad(alike, 1, mode="edge")
        for dy in range(3):
            for dx in range(3):
                alike = alike & padded[dy : dy + rows, dx : dx + columns]
    return depth


def with_cleaning(plain: Plain, decoded: np.ndarray, rgb: np.ndarray, worth: float) -> Plain:
    """The same, with those blocks cleaned that are nearer to the picture `rgb` then, both uint8[H,W,3], and the best reach.
    worth: how much less the squared error of a sample of a block must be on the mean: the map is the smaller for it."""
    coded = np.flatnonzero((plain.labels == CODED).ravel())
    gains = np.concatenate([_gains(plain, decoded, rgb, coded[first : first + _STRIP_BLOCKS])
                            for first in range(0, len(coded), _STRIP_BLOCKS)] or [np.zeros((0, len(REACHES)))])
    better = gains > worth
    totals = np.where(better, gains, 0).sum(0)
    if not totals.any():
        return plain
    best = int(totals.argmax())
    labels = plain.labels.copy()
    labels.ravel()[coded[better[:, best]]] = CLEANED
    return replace(plain, labels=labels, reach=REACHES[best])


def _gains(plain: Plain, decoded: np.ndarray, rgb: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """f64[n,reaches]: how much less the squared error of each of the blocks int[n] is, of a sample on the mean; 0 for those that are
    not to be cleaned."""
    columns = plain.labels.shape[1]
    ys, xs = (np.minimum(at[:, None] * BLOCK + np.arange(BLOCK), most - 1)
              for at, most in zip((blocks // columns, blocks % columns), rgb.shape[:2]))
    before, wanted = (a[ys[:, :, None], xs[:, None, :]].reshape(-1, 3) for a in (decoded, rgb))

    def errors(samples: np.ndarray) -> np.ndarray:
        return np.square(samples.astype(np.int32) - wanted).reshape(len(blocks), -1).mean(1)

    own, near = errors(before), nearest(before, plain.colours[:CLEANING])
    clear = (nearest(wanted, plain.colours[:CLEANING])[1] <= TOLERANCE).reshape(len(blocks), -1).mean(1) >= CLEAR
    return np.stack([(own - errors(drawn(before, *near, reach))) * clear for reach in REACHES], 1)
