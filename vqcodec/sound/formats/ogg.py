"""Ogg as a file (RFC 3533): its pages are walked to find the links of a chain, and whether the last page is there."""

from __future__ import annotations

from .source import Part, Window

BEGINS, ENDS = 2, 4  # flags of a page


def part(data: Window, start: int, end: int) -> tuple[Part, int]:
    """The link of a chain that begins at `start` → and where it ends. It is cut if its last page is, or if the last page of
    a stream in it does not say that it is the last."""
    position, open_streams, heads, broken = start, set(), True, False
    spans = [[start, start]]
    while position < end:
        head = data.get(position, 27)
        if head[:4] != b"OggS":
            following = data.find(b"OggS", position, end)
            if following < 0:
                break
            position = following
            continue
        table = data.get(position + 27, head[26]) if len(head) == 27 else b""
        size = 27 + len(table) + sum(table)
        if len(head) < 27 or len(table) < head[26] or position + size > end:
            broken = True
            break
        flags, serial = head[5], head[14:18]
        if flags & BEGINS:
            if not heads:
                return _part(spans, bool(open_streams)), position
            open_streams.add(serial)
        else:
            heads = False
        if flags & ENDS:
            open_streams.discard(serial)
        if spans[-1][1] != position:
            spans.append([position, position])
        position += size
        spans[-1][1] = position
    return _part(spans, broken or bool(open_streams)), end


def _part(spans: list[list[int]], cut: bool) -> Part:
    return Part(tuple((first, end) for first, end in spans if first < end), cut)
