"""Where sources are and outputs go: a local folder, or any fsspec URL. Paths in a store have '/' between parts.

A store lists, reads and writes whole objects, lends and takes large ones as local files, and keeps one append-only
log (see `manifest`). What it writes appears complete or not at all.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from ..errors import InputError, UsageError
from ..fileio import read_input, replace_file, replacing
from .globs import Selection
from .jobs import Source

TEMPORARY = ".vqcodec-batch-"  # how the names of this command's temporary files begin


@dataclass
class Listing:
    """What a scan found. problems: (path, message) of folders and files that cannot be read at all."""

    sources: list[Source] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


class Store(Protocol):
    """`open_store` makes one from a path or a URL."""

    url: str

    def scan(self, selection: Selection, leave_out: Store | None) -> Listing: ...
    def read(self, path: str) -> bytes: ...
    def open(self, path: str): ...
    def heads(self, paths: list[str], count: int) -> dict[str, bytes]: ...
    def local(self, path: str): ...
    def write(self, path: str, data: bytes) -> None: ...
    def create(self, path: str): ...
    def sizes(self, paths: list[str]) -> dict[str, int]: ...
    def remove_temporaries(self, log_name: str) -> int: ...
    def open_log(self, name: str): ...
    def read_log(self, name: str) -> Iterator[str]: ...
    def check_folder(self) -> None: ...


def open_store(url: str) -> Store:
    """Raises UsageError for a URL without fsspec installed, or of an unknown protocol."""
    scheme = url.partition("://")[0] if "://" in url else None
    if scheme in (None, "file"):
        return LocalStore(url if scheme is None else url.partition("://")[2])
    from .remote import RemoteStore

    return RemoteStore(url)


class LocalStore:
    """A folder."""

    def __init__(self, root: str):
        if not root:
            raise UsageError("the path of a folder is empty")
        self.url = os.path.abspath(root)

    def full(self, path: str) -> str:
        return os.path.join(self.url, *path.split("/"))

    # --- sources -----------------------------------------------------------------------------------------

    def scan(self, selection: Selection, leave_out: Store | None = None) -> Listing:
        """All files that `selection` takes, sorted by path. Links to files are followed; links to folders too,
        unless they lead to a folder that the path to them has already passed. `leave_out`: a store below this
        one whose files are no sources. Raises InputError where SRC itself cannot be listed."""
        self.check_folder()
        found = Listing()
        apart = None
        if isinstance(leave_out, LocalStore) and os.path.isdir(leave_out.url):
            status = os.stat(leave_out.url)
            own = os.stat(self.url)
            apart = (status.st_dev, status.st_ino) if (status.st_dev, status.st_ino) != (own.st_dev, own.st_ino) else None
        self._walk("", (), selection, apart, found)
        if found.problems and found.problems[0][0] == "":
            raise InputError(f"{self.url}: {found.problems[0][1]}")
        found.sources.sort(key=lambda source: source.path)
        return found

    def check_folder(self) -> None:
        """Raises InputError where this is not a folder."""
        if not os.path.isdir(self.url):
            reason = "not a folder; for one file use 'vqcodec encode' or 'decode'" if os.path.exists(self.url) \
                else "no such folder"
            raise InputError(f"{self.url}: {reason}")

    def _walk(self, folder: str, above: tuple, selection: Selection, apart, found: Listing) -> None:
        pending = [(folder, above)]
        while pending:
            folder, above = pending.pop()
            place = self.full(folder) if folder else self.url
            try:
                status = os.stat(place)
                identity = status.st_dev, status.st_ino
                if identity in above or identity == apart:
                    continue
                with os.scandir(place) as entries:
                    rows = list(entries)
            except OSError as error:
                found.problems.append((folder, f"cannot list ({error.strerror or error})"))
                continue
            for row in rows:
                path = f"{folder}/{row.name}" if folder else row.name
                try:
                    is_folder = row.is_dir()
                except OSError:  # a link to itself
                    is_folder = False
                if is_folder:
                    if selection.enters(path):
                        pending.append((path, (*above, identity)))
                elif selection.takes(path) and not row.name.startswith(TEMPORARY):
                    self._add(path, row.path, found)

    def _add(self, path: str, place: str, found: Listing) -> None:
        try:
            status = os.stat(place)
        except OSError as error:
            found.problems.append((path, f"cannot read ({error.strerror or error})"))
            return
        if not stat.S_ISREG(status.st_mode):
            found.problems.append((path, "neither a file nor a folder"))
            return
        found.sources.append(Source(path, status.st_size, str(status.st_mtime_ns)))

    def read(self, path: str) -> bytes:
        """Raises InputError, also for an empty file; its message names the path in the store."""
        try:
            return read_input(self.full(path))
        except InputError as error:
            raise InputError(str(error).replace(self.full(path), path, 1)) from error

    def open(self, path: str):
        return open(self.full(path), "rb")

    def heads(self, paths: list[str], count: int) -> dict[str, bytes]:
        """The first `count` bytes of each file, b"" of those that cannot be read."""
        heads = dict.fromkeys(paths, b"")
        for path in paths:
            try:
                with open(self.full(path), "rb", buffering=0) as file:
                    heads[path] = file.read(count)
            except OSError:
                continue
        return heads

    @contextmanager
    def local(self, path: str) -> Iterator[str]:
        """The path of a local file with the content of `path`."""
        yield self.full(path)

    # --- outputs -----------------------------------------------------------------------------------------

    def write(self, path: str, data: bytes) -> None:
        """Replaces what is there; a link is replaced itself, not what it leads to. Raises InputError."""
        place = self.full(path)
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            replace_file(place, data, None, TEMPORARY, force=True)
        except OSError as error:
            raise InputError(f"{place}: cannot write ({error.strerror or error})") from error

    @contextmanager
    def create(self, path: str):
        """A file to write and to seek in, that becomes the content of `path` at the end; as `write`."""
        place = self.full(path)
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with replacing(place, None, TEMPORARY, force=True) as file:
                yield file
        except OSError as error:
            raise InputError(f"{place}: cannot write ({error.strerror or error})") from error

    def sizes(self, paths: list[str]) -> dict[str, int]:
        """Sizes in bytes of those paths where anything is; -1 for what is not a file."""
        sizes = {}
        for path in paths:
            try:
                status = os.lstat(self.full(path))
            except OSError:
                continue
            sizes[path] = status.st_size if stat.S_ISREG(status.st_mode) else -1
        return sizes

    def remove_temporaries(self, log_name: str) -> int:
        """Removes what killed runs left; the caller holds the log, so that no other run is at work here. A folder
        below with a log of its own belongs to another batch and is left alone."""
        removed = 0
        for folder, folders, files in os.walk(self.url):
            folders[:] = [name for name in folders if not os.path.exists(os.path.join(folder, name, log_name))]
            for name in files:
                if name.startswith(TEMPORARY) and name.endswith(".tmp"):
                    os.unlink(os.path.join(folder, name))
                    removed += 1
        return removed

    def open_log(self, name: str) -> LocalLog:
        try:
            os.makedirs(self.url, exist_ok=True)
            return LocalLog(os.path.join(self.url, name))
        except OSError as error:
            raise InputError(f"{os.path.join(self.url, name)}: cannot write ({error.strerror or error})") from error


    def read_log(self, name: str) -> Iterator[str]:
        """The lines of a log that may not be there."""
        try:
            with open(os.path.join(self.url, name), encoding="utf-8", errors="replace") as file:
                return iter(file.read().split("\n"))
        except FileNotFoundError:
            return iter(())
        except OSError as error:
            raise InputError(f"{os.path.join(self.url, name)}: cannot read ({error.strerror or error})") from error


class LocalLog:
    """Lines appended to a file, each in one write, the file locked against other runs while it is open.

    `fileno` goes to worker processes too: the lock lasts until the last of them has ended. Raises InputError
    where another run holds it for longer than workers take to notice that their parent died."""

    def __init__(self, place: str, patience: float = 10):
        import fcntl
        import time

        self.file = open(place, "a+b", buffering=0)  # noqa: SIM115 (open until `close`)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    self.file.close()
                    raise InputError(f"{place}: another batch is at work in this folder") from None
                time.sleep(0.05)
        size = self.file.seek(0, os.SEEK_END)
        if size:
            self.file.seek(size - 1)
            if self.file.read(1) != b"\n":
                self.file.write(b"\n")  # ends a torn line

    def fileno(self) -> int:
        return self.file.fileno()

    def lines(self) -> Iterator[str]:
        self.file.seek(0)
        data = self.file.readall().decode("utf-8", "replace")
        return iter(data.split("\n"))

    def append(self, line: str) -> None:
        self.file.write(line.encode())

    def flush(self) -> None:
        os.fsync(self.file.fileno())

    def close(self) -> None:
        self.flush()
        self.file.close()


def inside(path: str, folder: str) -> bool:
    """Whether one URL or absolute path lies strictly below another."""
    return PurePosixPath(folder) in PurePosixPath(path).parents
