"""Tags of sound files ⇄ (name, value): those that libsndfile knows, under their names in Vorbis comments.

Pictures in tags (covers), lyrics, replay gain and cue sheets are dropped: neither read nor written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from ...errors import shown
from ...metadata import Metadata
from .chunks import Endless
from .decoders import AvFile, CannotDecode, Damaged, SndFile, have_av
from .kinds import by_libsndfile, demuxer, looks_like_sound
from .source import HEAD, Source, Window
from .survey import survey

NAMES = ("title", "artist", "album", "date", "tracknumber", "genre", "comment", "copyright", "license", "software")
LONGEST = 1 << 14  # characters of a value; longer ones are no titles and not kept
_ALIASES = {"track": "tracknumber", "year": "date", "description": "comment", "encoder": "software",
            "encoded_by": "software"}
_LIBSNDFILE = re.compile(r" ?\(libsndfile-[\w.]+\)$")  # which it adds to the name of the software
_FRAMES = {"title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "date": b"TDRC", "tracknumber": b"TRCK", "genre": b"TCON",
           "comment": b"COMM", "copyright": b"TCOP", "software": b"TSSE"}
_ASCII_ONLY = {"AIFF": ("copyright", "software")}  # libsndfile replaces other characters of these


def read_tags(source: str | os.PathLike | bytes, name: str | None = None) -> Metadata:
    """Tags of a sound file, and of a regular file the time it was changed. Tags that make no sense are left out.

    Raises InputError for a file that cannot be read; of one that is no sound there are no tags."""
    name = name or ("sound" if isinstance(source, (bytes, bytearray, memoryview)) else shown(os.fsdecode(source)))
    opened = Source(source, name, looks_like_sound)
    modified = os.stat(opened.path).st_mtime_ns if opened.path is not None else None
    return Metadata(tags=tags_of(opened), modified=modified)


def tags_of(source: Source) -> tuple[tuple[str, str], ...]:
    """Raises InputError for a file that cannot be read."""
    try:
        return checked(_found(source).items())
    except (CannotDecode, Damaged, Endless):
        return ()


def _found(source: Source) -> dict[str, str]:
    with source.opened() as file:
        window = Window(file, source.size)
        head = window.get(0, HEAD)
        known = demuxer(head, source.name)
        parts = [source.whole(), *survey(window).parts[:1]] if by_libsndfile(head) else []
    for part in parts:  # first as it is: tags may lie outside the parts
        try:
            return SndFile(source, part).strings(NAMES)
        except CannotDecode:
            continue
    return AvFile(source, known).tags() if known and have_av() else {}


def checked(tags: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Those of NAMES that say something, in that order; several values of a name become one."""
    values: dict[str, list[str]] = {}
    for name, value in tags:
        name = _ALIASES.get(name.lower(), name.lower())
        value = value.replace("\0", " ").strip().encode("utf-8", "replace").decode()
        if name == "software":
            value = _LIBSNDFILE.sub("", value)
        if name in NAMES and 0 < len(value) <= LONGEST and value not in values.get(name, ()):
            values.setdefault(name, []).append(value)
    return tuple((name, "; ".join(values[name])) for name in NAMES if name in values)


def set_tags(file, kind: str, tags: Iterable[tuple[str, str]]) -> None:
    """Into a soundfile.SoundFile before its first samples, as far as its format holds them."""
    import soundfile

    for name, value in checked(tags):
        if name in _ASCII_ONLY.get(kind, ()) and not value.isascii():
            continue
        try:
            setattr(file, name, value)
        except soundfile.LibsndfileError:  # the format has no such tag, or none at all
            continue


def id3(tags: Iterable[tuple[str, str]]) -> bytes:
    """An ID3v2.4 tag in UTF-8, empty where there is nothing to say."""
    frames = b""
    for name, value in checked(tags):
        if name in _FRAMES:
            content = b"\3" + (b"XXX\0" if name == "comment" else b"") + value.encode()
            frames += _FRAMES[name] + _synchsafe(len(content)) + b"\0\0" + content
    return b"ID3\4\0\0" + _synchsafe(len(frames)) + frames if frames else b""


def _synchsafe(size: int) -> bytes:
    """ID3's integers of 28 bits, seven to a byte."""
    return bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
