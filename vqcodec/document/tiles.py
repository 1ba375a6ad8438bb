"""Which tiles of a mask are busy, all white or all black ⇄ bytes."""

from __future__ import annotations

import numpy as np

from ..errors import CorruptStreamError
from ..indices.bits import BitDecoder, BitEncoder

_FASTEST, _SLOWEST = 1, 5  # shifts by which a context's probability moves, from its first tile on
# neighbours whose state a tile's contexts are made of: (rows up, columns left)
_BUSY = ((0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0))
_BLACK = ((0, 1), (1, 0))


class _Contexts:
    def __init__(self, size: int):
        self.one, self.shift = [1 << 15] * size, [_FASTEST] * size

    def learn(self, context: int, bit: int) -> None:
        shift = self.shift[context]
        self.one[context] += ((65535 if bit else 1) - self.one[context]) >> shift
        if shift < _SLOWEST:
            self.shift[context] = shift + 1


def _walk(busy, black, code) -> None:
    """`code(context, kind, y, x)` gives each tile's bits; busy and black have margins of 2 rows above, 2 columns on both sides."""
    rows, columns = busy.shape
    for y in range(2, rows):
        for x in range(2, columns - 2):
            context = 0
            for up, left in _BUSY:
                context = context << 1 | busy[y - up, x - left]
            for up, left in _BLACK:
                context = context << 1 | black[y - up, x - left]
            busy[y, x] = code(int(context), 0, y - 2, x - 2)
            if not busy[y, x]:
                black[y, x] = code(int(context), 1, y - 2, x - 2)


def _margins(rows: int, columns: int) -> np.ndarray:
    return np.zeros((rows + 2, columns + 4), np.uint8)


def _coded(shape: tuple[int, int], supply) -> tuple[np.ndarray, np.ndarray]:
    busy, black = _margins(*shape), _margins(*shape)
    tables = [_Contexts(1 << len(_BUSY) + len(_BLACK)) for _ in range(2)]

    def code(context: int, kind: int, y: int, x: int) -> int:
        table = tables[kind]
        bit = supply(min(max(table.one[context], 64), 65472), kind, y, x)
        table.learn(context, bit)
        return bit

    _walk(busy, black, code)
    return busy[2:, 2:-2].astype(bool), black[2:, 2:-2].astype(bool)


def pack_tiles(busy: np.ndarray, black: np.ndarray) -> bytes:
    """bool[h,w], bool[h,w] (never both) → bytes."""
    coder, planes = BitEncoder(), (busy, black)

    def supply(one: int, kind: int, y: int, x: int) -> int:
        bit = int(planes[kind][y, x])
        coder.encode(bit, one)
        return bit

    _coded(busy.shape, supply)
    return coder.finish()


def unpack_tiles(data: bytes, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The inverse. Raises CorruptStreamError for what no encoder writes."""
    coder = BitDecoder(data)
    busy, black = _coded((rows, columns), lambda one, kind, y, x: coder.decode(one))
    if pack_tiles(busy, black) != data:
        raise CorruptStreamError("a mask's map of tiles is damaged")
    return busy, black
