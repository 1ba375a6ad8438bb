"""Symbols of coding steps ⇄ the segments of a stream, in either layout."""

from __future__ import annotations

import torch

from . import container, rangecoder
from .errors import CorruptStreamError
from .prior import Prior


def code_symbols(symbols: torch.Tensor, cdf: torch.Tensor) -> bytes:
    """Symbols int64[N,G] under CDFs int32[N,G,A+1], row by row."""
    return rangecoder.encode(symbols.reshape(-1).numpy(), cdf.reshape(-1, cdf.shape[2]).numpy())


class SegmentReader:
    """The segments of a stream, one after the other, in either of their layouts.

    Every method raises CorruptStreamError for segments that no encoder writes, the constructor where there
    cannot be enough of them for the picture."""

    def __init__(self, stream: container.Stream, pieces: int, prior: Prior):
        self.data, self.position = b"".join(stream.segments), 0
        self.lengths = None if stream.joined else iter(stream.segments)
        needed = pieces * prior.steps
        if not stream.joined and len(stream.segments) != needed:
            raise CorruptStreamError(f"expected {needed} segments, found {len(stream.segments)}")
        # Phase 0 of each slice has positions in every band, and a segment with symbols has a byte or more.
        if stream.joined and (needed > container.MAX_SEGMENTS or len(self.data) < pieces * len(prior.slices)):
            raise CorruptStreamError(f"{len(self.data)} bytes cannot hold the segments of such a picture")

    def read(self, cdf: torch.Tensor) -> torch.Tensor:
        """Symbols int64[N,G] under CDFs int32[N,G,A+1]."""
        start, table = self.position, cdf.reshape(-1, cdf.shape[2]).numpy()
        symbols, self.position = rangecoder.decode_segment(self.data, table, start)
        self._check_length(self.position - start, "a segment is damaged: it is not what an encoder writes")
        return torch.from_numpy(symbols).reshape(cdf.shape[:2])

    def skip(self) -> None:
        """A step without symbols."""
        self._check_length(0, "an empty step has bytes")

    def finish(self) -> None:
        if self.position != len(self.data):
            raise CorruptStreamError(f"{len(self.data) - self.position} bytes follow the last segment")

    def _check_length(self, length: int, message: str) -> None:
        if self.lengths is not None and len(next(self.lengths)) != length:
            raise CorruptStreamError(message)
