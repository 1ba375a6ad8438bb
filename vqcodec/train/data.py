"""Which files are learned from, and which are set aside."""

from __future__ import annotations

import zlib


def split(paths, validation: int, seed: int = 1):
    """(training paths, validation paths): the validation ones chosen by a hash of the file name."""
    ranked = sorted(paths, key=lambda p: zlib.crc32(f"{seed}:{p.name}".encode()))
    held_out = set(ranked[:validation])
    return [p for p in paths if p not in held_out], sorted(held_out)
