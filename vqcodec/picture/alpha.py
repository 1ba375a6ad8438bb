"""alpha uint8[H,W] ⇄ bytes: the lossless coding of an alpha plane.

Format. H and W (both ≥ 1) are known from elsewhere. Byte 0 is the method; what follows depends on it. DEFLATE
means one raw DEFLATE stream (RFC 1951, no zlib or gzip wrapper) that reaches to the last byte of the data.

    method 0, constant     00 v                 every sample is v
    method 1, mask         01 a b DEFLATE       content: H rows of B = ceil(W/8) bytes
    method 2, mask, XOR    02 a b DEFLATE       content: as method 1, each row XORed with the row above
    method 3, filtered     03 DEFLATE           content: H rows of 1 + W bytes

Masks hold two values, a < b. A row holds one bit per sample, leftmost sample in the most significant bit of
the first byte; bit 0 stands for a, bit 1 for b; the last 8·B − W bits of a row are zero. In method 2 row 0 is
stored as it is, and row y > 0 as (bits of row y) XOR (bits of row y − 1).

Filtered rows start with a filter byte f, then hold residuals r[0…W−1]. With x the row, u the row above (zeros
above row 0), x[−1] = u[−1] = 0 and all arithmetic modulo 256:

    f = 0, none        x[i] = r[i]
    f = 1, sub         x[i] = r[i] + x[i−1]
    f = 2, up          x[i] = r[i] + u[i]
    f = 3, gradient    x[i] = r[i] + x[i−1] + u[i] − u[i−1]

A decoder MUST reject: an unknown method or filter, a ≥ b, a padding bit that is one, content of any other
length than stated, a DEFLATE stream that is damaged or does not end with the last byte, and further bytes
after method 0. It SHOULD decompress no more than the stated length. An encoder MAY choose any method that can
represent the plane, and any filter for each row.
"""

from __future__ import annotations

import zlib

import numpy as np

from .. import filelimits
from ..errors import CorruptStreamError, UsageError

_CONSTANT, _MASK, _MASK_XOR, _FILTERED = range(4)
_NONE, _SUB, _UP, _GRADIENT = range(4)
_RAW_DEFLATE = -15  # zlib's window bits for a stream without wrapper


def encode_alpha(alpha: np.ndarray) -> bytes:
    """Code a plane uint8[H,W] (H, W ≥ 1) in the smallest form found. Raises UsageError for other arrays."""
    if alpha.dtype != np.uint8 or alpha.ndim != 2 or alpha.size == 0:
        raise UsageError(f"alpha must be uint8 [H,W], not {alpha.dtype} {list(alpha.shape)}")
    low, high = int(alpha.min()), int(alpha.max())
    if low == high:
        return bytes([_CONSTANT, low])
    # rows judged by their residuals suit gradients, unfiltered rows suit drawings (and masks with repetition)
    candidates = [bytes([_FILTERED]) + _deflate(_filtered_rows(alpha, (_NONE,)))]
    upper = alpha == high
    if ((alpha == low) | upper).all():
        rows = np.packbits(upper, axis=1)
        crossed = rows.copy()
        crossed[1:] ^= rows[:-1]
        candidates.append(bytes([_MASK, low, high]) + _deflate([rows]))
        candidates.append(bytes([_MASK_XOR, low, high]) + _deflate([crossed]))
    else:
        candidates.append(bytes([_FILTERED]) + _deflate(_filtered_rows(alpha, range(4))))
    return min(candidates, key=len)


def decode_alpha(data: bytes, height: int, width: int) -> np.ndarray:
    """Inverse of `encode_alpha`: uint8[height,width]. Raises CorruptStreamError for anything not in the format.

    Memory stays within a few times height · width bytes, whatever `data` holds.
    """
    if height < 1 or width < 1:
        raise CorruptStreamError(f"alpha plane of {width}×{height} samples")
    if len(data) < 2:
        raise CorruptStreamError("alpha plane is truncated")
    method = data[0]
    if method == _CONSTANT:
        if len(data) != 2:
            raise CorruptStreamError("alpha plane has trailing bytes")
        return np.full((height, width), data[1], np.uint8)
    if method in (_MASK, _MASK_XOR):
        return _decode_mask(data, height, width)
    if method == _FILTERED:
        content = _inflate(memoryview(data)[1:], height * (1 + width))
        return _unfilter(content.reshape(height, 1 + width))
    raise CorruptStreamError(f"alpha plane has the unknown method {method}")


def _decode_mask(data: bytes, height: int, width: int) -> np.ndarray:
    """Plane uint8[height,width] of methods 1 and 2."""
    if len(data) < 3 or data[1] >= data[2]:
        raise CorruptStreamError("alpha mask has no two values in ascending order")
    row_bytes = (width + 7) // 8
    rows = _inflate(memoryview(data)[3:], height * row_bytes).reshape(height, row_bytes)
    if data[0] == _MASK_XOR:
        rows = np.bitwise_xor.accumulate(rows, axis=0)
    if (rows[:, -1] & ((1 << (8 * row_bytes - width)) - 1)).any():
        raise CorruptStreamError("alpha mask has padding bits that are not zero")
    bits = np.unpackbits(rows, axis=1, count=width)
    bits *= np.uint8(data[2] - data[1])
    bits += np.uint8(data[1])
    return bits


def _filtered_rows(alpha: np.ndarray, choices):
    """Yield each row of uint8[H,W] as uint8[1+W]: of the filters in `choices` the one with the smallest sum."""
    above = np.zeros(alpha.shape[1], np.uint8)
    for row in alpha:
        filelimits.tick()
        residuals = [(choice, _residual(choice, row, above)) for choice in choices]
        if len(residuals) > 1:  # sums of residuals read as signed
            residuals.sort(key=lambda pair: int(np.minimum(pair[1], -pair[1]).sum(dtype=np.int64)))
        best, residual = residuals[0]
        yield np.concatenate([np.array([best], np.uint8), residual])
        above = row


def _residual(choice: int, row: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Residuals uint8[W] of one row under one filter."""
    if choice == _NONE:
        return row
    if choice == _UP:
        return row - above
    source = row if choice == _SUB else row - above  # gradient is sub of up
    residual = source.copy()
    residual[1:] -= source[:-1]
    return residual


def _unfilter(rows: np.ndarray) -> np.ndarray:
    """Plane uint8[H,W] of filtered rows uint8[H,1+W]."""
    height, width = rows.shape[0], rows.shape[1] - 1
    if rows[:, 0].max() > _GRADIENT:
        raise CorruptStreamError(f"alpha plane has the unknown row filter {rows[:, 0].max()}")
    alpha = np.empty((height, width), np.uint8)
    above = np.zeros(width, np.uint8)
    for choice, residual, row in zip(rows[:, 0], rows[:, 1:], alpha):
        filelimits.tick()
        if choice in (_SUB, _GRADIENT):
            np.add.accumulate(residual, out=row)
        else:
            row[:] = residual
        if choice in (_UP, _GRADIENT):
            row += above
        above = row
    return alpha


def _deflate(parts) -> bytes:
    """Raw DEFLATE stream of an iterable of uint8 arrays."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE, 9)
    pieces = [compressor.compress(np.ascontiguousarray(part)) for part in parts]
    return b"".join(pieces) + compressor.flush()


def _inflate(data: memoryview, length: int) -> np.ndarray:
    """uint8[length] from a raw DEFLATE stream that must hold just that. Raises CorruptStreamError."""
    decompressor = zlib.decompressobj(_RAW_DEFLATE)
    try:
        content = decompressor.decompress(data, length)
        excess = decompressor.decompress(decompressor.unconsumed_tail, 1)  # also reads the end mark
    except zlib.error as error:
        raise CorruptStreamError(f"alpha plane is damaged ({error})") from error
    if excess or len(content) != length or not decompressor.eof:
        raise CorruptStreamError("alpha plane is truncated or of another size")
    if decompressor.unused_data:
        raise CorruptStreamError("alpha plane has trailing bytes")
    return np.frombuffer(content, np.uint8)
