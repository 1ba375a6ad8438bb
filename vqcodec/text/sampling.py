"""The prior of text as a generator: bytes that nobody has written, or that go on behind a text → bytes of a .vq file.

What is drawn is one lane, however long it is: a byte knows of all that are drawn before it. What goes on behind a text reads
that first, in lanes, and then follows its last one.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from functools import cache

import numpy as np

from .. import filelimits
from ..errors import UsageError
from ..filelimits import Extent, tick
from ..guard import guarded
from ..indices.bounds import CDF_BITS
from ..indices.drawing import Drawing
from ..indices.sampling import Sampler
from ..stream import checked_metadata
from . import stream
from .blocks import lane_lengths
from .codec import Progress, TextCodec
from .mixing import Lanes, State
from .stream import MAX_BLOCK, MAX_LENGTH

USUAL = 1000  # bytes
MOST = MAX_BLOCK // 4  # at a time, so that there is room for what is read before them
_TOLD = 1024  # bytes whose random numbers are made at a time
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\r") | {127}
_SECOND = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}  # of UTF-8, where not all are good


@guarded
def sample(codec: TextCodec, drawing: Drawing, count: int, progress: Progress) -> bytes:
    """A text of so many bytes, in UTF-8. Raises UsageError, LimitError."""
    _check(drawing, count, 0)
    return codec.encode(_drawn(codec, drawing, b"", count, progress))


@guarded
def extend(codec: TextCodec, data: bytes, drawing: Drawing, count: int, progress: Progress) -> bytes:
    """A text and so many bytes behind it; in UTF-8, if it is. Raises UsageError, LimitError, and CorruptStreamError as
    `TextCodec.decode`."""
    header, sealed = stream.peek(data)
    _check(drawing, count, header.length)
    kept = codec.decode(data)
    return codec.encode(kept + _drawn(codec, drawing, kept, count, progress), checked_metadata(data, sealed))


def _check(drawing: Drawing, count: int, before: int) -> None:
    if drawing.label is not None:
        raise UsageError(f"there is no label '{drawing.label}' (models of text have none)")
    if not 1 <= count <= MOST or before + count > MAX_LENGTH:
        raise UsageError(f"of texts 1 to {MOST} bytes are drawn at a time, not {count}")
    filelimits.check(Extent(output=before + count, memory=2 * (before + count)))


def _drawn(codec: TextCodec, drawing: Drawing, kept: bytes, count: int, progress: Progress) -> bytes:
    read = kept[-(MAX_BLOCK - MOST) :]
    read = read[len(read) % len(lane_lengths(max(1, len(read)))) :]  # so that all lanes end at the same time
    lanes = _behind(codec, read, len(read) + count)
    begun, sampler = _begun(kept), Sampler(drawing)
    for i in range(count):
        if i % _TOLD == 0:
            places = np.arange(len(kept) + i, len(kept) + min(i + _TOLD, count))
            words = sampler.words(places >> 32, places & 0xFFFFFFFF, 0, 8)
        if i % 16 == 0:
            tick()
            progress(f"drawing, {100 * i / count:.0f} %")
        begun = _after(begun, _byte(lanes, sampler, words[i % _TOLD], None if begun is None else _nodes(begun, min(count - i, 4))))
    return lanes.text[len(read) : -1].astype(np.uint8).tobytes()


def _behind(codec: TextCodec, read: bytes, length: int) -> Lanes:
    """The one lane of a block of so many bytes that goes on behind those that are read."""
    if not read:
        return Lanes(codec.tables, codec.learnt, State(codec.tables), np.zeros(1, np.int64), length)
    lengths, bits = lane_lengths(len(read)), np.unpackbits(np.frombuffer(read, np.uint8)).reshape(-1, 8).astype(np.int64)
    lanes = Lanes(codec.tables, codec.learnt, State(codec.tables), np.cumsum(lengths) - lengths, length)
    for step in range(int(lengths[0])):
        if step % 16 == 0:
            tick()
        lanes.begin()
        for bit in range(8):
            lanes.probability()
            lanes.update(bits[lanes.at, bit])
    lanes.last_alone()
    return lanes


def _byte(lanes: Lanes, sampler: Sampler, words: np.ndarray, nodes: np.ndarray | None) -> int:
    """Of the one lane. words: uint32[8]; nodes: as `_nodes` has them."""
    lanes.begin()
    node = 1
    for word in words:
        one = int(lanes.probability()[0])
        if nodes is not None and nodes[2 * node] != nodes[2 * node + 1]:
            bit = int(nodes[2 * node + 1])
        else:
            cdf = np.array([[[0, (1 << CDF_BITS) - one, 1 << CDF_BITS]]], np.int32)
            bit = int(sampler.chosen(cdf, word.reshape(1, 1, 1))[0, 0])
        lanes.update(np.array([bit]))
        node = 2 * node + bit
    return node & 255


def _begun(kept: bytes) -> bytes | None:
    """The bytes of a character of UTF-8 that the text ends within; None for what is not in UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(kept)
    except UnicodeDecodeError:
        return None
    return decoder.getstate()[0]


def _size(lead: int) -> int:
    """Bytes of the character that begins so."""
    return 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)


def _after(begun: bytes | None, byte: int) -> bytes | None:
    if begun is None:
        return None
    begun += bytes([byte])
    return b"" if len(begun) == _size(begun[0]) else begun


@cache
def _nodes(begun: bytes, left: int) -> np.ndarray:
    """bool[512], of node n (1 followed by the bits of a byte that are known) whether text can go on so: in UTF-8, without
    control characters, and with no character cut where no more than `left` bytes, the next one counted, are to come."""
    good = np.zeros(512, bool)
    if begun:
        low, high = _SECOND.get(begun[0], (0x80, 0xBF)) if len(begun) == 1 else (0x80, 0xBF)
        good[256 + low : 257 + high] = True
    else:
        leads = [*(set(range(128)) - _CONTROLS), *range(0xC2, 0xF5)]
        good[[256 + lead for lead in leads if _size(lead) <= left]] = True
    for node in range(255, 0, -1):
        good[node] = good[2 * node] | good[2 * node + 1]
    return good
