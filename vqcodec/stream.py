"""Numbers ⇄ bytes of headers, and the headers' checksum. Standard library only."""

from __future__ import annotations

import binascii

from .errors import CorruptStreamError


def crc16(data: bytes) -> bytes:
    """CRC-16/CCITT (polynomial 0x1021, initial value 0xFFFF, nothing reflected), little-endian."""
    return binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "little")


def uvarint(value: int) -> bytes:
    """LEB128: seven bits a byte, least significant first, the top bit set in all bytes but the last."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


class Reader:
    """A position in bytes; every read past the end raises CorruptStreamError."""

    def __init__(self, data: bytes, position: int = 0):
        self.data, self.position = data, position

    def take(self, n: int) -> bytes:
        if len(self.data) - self.position < n:
            raise CorruptStreamError("the stream is truncated within its header")
        self.position += n
        return bytes(self.data[self.position - n:self.position])

    def uint(self, n: int) -> int:
        return int.from_bytes(self.take(n), "little")

    def uvarint(self, max_bytes: int) -> int:
        """The inverse of `uvarint`; the shortest form is the only valid one."""
        value = 0
        for i in range(max_bytes):
            byte = self.uint(1)
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                if i and not byte:
                    raise CorruptStreamError("a number in the header is longer than it need be")
                return value
        raise CorruptStreamError(f"a number in the header is longer than {max_bytes} bytes")
