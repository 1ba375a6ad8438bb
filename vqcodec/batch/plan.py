"""What there is to do: scan, names, and what the manifest and DST already have."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from . import kinds, names
from .globs import Selection
from .jobs import Failure, Job, Settings, Source
from .manifest import NAME, History
from .stores import Store


@dataclass
class Plan:
    """jobs: to do; complete: (source, output) of former runs; failures: known without work; ignored: files of no
    known kind; collisions: sources whose outputs needed another name."""

    jobs: list[Job] = field(default_factory=list)
    complete: list[tuple[str, str]] = field(default_factory=list)
    failures: list[tuple[str, str | None, Failure]] = field(default_factory=list)
    ignored: int = 0
    collisions: int = 0

    @property
    def files(self) -> int:
        return len(self.jobs) + len(self.complete) + len(self.failures)


@dataclass(frozen=True)
class Rules:
    """The user's choices about which files and under which names. checksum: compare content, not times."""

    selection: Selection = field(default_factory=Selection)
    all_files: bool = False
    keep_extension: bool = False
    force: bool = False
    checksum: bool = False


def make_plan(source: Store, destination: Store, settings: Settings, rules: Rules, history: History) -> Plan:
    """Reads SRC's and DST's listings, never file contents unless `rules.checksum`. Raises InputError."""
    plan = Plan()
    listing = source.scan(rules.selection, destination)
    chosen: list[tuple[Source, str]] = []
    for item in listing.sources:
        kind = _kind(item.path, settings.command, rules.all_files)
        if kind is None or item.path.split("/")[0] == NAME:
            plan.ignored += item.path.split("/")[0] != NAME
        else:
            chosen.append((item, kind))
    for path, message in listing.problems:
        plan.failures.append((path, None, Failure(message)))
    make = names.encoded_names if settings.command == "encode" else \
        lambda path: names.decoded_names(path, settings.extension)
    outputs, plan.collisions = names.resolve(((item.path, *make(item.path)) for item, _ in chosen), rules.keep_extension)
    present = destination.sizes(list(outputs.values()))
    fingerprint = settings.fingerprint()
    for item, kind in chosen:
        output = outputs[item.path]
        record = history.done.get(item.path)
        if record and record.get("output") == output and _complete(
                record, item, present.get(output), fingerprint, settings, source, destination, rules.checksum):
            plan.complete.append((item.path, output))
        elif present.get(output) is not None and output not in history.owned and not rules.force:
            plan.failures.append((item.path, output, Failure(f"{output}: exists; use -f to overwrite")))
        else:
            plan.jobs.append(Job(item, output, kind))
    return plan


def _kind(path: str, command: str, all_files: bool) -> str | None:
    is_stream = kinds.extension_of(path) == f".{kinds.STREAM}"
    if command == "decode":
        return "stream" if is_stream else None
    if is_stream:  # never, so that no output can be a source
        return None
    return kinds.kind_to_encode(path) or ("image" if all_files else None)


def _complete(record: dict, item: Source, size: int | None, fingerprint: dict, settings: Settings,
              source: Store, destination: Store, checksum: bool) -> bool:
    """Whether a "done" line still holds for a source and for the output of `size` bytes in DST."""
    if record.get("settings") != fingerprint or size != record.get("bytes") or settings.verify > record.get("verified", True):
        return False
    if checksum:
        return (_sha256(source, item.path) == record.get("source_sha256")
                and _sha256(destination, record["output"]) == record.get("sha256"))
    return item.size == record.get("source_bytes") and item.version == record.get("source_version")


def _sha256(store: Store, path: str) -> str | None:
    from ..errors import InputError

    try:
        return hashlib.sha256(store.read(path)).hexdigest()
    except InputError:
        return None
