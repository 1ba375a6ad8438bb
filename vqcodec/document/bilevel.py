"""mask bool[H,W] ⇄ bytes, without loss: the one loop for both directions.

    length of the map, map of the tiles | runs | CRC-32 of the mask

Pixels of busy tiles go diagonal by diagonal (`wavefront`), strip after strip: what is known gives inputs (`context`), the network
log-odds (`network`), these a likely colour and a class, and the coder of runs whether it is that colour.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from .. import filelimits
from ..errors import CorruptStreamError
from ..indices.runs import BlockDecoder, BlockEncoder
from ..stream import Reader, uvarint
from .context import REACH
from .network import MaskNetwork, classes
from .tiles import pack_tiles, unpack_tiles
from .wavefront import SLOPE, TILE, busy_tiles, steps

STRIP_PIXELS = 10 << 20  # of a strip; part of the format
MAX_SIDE = 65535
_TICK = 256  # steps

Progress = Callable[[str], None]


def strips(height: int, width: int) -> list[tuple[int, int]]:
    """Rows [top, bottom) of strips: as few as STRIP_PIXELS allow, of equal height but the last, whole tiles."""
    count = -(-height * width // STRIP_PIXELS)
    rows = -(-height // count // TILE) * TILE or TILE
    rows = max(rows, TILE)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def encode_mask(mask: np.ndarray, network: MaskNetwork, progress: Progress = lambda text: None) -> bytes:
    """bool[H,W], black where true → bytes."""
    mask = np.ascontiguousarray(mask, bool)
    coder = BlockEncoder()
    busy, black = busy_tiles(mask)

    def known(log_odds: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        bits = mask[y, x].view(np.uint8)
        sure, likely = classes(log_odds)
        coder.step(sure, (bits ^ likely).view(bool))
        return bits

    _loop(busy, black, mask.shape, network, known, progress)
    tiles = pack_tiles(busy, black)
    return uvarint(len(tiles)) + tiles + coder.finish() + zlib.crc32(np.packbits(mask, axis=1)).to_bytes(4, "little")


def decode_mask(data: bytes, height: int, width: int, network: MaskNetwork, progress: Progress = lambda text: None,
                spent: np.ndarray | None = None) -> np.ndarray:
    """The inverse: bool[H,W]. spent: float[H,W], to which the bits of each pixel are written. Raises CorruptStreamError."""
    reader = Reader(data)
    tiles = reader.take(reader.uvarint(4))
    if len(data) - reader.position < 4:
        raise CorruptStreamError("a mask is cut short")
    coder = BlockDecoder(data[reader.position : -4])

    def decoded(log_odds: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        sure, likely = classes(log_odds)
        unlikely = coder.step(sure)
        if spent is not None:
            spent[y, x] = np.logaddexp2(0, np.where(unlikely, 1, -1) * ((sure + 0.5) / 4 * 1.442695))
        return unlikely ^ likely

    busy, black = unpack_tiles(tiles, -(-height // TILE), -(-width // TILE))
    mask = _loop(busy, black, (height, width), network, decoded, progress)
    if zlib.crc32(np.packbits(mask, axis=1)) != int.from_bytes(data[-4:], "little"):
        raise CorruptStreamError("checksum of a mask does not match: the stream is damaged")
    return mask


def _loop(busy, black, shape, network: MaskNetwork, bits_of, progress: Progress) -> np.ndarray:
    """`bits_of(log-odds int32[n], y, x)` gives the pixels of a step, uint8[n]. Returns the mask."""
    height, width = shape
    contexts = network.contexts(height, width)
    contexts.fill(black, TILE)
    parts, first_turn = strips(height, width), 0
    for number, (top, bottom) in enumerate(parts, 1):
        progress(f"mask, strip {number} of {len(parts)}")
        y, x, ends = steps(busy[top // TILE : -(-bottom // TILE)], bottom - top, width)
        turns = first_turn + x + SLOPE * y
        y += top
        at, begin = contexts.at(y, x), 0
        for count, end in enumerate(ends.tolist()):
            if not count % _TICK:
                filelimits.tick()
            step = slice(begin, end)
            log_odds = network.log_odds(contexts.look(at[step], int(turns[begin])))
            contexts.learn(at[step], bits_of(log_odds, y[step], x[step]))
            begin = end
        first_turn += width + SLOPE * (bottom - top) + REACH
    return contexts.mask()
