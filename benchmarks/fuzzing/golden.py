"""Damaged golden files of the tests: of every medium and model that has some, by what all media answer."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import ClassVar

from helpers import mutate

from vqcodec import medium
from vqcodec.fileio import Source
from vqcodec.filelimits import check
from vqcodec.zoo import registry

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


class Golden:
    """New media, models and decoders are here as soon as they have golden files."""

    kinds: ClassVar = {"bytes": 3, "payload": 2, "good": 0.02}

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        self.rng, self.codecs = rng, {}
        self.files = [path.read_bytes() for path in sorted(GOLDEN.glob("*.vq"))]

    def make(self, kind: str) -> bytes:
        data, other = self.rng.choice(self.files), self.rng.choice(self.files)
        if kind == "good":
            return data
        start = self.rng.randrange(min(len(data), 200)) if kind == "payload" else 0  # behind the header, mostly
        return data[:start] + mutate(self.rng, data[start:], other)

    def judge(self, data: bytes) -> str:
        source = Source.of_bytes(data)
        kind = medium.of_stream(source.head)
        header = kind.header(source.head)
        kind.facts(data)
        if found := kind.metadata(source):
            kind.describe(found)
        name = header.model_id, header.model_hash
        if name not in self.codecs:
            self.codecs[name] = kind.open(registry.find_by_stream(*name, None))
        codec, made = self.codecs[name], kind.format_for(f"x.{kind.default_extension.lstrip('.')}")
        check(kind.extent(source.head, made), len(data))
        if kind.conceals and self.rng.random() < 0.3:
            kind.decode(codec, source, made, io.BytesIO(), conceal=True)
        kind.verify(codec, io.BytesIO(data))
        kind.parts(codec, data)
        kind.decode(codec, source, made, io.BytesIO())
        return "accepted" if data in self.files else "accepted, changed"
