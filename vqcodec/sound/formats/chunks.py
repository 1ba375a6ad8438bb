"""Files of chunks or with a plain header, as far as libsndfile reads them: where their samples are, what size their header
gives them, and whether that is there. RIFF (WAVE, and its 64-bit forms RF64, BW64 and W64), IFF (AIFF, AIFC, 8SVX, 16SV),
AU, CAF, NIST, AVR.

Programs that write to a pipe or are killed leave a size of 0 or the largest in the header: then the samples reach to the
end of the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .source import Part, Piece, Window

_UNKNOWN = frozenset({0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000})  # sizes that stand for none, beside the largest
_RIFF64 = 1 << 32
_MOST = 10000  # chunks before the samples, that files of zeros do not take hours
_MPEG_TAGS = frozenset({0x50, 0x55})
_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


class Endless(Exception):
    """A header of thousands of chunks, which libraries would follow for hours."""


@dataclass(frozen=True)
class Found:
    """One file of a kind below: as a part, where it ends, and where within it MPEG frames lie if it holds them."""

    part: Part
    end: int
    mpeg: tuple[int, int] | None = None


def part(data: Window, start: int) -> Found | None:
    """What begins at `start`; None: nothing of these kinds, or no samples where they should be."""
    head = data.get(start, 16)
    magic = head[:4]
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _riff(data, start, magic)
    if magic == b"FORM" and head[8:12] in (b"AIFF", b"AIFC", b"8SVX", b"16SV"):
        return _iff(data, start)
    if magic == b".snd" or magic == b"dns.":
        return _au(data, start, "big" if magic == b".snd" else "little")
    if magic == b"caff":
        return _caf(data, start)
    if head[:8] == b"riff\x2e\x91\xcf\x11":
        return _w64(data, start)
    if head[:8] == b"NIST_1A\n":
        return _nist(data, start)
    if magic == b"2BIT":
        return _avr(data, start)
    return None


def _riff(data: Window, start: int, magic: bytes) -> Found | None:
    order = "big" if magic == b"RIFX" else "little"
    position, tag, long_size, chunks = start + 12, 0, None, start + 12
    outer = int.from_bytes(data.get(start + 4, 4), order)
    for _ in range(_MOST):
        head = data.get(position, 8)
        if len(head) < 8:
            return None
        size = int.from_bytes(head[4:], order)
        if head[:4] == b"data":
            break
        if head[:4] == b"ds64":
            outer, long_size = struct.unpack("<QQ", data.get(position + 8, 16).ljust(16, b"\0"))
            chunks = position + 8 + size
        elif head[:4] == b"fmt ":
            tag = int.from_bytes(data.get(position + 8, 2), order)
        position += 8 + size + size % 2
    else:
        raise Endless("its header has no end")
    first, there = position + 8, data.size - position - 8
    unknown = size in _UNKNOWN or size >= 0xFFFFFF00
    if long_size is not None and size == 0xFFFFFFFF:
        size, unknown = long_size, long_size == 0 or long_size >= 1 << 62
    elif data.size - start >= _RIFF64 and outer == (data.size - start - 8) % _RIFF64:
        size += data.size - start - 8 - outer  # a size that overflowed
    if size == 0 and _chunks_follow(data, first, order):
        return None  # no samples, and that is the truth
    unknown = unknown and (size == 0 or size > there)
    mpeg = (first, first + min(size, there) if not unknown else data.size) if tag in _MPEG_TAGS else None
    if not unknown and size <= there and (size < _RIFF64 or long_size is not None):
        end = _end(_after_chunks(data, first + size + size % 2, order), start + 8 + outer, data)
        return Found(Part(((start, end),)), end, mpeg)
    taken = min(there, size) if not unknown else there
    lacks = 0.0 if unknown or not there else max(0, size - there) / there
    pieces = _rewritten(magic, (chunks, position), (first, first + taken), data)
    return Found(Part(pieces, lacks > 0, lacks), first + taken, mpeg)


def _after_chunks(data: Window, position: int, order: str) -> int:
    """Where the chunks end that follow the samples, which may hold tags."""
    while position + 8 <= data.size:
        head = data.get(position, 8)
        end = position + 8 + int.from_bytes(head[4:], order)
        if not _is_name(head[:4]) or head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM") or end > data.size:
            break
        position = min(end + end % 2, data.size)
    return position


def _is_name(name: bytes) -> bool:
    return name.isascii() and name.strip().isalnum()


def _end(samples_end: int, outer_end: int, data: Window) -> int:
    """Where a file of chunks ends, by its chunks and by the size that its header gives."""
    return min(max(samples_end, outer_end if outer_end <= data.size else 0), data.size)


def _rewritten(magic: bytes, chunks: tuple[int, int], samples: tuple[int, int], data: Window) -> tuple[Piece, ...]:
    """A RIFF or RF64 file of the chunks and samples at these places."""
    size = samples[1] - samples[0]
    outer = 4 + chunks[1] - chunks[0] + 8 + size
    if outer + 36 < _RIFF64:
        order = "big" if magic == b"RIFX" else "little"
        head = (b"RIFX" if magic == b"RIFX" else b"RIFF") + outer.to_bytes(4, order) + b"WAVE"
        return head, chunks, b"data" + size.to_bytes(4, order), samples
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, outer + 36, size, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + ds64, chunks, b"data\xff\xff\xff\xff", samples


def _chunks_follow(data: Window, position: int, order: str) -> bool:
    """Whether the rest of a file is nothing, or chunks to the last byte."""
    while position + 8 <= data.size:
        head = data.get(position, 8)
        if not _is_name(head[:4]):
            return False
        size = int.from_bytes(head[4:], order)
        position += 8 + size + size % 2
    return data.size <= position <= data.size + 1


def _iff(data: Window, start: int) -> Found | None:
    outer = int.from_bytes(data.get(start + 4, 4), "big")
    position = start + 12
    for _ in range(_MOST):
        head = data.get(position, 8)
        if len(head) < 8:
            return None
        size = int.from_bytes(head[4:], "big")
        if head[:4] in (b"SSND", b"BODY"):
            break
        position += 8 + size + size % 2
    else:
        raise Endless("its header has no end")
    first, there = position + 8, data.size - position - 8
    if size in _UNKNOWN or size >= 0xFFFFFF00:
        return Found(Part(((start, data.size),)), data.size)
    end = _end(_after_chunks(data, min(first + size + size % 2, data.size), "big"), start + 8 + outer, data)
    return Found(_plain(start, end, size, there), end)


def _plain(start: int, end: int, size: int, there: int) -> Part:
    """Of a file as it is, with `there` of the `size` bytes of its samples: libsndfile takes what is there."""
    return Part(((start, end),), size > there, max(0, size - there) / there if there > 0 else 0.0)


def _au(data: Window, start: int, order: str) -> Found | None:
    head = data.get(start, 12)
    offset, size = (int.from_bytes(head[at : at + 4], order) for at in (4, 8))
    first, there = start + offset, data.size - start - offset
    if there <= 0 or offset < 24:
        return None
    if size in _UNKNOWN or size >= 0xFFFFFF00:
        return Found(Part((head[:8] + b"\xff" * 4, (start + 12, data.size))), data.size)
    end = min(first + size, data.size)
    return Found(_plain(start, end, size, there), end)


def _caf(data: Window, start: int) -> Found | None:
    position = start + 8
    for _ in range(_MOST):
        head = data.get(position, 12)
        if len(head) < 12:
            return None
        size = int.from_bytes(head[4:], "big")
        if head[:4] == b"data":
            break
        position += 12 + size
    else:
        raise Endless("its header has no end")
    there = data.size - position - 12
    if size <= there:
        end = position + 12 + size
        while data.get(end, 4) != b"caff" and len(head := data.get(end, 12)) == 12 and end < data.size:  # info, pakt, …
            end += 12 + int.from_bytes(head[4:], "big")
        end = min(end, data.size)
        return Found(Part(((start, end),)), end)
    unknown = size >= 1 << 62
    pieces = ((start, position + 4), there.to_bytes(8, "big"), (position + 12, data.size))
    return Found(Part(pieces, not unknown, 0.0 if unknown or not there else (size - there) / there), data.size)


def _w64(data: Window, start: int) -> Found | None:
    outer = int.from_bytes(data.get(start + 16, 8), "little")
    position = start + 40
    for _ in range(_MOST):
        head = data.get(position, 24)
        size = int.from_bytes(head[16:], "little")
        if len(head) < 24 or size < 24:
            return None
        if head[:16] == _W64_DATA:
            break
        position += (size + 7) // 8 * 8
    else:
        raise Endless("its header has no end")
    first, there = position + 24, data.size - position - 24
    end = _end(position + size, start + outer, data)
    return Found(_plain(start, end, size - 24, there), end)


def _nist(data: Window, start: int) -> Found | None:
    lines = data.get(start, 1024).decode("latin-1").split("\n")
    fields = {words[0]: words[2] for line in lines if len(words := line.split()) == 3}
    try:
        first = start + int(lines[1])
        size = int(fields["sample_count"]) * int(fields["sample_n_bytes"]) * int(fields.get("channel_count", 1))
    except (ValueError, KeyError, IndexError):
        return None
    if "pcm" not in fields.get("sample_coding", "pcm") or not size:  # shortened: its size is not to be reckoned
        return None
    there, end = data.size - first, min(first + size, data.size)
    return Found(_plain(start, end, size, there), end)


def _avr(data: Window, start: int) -> Found | None:
    head = data.get(start, 128)
    if len(head) < 128:
        return None
    stereo, bits = struct.unpack(">HH", head[12:16])
    size = int.from_bytes(head[26:30], "big") * (bits // 8) * (2 if stereo else 1)
    if not size:
        return None
    there, end = data.size - start - 128, min(start + 128 + size, data.size)
    return Found(_plain(start, end, size, there), end)
