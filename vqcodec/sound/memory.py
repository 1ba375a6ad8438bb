"""How much memory a recording takes, by its channels (neither its length nor its rate matters: blocks are sized by samples).

Measured with one thread (peak of the process above what the loaded model takes), with an earlier model of the same shape, the
more of encoding and decoding: 58 MiB for 1 channel, 85 for 2, 357 for 8, 531 for 16, 696 for 32, 835 for 64, 1388 for 255 (at
16 to 48 kHz); 2 channels at 768 kHz: 88; where all channels are equal and coded once, 79 for 255 at 48 kHz and at 768 kHz, 55 for
16 at 192 kHz. A worker that did 164 recordings of 1 channel, all of other lengths, had taken 410 MiB in all, model included.
"""

from __future__ import annotations

from . import stream
from .formats.heads import BYTES, channels_of

MIB = 1 << 20
_SLACK = 1.1


def needed(channels: int, coded: int) -> int:
    """Bytes that a recording adds to its process, `coded` of its channels being transformed: an upper estimate."""
    return int(_SLACK * MIB * (min(60 + 45 * coded, 450 + 8 * coded) + 0.5 * channels))


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
