"""Metadata ⇄ the bytes of a stream's part."""

from __future__ import annotations

import zlib

import pytest

from vqcodec.errors import CorruptStreamError, UsageError
from vqcodec.metadata import MAX_SIZE, Metadata, pack, unpack

FULL = Metadata(exif=b"II*\0abc", xmp=b"<x/>", icc=bytes(300), density=(2835, 2834), tags=(("title", "Für Elise"), ("a", "")),
                modified=1_700_000_000_123_456_789)


@pytest.mark.parametrize("metadata", [FULL, Metadata(), Metadata(tags=(("artist", "x"), ("artist", "y"))), Metadata(modified=-1)])
def test_round_trip(metadata):
    assert unpack(pack(metadata)) == metadata
    assert bool(metadata) == (metadata != Metadata())


def test_fields_can_be_left_out():
    assert FULL.without("exif", "tags") == Metadata(xmp=FULL.xmp, icc=FULL.icc, density=FULL.density, modified=FULL.modified)


def test_unknown_kinds_are_skipped():
    items = zlib.decompress(pack(Metadata(xmp=b"<x/>")))
    assert unpack(zlib.compress(b"\xc8\x03abc" + items)) == Metadata(xmp=b"<x/>")


@pytest.mark.parametrize("data", [
    b"", b"nonsense", pack(FULL)[:-1], pack(FULL) + b"x", zlib.compress(b"\x01"), zlib.compress(b"\x01\x05abc"),
    zlib.compress(b"\x02\x01a\x02\x01b"), zlib.compress(b"\x04\x03abc"), zlib.compress(b"\x05\x03\x02ab"),
    zlib.compress(b"\x05\x04\x01\xff\x01a"), zlib.compress(b"\x06\x01a"), zlib.compress(bytes(MAX_SIZE + 1)),
], ids=range(12))
def test_damage(data):
    with pytest.raises(CorruptStreamError):
        unpack(data)


def test_more_than_the_format_takes():
    with pytest.raises(UsageError, match="limit"):
        pack(Metadata(icc=bytes(MAX_SIZE + 1)))
