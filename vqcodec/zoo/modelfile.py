"""Model folder ⇄ <name>.vqmodel, one file: an uncompressed zip archive, REGISTRY.toml first. Standard library only."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from . import registration, registry
from ..errors import CorruptStreamError, InputError
from ..fileio import ensure_writable, read_input, write_output
from .registry import ENCODER, FILES, REGISTRY, ModelEntry

EXTENSION = ".vqmodel"

_MAX_REGISTRY = 1 << 16  # bytes of REGISTRY.toml within an archive


@dataclass(frozen=True)
class PackedEntry(ModelEntry):
    """A model that is not on disk yet."""

    contents: Mapping[str, bytes] = field(default_factory=dict, repr=False, hash=False)

    def read(self, file: str) -> bytes:
        """As `ModelEntry.read`; that hashes are right has been seen to."""
        if file not in self.sha256:
            raise InputError(f"model '{self.name}' has no {file}")
        return self.contents[file]


def export_model(
    entry: ModelEntry, out: str | os.PathLike, decoder_only: bool = False, force: bool = False
) -> ModelEntry:
    """Write a model as one .vqmodel file ('-': standard output); the same model gives the same bytes.

    Returns the entry as exported. Raises InputError, and CorruptStreamError if the files are damaged.
    """
    ensure_writable(out, force)
    if decoder_only:
        entry = replace(entry, sha256={file: entry.sha256[file] for file in entry.sha256 if file != ENCODER})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        _add_member(archive, REGISTRY, registry.to_toml([entry]).encode("ascii"))
        for file in entry.sha256:
            _add_member(archive, file, entry.read(file))
    write_output(out, packed.getvalue(), force)
    return entry


def import_model(
    path: str | os.PathLike, models_dir: str | os.PathLike | None = None, force: bool = False,
    check: Callable[[ModelEntry], object] | None = None,
) -> ModelEntry:
    """Install a .vqmodel file in `models_dir` (None: the user's folder); all of it or nothing.

    `check` is asked before anything is written, and raises an error of its own for a model that is not sound; the zoo
    itself knows no networks. A model that is there already is returned as it is. An imported one is never the default: its status
    becomes "stable". `force` replaces a model of the same name in that folder, and allows a name or number
    that another model in another folder has, unless streams of the two could not be told apart. Raises
    CorruptStreamError for anything but a model file, InputError for a clash or where files cannot be read or written.
    """
    target = registry.writable_dir(models_dir)
    shown = "standard input" if os.fspath(path) == "-" else os.fspath(path)
    if os.path.isfile(path) and os.path.getsize(path) > (len(FILES) + 1) * registry.MAX_FILE:
        raise CorruptStreamError(f"{shown}: too large for a model file")
    members = _read_archive(read_input(path), shown)
    entry = _entry_of_archive(members, target, shown)
    if check:
        check(PackedEntry(**{f.name: getattr(entry, f.name) for f in fields(entry)}, contents=members))
    entries = registry.read_registry(target, missing_ok=True)
    for other in entries:
        if _same(entry, other) and entry.sha256.items() <= other.sha256.items() and not registry.check(other):
            return other
    for other in (*entries, *(e for e in registry.list_models() if e.path.parent.resolve() != target.resolve())):
        _refuse_clash(entry, other, force)
    if entry.path.exists() and not force and entry.name not in {other.name for other in entries}:
        raise InputError(f"{entry.path}: exists; use -f to replace it")
    del members[REGISTRY]
    registration.install(members, entry, entries)
    return entry


def _same(entry: ModelEntry, other: ModelEntry) -> bool:
    return ((entry.id, entry.name, entry.modality, entry.fingerprint)
            == (other.id, other.name, other.modality, other.fingerprint))


def _refuse_clash(entry: ModelEntry, other: ModelEntry, force: bool) -> None:
    """Raise InputError if installing `entry` would hide or replace the installed model `other`."""
    here = other.path.parent == entry.path.parent
    stays = not (here and other.name == entry.name)
    if stays and (other.id, other.hash) == (entry.id, entry.hash) and other.fingerprint != entry.fingerprint:
        raise InputError(f"streams of model '{entry.name}' could not be told from those of the installed model "
                         f"'{other.name}' in {other.path.parent}: their numbers and hashes are equal, their files are not")
    if other.name != entry.name and other.id == entry.id and (here or not force):
        raise InputError(f"the number {entry.id} of model '{entry.name}' is that of the installed model "
                         f"'{other.name}' in {other.path.parent}")
    if other.name == entry.name and not force:
        loss = sorted(set(other.sha256) - set(entry.sha256)) if here else ()
        if not _same(entry, other):
            raise InputError(f"another model named '{entry.name}' is installed in {other.path.parent}; "
                             "use -f to prefer this one")
        if loss:
            raise InputError(f"model '{entry.name}' is installed with {', '.join(loss)}; use -f to replace it")


def _add_member(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a member whose bytes depend on nothing but its name and content."""
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system = 3
    member.external_attr = 0o644 << 16
    archive.writestr(member, data)


def _read_archive(data: bytes, shown: str) -> dict[str, bytes]:
    """The members of a model file by name. Raises CorruptStreamError unless they are just those expected."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = [member.orig_filename for member in members]
            if len(set(names)) < len(names) or not set(names) <= {REGISTRY, *FILES} or REGISTRY not in names:
                raise ValueError("it holds other files than a model's")
            for member in members:
                limit = _MAX_REGISTRY if member.filename == REGISTRY else registry.most_bytes(member.filename)
                if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
                    raise ValueError(f"{member.filename} is compressed")
                if member.file_size > limit:
                    raise ValueError(f"{member.filename} has more than {limit} bytes")
            if sum(member.file_size for member in members) > len(data):
                raise ValueError("its members overlap")
            return {member.filename: archive.read(member) for member in members}
    except MemoryError:
        raise
    except Exception as error:  # zipfile raises half a dozen types for damaged archives
        raise CorruptStreamError(f"{shown}: damaged, or not a model file ({error})") from error


def _entry_of_archive(members: dict[str, bytes], target: Path, shown: str) -> ModelEntry:
    """The model that an archive holds, as it will be in the folder `target`. Raises CorruptStreamError."""
    entries = registry.parse(members[REGISTRY], target, f"{shown}: {REGISTRY}", CorruptStreamError)
    if len(entries) != 1:
        raise CorruptStreamError(f"{shown}: lists {len(entries)} models instead of one")
    entry = entries[0]
    if set(entry.sha256) != set(members) - {REGISTRY}:
        raise CorruptStreamError(f"{shown}: its list of files does not match the files in it")
    for file, digest in entry.sha256.items():
        if registry.digest(members[file]) != digest:
            raise CorruptStreamError(f"{shown}: {file} is damaged (its SHA-256 is not the listed one)")
    return replace(entry, status="stable") if entry.status == "default" else entry
