"""labels uint8[rows,columns] of blocks ⇄ bytes: an arithmetic coder whose frequencies are counted along the way, by what the
blocks beside each are. Standard library and NumPy.

Of each block it is coded whether it is CODED, CLEANED, painted as the ones beside it, or with another colour, which follows then.
`bitstream_spec.md`, section "Plain blocks", defines every number.
"""

from __future__ import annotations

import numpy as np

from .. import filelimits
from ..errors import CorruptStreamError
from ..indices import rangecoder
from ..indices.rangecoder import TOTAL

CODED, CLEANED, PAINTED = range(3)  # labels of blocks; PAINTED + i: with colour i
_ALIKE, _OTHER = 2, 3  # symbols, beside CODED and CLEANED
_STEP, _MOST = 4, 1024  # of counts
_BLOCKS_PER_BYTE = 2048  # at most: no symbol is more probable than 1021 of 1024, nor takes less than 1/256 of a bit


class _Model:
    """Rows of cumulative frequencies, by context."""

    def __init__(self, colours: int):
        self.counts = [[1, 1, 1, 1] for _ in range(72)]
        self.colours = [colour * TOTAL // colours for colour in range(colours + 1)]

    def row(self, context: int) -> tuple[int, ...]:
        a, b, c, d = self.counts[context]
        scale, total = TOTAL - 4, a + b + c + d
        return 0, 1 + scale * a // total, 2 + scale * (a + b) // total, 3 + scale * (a + b + c) // total, TOTAL

    def count(self, context: int, symbol: int) -> None:
        counts = self.counts[context]
        counts[symbol] += _STEP
        if sum(counts) > _MOST:
            counts[:] = [(count + 1) >> 1 for count in counts]


def _beside(above: list[int] | None, here: list[int], x: int) -> tuple[int, int]:
    """(context, label of the colour that is expected) of the block at x, with the rows `above` (None: it is the first) and
    `here` as far as it is known."""
    left = here[x - 1] if x else above[0] if above else CODED
    up = above[x] if above else left
    right = above[x + 1] if above and x + 1 < len(above) else up
    corner = above[x - 1] if above and x else up
    context = min(left, 2) * 24 + min(up, 2) * 8 + (right >= PAINTED) * 4 + (corner >= PAINTED) * 2 + (left == up)
    return context, next((label for label in (left, up, right, corner) if label >= PAINTED), PAINTED)


def encode(labels: np.ndarray, colours: int) -> bytes:
    """colours: how many there are, 1 at least."""
    model, bounds, above = _Model(colours), [], None
    for row in labels.tolist():
        filelimits.tick()
        for x, label in enumerate(row):
            context, expected = _beside(above, row, x)
            symbol = label if label < PAINTED else _ALIKE if label == expected else _OTHER
            edges = model.row(context)
            bounds.append((edges[symbol], edges[symbol + 1]))
            model.count(context, symbol)
            if symbol == _OTHER:
                bounds.append((model.colours[label - PAINTED], model.colours[label - PAINTED + 1]))
        above = row
    return rangecoder.encode_bounds(*np.array(bounds, np.int64).T)


def decode(data: bytes, rows: int, columns: int, colours: int) -> np.ndarray:
    """The inverse of `encode`. Raises CorruptStreamError for bytes that it does not write."""
    if rows * columns > _BLOCKS_PER_BYTE * len(data):
        raise CorruptStreamError(f"{len(data)} bytes cannot hold the map of {rows * columns} blocks")
    model, decoder, above = _Model(colours), rangecoder.Decoder(data), None
    labels = np.empty((rows, columns), np.uint8)
    for y in range(rows):
        filelimits.tick()
        row: list[int] = []
        for x in range(columns):
            context, expected = _beside(above, row, x)
            symbol = decoder.symbol(model.row(context))
            model.count(context, symbol)
            if symbol == _OTHER:
                row.append(PAINTED + decoder.symbol(model.colours))
            else:
                row.append(expected if symbol == _ALIKE else symbol)
        labels[y] = above = row
    decoder.finish()
    return labels
