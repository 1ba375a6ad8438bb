"""Streams of text that nobody's encoder has made."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from helpers import mutate
from text_samples import make_tiny_text_model, text_of

from vqcodec import medium
from vqcodec.errors import UsageError
from vqcodec.fileio import Source
from vqcodec.filelimits import check
from vqcodec.text import stream
from vqcodec.text.codec import TextCodec
from vqcodec.zoo import registry


class Texts:
    kinds: ClassVar = {"bytes": 5, "blocks": 5, "claims": 0.5}

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        if entry is None:
            make_tiny_text_model(folder)
            entry = registry.find_by_name("tinytext", folder, "text")
        self.codec, self.rng = TextCodec.open(entry), rng
        self.files = [self.codec.encode(text) for text in (b"x", text_of(200), bytes(90), rng.randbytes(100), text_of(4200))]

    def make(self, kind: str) -> bytes:
        """One input."""
        rng = self.rng
        data, other = rng.choice(self.files), rng.choice(self.files)
        if kind == "bytes":
            return mutate(rng, data, other)
        header, block = stream.peek(data)[0], stream.blocks(data)[0]
        if kind == "claims":  # lengths that the file cannot fill
            header = replace(header, length=int(2 ** rng.uniform(0, 36)))
        else:
            header = replace(header, length=max(1, header.length + rng.choice((0, 0, -1, 1, rng.randint(-300, 300)))))
            parts = list(block.parts)
            at = rng.randrange(len(parts))
            parts[at] = rng.choice((parts[at], mutate(rng, parts[at]), rng.randbytes(rng.randrange(60))))
            block = replace(block, method=rng.choice((block.method, rng.randrange(256))), parts=tuple(parts))
        try:
            return stream.pack_header(header) + block.pack()
        except UsageError:
            return b""

    def judge(self, data: bytes) -> str:
        """The outcome of one input, by name. Raises whatever is a finding, and VqcodecErrors."""
        kind, source = medium.of_modality("text"), Source.of_bytes(data)
        header = kind.header(source.head)
        check(kind.extent(data, kind.format_for("x.txt")), len(data))
        kind.inspect(data)
        text = self.codec.decode(data)
        kind.verify(self.codec, io.BytesIO(data))
        assert len(text) == header.length
        return "same" if self.codec.encode(text) == data else "same text"
