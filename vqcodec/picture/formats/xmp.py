"""XMP packets, changed without being parsed into anything: properties are taken out, everything else stays byte for byte.

One pass over the tags, in time linear in the size whatever a packet holds; no entities, no other files.
"""

from __future__ import annotations

import re

_TAG_STOP = re.compile(rb"[\"'>]")
_NAME = re.compile(rb"/?([^\s/>]+)")
_ATTRIBUTE = re.compile(rb"""(?<![^\s"'])([^\s"'=<>/]+)\s*=\s*(?:"[^"]*"|'[^']*')""")
_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)\d+""")
_COLOUR_SPACE = re.compile(rb"""(exif:ColorSpace\s*(?:=\s*["']|>)\s*)\d+""")
_STALE, _GPS = re.compile(rb"(Thumbnails|ICCProfile)$"), re.compile(rb"gps", re.IGNORECASE)


def upright(packet: bytes) -> bytes:
    """A packet in UTF-8 for samples that are upright and sRGB: orientation 1, colour space sRGB, no thumbnails, no name of a
    profile. Raises ValueError for what is no packet."""
    packet = bytes(packet).strip(b"\0")
    if packet[:2] in (b"\xff\xfe", b"\xfe\xff"):
        packet = packet.decode("utf-16").encode("utf-8")
    packet.decode("utf-8")  # UnicodeDecodeError is a ValueError
    packet = _COLOUR_SPACE.sub(rb"\g<1>1", _ORIENTATION.sub(rb"\g<1>1", packet))
    return _without(packet, _STALE)


def without_gps(packet: bytes) -> bytes | None:
    """Without properties whose name or prefix begins with GPS; None for what is no packet."""
    try:
        return _without(packet, _GPS)
    except ValueError:
        return None


def _without(packet: bytes, names: re.Pattern) -> bytes:
    """Without the attributes and elements whose names, or prefixes, match. Raises ValueError where a tag has no end."""
    def gone(name: bytes) -> bool:
        parts = name.split(b":")
        return parts[0] != b"xmlns" and any(names.match(part) for part in parts)

    kept, at, copied, inside, depth, tags = [], 0, 0, None, 0, 0
    while (at := packet.find(b"<", at)) >= 0:
        if packet[at : at + 4] == b"<!--" or packet[at : at + 2] == b"<?":
            stop = b"-->" if packet[at + 1] == 0x21 else b"?>"
            at = _after(packet, stop, at)
            continue
        end, tags = _tag_end(packet, at), tags + 1
        found = _NAME.match(packet, at + 1, end)
        name = found[1] if found else b""
        closing, empty = packet[at + 1] == 0x2F, packet[end - 2] == 0x2F
        if inside is not None:  # until the element that goes has its end
            depth += 0 if name != inside or empty and not closing else -1 if closing else 1
            if depth == 0:
                inside, copied = None, end
        elif gone(name):
            kept.append(packet[copied:at])
            copied = end
            if not closing and not empty:
                inside, depth = name, 1
        elif not closing:
            tag = packet[at:end]
            plain = _ATTRIBUTE.sub(lambda match: b"" if gone(match[1]) else match[0], tag)
            if plain != tag:
                kept += [packet[copied:at], plain]
                copied = end
        at = end
    if inside is not None or not tags:
        raise ValueError("no packet")
    return b"".join((*kept, packet[copied:]))


def _tag_end(packet: bytes, at: int) -> int:
    """Position behind the '>' of a tag, which values in quotes may have too."""
    while (stop := _TAG_STOP.search(packet, at)) is not None:
        if stop[0] == b">":
            return stop.end()
        at = _after(packet, stop[0], stop.end())
    raise ValueError("a tag without an end")


def _after(packet: bytes, what: bytes, at: int) -> int:
    found = packet.find(what, at)
    if found < 0:
        raise ValueError("a tag without an end")
    return found + len(what)
