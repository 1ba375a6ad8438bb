"""What image files say beside their pixels ⇄ `Metadata`: EXIF, XMP, ICC profile, density.

Samples are upright and sRGB when they have been read, so what is kept says so: orientation 1, colour space sRGB, no
thumbnails, no old profile in what is written. Nothing here stops a picture: what cannot be understood is left out with a
warning.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

from ...errors import VqcodecWarning, cause
from ...metadata import MAX_SIZE, Metadata
from . import exif as exif_data, xmp as xmp_data
from .source import Source
from .tiff_tags import with_tags

_EXIF_PREFIX, _XMP_PREFIX = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_XMP_TAG = 700
_MOST_IN_SEGMENT = 65533  # of JPEG, without the two bytes of its length
_OVERHEAD = 64  # bytes of kinds and lengths, density, time
_TIFF_STRUCTURE = frozenset(  # tags that say how a TIFF file stores its samples, or are items of their own, as density is
    [*range(254, 270), 273, *range(277, 305), *range(317, 348),
     *range(512, 533), 700, 34377, 34675, 33723, 37724, *range(50706, 51200)])


def gather(source: Source, swapped: bool, name: str) -> Metadata | None:
    """Of an open file; swapped: rows became columns when it was turned upright. None where it says nothing."""
    parts = {"exif": None, "xmp": None, "icc": source.colour.icc}
    if source.exif:
        try:
            parts["exif"] = exif_data.upright(source.exif.removeprefix(_EXIF_PREFIX), swapped)
        except ValueError as error:
            warn(name, "EXIF data", error)
    if source.xmp:
        try:
            parts["xmp"] = xmp_data.upright(source.xmp)
        except ValueError as error:
            warn(name, "XMP", error)
    while sum(len(part) for part in parts.values() if part) > MAX_SIZE - _OVERHEAD:
        largest = max(parts, key=lambda part: len(parts[part] or b""))
        warn(name, {"icc": "copy of the ICC profile", "exif": "EXIF data", "xmp": "XMP"}[largest],
             f"{len(parts[largest])} bytes are more than streams take")
        parts[largest] = None
    density = source.density
    return Metadata(**parts, density=density[::-1] if density and swapped else density) or None


def warn(name: str, what: str, why: object) -> None:
    reason = cause(why) if isinstance(why, Exception) else why
    warnings.warn(f"{name}: {what} ignored ({reason})", VqcodecWarning, stacklevel=3)


def without_gps(metadata: Metadata) -> Metadata:
    """Without the place: EXIF's GPS directory, and the properties of XMP whose names begin with GPS. EXIF or XMP
    in which these cannot be told apart is left out as a whole."""
    return replace(
        metadata,
        exif=exif_data.without_gps(metadata.exif) if metadata.exif else None,
        xmp=xmp_data.without_gps(metadata.xmp) if metadata.xmp else None)


# --- what Pillow knows of a file -----------------------------------------------------------------------------


def exif_of(image, name: str) -> bytes | None:
    """EXIF data of a PIL image, without their prefix; of TIFF files those tags that do not say how samples are stored."""
    data = image.info.get("exif")
    if data or not hasattr(image, "tag_v2"):
        return bytes(data).removeprefix(_EXIF_PREFIX) if isinstance(data, bytes) and data else None
    try:
        kept = _plain_tags(image.getexif())
        return kept.tobytes().removeprefix(_EXIF_PREFIX) if len(kept) else None
    except Exception as error:  # Pillow raises many types on damaged tags
        warn(name, "EXIF data", error)
        return None


def _plain_tags(exif):
    """Pillow's Exif without those tags that say how samples are stored."""
    from PIL.Image import Exif

    kept = Exif()
    for tag, value in exif.items():
        if tag not in _TIFF_STRUCTURE:
            kept[tag] = exif.get_ifd(tag) if tag in (0x8769, 0x8825) else value
    return kept


def xmp_of(image) -> bytes | None:
    """XMP packet of a PIL image; older releases of Pillow have it in tags and segments only."""
    packet = image.info.get("xmp")
    if not packet and hasattr(image, "tag_v2"):
        packet = image.tag_v2.get(_XMP_TAG)
    if not packet:
        segments = (content for marker, content in getattr(image, "applist", ()) if marker == "APP1")
        packet = next((content[len(_XMP_PREFIX) :] for content in segments if content.startswith(_XMP_PREFIX)), None)
    if isinstance(packet, tuple):  # TIFF's type BYTE
        packet = bytes(value & 255 for value in packet if isinstance(value, int)) if len(packet) > 1 else packet[0]
    packet = packet.encode("utf-8", "replace") if isinstance(packet, str) else packet
    return packet if isinstance(packet, bytes) and packet else None


def density_of(image) -> tuple[int, int] | None:
    """Pixels per metre. What Pillow puts in where a file says nothing (TIFF 1, JPEG 72 per inch) is nothing."""
    if hasattr(image, "tag_v2") and not {282, 283} <= set(image.tag_v2):
        return None
    if image.info.get("dpi") == (72, 72) and image.format in ("JPEG", "MPO") and not image.info.get("jfif_unit"):
        return None
    try:
        across, down = (float(value) / 0.0254 for value in image.info["dpi"])
        if not (math.isfinite(across) and math.isfinite(down)):
            return None
        values = round(across), round(down)
        return values if all(0 < value < 2**32 for value in values) else None
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None


# --- writing ----------------------------------------------------------------------------------------------------


def save_options(format: str, metadata: Metadata) -> dict:
    """Arguments of Pillow's `save` that put EXIF, XMP and density into a file, where its format has them."""
    options = {}
    if metadata.density and format in ("PNG", "JPEG", "TIFF"):
        inches = tuple(value * 0.0254 for value in metadata.density)
        if format != "JPEG" or max(inches) < 65535:
            options["dpi"] = inches
    if metadata.exif and format in ("PNG", "JPEG", "WEBP", "AVIF", "JXL", "HEIF"):
        options["exif"] = _EXIF_PREFIX + metadata.exif
    if metadata.xmp and format in ("WEBP", "AVIF", "JXL", "HEIF"):
        options["xmp"] = metadata.xmp
    if metadata.xmp and format == "PNG":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8"), zip=len(metadata.xmp) > 1000)
    return options


def finished(encoded: bytes, format: str, metadata: Metadata) -> bytes:
    """An encoded file with what Pillow does not put into it: XMP into JPEG (older releases), EXIF and XMP into TIFF. Raises
    ValueError for data that are no EXIF."""
    if format == "TIFF" and (metadata.exif or metadata.xmp):
        return with_tags(encoded, metadata.exif, metadata.xmp, _TIFF_STRUCTURE)
    if format != "JPEG" or not metadata.xmp:
        return encoded
    segment, at = _XMP_PREFIX + metadata.xmp, 2
    while encoded[at : at + 2] in (b"\xff\xe0", b"\xff\xe1"):  # behind JFIF and EXIF
        at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return encoded[:at] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + encoded[at:]


def left_out(format: str, metadata: Metadata) -> list[str]:
    """What a file of that format cannot hold."""
    lost = []
    if format == "JPEG" and len(metadata.exif or b"") + len(_EXIF_PREFIX) > _MOST_IN_SEGMENT:
        lost.append("exif")
    if format == "JPEG" and len(metadata.xmp or b"") + len(_XMP_PREFIX) > _MOST_IN_SEGMENT:
        lost.append("xmp")
    return lost
