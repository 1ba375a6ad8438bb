"""MPEG audio (layers I to III) as a file: its frames are walked to find where one recording ends and another begins, and
whether the last is whole. ISO/IEC 11172-3 and 13818-3 (headers), LAME's description of the Xing/Info frame."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field, replace

from .source import Part, Piece, Window

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version: 1, 2, 2.5
_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # kbit/s of versions 2 and 2.5, layers II and III
_BITRATES = {
    (3, 3): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),  # (version, layer), layer I is 3
    (3, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256), (2, 2): _LOW, (2, 1): _LOW}
_SYNC = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]", re.DOTALL)
_START = 1 << 16  # bytes within which the first frame must be found
JUNK = 4096  # bytes within or after the frames that are no frames and are not worth a word


@dataclass(frozen=True)
class Frame:
    size: int  # bytes
    kind: tuple[int, int, int, int]  # version, layer, rate in Hz, channels


@functools.lru_cache(4096)
def frame(head: bytes) -> Frame | None:
    """Of the four bytes of a header; None where they are none, or are of free format, whose sizes stand nowhere."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, bitrate, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 0 or not 0 < bitrate < 15 or rate == 3 or head[3] & 3 == 2:
        return None
    hertz, padding = _RATES[version][rate], head[2] >> 1 & 1
    bits = _BITRATES[max(version, 2), layer][bitrate] * 1000
    if layer == 3:
        size = (12 * bits // hertz + padding) * 4
    else:
        size = (72 if layer == 1 and version != 3 else 144) * bits // hertz + padding
    return Frame(size, (version, layer, hertz, 1 if head[3] >> 6 == 3 else 2))


def is_frame(head: bytes) -> bool:
    """Whether four bytes are a header. Those of layer I with a checksum could be UTF-16 text: they are not taken."""
    return frame(head) is not None and head[1] != 0xFE


@dataclass
class _Run:
    """Frames of one recording, as far as it is there."""

    kind: tuple
    head: bytes  # of its first frame
    spans: list[list[int]] = field(default_factory=list)
    frames: int = 0
    bitrates: set[int] = field(default_factory=set)
    promised: int | None = None  # frames, by the Xing/Info frame
    info: tuple[int, bytes] | None = None  # that frame: where, and the same with what is there written into it
    cut: bool = False

    def add(self, first: int, end: int, bitrate: int) -> None:
        self.bitrates.add(bitrate)
        if self.spans and self.spans[-1][1] == first:
            self.spans[-1][1] = end
        else:
            self.spans.append([first, end])
        self.frames += 1


def parts(data: Window, start: int, end: int) -> tuple[list[Part], int] | None:
    """→ one part for each recording in bytes [start, end), and how many bytes belong to none. None: these are no frames
    that could be walked."""
    runs: list[_Run] = []
    position, junk = start, 0
    while size := _tag(data, position, end):
        position += size
    tags = (start, position)
    while position < end:
        here = data.get(position, min(64, end - position))
        if here[0] != 0xFF and (skipped := _tag(data, position, end)):
            position += skipped
            continue
        found, run = frame(here[:4]), runs[-1] if runs else None
        if found and not (run and run.kind == found.kind) and not _continues(data, position, found, end):
            found = None
        if not found:
            limit = end if run else min(end, tags[1] + _START)
            following = _next(data, position + 1, limit)
            if not run and following == limit:
                return None
            junk += following - position if data.get(position, min(following - position, 1 << 20)).strip(b"\0") else 0
            position = following
            continue
        info = _info(here, found)
        if run is None or run.kind != found.kind or info:
            run = _Run(found.kind, here[:4])
            runs.append(run)
        if position + found.size > end:
            run.cut = True
            break
        if info:
            run.promised, run.info = info[0], (position, data.get(position, found.size))
            run.spans.append([position, position + found.size])
        else:
            run.add(position, position + found.size, here[2] >> 4)
        position += found.size
    runs = [run for run in runs if run.frames]
    if not runs or runs[0].frames < 2 and not runs[0].info and not runs[0].cut:
        return None
    made = [_part(run) for run in runs]
    if tags[0] < tags[1]:
        made[0] = replace(made[0], pieces=(tags, *made[0].pieces))
    return made, junk


def _part(run: _Run) -> Part:
    """libsndfile stops where the Xing/Info frame, or else an estimate by the first frame's size, says: it gets one that
    tells of what is there."""
    frames, short = run.frames, run.promised - run.frames if run.promised else 0
    cut = run.cut or short > 2  # some encoders count one more than they write
    pieces: list[Piece] = [tuple(span) for span in run.spans]
    unknown = run.info is None and len(run.bitrates) > 1  # of a constant one the estimate is right
    if run.kind[1] == 1 and (unknown or run.info and (run.cut or abs(short) > 2 or not run.promised)):
        size = sum(end - first for first, end in run.spans)
        if run.info is not None:
            skipped = run.info[0] + len(run.info[1])
            pieces[0:1] = [(skipped, run.spans[0][1])] if skipped < run.spans[0][1] else []
            made = _with_counts(run.info[1], frames, size) or _made_info(run.head, frames, size)
        else:
            made = _made_info(run.head, frames, size)
        pieces.insert(0, made)
    return Part(tuple(pieces), cut, max(0, short) / frames if cut else 0.0)


def _made_info(head: bytes, frames: int, size: int) -> bytes:
    """An Info frame of the kind of frame that `head` begins: 128 kbit/s (version 1) or 80, no checksum."""
    head = bytes([head[0], head[1] | 1, head[2] & 0x0C | 0x90, head[3]])
    found = frame(head)
    at = _side(found)
    content = head + bytes(at - 4) + b"Info\0\0\0\3" + frames.to_bytes(4, "big") + (size + found.size).to_bytes(4, "big")
    return content.ljust(found.size, b"\0")


def _side(found: Frame) -> int:
    """Where a Xing/Info frame has its mark."""
    version, _, _, channels = found.kind
    return 4 + ((32 if channels == 2 else 17) if version == 3 else (17 if channels == 2 else 9))


def _info(data: bytes, found: Frame) -> tuple[int | None] | None:
    """(number of frames or None,) where a frame is one of Xing's or Fraunhofer's, which hold no sound."""
    if found.kind[1] != 1:
        return None
    at = _side(found)
    if data[at : at + 4] in (b"Xing", b"Info"):
        return (int.from_bytes(data[at + 8 : at + 12], "big") if len(data) >= at + 12 and data[at + 7] & 1 else None,)
    if data[36:40] == b"VBRI":
        return (int.from_bytes(data[50:54], "big"),)
    return None


def _with_counts(data: bytes, frames: int, size: int) -> bytes | None:
    """A Xing/Info frame that tells of what is there, and of no padding at the end, which is lost; None of another."""
    changed = bytearray(data)
    at = next((found for mark in (b"Xing", b"Info") if (found := data.find(mark, 4, 44)) > 0), None)
    if at is None or not data[at + 7] & 1:
        return None
    flags, field_at = data[at + 7], at + 8
    for bit, value in ((1, frames), (2, size)):
        if flags & bit:
            changed[field_at : field_at + 4] = value.to_bytes(4, "big")
            field_at += 4
    field_at += (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    if len(data) >= field_at + 24:  # LAME's: 12 bits of delay, 12 of padding
        changed[field_at + 22] &= 0xF0
        changed[field_at + 23] = 0
    return bytes(changed)


def _continues(data: Window, position: int, found: Frame, end: int) -> bool:
    """Whether another frame of the kind follows, or the file ends."""
    following = position + found.size
    if following >= end:
        return True
    other = frame(data.get(following, 4))
    return bool(other and other.kind[:3] == found.kind[:3]) or _tag(data, following, end) > 0


def _next(data: Window, position: int, end: int) -> int:
    """Where the next frame begins that another follows, `end` where none does."""
    while (position := data.find(_SYNC, position, end, 3)) >= 0:
        found = frame(data.get(position, 4))
        if found and position + found.size < end and _continues(data, position, found, end):
            return position
        position += 1
    return end


def id3_size(data: Window, position: int) -> int:
    """Bytes of the ID3v2 tag at a position, 0 where there is none."""
    head = data.get(position, 10)
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _tag(data: Window, position: int, end: int) -> int:
    """Bytes of a tag (ID3v1, ID3v2, APE, Lyrics3) at a position, 0 where there is none."""
    head = data.get(position, 32)
    if head[:1] not in b"ITAL" or not head:
        return 0
    size = id3_size(data, position)
    if head[:3] == b"TAG":
        size = 227 if head[3:4] == b"+" else 128
    elif head[:8] == b"APETAGEX" and len(head) == 32:
        size = 32 + int.from_bytes(head[12:16], "little") * (1 if head[23] & 0x20 else 0)
    elif head[:11] == b"LYRICSBEGIN":
        mark = data.find(b"LYRICS200", position, min(end, position + (1 << 20)))
        size = mark + 9 - position if mark > 0 else 0
    return min(size, end - position)
