"""Pictures as the benchmark sees them: opaque 8-bit sRGB, three channels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from ..bench.comparison import Comparison, Source, digest_of
from ..bench.published import Published
from ..errors import UsageError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class PictureSource(Source):
    width: int
    height: int

    @property
    def extent(self) -> float:
        return self.width * self.height

    def sizes(self):
        return {"width": self.width, "height": self.height}


class Pictures(Comparison):
    key, noun, nouns = "picture", "picture", "pictures"
    rate_unit, rate_name, log_rate, highest_shown = "bpp", "bits per pixel", False, 1.6
    speed_name, speed_extent, compared = "s/MP", 1e6, "the decoded 8-bit RGB picture"
    suffixes = (".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp", ".jpg", ".jpeg", ".avif", ".jp2", ".gif")
    codecs = ("vqcodec", "jpeg", "webp", "avif", "jpeg2000")
    more_codecs = ("avif-ssimulacra2", "jxl")
    metrics = ("psnr", "psnr-y", "ms-ssim", "ssimulacra2")
    more_metrics = ("cvvdp",)
    efforts, usual_effort = 6, 2
    packages = ("pillow", "pillow-jxl-plugin", "pytorch-msssim", "ssimulacra2", "cvvdp")
    beside = ("vqcodec", "jpeg", "webp", "avif")
    compare = (0.1, 0.25, 0.5)

    def codecs_by_name(self):
        from .peers import CODECS

        return CODECS

    def metrics_by_name(self):
        from .scores import METRICS

        return METRICS

    def gallery(self):
        from .sliders import Sliders

        return Sliders()

    def read(self, path: str | Path) -> np.ndarray:
        """uint8[H,W,3]; transparency is laid over white, because not all codecs compared can keep it."""
        import numpy as np

        from .file import read_picture

        picture = read_picture(path)
        if picture.alpha is None:
            return np.ascontiguousarray(picture.rgb)
        alpha = picture.alpha[:, :, None].astype(np.uint32)
        return ((picture.rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)

    def source(self, path, content):
        return PictureSource(path.name, str(path), digest_of(content), content.shape[1], content.shape[0])

    def conformed(self, decoded, original):
        if decoded.shape != original.shape:
            raise ValueError(f"{list(original.shape)} is decoded as {list(decoded.shape)}")
        return decoded

    def published(self, sources):
        if len(sources) != 24 or {(s.width, s.height) for s in sources} != {(768, 512), (512, 768)}:
            raise UsageError("--published: the curves are of Kodak's 24 pictures, and these are others")
        data = json.loads(resources.files(__package__).joinpath("published.json").read_text("utf-8"))
        return [Published(curve["label"], f"{curve['note']}; {data['pictures']}", data["source"], 24, tuple(curve["bpp"]),
                          {key: tuple(curve[key]) for key in ("psnr", "ms-ssim")}) for curve in data["curves"]]

    def metric_names(self, asked, sources, codecs):
        return list(asked or self.metrics)

    def summary(self, sources):
        sizes = {(s.width, s.height) for s in sources}
        return " and ".join(f"{w} × {h}" for w, h in sorted(sizes)) if len(sizes) <= 2 else f"{len(sizes)} sizes"
