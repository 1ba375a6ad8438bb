"""A store on any file system that fsspec knows. Pictures are read and put whole, in memory; sound, which may be long, by
way of temporary files of this machine."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import InputError, UsageError, cause, shown
from .globs import Selection
from .jobs import Source
from .listing import TEMPORARY, Listing, inside

_AT_ONCE = 1000  # objects whose beginnings are asked for together

# File systems where a put may be seen half done, and which rename. Elsewhere a put is all or nothing.
_RENAMING = frozenset({"sftp", "ssh", "smb", "hdfs", "webhdfs", "ftp", "arrow_hdfs"})


class RemoteStore:
    """Everything below an fsspec URL. Raises UsageError where fsspec or what it needs is missing."""

    def __init__(self, url: str):
        try:
            import fsspec
        except ImportError:
            raise UsageError(f"{url}: URLs need fsspec: pip install '.[cluster]'") from None
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise UsageError(f"{url}: {error}") from None
        except Exception as error:
            raise InputError(f"{url}: {cause(error)}") from error
        self.url, self.root = url.rstrip("/"), self.root.rstrip("/")
        protocol = self.fs.protocol
        self.renames = not _RENAMING.isdisjoint((protocol,) if isinstance(protocol, str) else protocol)

    def full(self, path: str) -> str:
        return f"{self.root}/{path}" if self.root else path

    # --- sources -----------------------------------------------------------------------------------------

    def scan(self, selection: Selection, leave_out=None) -> Listing:
        """As LocalStore.scan; there are no links here."""
        found = Listing()
        try:
            self.fs.invalidate_cache()
            rows = self.fs.find(self.root, detail=True)
            if not rows and not self.fs.isdir(self.root):
                raise FileNotFoundError("no such folder")
        except Exception as error:
            raise InputError(f"{self.url}: cannot list ({cause(error)})") from error
        apart = leave_out.root if isinstance(leave_out, RemoteStore) and type(leave_out.fs) is type(self.fs) else None
        for place, info in sorted(rows.items()):
            path = place[len(self.root) :].lstrip("/") if place.startswith(self.root) else place
            below = apart is not None and inside(place, apart) and inside(apart, self.root)
            if path and not below and selection.takes_below(path) and not path.rpartition("/")[2].startswith(TEMPORARY):
                found.sources.append(Source(path, int(info.get("size") or 0), _version(info)))
        return found

    def read(self, path: str) -> bytes:
        """Raises InputError, also for an empty object; its message names the path in the store."""
        try:
            data = self.fs.cat_file(self.full(path))
        except Exception as error:
            raise InputError(f"{shown(path)}: cannot read ({cause(error)})") from error
        if not data:
            raise InputError(f"{shown(path)}: empty")
        return data

    def open(self, path: str):
        return self.fs.open(self.full(path), "rb")

    def heads(self, paths: list[str], count: int) -> dict[str, bytes]:
        """As LocalStore.heads; many at a time, where the file system can do that."""
        heads = {}
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            places = [self.full(path) for path in some]
            try:
                found = self.fs.cat_ranges(places, [0] * len(some), [count] * len(some), on_error="return")
            except Exception:  # whatever it is, reading the whole object will say it
                found = [b""] * len(some)
            heads |= {path: bytes(head[:count]) if isinstance(head, bytes) else b"" for path, head in zip(some, found)}
        return heads

    @contextmanager
    def local(self, path: str) -> Iterator[str]:
        """As LocalStore.local; the copy is there for the time of the context. Raises InputError."""
        with tempfile.TemporaryDirectory(prefix="vqcodec-") as folder:
            copy = os.path.join(folder, "source")
            try:
                self.fs.get_file(self.full(path), copy)
            except Exception as error:
                raise InputError(f"{shown(path)}: cannot read ({cause(error)})") from error
            yield copy

    # --- outputs -----------------------------------------------------------------------------------------

    def write(self, path: str, data: bytes) -> None:
        """Raises InputError."""
        self._put(path, lambda place: self.fs.pipe_file(place, data))

    @contextmanager
    def create(self, path: str):
        """As LocalStore.create; the file is put when it is complete."""
        with tempfile.TemporaryDirectory(prefix="vqcodec-") as folder:
            copy = os.path.join(folder, "output")
            try:
                with open(copy, "x+b") as file:
                    yield file
            except OSError as error:
                raise InputError(f"{copy}: cannot write ({error.strerror or error})") from error
            self._put(path, lambda place: self.fs.put_file(copy, place))

    def _put(self, path: str, put: Callable[[str], object]) -> None:
        """`put(place)` writes a whole object. Raises InputError."""
        place = self.full(path)
        try:
            if not self.renames:
                put(place)
                return
            folder, _, _ = place.rpartition("/")
            self.fs.makedirs(folder, exist_ok=True)
            temporary = f"{folder}/{TEMPORARY}{secrets.token_hex(8)}.tmp"
            put(temporary)
            if self.fs.exists(place):
                self.fs.rm_file(place)
            self.fs.mv(temporary, place)
        except Exception as error:
            raise InputError(f"{self.url}/{shown(path)}: cannot write ({cause(error)})") from error

    def sizes(self, paths: list[str]) -> dict[str, int]:
        """Sizes in bytes of those paths where anything is."""
        wanted = set(paths)
        return {path: size for path, size in self._below().items() if path in wanted} if wanted else {}

    def obstacles(self, paths: list[str]) -> dict[str, str]:
        """None are known before writing."""
        return {}

    def remove_temporaries(self, log_name: str) -> int:
        stale = [path for path in self._below() if path.rpartition("/")[2].startswith(TEMPORARY)]
        for path in stale:
            self.fs.rm_file(self.full(path))
        return len(stale)

    def open_log(self, name: str) -> RemoteLog:
        return RemoteLog(self, name)

    def read_log(self, name: str) -> Iterator[str]:
        for path in sorted(self._below()):
            if path.startswith(name + "/"):
                yield from self.read(path).decode("utf-8", "replace").splitlines()

    def check_folder(self) -> None:
        """Nothing to check: `scan` does."""

    def _below(self) -> dict[str, int]:
        try:
            self.fs.invalidate_cache()
            rows = self.fs.find(self.root, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise InputError(f"{self.url}: cannot list ({cause(error)})") from error
        return {place[len(self.root) :].lstrip("/"): int(info.get("size") or 0) for place, info in rows.items()}


class RemoteLog:
    """Objects cannot be appended to: each run has parts of its own below `name`, the last one written again as
    it grows, at most once in `period` seconds. What a crash loses of it is done again."""

    def __init__(self, store: RemoteStore, name: str, period: float = 2.0, lines_per_part: int = 1000):
        self.store, self.name, self.period, self.lines_per_part = store, name, period, lines_per_part
        # Parts sort by the time of their run; no clock runs back by as much as a run takes to begin.
        self.run, self.part = f"{time.time_ns():020d}-{secrets.token_hex(4)}", 0
        self.pending: list[str] = []
        self.written = time.monotonic()

    def lines(self) -> Iterator[str]:
        return self.store.read_log(self.name)

    def append(self, line: str) -> None:
        self.pending.append(line)
        if len(self.pending) >= self.lines_per_part or time.monotonic() - self.written > self.period:
            self.flush()

    def flush(self) -> None:
        if self.pending:
            self.store.write(f"{self.name}/{self.run}-{self.part:06d}.jsonl", "".join(self.pending).encode())
        self.written = time.monotonic()
        if len(self.pending) >= self.lines_per_part:
            self.pending, self.part = [], self.part + 1

    def close(self) -> None:
        self.flush()


def _version(info: dict) -> str | None:
    """What tells that an object has changed, by whatever name the file system has for it."""
    for name in ("ETag", "etag", "md5", "mtime", "LastModified", "last_modified", "updated", "modified", "created"):
        if info.get(name) is not None:
            return str(info[name])
    return None
