"""An image file that is open: its pixels, still inside Pillow, and what it says about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ... import filelimits
from ...errors import InputError, LimitError
from ..memory import needed

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 2**30
MAX_SIDE = 2**17


def check_size(size: tuple[int, int], name: str) -> None:
    """Raise InputError unless 1 ≤ sides ≤ 2^17 and width · height ≤ 2^30 pixels, LimitError beyond the limits in force."""
    width, height = size
    if width < 1 or height < 1:
        raise InputError(f"{name}: image without pixels ({width}×{height})")
    if max(size) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(f"{name}: image too large ({width}×{height}; at most 2^30 pixels, 2^17 a side)")
    try:
        filelimits.check(filelimits.Extent(pixels=width * height, memory=needed(width, height)))
    except LimitError as error:
        raise LimitError(f"{name}: {error}") from None


@dataclass(frozen=True)
class Colour:
    """How a file says that its samples are meant; where several are given, cicp goes before icc, that before the others.

    icc: a profile; cicp: (colour primaries, transfer characteristics, full range) as numbered in ITU-T H.273; gamma: the
    exponent from light to samples; chromaticities: x and y of white, red, green and blue."""

    icc: bytes | None = None
    cicp: tuple[int, int, bool] | None = None
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None


@dataclass
class Source:
    """image: the picture; low: for 16-bit colour, the same with the lower byte of every sample, as `image` has the upper.
    layout: how the bands of `image` are meant where its mode does not say it: "LA" of 16 bits lies in its four bands as
    L upper, L lower, A upper, A lower; "RGBa" is premultiplied. white_is_zero, maximum: of grey samples of more than 8 bits.
    orientation: EXIF's, that remains to be applied once Pillow has the image loaded; None: as Pillow's EXIF data say.
    exif: without "Exif\\0\\0"; density: pixels per metre, across and down as stored."""

    image: Image.Image
    colour: Colour = field(default_factory=Colour)
    low: Image.Image | None = None
    layout: str | None = None
    white_is_zero: bool = False
    maximum: int = 65535
    orientation: int | None = None
    transposed: bool = False  # Pillow itself swaps rows and columns
    exif: bytes | None = None
    xmp: bytes | None = None
    density: tuple[int, int] | None = None
