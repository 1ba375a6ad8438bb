"""Context mixing over lanes: what came before → the probability that the next bit is 1, one bit of every lane at a time.

Integers only, also where they are kept as float64 (below 2^53, so that sums in any order are the same):

    input, |x| <= 2047    weight, |w| <= 2^21    dot = sum of 12 products of an input and three weights < 2^38
    correction = x · error · rate < 2^11 · 2^16 · 2^4

All lanes look before any of them changes anything; where several change one entry, the last lane's change counts, but
weights, to which all corrections are added. So results depend on the text and its division into lanes only. NumPy writes
repeated indices in order (`_writes_in_order` asks it), and the checksum of a block would tell.
"""

from __future__ import annotations

import numpy as np

from ..errors import UnsupportedError
from . import hashing
from .hashing import Learnt
from .tables import CLASSES, CONTEXTS, INPUTS, LEARNT, LEVELS, ORDER_SETS, STEPS, WEIGHT, Tables

RATE, WEIGHT_SHIFT = 2, 18  # of weights
HISTORY_SHIFT, REFINE_SHIFT = 7, 6  # training begins with faster ones
LEAST, MOST = 32, 65504  # of 65536, for what is coded
LONGEST_MATCH, SHORTEST_MATCH = 400, 5
MIN_BITS, MAX_BITS = 10, 19  # of the number of groups for each context

_U = np.uint32
_LETTER = np.zeros(256, np.uint32)  # of a byte in a word, or 0
_LETTER[97:123] = np.arange(97, 123) + 1
_LETTER[65:91] = _LETTER[97:123]
_LETTER[128:] = np.arange(128, 256) + 1


def group_bits(length: int) -> int:
    """Of the tables for a block of so many bytes."""
    return min(MAX_BITS, max(MIN_BITS, (length - 1).bit_length()))


class State:
    """What adapts and starts from the model, shared by all lanes."""

    rate, history_shift = RATE, HISTORY_SHIFT

    def __init__(self, tables: Tables):
        self.histories = tables.histories.astype(np.int64).reshape(-1)
        self.match = np.append(tables.match, [32768]).astype(np.int64)
        self.mix = tables.mix.astype(np.float64)
        self.refine = tables.refine.astype(np.int64).reshape(-1)


class Lanes:
    """L lanes of one block. Call `begin` before each byte, then eight times `probability` and `update`.

    text: int16[n], -1 where not yet known: `update` writes it. starts: int64[L]. salt: training on texts that have nothing to do
    with each other; then each lane has contexts of its own."""

    def __init__(self, tables: Tables, learnt: Learnt, state: State, starts: np.ndarray, length: int, salt: bool = False):
        count = len(starts)
        self.tables, self.learnt, self.state, self.salt = tables, learnt, state, salt
        self.text = np.full(length + 1, -1, np.int16)  # the last: what is looked for where there is nothing
        self.bits = group_bits(length)
        self.groups = np.zeros(CONTEXTS << self.bits + 4, np.uint8)  # check, then the histories of 15 nodes
        self.stretch, self.squash = tables.stretch.astype(np.float64), tables.squash.astype(np.int64)
        self.classes, self.next = tables.classes.astype(np.int64), tables.next.reshape(-1)
        states = len(tables.next)
        self.row, self.level = np.arange(CONTEXTS)[:, None] * (LEVELS * states), states
        self.region = np.arange(CONTEXTS)[:, None] << self.bits
        self.seen = np.full(1 << hashing.MATCH_BITS, -1, np.int64)
        self.starts, self.at, self.done = starts.copy(), starts.copy(), 0
        self.last, self.before, self.word, self.word_before = (np.zeros(count, np.uint32) for _ in range(4))
        self.line, self.line_before = starts - 1, np.full(count, -1)
        self.pointer, self.matched = np.full(count, -1), np.zeros(count, np.int64)
        self.salts = (np.arange(1, count + 1) * salt).astype(np.uint32) * hashing.LANE
        self._lanes = np.arange(count)

    def narrow(self, count: int) -> None:
        """Only the first `count` lanes go on."""
        self._keep(slice(count))

    def last_alone(self) -> None:
        """Only the last lane goes on."""
        self._keep(slice(-1, None))

    def _keep(self, part: slice) -> None:
        for name in ("starts", "at", "last", "before", "word", "word_before", "line", "line_before", "pointer", "matched",
                     "salts"):
            setattr(self, name, getattr(self, name)[part].copy())
        self._lanes = np.arange(len(self.at))

    # --- bytes -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        width = self.at - self.line
        above = self.line_before + width
        inside = (self.line_before >= self.starts - 1) & (above < self.line) & (above >= self.starts)
        over = np.where(inside, self.text.take(np.where(inside, above, -1), mode="wrap"), 0).astype(np.uint32)
        self._hashes = hashing.contexts(self.last, self.before, self.word, self.word_before, over)
        if self.done >= 6:
            self._find_match()
        expected = self.text.take(self.pointer, mode="wrap")  # -1 where there is no pointer
        self.pointer = np.where(expected < 0, -1, self.pointer)
        self._expected = np.where(expected < 0, 0, expected.astype(np.int64) + 256)
        self.matched = np.where(expected < 0, 0, self.matched)
        self._class = self.classes.take(self.last & _U(255))
        self._node = np.ones(len(self.at), np.int64)
        self._bit = 0

    def _find_match(self) -> None:
        key = hashing.of_match(self.last ^ self.salts, self.before)
        lost = np.flatnonzero(self.pointer < 0)
        if len(lost):
            found = self.seen.take(key[lost])
            lost, found = lost[found >= 0], found[found >= 0]
            if len(lost):
                back = np.arange(1, min(self.done, 32) + 1)[:, None]
                there, here = np.maximum(found - back, -1), self.at[lost] - back
                same = self.text.take(there, mode="wrap") == self.text.take(here)
                length = np.where(same.all(0), len(back), same.argmin(0))
                long = length >= SHORTEST_MATCH
                self.pointer[lost[long]], self.matched[lost[long]] = found[long], length[long]
        self.seen.put(key, self.at)

    def _end(self) -> None:
        byte = self._node & 255
        self.text[self.at] = byte
        small = byte.astype(np.uint32)
        self.before = self.before << _U(8) | self.last >> _U(24)
        self.last = self.last << _U(8) | small
        letter = _LETTER.take(byte)
        ended = (letter == 0) & (self.word != 0)
        self.word_before = np.where(ended, self.word, self.word_before)
        self.word = np.where(letter == 0, _U(0), (self.word + letter) * hashing.LETTER)
        newline = byte == 10
        self.line_before = np.where(newline, self.line, self.line_before)
        self.line = np.where(newline, self.at, self.line)
        hit = self._expected == byte + 256
        self.pointer = np.where(hit, self.pointer + 1, -1)
        self.matched = np.where(hit, np.minimum(self.matched + 1, LONGEST_MATCH), 0)
        self.at = self.at + 1
        self.done += 1

    # --- nibbles ---------------------------------------------------------------------------------------------------

    def _find_groups(self) -> None:
        """Where the nibble's histories and learnt nodes begin: histories of another context give way, those of the younger of
        two places first."""
        h = self._hashes if self._bit == 0 else self._hashes + self._node.astype(np.uint32) * hashing.NIBBLE
        h = hashing.finish(h.copy())
        self._known = self.learnt.rows(h[:LEARNT])
        if self.salt:
            h = hashing.finish(h + self.salts)
        place = (h >> _U(8)).astype(np.int64) & (1 << self.bits) - 1
        place += self.region
        other = place ^ 1
        check = h.astype(np.uint8)  # modulo 256
        place <<= 4
        other <<= 4
        here, there = self.groups.take(place) == check, self.groups.take(other) == check
        younger = self.groups.take(other + 1) < self.groups.take(place + 1)
        self._groups = np.where(here | ~there & ~younger, place, other)
        new = np.flatnonzero(~(here | there))
        if len(new):
            at = self._groups.reshape(-1).take(new)
            self.groups.reshape(-1, 16)[at >> 4] = 0
            self.groups.put(at, check.reshape(-1).take(new))

    # --- bits ------------------------------------------------------------------------------------------------------

    def probability(self) -> np.ndarray:
        """int64[L] in 32..65504: of 65536, that the next bit is 1."""
        bit, node = self._bit, self._node
        if bit in (0, 4):
            self._find_groups()
        small = node if bit < 4 else node & (1 << bit - 4) - 1 | 1 << bit - 4
        self._places = self._groups + small
        self._histories = self.groups.take(self._places)
        entry = self._histories + self.row
        known = self.learnt.nodes.take(self._known + small)
        entry[:LEARNT] += known.astype(np.int64) * self.level
        self._entries, self._found = entry, self.state.histories.take(entry)
        inputs = self._inputs = np.empty((INPUTS, len(node)))
        inputs[:CONTEXTS] = self.stretch.take(self._found >> 4)
        inputs[CONTEXTS + 1] = 256
        orders = (self._histories[1:6] | known[1:6]).astype(bool).sum(0) * 4
        self._matches(orders)
        mix = self.state.mix[bit]
        self._sets = node - (1 << bit), orders + 128, self._class + (128 + ORDER_SETS)
        weights = mix.take(self._sets[0], 0)
        weights += mix.take(self._sets[1], 0)
        weights += mix.take(self._sets[2], 0)
        dot = np.floor((weights.T * inputs).sum(0) * 2.0**-16)
        domain = np.clip(dot, -2047, 2047).astype(np.int64) + 2048
        self._mixed = self.squash.take(domain)
        scaled = domain * (STEPS - 1)
        part = scaled & 4095
        place = (self._class * 256 + node) * STEPS + (scaled >> 12)
        low = self.state.refine.take(place)
        refined = low * (4096 - part) + self.state.refine.take(place + 1) * part >> 12
        self._refined = place + (part >> 11)
        return np.clip(self._mixed + refined >> 1, LEAST, MOST)

    def _matches(self, orders: np.ndarray) -> None:
        """The match model's input; adds to `orders` how long the match is."""
        expected, bit = self._expected, self._bit
        valid = expected >> 8 - bit == self._node
        length = self.matched
        long = np.where(length < 16, length, np.minimum(15 + (length - 16 >> 3), 23))
        self._match = np.where(valid, long * 2 + (expected >> 7 - bit & 1), len(self.state.match) - 1)
        self._inputs[CONTEXTS] = self.stretch.take(self.state.match.take(self._match) >> 4) * valid
        orders += valid * (1 + (length >= 10) + (length >= 20))

    def update(self, bits: np.ndarray) -> None:
        """int64[L] of 0 and 1: what the bits were."""
        state, target = self.state, bits * 65535
        self.groups.put(self._places, self.next.take(self._histories.astype(np.int64) * 2 + bits))
        state.histories.put(self._entries, self._found + (target - self._found >> state.history_shift))
        found = state.match.take(self._match)
        state.match.put(self._match, found + (target - found >> state.history_shift))
        found = state.refine.take(self._refined)
        state.refine.put(self._refined, found + (target - found >> REFINE_SHIFT))
        error = (bits * 65536 - self._mixed) * float(state.rate)
        step = np.floor((self._inputs * error + 2.0**(WEIGHT_SHIFT - 1)) * 2.0**-WEIGHT_SHIFT)
        mix = state.mix[self._bit]
        chosen = np.zeros((len(mix), len(bits)))
        flat, lanes, count = chosen.reshape(-1), self._lanes, len(bits)
        for rows in self._sets:
            flat[rows * count + lanes] = 1
        mix += chosen @ step.T
        np.clip(mix, -WEIGHT, WEIGHT, out=mix)
        self._node = self._node * 2 + bits
        self._bit += 1
        if self._bit == 8:
            self._end()


def _writes_in_order() -> bool:
    array = np.zeros(2, np.int64)
    array.put(np.zeros(1000, np.int64), np.arange(1000))
    return array[0] == 999


if not _writes_in_order():  # pragma: no cover
    raise UnsupportedError("this NumPy writes repeated indices in another order than streams of text need")
