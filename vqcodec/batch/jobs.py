"""What goes to workers and comes back: plain data that JSON can carry."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True)
class Settings:
    """What all jobs of a run share. quality: None with a target, or for the middle of the model's scale."""

    command: str  # "encode" or "decode"
    source: str
    destination: str
    quality: float | None = None
    bpp: float | None = None
    psnr: float | None = None
    size: int | None = None
    effort: int | None = None
    model: str | None = None
    model_hash: str = ""
    encoder_hash: str = ""
    models_dir: str | None = None
    extension: str = "png"  # of decoded files
    image_format: str = "PNG"
    verify: bool = False
    threads: int = 1
    gpu: bool = False

    def fingerprint(self) -> dict:
        """All that decides the bytes of outputs. A file made under another one is not complete."""
        if self.command == "decode":
            return {"command": "decode", "format": self.image_format, "gpu": self.gpu}
        targets = {name: getattr(self, name) for name in ("quality", "bpp", "psnr", "size", "effort")}
        return {"command": "encode", **{name: value for name, value in targets.items() if value is not None},
                "model_hash": self.model_hash, "encoder": self.encoder_hash, "threads": self.threads, "gpu": self.gpu}


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
