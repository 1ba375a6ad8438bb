"""What a .vq file of a document says of itself. Needs no model."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass

from ..stream import checked_metadata
from . import stream

_KINDS = {stream.MASK: "bilevel", stream.LAYERS: "layers", stream.PICTURE: "picture"}


@dataclass(frozen=True)
class PageInspection:
    """kind: bilevel, layers or picture; dpi: (x, y), 0 where unknown; sizes in bytes: of all of the page, its mask, its pictures;
    cleaned: the mask is not as it was found."""

    kind: str
    width: int
    height: int
    dpi: tuple[float, float]
    cleaned: bool
    bytes: int
    mask_bytes: int
    picture_bytes: int


@dataclass(frozen=True)
class DocumentInspection:
    """shell_bytes: of the PDF around the pages, 0 where there is none; sizes in bytes."""

    pages: tuple[PageInspection, ...]
    model_id: int
    model_hash: str
    header_bytes: int
    metadata_bytes: int
    shell_bytes: int
    bytes: int

    def facts(self) -> dict:
        return {"modality": "document", **asdict(self)}


def inspect(data: bytes) -> DocumentInspection:
    """Raises CorruptStreamError or UnsupportedError for what is not a complete stream."""
    header, sealed = stream.peek(data)
    checked_metadata(data, sealed)
    file = io.BytesIO(data)
    stream.read_shell(file, header, sealed)
    return DocumentInspection(
        pages=tuple(_page(body) for _, body in stream.records(file, header, sealed)), model_id=header.model_id,
        model_hash=header.model_hash.hex(), header_bytes=sealed.size, metadata_bytes=sealed.metadata_length,
        shell_bytes=header.shell_length, bytes=len(data))


def _page(body: bytes) -> PageInspection:
    found = stream.unpack_page(body)
    pictures = [len(part) for part in (found.below, found.ink, found.picture) if len(part) > 3]
    return PageInspection(_KINDS[found.kind], found.width, found.height, (found.dpi[0] / 100, found.dpi[1] / 100),
                          bool(found.flags & stream.CLEANED), len(body), len(found.mask or b""), sum(pictures))


def table(facts: dict) -> str:
    """The facts of `inspect` as text."""
    model = f"model {facts['model_id']}, hash {facts['model_hash']}"
    lines = [f"document   {count(len(facts['pages']))}",
             f"model      {facts['model']} ({model})" if facts["model"] else f"model      not installed ({model})", ""]
    for number, page in enumerate(facts["pages"], 1):
        dpi = f", {page['dpi'][0]:g} dpi" if page["dpi"][0] else ""
        parts = [f"{name} {page[key]}" for name, key in (("mask", "mask_bytes"), ("pictures", "picture_bytes")) if page[key]]
        lines.append(f"page {number:<5} {page['bytes']:>10} bytes  {page['width']}x{page['height']}{dpi}, {page['kind']}"
                     f"{', cleaned' if page['cleaned'] else ''} ({', '.join(parts)})")
    for name, key in (("header", "header_bytes"), ("metadata", "metadata_bytes"), ("shell", "shell_bytes")):
        if facts[key]:
            lines.append(f"{name:<10} {facts[key]:>10} bytes")
    return "\n".join([*lines, f"total      {facts['bytes']:>10} bytes"])


def count(pages: int) -> str:
    return "1 page" if pages == 1 else f"{pages} pages"
