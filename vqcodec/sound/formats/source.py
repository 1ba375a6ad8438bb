"""Bytes of a recording, wherever they are, that can be read again and again; and parts of them as files of their own."""

from __future__ import annotations

import bisect
import io
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from ...errors import InputError

SPOOL = 64 << 20  # bytes that are kept in memory of what is no regular file
HEAD = 64  # bytes that tell what a file is
_PIECE = 1 << 20

Piece = bytes | tuple[int, int]  # bytes as they are, or those [first, end) of a source


@dataclass(frozen=True)
class Part:
    """A run of a source that a library reads as one file.

    cut: its end is missing; lacks: how much that is, as a share of what is there, 0 where the file does not tell."""

    pieces: tuple[Piece, ...]
    cut: bool = False
    lacks: float = 0.0


class Source:
    """A path or bytes. What is no regular file (a FIFO, /dev/stdin, a process substitution) is read once, into memory or a
    temporary file, if `accept` takes its first bytes. Raises InputError: cannot be read, empty, not accepted."""

    def __init__(self, source: str | os.PathLike | bytes, name: str, accept: Callable[[bytes], bool]):
        self.name, self.path, self._data, self._spooled = name, None, None, None
        if isinstance(source, (bytes, bytearray, memoryview)):
            self._data = bytes(source)
            self.size = len(self._data)
        else:
            try:
                status = os.stat(source)
                if stat.S_ISREG(status.st_mode):
                    self.path, self.size = os.fspath(source), status.st_size
                else:
                    self._spooled = self._read_once(source, accept)
                    self.size = self._spooled.seek(0, io.SEEK_END)
            except (OSError, ValueError) as error:  # ValueError: a null character in the path
                raise InputError(f"{name}: cannot read ({getattr(error, 'strerror', None) or error})") from error
        if not self.size:
            raise InputError(f"{name}: empty")

    def _read_once(self, path, accept) -> BinaryIO:
        with open(path, "rb") as file:
            head = file.read(HEAD)  # of a pipe too: as many, or all there are
            if head and not accept(head):  # a device may have no end
                raise InputError(f"{self.name}: not a sound file")
            spooled = tempfile.SpooledTemporaryFile(SPOOL)
            spooled.write(head)
            while piece := file.read(_PIECE):
                spooled.write(piece)
        return spooled

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """All of its bytes, as a file. Raises InputError."""
        if self._spooled is not None:
            yield self._spooled
        elif self._data is not None:
            yield io.BytesIO(self._data)
        else:
            try:
                file = open(self.path, "rb")
            except OSError as error:
                raise InputError(f"{self.name}: cannot read ({error.strerror})") from error
            with file:
                yield file

    def whole(self) -> Part:
        return Part(((0, self.size),))


class Window:
    """Random access to an open file in small pieces, by one buffer."""

    def __init__(self, file: BinaryIO, size: int):
        self.file, self.size = file, size
        self._first, self._buffer = 0, b""

    def get(self, first: int, count: int) -> bytes:
        """Bytes [first, first + count), fewer at the end, none outside the file."""
        if not 0 <= first < self.size:
            return b""
        count = min(count, self.size - first)
        at = first - self._first
        if not 0 <= at <= len(self._buffer) - count:
            self.file.seek(first)
            self._first, self._buffer, at = first, self.file.read(max(count, 1 << 16)), 0
        return self._buffer[at : at + count]

    def find(self, wanted: bytes | re.Pattern, first: int, end: int, longest: int | None = None) -> int:
        """Where `wanted` begins first within bytes [first, end), or -1. longest: bytes that a pattern matches at most."""
        pattern = wanted if isinstance(wanted, re.Pattern) else re.compile(re.escape(wanted))
        longest = longest or len(wanted)
        while first < end:
            piece = self.get(first, min(_PIECE, end - first))
            found = pattern.search(piece)
            if found:
                return first + found.start()
            if len(piece) < longest:
                return -1
            first += len(piece) - longest + 1
        return -1


class Joined(io.RawIOBase):
    """The pieces of a part, one after the other, as one file to read and to seek in.

    error: the first OSError; libraries that read by callbacks, out of which no exception finds its way, see an end."""

    def __init__(self, file: BinaryIO, pieces: tuple[Piece, ...]):
        self._file, self._pieces, self._position = file, pieces, 0
        self._ends, self.size = [], 0
        self.error: OSError | None = None
        for piece in pieces:
            self.size += len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
            self._ends.append(self.size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer) -> int:
        wanted, done = len(buffer), 0
        while done < wanted and self._position < self.size:
            number = bisect.bisect_right(self._ends, self._position)
            piece, end = self._pieces[number], self._ends[number]
            count = min(wanted - done, end - self._position)
            got = self._read(piece, end, count)
            buffer[done : done + len(got)] = got
            done += len(got)
            self._position += len(got)
            if len(got) < count:
                break
        return done

    def _read(self, piece: Piece, end: int, count: int) -> bytes:
        if isinstance(piece, bytes):
            at = self._position - end + len(piece)
            return piece[at : at + count]
        try:
            self._file.seek(piece[1] - end + self._position)
            return self._file.read(count)
        except OSError as error:
            self.error = self.error or error
            return b""
