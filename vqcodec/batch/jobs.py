"""What goes to workers and comes back: plain data that JSON can carry."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import InputError
from ..filelimits import Limits
from ..medium import OPTIONS, Format, Request

@dataclass(frozen=True)
class Encoding:
    """How files of one kind are encoded. model_hash: the model's fingerprint, encoder_hash: SHA-256 of its encoder, both in
    hexadecimal."""

    model: str
    model_hash: str = ""
    encoder_hash: str = ""
    request: Request = field(default_factory=Request)

    @classmethod
    def from_dict(cls, values: dict) -> Encoding:
        request = {name: tuple(value) if isinstance(value, list) else value for name, value in values["request"].items()}
        return cls(**{**values, "request": Request(**request)})


@dataclass(frozen=True)
class Settings:
    """What all jobs of a run share; encodings and formats by kind, those that the command needs; limits: on each file, but
    for memory, which is the run's."""

    command: str  # "encode" or "decode"
    source: str
    destination: str
    encodings: dict[str, Encoding] = field(default_factory=dict)
    formats: dict[str, Format] = field(default_factory=dict)
    models_dir: str | None = None
    verify: bool = False
    threads: int = 1
    gpu: bool = False
    limits: Limits = Limits(memory=None)

    @classmethod
    def from_dict(cls, values: dict) -> Settings:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**values,
                      "limits": Limits(**values["limits"]),
                      "encodings": {kind: Encoding.from_dict(value) for kind, value in values["encodings"].items()},
                      "formats": {kind: Format(**value) for kind, value in values["formats"].items()}})

    def fingerprint(self, kind: str) -> dict:
        """All that decides the bytes of outputs of a kind. A file made under another one is not complete."""
        if self.command == "decode":
            made = self.formats[kind]
            subtype = {} if made.subtype is None else {"subtype": made.subtype}
            return {"command": "decode", "format": made.name, **subtype, "gpu": self.gpu}
        encoding = self.encodings[kind]
        request = encoding.request
        choices = {"quality": request.quality, **dict([request.target] if request.target else []), "effort": request.effort,
                   "exact": request.exact or None, "strip": list(request.strip) or None,
                   **{name: getattr(request, name) for name in OPTIONS}}
        return {"command": "encode", **{name: value for name, value in choices.items() if value is not None},
                "model_hash": encoding.model_hash, "encoder": encoding.encoder_hash, "threads": self.threads,
                "gpu": self.gpu}


def same_bytes(recorded: object, fingerprint: dict) -> bool:
    """Whether a fingerprint in a manifest stands for the same outputs as one of today. Earlier releases wrote the first 8
    digits of a model's hash only; beside the whole hash of its encoder they tell enough to go on with a batch of theirs."""
    if not isinstance(recorded, dict):
        return False
    whole, old = fingerprint.get("model_hash"), recorded.get("model_hash")
    if whole is not None and isinstance(old, str) and len(old) == 8 and whole.startswith(old):
        recorded = {**recorded, "model_hash": whole}
    return recorded == fingerprint


@dataclass(frozen=True)
class Source:
    """A file below SRC. version: what changes when the file does (modification time, ETag), None if unknown."""

    path: str
    size: int
    version: str | None


@dataclass(frozen=True)
class Job:
    """One file to do; kind: name of a modality; retried: a worker died over it once."""

    source: Source
    output: str
    kind: str
    retried: bool = False

    def as_dict(self) -> dict:
        return {"source": self.source.path, "output": self.output, "kind": self.kind}


@dataclass(frozen=True)
class Failure:
    """Why a source has no output."""

    message: str
    exit_code: int = InputError.exit_code
