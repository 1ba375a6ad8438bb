"""Streams of documents that nobody's encoder has made, below checksums that fit; and damaged PDFs and TIFFs."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from helpers import mutate
from PIL import Image, ImageDraw

from vqcodec import medium
from vqcodec.document import stream
from vqcodec.document.codec import Choice, Codec
from vqcodec.document.pages import PageImage
from vqcodec.document.reading import Document, encoded
from vqcodec.filelimits import check
from vqcodec.zoo import registry


class Documents:
    """Streams of pages of two levels."""

    kinds: ClassVar = {"bytes": 5, "pages": 5, "claims": 1}

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        self.codec, self.rng = Codec(entry or registry.find_by_name(None, None, "document"), encoder=True), rng
        self.files, self.bodies = [], []
        for width, height in ((1, 1), (40, 33), (90, 70)):
            image = Image.new("1", (width, height), 1)
            ImageDraw.Draw(image).text((3, 3), "8 or 6?", fill=0)
            page = PageImage(~np.asarray(image), (200.0, 200.0))
            data = encoded(self.codec, Document.of_images([page.samples] * 2, None), Choice(), None, lambda text: None)[0]
            self.files.append(data)
            self.bodies.append(self.codec.encode_page(page, Choice()))

    def make(self, kind: str) -> bytes | None:
        rng = self.rng
        if kind == "bytes":
            return mutate(rng, rng.choice(self.files), rng.choice(self.files))
        body = rng.choice(self.bodies)
        if kind == "pages":
            body = mutate(rng, body, rng.choice(self.bodies))
        else:
            page = stream.unpack_page(body)
            page = replace(page, width=int(2 ** rng.uniform(0, 15.9)), height=int(2 ** rng.uniform(0, 12)))
            body = stream.pack_page(page)
        if not body:
            return None
        header = stream.DocumentHeader(model_id=self.codec.entry.id, model_hash=self.codec.entry.hash, quality=0, pages=1,
                                       largest=rng.choice((1, 1 << 14, 1 << 20)), pixels=1)
        header = replace(header, pixels=header.largest)
        start = stream.pack_header(header)
        return start + stream.pack_record(0, body, stream.peek(start)[1])

    def judge(self, data: bytes) -> str:
        """The outcome of one input, by name. Raises whatever is a finding."""
        kind = medium.of_modality("document")
        kind.inspect(data)
        check(kind.extent(data, medium.AS_SAMPLES), len(data))
        grids = self.codec.decode_grids(data)
        assert [image.size for image in kind.decoded(self.codec, data)] == [grid.shape[:0:-1] for grid in grids]
        return "accepted"


class DocumentFiles:
    """Damaged TIFFs and PDFs of two levels."""

    kinds: ClassVar = {"bytes": 1}

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        self.rng, self.files = rng, []
        pages = [Image.new("1", (80, 60), 1) for _ in range(2)]
        for page in pages:
            ImageDraw.Draw(page).text((3, 3), "8 or 6?", fill=0)
        for format, options in (("TIFF", {"compression": "group4"}), ("TIFF", {"compression": "tiff_lzw"}), ("PDF", {})):
            out = io.BytesIO()
            pages[0].save(out, format, save_all=True, append_images=pages[1:], **options)
            self.files.append(out.getvalue())

    def make(self, kind: str) -> bytes:
        return mutate(self.rng, self.rng.choice(self.files), self.rng.choice(self.files))

    def judge(self, path: Path) -> str:
        document = Document.of_file(path.read_bytes(), "input", None, None)
        return f"{sum(1 for _ in document.pages())} pages"
