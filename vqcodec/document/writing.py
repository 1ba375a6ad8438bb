"""The stream of a document → a file, a page at a time."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from ..errors import UsageError
from ..medium import Format
from ..picture.codec import grids_image
from . import stream
from .codec import Codec
from .opening import bodies, opened
from .pages import PageImage, chosen, write_png, write_tiff
from .stream import DocumentHeader

RENDER_DPI = 300  # of pages of a PDF whose format has no vectors
BLOCK = 16  # pixels on a side, of the heat map


def decoded_pages(codec: Codec, file: BinaryIO, pages: str | None = None, progress: Callable[[str], None] = lambda text: None,
                  ) -> Iterator[PageImage]:
    header, _ = opened(codec, file)
    wanted = chosen(pages, header.pages)
    order = {number: place for place, number in enumerate(wanted)}
    if sorted(wanted) != wanted:
        raise UsageError("pages are decoded in their order")
    for number, body in bodies(codec, file, None if pages is None else set(order)):
        yield codec.decode_page(body, lambda text, n=number: progress(f"page {n + 1}, {text}"))


def write_document(codec: Codec, data: BinaryIO, made: Format, file: BinaryIO,
                   progress: Callable[[str], None] = lambda text: None) -> DocumentHeader:
    header, sealed = opened(codec, data)
    shell = stream.read_shell(data, header, sealed)
    if made.name == "PDF" or shell:
        target = file if made.name == "PDF" and not (shell and made.pages) else io.BytesIO()
        _write_pdf(codec, data, header, shell, made.pages if not shell else None, target, progress)
        if target is not file:
            _from_pdf(target.getvalue(), made, file)
    else:
        _write_images(decoded_pages(codec, data, made.pages, progress), made, file)
    return header


def _write_pdf(codec, data, header, shell, pages, file, progress) -> None:
    from .pdf_writing import write_pdf

    wanted = chosen(pages, header.pages)

    def parts():
        for number, body in bodies(codec, data, None if pages is None else set(wanted)):
            yield number, *codec.decode_parts(body, lambda text: progress(f"page {number + 1}, {text}"))

    write_pdf(parts(), shell, file)


def _from_pdf(pdf: bytes, made: Format, file: BinaryIO) -> None:
    """Some pages of it, or its pages rendered."""
    from .pdf import libraries, page_count, rendered

    wanted = chosen(made.pages, page_count(pdf, "the document"))
    if made.name != "PDF":
        _write_images(rendered(pdf, made.dpi or RENDER_DPI, wanted), made, file)
        return
    with libraries().open(io.BytesIO(pdf)) as opened_pdf:
        for number in reversed(range(len(opened_pdf.pages))):
            if number not in wanted:
                del opened_pdf.pages[number]
        opened_pdf.remove_unreferenced_resources()
        opened_pdf.save(file, deterministic_id=True)


def _write_images(pages: Iterator[PageImage], made: Format, file: BinaryIO) -> None:
    if made.name == "TIFF":
        write_tiff(pages, file)
        return
    first, second = next(pages), next(pages, None)
    if second is not None:
        raise UsageError("PNG holds one page: name it with --pages, or take --format tiff or pdf")
    write_png(first, file)


def verify(codec: Codec, file: BinaryIO) -> None:
    """Reads all of a stream. Raises CorruptStreamError."""
    header, sealed = opened(codec, file)
    shell = stream.read_shell(file, header, sealed)
    if shell:
        from .pdf import unpacked_shell

        unpacked_shell(shell)
    for _, body in bodies(codec, file):
        codec.decode_parts(body)


def draw_first(codec: Codec, data: bytes) -> np.ndarray:
    """uint8[H,W] of the first page: its mask, or the index grids of its picture."""
    _, body = next(bodies(codec, io.BytesIO(data), {0}))
    grid = codec.page_grid(body)
    if stream.unpack_page(body).kind == stream.PICTURE:
        return grids_image(grid)
    return (255 - 255 * grid[0]).astype(np.uint8)


def first_bits(codec: Codec, data: bytes) -> np.ndarray:
    """uint8[H,W]: the brighter the more bits. Of a picture it is black."""
    _, body = next(bodies(codec, io.BytesIO(data), {0}))
    page = stream.unpack_page(body)
    if page.mask is None:
        return np.zeros((page.height, page.width), np.uint8)
    spent = codec.mask_bits(page)
    rows, columns = -(-page.height // BLOCK), -(-page.width // BLOCK)
    padded = np.zeros((rows * BLOCK, columns * BLOCK), np.float32)
    padded[: page.height, : page.width] = spent
    blocks = padded.reshape(rows, BLOCK, columns, BLOCK).sum((1, 3))
    heat = (255 * blocks / max(blocks.max(), 1e-9)).astype(np.uint8)
    return np.ascontiguousarray(heat.repeat(BLOCK, 0).repeat(BLOCK, 1)[: page.height, : page.width])
