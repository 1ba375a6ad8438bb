"""Models into the registry of a folder: all of a model, or nothing. Standard library only.

Both functions replace files atomically, but expect no other process to change the same folder meanwhile.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path

from . import registry
from ..errors import InputError, UsageError
from ..fileio import write_output
from .registry import FILES, HASHED_FILES, ModelEntry


def register(
    folder: str | os.PathLike,
    name: str,
    models_dir: str | os.PathLike,
    *,
    id: int | None = None,
    status: str = "experimental",
    modality: str | None = None,
) -> ModelEntry:
    """Enter a freshly made model into models_dir/REGISTRY.toml, its files copied from `folder` if not in place.

    Without `id` or `modality` a model keeps what it has; a new one gets the next free id (`next_id`) and is for images. A new
    default makes the old one of its modality "stable". Raises UsageError for bad arguments, for an id of another
    model, and for a change of what a model decodes unless its status so far is "experimental"; InputError where
    files are missing.
    """
    folder, models_dir = Path(folder), Path(models_dir)
    entries = registry.read_registry(models_dir, missing_ok=True)
    old = next((entry for entry in entries if entry.name == name), None)
    if id is None:
        id = old.id if old else next_id(models_dir)
    if modality is None:
        modality = old.modality if old else "image"
    contents = {file: registry.read_file(folder / file, registry.most_bytes(file)) for file in FILES
                if file in HASHED_FILES or (folder / file).exists()}
    try:
        sha256 = {file: registry.digest(data) for file, data in contents.items()}
        entry = ModelEntry(id, name, status, models_dir / name, sha256, modality)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if any(other.id == id and other.name != name for other in entries):
        raise UsageError(f"{models_dir}: the id {id} belongs to another model")
    reserved = registry.read_reserved(models_dir)
    if id in reserved or name in reserved.values():
        raise UsageError(f"{models_dir}: id or name are those of a model that was never released")
    if old and old.id != id:
        raise UsageError(f"model '{name}' has the id {old.id}, for ever")
    changed = old and (old.fingerprint, old.modality) != (entry.fingerprint, entry.modality)
    if changed and old.status != "experimental":
        raise UsageError(f"model '{name}' is {old.status}: streams depend on it. Choose another name")
    in_place = entry.path.is_dir() and entry.path.resolve() == folder.resolve()
    install(None if in_place else contents, entry, entries)
    return entry


def check_new(name: str, models_dir: Path, modality: str) -> None:
    """Whether `register` would take a model of that name, to be asked before one is made. Raises UsageError for a bad name and
    that of a model that streams depend on, InputError for a folder that cannot be made or written to."""
    try:
        ModelEntry(0, name, "experimental", models_dir / name, dict.fromkeys(HASHED_FILES, "0" * 64), modality)
    except ValueError as error:
        raise UsageError(str(error)) from None
    old = next((entry for entry in registry.read_registry(models_dir, missing_ok=True) if entry.name == name), None)
    if old and old.status != "experimental":
        raise UsageError(f"model '{name}' is {old.status}: streams depend on it. Choose another name")
    if name in registry.read_reserved(models_dir).values():
        raise UsageError(f"'{name}' is the name of a model that was never released. Choose another one")
    there = next(folder for folder in (models_dir.absolute(), *models_dir.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise InputError(f"{models_dir}: cannot write ({there} is not a folder)")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{models_dir}: cannot write (no permission in {there})")


def next_id(models_dir: Path) -> int:
    """The number after the highest in use, of those that ship with the package in its own folder, else of those for users'
    models: in `models_dir` and in the folders where models are looked for. Raises UsageError where there is none left."""
    packaged = registry.packaged_dir()
    own = packaged is not None and models_dir.resolve() == packaged.resolve()
    first, last = (1, registry.FIRST_USER_ID - 1) if own else (registry.FIRST_USER_ID, registry.MAX_ID)
    folders = {models_dir, registry.user_dir(), packaged, Path(os.environ.get(registry.ENV) or models_dir)} - {None}
    known = (entry.id for folder in folders for entry in registry.read_registry(folder, missing_ok=True))
    free = 1 + max((number for number in known if first <= number <= last), default=first - 1)
    if free > last:
        raise UsageError(f"{models_dir}: no number above the highest in use is left for a new model; give one")
    return free


def install(contents: dict[str, bytes] | None, entry: ModelEntry, entries: tuple[ModelEntry, ...]) -> None:
    """Put files (None: they are in place) at entry.path and the entry among `entries` of the registry there.

    Afterwards all of it is in place, or everything is as it was. Raises InputError.
    """
    models_dir, token = entry.path.parent, secrets.token_hex(8)
    staged, aside = models_dir / f".vqcodec-{token}.new", models_dir / f".vqcodec-{token}.old"
    demoted = (replace(other, status="stable")
               if (entry.status, other.status) == ("default",) * 2 and entry.modality == other.modality else other
               for other in entries if other.name != entry.name)
    reserved = {id: name for id, name in registry.read_reserved(models_dir).items() if id != entry.id and name != entry.name}
    text = registry.to_toml(sorted([*demoted, entry], key=lambda item: item.id), reserved).encode("ascii")
    complete = False
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        if contents is not None:
            staged.mkdir()
            for file, data in contents.items():
                (staged / file).write_bytes(data)
            complete = True
            if entry.path.exists():
                entry.path.rename(aside)
            staged.rename(entry.path)
        write_output(models_dir / registry.REGISTRY, text, force=True)
    except BaseException as error:  # KeyboardInterrupt too
        if complete and not staged.exists():
            entry.path.rename(staged)
        if aside.exists():
            aside.rename(entry.path)
        shutil.rmtree(staged, ignore_errors=True)
        if isinstance(error, OSError):
            raise InputError(f"{models_dir}: cannot write ({error.strerror or error})") from error
        raise
    shutil.rmtree(aside, ignore_errors=True)
