"""path or '-' ⇄ bytes: whole inputs in, whole outputs out, never a half-written file.

A new output is written beside its destination and renamed over it when complete, so that the old file stays
intact whatever goes wrong. Devices and pipes are written in place. Symbolic links are followed, not replaced.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
import tempfile
from contextlib import contextmanager, nullcontext

from .errors import InputError, UsageError

STDIO = "-"


def read_input(path: str | os.PathLike) -> bytes:
    """Whole content of a file, or of standard input for '-'.

    Raises InputError: missing, a directory, no permission, empty, or any other failure to read.
    """
    path = os.fspath(path)
    name = "standard input" if path == STDIO else path
    try:
        if path == STDIO:
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise InputError(f"{name}: cannot read ({_reason(error)})") from error
    if not data:
        raise InputError(f"{name}: empty")
    return data


def first_bytes(path: str | os.PathLike, count: int = 64) -> bytes:
    """The beginning of a file. Raises as `read_input`."""
    try:
        with open(path, "rb") as file:
            data = file.read(count)
    except (OSError, ValueError) as error:
        raise InputError(f"{os.fspath(path)}: cannot read ({_reason(error)})") from error
    if not data:
        raise InputError(f"{os.fspath(path)}: empty")
    return data


def ensure_writable(path: str | os.PathLike, force: bool = False) -> None:
    """Fail now, not after minutes of work, if `write_output` could not write to `path`.

    Raises InputError: exists and not `force`, a directory, directory missing or not writable;
    UsageError: '-' with standard output at a terminal. Creates and changes nothing.
    """
    path = os.fspath(path)
    if path == STDIO:
        _refuse_terminal(sys.stdout)
        return
    status = _status(path)
    if status is not None:
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: is a directory")
        if not stat.S_ISREG(status.st_mode):
            if not os.access(path, os.W_OK):
                raise InputError(f"{path}: cannot write (Permission denied)")
            return
        if not force:
            raise InputError(f"{path}: exists; use -f to overwrite")
    directory = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(directory):
        raise InputError(f"{path}: cannot write (no directory {directory})")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"{path}: cannot write (no permission in {directory})")


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
        name = "standard output" if path == STDIO else path
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
        name = "standard output" if path == STDIO else path
        raise InputError(f"{name}: cannot write ({_reason(error)})") from error


def replace_file(target: str, data: bytes, status: os.stat_result | None, prefix: str = ".vqcodec-",
                 force: bool = False) -> None:
    """Put `data` at `target`, as `replacing` does."""
    with replacing(target, status, prefix, force) as file:
        file.write(data)


@contextmanager
def replacing(target: str, status: os.stat_result | None, prefix: str = ".vqcodec-", force: bool = False):
    """A temporary file, open to write, in the directory of `target`, whose name begins with `prefix` and which takes
    the place of `target` at the end.

    status: of the file that is replaced, whose permissions are kept; without it `force` tells whether one may
    be there. Raises OSError."""
    temporary = os.path.join(os.path.dirname(target), f"{prefix}{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "x+b") as file:  # not mkstemp: its files ignore the umask
            yield file
            file.flush()
            os.fsync(file.fileno())
        if status is not None:
            os.chmod(temporary, stat.S_IMODE(status.st_mode))
        elif not force and os.path.lexists(target):
            raise FileExistsError("it appeared meanwhile; use -f to overwrite")
        os.replace(temporary, target)
    except BaseException:  # KeyboardInterrupt too must leave nothing behind
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise


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
        raise InputError(f"{path}: cannot write ({_reason(error)})") from error


def _refuse_terminal(file) -> None:
    if file.isatty():
        raise UsageError("refusing to write binary data to a terminal; name a file or redirect the output")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
