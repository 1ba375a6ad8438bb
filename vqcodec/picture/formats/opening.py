"""Bytes of an image file → `Source`: which plug-in reads it, which of its pictures is the one, what its own words on colour are.

What Pillow would refuse a sound picture for (chunks of text, application segments) is kept from it, what it passes over
(cICP, `colr`, SubIFDs, the lower half of 16-bit colour) is found here.
"""

from __future__ import annotations

import importlib
import io
import sys
import warnings

from PIL import Image

from . import boxes, metadata, png, tiff
from .exif import adobe_rgb
from .ifd import TiffStructure
from .rendering import ADOBE_RGB
from .source import Colour, Source, check_size
from ...errors import InputError, VqcodecWarning

_STILL_FORMATS = frozenset({"MPO", "PSD"})  # their "frames" are thumbnails or layers of one picture
_PNG_GREY = {"L;2": 85, "L;4": 17}  # raw mode: scale of its samples to 8 bits
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_RAW_BEGINNINGS = {  # camera raws that are not plain TIFF
    b"FUJIFILMCCD-RAW": "RAF", b"IIRO": "ORF", b"IIRS": "ORF", b"MMOR": "ORF", b"IIU\0": "RW2", b"FOVb": "X3F",
    b"\0MRM": "MRW", b"II\x1a\0\0\0HEAPCCDR": "CRW"}
_PLUGINS = {"JXL": ("pillow_jxl", "jxl", "JPEG XL"), "HEIC": ("pillow_heif", "heif", "HEIC")}
_EXTENSIONS = {".jxl": "JXL", ".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC"}
_RAW_EXTENSIONS = frozenset(
    (".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf",
     ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"))
_JPEG_EXTRA = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))  # segments that pixels do not need: APP1…15 but Adobe's, comments


def open_source(data: bytes, name: str) -> Source:
    """An encoded image, not decoded yet. Raises InputError for what cannot be read on purpose; most other exceptions mean a
    bad file."""
    if not data:
        raise InputError(f"{name}: empty")
    kind = kind_of(data)
    if kind == "PNG":
        return _open_png(data, name)
    if kind == "TIFF":
        return _open_tiff(data, name)
    _refuse_raw(kind, name)
    if kind in _PLUGINS and not load_plugin(kind):
        _, extra, shown = _PLUGINS[kind]
        raise InputError(f"{name}: a {shown} file; to read it: pip install \".[{extra}]\"")
    if kind == "AVIF" and "AVIF" not in _known_formats():
        raise InputError(f"{name}: an AVIF file; Pillow 11.3 or later reads it")
    size = boxes.jxl_size(data) if kind == "JXL" else None
    if size is not None:
        check_size(size, name)
    if kind == "JPEG":
        image = _open_jpeg(data, name)
    else:
        image = Image.open(io.BytesIO(data))
    if image.format == "EPS":  # decoding would run an external interpreter on untrusted code
        raise InputError(f"{name}: PostScript is not supported")
    if image.format not in _STILL_FORMATS and getattr(image, "is_animated", False):
        _warn_of_frames(name)
    source = of_image(image, name)
    if source.colour == Colour():
        try:
            if kind == "JP2":
                source.colour = boxes.jp2_colour(data)
            elif kind in ("AVIF", "HEIC"):
                source.colour = boxes.heif_colour(data)
        except (IndexError, ValueError, ArithmeticError):  # cut off or damaged boxes: the decoder judges
            pass
    return source


def of_image(image: Image.Image, name: str) -> Source:
    """What a PIL image says about itself."""
    info = image.info
    profile = info.get("icc_profile") or None
    source = Source(image, exif=metadata.exif_of(image, name), xmp=metadata.xmp_of(image), density=metadata.density_of(image))
    gamma, chromaticities = (None, None) if "srgb" in info else (info.get("gamma"), info.get("chromaticity"))
    if not profile and image.format in ("JPEG", "MPO") and source.exif and adobe_rgb(source.exif):
        gamma, chromaticities = 256 / 563, ADOBE_RGB
    source.colour = Colour(icc=profile, gamma=gamma, chromaticities=chromaticities)
    return source


def kind_of(data: bytes) -> str:
    """What the first bytes are of: PNG, JPEG, TIFF, JP2, JXL, HEIC, AVIF, the name of a camera's raw format, or ''."""
    if data[:8] == png.SIGNATURE:
        return "PNG"
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:12] == _JP2:
        return "JP2"
    if data.startswith(_JXL):
        return "JXL"
    for beginning, kind in _RAW_BEGINNINGS.items():
        if data.startswith(beginning):
            return kind
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if data[4:8] == b"ftyp":
        size = min(int.from_bytes(data[:4], "big"), 256)
        brands = {bytes(data[at : at + 4]) for at in (8, *range(16, size - 3, 4))}
        if b"crx " in brands:
            return "CR3"
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & _HEIC_BRANDS or data[8:12] in (b"mif1", b"msf1"):
            return "HEIC"
    return ""


def load_plugin(kind: str) -> bool:
    """Makes Pillow know a format, if what reads it is installed."""
    module = _PLUGINS[kind][0]
    try:
        plugin = importlib.import_module(module)
    except ImportError:
        return False
    if kind == "HEIC":
        plugin.register_heif_opener()
    return True


def load_plugin_for(extension: str) -> str | None:
    """As `load_plugin`, by the extension of a file name; the extra to install where the plug-in is missing, else None."""
    kind = _EXTENSIONS.get(extension)
    return None if kind is None or load_plugin(kind) else _PLUGINS[kind][1]


def installed_extensions() -> frozenset[str]:
    """Extensions of formats whose plug-ins are installed."""
    return frozenset(extension for extension, kind in _EXTENSIONS.items() if load_plugin(kind))


def why_not(extension: str) -> str | None:
    """Why files of such names are not read; None where nothing is known about it."""
    if extension in _RAW_EXTENSIONS:
        return "a camera raw file"
    extra = load_plugin_for(extension)
    return f"needs the extra '{extra}'" if extra else None


def _known_formats():
    Image.init()
    from PIL import features

    return Image.OPEN if features.check("avif") else Image.OPEN.keys() - {"AVIF"}


def _refuse_raw(kind: str, name: str) -> None:
    if kind == "CR3" or kind in _RAW_BEGINNINGS.values():
        raise InputError(f"{name}: a camera raw file ({kind}), whose sensor samples cannot be read; develop it to TIFF first")


def _warn_of_frames(name: str) -> None:
    warnings.warn(f"{name}: several frames or pages; only the first is used", VqcodecWarning, stacklevel=4)


# --- PNG ------------------------------------------------------------------------------------------------------


def _open_png(data: bytes, name: str) -> Source:
    found = png.look(data)
    if found.ignored:
        more = f" and {len(found.ignored) - 3} more" if len(found.ignored) > 3 else ""
        warnings.warn(f"{name}: ignored {', '.join(found.ignored[:3])}{more}", VqcodecWarning, stacklevel=4)
    if found.several:
        _warn_of_frames(name)
    image = Image.open(io.BytesIO(found.plain))
    raw = image.tile[0][3] if image.tile else None
    factor = _PNG_GREY.get(raw)
    if factor and image.info.get("transparency", 256) <= 255 // factor:
        image.info["transparency"] *= factor  # Pillow scales the samples but not the colour key
    image.info |= {"exif": found.exif or b"", "xmp": found.xmp or b""}  # for the orientation; Pillow looks no further then
    if found.xmp:  # where older releases look
        image.info["XML:com.adobe.xmp"] = found.xmp.decode("utf-8", "replace")
    source = Source(image, found.colour, exif=found.exif, xmp=found.xmp, density=found.density)
    if raw == "LA;16B":  # of which Pillow would take the upper bytes only
        _set_raw(image, lambda _: "RGBA")
        source.layout = "LA"
    elif raw in ("RGB;16B", "RGBA;16B"):
        source.low = Image.open(io.BytesIO(found.plain))
        _set_raw(source.low, lambda mode: mode.replace("16B", "16L"))
    return source


def _set_raw(image: Image.Image, change) -> None:
    """Have samples unpacked by another raw mode than Pillow chose."""
    tiles = []
    for tile in image.tile:
        arguments = tile[3]
        arguments = change(arguments) if isinstance(arguments, str) else (change(arguments[0]), *arguments[1:])
        tiles.append(tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments))
    image.tile = tiles


# --- JPEG -----------------------------------------------------------------------------------------------------


def _open_jpeg(data: bytes, name: str) -> Image.Image:
    """Pillow gives up where a segment that has nothing to do with pixels is senseless: then without these segments."""
    try:
        return Image.open(io.BytesIO(data))
    except Exception as error:
        plain = _without_segments(data)
        if plain is None:
            raise
        image = Image.open(io.BytesIO(plain))
        metadata.warn(name, "metadata", error)
        return image


def _without_segments(data: bytes) -> bytes | None:
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            return b"".join((*kept, data[at:]))
        short = marker == 0xE0 and end - at < 18 or marker == 0xEE and end - at < 16  # JFIF, Adobe
        if marker not in _JPEG_EXTRA and not short:
            kept.append(data[at:end])
        at = end
    return None


# --- TIFF -----------------------------------------------------------------------------------------------------


def _open_tiff(data: bytes, name: str) -> Source:
    """The full picture of a TIFF file, for Pillow moved to the front."""
    try:
        found = tiff.look(data)
    except ValueError as error:
        image = Image.open(io.BytesIO(data))  # takes some damaged directories as far as they go
        if image.tag_v2.get(tiff.SUBFILE, 0) & tiff.REDUCED:
            raise InputError(f"{name}: its header is damaged, and only a preview is readable") from error
        return of_image(image, name)
    page, size = found.page, f"{found.page.width}×{found.page.height}"
    preview = f"; only a preview of {found.preview.width}×{found.preview.height} is readable" if found.preview else ""
    if found.raw:
        raise InputError(f"{name}: {found.raw} of {size} sensor samples, which cannot be read{preview}; "
                         "develop it to TIFF first")
    if found.several:
        _warn_of_frames(name)
    negative, first = found.photometric == 0 and found.bits > 8, page.directory.offset == found.structure.first
    front = data
    if not first or negative:
        structure = TiffStructure(bytearray(data))
        structure.point_to(page.directory.offset)
        if negative:  # Pillow takes it for the opposite, or does not know it at all
            structure.set_value(page.directory, tiff.PHOTOMETRIC, 1)
        front = bytes(structure.data)
    try:
        image = Image.open(io.BytesIO(front))
    except Exception as error:
        raise InputError(f"{name}: {found.kind} ({size}) cannot be read{preview}") from error
    source = of_image(image, name)
    source.white_is_zero = negative
    source.maximum = (1 << found.bits) - 1 if image.mode.startswith("I;16") and 8 < found.bits < 16 else 65535
    source.orientation = None if first or found.turned_by_pillow else found.orientation
    source.transposed = found.turned_by_pillow and found.orientation >= 5
    if not first:  # what is said about the file as a whole
        _take_tags(data, source, name)
    _deepen_tiff(source, found, front)
    return source


def _deepen_tiff(source: Source, found: tiff.TiffFile, front: bytes) -> None:
    """Have both bytes of 16-bit colour read, where Pillow's decoders let us choose the one of the two."""
    image, order = source.image, found.structure.order
    raw = image.tile[0][3][0] if image.tile and isinstance(image.tile[0][3], tuple) else ""
    own, other = ("16L", "16B") if order == "<" else ("16B", "16L")
    if found.bits == 16 and raw in ("R", "G", "B", "A") and image.mode in ("RGB", "RGBA"):  # planes, taken for 8 bits
        source.low = Image.open(io.BytesIO(front))
        _set_raw(image, lambda mode: f"{mode};{own}")
        _set_raw(source.low, lambda mode: f"{mode};{other}")
    elif raw.startswith("RGB") and ";16" in raw and not found.planar:
        source.low = Image.open(io.BytesIO(front))
        if raw.startswith("RGBa"):  # Pillow would divide by alpha in 8 bits
            source.layout = "RGBa"
            for each in (image, source.low):
                _set_raw(each, lambda mode: mode.replace("RGBa", "RGBA"))
        if raw.endswith("N"):  # libtiff gives the machine's order
            other = "16B" if sys.byteorder == "little" else "16L"
        _set_raw(source.low, lambda mode: mode[:-3] + other)


def _take_tags(data: bytes, source: Source, name: str) -> None:
    try:
        head = Image.open(io.BytesIO(data))
    except Exception:  # a preview that Pillow does not know
        return
    source.exif, source.xmp = metadata.exif_of(head, name) or source.exif, metadata.xmp_of(head) or source.xmp
