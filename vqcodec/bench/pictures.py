"""The pictures of a folder, as the benchmark sees them: opaque 8-bit sRGB, three channels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, VqcodecError, one_line

SUFFIXES = (".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg", ".avif", ".jp2", ".gif")


@dataclass(frozen=True)
class Source:
    """A readable picture. `digest` is of its samples, so that another file of the same picture is the same."""

    name: str
    path: str
    width: int
    height: int
    digest: str


def read_rgb(path: str | Path) -> np.ndarray:
    """uint8[H,W,3]; transparency is laid over white, because not all codecs compared can keep it."""
    from ..media import read_picture

    picture = read_picture(path)
    if picture.alpha is None:
        return np.ascontiguousarray(picture.rgb)
    alpha = picture.alpha[:, :, None].astype(np.uint32)
    return ((picture.rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def find(folder: Path) -> tuple[list[Source], list[tuple[str, str]]]:
    """(pictures, [(name, why it cannot be read)]) of a folder, sorted by name, or of a single file.

    Raises InputError where there is nothing to read at all."""
    if folder.is_file():
        paths = [folder]
    elif folder.is_dir():
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    else:
        raise InputError(f"{folder}: no such folder")
    if not paths:
        raise InputError(f"{folder}: there are no pictures in it")
    good, bad = [], []
    for path in paths:
        try:
            rgb = read_rgb(path)
        except VqcodecError as error:
            bad.append((path.name, one_line(error).removeprefix(f"{path}: ")))
            continue
        digest = hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).hexdigest()
        good.append(Source(path.name, str(path), rgb.shape[1], rgb.shape[0], digest))
    return good, bad
