"""How much memory a recording takes, by its channels (neither its length nor its rate matters: blocks are sized by samples).

Measured with one thread (peak of the process above what the loaded model takes), with audio-1, which takes most: encoding 212 MiB
for 1 channel, 191 for 2, 603 for 8, 1857 for 32, decoding in NumPy 162, 164, 265 and 276. speech-2: encoding 37, 58, 229, 463, and
986 for 255, decoding 22, 31, 47, 89. With earlier models of its shape, where all channels are equal and coded once, 79 for 255 at
48 kHz and at 768 kHz. A worker that encoded 164 recordings of 1 channel, all of other lengths, had taken 410 MiB in all, model
included.
"""

from __future__ import annotations

from . import stream
from .formats.heads import BYTES, channels_of

MIB = 1 << 20
_SLACK = 1.1
# MiB: in any case, of each coded channel up to so many, and of further ones
_ENCODING, _DECODING = (140, 58, 32, 8), (150, 15, 8, 3)
_REPEATED = 0.5  # MiB of each channel of the file


def needed(channels: int, coded: int, command: str = "encode") -> int:
    """Bytes that a recording adds to its process while it is encoded, or decoded with "decode", `coded` of its channels being
    transformed: an upper estimate."""
    base, each, most, further = _DECODING if command == "decode" else _ENCODING
    return int(_SLACK * MIB * (base + each * min(coded, most) + further * max(0, coded - most) + _REPEATED * channels))


def size_of(file, command: str) -> tuple[int, int]:
    """(channels, channels that are coded at most) by the header of a file; zeros where it has none that can
    be read."""
    try:
        if command == "decode":
            header, _ = stream.peek(file.read(stream.MAX_HEADER))
            return header.channels, header.coded_channels
        channels = channels_of(file.read(BYTES))
        return channels, channels
    except Exception:
        return 0, 0
