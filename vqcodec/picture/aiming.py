"""Encoding a picture to a target of rate, size or PSNR: mostly once or twice, after estimates (see `indices/target.py`).

Estimated is with the codewords nearest to the latents, and bits by the float twin of the prior. What the search gains in PSNR
differs much from picture to picture (photo-3: 0 to 4 dB), so that it is tried on some tiles:

    nearest codewords → where the picture differs → tiles, drawn by that → a mosaic of them → nearest, searched → their ratio
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from .codec import PATCH, Encoded
from .file import Picture
from .psnr import psnr
from ..indices.quality import quality_of
from ..indices.target import Estimate, Goal, reach

if TYPE_CHECKING:
    from .torch_codec import TorchCodec

FIXED_BYTES = 40  # of a stream, about
# What encodes give more than estimates of their rate (its logarithm) and of PSNR (dB), at quality 1, and for each quality above,
# at efforts 0, 1, and more: medians of photo-3 on 15 pictures of CID22 and other photographs to train on. First guesses only.
RATE_BIAS = ((-0.3, 0.0), (-0.06, 0.0), (0.05, -0.02))
PSNR_BIAS = ((-1.1, 0.12), (0.3, 0.08), (0.8, 0.26))
MOST = 4, 3  # encodes: of small pictures, of which less can be estimated, and of others
TILE = 7 * PATCH  # pixels on a side of a tile
MOSAICS = ((800_000, 2, 4), (200_000, 2, 2))  # pixels of a picture, from which on its mosaic has so many rows and columns of tiles


@dataclass
class Aim:
    """A picture that is encoded again and again; alpha: its packed plane."""

    codec: TorchCodec
    picture: Picture
    effort: int
    alpha: bytes | None
    metadata: bytes | None
    nearest: dict[int, np.ndarray] = field(default_factory=dict, init=False)  # how it was estimated last: {sixteenths: pixels}

    def bytes_at(self, sixteenths: int) -> float:
        """Of the file, about."""
        overhead = FIXED_BYTES + len(self.alpha or b"") + len(self.metadata or b"")
        return overhead + self.codec.nearest_bits(self.picture, sixteenths) / 8

    def psnr_at(self, sixteenths: int) -> float:
        """With the nearest codewords."""
        self.nearest = {sixteenths: self.codec.nearest_pixels(self.picture, sixteenths)}
        return psnr(self.picture.rgb, self.nearest[sixteenths])

    def searched_psnr_at(self, sixteenths: int) -> float:
        """By a search of some tiles."""
        rgb = self.picture.rgb
        plain = psnr(rgb, self.nearest[sixteenths]) if sixteenths in self.nearest else self.psnr_at(sixteenths)
        if not math.isfinite(plain):
            return plain
        rows, columns = mosaic_shape(*rgb.shape[:2])
        corners = drawn_tiles(tile_errors(rgb, self.nearest[sixteenths]), rows * columns)
        tiles = [rgb[top : top + TILE, left : left + TILE] for top, left in corners]
        mosaic = Picture(np.concatenate([np.concatenate(tiles[row * columns : (row + 1) * columns], 1) for row in range(rows)]),
                         None, self.picture.grey)
        searched = self.codec.found(self.codec.search(mosaic, sixteenths, self.effort), mosaic, sixteenths)
        before, after = (tile_errors(mosaic.rgb, found) for found in (self.codec.nearest_pixels(mosaic, sixteenths), searched))
        return plain - 10 * math.log10(max(float(np.mean(after / np.maximum(before, 1))), 1e-4))


def encode_to(goal: Goal, aim: Aim, progress: Callable[[str], None]) -> Encoded:
    """goal: of PSNR, of bytes of the file if it is an upper bound, or else of bits per pixel."""
    height, width = aim.picture.rgb.shape[:2]

    def value(length: float) -> float:
        return length if goal.upper_bound else 8 * length / (width * height)

    def attempt(sixteenths: int) -> tuple[Encoded, float]:
        result, coded = aim.codec.attempt(aim.picture, sixteenths, aim.effort, aim.alpha, aim.metadata,
                                           lambda text: progress(f"trying quality {quality_of(sixteenths):g}: {text}"))
        if goal.decibels:
            return result, psnr(aim.picture.rgb, aim.codec.found(coded, aim.picture, sixteenths))
        return result, value(len(result.data))

    def bias(sixteenths: int) -> float:
        first, more = (PSNR_BIAS if goal.decibels else RATE_BIAS)[min(aim.effort, 2)]
        return first + more * (quality_of(sixteenths) - 1)

    estimate, large = None, mosaic_shape(height, width) is not None
    if aim.codec.context is not None and goal.decibels:
        estimate = Estimate(aim.psnr_at, bias, times=2, closer=aim.searched_psnr_at if aim.effort and large else None)
    elif aim.codec.context is not None:
        estimate = Estimate(lambda sixteenths: value(aim.bytes_at(sixteenths)), bias, times=3 if aim.effort else 2)
    result, note = reach(goal, aim.codec.qualities, attempt, estimate=estimate, most=MOST[large] if estimate else None, progress=progress)
    return replace(result, note=note)


def mosaic_shape(height: int, width: int) -> tuple[int, int] | None:
    """Rows and columns of tiles in a mosaic of a picture; None where it would not be much less work than the picture."""
    fits = height >= TILE and width >= TILE
    return next(((rows, columns) for pixels, rows, columns in MOSAICS if height * width >= pixels and fits), None)


def tile_errors(rgb: np.ndarray, decoded: np.ndarray) -> np.ndarray:
    """f64[rows,columns]: of each whole tile the sum of squared differences of uint8[H,W,3]."""
    rows, columns = rgb.shape[0] // TILE, rgb.shape[1] // TILE
    errors = np.empty((rows, columns))
    for row in range(rows):
        here = slice(row * TILE, (row + 1) * TILE), slice(columns * TILE)
        squares = np.square(rgb[here].astype(np.int16) - decoded[here], dtype=np.int32)
        errors[row] = squares.reshape(TILE, columns, TILE * 3).sum((0, 2), dtype=np.float64)
    return errors


def drawn_tiles(errors: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Corners of `count` tiles of errors f64[rows,columns]: evenly apart where each takes as much room as it differs, so that the
    mean of what is found in them is that of all differences (systematic sampling, proportional to size). Large errors may draw a
    tile twice."""
    sums = np.cumsum(errors + 1.0)
    found = np.searchsorted(sums, (np.arange(count) + 0.5) / count * sums[-1])
    return [(int(i) // errors.shape[1] * TILE, int(i) % errors.shape[1] * TILE) for i in found]
