"""Pages as the benchmark sees them: the first of a file; of a PDF, rendered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..bench.comparison import Comparison, digest_of
from ..bench.gallery import Gallery
from ..picture.bench import PictureSource

if TYPE_CHECKING:
    import numpy as np

DPI = 300  # of PDFs
TEXT = ".txt"  # of a file beside a page's, which has its text


@dataclass(frozen=True)
class Leaf:
    """A page. rgb: uint8[H,W,3]; bilevel: whether it has two levels only; dpi: 0 where unknown; text: what is written on it, None
    where that is not known."""

    rgb: np.ndarray
    bilevel: bool
    dpi: float = 0.0
    text: str | None = None


class Crops(Gallery):
    """The middle of each page, as pictures are shown."""

    def __init__(self):
        from ..picture.sliders import Sliders

        self._sliders = Sliders()
        self.note, self.levels = self._sliders.note, self._sliders.levels

    def article(self, title, versions, level):
        return self._sliders.article(title, [replace(v, content=v.content.rgb) for v in versions], level)


class Leaves(Comparison):
    key, noun, nouns = "document", "page", "pages"
    rate_unit, rate_name, log_rate, highest_shown = "bpp", "bits per pixel", True, 1.6
    speed_name, speed_extent = "s/MP", 1e6
    compared = "the decoded page, 8-bit RGB, and what is read on it"
    suffixes = (".pdf", ".tif", ".tiff", ".png", ".jpg", ".jpeg")
    common = True  # pictures have these names too
    codecs = ("vqcodec", "jpeg", "webp", "avif", "jpeg2000", "g4")
    more_codecs = ("cjb2",)
    metrics, more_metrics = ("psnr-y",), ("cer",)
    efforts, usual_effort = 6, 2
    packages = ("pillow", "pypdfium2")
    beside = ("vqcodec", "jpeg", "webp", "avif")
    compare = (0.05, 0.1)

    def codecs_by_name(self):
        from .peers import CODECS

        return CODECS

    def metrics_by_name(self):
        from .legibility import METRICS

        return METRICS

    def gallery(self):
        return Crops()

    def read(self, path: str | Path) -> Leaf:
        """A text file beside it, of the same name, is what is written on the page. Raises VqcodecError."""
        import numpy as np

        from . import recognise
        from .pages import image_of
        from .reading import Document

        path = Path(path)
        data = _bytes(path)
        document = Document.of_file(data, str(path), "1", DPI if recognise.is_pdf(data[:1024]) else None)
        page = next(document.pages())[1]
        beside = path.with_suffix(TEXT)
        text = _bytes(beside).decode("utf-8", "replace") if beside.is_file() else None
        return Leaf(np.asarray(image_of(page).convert("RGB")), page.bilevel, page.dpi[0], text)

    def source(self, path, content):
        return PictureSource(path.name, str(path), digest_of(content.rgb, content.text), content.rgb.shape[1], content.rgb.shape[0])

    def conformed(self, decoded, original):
        if decoded.shape != original.rgb.shape:
            raise ValueError(f"{list(original.rgb.shape)} is decoded as {list(decoded.shape)}")
        return Leaf(decoded, original.bilevel, original.dpi)

    def metric_names(self, asked, sources, codecs):
        from .legibility import has_tesseract

        return list(asked or self.metrics + (self.more_metrics if has_tesseract() else ()))

    def summary(self, sources):
        return f"{sum(s.extent for s in sources) / 1e6:.1f} megapixels"


def _bytes(path: Path) -> bytes:
    from ..errors import InputError

    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
