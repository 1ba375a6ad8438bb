"""Is a file text? By its bytes; a name tells only what somebody else would say more about."""

from __future__ import annotations

import codecs
import re

EXTENSIONS = frozenset(f".{name}" for name in (
    "txt text md markdown rst adoc tex bib html htm xhtml xml json jsonl ndjson geojson csv tsv log srt vtt po pot yaml yml toml "
    "ini cfg conf properties diff patch sql css scss js mjs ts tsx jsx py pyi rb pl pm php java kt scala swift go rs c h cc hh cpp "
    "hpp cxx cs m lua r jl hs ml erl ex exs clj lisp el vim sh bash zsh fish bat ps1 cmake mk gradle tf proto graphql svg eml ics "
    "vcf org pod man").split())
# Files of these names that hold text are damaged, or something else than they should be: their own media say so.
OTHERS = frozenset(f".{name}" for name in (
    "png apng jpg jpeg jpe jfif gif webp tif tiff bmp avif heic heif jxl jp2 j2k ico ppm pgm pbm pnm xbm xpm tga wav wave flac "
    "mp3 ogg oga opus aif aiff aifc au snd caf w64 rf64 m4a mp4 mkv webm mov avi y4m pdf vq").split())

_PICTURE = re.compile(rb"P[1-7fF][ \t\r\n]|/\* XPM \*/|#define[ \t]+\S*_(?:width|height)[ \t]")
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
         (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\b\x1a\x1b")) + b"\x7f"
_FEW = 0.002  # of the characters may be control characters


def encoding_of(head: bytes) -> str | None:
    """How text that begins with these bytes, up to 64 KiB, is written: "ascii", "utf-8", "utf-16-le", …, or "8-bit" for one
    byte a character, as in Latin-1; None for what is no text."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name if _reads(head, name) else None
    if 0 in head:
        for name, zeros, others in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
            if zeros.count(0) >= 0.3 * len(zeros) and others.count(0) <= _FEW * len(others) and _reads(head, name):
                return name
        return None
    if sum(map(head.count, _CONTROLS)) > _FEW * len(head):
        return None
    if head.isascii():
        return "ascii"
    return "utf-8" if _reads(head, "utf-8") else "8-bit"


def _reads(head: bytes, name: str) -> bool:
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)  # which does not mind a character that is cut off
    except UnicodeDecodeError:
        return False
    return sum(map(text.count, map(chr, (0, *_CONTROLS)))) <= _FEW * len(text)


def looks_like_text(head: bytes, name: str = "") -> bool:
    """name: of the file, where there is one."""
    dot = name.rpartition("/")[2].rpartition(".")
    if dot[0] and f".{dot[2].lower()}" in OTHERS:
        return False
    return not _PICTURE.match(head) and encoding_of(head) is not None
