"""ICC profiles of curves and a matrix → `Rendering`, for 16-bit samples, which Pillow's ICC engine takes 8 bits of.

Source: ICC.1:2022. Profiles with tables of colours (A2B) are not read here: for them samples are rounded to 8 bits first.
"""

from __future__ import annotations

import struct

import numpy as np

from .rendering import D50, D65, SRGB, Rendering, adaptation, to_xyz

_MOST_TAGS = 200


def matrix_rendering(profile: bytes, grey: bool) -> Rendering | None:
    """None where a profile has no curves, or tables of colours beside them, or is damaged: the ICC engine's business."""
    try:
        tags = _tags(profile)
        space, connection = profile[16:20], profile[20:24]
        if any(name in tags for name in (b"A2B0", b"A2B1", b"A2B2", b"D2B1")):
            return None
        if space == b"GRAY" and grey:
            return Rendering((_curve(tags[b"kTRC"]),) * 3, np.eye(3))
        if space != b"RGB " or connection != b"XYZ ":
            return None
        columns = np.array([struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]).T / 65536
        curves = tuple(_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
        return Rendering(curves, np.linalg.inv(adaptation(D65, D50) @ to_xyz(SRGB)) @ columns)
    except (KeyError, ValueError, struct.error):
        return None


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = struct.unpack_from(">I", profile, 128)[0]
    if count > _MOST_TAGS:
        raise ValueError("too many tags")
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * i) for i in range(count)]
    return {name: profile[offset : offset + size] for name, offset, size in entries}


def _curve(data: bytes):
    """Function from samples to light, of a `curv` or `para` tag. Raises ValueError or struct.error."""
    if data[:4] == b"curv":
        count = struct.unpack_from(">I", data, 8)[0]
        if count == 0:
            return lambda v: v
        if count == 1:
            exponent = struct.unpack_from(">H", data, 12)[0] / 256
            return lambda v: v**exponent
        if 12 + 2 * count > len(data):
            raise ValueError("a curve is cut off")
        table = np.frombuffer(data, ">u2", count, 12) / 65535
        places = np.linspace(0, 1, count)
        return lambda v: np.interp(v, places, table)
    if data[:4] != b"para":
        raise ValueError("a curve of another type")
    kind = struct.unpack_from(">H", data, 8)[0]
    if kind > 4:
        raise ValueError("a curve of another type")
    values = np.array(struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", data, 12)) / 65536
    g, (a, b) = values[0], values[1:3] if kind else (1.0, 0.0)
    c = d = e = f = 0.0  # y = (a·x + b)^g + e from x = d on, c·x + f below
    if kind in (1, 2):
        if not a:
            raise ValueError("a curve without a slope")
        d = -b / a
        e = f = values[3] if kind == 2 else 0.0
    elif kind == 3:
        c, d = values[3:]
    elif kind == 4:
        c, d, e, f = values[3:]
    return lambda v: np.clip(np.where(v >= d, np.maximum(a * v + b, 0) ** g + e, c * v + f), 0, 1)
