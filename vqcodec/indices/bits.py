"""Binary decisions with 16-bit probabilities ⇄ bytes: a range coder of 48 bits, in plain Python.

`bitstream_spec.md`, section "Binary range coder", defines every bit.
"""

from __future__ import annotations

_TOP, _BOTTOM, _WORD = 1 << 48, 1 << 32, 1 << 16


class BitEncoder:
    def __init__(self):
        self._low, self._range, self._words = 0, _TOP - 1, []

    def encode(self, bit: int, one: int) -> None:
        """one: 1..65535, the probability of a 1 in 65536ths."""
        bound = (self._range >> 16) * one
        if bit:
            self._range = bound
        else:
            self._low += bound
            self._range -= bound
        while self._range < _BOTTOM:
            self._shift()

    def _shift(self) -> None:
        if self._low >= _TOP:
            self._low -= _TOP
            self._carry()
        self._words.append(self._low >> 32)
        self._low = (self._low & (_BOTTOM - 1)) << 16
        self._range <<= 16

    def _carry(self) -> None:
        i = len(self._words) - 1
        while self._words[i] == _WORD - 1:
            self._words[i] = 0
            i -= 1
        self._words[i] += 1

    def finish(self) -> bytes:
        """All bytes; those that are zero at the end are left out."""
        top = self._low + self._range - 1
        for bits in range(48, -1, -8):  # the roundest number that the decoder takes for these decisions
            value = top >> bits << bits
            if value >= self._low:
                break
        self._low = value
        for _ in range(3):
            self._shift()
        return b"".join(word.to_bytes(2, "big") for word in self._words).rstrip(b"\0")


class BitDecoder:
    """Bytes past the end read as zero, so that any bytes decode to something: what was coded has its own checksum."""

    def __init__(self, data: bytes):
        self._data = data + bytes(-len(data) % 2)
        self._range, self._code, self._position = _TOP - 1, int.from_bytes(data[:6].ljust(6, b"\0"), "big"), 6

    def decode(self, one: int) -> int:
        bound = (self._range >> 16) * one
        if self._code < bound:
            self._range, bit = bound, 1
        else:
            self._code -= bound
            self._range -= bound
            bit = 0
        while self._range < _BOTTOM:
            i = self._position
            self._code = self._code << 16 | int.from_bytes(self._data[i : i + 2], "big")
            self._range <<= 16
            self._position = i + 2
        return bit
