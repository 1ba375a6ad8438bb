"""FLAC as a file (RFC 9639): its last frame is found, to know how long the recording is and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass

from .source import Part, Window

_MARK = b"fLaC\0\0\0\x22"  # with the header of STREAMINFO, which comes first
_TAIL = 1 << 20  # bytes at the end among which the last frames are looked for


def _table(polynomial: int, bits: int) -> list[int]:
    values, top = [], 1 << (bits - 1)
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & (1 << bits) - 1
        values.append(value)
    return values


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc


def _crc16(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
    return crc


@dataclass(frozen=True)
class _Frame:
    first: int  # sample frames since the beginning
    end: int


def part(data: Window, start: int, end: int) -> tuple[Part, int] | None:
    """The FLAC file that begins at `start` → and where it ends: at the next one, or at `end`. None: damaged metadata."""
    info = data.get(start + 8, 34)
    audio = _audio(data, start, end)
    if len(info) < 34 or audio is None:
        return None
    following = data.find(_MARK, audio, end)
    end = end if following < 0 else following
    fields = int.from_bytes(info[10:18], "big")
    promised, step = fields & (1 << 36) - 1, int.from_bytes(info[2:4], "big")
    first, largest = _frame(data.get(audio, 16), step), int.from_bytes(info[7:10], "big") or 1 << 18
    stop = _without_tags(data, end)  # zeros may follow the last frame: checksums do not notice
    found = _last(data, audio, stop, step, largest)
    if first is None or first.first or found is None:
        return Part(((start, end),)), end
    last, stop, whole = found
    length = last.end if whole else last.first
    if whole and length == promised:
        return Part(((start, end),)), end
    cut = not whole or promised > length
    changed = (fields >> 36 << 36 | length).to_bytes(8, "big")
    pieces = (data.get(start, 18), changed, (start + 26, stop))
    return Part(pieces, cut, max(0, promised - length) / length if length and cut else 0.0), end


def _without_tags(data: Window, end: int) -> int:
    """Where tags begin that other formats have at their end (ID3v1, APE), or `end`."""
    end -= 128 if data.get(end - 128, 3) == b"TAG" else 0
    foot = data.get(end - 32, 32)
    if foot[:8] == b"APETAGEX":
        end -= int.from_bytes(foot[12:16], "little") + (32 if foot[23] & 0x80 else 0)
    return end


def _audio(data: Window, start: int, end: int) -> int | None:
    """Where the first frame begins."""
    position = start + 4
    while position + 4 <= end:
        head = data.get(position, 4)
        position += 4 + int.from_bytes(head[1:4], "big")
        if head[0] & 0x80:
            return position if position <= end else None
    return None


def _last(data: Window, audio: int, end: int, step: int, largest: int) -> tuple[_Frame, int, bool] | None:
    """(the last frame, where what can be decoded ends, whether it is whole)."""
    base = max(audio, end - _TAIL)
    tail = data.get(base, end - base)
    position, later = len(tail), []
    while (position := tail.rfind(b"\xff", 0, position)) >= 0:
        frame = _frame(tail[position : position + 16], step)
        if frame is None:
            continue
        if len(tail) - position <= largest and _crc16(tail[position:]) == 0:
            return frame, end, True
        for other, at in later:  # one whose end is where another begins shows that this is what it seems
            if frame.end == other.first and at - position <= largest and _crc16(tail[position:at]) == 0:
                return other, base + at, False
        later.append((frame, position))
    return None


def _frame(head: bytes, step: int) -> _Frame | None:
    """Of the first 16 bytes of a frame, by its header; None where it is none. step: samples in frames of one size."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size, rate = head[2] >> 4, head[2] & 15
    if size == 0 or rate == 15 or head[3] >> 4 > 10:
        return None
    extra = 0
    while extra < 7 and head[4] & 0x80 >> extra:
        extra += 1
    if extra == 1 or len(head) < 5 + extra:
        return None
    number = head[4] & 0x7F >> extra
    position = 5
    for byte in head[5 : 4 + extra if extra else 5]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
        position += 1
    wide = {6: 1, 7: 2}.get(size, 0)
    samples = int.from_bytes(head[position : position + wide], "big") + 1 if wide else (
        192 if size == 1 else 576 << size - 2 if size <= 5 else 256 << size - 8)
    position += wide + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if len(head) <= position or _crc8(head[:position]) != head[position]:
        return None
    first = number if head[1] & 1 else number * step
    return _Frame(first, first + samples)
