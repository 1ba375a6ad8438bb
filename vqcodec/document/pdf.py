"""PDF ⇄ its images and the shell around them.

A PDF is taken for a container: the images in it, scans above all, become pages of the stream; all else (text layer, sizes and
labels of pages, outline, links, fonts, vectors) stays as it is, in the shell: the PDF with empty images, which carry the number of
the page that belongs there. Decoding puts images that any viewer knows back into it.

Needs pikepdf, and pypdfium2 for what is to be rendered (the extra `documents`). Both are imported when a PDF comes.
"""

from __future__ import annotations

import io
import lzma
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..errors import CorruptStreamError, InputError, UsageError, VqcodecError, VqcodecWarning, cause
from .pages import PageImage, check_page, page_of_image
from .stream import MAX_SHELL

NUMBER = "/VqPage"  # key of an empty image
LEAST_PIXELS, LEAST_BYTES = 4096, 512  # of images: smaller ones stay where they are
_PLAIN = ("/FlateDecode", "/LZWDecode", "/ASCII85Decode", "/ASCIIHexDecode", "/RunLengthDecode")
_FAX = "/CCITTFaxDecode"
_LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 9}]


def libraries():
    """pikepdf. Raises UsageError where it is not installed."""
    try:
        import pikepdf
    except ImportError:
        raise UsageError("PDF needs pikepdf and pypdfium2: pip install \".[documents]\"") from None
    return pikepdf


@dataclass
class _Found:
    """An image of a PDF. bits: it has one a pixel, kept as it is; taken: it is a page of the stream."""

    stream: object
    bits: bool
    dpi: float
    size: int
    taken: int | None = None


@contextmanager
def _making_sense(name: str):
    """What a damaged PDF makes the library raise, of whatever kind, is an InputError."""
    try:
        yield
    except (VqcodecError, VqcodecWarning, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"{name}: the PDF is damaged ({cause(error)})") from error


class PdfPages:
    """The images of a PDF, read one at a time. pages: of the PDF, as `pages.chosen` has them. Raises InputError."""

    def __init__(self, data: bytes, name: str, pages=None):
        pikepdf = libraries()
        self.name, self.size = name, len(data)
        try:
            self._pdf = pikepdf.open(io.BytesIO(data))
        except pikepdf.PasswordError:
            raise InputError(f"{name}: the PDF is encrypted: remove its password first") from None
        except Exception as error:
            raise InputError(f"{name}: not a PDF, or damaged ({cause(error)})") from error
        with _making_sense(name):
            if pages is not None:
                wanted = set(pages(len(self._pdf.pages)))
                for number in reversed(range(len(self._pdf.pages))):
                    if number not in wanted:
                        del self._pdf.pages[number]
            if "/AcroForm" in self._pdf.Root and int(self._pdf.Root.AcroForm.get("/SigFlags", 0)) & 1:
                warnings.warn(f"{name}: its signature will not hold for the decoded PDF", VqcodecWarning, stacklevel=3)
            self._found = self._images()

    @property
    def count(self) -> int:
        return len(self._found)

    def _images(self) -> list[_Found]:
        pikepdf = libraries()
        widths, masks, found, seen = {}, set(), [], set()
        for page in self._pdf.pages:
            box = [float(value) for value in page.mediabox]
            try:
                images = list((page.get_images() if hasattr(page, "get_images") else page.images).values())
            except Exception:  # resources that make no sense: the page stays as it is
                continue
            for image in images:
                widths.setdefault(image.objgen, abs(box[2] - box[0]) / 72)
        streams = [thing for thing in self._pdf.objects
                   if isinstance(thing, pikepdf.Stream) and thing.get("/Subtype") == "/Image"]
        for thing in streams:
            for key in ("/SMask", "/Mask"):
                if isinstance(thing.get(key), pikepdf.Stream):
                    masks.add(thing.get(key).objgen)
        for thing in streams:
            width, height = int(thing.get("/Width", 0)), int(thing.get("/Height", 0))
            size = len(thing.read_raw_bytes())
            if thing.objgen in seen or width * height < LEAST_PIXELS or size < LEAST_BYTES:
                continue
            seen.add(thing.objgen)
            bits = bool(thing.get("/ImageMask", False)) or int(thing.get("/BitsPerComponent", 8)) == 1
            if not bits and (thing.objgen in masks or {"/SMask", "/Mask", "/Decode"} & set(thing.keys())):
                continue
            inches = widths.get(thing.objgen, 0)
            dpi = width / inches if inches else 0
            found.append(_Found(thing, bits, dpi if 50 <= dpi <= 1300 else 0.0, size))
        return found

    def pages(self) -> Iterator[tuple[_Found, PageImage]]:
        """Images that can be read; the others stay in the shell."""
        for found in self._found:
            page = self._read(found)
            if page is not None:
                yield found, page

    def _read(self, found: _Found) -> PageImage | None:
        pikepdf = libraries()
        dpi = found.dpi, found.dpi
        try:
            check_page(int(found.stream.get("/Width")), int(found.stream.get("/Height")), self.name)
            if found.bits:
                samples = _bits(found.stream)
                return None if samples is None else PageImage(~samples, dpi)
            image = pikepdf.PdfImage(found.stream).as_pil_image()
            page = page_of_image(image, self.name)
            return PageImage(page.samples, dpi, page.grey) if not page.bilevel else None
        except (VqcodecError, MemoryError):
            raise
        except Exception:  # a coding that nobody here reads
            return None

    def shell(self) -> bytes:
        """The PDF without the images that are `taken`, as the stream has it. Raises InputError."""
        with _making_sense(self.name):
            return self._shell()

    def _shell(self) -> bytes:
        for found in self._found:
            if found.taken is not None:
                found.stream.write(b"")
                found.stream[NUMBER] = found.taken
        pikepdf = libraries()
        self._pdf.remove_unreferenced_resources()
        # Texts and fonts get smaller when they are opened and packed together, pictures that stay when they are not.
        shells = []
        for level in (pikepdf.StreamDecodeLevel.generalized, pikepdf.StreamDecodeLevel.none):
            out = io.BytesIO()
            self._pdf.save(out, compress_streams=False, stream_decode_level=level,
                           object_stream_mode=pikepdf.ObjectStreamMode.disable, deterministic_id=True)
            shells.append(packed_shell(out.getvalue()))
        return min(shells, key=len)


def packed_shell(pdf: bytes) -> bytes:
    """The one place where what is around the pages, text above all, is made small."""
    return lzma.compress(pdf, lzma.FORMAT_RAW, filters=_LZMA)


def unpacked_shell(data: bytes) -> bytes:
    """Raises CorruptStreamError."""
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_LZMA)
        pdf = decoder.decompress(data, MAX_SHELL)
        if not decoder.eof:
            raise CorruptStreamError("the document's shell is too large, or cut short")
        return pdf
    except lzma.LZMAError as error:
        raise CorruptStreamError(f"the document's shell is damaged ({cause(error)})") from None


def _bits(stream) -> np.ndarray | None:
    """bool[H,W]: the samples of an image of one bit a pixel, as they are; None where its coding is not known here."""
    width, height = int(stream.Width), int(stream.Height)
    filters, parameters = _filters(stream)
    if all(name in _PLAIN for name in filters):
        return _unpacked(stream.read_bytes(), width, height)
    if filters == [_FAX]:
        return _fax(stream.read_raw_bytes(), parameters[0], width, height)
    if filters == ["/JBIG2Decode"] and not stream.get("/ImageMask", False) and "/Decode" not in stream:
        return _by_pdfium(stream, width, height)
    return None


def _filters(stream) -> tuple[list[str], list[dict]]:
    filters, parameters = stream.get("/Filter"), stream.get("/DecodeParms")
    if filters is None:
        return [], []
    if isinstance(filters, libraries().Array):
        names = [str(name) for name in filters]
        known = list(parameters) if parameters is not None else [None] * len(names)
    else:
        names, known = [str(filters)], [parameters]
    return names, [{} if one is None else {str(key): value for key, value in dict(one).items()} for one in known]


def _unpacked(data: bytes, width: int, height: int) -> np.ndarray:
    row = -(-width // 8)
    rows = np.frombuffer(data[: row * height].ljust(row * height, b"\0"), np.uint8).reshape(height, row)
    return np.unpackbits(rows, axis=1)[:, :width].astype(bool)


def _fax(data: bytes, parameters: dict, width: int, height: int) -> np.ndarray:
    """CCITT group 3 or 4, in a TIFF of our own for Pillow."""
    kind = int(parameters.get("/K", 0))
    tags = [(256, 4, width), (257, 4, height), (258, 3, 1), (259, 3, 4 if kind < 0 else 3), (262, 3, 0), (273, 4, 0),
            (277, 3, 1), (278, 4, height), (279, 4, len(data))]
    if kind >= 0:
        tags.append((292, 4, int(kind > 0) | 4 * bool(parameters.get("/EncodedByteAlign", False))))
    start = 8 + 2 + 12 * len(tags) + 4
    directory = b"".join(tag.to_bytes(2, "little") + code.to_bytes(2, "little") + (1).to_bytes(4, "little")
                         + (start if tag == 273 else value).to_bytes(4, "little") for tag, code, value in tags)
    tiff = b"II*\0" + (8).to_bytes(4, "little") + len(tags).to_bytes(2, "little") + directory + bytes(4) + data
    with Image.open(io.BytesIO(tiff)) as image:
        white = np.asarray(image)
    return ~white if parameters.get("/BlackIs1", False) else white


def _by_pdfium(stream, width: int, height: int) -> np.ndarray:
    """The image alone on a page of its own size, rendered."""
    pikepdf = libraries()
    pdf = pikepdf.new()
    page = pdf.add_blank_page(page_size=(width, height))
    page.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im=pdf.copy_foreign(stream)))
    page.Contents = pdf.make_stream(b"q %d 0 0 %d 0 0 cm /Im Do Q" % (width, height))
    out = io.BytesIO()
    pdf.save(out)
    import pypdfium2

    document = pypdfium2.PdfDocument(out.getvalue())
    image = next(iter(document[0].get_objects(filter=(3,))))
    return np.asarray(image.get_bitmap(render=False).to_pil().convert("L")) > 127


def rendered(data: bytes, dpi: float, wanted=None) -> Iterator[PageImage]:
    """The pages of a PDF as pictures of `dpi`. Raises InputError."""
    try:
        import pypdfium2
    except ImportError:
        raise UsageError("rendering PDF needs pypdfium2: pip install \".[documents]\"") from None
    try:
        document = pypdfium2.PdfDocument(data)
        for number in range(len(document)) if wanted is None else wanted:
            width, height = document[number].get_size()
            check_page(round(width * dpi / 72), round(height * dpi / 72), f"page {number + 1}")
            page = page_of_image(document[number].render(scale=dpi / 72).to_pil(), f"page {number + 1}")
            yield PageImage(page.samples, (dpi, dpi), page.grey)
    except (VqcodecError, MemoryError):
        raise
    except Exception as error:
        raise InputError(f"the PDF cannot be rendered ({cause(error)})") from error


def page_count(data: bytes, name: str) -> int:
    pikepdf = libraries()
    try:
        with pikepdf.open(io.BytesIO(data)) as pdf:
            return len(pdf.pages)
    except Exception as error:
        raise InputError(f"{name}: not a PDF, or damaged ({cause(error)})") from error


def deflated(mask: np.ndarray) -> bytes:
    return zlib.compress(np.packbits(mask, axis=1).tobytes(), 9)
