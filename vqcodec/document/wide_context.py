"""The second set of inputs of the network of masks: as `context`, but what looks alike is told by 256 pixels, not by 64, and three
places are looked at; ten tables; and how far it is to the last ink in the rows around, where those are known.

    own      64   as there
    others   72   5 rows of 8 pixels around the first place, 3 around the second, 1 around the third
    alike    24   in how many of the 64 pixels, and in how many of the 192 around them, each place differs: ramps of both
    learned  20   of 10 adaptive tables, the log-odds of black twice
    ink      14   bits of the distance to the last black pixel to the left, in the rows from 3 above to 3 below: ramps

Candidates are more: what neighbours had as second and third, one more table of places, of wider surroundings, and those that
the places of two candidates had found alike when they were coded. So letters are found by the first of their rows.
"""

from __future__ import annotations

import numpy as np

from .context import (
    BELOW, CLOSE, COUNT, MARGIN, MIDDLE, NEAR, OTHER, OTHER_ROWS, OTHER_START, OWN, PLACE_BITS, RAMPS, RATES, REACH, SECOND,
    SECOND_ROWS, STARTS, STRETCH, SURE, SURER, TABLE_BITS, WIDE, WORD, Masked, ones, packed_words, rows_of,
)

TABLES = 10
PLACES = 3  # that are looked at; and tables of places
WEIGHT = 4  # of a pixel of the 64, against those around
WIDE_RAMPS = (4, 14, 40, 110)
INK_ROWS = (-3, -2, -1, 0, 1, 2, 3)  # where the last ink is looked for
INK_RAMPS = (3, 8)
FURTHEST = 255
PIXELS = OWN + OTHER + SECOND + WORD
RAMP = len(RAMPS) + len(WIDE_RAMPS)
ALIKE = PIXELS + PLACES * RAMP
LEARNED = ALIKE + 2 * TABLES
INPUTS = LEARNED + len(INK_ROWS) * len(INK_RAMPS)
LEAST = (0,) * ALIKE + (-127,) * (2 * TABLES) + (0,) * (INPUTS - LEARNED)
MOST = (1,) * PIXELS + PLACES * (RAMPS + WIDE_RAMPS) + (127,) * (2 * TABLES) + len(INK_ROWS) * INK_RAMPS

# A table's index is of a sum of products: what is looked at, each with a factor, of
# own pixels | around the first place | around the second | what else is known
FACTORS = (0x9E3779B97F4A7C15, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3)
_TIP = rows_of("......xx", ".....xxx", "....x...")
_LINE = rows_of("...xxxxx", "..xxxxx.")
_BESIDE = rows_of(".......x", "....x...")
_ROUND = rows_of("........", "..xxx...", ".xxxxx..", "..xxx...", "...x....")
_PATCH = rows_of(*5 * ["xxxxxxx."])
_SECOND = rows_of("........", ".xxxxx..", ".xxxxx..")
_HERE, _HERE2 = rows_of("", "", "...x...."), rows_of("", "...x....")


def _field(first: int, bits: int) -> int:
    return ((1 << bits) - 1) << first


# of what else is known, from bit 0 on: in how many pixels the first and the second place differ, 31 at most (5 bits each); sizes
# of the numbers of pixels around, in which they differ (4 each); sizes of distances to ink (4 each); the pixel at the third place;
# the first difference, 3 at most (2); sizes of the first and the second difference (3 each). The size of a number: its bits.
_AROUND, _INK, _THIRD, _FEW, _SIZES = _field(10, 8), _field(18, 28), _field(46, 1), _field(47, 2), _field(49, 6)
LOOKS = (
    (NEAR, 0, 0, 0),
    (MIDDLE, 0, 0, 0),
    (WIDE, 0, 0, 0),
    (CLOSE, _ROUND, 0, _field(1, 4)),
    (_TIP, _ROUND, _SECOND, _AROUND),
    (_LINE, _PATCH, 0, _FEW),
    (_TIP, 0, 0, _INK),
    (0, _HERE, 0, _field(0, 5) | _field(10, 4)),
    (0, _HERE, _HERE2, _SIZES | _THIRD),
    (_BESIDE, 0, 0, _field(26, 16)),
)
# Tables of places go by the sums of MIDDLE and WIDE, and by one of all own pixels and of the first 32 of those 8 rows above
OF_PLACES = (1, 2)
ABOVE, ABOVE_FACTOR = (1 << 32) - 1, 0xD6E8FEB86659FD93


class WideContexts(Masked):
    """Of one mask of height × width, as `context.Contexts`."""

    LEAST, MOST = LEAST, MOST

    def __init__(self, height: int, width: int):
        super().__init__(height, width)
        stride, size = self.stride, self.size
        self.moves = np.full(PLACES * size, self.start, np.int32)
        self.before = np.array([-1, -stride, 2 - stride, size - 1, 2 * size - 1], np.int32)
        self.around = np.array([0, -8, -8 * stride, 7 - 4 * stride], np.int32)
        self.least += MARGIN
        self.odds = np.full(TABLES << TABLE_BITS, 1 << 15, np.uint16)
        self.seen = np.zeros(TABLES << TABLE_BITS, np.uint8)
        self.places = np.full(PLACES << PLACE_BITS, self.least, np.int32)
        self.turns = np.zeros(PLACES << PLACE_BITS, np.int32)  # ... and when they come
        self.ink = np.full(height + 2 * MARGIN, -FURTHEST, np.int32)  # column of the last black pixel of each row

    def look(self, at: np.ndarray, turn: int) -> np.ndarray:
        """The pixels of step `turn` at places int32[n] → float32[n,INPUTS], integers."""
        n, column = len(at), at[:, None]
        own = self.words[column + self.own]  # u64[n,8]
        packed = packed_words(own)
        self.surroundings[at] = packed
        self.y, self.x = np.divmod(at, self.stride)  # with margins
        near = self.surroundings[column + self.around]
        sums = (packed[:, None] & _MASKS[0]) * _FACTORS[0]
        others, differ, around = self._alike(at, near, sums, turn)
        there = self.words[others[:, :1] + self.other]  # u64[n,5]
        second = self.words[others[:, 1:2] + self.other[SECOND_ROWS]]  # u64[n,3]
        third = self.words[others[:, 2] + OTHER_START]
        ink = _SIZE[np.clip(self.x[:, None] - self.ink[self.y[:, None] + _INK_ROWS], 0, FURTHEST)]  # u8[n,7]

        inputs = np.empty((n, INPUTS), np.float32)
        inputs[:, :OWN] = own.view(np.uint8)
        inputs[:, OWN : OWN + OTHER] = there.view(np.uint8)
        inputs[:, OWN + OTHER : PIXELS - WORD] = second.view(np.uint8)
        inputs[:, PIXELS - WORD : PIXELS] = third[:, None].view(np.uint8)
        ramps = inputs[:, PIXELS:ALIKE].reshape(n, PLACES, RAMP)
        np.minimum(differ[:, :, None], _RAMPS, out=ramps[:, :, : len(RAMPS)], casting="unsafe")
        np.minimum(around[:, :, None], _WIDE_RAMPS, out=ramps[:, :, len(RAMPS) :], casting="unsafe")

        known = np.empty((n, len(_SHIFTS)), np.uint64)
        known[:, :2] = np.minimum(differ[:, :2], 31)
        known[:, 2:4] = _SIZE[around[:, :2]]
        known[:, 4:11] = ink
        known[:, 11] = third >> _THIRD_SHIFT & _U64(1)
        known[:, 12] = np.minimum(differ[:, 0], 3)
        known[:, 13:] = _SIZE[differ[:, :2]]
        known = np.bitwise_or.reduce(known << _SHIFTS, 1)
        for value, mask, factor in zip((packed_words(there), packed_words(second), known), _MASKS[1:], _FACTORS[1:]):
            sums += (value[:, None] & mask) * factor
        index = (sums >> _TABLE_SHIFT).astype(np.int64)
        index += _TABLE_BASE
        self.index = index
        self.old, self.count = self.odds[index].astype(np.int32), self.seen[index]
        stretched = STRETCH[self.old >> 4]
        inputs[:, ALIKE : ALIKE + TABLES] = (stretched * SURE[self.count]) >> 8
        inputs[:, ALIKE + TABLES : LEARNED] = (stretched * SURER[self.count]) >> 8
        inputs[:, LEARNED::2] = np.minimum(ink, INK_RAMPS[0])
        inputs[:, LEARNED + 1 :: 2] = ink
        return inputs

    def _alike(self, at, near, sums, turn: int):
        """Of the three places that look most alike int32[n,3], in how many pixels they differ int64[n,3], and around them."""
        column = at[:, None]
        lookup = np.empty((len(at), PLACES), np.uint64)
        lookup[:, :2] = sums[:, OF_PLACES]
        lookup[:, 2] = near[:, 0] * _FACTORS[0] + (near[:, 2] & _U64(ABOVE)) * _U64(ABOVE_FACTOR)
        lookup = (lookup >> _PLACE_SHIFT).astype(np.int64) + _PLACE_BASE
        moves = np.empty((len(at), 10), np.int32)
        moves[:, :5] = self.moves[column + self.before]
        moves[:, 5:8] = np.where(self.turns[lookup] + REACH <= turn, self.places[lookup] - column, self.start)
        self.places[lookup], self.turns[lookup] = column, turn
        via = moves[:, _VIA]
        moves[:, 8:] = via + self.moves[np.clip(column + via, self.least, self.most)]
        others = np.clip(column + moves, self.least, self.most)
        windows = ones(self.surroundings[others[:, :, None] + self.around] ^ near[:, None])  # u8[n,10,4]
        differ = windows[:, :, 0].astype(np.int64)
        around = windows[:, :, 1:].sum(2, dtype=np.int64)
        score = WEIGHT * differ + around
        every, chosen = np.arange(len(at)), np.empty((len(at), PLACES), np.int64)
        for place in range(PLACES):
            best = chosen[:, place] = np.argmin(score, 1)
            self.moves[at + place * self.size] = moves[every, best]
            score[others == others[every, best][:, None]] = _FAR
        rows = every[:, None]
        return others[rows, chosen], differ[rows, chosen], around[rows, chosen]

    def learn(self, at: np.ndarray, bits: np.ndarray) -> None:
        """What the pixels that were looked at last are, uint8[n]."""
        self.pixels[at] = bits
        black = bits.view(bool)
        self.ink[self.y[black]] = self.x[black]
        target = bits[:, None].astype(np.int32) * 65535
        self.odds[self.index] = self.old + ((target - self.old) * RATES[self.count] >> 16)
        self.seen[self.index] = np.minimum(self.count, COUNT - 1) + 1


_U64 = np.uint64
_FAR = 1 << 12
_VIA = (0, 7)  # candidates from whose places others come
_SIZE = np.array([number.bit_length() for number in range(FURTHEST + 1)], np.uint8)
_INK_ROWS = np.array(INK_ROWS)
_RAMPS, _WIDE_RAMPS = np.array(RAMPS), np.array(WIDE_RAMPS)
_SHIFTS = np.array((0, 5, 10, 14, *range(18, 46, 4), 46, 47, 49, 52), np.uint64)
_MASKS = [np.array(masks, np.uint64) for masks in zip(*LOOKS)]
_FACTORS = [_U64(factor) for factor in FACTORS]
_THIRD_SHIFT = _U64(8 * -OTHER_START)
_TABLE_SHIFT, _PLACE_SHIFT = _U64(64 - TABLE_BITS), _U64(64 - PLACE_BITS)
_TABLE_BASE, _PLACE_BASE = np.arange(TABLES) << TABLE_BITS, np.arange(PLACES) << PLACE_BITS
