"""The codecs of pages that are compared, one class each: a `Leaf` → the bytes of a file → uint8[H,W,3].

Codecs of two levels code colour too, as print that is found on it (`layers.find_print`): black on white.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from ..bench.codecs import VQCODEC_COLOURS, BenchCodec, CodecSpec
from ..errors import InputError
from ..picture import peers as pictures
from ..picture.colour import luma
from .codec import USUAL_DPI, Choice
from .layers import find_print
from .pages import PageImage, image_of


def mask_of(leaf) -> np.ndarray:
    """bool[H,W], black where true."""
    return leaf.rgb[:, :, 0] < 128 if leaf.bilevel else find_print(luma(leaf.rgb), leaf.dpi or USUAL_DPI)


def _rgb(mask: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.where(mask, 0, 255).astype(np.uint8)[:, :, None], (*mask.shape, 3))


class VqcodecPages(BenchCodec):
    extension, colours = "vq", VQCODEC_COLOURS

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        from ..zoo import registry
        from .codec import Codec

        self._codec = Codec(registry.find_by_name(spec.model, spec.models_dir, modality="document"), encoder=True)
        entry = self._codec.entry
        self.label, self.note = f"vqcodec {entry.name}", f"model {entry.name} ({entry.hash.hex()}); the whole stream counts"
        highest = self._codec.qualities
        self.settings = tuple(float(q) for q in range(1, highest + 1))
        self.fine = tuple(1 + i / 4 for i in range(4 * (highest - 1) + 1))

    @property
    def version(self):
        from ..version import __version__

        return f"vqcodec {__version__}, model {','.join(self._codec.entry.sha256.values())}"

    def encode(self, leaf, setting):
        from .reading import Document, encoded

        samples = mask_of(leaf) if leaf.bilevel else leaf.rgb
        grey = not leaf.bilevel and bool((samples == samples[:, :, :1]).all())
        page = PageImage(samples, (leaf.dpi, leaf.dpi), grey)
        choice = Choice(setting, self.spec.effort)
        return encoded(self._codec, Document("page", 0, lambda: iter([page])), choice, None, lambda text: None)[0]

    def decode(self, data):
        from .writing import decoded_pages

        return np.asarray(image_of(next(decoded_pages(self._codec, io.BytesIO(data)))).convert("RGB"))


def _of_picture(kind: type[BenchCodec]) -> type[BenchCodec]:
    """A codec of pictures that takes pages."""

    class OfPicture(kind):
        def encode(self, leaf, setting):
            return super().encode(np.ascontiguousarray(leaf.rgb), setting)

    OfPicture.__name__ = kind.__name__
    return OfPicture


class _Mask(BenchCodec):
    settings = fine = (1.0,)

    def describe(self, setting):
        return "two levels, without loss"


class Group4(_Mask):
    label, extension, note, colours = "CCITT group 4", "tif", "two levels; libtiff, one strip, its data alone", ("#495057",)

    @property
    def version(self):
        from PIL import features

        return f"libtiff {features.version('libtiff')}"

    def encode(self, leaf, setting):
        from PIL import Image

        mask, file = mask_of(leaf), io.BytesIO()
        Image.fromarray(~mask).save(file, "TIFF", compression="group4", tiffinfo={278: mask.shape[0]})
        return file.getvalue()

    def size(self, data):
        from PIL import Image

        with Image.open(io.BytesIO(data)) as image:
            return sum(image.tag_v2[279])

    def decode(self, data):
        from PIL import Image

        with Image.open(io.BytesIO(data)) as image:
            return _rgb(~np.asarray(image.convert("1")))


class Cjb2(_Mask):
    """The programs of DjVuLibre."""

    label, extension, note, colours = "DjVu cjb2", "djvu", "two levels; cjb2 -lossless", ("#0b7285",)

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        if not (shutil.which("cjb2") and shutil.which("ddjvu")):
            raise InputError(f"codec '{spec.name}' needs the programs cjb2 and ddjvu")

    @property
    def version(self):
        done = subprocess.run(["ddjvu", "--help"], capture_output=True, text=True)
        return next(iter((done.stdout + done.stderr).splitlines()), "DjVuLibre")

    def encode(self, leaf, setting):
        from PIL import Image

        return self._run("pbm", lambda path: Image.fromarray(~mask_of(leaf)).save(path), "djvu",
                         ["cjb2", "-lossless", "-dpi", str(max(25, min(1200, round(leaf.dpi or 300))))])

    def decode(self, data):
        from PIL import Image

        file = io.BytesIO(self._run("djvu", lambda path: path.write_bytes(data), "pbm", ["ddjvu", "-format=pbm"]))
        with Image.open(file) as image:
            return _rgb(~np.asarray(image.convert("1")))

    @staticmethod
    def _run(before: str, write, after: str, command: list[str]) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, f"a.{before}"), Path(folder, f"b.{after}")
            write(source)
            subprocess.run([*command, str(source), str(target)], check=True, capture_output=True)
            return target.read_bytes()


CODECS: dict[str, type[BenchCodec]] = {
    "vqcodec": VqcodecPages, **{name: _of_picture(pictures.CODECS[name]) for name in ("jpeg", "webp", "avif", "jpeg2000")},
    "g4": Group4, "cjb2": Cjb2}
