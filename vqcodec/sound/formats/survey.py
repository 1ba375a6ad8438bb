"""A file's bytes → the recordings in it, one after the other, by the file's own structure (no sample is decoded).

Where a library stops need not be where a file ends: files are joined, chained and cut, and headers tell sizes that are
not so.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import chunks, flac, mpeg, ogg
from .kinds import by_libsndfile, demuxer
from .source import HEAD, Part, Window


@dataclass(frozen=True)
class Survey:
    """parts: one or more; junk: bytes between and after them that belong to none."""

    parts: tuple[Part, ...]
    junk: int = 0


def survey(data: Window) -> Survey:
    """Of what nothing is known it is one part, all of the file."""
    start = 0
    while size := mpeg.id3_size(data, start):  # found before FLAC and others, too
        start += size
    found: list[Part] = []
    position, junk = start, 0
    while position < data.size and (not found or data.get(position, 4) == data.get(start, 4)):
        made = _at(data, position)
        if made is None:
            break
        parts, position, more = made
        found.extend(parts)
        junk += more
    if not found:
        return Survey((Part(((0, data.size),)),))
    if position < data.size:
        rest = data.get(position, min(mpeg.JUNK * 16, data.size - position))
        tags = rest[:3] == b"TAG" or rest[:8] == b"APETAGEX"
        junk += data.size - position if rest.strip(b"\0") and not tags else 0
    return Survey(tuple(found), junk if junk > mpeg.JUNK else 0)


def _at(data: Window, position: int) -> tuple[list[Part], int, int] | None:
    """(recordings, where they end, bytes of none) from a position on, which is the file's beginning, the end of the tags
    there or of another recording."""
    head = data.get(position, HEAD)
    if head[:4] == b"fLaC":
        made = flac.part(data, position, data.size)
        return made and ([made[0]], made[1], 0)
    if head[:4] == b"OggS":
        part, end = ogg.part(data, position, data.size)
        return ([part], end, 0) if part.pieces else None
    found = chunks.part(data, position)
    if found is not None and found.mpeg:
        walked = mpeg.parts(data, *found.mpeg)
        if walked:
            return walked[0], found.end, walked[1]
    if found is not None:
        return [found.part], found.end, 0
    if mpeg.is_frame(head[:4]) or (position and demuxer(head) is None and not by_libsndfile(head)):
        walked = mpeg.parts(data, 0, data.size)  # with the tags
        return walked and (walked[0], data.size, walked[1])
    return None
