"""The rules of drawing, written from bitstream_spec.md, section 13, in Python's integers. It imports nothing of vqcodec."""

from __future__ import annotations

import math


def philox(c, k):
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b % 2**32, a >> 32 ^ c[3] ^ k[1], a % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def log(f):
    n = f.bit_length() - 1
    m, result = f << (31 - n), n
    for _ in range(16):
        m = m * m >> 31
        bit = m >> 32
        m >>= bit
        result = 2 * result + bit
    return result


def power(n):
    value, root = 1 << 32, 1 << 31
    for i in range(16):
        root = math.isqrt(root << 32)
        if n >> (15 - i) & 1:
            value = value * root >> 32
    return value >> 8


def symbol(row, word, inverse):
    row = [int(entry) for entry in row]
    shares = [high - low for low, high in zip(row, row[1:])]
    if inverse is None:
        return shares.index(max(shares))
    if inverse == 4096:
        return sum(entry <= word >> 16 for entry in row[1:])
    top, weights = log(max(shares)), []
    for share in shares:
        e = (top - log(share)) * inverse // 4096 if share else None
        weights.append(0 if share == 0 else power(e % 65536) >> (e // 65536))
    point, total = (word >> 8) * sum(weights) >> 24, 0
    for symbol, weight in enumerate(weights):
        total += weight
        if total > point:
            return symbol
