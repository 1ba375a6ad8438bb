"""Curves, bytes of a header ⇄ tables: levels that are added to decoded samples by their value, in each channel, so that no surface
comes back with a tint.

    nodes i8[n,C], quarters of a level, evenly spaced over 0…255 ─ straight lines between them ─ round ─→ table uint8[256,C]
"""

from __future__ import annotations

import numpy as np

from ..errors import CorruptStreamError

MOST_NODES = 9
UNIT = 4  # of nodes: parts of a level
COUNTS = (1, 2, 5)  # of nodes, that encoders try
TINT = 0.4  # levels of mean error in a channel from which on there are curves
SHARE = 0.02  # of a stream that they may take, if squared errors alone are not worth them
_FEW = 1e-3  # of all samples: values with fewer hardly move a node


def pack(nodes: np.ndarray) -> bytes:
    """int[n,C], 1 ≤ n ≤ MOST_NODES, -128…127 each."""
    return nodes.astype(np.int8).tobytes()


def unpack(data: bytes, grey: bool) -> np.ndarray:
    """int64[n,C]. Raises CorruptStreamError."""
    channels = 1 if grey else 3
    if len(data) % channels or not 1 <= len(data) // channels <= MOST_NODES:
        raise CorruptStreamError(f"curves of {len(data)} bytes")
    return np.frombuffer(data, np.int8).astype(np.int64).reshape(-1, channels)


def table(nodes: np.ndarray) -> np.ndarray:
    """uint8[256,C]: what each value becomes."""
    values, parts = np.arange(256), len(nodes) - 1
    low, part = divmod(values * parts, 255)
    ahead = nodes[np.minimum(low + 1, parts)]
    off = (nodes[low] * (255 - part)[:, None] + ahead * part[:, None] + 255 * UNIT // 2) // (255 * UNIT)
    return (values[:, None] + off).clip(0, 255).astype(np.uint8)


def apply(rgb: np.ndarray, nodes: np.ndarray) -> None:
    """uint8[H,W,3], in place; curves of one channel are for all."""
    tables = np.broadcast_to(table(nodes), (256, 3))
    for channel in range(3):
        plane = rgb[:, :, channel]
        np.copyto(plane, tables[:, channel][plane])


def find(decoded: np.ndarray, rgb: np.ndarray, counted: np.ndarray | None, grey: bool, bits: float, size: int) -> np.ndarray | None:
    """The nodes with which `decoded` is nearest to `rgb`, both uint8[H,W,3], or None where there is no tint, or it is not worth the
    bytes. counted:
    bool[H,W], of samples that are not painted, all if None; bits: that a squared error of 1 in all channels of a pixel is worth;
    size: bytes of the stream without them."""
    channels = 1 if grey else 3
    where = slice(None) if counted is None else counted.ravel()
    count, error = np.zeros((256, channels)), np.zeros((256, channels))
    for channel in range(channels):
        value, wanted = (a[:, :, channel].ravel()[where] for a in (decoded, rgb))
        count[:, channel] = np.bincount(value, minlength=256)
        error[:, channel] = np.bincount(value, wanted.astype(np.float64) - value, 256)
    total = max(1.0, count[:, 0].sum())
    best, cost = None, np.inf
    if np.abs(error.sum(0)).max() <= TINT * decoded.shape[0] * decoded.shape[1]:
        return None
    for number in COUNTS:
        nodes = _fitted(count, error, number, total * _FEW)
        off = table(nodes).astype(np.int64) - np.arange(256)[:, None]
        saved = (2 * off * error - off * off * count).sum() / channels
        spent = 8 * (1 + number * channels)
        allowed = spent < bits * saved or (saved > 0 and spent <= SHARE * 8 * size)
        if allowed and spent - bits * saved < cost:
            best, cost = nodes, spent - bits * saved
    return best


def _fitted(count: np.ndarray, error: np.ndarray, number: int, few: float) -> np.ndarray:
    """int64[number,C] of least squared error, by how often [256,C] each value was decoded, and the sum of its errors."""
    place = np.arange(256) / 255 * (number - 1)
    base = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(number)))  # [256,number]
    nodes = [np.linalg.solve((base * n[:, None]).T @ base + few * np.eye(number), base.T @ e) for n, e in zip(count.T, error.T)]
    return np.rint(np.stack(nodes, 1) * UNIT).clip(-128, 127).astype(np.int64)
