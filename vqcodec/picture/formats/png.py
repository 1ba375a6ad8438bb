"""PNG files: what their ancillary chunks say, and the file without these chunks.

Pillow gives a picture up for a chunk of text that is damaged or inflates to more than 1 MiB, and does not follow cICP. So
chunks are read here, each for itself, and Pillow is given those that make the pixels: IHDR, PLTE, tRNS, IDAT, IEND, whose
damage stays an error. Source: Portable Network Graphics (PNG) Specification, third edition.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from .source import Colour

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_MOST = {b"iCCP": 1 << 25, b"iTXt": 1 << 22, b"zTXt": 1 << 22, b"tEXt": 1 << 22, b"eXIf": 1 << 22}  # bytes, inflated
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}  # of which a file may have many
_MOST_IGNORED = 64
_XMP_KEY, _RAW_PROFILE = b"XML:com.adobe.xmp", b"Raw profile type "


@dataclass
class PngFile:
    """plain: the file without what is not needed for its pixels; ignored: chunks that could not be read, and why;
    several: it is an animation; density: pixels per metre."""

    plain: bytes = b""
    depth: int = 8
    exif: bytes | None = None
    xmp: bytes | None = None
    density: tuple[int, int] | None = None
    several: bool = False
    colour: Colour = field(default_factory=Colour)
    ignored: list[str] = field(default_factory=list)


def look(data: bytes) -> PngFile:
    """Reads the chunks. From a chunk that is cut off or no chunk at all on, bytes are handed on as they are."""
    found, facts, kept, at, last, first_frame = PngFile(), {}, [], len(SIGNATURE), 0, False
    view = memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or not kind.isalpha():
            break
        if kind not in _PIXELS and kind[0] & 0x20:  # ancillary
            kept.append(view[last:at])
            last = end
            if kind == b"fcTL" and b"IDAT" not in facts:
                first_frame = True
            elif (kind not in facts or kind in _TEXTS) and len(found.ignored) < _MOST_IGNORED:
                try:
                    if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
                        raise ValueError("wrong checksum")
                    _read(kind, bytes(view[at + 8 : end - 4]), found, facts)
                    facts[kind] = True
                except (ValueError, struct.error, zlib.error) as error:
                    found.ignored.append(f"{kind.decode()} chunk ({error})")
        elif kind == b"IHDR" and length == 13:
            found.depth = data[at + 16]
        elif kind == b"IDAT":
            facts[kind] = True
        at = end
        if kind == b"IEND":
            break
    kept.append(view[last:])
    found.plain = data if len(kept) == 1 else b"".join(kept)
    frames = facts.get("frames", 1)
    found.several = frames > 1 or (frames == 1 and b"acTL" in facts and not first_frame)
    found.colour = _colour(facts)
    return found


def _read(kind: bytes, content: bytes, found: PngFile, facts: dict) -> None:
    """Takes what one chunk says. Raises ValueError, struct.error or zlib.error."""
    if kind == b"cICP":
        facts["cicp"] = struct.unpack(">4B", content)
    elif kind == b"iCCP":
        _, _, rest = content.partition(b"\0")
        facts["icc"] = _inflated(kind, rest)
    elif kind == b"gAMA":
        facts["gamma"] = struct.unpack(">I", content)[0] / 100000
    elif kind == b"cHRM":
        facts["chromaticities"] = tuple(value / 100000 for value in struct.unpack(">8i", content))
    elif kind == b"acTL":
        facts["frames"] = struct.unpack(">II", content)[0]
    elif kind == b"pHYs":
        across, down, unit = struct.unpack(">IIB", content)
        found.density = (across, down) if unit == 1 and across and down else None
    elif kind == b"eXIf":
        found.exif = content
    elif kind in _TEXTS:
        key, _, rest = content.partition(b"\0")
        profile = key[len(_RAW_PROFILE) :] if key.startswith(_RAW_PROFILE) else None
        if found.xmp if key == _XMP_KEY else found.exif or profile not in (b"exif", b"APP1"):
            return
        if kind == b"zTXt":
            rest = _inflated(kind, rest)
        elif kind == b"iTXt":
            deflated, method, (_, _, rest) = rest[:1], rest[1:2], rest[2:].split(b"\0", 2)
            rest = _inflated(kind, method + rest) if deflated == b"\1" else rest
        if key == _XMP_KEY:
            found.xmp = rest
        else:  # as ImageMagick writes it
            found.exif = bytes.fromhex(b"".join(rest.split(b"\n")[3:]).decode("ascii"))


def _inflated(kind: bytes, data: bytes) -> bytes:
    """Data after their compression method. Raises ValueError for more than a chunk of that kind may have."""
    if data[:1] != b"\0":
        raise ValueError("unknown compression")
    inflate = zlib.decompressobj()
    content = inflate.decompress(data[1:], _MOST[kind])
    if inflate.unconsumed_tail:
        raise ValueError(f"inflates to more than {_MOST[kind] >> 20} MiB")
    return content


def _colour(facts: dict) -> Colour:
    """By the precedence of the third edition, section 4.3: cICP, iCCP, sRGB, gAMA and cHRM."""
    fallback = Colour() if b"sRGB" in facts else Colour(
        gamma=facts.get("gamma"), chromaticities=facts.get("chromaticities"))
    if "cicp" in facts:
        primaries, transfer, matrix, full = facts["cicp"]
        return Colour(cicp=(primaries, transfer, full != 0), icc=facts.get("icc"))
    return Colour(icc=facts.get("icc"), gamma=fallback.gamma, chromaticities=fallback.chromaticities)
