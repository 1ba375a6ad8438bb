"""Metadata of a file (EXIF, XMP, ICC profile, density, tags, time) ⇄ the bytes of a stream's metadata part.

Standard library only. `bitstream_spec.md`, section "Metadata", defines every byte: a zlib stream of items, each a kind
(u8), a length (uvarint) and so many bytes. Items of unknown kinds are skipped, so that later releases may add some.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from .errors import CorruptStreamError, UsageError
from .stream import Reader, uvarint

MAX_SIZE = 1 << 22  # bytes, of all items before deflation
MAX_DEFLATED = 1 << 22
EXIF, XMP, ICC, DENSITY, TAGS, MODIFIED = range(1, 7)  # kinds of items


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its samples.

    exif: a TIFF structure, without the "Exif\\0\\0" before it, its orientation that of the samples (1); xmp: a packet of
    UTF-8; icc: the profile the file had (samples in streams are sRGB: it is for information); density: pixels per metre,
    across and down; tags: (name, value) of sound, names in lower case as Vorbis comments have them; modified: the file's
    time, nanoseconds since 1970 (UTC)."""

    exif: bytes | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    density: tuple[int, int] | None = None
    tags: tuple[tuple[str, str], ...] = ()
    modified: int | None = None

    def __bool__(self) -> bool:
        return self != Metadata()

    def described(self) -> dict[str, str]:
        """What there is, in words."""
        found = {"exif": self.exif, "xmp": self.xmp, "icc": self.icc}
        words = {name: f"{len(data)} bytes" for name, data in found.items() if data}
        if self.density:
            words["density"] = "{} x {} pixels per metre".format(*self.density)
        if self.modified is not None:
            words["modified"] = f"{datetime.fromtimestamp(self.modified / 1e9, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        return {**words, **dict(self.tags)}

    def without(self, *names: str) -> Metadata:
        """A copy that lacks the fields of these names."""
        nothing = Metadata()
        return replace(self, **{name: getattr(nothing, name) for name in names})


def pack(metadata: Metadata) -> bytes:
    """Raises UsageError for more than the format takes."""
    parts = [(EXIF, metadata.exif), (XMP, metadata.xmp), (ICC, metadata.icc)]
    if metadata.density is not None:
        parts.append((DENSITY, struct.pack("<II", *metadata.density)))
    if metadata.tags:
        parts.append((TAGS, b"".join(_text(text) for pair in metadata.tags for text in pair)))
    if metadata.modified is not None:
        parts.append((MODIFIED, struct.pack("<q", metadata.modified)))
    items = b"".join(bytes([kind]) + uvarint(len(data)) + data for kind, data in parts if data)
    if len(items) > MAX_SIZE:
        raise UsageError(f"metadata of {len(items)} bytes are more than the format's limit of {MAX_SIZE}")
    return zlib.compress(items, 9)


def unpack(data: bytes) -> Metadata:
    """The inverse of `pack`. Raises CorruptStreamError."""
    inflate = zlib.decompressobj()
    try:
        items = inflate.decompress(data, MAX_SIZE + 1)
    except zlib.error as error:
        raise CorruptStreamError(f"the metadata cannot be inflated ({error})") from None
    if not inflate.eof or inflate.unused_data or len(items) > MAX_SIZE:
        raise CorruptStreamError("the metadata are cut short, too long or followed by other data")
    reader, found = Reader(items), {}
    while reader.position < len(items):
        kind = reader.uint(1)
        content = reader.take(reader.uvarint(4))
        if kind in found:
            raise CorruptStreamError(f"the metadata have two items of kind {kind}")
        found[kind] = content
    try:
        return Metadata(
            exif=found.get(EXIF), xmp=found.get(XMP), icc=found.get(ICC),
            density=struct.unpack("<II", found[DENSITY]) if DENSITY in found else None,
            tags=_pairs(found.get(TAGS, b"")),
            modified=struct.unpack("<q", found[MODIFIED])[0] if MODIFIED in found else None)
    except (struct.error, UnicodeDecodeError) as error:
        raise CorruptStreamError(f"the metadata make no sense ({error})") from None


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return uvarint(len(data)) + data


def _pairs(data: bytes) -> tuple[tuple[str, str], ...]:
    reader, texts = Reader(data), []
    while reader.position < len(data):
        texts.append(reader.take(reader.uvarint(4)).decode("utf-8"))
    if len(texts) % 2:
        raise CorruptStreamError("a tag of the metadata has no value")
    return tuple(zip(texts[::2], texts[1::2]))
