"""Texts as the benchmark sees them: bytes, which all codecs give back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..bench.comparison import Comparison, Source
from ..bench.gallery import Gallery
from ..bench.metrics import Metric
from ..errors import InputError
from .file import EXTENSIONS

LONGEST = 1 << 26  # bytes


@dataclass(frozen=True)
class TextSource(Source):
    length: int

    @property
    def extent(self) -> float:
        return self.length

    def sizes(self):
        return {"length": self.length}


class Exact(Metric):
    key, label, digits = "exact", "Bytes that are equal", 4

    def measure(self, reference, decoded):
        return sum(map(int.__eq__, reference, decoded)) / len(reference) if reference != decoded else 1.0


class Excerpts(Gallery):
    note = "How the text begins: every codec gives it back as it is."
    levels = (600, 100)  # characters

    def article(self, title, versions, level):
        shown = escape(versions[0].content[:level].decode("utf-8", "replace"))
        lines = "".join(f"<li>{escape(v.label)}: {escape(v.line)}</li>" for v in versions)
        return f"<article><h3>{title}</h3><ul>{lines}</ul><pre>{shown}</pre></article>"


class Texts(Comparison):
    key, noun, nouns = "text", "text", "texts"
    lossless = common = True
    rate_unit, rate_name, log_rate, highest_shown = "bpc", "bits per character (byte)", False, 8.0
    speed_name, speed_extent = "s per MB", 1e6
    compared = "the bytes, which must be the same"
    suffixes = tuple(sorted(EXTENSIONS))
    codecs = ("vqcodec", "gzip", "bzip2", "xz", "zstd", "brotli", "ppmd")
    more_codecs = ()
    metrics, more_metrics = ("exact",), ()
    packages = ("numpy", "zstandard", "Brotli", "pyppmd")
    beside = ("vqcodec", "brotli", "ppmd", "xz")
    compare = (2.0,)

    def codecs_by_name(self):
        from .peers import CODECS

        return CODECS

    def metrics_by_name(self):
        return {"exact": Exact}

    def gallery(self):
        return Excerpts()

    def read(self, path):
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        if not 1 <= len(data) <= LONGEST:
            raise InputError(f"{path}: {len(data)} bytes long, and 1 to {LONGEST} can be compared")
        return data

    def source(self, path, content):
        return TextSource(path.name, str(path), hashlib.sha256(content).hexdigest(), len(content))

    def conformed(self, decoded, original):
        if decoded != original:
            raise ValueError("it is decoded to something else")
        return decoded

    def metric_names(self, asked, sources, codecs):
        return list(asked or self.metrics)

    def summary(self, sources):
        return f"{sum(s.length for s in sources)} bytes"
