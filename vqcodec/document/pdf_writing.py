"""Pages → PDF, by pikepdf: masks as CCITT group 4, pictures as JPEG, layers as a form of both, so that any viewer shows them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from PIL import Image

from ..errors import CorruptStreamError, InputError, cause
from .layers import Layers
from .pages import PageImage
from .pdf import NUMBER, deflated, libraries, unpacked_shell

PICTURE_QUALITY, LAYER_QUALITY = 92, 85  # of JPEG
USUAL_DPI = 200
_OF_IMAGES = ("/Width", "/Height", "/ColorSpace", "/BitsPerComponent", "/Filter", "/DecodeParms", "/Decode", "/Interpolate",
              "/Intent", "/ImageMask", "/Name")


def write_pdf(pages: Iterable[tuple[int, PageImage, Layers | None]], shell: bytes, file: BinaryIO) -> None:
    """pages: (number, page, its layers), as of `Codec.decode_parts`. Raises CorruptStreamError for a shell that does not fit."""
    pikepdf = libraries()
    if not shell:
        pdf = pikepdf.new()
        for _, page, layers in pages:
            _add(pdf, page, layers)
    else:
        try:
            pdf = pikepdf.open(io.BytesIO(unpacked_shell(shell)))
            places = {int(thing[NUMBER]): thing for thing in pdf.objects
                      if isinstance(thing, pikepdf.Stream) and NUMBER in thing}
        except CorruptStreamError:
            raise
        except Exception as error:
            raise CorruptStreamError(f"the document's shell is damaged ({cause(error)})") from None
        for number, page, layers in pages:
            if number not in places:
                raise CorruptStreamError(f"the document's shell has no place for page {number + 1}")
            del places[number][NUMBER]
            _fill(pdf, places[number], page, layers)
    try:
        pdf.save(file, object_stream_mode=pikepdf.ObjectStreamMode.generate, compress_streams=True, deterministic_id=True)
    except Exception as error:
        raise InputError(f"the PDF cannot be written ({cause(error)})") from error


def _add(pdf, page: PageImage, layers: Layers | None) -> None:
    pikepdf = libraries()
    height, width = page.samples.shape[:2]
    x, y = (value or USUAL_DPI for value in page.dpi)
    size = width * 72 / x, height * 72 / y
    image = pdf.make_stream(b"")
    image.Type, image.Subtype = pikepdf.Name.XObject, pikepdf.Name.Image
    if page.bilevel:
        image.ColorSpace, image.BitsPerComponent = pikepdf.Name.DeviceGray, 1
    _fill(pdf, image, page, layers)
    added = pdf.add_blank_page(page_size=size)
    added.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Page=image))
    added.Contents = pdf.make_stream(b"q %.4f 0 0 %.4f 0 0 cm /Page Do Q" % size)


def _fill(pdf, image, page: PageImage, layers: Layers | None) -> None:
    """A page into an image, an empty one of the PDF."""
    if layers is not None:
        _make_form(pdf, image, layers)
    elif page.bilevel:  # its colours are what the image has
        _write_bits(image, page.samples)
    else:
        _write_jpeg(image, page.samples, page.grey, PICTURE_QUALITY)


def _write_bits(image, black: np.ndarray) -> None:
    """Samples are 0 where black."""
    pikepdf = libraries()
    height, width = black.shape
    fax, flat = _group4(black), deflated(~black)
    image.Width, image.Height = width, height
    if len(fax) <= len(flat):
        image.write(fax, filter=pikepdf.Name.CCITTFaxDecode,
                    decode_parms=pikepdf.Dictionary(K=-1, Columns=width, Rows=height))
    else:
        image.write(flat, filter=pikepdf.Name.FlateDecode)


def _group4(black: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(black).save(out, "TIFF", compression="group4", tiffinfo={278: black.shape[0]})  # one strip
    with Image.open(out) as written:
        (offset,), (length,) = written.tag_v2[273], written.tag_v2[279]
    return out.getvalue()[offset : offset + length]


def _write_jpeg(image, samples: np.ndarray, grey: bool, quality: int) -> None:
    pikepdf = libraries()
    coded, picture = io.BytesIO(), Image.fromarray(np.ascontiguousarray(samples))
    (picture.convert("L") if grey else picture).save(coded, "JPEG", quality=quality, optimize=True)
    for key in ("/Decode", "/ImageMask"):
        if key in image:
            del image[key]
    image.Width, image.Height = picture.size
    image.BitsPerComponent, image.ColorSpace = 8, pikepdf.Name.DeviceGray if grey else pikepdf.Name.DeviceRGB
    image.write(coded.getvalue(), filter=pikepdf.Name.DCTDecode)


def _make_form(pdf, image, layers: Layers) -> None:
    """What draws the background and then, through the mask, the ink; of the unit square, as images are."""
    pikepdf = libraries()
    for key in _OF_IMAGES:
        if key in image:
            del image[key]
    mask = pdf.make_stream(b"")
    mask.Type, mask.Subtype, mask.ImageMask, mask.BitsPerComponent = pikepdf.Name.XObject, pikepdf.Name.Image, True, 1
    _write_bits(mask, layers.mask)
    objects, content = {}, []
    if layers.below.shape[:2] == (1, 1):
        content.append(b"%s rg 0 0 1 1 re f" % _colour(layers.below))
    else:
        objects["Below"] = _picture(pdf, layers.below)
        content.append(b"/Below Do")
    if layers.ink.shape[:2] == (1, 1):
        objects["Mask"] = mask
        content.append(b"%s rg /Mask Do" % _colour(layers.ink))
    else:
        objects["Ink"] = _picture(pdf, layers.ink)
        objects["Ink"].Mask = mask
        content.append(b"/Ink Do")
    image.Subtype, image.BBox = pikepdf.Name.Form, pikepdf.Array([0, 0, 1, 1])
    image.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(**objects))
    image.write(b"q " + b" ".join(content) + b" Q")


def _colour(layer: np.ndarray) -> bytes:
    return b" ".join(b"%.4f" % (value / 255) for value in layer[0, 0].tolist())


def _picture(pdf, layer: np.ndarray):
    pikepdf = libraries()
    image = pdf.make_stream(b"")
    image.Type, image.Subtype, image.Interpolate = pikepdf.Name.XObject, pikepdf.Name.Image, True
    grey = bool((layer[:, :, :1] == layer).all())
    _write_jpeg(image, layer, grey, LAYER_QUALITY)
    return image
