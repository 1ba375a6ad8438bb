"""A file → the stream of a document, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..errors import InputError, UsageError
from . import pdf, recognise, stream
from .codec import Choice, Codec, sixteenths
from .pages import ImagePages, PageImage, chosen, page_of_image

MAX_DPI = 1200


class Document:
    """Pages that are read as they are asked for. shell_of: the PDF that they are in, None where they are all there is."""

    def __init__(self, name: str, size: int, pages: Callable[[], Iterator], shell_of: pdf.PdfPages | None = None,
                 dpi: float | None = None):
        self.name, self.size, self.shell_of, self.dpi = name, size, shell_of, dpi
        self._pages = pages

    @classmethod
    def of_file(cls, data: bytes, name: str, pages: str | None, dpi: float | None) -> Document:
        """dpi: of a PDF, its pages are rendered; of pages that do not say, theirs. Raises InputError, UsageError."""
        if dpi is not None and not 1 <= dpi <= MAX_DPI:
            raise UsageError(f"--dpi is 1..{MAX_DPI}, not {dpi:g}")
        if not recognise.is_pdf(data[:1024]):
            images = ImagePages(data, name)
            wanted = chosen(pages, images.count)
            return cls(name, len(data), lambda: (_with_dpi(page, dpi) for page in images.pages(wanted)), dpi=dpi)
        if dpi is not None:
            wanted = chosen(pages, pdf.page_count(data, name))
            return cls(name, len(data), lambda: pdf.rendered(data, dpi, wanted), dpi=dpi)
        found = pdf.PdfPages(data, name, None if pages is None else lambda count: chosen(pages, count))
        return cls(name, len(data), found.pages, found)

    @classmethod
    def of_images(cls, images: list, pages: str | None) -> Document:
        """Images of Pillow, or arrays bool[H,W] (black where true) or uint8 as pictures are."""
        def each():
            for number in chosen(pages, len(images)):
                image, name = images[number], f"page {number + 1}"
                if isinstance(image, np.ndarray) and image.dtype == bool and image.ndim == 2 and image.size:
                    yield PageImage(image)
                elif hasattr(image, "getexif"):
                    yield page_of_image(image, name)
                else:
                    from ..picture.file import read_picture

                    picture = read_picture(image, name)
                    yield PageImage(picture.rgb, grey=picture.grey)

        return cls("pages", 0, each)

    def pages(self) -> Iterator[tuple[object, PageImage]]:
        """(what it is of a PDF, or None; the page)."""
        for item in self._pages():
            yield item if isinstance(item, tuple) else (None, item)

    def why_not(self, size: int) -> str:
        """Why a PDF is not worth it."""
        images = self.shell_of.count
        what = f"no image in it is worth coding ({images} looked at)" if images else "it has no scans, only text and vectors"
        return f"{what}: {size} bytes instead of {self.size}. Keep the PDF, or give --dpi to have its pages coded as pictures"


def _with_dpi(page: PageImage, dpi: float | None) -> PageImage:
    return page if dpi is None or page.dpi[0] else PageImage(page.samples, (dpi, dpi), page.grey)


def encoded(codec: Codec, document: Document, choice: Choice, metadata: bytes | None,
            progress: Callable[[str], None]) -> tuple[bytes, dict]:
    """(a stream, facts). Raises InputError for a document without a page to code."""
    bodies, sizes, kinds = [], [], []
    for place, page in document.pages():
        height, width = page.samples.shape[:2]
        body = codec.encode_page(page, choice, lambda text: progress(f"page {len(bodies) + 1}, {text}"))
        if place is not None:
            if len(body) >= place.size:
                continue  # it stays in the PDF
            place.taken = len(bodies)
        bodies.append(body)
        sizes.append(width * height)
        kinds.append(body[0])
    if not bodies:
        if document.shell_of is not None:
            raise InputError(f"{document.name}: {document.why_not(document.size)}")
        raise InputError(f"{document.name}: there is no page in it")
    shell = b"" if document.shell_of is None else stream.pack_shell(document.shell_of.shell())
    header = stream.DocumentHeader(
        model_id=codec.entry.id, model_hash=codec.entry.hash, pages=len(bodies), largest=max(sizes), pixels=sum(sizes),
        quality=sixteenths(choice) if set(kinds) != {stream.MASK} else 0, shell_length=len(shell))
    data = _joined(header, metadata, shell, bodies)
    names = {stream.MASK: "bilevel", stream.LAYERS: "layers", stream.PICTURE: "picture"}
    facts = {"pages": len(bodies), "pixels": sum(sizes), "bytes": len(data), "bpp": 8 * len(data) / sum(sizes),
             "kinds": {name: kinds.count(kind) for kind, name in names.items() if kind in kinds}}
    return data, facts


def of_masks(codec: Codec, grids, shape) -> bytes:
    """Masks of pages, int or bool [1,H,W] each, → a stream of them alone. shape: what `inspect` gave for one like it."""
    if len(grids) != len(shape.pages):
        raise UsageError(f"the document has {len(shape.pages)} pages, and there are {len(grids)} grids")
    bodies, sizes = [], []
    for grid, page in zip(grids, shape.pages):
        grid = np.asarray(grid)
        if grid.shape != (1, page.height, page.width) or not np.isin(grid, (0, 1)).all():
            raise UsageError(f"the mask of a page is [1,{page.height},{page.width}] of 0 and 1")
        bodies.append(codec.encode_page(PageImage(grid[0].astype(bool), page.dpi), Choice()))
        sizes.append(grid.size)
    header = stream.DocumentHeader(model_id=codec.entry.id, model_hash=codec.entry.hash, quality=0, pages=len(bodies),
                                   largest=max(sizes), pixels=sum(sizes))
    return _joined(header, None, b"", bodies)


def _joined(header: stream.DocumentHeader, metadata: bytes | None, shell: bytes, bodies: list[bytes]) -> bytes:
    start = stream.pack_header(header, metadata)
    sealed = stream.peek(start)[1]
    return b"".join([start, shell, *(stream.pack_record(number, body, sealed) for number, body in enumerate(bodies))])
