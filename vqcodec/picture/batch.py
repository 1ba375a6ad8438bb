"""How a worker does a picture."""

from __future__ import annotations

import hashlib

from . import stream as container
from .codec import Codec
from .inspection import quality_of, usual_quality
from .file import read_picture, write_picture

CODEC = Codec


def encode(worker, source: str, output: str) -> dict:
    s, codec = worker.settings, worker.encoders["image"]
    encoding = s.encodings["image"]
    original = worker.source.read(source)
    sha256 = hashlib.sha256(original).hexdigest()
    bytes_in = len(original)
    picture = read_picture(original, name=source)
    del original
    targets = encoding.targets("image")
    if any(value is not None for value in targets.values()):
        result = codec.encode_to_target(picture, **targets, effort=s.effort)
    else:
        result = codec.encode(picture, encoding.quality or usual_quality(codec.qualities), effort=s.effort)
    if s.verify:
        codec.decode_grids(result.data)
    worker.destination.write(output, result.data)
    height, width = picture.rgb.shape[:2]
    return {"source_sha256": sha256, "bytes_in": bytes_in, **_facts(result.data, width, height), "bpp": result.bpp,
            "quality": result.quality, "verified": s.verify, **({"note": result.note} if result.note else {})}


def decode(worker, source: str, output: str) -> dict:
    data = worker.source.read(source)
    stream = container.unpack(data)
    codec = worker.decoder("image", stream.model_id, stream.model_hash)
    image = write_picture(codec.decode(data), worker.settings.formats["image"].name)
    worker.destination.write(output, image)
    return {"source_sha256": hashlib.sha256(data).hexdigest(), "bytes_in": len(data),
            **_facts(image, stream.width, stream.height), "bpp": 8 * len(data) / (stream.width * stream.height),
            "quality": quality_of(stream.quality)}


def _facts(data: bytes, width: int, height: int) -> dict:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "width": width, "height": height,
            "pixels": width * height}
