"""What a page is outside of streams, and image files ⇄ pages: PNG, multi-page TIFF and whatever else pictures are read from."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from .. import filelimits
from ..errors import InputError, LimitError, UsageError, VqcodecError, cause
from ..picture.file import Picture, pillow_limits, read_picture, to_image
from .memory import needed
from .stream import MAX_PIXELS, MAX_SIDE

_REDUCED = 254  # TIFF: NewSubfileType, of which bit 0 says that this is a smaller copy of another image


@dataclass(frozen=True)
class PageImage:
    """samples: bool[H,W], black where true, or uint8[H,W,3]; grey: the latter has no colour; dpi: (x, y), 0 where unknown."""

    samples: np.ndarray
    dpi: tuple[float, float] = (0.0, 0.0)
    grey: bool = False

    @property
    def bilevel(self) -> bool:
        return self.samples.dtype == bool


def check_page(width: int, height: int, name: str) -> None:
    """Before its pixels are read. Raises LimitError, InputError."""
    try:
        filelimits.check(filelimits.Extent(pixels=width * height, memory=needed(width * height)))
    except LimitError as error:
        raise LimitError(f"{name}: {error}") from None
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise InputError(f"{name}: a page of {width}x{height} pixels is beyond the limits of the format")


def chosen(pages: str | None, count: int) -> list[int]:
    """"1-3,7" → [0, 1, 2, 6]; None: all. Raises UsageError for what is no such list, or beyond the pages there are."""
    if pages is None:
        return list(range(count))
    found = []
    for part in pages.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low = int(first) if first or not dash else 1
            high = (int(last) if last else count) if dash else low
        except ValueError:
            raise UsageError(f"pages are given as 1-5 or 1,3,7-9, not {pages!r}") from None
        if not 1 <= low <= high <= count:
            raise UsageError(f"there is no page {part.strip()}: the document has {count}")
        found += range(low - 1, high)
    return list(dict.fromkeys(found))


class ImagePages:
    """The pages of an image file, read one at a time. Raises InputError for what is none."""

    def __init__(self, data: bytes, name: str):
        self.name, self.shell = name, b""
        try:
            with pillow_limits():
                self._image = Image.open(io.BytesIO(data))
                self.frames = [i for i in range(getattr(self._image, "n_frames", 1)) if self._is_page(i)] or [0]
        except (VqcodecError, MemoryError):
            raise
        except Exception as error:
            raise InputError(f"{name}: not an image, or its header is damaged ({cause(error)})") from error

    def _is_page(self, frame: int) -> bool:
        tags = getattr(self._image, "tag_v2", None)
        if tags is None:
            return frame == 0  # of an animation
        self._image.seek(frame)
        return not int(self._image.tag_v2.get(_REDUCED, 0)) & 1

    @property
    def count(self) -> int:
        return len(self.frames)

    def pages(self, wanted: Iterable[int]) -> Iterator[PageImage]:
        """Raises InputError."""
        for number in wanted:
            try:
                with pillow_limits():
                    if hasattr(self._image, "n_frames"):
                        self._image.seek(self.frames[number])
                    check_page(*self._image.size, self.name)
                    yield page_of_image(self._image, f"{self.name}, page {number + 1}")
            except (VqcodecError, MemoryError):
                raise
            except Exception as error:
                raise InputError(f"{self.name}, page {number + 1}: truncated or damaged ({cause(error)})") from error


def page_of_image(image: Image.Image, name: str) -> PageImage:
    """The current frame. What has two levels alone, black and white, becomes a mask; transparency lies on white."""
    dpi = _dpi(image)
    if image.mode == "1" and image.getexif().get(0x0112, 1) == 1:
        return PageImage(~np.asarray(image), dpi)
    picture = read_picture(image.copy(), name)
    rgb = picture.rgb
    if picture.alpha is not None:
        alpha = picture.alpha[:, :, None].astype(np.uint16)
        rgb = ((rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    grey = picture.grey or bool((rgb[:, :, 0] == rgb[:, :, 1]).all() and (rgb[:, :, 1] == rgb[:, :, 2]).all())
    if grey and bool(((rgb[:, :, 0] == 0) | (rgb[:, :, 0] == 255)).all()):
        return PageImage(rgb[:, :, 0] == 0, dpi)
    return PageImage(rgb, dpi, grey)


def _dpi(image: Image.Image) -> tuple[float, float]:
    try:
        x, y = (float(value) for value in image.info.get("dpi", (0, 0)))
    except (TypeError, ValueError, ZeroDivisionError):
        return 0.0, 0.0
    return (x, y) if 0 < x < 10000 and 0 < y < 10000 else (0.0, 0.0)


def image_of(page: PageImage) -> Image.Image:
    """Of mode 1, L or RGB."""
    if page.bilevel:
        return Image.fromarray(~page.samples)
    return to_image(Picture(page.samples, None, page.grey))


def write_tiff(pages: Iterable[PageImage], file: BinaryIO) -> None:
    """A multi-page TIFF, a page at a time: CCITT group 4 for two levels, else deflate."""
    with TiffImagePlugin.AppendingTiffWriter(file) as writer:
        for page in pages:
            image = image_of(page)
            density = {"dpi": page.dpi} if page.dpi[0] else {}
            image.save(writer, "TIFF", compression="group4" if page.bilevel else "tiff_adobe_deflate", **density)
            writer.newFrame()


def write_png(page: PageImage, file: BinaryIO) -> None:
    image_of(page).save(file, "PNG", optimize=page.bilevel, **({"dpi": page.dpi} if page.dpi[0] else {}))
