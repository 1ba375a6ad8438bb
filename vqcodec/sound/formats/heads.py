"""How many channels a recording says it has, read from its first bytes by nothing but this: whoever only plans work must not run
a library's readers over files that may crash it."""

from __future__ import annotations

import struct

BYTES = 1 << 16  # that are looked at
USUAL = 2  # of formats that are not looked into

# (what the file begins with, what stands before, how far from its beginning, how it is written)
_PLACES = (
    (b"RIFF", b"fmt ", 10, "<H"), (b"RF64", b"fmt ", 10, "<H"), (b"BW64", b"fmt ", 10, "<H"),
    (b"RIFX", b"fmt ", 10, ">H"), (b"riff", b"fmt ", 26, "<H"),
    (b"FORM", b"COMM", 8, ">H"), (b".snd", b".snd", 20, ">I"), (b"dns.", b"dns.", 20, "<I"), (b"caff", b"desc", 36, ">I"),
    (b"OggS", b"\x01vorbis", 11, "B"), (b"OggS", b"OpusHead", 9, "B"))


def channels_of(head: bytes) -> int:
    """By the first bytes of a file, `BYTES` or all; 0 where they are none of sound's."""
    from .kinds import looks_like_sound

    for magic, name, offset, code in _PLACES:
        at = head.find(name) if head.startswith(magic) else -1
        if at >= 0 and len(head) >= at + offset + struct.calcsize(code):
            return struct.unpack_from(code, head, at + offset)[0]
    at = head.find(b"fLaC")
    if at >= 0 and len(head) > at + 20:
        return (head[at + 20] >> 1 & 7) + 1
    return USUAL if looks_like_sound(head) else 0
