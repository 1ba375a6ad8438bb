"""One worker: keeps its model warm and does one file at a time. The only module of the package that needs torch.

Files are not grouped: a forward pass over several small pictures at once gives other floats in the last bits
than over each alone (below 208 pixels a side), so that the same file could get other codewords.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
import warnings

from .. import registry
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
    """Opens the model and the stores once; `do` then never raises, whatever the file."""

    def __init__(self, settings: Settings):
        import torch

        torch.set_num_threads(settings.threads)
        self.settings = settings
        self.source, self.destination = open_store(settings.source), open_store(settings.destination)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.codecs = {}
        if settings.command == "encode":
            entry = registry.find_by_name(settings.model, settings.models_dir)
            if entry.hash.hex() != settings.model_hash:
                raise UnsupportedError(f"{self.name}: model '{entry.name}' is another one here")
            self.codec = self._open(entry, encoder=True)

    def do(self, job: dict) -> dict:
        """A job as `Job.as_dict` gives it → facts for the manifest, or "error" and "exit_code". "messages" are
        warnings to show."""
        started, messages = time.monotonic(), []
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                act = {("encode", "image"): self._encode_image, ("decode", "stream"): self._decode}
                facts = act[self.settings.command, job["kind"]](job["source"], job["output"])
            from ..media import VqcodecWarning

            messages = [str(w.message) for w in caught if issubclass(w.category, VqcodecWarning)]
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

    def _encode_image(self, source: str, output: str) -> dict:
        from ..inspection import usual_quality
        from ..media import read_picture

        s = self.settings
        original = self.source.read(source)
        sha256 = hashlib.sha256(original).hexdigest()
        bytes_in = len(original)
        picture = read_picture(original, name=source)
        del original
        targets = {name: getattr(s, name) for name in ("bpp", "psnr", "size")}
        if any(value is not None for value in targets.values()):
            result = self.codec.encode_to_target(picture, **targets, effort=s.effort)
        else:
            result = self.codec.encode(picture, s.quality or usual_quality(self.codec.qualities), effort=s.effort)
        if s.verify:
            self.codec.decode_grids(result.data)
        self.destination.write(output, result.data)
        height, width = picture.rgb.shape[:2]
        return {"source_sha256": sha256, "bytes_in": bytes_in, **_facts(result.data, width, height), "bpp": result.bpp,
                "quality": result.quality, "verified": s.verify, **({"note": result.note} if result.note else {})}

    def _decode(self, source: str, output: str) -> dict:
        from .. import container
        from ..inspection import quality_of
        from ..media import write_picture

        data = self.source.read(source)
        stream = container.unpack(data)
        key = stream.model_id, stream.model_hash
        if key not in self.codecs:
            self.codecs[key] = self._open(registry.find_by_stream(*key, self.settings.models_dir), encoder=False)
        image = write_picture(self.codecs[key].decode(data), self.settings.image_format)
        self.destination.write(output, image)
        return {"source_sha256": hashlib.sha256(data).hexdigest(), "bytes_in": len(data),
                **_facts(image, stream.width, stream.height), "bpp": 8 * len(data) / (stream.width * stream.height),
                "quality": quality_of(stream.quality)}

    def _open(self, entry, encoder: bool):
        from ..codec import Codec

        codec = Codec.open(entry, encoder=encoder)
        if self.settings.gpu:
            codec.decoder = OnDevice(codec.decoder, "cuda")
            codec.encoder = OnDevice(codec.encoder, "cuda") if encoder else None
        return codec


def _facts(data: bytes, width: int, height: int) -> dict:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "width": width, "height": height,
            "pixels": width * height}


def _trim() -> None:
    """Gives freed memory back where the C library can (glibc), so that a worker's size follows its picture."""
    try:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        pass
