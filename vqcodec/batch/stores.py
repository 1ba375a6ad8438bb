"""Where sources are and outputs go: a local folder, or any fsspec URL. Paths in a store have '/' between parts.

A store lists, reads and writes whole objects, lends and takes large ones as local files, and keeps one append-only
log (see `manifest`). What it writes appears complete or not at all.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InputError, UsageError, shown
from ..fileio import read_input, replace_file, replacing
from .globs import Selection
from .jobs import Source
from .listing import TEMPORARY, Listing, Store

_THROUGH = getattr(os, "O_PATH", os.O_RDONLY)  # folders that may be entered need not be readable


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
        """All files that `selection` takes, sorted by path. Links to files are followed; links to folders too, but each
        folder is visited once: by its own path if that is below this store, else by the first of its links. `leave_out`: a
        store below this one whose files are no sources. Raises InputError where SRC itself cannot be listed."""
        self.check_folder()
        found = Listing()
        apart = None
        if isinstance(leave_out, LocalStore) and os.path.isdir(leave_out.url):
            status = os.stat(leave_out.url)
            own = os.stat(self.url)
            apart = (status.st_dev, status.st_ino) if (status.st_dev, status.st_ino) != (own.st_dev, own.st_ino) else None
        self._walk(selection, apart, found)
        if found.problems and found.problems[0][0] == "":
            raise InputError(f"{shown(self.url)}: {found.problems[0][1]}")
        found.sources.sort(key=lambda source: source.path)
        return found

    def check_folder(self) -> None:
        """Raises InputError where this is not a folder."""
        if not os.path.isdir(self.url):
            reason = "not a folder; for one file use 'vqcodec encode' or 'decode'" if os.path.exists(self.url) \
                else "no such folder"
            raise InputError(f"{shown(self.url)}: {reason}")

    def _walk(self, selection: Selection, apart, found: Listing) -> None:
        pending, links, seen = [""], [], {apart}  # links: a heap of those to folders, for when all others are done
        while pending or links:
            folder = pending.pop() if pending else heapq.heappop(links)
            place = self.full(folder) if folder else self.url
            try:
                status = os.stat(place)
                identity = status.st_dev, status.st_ino
                if identity in seen:
                    continue
                seen.add(identity)
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
                        if row.is_symlink():
                            heapq.heappush(links, path)
                        else:
                            pending.append(path)
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
            raise InputError(str(error).replace(shown(self.full(path)), shown(path), 1)) from error

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
        """Replaces what is there, and keeps its permissions; a link is replaced itself, not what it leads to. Raises
        InputError, also where a folder on the way is a link."""
        with self._writing(path) as (name, folder):
            replace_file(name, data, _file_at(name, folder), TEMPORARY, force=True, folder=folder)

    @contextmanager
    def create(self, path: str):
        """A file to write and to seek in, that becomes the content of `path` at the end; as `write`."""
        with self._writing(path) as (name, folder), \
                replacing(name, _file_at(name, folder), TEMPORARY, force=True, folder=folder) as file:
            yield file

    @contextmanager
    def _writing(self, path: str) -> Iterator[tuple[str, int]]:
        """The name of a file, and a descriptor of its folder, which is made: what others put in its way meanwhile does not
        lead out of this store."""
        *parts, name = path.split("/")
        try:
            os.makedirs(self.url, exist_ok=True)
            folder = os.open(self.url, _THROUGH | os.O_DIRECTORY)
            try:
                for i, part in enumerate(parts):
                    if part in ("", ".", ".."):
                        raise OSError(None, "its path leads out of the folder")
                    try:
                        os.mkdir(part, dir_fd=folder)
                    except FileExistsError:
                        pass
                    if problem := _obstacle(part, folder):
                        raise OSError(None, f"{shown('/'.join(parts[: i + 1]))} {problem}")
                    below = os.open(part, _THROUGH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                    os.close(folder)
                    folder = below
                yield name, folder
            finally:
                os.close(folder)
        except OSError as error:
            raise InputError(f"{shown(self.full(path))}: cannot write ({error.strerror or error})") from error

    def obstacles(self, paths: list[str]) -> dict[str, str]:
        """Those of the paths that cannot be written whatever the permissions, and why."""
        known: dict[str, str | None] = {"": None}

        def of_folder(folder: str) -> str | None:
            if folder not in known:
                above, _, name = folder.rpartition("/")
                problem = "its path leads out of the folder" if name in ("", ".", "..") else of_folder(above)
                if problem is None and (found := _obstacle(self.full(folder))):
                    problem = f"{shown(folder)} {found}"
                known[folder] = problem
            return known[folder]

        found = {path: of_folder(path.rpartition("/")[0]) for path in paths}
        return {path: problem for path, problem in found.items() if problem is not None}

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
            raise InputError(f"{shown(os.path.join(self.url, name))}: cannot write ({_why(error)})") from error

    def read_log(self, name: str) -> Iterator[str]:
        """The lines of a log that may not be there."""
        try:
            with open(os.path.join(self.url, name), encoding="utf-8", errors="replace", opener=_open_log) as file:
                return iter(file.read().split("\n"))
        except FileNotFoundError:
            return iter(())
        except OSError as error:
            raise InputError(f"{shown(os.path.join(self.url, name))}: cannot read ({_why(error)})") from error


class LocalLog:
    """Lines appended to a file, each in one write, the file locked against other runs while it is open.

    `fileno` goes to worker processes too: the lock lasts until the last of them has ended. Raises InputError
    where another run holds it for longer than workers take to notice that their parent died."""

    def __init__(self, place: str, patience: float = 10):
        import fcntl
        import time

        self.file = open(place, "a+b", buffering=0, opener=_open_log)  # noqa: SIM115 (open until `close`)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    self.file.close()
                    raise InputError(f"{shown(place)}: another batch is at work in this folder") from None
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


def _open_log(place: str, flags: int) -> int:
    """For `open`: nothing but a regular file, and that not by way of a link. Raises OSError."""
    descriptor = os.open(place, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "not a regular file")
    return descriptor


def _why(error: OSError) -> str:
    return "it is a link" if error.errno == errno.ELOOP else error.strerror or str(error)


def _file_at(name: str, folder: int) -> os.stat_result | None:
    """The status of a regular file, if there is one."""
    try:
        status = os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _obstacle(place: str, folder: int | None = None) -> str | None:
    """Why what is at a place, if anything, is no folder to write in."""
    try:
        mode = os.lstat(place, dir_fd=folder).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be entered ({error.strerror or error})"
    if stat.S_ISLNK(mode):
        return "is a link, and nothing is written through links"
    return None if stat.S_ISDIR(mode) else "is no folder"
