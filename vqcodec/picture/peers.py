"""The codecs of pictures that are compared, one class each: uint8[H,W,3] in sRGB ⇄ the bytes of a file.

A new one is a subclass of `BenchCodec` named in `CODECS`.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from functools import lru_cache

import numpy as np

from ..errors import InputError
from ..bench.codecs import VQCODEC_COLOURS, BenchCodec, CodecSpec
from ..bench.packages import require


class _PillowCodec(BenchCodec):
    format: str
    feature: str | None = None  # of PIL.features

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        self._load()
        from PIL import Image

        Image.init()
        if self.format not in Image.SAVE:
            raise InputError(self._missing())

    def _load(self) -> None:
        """Import what brings the format."""

    def _missing(self) -> str:
        return f"codec '{self.spec.name}': this Pillow cannot write {self.format}"

    @property
    def version(self) -> str:
        import PIL
        from PIL import features

        library = features.version(self.feature) if self.feature else None
        return f"Pillow {PIL.__version__}" + (f", {self.feature} {library}" if library else "")

    @abstractmethod
    def options(self, setting: float) -> dict: ...

    def encode(self, rgb: np.ndarray, setting: float) -> bytes:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, self.format, **self.options(setting))
        return buffer.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        from PIL import Image

        with Image.open(io.BytesIO(data), formats=[self.format]) as image:
            return np.asarray(image.convert("RGB"))


class Jpeg(_PillowCodec):
    colours = ("#868e96",)
    label, extension, format, feature = "JPEG", "jpg", "JPEG", "libjpeg_turbo"
    note = "baseline, 4:2:0, optimised Huffman tables"
    settings = (2, 5, 8, 12, 17, 23, 30, 40, 50, 60, 70, 80, 88)
    fine = tuple(range(1, 96))

    def options(self, setting):
        return dict(quality=int(setting), optimize=True, subsampling="4:2:0")


class WebP(_PillowCodec):
    colours = ("#1c7ed6",)
    label, extension, format, feature = "WebP", "webp", "WEBP", "webp"
    note = "lossy, method 6 (the slowest and best), 4:2:0"
    settings = (0, 3, 8, 15, 25, 40, 55, 70, 80, 88, 93)
    fine = tuple(range(101))

    def options(self, setting):
        return dict(quality=int(setting), method=6)


class Avif(_PillowCodec):
    colours = ("#2f9e44",)
    label, extension, format, feature = "AVIF", "avif", "AVIF", "avif"
    tune: str | None = None  # None: what Pillow's libavif takes by itself
    settings = (4, 10, 17, 24, 31, 38, 46, 54, 62, 70, 78)
    fine = tuple(range(101))

    def __init__(self, spec):
        super().__init__(spec)
        tune = f"tune={self.tune}" if self.tune else f"{_avif_tune()}, libavif's default"
        self.note = f"speed 4 of 0 (best) to 10, {tune}, 4:2:0, 8 bits"

    @property
    def version(self):
        from PIL import _avif

        return f"{super().version}, {_avif.codec_versions()}"

    def options(self, setting):
        return _avif_options(int(setting), self.tune)


class AvifSsimulacra2(Avif):
    label, colours, tune = "AVIF, tune=ssimulacra2", ("#94d82d",), "ssimulacra2"

    def _load(self):
        if not _avif_takes(self.tune):
            raise InputError(f"codec '{self.spec.name}': this Pillow's libaom has no tune=ssimulacra2 (3.13 and later have)")


def _avif_options(quality: int, tune: str | None) -> dict:
    return dict(quality=quality, speed=4, subsampling="4:2:0", max_threads=1) | ({"advanced": {"tune": tune}} if tune else {})


@lru_cache
def _avif_sample(tune: str | None) -> bytes:
    """A small file. Raises ValueError or another error of Pillow's where it cannot be made."""
    from PIL import Image

    y, x = np.mgrid[:64, :64]
    picture = np.stack([3 * x + y, x * y // 16, (x * x + 5 * y) % 97], 2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "AVIF", **_avif_options(50, tune))
    return buffer.getvalue()


def _avif_takes(tune: str) -> bool:
    try:
        return bool(_avif_sample(tune))
    except (ValueError, OSError, KeyError):
        return False


def _avif_tune() -> str:
    """Pillow does not tell the default, which newer releases of libavif changed: it is the tune that gives the same file."""
    found = next((t for t in ("iq", "ssim", "psnr") if _avif_takes(t) and _avif_sample(t) == _avif_sample(None)), None)
    return f"tune={found}" if found else "unknown tune"


class Jpeg2000(_PillowCodec):
    colours = ("#e8890c",)
    label, extension, format, feature = "JPEG 2000", "jp2", "JPEG2000", "jpg_2000"
    note = "irreversible 9/7 wavelet and colour transform, one layer, rate-controlled to a compression ratio"
    settings = (0.05, 0.08, 0.12, 0.18, 0.26, 0.38, 0.55, 0.8, 1.1, 1.5)
    fine = tuple(round(0.02 * 1.03**i, 5) for i in range(170))

    def options(self, setting):
        return dict(quality_mode="rates", quality_layers=[24 / setting], irreversible=True, mct=1)

    def describe(self, setting):
        return f"rate {setting:g} bpp"


class JpegXl(_PillowCodec):
    colours = ("#7048e8",)
    label, extension, format = "JPEG XL", "jxl", "JXL"
    note = "VarDCT, effort 7 of 1 to 9, distance 25 … 0.1 by libjxl's quality scale"
    settings = (1, 4, 9, 15, 22, 30, 40, 52, 64, 75, 84)
    fine = tuple(range(1, 100))

    def _load(self):
        require("pillow_jxl", "codec 'jxl'", "jxl")

    @property
    def version(self) -> str:
        from importlib.metadata import version

        return f"{super().version}, pillow-jxl-plugin {version('pillow-jxl-plugin')}"

    def options(self, setting):
        return dict(quality=int(setting), effort=7, num_threads=1)


class Vqcodec(BenchCodec):
    extension, colours = "vq", VQCODEC_COLOURS

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        from ..zoo import registry
        from .codec import Codec
        from .search import USUAL_EFFORT

        self.effort = USUAL_EFFORT if spec.effort is None else spec.effort
        self._codec = Codec.open(registry.find_by_name(spec.model, spec.models_dir))
        self.label = f"vqcodec {self._codec.entry.name}"
        self.note = f"model {self._codec.entry.name} ({self._codec.entry.hash.hex()}), effort {self.effort}"
        highest = self._codec.qualities
        self.settings = tuple(float(q) for q in range(1, highest + 1))
        self.fine = tuple(1 + i / 16 for i in range(16 * (highest - 1) + 1))

    @property
    def version(self) -> str:
        import torch

        from ..version import __version__
        from . import search as refine

        files = ",".join(self._codec.entry.sha256.values())
        search = refine.SEARCHES[self._codec.model.transform.distortion]
        return (f"vqcodec {__version__}, torch {torch.__version__}, effort {self.effort}, search {search}, "
                f"model {files}")

    def encode(self, rgb: np.ndarray, setting: float) -> bytes:
        from .file import Picture

        return self._codec.encode(Picture(rgb), setting, effort=self.effort).data

    def decode(self, data: bytes) -> np.ndarray:
        return self._codec.decode(data).rgb

    def describe(self, setting: float) -> str:
        return f"quality {setting:g}, effort {self.effort}"


CODECS: dict[str, type[BenchCodec]] = {
    "vqcodec": Vqcodec, "jpeg": Jpeg, "webp": WebP, "avif": Avif,
    "avif-ssimulacra2": AvifSsimulacra2, "jpeg2000": Jpeg2000, "jxl": JpegXl}
