"""One worker: keeps its models warm and does one file at a time, as its medium says. This is the only module of the package
that needs torch.

Files are not grouped: a forward pass over several small pictures at once gives other floats in the last bits
than over each alone (below 208 pixels a side), so that the same file could get other codewords.
"""

from __future__ import annotations

import hashlib
import io
import os
import socket
import time
import warnings
from contextlib import contextmanager

from .. import filelimits, medium
from ..zoo import registry
from ..errors import InputError, UnsupportedError, VqcodecError, one_line, out_of_memory, shown
from ..fileio import Source
from ..process import peak_memory
from .jobs import Settings
from .stores import open_store

_PIECE = 1 << 20
_TRIM_PIXELS = 1 << 20  # above this the memory of a picture is given back to the system at once


class OnDevice:
    """A network that works on another device, between tensors of the CPU."""

    def __init__(self, network, device: str):
        self.network, self.device = network.to(device), device

    def __call__(self, *tensors):
        return self.network(*(tensor.to(self.device) for tensor in tensors)).cpu()


class Worker:
    """Opens the models and the stores once; `do` then never raises, whatever the file."""

    def __init__(self, settings: Settings):
        import torch

        torch.set_num_threads(settings.threads)
        self.settings = settings
        self.source, self.destination = open_store(settings.source), open_store(settings.destination)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.encoders, self.decoders = {}, {}
        for kind, encoding in settings.encodings.items():
            entry = registry.find_by_name(encoding.model, settings.models_dir, kind)
            if (entry.fingerprint.hex(), entry.sha256.get(registry.ENCODER)) != (encoding.model_hash, encoding.encoder_hash):
                raise UnsupportedError(f"{self.name}: model '{entry.name}' is another one here")
            self.encoders[kind] = self._open(kind, entry, encoder=True)

    def decoder(self, kind: str, model_id: int, model_hash: bytes):
        """The codec of a stream's model. Raises UnknownModelError."""
        key = kind, model_id, model_hash
        if key not in self.decoders:
            entry = registry.find_by_stream(model_id, model_hash, self.settings.models_dir)
            self.decoders[key] = self._open(kind, entry, encoder=False)
        return self.decoders[key]

    def do(self, job: dict) -> dict:
        """A job as `Job.as_dict` gives it → facts for the manifest, or "error" and "exit_code". "messages" are
        warnings to show."""
        started, messages = time.monotonic(), []
        try:
            with filelimits.within(self.settings.limits), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                facts = (self._encode if self.settings.command == "encode" else self._decode)(
                    medium.of_modality(job["kind"]), job["source"], job["output"])
            messages = [str(w.message) for w in caught if w.category.__module__.partition(".")[0] == "vqcodec"]
        except VqcodecError as error:
            facts = {"error": one_line(error), "exit_code": error.exit_code}
        except Exception as error:
            reason = "not enough memory" if out_of_memory(error) else one_line(f"unexpected {type(error).__name__}: {error}")
            facts = {"error": reason, "exit_code": InputError.exit_code}
        if facts.get("pixels", _TRIM_PIXELS) >= _TRIM_PIXELS:
            _trim()
        return {**facts, "seconds": round(time.monotonic() - started, 4), "worker": self.name,
                "peak_memory": peak_memory() or 0, "messages": messages}

    def _encode(self, kind: medium.Medium, path: str, output: str) -> dict:
        codec, request = self.encoders[kind.modality], self.settings.encodings[kind.modality].request
        with self._input(kind, path) as source:
            digested = _digested(source)
            samples = kind.read(source, request)
            if not kind.reads_pieces:
                source.forget()
            with self._output(kind, output) as file:
                made = kind.encode(codec, samples, request, file.write)
                if self.settings.verify:
                    file.seek(0)
                    kind.verify(codec, file)
                size, digest = _digest(file)
        return {**digested, **made.facts, "bytes": size, "sha256": digest, "verified": self.settings.verify,
                **({"note": made.note} if made.note else {})}

    def _decode(self, kind: medium.Medium, path: str, output: str) -> dict:
        with self._input(kind, path) as source:
            digested = _digested(source)
            header = kind.header(source.head)
            filelimits.check(kind.extent(source.head, self.settings.formats[kind.modality]), source.size)
            codec = self.decoder(kind.modality, header.model_id, header.model_hash)
            with self._output(kind, output) as file:
                made = kind.decode(codec, source, self.settings.formats[kind.modality], file)
                size, digest = _digest(file)
        return {**digested, **made.facts, "bytes": size, "sha256": digest}

    @contextmanager
    def _input(self, kind: medium.Medium, path: str):
        """A source; of what is read in pieces a file of this machine, else its bytes."""
        if not kind.reads_pieces:
            yield Source.of_bytes(self.source.read(path), path)
            return
        with self.source.local(path) as place:
            try:
                source = Source.open(place)
            except InputError as error:
                raise InputError(str(error).replace(shown(place), shown(path), 1)) from error
            source.name = shown(path)
            yield source

    @contextmanager
    def _output(self, kind: medium.Medium, path: str):
        """A file that becomes the output at the end."""
        if kind.reads_pieces:
            with self.destination.create(path) as file:
                yield file
            return
        file = io.BytesIO()
        yield file
        self.destination.write(path, file.getvalue())

    def _open(self, kind: str, entry: registry.ModelEntry, encoder: bool):
        codec = medium.of_modality(kind).open(entry, encoder=encoder, **({"on_torch": True} if self.settings.gpu else {}))
        if self.settings.gpu and hasattr(codec, "decoder"):
            codec.decoder = OnDevice(codec.decoder, "cuda")
            codec.encoder = OnDevice(codec.encoder, "cuda") if encoder else None
        return codec


def _digested(source: Source) -> dict:
    with source.open_file() as file:
        size, digest = _digest(file)
    return {"source_sha256": digest, "bytes_in": size}


def _digest(file) -> tuple[int, str]:
    """(size in bytes, SHA-256) of a whole file."""
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return file.seek(0, os.SEEK_END), digest.hexdigest()


def _trim() -> None:
    """Gives freed memory back where the C library can (glibc), so that a worker's size follows its picture."""
    try:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        pass
