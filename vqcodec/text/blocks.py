"""A block of text, bytes of 1..2^20 ⇄ the segments of its lanes. One loop for both directions: who supplies the bits differs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..filelimits import tick
from . import coder
from .hashing import Learnt
from .mixing import Lanes, State
from .stream import lane_count
from .tables import Tables

def lane_lengths(length: int) -> np.ndarray:
    """int64[L], descending, adding up to `length`; they differ by 1 at most."""
    count = lane_count(length)
    return np.full(count, length // count) + (np.arange(count) < length % count)


def encode(tables: Tables, learnt: Learnt, text: bytes, progress: Callable[[float], None] = lambda part: None
           ) -> tuple[list[bytes], np.ndarray]:
    """(a segment for each lane, uint16[len(text),8]: of 65536, the probability that each bit was expected to be what it is)."""
    values = np.frombuffer(text, np.uint8)
    bits = np.unpackbits(values).reshape(-1, 8)
    ones = np.empty((len(values), 8), np.uint16)

    def known(lanes: Lanes, bit: int, found: np.ndarray) -> np.ndarray:
        ones[lanes.at, bit] = found
        return bits[lanes.at, bit].astype(np.int64)

    lengths = _run(tables, learnt, len(values), known, lambda count: None, progress)[0]
    ends = np.cumsum(lengths)
    segments = [coder.encode(bits[end - size : end].reshape(-1), ones[end - size : end].reshape(-1))
                for end, size in zip(ends, lengths)]
    return segments, np.where(bits, ones, -ones)  # modulo 65536


def decode(tables: Tables, learnt: Learnt, segments: list[bytes], length: int,
           progress: Callable[[float], None] = lambda part: None) -> bytes:
    """Raises CorruptStreamError for segments that no encoder writes."""
    decoder = coder.Decoder(segments)
    text = _run(tables, learnt, length, lambda lanes, bit, found: decoder.bits(found), decoder.narrow, progress)[1]
    decoder.check()
    return text.astype(np.uint8).tobytes()


def _run(tables, learnt, length, supply, narrow, progress) -> tuple[np.ndarray, np.ndarray]:
    """(lengths of the lanes, the text). supply: (lanes, bit, probabilities) → the bits; narrow: is told when lanes are done."""
    lengths = lane_lengths(length)
    lanes = Lanes(tables, learnt, State(tables), np.cumsum(lengths) - lengths, length)
    for step in range(int(lengths[0])):
        if step == lengths[-1]:
            count = int((lengths > step).sum())
            lanes.narrow(count)
            narrow(count)
        if step % 16 == 0:
            tick()
            progress(step / int(lengths[0]))
        lanes.begin()
        for bit in range(8):
            lanes.update(supply(lanes, bit, lanes.probability()))
    return lengths, lanes.text[:-1]
