"""path or '-' ⇄ bytes: whole inputs in, each read once, whole outputs out, never a half-written file.

A new output is written beside its destination and renamed over it when complete, so that the old file stays
intact whatever goes wrong. Devices and pipes are written in place. Symbolic links are followed, not replaced.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from typing import BinaryIO

from .errors import InputError, UsageError, shown

STDIO = "-"
HEAD = 1 << 16  # bytes of an input that are read to tell what it is
PIPE_LIMIT = 1 << 32  # bytes that a pipe or a socket may give (a WAV has no more)
DEVICE_LIMIT = 1 << 24  # bytes that a device may give: /dev/zero has no end


class Source:
    """An input: a file, a pipe, a device, standard input or bytes. What is no regular file is read once, and only as
    far as is asked for: who looks at `head` first never reads all of something that it does not know.

    name: for messages, printable. path: of a regular file that was named, else None. head: the first 64 KiB, or all.
    modified_ns: time of the last change in nanoseconds since 1970, of a regular file, else None.
    """

    __slots__ = ("name", "path", "head", "modified_ns", "_size", "_data", "_rest", "_limit")

    def __init__(self, name: str, head: bytes, path: str | None = None, modified_ns: int | None = None,
                 size: int | None = None, data: bytes | None = None, rest: BinaryIO | None = None, limit: int = 0):
        """Use `open`, `of_bytes` or `of_file`. rest: gives what comes behind `head`, up to `limit` bytes in all."""
        if not head:
            raise InputError(f"{name}: empty")
        self.name, self.path, self.head, self.modified_ns = name, path, head, modified_ns
        self._size, self._data, self._rest, self._limit = size, data, rest, limit

    @classmethod
    def open(cls, source: str | os.PathLike | bytes | bytearray | memoryview) -> Source:
        """A path, '-' for standard input, or the bytes themselves. Waits for the other end of a named pipe.

        Raises InputError: missing, a directory, no permission, empty, or any other failure to read.
        """
        if isinstance(source, (bytes, bytearray, memoryview)):
            return cls.of_bytes(source)
        path = os.fsdecode(source)
        if path == STDIO:
            if sys.stdin is None:
                raise InputError("standard input: cannot read (it is closed)")
            return cls.of_file(sys.stdin.buffer, "standard input")
        name = shown(path)
        with _reading(name):
            file = open(path, "rb")
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                device = stat.S_ISBLK(status.st_mode) or (stat.S_ISCHR(status.st_mode) and not file.isatty())
                return cls._of_pipe(file, name, DEVICE_LIMIT if device else PIPE_LIMIT)
            with file:
                head = file.read(HEAD)
                # the whole is read at once where the size tells nothing (/proc) or the head is all
                data = head + file.read() if status.st_size < HEAD else None
        size = status.st_size if data is None else len(data)
        return cls(name, head, path, status.st_mtime_ns, size, data)

    @classmethod
    def of_bytes(cls, data: bytes | bytearray | memoryview, name: str = "input") -> Source:
        """Raises InputError: empty."""
        data = bytes(data)
        return cls(shown(name), data[:HEAD], size=len(data), data=data)

    @classmethod
    def of_file(cls, file: BinaryIO, name: str = "input") -> Source:
        """An open binary file, from where it stands, never sought in: not to be closed before all is read.
        Raises InputError: empty, or a failure to read."""
        return cls._of_pipe(file, shown(name), PIPE_LIMIT)

    @classmethod
    def _of_pipe(cls, pipe: BinaryIO, name: str, limit: int) -> Source:
        with _reading(name):
            head = _read_up_to(pipe, HEAD)
        if len(head) < HEAD:
            return cls(name, head, size=len(head), data=head)
        return cls(name, head, rest=pipe, limit=limit)

    @property
    def size(self) -> int:
        """Bytes; of what is no regular file all is read to tell. Raises as `data`."""
        return len(self.data()) if self._size is None else self._size

    def data(self) -> bytes:
        """The whole content, kept for the next call.

        Raises InputError: a failure to read; a pipe of more than PIPE_LIMIT bytes, a device of more than DEVICE_LIMIT.
        """
        if self._data is None:
            with _reading(self.name):
                if self.path is not None:
                    with open(self.path, "rb") as file:
                        self._data = file.read()
                else:
                    data = self.head + _read_up_to(self._rest, self._limit - len(self.head) + 1)
                    if len(data) > self._limit:
                        raise ValueError(f"more than {self._limit >> 20} MiB, and no regular file")
                    self._data, self._rest = data, None
            self._size = len(self._data)
        return self._data

    def forget(self) -> None:
        """Lets go of the content, which is not asked for again."""
        self._data, self._size = None, self.size

    def open_file(self) -> BinaryIO:
        """The content as a file that can seek; the caller closes it. Raises as `data`."""
        if self.path is None or self._data is not None:
            return io.BytesIO(self.data())
        with _reading(self.name):
            return open(self.path, "rb")


def read_input(path: str | os.PathLike) -> bytes:
    """Whole content of a file, or of standard input for '-'. Raises as `Source.open` and `Source.data`."""
    return Source.open(path).data()


def ensure_writable(path: str | os.PathLike, force: bool = False) -> None:
    """Fail now, not after minutes of work, if `write_output` could not write to `path`.

    Raises InputError: exists and not `force`, a directory, directory missing or not writable;
    UsageError: '-' with standard output at a terminal. Creates and changes nothing.
    """
    path = os.fspath(path)
    if path == STDIO:
        _refuse_terminal(sys.stdout)
        return
    status, name = _status(path), shown(path)
    if status is not None:
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{name}: is a directory")
        if not stat.S_ISREG(status.st_mode):
            if not os.access(path, os.W_OK):
                raise InputError(f"{name}: cannot write (Permission denied)")
            return
        if not force:
            raise InputError(f"{name}: exists; use -f to overwrite")
    directory = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(directory):
        raise InputError(f"{name}: cannot write (no directory {shown(directory)})")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"{name}: cannot write (no permission in {shown(directory)})")


def write_output(path: str | os.PathLike, data: bytes, force: bool = False) -> None:
    """Write `data` as the whole content of a file, or to standard output for '-'.

    The file appears complete or not at all; a new one gets the permissions that the umask allows, an old one
    keeps its own. Raises as `ensure_writable`, and InputError where writing fails (disk full, closed pipe).
    """
    path = os.fspath(path)
    ensure_writable(path, force)
    try:
        if path == STDIO:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        status = _status(path)
        if status is not None and not stat.S_ISREG(status.st_mode):
            with open(path, "wb", buffering=0) as device:
                _refuse_terminal(device)
                _write_all(device, data)
            return
        replace_file(os.path.realpath(path), data, status)
    except OSError as error:
        name = "standard output" if path == STDIO else shown(path)
        raise InputError(f"{name}: cannot write ({_reason(error)})") from error


@contextmanager
def output_file(path: str | os.PathLike, force: bool = False):
    """A file to write and to seek in, that becomes the content of `path` at the end: what `write_output` is for bytes.
    Where `path` is standard output or a device, all of it is copied there."""
    path = os.fspath(path)
    ensure_writable(path, force)
    status = None if path == STDIO else _status(path)
    in_place = path == STDIO or (status is not None and not stat.S_ISREG(status.st_mode))
    try:
        if not in_place:
            with replacing(os.path.realpath(path), status, force=force) as file:
                yield file
            return
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            with nullcontext(sys.stdout.buffer) if path == STDIO else open(path, "wb", buffering=0) as device:
                if path != STDIO:
                    _refuse_terminal(device)
                while piece := file.read(1 << 20):
                    _write_all(device, piece)
                device.flush()
    except OSError as error:
        name = "standard output" if path == STDIO else shown(path)
        raise InputError(f"{name}: cannot write ({_reason(error)})") from error


def ensure_folder(path: str | os.PathLike, force: bool = False) -> None:
    """As `ensure_writable`, of a folder: new, empty, or with `force` any."""
    path = os.fspath(path)
    if path == STDIO:
        raise UsageError("a folder cannot be standard output: name one")
    name, target = shown(path), os.path.realpath(path)
    parent = os.path.dirname(target)
    if not os.path.isdir(parent):
        raise InputError(f"{name}: cannot write (no directory {shown(parent)})")
    if os.path.lexists(target) and not os.path.isdir(target):
        raise InputError(f"{name}: exists, and is no folder")
    if not os.access(target if os.path.isdir(target) else parent, os.W_OK | os.X_OK):
        raise InputError(f"{name}: cannot write (Permission denied)")
    if os.path.isdir(target) and not force and any(os.scandir(target)):
        raise InputError(f"{name}: is not empty; use -f to replace the frames in it")


@contextmanager
def output_folder(path: str | os.PathLike, names: str, force: bool = False):
    """The path of an empty folder, what is put into which is in the folder `path` at the end: all of it, or nothing. With `force`
    it replaces what is there of names that match `names`."""
    ensure_folder(path, force)
    target = os.path.realpath(path)
    temporary = os.path.join(os.path.dirname(target), f".vqcodec-{secrets.token_hex(8)}.tmp")
    try:
        os.mkdir(temporary)
        try:
            yield temporary
            if os.path.isdir(target):
                for old in os.listdir(target):
                    if re.fullmatch(names, old):
                        os.unlink(os.path.join(target, old))
                for new in sorted(os.listdir(temporary)):
                    os.replace(os.path.join(temporary, new), os.path.join(target, new))
            else:
                os.rename(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{shown(os.fspath(path))}: cannot write ({_reason(error)})") from error


def replace_file(target: str, data: bytes, status: os.stat_result | None, prefix: str = ".vqcodec-",
                 force: bool = False, folder: int | None = None) -> None:
    """Put `data` at `target`, as `replacing` does."""
    with replacing(target, status, prefix, force, folder) as file:
        file.write(data)


@contextmanager
def replacing(target: str, status: os.stat_result | None, prefix: str = ".vqcodec-", force: bool = False,
              folder: int | None = None):
    """A temporary file, open to write, in the directory of `target`, whose name begins with `prefix` and which takes
    the place of `target` at the end.

    status: of the file that is replaced, whose permissions are kept, and its owner and group where that is allowed;
    nobody can read the new one, not even meanwhile, who could not read the old. Without it `force` tells whether one may
    be there. folder: a descriptor of the directory that `target` is relative to. Raises OSError."""
    temporary = os.path.join(os.path.dirname(target), f"{prefix}{secrets.token_hex(8)}.tmp")
    mode = 0o666 if status is None else stat.S_IMODE(status.st_mode) & 0o777

    def create(path: str, flags: int) -> int:  # not mkstemp: its files ignore the umask
        return os.open(path, flags, mode & 0o700 if status is not None else mode, dir_fd=folder)

    try:
        with open(temporary, "x+b", opener=create) as file:
            if status is not None:
                _adopt(file.fileno(), status, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if status is None and not force and _exists(target, folder):
            raise FileExistsError("it appeared meanwhile; use -f to overwrite")
        os.replace(temporary, target, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:  # KeyboardInterrupt and Terminated too must leave nothing behind
        try:
            os.unlink(temporary, dir_fd=folder)
        except OSError:
            pass
        raise


def _adopt(file: int, status: os.stat_result, mode: int) -> None:
    """Owner, group and permissions of the file that is replaced; where the group cannot be the same, it gets no more than
    all others have."""
    if hasattr(os, "fchown"):
        own = os.fstat(file)
        try:
            if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
                os.fchown(file, status.st_uid, status.st_gid)
        except OSError:
            try:
                os.fchown(file, -1, status.st_gid)
            except OSError:
                mode &= ~0o070 | (mode & 0o007) << 3
    if hasattr(os, "fchmod"):
        os.fchmod(file, mode)


def _exists(path: str, folder: int | None) -> bool:
    try:
        os.lstat(path, dir_fd=folder)
        return True
    except FileNotFoundError:
        return False


@contextmanager
def _reading(name: str):
    """Failures as InputErrors."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a null character in the path, a closed file
        raise InputError(f"{name}: cannot read ({_reason(error)})") from error


def _read_up_to(file: BinaryIO, count: int) -> bytes:
    """Reads until `count` bytes are there or the end is: a raw file may give less at a time, or None while it waits."""
    pieces = []
    while count and (piece := file.read(min(count, 1 << 24))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _write_all(device, data: bytes) -> None:
    """Write everything to an unbuffered file, which may take less at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[device.write(rest) :]


def _status(path: str) -> os.stat_result | None:
    """What `path` leads to, or None where nothing is there yet. Raises InputError for unusable paths."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{shown(path)}: cannot write ({_reason(error)})") from error


def _refuse_terminal(file) -> None:
    if file.isatty():
        raise UsageError("refusing to write binary data to a terminal; name a file or redirect the output")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
