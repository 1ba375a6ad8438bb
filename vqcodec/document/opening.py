"""The stream of a document → the bytes of its pages, checked against what its header says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from .. import filelimits
from ..errors import CorruptStreamError
from . import stream


def bodies(codec, file: BinaryIO, wanted=None) -> Iterator[tuple[int, bytes]]:
    """(number, body) of the pages of a stream, or of some; none is larger than the header says. Raises CorruptStreamError."""
    header, sealed = opened(codec, file)
    pixels = 0
    for number, body in stream.records(file, header, sealed, wanted):
        filelimits.tick()
        page = stream.unpack_page(body)
        pixels += page.width * page.height
        if page.width * page.height > header.largest or pixels > header.pixels:
            raise CorruptStreamError("a page is larger than the header says")
        yield number, body


def opened(codec, file: BinaryIO):
    file.seek(0)
    header, sealed = stream.peek(file.read(stream.MAX_HEADER))
    codec.checked(header)
    return header, sealed
