"""What all stores share: what they answer to, what a scan finds, how their temporary files are named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from .globs import Selection
from .jobs import Source

TEMPORARY = ".vqcodec-batch-"  # how the names of this command's temporary files begin


@dataclass
class Listing:
    """What a scan found. problems: (path, message) of folders and files that cannot be read at all."""

    sources: list[Source] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


class Store(Protocol):
    """`stores.open_store` makes one from a path or a URL."""

    url: str

    def scan(self, selection: Selection, leave_out: Store | None) -> Listing: ...
    def read(self, path: str) -> bytes: ...
    def open(self, path: str): ...
    def heads(self, paths: list[str], count: int) -> dict[str, bytes]: ...
    def local(self, path: str): ...
    def write(self, path: str, data: bytes) -> None: ...
    def create(self, path: str): ...
    def sizes(self, paths: list[str]) -> dict[str, int]: ...
    def obstacles(self, paths: list[str]) -> dict[str, str]: ...
    def remove_temporaries(self, log_name: str) -> int: ...
    def open_log(self, name: str): ...
    def read_log(self, name: str) -> Iterator[str]: ...
    def check_folder(self) -> None: ...


def inside(path: str, folder: str) -> bool:
    """Whether one URL or absolute path lies strictly below another."""
    return PurePosixPath(folder) in PurePosixPath(path).parents
