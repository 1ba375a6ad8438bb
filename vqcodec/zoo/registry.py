"""Models: (id, name, hash) ⇄ folders of files. Listing, finding, checking. Standard library only.

    models folder/REGISTRY.toml      one [[model]] table per model: id, name, modality, status, SHA-256
                                     of each file; one [[reserved]] table (id, name) per model that was
                                     never released: nothing else gets its id or name
    models folder/<name>/            config.toml  codebook.safetensors  decoder.safetensors  prior.safetensors
                                     and, not always, encoder.safetensors and card.md

`registration` enters a model into such a folder; `modelfile` packs it into one file, and installs it from one.

A stream names its model by number (0..65535, never given to another model) and by hash. Numbers from 32768 on are for the
models that users train; those that ship with the package have lower ones.

Model hash (normative). Take the SHA-256 of each of the four files that decoding depends on, in this order:
codebook.safetensors, config.toml, decoder.safetensors, prior.safetensors. For each write one line of ASCII:
the digest as 64 lowercase hexadecimal digits, two spaces, the file's name, a line feed. The fingerprint of the model is
the SHA-256 of these four lines, its hash the first 4 bytes of that. So a copy without encoder has the same hash, and

    sha256sum codebook.safetensors config.toml decoder.safetensors prior.safetensors | sha256sum

prints the fingerprint. Streams have room for the hash only; two models with one hash can be made in a second, so whatever
compares models compares fingerprints.

Models are looked for in the folder that the caller names, the one in $VQCODEC_MODELS_DIR, the user's folder
(where imports go) and the one that ships with the package, in this order.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from ..errors import CorruptStreamError, InputError, UnknownModelError, UnsupportedError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

REGISTRY = "REGISTRY.toml"
ENV = "VQCODEC_MODELS_DIR"
HASHED_FILES = ("codebook.safetensors", "config.toml", "decoder.safetensors", "prior.safetensors")
ENCODER = "encoder.safetensors"
FILES = (*HASHED_FILES, ENCODER, "card.md")  # in the order of archives
STATUSES = ("default", "stable", "experimental", "retired")
MAX_ID = 65535
FIRST_USER_ID = 32768  # lower ones are those of models that ship with the package
MAX_FILE = 256 << 20  # bytes of one file of a model
MAX_TEXT = 1 << 16  # bytes of one that is read by people too: config.toml, card.md

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_MODALITY = re.compile(r"[a-z]{1,16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEADING = """\
# The models in this folder. An id names one model for ever: it is never changed and never given to another.
# modality: "image" (if it is not given), "audio", or another that this or a later release knows.
# status: "default" (at most one of each modality), "stable", "experimental" or "retired" (decodes, no longer encodes).
# The hashes are SHA-256 of each file; vqcodec/zoo/registry.py defines the model hash that streams carry.
# Reserved are ids and names of models that were never released.
"""


@dataclass(frozen=True)
class ModelEntry:
    """One model: a row of REGISTRY.toml, and the folder of its files. Raises ValueError for bad fields."""

    id: int
    name: str
    status: str
    path: Path
    sha256: Mapping[str, str] = field(repr=False, hash=False)  # file name → 64 hexadecimal digits
    modality: str = "image"

    def __post_init__(self):
        if type(self.id) is not int or not 0 <= self.id <= MAX_ID:
            raise ValueError(f"a model's id must be an integer in 0..{MAX_ID}, not {self.id!r}")
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(f"bad model name {self.name!r}: only a-z, 0-9 and, between them, '.', '_', '-'")
        if self.status not in STATUSES:
            raise ValueError(f"model '{self.name}': status must be one of {', '.join(STATUSES)}")
        if not isinstance(self.modality, str) or not _MODALITY.fullmatch(self.modality):
            raise ValueError(f"model '{self.name}': modality must be 1 to 16 letters a-z, such as image or audio")
        for file, digest in self.sha256.items():
            if file not in FILES:
                raise ValueError(f"model '{self.name}': unknown file {file!r}")
            if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
                raise ValueError(f"model '{self.name}': bad SHA-256 of {file}")
        missing = [file for file in HASHED_FILES if file not in self.sha256]
        if missing:
            raise ValueError(f"model '{self.name}': no SHA-256 of {', '.join(missing)}")
        files = {file: self.sha256[file] for file in FILES if file in self.sha256}
        object.__setattr__(self, "sha256", MappingProxyType(files))

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that tell this model from any other; the module's docstring defines them."""
        lines = "".join(f"{self.sha256[file]}  {file}\n" for file in HASHED_FILES)
        return hashlib.sha256(lines.encode("ascii")).digest()

    @property
    def hash(self) -> bytes:
        """The 4 bytes by which streams name this model."""
        return self.fingerprint[:4]

    @property
    def has_encoder(self) -> bool:
        return ENCODER in self.sha256

    def require_encoder(self) -> None:
        """Raises UnsupportedError for a decoder-only model."""
        if not self.has_encoder:
            raise UnsupportedError(f"model '{self.name}' is decoder-only here: it cannot encode")

    def read(self, file: str) -> bytes:
        """Content of one of the model's files, its hash checked.

        Raises InputError (not part of the model, or unreadable), CorruptStreamError (not what was registered).
        """
        if file not in self.sha256:
            raise InputError(f"model '{self.name}' has no {file}")
        data = read_file(self.path / file, most_bytes(file))
        if digest(data) != self.sha256[file]:
            raise CorruptStreamError(f"{self.path / file}: damaged or changed (not the registered SHA-256)")
        return data


# Where models are.

def user_dir() -> Path | None:
    """The user's folder for models; it need not exist. None where nobody says where that is, as in containers without
    HOME and an entry for the user: paths that are not absolute would lead to whatever folder is the current one."""
    name = {"nt": "LOCALAPPDATA"}.get(os.name, "" if sys.platform == "darwin" else "XDG_DATA_HOME")
    base = os.environ.get(name, "") if name else ""
    if os.path.isabs(base):
        return Path(base, "vqcodec", "models")
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        return None
    within = ("AppData/Local" if os.name == "nt" else "Library/Application Support" if sys.platform == "darwin"
              else ".local/share")
    return Path(home, within, "vqcodec", "models")


def writable_dir(models_dir: str | os.PathLike | None = None) -> Path:
    """Where models are installed: `models_dir`, or the user's folder. Raises InputError where there is none."""
    folder = user_dir() if models_dir is None else Path(models_dir)
    if folder is None:
        raise InputError("this user has no home folder to install models in: give --models-dir, or set HOME")
    return folder


def packaged_dir() -> Path | None:
    """The folder of models that came with the package: inside an installed one, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    candidates = (package / "models", package.parent / "models")
    return next((folder for folder in candidates if (folder / REGISTRY).is_file()), None)


def search_path(models_dir: str | os.PathLike | None = None) -> tuple[Path, ...]:
    """Folders to look in, in order. Raises InputError if `models_dir` or $VQCODEC_MODELS_DIR holds no models."""
    folders = [Path(given) for given in (models_dir, os.environ.get(ENV)) if given]
    for folder in folders:
        if not (folder / REGISTRY).is_file():
            raise InputError(f"{folder}: no models here ({REGISTRY} not found)")
    folders += [folder for folder in (user_dir(), packaged_dir()) if folder and (folder / REGISTRY).is_file()]
    return tuple({folder.resolve(): folder for folder in folders})


# Finding them.

def list_models(models_dir: str | os.PathLike | None = None) -> tuple[ModelEntry, ...]:
    """All models in search order; a name or an id may occur in several folders."""
    return tuple(entry for folder in search_path(models_dir) for entry in read_registry(folder))


def find_by_name(name: str | None = None, models_dir: str | os.PathLike | None = None,
                 modality: str | None = "image") -> ModelEntry:
    """The first model of that name. No name: the first whose status is "default", or else the only one there is, of
    the modality. With a name, None stands for any modality.

    Raises UnknownModelError, and UnsupportedError for a model of another modality.
    """
    entries = list_models(models_dir)
    names = ", ".join(dict.fromkeys(entry.name for entry in entries)) or "none"
    if name is not None:
        found = [entry for entry in entries if entry.name == name]
        if not found and name in _reserved(models_dir).values():
            raise UnknownModelError(f"model '{name}' was never released (installed: {names})")
        if not found:
            raise UnknownModelError(f"model '{name}' is not installed (installed: {names})")
        if modality not in (None, found[0].modality):
            raise UnsupportedError(f"model '{name}' is one of {found[0].modality}, not of {modality}")
        return found[0]
    entries = [entry for entry in entries if entry.modality == modality]
    names = ", ".join(dict.fromkeys(entry.name for entry in entries))
    found = [entry for entry in entries if entry.status == "default"] or entries
    if not found:
        raise UnknownModelError(f"no model of {modality} is installed; 'vqcodec models import FILE' installs one")
    if found[0].status != "default" and len(found) > 1:
        raise UnknownModelError(f"none of the installed models of {modality} is the default; choose one of: {names}")
    return found[0]


def find_by_stream(
    model_id: int, model_hash: bytes, models_dir: str | os.PathLike | None = None
) -> ModelEntry:
    """The model that a stream names by its number and its 4 bytes of hash. Raises UnknownModelError, also where that is
    said of two models: which one the stream was made by, its bytes do not tell."""
    known = [entry for entry in list_models(models_dir) if entry.id == model_id]
    fitting = [entry for entry in known if entry.hash == model_hash]
    for entry in fitting:
        if entry.fingerprint != fitting[0].fingerprint:
            first, second = (f"'{e.name}' in {e.path.parent} ({e.fingerprint.hex()})" for e in (fitting[0], entry))
            raise UnknownModelError(f"the stream fits two models that are installed, {first} and {second}: "
                                    "remove the one that it was not made by")
    if fitting:
        return fitting[0]
    wanted = f"model {model_id} with the hash {model_hash.hex()}"
    remedy = "on a machine that has it run 'vqcodec models export', then here 'vqcodec models import FILE'"
    if not known and model_id in (reserved := _reserved(models_dir)):
        raise UnknownModelError(f"model '{reserved[model_id]}' was never released: its streams need the trial version of this "
                                "package that made them")
    if not known:
        raise UnknownModelError(f"the stream needs {wanted}, which is not installed; {remedy}")
    others = ", ".join(f"'{entry.name}' with the hash {entry.hash.hex()}" for entry in known)
    raise UnknownModelError(f"the stream needs {wanted}, but the installed model {model_id} is another one "
                            f"under that number ({others}); {remedy}")


def unknown_modality(entry: ModelEntry) -> UnsupportedError:
    """The error of whoever was to open a model of a medium that there is nothing for."""
    return UnsupportedError(f"model '{entry.name}' is one of {entry.modality}, which this release does not know")


def check(entry: ModelEntry) -> tuple[str, ...]:
    """What is wrong with a model's files on disk; empty if each one is what was registered."""
    problems = []
    for file in entry.sha256:
        try:
            entry.read(file)
        except (InputError, CorruptStreamError) as error:
            problems.append(str(error))
    return tuple(problems)


# Their files.

def read_registry(folder: Path, missing_ok: bool = False) -> tuple[ModelEntry, ...]:
    """The models in folder/REGISTRY.toml. Raises InputError if it is missing, unreadable or makes no sense."""
    file = folder / REGISTRY
    if missing_ok and not file.exists():
        return ()
    return parse(read_file(file), folder, str(file), InputError)


def read_reserved(folder: Path) -> dict[int, str]:
    """The names, by their ids, of models that were never released, in folder/REGISTRY.toml if there is one. Raises as
    `read_registry`."""
    file = folder / REGISTRY
    return _parse(read_file(file), folder, str(file), InputError)[1] if file.exists() else {}


def _reserved(models_dir: str | os.PathLike | None) -> dict[int, str]:
    return {id: name for folder in reversed(search_path(models_dir)) for id, name in read_reserved(folder).items()}


def parse(text: bytes, folder: Path, source: str, error_type: type[Exception]) -> tuple[ModelEntry, ...]:
    """The models in the text of a REGISTRY.toml. Raises `error_type` where it makes no sense."""
    return _parse(text, folder, source, error_type)[0]


def _parse(text: bytes, folder: Path, source: str, error_type: type[Exception]) -> tuple[tuple[ModelEntry, ...], dict[int, str]]:
    try:
        document = tomllib.loads(text.decode("utf-8"))
        rows, kept = document.pop("model", []), document.pop("reserved", [])
        if document or not isinstance(rows, list) or not isinstance(kept, list):
            raise ValueError("nothing but [[model]] and [[reserved]] tables may be in it")
        entries = tuple(_entry_of_row(row, folder) for row in rows)
        reserved = dict(_reserved_of_row(row) for row in kept)
        count = len(entries) + len(kept)
        if not count == len({*reserved, *(e.id for e in entries)}) == len({*reserved.values(), *(e.name for e in entries)}):
            raise ValueError("two models share a name or an id")
        defaults = [entry.modality for entry in entries if entry.status == "default"]
        if len(defaults) > len(set(defaults)):
            raise ValueError("two models of one modality are the default")
        return entries, reserved
    except (ValueError, RecursionError) as error:  # TOML and UTF-8 errors are ValueErrors
        raise error_type(f"{source}: {error}") from None


def _entry_of_row(row, folder: Path) -> ModelEntry:
    keys = {"id", "name", "status", "sha256"}
    if not isinstance(row, dict) or set(row) - {"modality"} != keys or not isinstance(row["sha256"], dict):
        raise ValueError("a model is a table of id, name, status, perhaps modality and, itself a table, sha256")
    return ModelEntry(path=folder / str(row["name"]), **row)


def _reserved_of_row(row) -> tuple[int, str]:
    if not isinstance(row, dict) or set(row) != {"id", "name"} or type(row["id"]) is not int or not isinstance(row["name"], str):
        raise ValueError("a reserved model is a table of id and name")
    if not 0 <= row["id"] <= MAX_ID or not _NAME.fullmatch(row["name"]):
        raise ValueError("bad id or name of a reserved model")
    return row["id"], row["name"]


def to_toml(entries, reserved: Mapping[int, str] = MappingProxyType({})) -> str:
    """Text of a REGISTRY.toml; no value in it needs escapes."""
    tables = [f'\n[[reserved]]\nid = {id}\nname = "{name}"\n' for id, name in sorted(reserved.items())]
    for entry in entries:
        hashes = "".join(f'"{file}" = "{digest}"\n' for file, digest in entry.sha256.items())
        modality = "" if entry.modality == "image" else f'modality = "{entry.modality}"\n'
        tables.append(f'\n[[model]]\nid = {entry.id}\nname = "{entry.name}"\nstatus = "{entry.status}"\n{modality}'
                      f"[model.sha256]\n{hashes}")
    return _HEADING + "".join(tables)


def most_bytes(file: str) -> int:
    """What one of a model's files may have."""
    return MAX_FILE if file.endswith(".safetensors") else min(MAX_TEXT, MAX_FILE)


def read_file(path: Path, most: int = MAX_FILE) -> bytes:
    """Content of a file, which may be empty, up to so many bytes. Raises InputError."""
    try:
        if path.stat().st_size > most:
            raise InputError(f"{path}: more than {most} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read ({error.strerror or error})") from error


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
