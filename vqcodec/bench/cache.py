"""Finished points on disk, found by the content that they follow from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from ..fileio import write_output

_VERSION = 1  # of what an entry means; another number makes all older entries unknown


class Cache:
    """A folder of small JSON files. What cannot be read, or is not what was written, is as good as absent."""

    def __init__(self, folder: Path):
        self.folder = folder

    @staticmethod
    def key(**content) -> str:
        text = json.dumps({"cache": _VERSION, **content}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def get(self, key: str) -> dict | None:
        try:
            entry = json.loads((self.folder / f"{key}.json").read_text("utf-8"))
            body = entry["body"]
            return body if entry["check"] == _check(key, body) else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def put(self, key: str, body: dict) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{key}.json"
        text = json.dumps({"check": _check(key, body), "body": body})
        with contextlib.suppress(FileExistsError):
            write_output(os.fspath(path), text.encode(), force=True)


def _check(key: str, body: dict) -> str:
    return hashlib.sha256((key + json.dumps(body, sort_keys=True)).encode()).hexdigest()[:16]
