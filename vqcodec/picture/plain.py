"""plain blocks ⇄ bytes, and what they make of a decoded picture: blocks of one colour are painted, not coded, and the colours
clean other blocks of what coding left around them. NumPy alone.

    uint8[H,W,3] ─ clean: samples near to one of the colours become that colour ─ paint: whole blocks ─→ uint8[H,W,3]

`bitstream_spec.md` defines every byte; `find_plain.py` finds plain blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .. import filelimits
from ..errors import CorruptStreamError
from ..indices.network import Given
from ..stream import Reader, uvarint
from . import plain_map
from .plain_map import CLEANED, CODED, PAINTED  # noqa: F401

BLOCK = 16
MOST_COLOURS = 254  # as many as labels leave
CLEANING = 16  # colours, the first ones, that blocks are cleaned with
MOST_REACH = 32
_STRIP_PIXELS = 1 << 18


@dataclass(frozen=True)
class Plain:
    """labels: uint8[rows,columns], one for each block, CODED, CLEANED, or PAINTED + the number of its colour; colours:
    uint8[n,3], 1 ≤ n ≤ MOST_COLOURS; reach: levels, of cleaning, 0…MOST_REACH; indices: those of slice 0 in painted blocks, of all
    colours (see `pack_indices`), empty where they are at rest."""

    labels: np.ndarray
    colours: np.ndarray
    reach: int = 0
    indices: bytes = b""

    @cached_property
    def painted(self) -> np.ndarray:
        """bool[rows,columns]"""
        return self.labels >= PAINTED

    @cached_property
    def whole(self) -> bool:
        """Whether all blocks are painted."""
        return bool(self.painted.all())

    def given(self, coder, sixteenths: int) -> Given:
        """What the coder of grids (`GridReader`) need not code. Raises CorruptStreamError for indices that the quality does not
        have."""
        first = None
        if self.indices:
            start, size = (np.asarray(part) for part in coder.prior.windows(sixteenths)[0])
            first = unpack_indices(self.indices, len(self.colours), start, size)
        return coder.given(self.labels.astype(np.int64) - PAINTED, first, len(self.colours))

    def finish(self, rgb: np.ndarray) -> np.ndarray:
        """uint8[H,W,3], cleaned and painted in place."""
        height, width = rgb.shape[:2]
        rows = max(1, _STRIP_PIXELS // (BLOCK * width))
        for top in range(0, len(self.labels), rows):
            filelimits.tick()
            labels, part = self.labels[top : top + rows], rgb[top * BLOCK : (top + rows) * BLOCK]
            if (labels == CLEANED).any():
                here = spread(labels == CLEANED, *part.shape[:2])
                part[here] = cleaned(part[here], self.colours[:CLEANING], self.reach)
            if (labels >= PAINTED).any():
                colours = self.colours[np.maximum(labels, PAINTED) - PAINTED]
                np.copyto(part, spread(colours, *part.shape[:2]), where=spread(labels >= PAINTED, *part.shape[:2])[:, :, None])
        return rgb


def spread(blocks: np.ndarray, height: int, width: int) -> np.ndarray:
    """[rows,columns,…] of blocks → [height,width,…] of pixels."""
    return blocks.repeat(BLOCK, 0)[:height].repeat(BLOCK, 1)[:, :width]


def cleaned(samples: np.ndarray, colours: np.ndarray, reach: int) -> np.ndarray:
    """uint8[N,3] → uint8[N,3]: those up to `reach` levels from the nearest of the colours uint8[n,3], in the channel where they
    are farthest, become that colour; up to twice as far away they are drawn nearer."""
    return drawn(samples, *nearest(samples, colours), reach)


def nearest(samples: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the nearest of the colours uint8[n,3], int16[N,3]; levels to it, int16[N]) of samples uint8[N,3]."""
    samples = samples.astype(np.int16)
    distance, best = np.full(len(samples), 256, np.int16), np.zeros((len(samples), 3), np.int16)
    for colour in colours.astype(np.int16):
        found = np.abs(samples - colour).max(1)
        np.copyto(best, colour, where=(found < distance)[:, None])
        np.minimum(distance, found, out=distance)
    return best, distance


def drawn(samples: np.ndarray, colours: np.ndarray, distance: np.ndarray, reach: int) -> np.ndarray:
    """uint8[N,3] → uint8[N,3]: `cleaned`, by what `nearest` gives."""
    near = np.flatnonzero(distance < 2 * reach)
    d, out = distance[near, None].astype(np.int32), samples.copy()
    off = samples[near] - colours[near]
    off = np.where(d <= reach, 0, (4 * off * (d - reach) + d) // np.maximum(2 * d, 1))
    out[near] = colours[near] + off
    return out


def pack(plain: Plain, grey: bool) -> bytes:
    """The part of a stream; of a grey picture, colours are one number each."""
    colours = plain.colours[:, :1] if grey else plain.colours
    head = (bytes([len(colours), plain.reach]) + np.ascontiguousarray(colours).tobytes() + uvarint(len(plain.indices))
            + plain.indices)
    if plain.whole and len(colours) == 1:
        return head
    return head + plain_map.encode(plain.labels, len(colours))


def unpack(data: bytes, rows: int, columns: int, grey: bool) -> Plain:
    """The inverse of `pack`. Raises CorruptStreamError for anything that is not in the format."""
    reader = Reader(data)
    count, reach = reader.uint(1), reader.uint(1)
    if not 1 <= count <= MOST_COLOURS or reach > MOST_REACH:
        raise CorruptStreamError(f"plain blocks of {count} colours, cleaned within {reach} levels")
    colours = np.frombuffer(reader.take(count * (1 if grey else 3)), np.uint8).reshape(count, -1)
    indices = reader.take(reader.uvarint(3))
    coded = data[reader.position :]
    if not coded and count > 1:
        raise CorruptStreamError("the map of plain blocks is missing")
    labels = plain_map.decode(coded, rows, columns, count) if coded else np.full((rows, columns), PAINTED, np.uint8)
    if not reach and (labels == CLEANED).any():
        raise CorruptStreamError("blocks are cleaned within 0 levels")
    return Plain(labels, np.broadcast_to(colours, (count, 3)) if grey else colours, reach, indices)


def pack_indices(indices: np.ndarray, start: np.ndarray, size: np.ndarray) -> bytes:
    """Indices int64[G,n] of slice 0, in the alphabets int64[G], int64[G], as bits: colour by colour, group by group."""
    symbols, widths = indices - start[:, None], _widths(size)
    bits = [symbols[g, :, None] >> np.arange(width) & 1 for g, width in enumerate(widths)]
    return np.packbits(np.concatenate(bits, 1).astype(np.uint8).ravel(), bitorder="little").tobytes()


def unpack_indices(data: bytes, count: int, start: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The inverse of `pack_indices`, of so many colours. Raises CorruptStreamError."""
    widths = _widths(size)
    total = count * sum(widths)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    if len(data) != (total + 7) // 8 or bits[total:].any():
        raise CorruptStreamError("the indices of plain colours are not as many as there must be")
    parts = np.split(bits[:total].reshape(count, -1).astype(np.int64), np.cumsum(widths)[:-1], 1)
    symbols = np.stack([part @ (1 << np.arange(width)) for part, width in zip(parts, widths)])
    if (symbols >= size[:, None]).any():
        raise CorruptStreamError("a plain colour has an index that this quality does not use")
    return symbols + start[:, None]


def _widths(size: np.ndarray) -> list[int]:
    """Bits of a symbol of each alphabet."""
    return [int(count - 1).bit_length() for count in size]

