"""What is known about a pixel of a mask before it is coded, as small integers: the inputs of the network.

    own      64   pixels before it: the row's last 8, and 8 of each of the 7 rows above
    other    40   5 rows of 8 pixels around the pixel at the place that looks most alike
    second   24   3 rows of 8 pixels at the place that comes next
    alike     8   in how many of the 64 each place differs: min(m, 2), min(m, 6), min(m, 14), min(m, 30)
    learned   8   of 4 adaptive tables, the log-odds of black twice: shrunk where few pixels were seen, and more so

"The place that looks most alike" is the learned-as-it-goes counterpart of symbol matching: every pixel has displacements to
two earlier places; candidates are those of its neighbours to the left, above and above right, and the last places where hashes
of its surroundings were the same. The two with the least difference are taken. Nothing is substituted: what the places show
only moves probabilities.

All integers, vectors of one step at a time: both directions run the same code on what has been coded so far.
"""

from __future__ import annotations

import numpy as np

from .wavefront import SLOPE

ROWS, WORD = 8, 8
STARTS = (-8, -5, -4, -4, -4, -4, -4, -4)  # of the 8 pixels of this row and of those above it
OTHER_ROWS, OTHER_START = (-2, -1, 0, 1, 2), -3
REACH = OTHER_START + WORD - 1 + SLOPE * OTHER_ROWS[-1] + 1  # how many steps earlier the other place must be
MARGIN = 8  # pixels of white left of the mask and rows above it
BELOW = 3

TABLES = 4
TABLE_BITS = 20
PLACES = 2
PLACE_BITS = 18
COUNT = 255  # pixels seen, at most
RAMPS = (2, 6, 14, 30)
OWN, OTHER = ROWS * WORD, len(OTHER_ROWS) * WORD
SECOND_ROWS = slice(1, 4)  # of OTHER_ROWS
SECOND = 3 * WORD
PIXELS = OWN + OTHER + SECOND
ALIKE = PIXELS + 2 * len(RAMPS)
INPUTS = ALIKE + 2 * TABLES
LEAST = (0,) * ALIKE + (-127,) * (2 * TABLES)
MOST = (1,) * PIXELS + 2 * RAMPS + (127,) * (2 * TABLES)
FAR = 99  # a difference of no two places

_PACK = np.uint64(0x0102040810204080)  # gathers the lowest bits of 8 bytes in the top byte
_MIX = np.uint64(0x9E3779B97F4A7C15)


def packed_words(words: np.ndarray) -> np.ndarray:
    """u64[n,r], a pixel a byte → u64[n], pixel c of word r at bit 8·r + c."""
    return np.bitwise_or.reduce(((words * _PACK) >> _TOP) << _BYTES[: words.shape[1]], 1)


def rows_of(*bits: str) -> int:
    """Which pixels a table looks at: a string of 8 for each row, from this one up or from the first on, "x" for yes."""
    value = 0
    for row, text in enumerate(bits):
        for column, letter in enumerate(text):
            value |= (letter == "x") << (8 * row + column)
    return value


NEAR = rows_of("....xxxx", "..xxxxxx", "..xxxxx.", "....x...")
MIDDLE = rows_of("..xxxxxx", ".xxxxxxx", ".xxxxxxx", ".xxxxxx.", "..xxxx..")
WIDE = rows_of("xxxxxxxx", "xxxxxxxx", "xxxxxxxx", "xxxxxxxx", ".xxxxxxx", ".xxxxxxx", "..xxxxx.")
CLOSE = rows_of(".....xxx", "...xxxxx", "....xxx.")
CLOSE_OTHER = ((1, (2, 3, 4)), (2, (1, 2, 3, 4, 5)), (3, (2, 3, 4)), (4, (3,)))  # (row of `OTHER_ROWS`, columns)

# log-odds of a 16-bit probability in sixteenths, and the weight of what was seen n times, both by tables of the format
STRETCH = np.rint(16 * np.log((np.arange(4096) + 0.5) / (4096 - np.arange(4096) - 0.5))).clip(-127, 127).astype(np.int32)
RATES = np.array([65536 * 2 // (2 * n + 3) for n in range(COUNT + 1)], np.int32)
SURE = np.array([256 * 2 * n // (2 * n + 1) for n in range(COUNT + 1)], np.int32)
SURER = np.array([256 * n // (n + 12) for n in range(COUNT + 1)], np.int32)


class Masked:
    """What both sets of inputs know of one mask of height × width. `pixels`: flat, with margins; `at(y, x)` are places in it."""

    LEAST: tuple[int, ...]  # of each input
    MOST: tuple[int, ...]

    def __init__(self, height: int, width: int):
        self.stride = width + 2 * MARGIN
        rows = height + MARGIN + BELOW
        self.size = rows * self.stride
        self.pixels = np.zeros(self.size + WORD, np.uint8)
        self.words = np.ndarray((self.size + 1,), "<u8", self.pixels.data, 0, (1,))
        self.shape = height, width
        self.surroundings = np.zeros(self.size, np.uint64)  # `own` as bits
        self.start = -(REACH + MARGIN)  # of displacements: a place to the left
        self.own = np.array([start - row * self.stride for row, start in enumerate(STARTS)], np.int32)
        self.other = np.array([OTHER_START + row * self.stride for row in OTHER_ROWS], np.int32)
        self.least, self.most = MARGIN * self.stride, (MARGIN + height) * self.stride - MARGIN

    def fill(self, black: np.ndarray, tile: int) -> None:
        """Tiles bool[h,w] that are all black are so from the beginning."""
        height, width = self.shape
        self._area()[black.repeat(tile, 0).repeat(tile, 1)[:height, :width]] = 1

    def at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """int32[N]: places of pixels."""
        return ((y + MARGIN) * self.stride + x + MARGIN).astype(np.int32)

    def mask(self) -> np.ndarray:
        """bool[H,W] of what is known."""
        return self._area() != 0

    def _area(self) -> np.ndarray:
        height, width = self.shape
        return self.pixels[:-WORD].reshape(-1, self.stride)[MARGIN : MARGIN + height, MARGIN : MARGIN + width]


class Contexts(Masked):
    """Of one mask of height × width, growing as it is coded."""

    LEAST, MOST = LEAST, MOST

    def __init__(self, height: int, width: int):
        super().__init__(height, width)
        self.moves = np.full(2 * self.size, self.start, np.int32)
        self.second = np.int32(self.size)
        self.before = np.array([-1, -self.stride, 2 - self.stride, self.size - 1], np.int32)
        self.odds = np.full(TABLES << TABLE_BITS, 1 << 15, np.uint16)
        self.seen = np.zeros(TABLES << TABLE_BITS, np.uint8)
        self.places = np.full(PLACES << PLACE_BITS, self.least, np.int32)
        self.turns = np.zeros(PLACES << PLACE_BITS, np.int32)  # ... and when they come

    def look(self, at: np.ndarray, turn: int) -> np.ndarray:
        """The pixels of step `turn` at places int32[n] → float32[n,INPUTS], integers."""
        n, column = len(at), at[:, None]
        own = self.words[column + self.own]  # u64[n,8]
        packed = packed_words(own)
        self.surroundings[at] = packed
        hashes = (packed[:, None] & _LOOKS) * _MIX
        other, second, differ, differ2 = self._alike(at, packed, hashes, turn)
        there = self.words[other[:, None] + self.other].view(np.uint8)  # u8[n,40]

        inputs = np.empty((n, INPUTS), np.float32)
        inputs[:, :OWN] = own.view(np.uint8)
        inputs[:, OWN : OWN + OTHER] = there
        inputs[:, OWN + OTHER : PIXELS] = self.words[second[:, None] + self.other[SECOND_ROWS]].view(np.uint8)
        inputs[:, PIXELS : PIXELS + len(RAMPS)] = np.minimum(differ[:, None], _RAMPS)
        inputs[:, PIXELS + len(RAMPS) : ALIKE] = np.minimum(differ2[:, None], _RAMPS)
        close = (there[:, _CLOSE_OTHER].astype(np.float32) @ _CLOSE_WEIGHTS).astype(np.uint64)
        close |= np.minimum(differ >> 1, 7).astype(np.uint64) << _CLOSE_DIFFER
        close = ((packed & np.uint64(CLOSE)) | close << _CLOSE_SHIFT) * _MIX
        index = np.empty((n, TABLES), np.int64)
        index[:, :3] = hashes >> _TABLE_SHIFT
        index[:, 3] = close >> _TABLE_SHIFT
        index += _TABLE_BASE
        self.index = index
        self.old, self.count = self.odds[index].astype(np.int32), self.seen[index]
        stretched = STRETCH[self.old >> 4]
        inputs[:, ALIKE : ALIKE + TABLES] = (stretched * SURE[self.count]) >> 8
        inputs[:, ALIKE + TABLES :] = (stretched * SURER[self.count]) >> 8
        return inputs

    def _alike(self, at, packed, hashes, turn: int):
        """(places int32[n] of the two that look most alike, their differences int[n])."""
        lookup = (hashes[:, 1:] >> _PLACE_SHIFT).astype(np.int64) + _PLACE_BASE
        moves = np.empty((len(at), 6), np.int32)
        moves[:, :4] = self.moves[at[:, None] + self.before]
        found = self.places[lookup] - at[:, None]
        moves[:, 4:] = np.where(self.turns[lookup] + REACH <= turn, found, self.start)
        self.places[lookup], self.turns[lookup] = at[:, None], turn
        others = np.clip(at[:, None] + moves, self.least, self.most)
        differ = ones(self.surroundings[others] ^ packed[:, None])
        every = np.arange(len(at))
        best = np.argmin(differ, 1)
        other, least = others[every, best], differ[every, best]
        self.moves[at] = moves[every, best]
        differ[others == other[:, None]] = FAR
        best = np.argmin(differ, 1)
        self.moves[at + self.second] = moves[every, best]
        return other, others[every, best], least, differ[every, best]

    def learn(self, at: np.ndarray, bits: np.ndarray) -> None:
        """What the pixels that were looked at last are, uint8[n]."""
        self.pixels[at] = bits
        target = bits[:, None].astype(np.int32) * 65535
        self.odds[self.index] = self.old + ((target - self.old) * RATES[self.count] >> 16)
        self.seen[self.index] = np.minimum(self.count, COUNT - 1) + 1


def _ones_of_bytes(words: np.ndarray) -> np.ndarray:
    return _BITS[np.ascontiguousarray(words)[..., None].view(np.uint8)].sum(-1, dtype=np.uint8)


_BITS = np.array([value.bit_count() for value in range(256)], np.uint8)
ones = getattr(np, "bitwise_count", _ones_of_bytes)  # of NumPy 2
_TOP, _BYTES = np.uint64(56), np.arange(8, dtype=np.uint64) * np.uint64(8)
_TABLE_SHIFT, _PLACE_SHIFT = np.uint64(64 - TABLE_BITS), np.uint64(64 - PLACE_BITS)
_TABLE_BASE, _PLACE_BASE = np.arange(TABLES) << TABLE_BITS, np.arange(PLACES) << PLACE_BITS
_LOOKS = np.array([NEAR, MIDDLE, WIDE], np.uint64)
_RAMPS = np.array(RAMPS, np.uint8)
_CLOSE_OTHER = np.array([WORD * row + column for row, columns in CLOSE_OTHER for column in columns])
_CLOSE_WEIGHTS = np.float32(2) ** np.arange(len(_CLOSE_OTHER), dtype=np.float32)
_CLOSE_DIFFER, _CLOSE_SHIFT = np.uint64(len(_CLOSE_OTHER)), np.uint64(24)
