"""What goes to workers and comes back: plain data that JSON can carry."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import InputError

TARGETS = {"image": ("bpp", "psnr", "size"), "audio": ("kbps", "size")}  # beside quality, of each kind


@dataclass(frozen=True)
class Encoding:
    """How files of one kind are encoded. quality: None with a target, or for the middle of the model's scale."""

    model: str
    model_hash: str = ""
    encoder_hash: str = ""
    quality: float | None = None
    bpp: float | None = None
    psnr: float | None = None
    kbps: float | None = None
    size: int | None = None

    def targets(self, kind: str) -> dict[str, float | None]:
        """The arguments of a codec's `encode_to_target`."""
        return {name: getattr(self, name) for name in TARGETS[kind]}


@dataclass(frozen=True)
class Format:
    """What files of one kind are decoded to. name: as the library that writes it has it; subtype: of sound."""

    extension: str
    name: str
    subtype: str | None = None


@dataclass(frozen=True)
class Settings:
    """What all jobs of a run share; encodings and formats by kind, those that the command needs."""

    command: str  # "encode" or "decode"
    source: str
    destination: str
    encodings: dict[str, Encoding] = field(default_factory=dict)
    formats: dict[str, Format] = field(default_factory=dict)
    effort: int | None = None
    models_dir: str | None = None
    verify: bool = False
    threads: int = 1
    gpu: bool = False

    @classmethod
    def from_dict(cls, values: dict) -> Settings:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**values,
                      "encodings": {kind: Encoding(**value) for kind, value in values["encodings"].items()},
                      "formats": {kind: Format(**value) for kind, value in values["formats"].items()}})

    def fingerprint(self, kind: str) -> dict:
        """All that decides the bytes of outputs of a kind. A file made under another one is not complete."""
        if self.command == "decode":
            made = self.formats[kind]
            subtype = {} if made.subtype is None else {"subtype": made.subtype}
            return {"command": "decode", "format": made.name, **subtype, "gpu": self.gpu}
        encoding = self.encodings[kind]
        choices = {"quality": encoding.quality, **encoding.targets(kind), "effort": self.effort}
        return {"command": "encode", **{name: value for name, value in choices.items() if value is not None},
                "model_hash": encoding.model_hash, "encoder": encoding.encoder_hash, "threads": self.threads,
                "gpu": self.gpu}


@dataclass(frozen=True)
class Source:
    """A file below SRC. version: what changes when the file does (modification time, ETag), None if unknown."""

    path: str
    size: int
    version: str | None


@dataclass(frozen=True)
class Job:
    """One file to do; kind: a name from `kinds`; retried: a worker died over it once."""

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
