"""What there is to do: scan, names, and what the manifest and DST already have."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from .. import medium
from ..errors import InputError, VqcodecError, shown
from . import names
from .globs import Selection
from .jobs import Failure, Job, Settings, Source, same_bytes
from .listing import Store
from .manifest import NAME, History

STREAM = ".vq"
HEAD = 4096  # bytes that tell what a file is
# Extensions that people expect to be taken, and why they are not where no library here reads them.
_REASONS = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC needs the extra 'heif'"),
    **dict.fromkeys((".m4a", ".m4b", ".aac", ".mp4a", ".wma", ".ac3"), "AAC and the like need the extra 'av'"),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw"),
                    "raw photographs are not developed"),
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"), "video is not coded"),
}


@dataclass(frozen=True)
class Ignored:
    """A file of no kind that the command takes."""

    source: str
    reason: str


@dataclass
class Plan:
    """jobs: to do; complete: (source, output) of former runs; failures: known without work; ignored: files of no
    known kind; collisions: sources whose outputs needed another name."""

    jobs: list[Job] = field(default_factory=list)
    complete: list[tuple[str, str]] = field(default_factory=list)
    failures: list[tuple[str, str | None, Failure]] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    collisions: int = 0

    def ignored_by_extension(self) -> list[tuple[int, str, str]]:
        """(how many, extension, why), the most first."""
        counts = Counter((medium.extension_of(file.source), file.reason) for file in self.ignored)
        return sorted(((count, *which) for which, count in counts.items()), key=lambda row: (-row[0], row[1]))

    @property
    def files(self) -> int:
        return len(self.jobs) + len(self.complete) + len(self.failures)


@dataclass(frozen=True)
class Rules:
    """The user's choices about which files and under which names. checksum: compare content, not times; refused:
    kinds that cannot be encoded as the user wants, and why."""

    selection: Selection = field(default_factory=Selection)
    all_files: bool = False
    keep_extension: bool = False
    force: bool = False
    checksum: bool = False
    refused: dict[str, Failure] = field(default_factory=dict)


def make_plan(source: Store, destination: Store, settings: Settings, rules: Rules, history: History) -> Plan:
    """Reads SRC's and DST's listings, and the first bytes of files whose kind their names do not tell: streams, and
    those that only `rules.all_files` takes. Whole files only with `rules.checksum`. Raises InputError."""
    plan = Plan()
    listing = source.scan(rules.selection, destination)
    sources = [item for item in listing.sources if item.path.split("/")[0] != NAME]
    found = _kinds(source, [item.path for item in sources], settings.command, rules.all_files)
    chosen = [(item, found[item.path]) for item in sources if item.path in found]
    plan.ignored = [Ignored(item.path, _reason(item.path, settings.command)) for item in sources if item.path not in found]
    for path, message in listing.problems:
        plan.failures.append((path, None, Failure(message)))
    both = [(item.path, *_names(item.path, kind, settings)) for item, kind in chosen]
    outputs, plan.collisions = names.resolve(both, rules.keep_extension)
    present = destination.sizes(list(outputs.values()))
    obstacles = destination.obstacles(list(outputs.values()))
    fingerprints = {kind: settings.fingerprint(kind) for kind in set(found.values()) - set(rules.refused)}
    for item, kind in chosen:
        output = outputs[item.path]
        if kind in rules.refused:
            plan.failures.append((item.path, output, rules.refused[kind]))
            continue
        record = history.done.get(item.path)
        if record and record.get("output") == output and _complete(
                record, item, present.get(output), fingerprints[kind], settings, source, destination, rules.checksum):
            plan.complete.append((item.path, output))
        elif present.get(output) is not None and output not in history.owned and not rules.force:
            plan.failures.append((item.path, output, Failure(f"{shown(output)}: exists; use -f to overwrite")))
        elif output in obstacles:
            plan.failures.append((item.path, output, Failure(f"{shown(output)}: cannot write ({obstacles[output]})")))
        else:
            plan.jobs.append(Job(item, output, kind))
    return plan


def _reason(path: str, command: str) -> str:
    """Why a file is ignored."""
    extension = medium.extension_of(path)
    if command == "decode":
        return "no .vq file"
    if extension == STREAM:
        return "encoded already"
    return _REASONS.get(extension, "unknown extension" if extension else "no extension")


def _kinds(source: Store, paths: list[str], command: str, all_files: bool) -> dict[str, str]:
    """The kinds of those paths that the command takes."""
    streams, others = [], []
    for path in paths:
        (streams if medium.extension_of(path) == STREAM else others).append(path)
    if command == "decode":
        return {path: _kind_of_stream(head) for path, head in source.heads(streams, HEAD).items()}
    # Streams never, so that no output can be a source.
    known = {path: kind.modality for path in others if (kind := medium.of_extension(path)) is not None}
    doubtful = frozenset().union(*(kind.also for kind in medium.media()))
    unknown = [path for path in others if medium.extension_of(path) in doubtful or (all_files and path not in known)]
    return known | {path: medium.of_head(head).modality for path, head in source.heads(unknown, HEAD).items()}


def _kind_of_stream(head: bytes) -> str:
    """What is none is given to the first medium: whoever decodes it will say what is wrong."""
    try:
        return medium.of_stream(head).modality
    except VqcodecError:
        return medium.media()[0].modality


def _names(path: str, kind: str, settings: Settings) -> tuple[str, str]:
    if settings.command == "encode":
        return names.encoded_names(path)
    return names.decoded_names(path, settings.formats[kind].extension)


def _complete(record: dict, item: Source, size: int | None, fingerprint: dict, settings: Settings,
              source: Store, destination: Store, checksum: bool) -> bool:
    """Whether a "done" line still holds for a source and for the output of `size` bytes in DST."""
    unverified = settings.verify and not record.get("verified", True)
    if not same_bytes(record.get("settings"), fingerprint) or size != record.get("bytes") or unverified:
        return False
    if checksum:
        return (_sha256(source, item.path) == record.get("source_sha256")
                and _sha256(destination, record["output"]) == record.get("sha256"))
    return item.size == record.get("source_bytes") and item.version == record.get("source_version")


def _sha256(store: Store, path: str) -> str | None:
    try:
        return hashlib.sha256(store.read(path)).hexdigest()
    except InputError:
        return None
