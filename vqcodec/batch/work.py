"""One worker: keeps its models warm and does one file at a time, as the module of its kind (`pictures`, `sounds`) says.
These modules are the only ones of the package that need torch.

Files are not grouped: a forward pass over several small pictures at once gives other floats in the last bits
than over each alone (below 208 pixels a side), so that the same file could get other codewords.
"""

from __future__ import annotations

import os
import socket
import time
import warnings

from ..zoo import registry
from ..errors import InputError, UnsupportedError, VqcodecError, one_line
from ..process import peak_memory
from .jobs import Settings
from .stores import open_store

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
            if entry.hash.hex() != encoding.model_hash:
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
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                act = getattr(_module(job["kind"]), self.settings.command)
                facts = act(self, job["source"], job["output"])
            messages = [str(w.message) for w in caught if w.category.__module__.partition(".")[0] == "vqcodec"]
        except VqcodecError as error:
            facts = {"error": one_line(error), "exit_code": error.exit_code}
        except MemoryError:
            facts = {"error": "not enough memory", "exit_code": InputError.exit_code}
        except Exception as error:
            facts = {"error": one_line(f"unexpected {type(error).__name__}: {error}"), "exit_code": 1}
        if facts.get("pixels", _TRIM_PIXELS) >= _TRIM_PIXELS:
            _trim()
        return {**facts, "seconds": round(time.monotonic() - started, 4), "worker": self.name,
                "peak_memory": peak_memory() or 0, "messages": messages}

    def _open(self, kind: str, entry: registry.ModelEntry, encoder: bool):
        codec = _module(kind).CODEC.open(entry, encoder=encoder)
        if self.settings.gpu:
            codec.decoder = OnDevice(codec.decoder, "cuda")
            codec.encoder = OnDevice(codec.encoder, "cuda") if encoder else None
        return codec


def _module(kind: str):
    """What does the work of a kind."""
    if kind == "audio":
        from ..sound import batch as sounds

        return sounds
    from ..picture import batch as pictures

    return pictures


def _trim() -> None:
    """Gives freed memory back where the C library can (glibc), so that a worker's size follows its picture."""
    try:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        pass
