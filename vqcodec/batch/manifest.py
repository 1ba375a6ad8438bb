"""The manifest in DST: JSON lines, only ever appended to, so that a run can be killed at any instant.

    {"status": "planned", "outputs": [...]}    names that this batch will write; nothing was there before
    {"status": "done", "source": ..., ...}     the output is complete
    {"status": "failed", "source": ..., ...}   there is no output, and why

The last line about a source counts. A torn last line, left by a crash, is ignored and ended.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from .jobs import Source

NAME = "vqcodec-manifest.jsonl"
PLANNED, DONE, FAILED = "planned", "done", "failed"
_PER_LINE = 1000


@dataclass
class History:
    """What former runs left: the last line about each source, and all outputs that are this batch's to write."""

    done: dict[str, dict] = field(default_factory=dict)
    owned: set[str] = field(default_factory=set)


class Manifest:
    """A store's log of lines with a meaning. The store sees to it that lines survive."""

    def __init__(self, log):
        self.log = log
        self.history = _replay(log.lines())

    def plan(self, outputs: list[str]) -> None:
        """Claim outputs that no run has claimed yet; on disk when this returns."""
        new = [output for output in outputs if output not in self.history.owned]
        for start in range(0, len(new), _PER_LINE):
            self._append({"status": PLANNED, "outputs": new[start : start + _PER_LINE]})
        self.history.owned.update(new)
        self.log.flush()

    def done(self, source: Source, output: str, fingerprint: dict, facts: dict) -> None:
        self._append({"status": DONE, "source": source.path, "output": output, "source_bytes": source.size,
                      "source_version": source.version, **facts, "settings": fingerprint})

    def failed(self, path: str, output: str | None, error: str, exit_code: int) -> None:
        self._append({"status": FAILED, "source": path, "output": output, "error": error, "exit_code": exit_code})

    def close(self) -> None:
        self.log.close()

    def _append(self, record: dict) -> None:
        self.log.append(json.dumps(record) + "\n")


def _replay(lines) -> History:
    history = History()
    for line in lines:
        try:
            record = json.loads(line)
            status = record["status"]
            if status == PLANNED:
                history.owned.update(map(str, record["outputs"]))
            elif status == DONE:
                history.done[record["source"]] = record
                history.owned.add(record["output"])
            elif status == FAILED:
                history.done.pop(record["source"], None)
        except (ValueError, KeyError, TypeError, RecursionError):  # torn, or not ours
            continue
    return history


def read_history(store) -> History:
    """The history of a store, without locking or creating anything."""
    return _replay(store.read_log(NAME))
