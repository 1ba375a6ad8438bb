"""How a worker does a recording: file to file, in memory that does not grow with its length."""

from __future__ import annotations

import hashlib
import os

from .codec import AudioCodec, kbps
from ..errors import InputError
from ..picture.inspection import quality_of, usual_quality
from .file import SoundReader, SoundWriter
from .stream import SoundHeader, read_header

CODEC = AudioCodec
_PIECE = 1 << 20


def encode(worker, source: str, output: str) -> dict:
    s, codec = worker.settings, worker.encoders["audio"]
    encoding, note = s.encodings["audio"], None
    targets = encoding.targets("audio")
    with worker.source.local(source) as path:
        reader = SoundReader.open(path, source)
        with _opened(path, source) as original:
            bytes_in, sha256 = _digest(original)
        with worker.destination.create(output) as file:
            if any(value is not None for value in targets.values()):
                result = codec.encode_to_target(reader, **targets, effort=s.effort)
                file.write(result.data)
                note = result.note
            else:
                quality = encoding.quality or usual_quality(codec.qualities)
                codec.encode_stream(reader, file.write, quality, effort=s.effort)
            if s.verify:
                file.seek(0)
                for _ in codec.decode_stream(file).grids():
                    pass
            file.seek(0)
            header = read_header(file)
            size, digest = _digest(file)
    return {"source_sha256": sha256, "bytes_in": bytes_in, "bytes": size, "sha256": digest, **_facts(header, size),
            "verified": s.verify, **({"note": note} if note else {})}


def decode(worker, source: str, output: str) -> dict:
    made = worker.settings.formats["audio"]
    with worker.source.local(source) as path, _opened(path, source) as file:
        bytes_in, sha256 = _digest(file)
        file.seek(0)
        header = read_header(file)
        file.seek(0)
        stream = worker.decoder("audio", header.model_id, header.model_hash).decode_stream(file)
        with worker.destination.create(output) as out:
            with SoundWriter(out, f"output.{made.extension}", header.rate, header.channels, made.subtype) as writer:
                for block in stream.blocks():
                    writer.write(block)
            size, digest = _digest(out)
    return {"source_sha256": sha256, "bytes_in": bytes_in, "bytes": size, "sha256": digest, **_facts(header, bytes_in)}


def _facts(header: SoundHeader, stream_bytes: int) -> dict:
    return {"duration": round(header.length / header.rate, 6), "samples": header.length, "rate": header.rate,
            "channels": header.channels, "kbps": kbps(stream_bytes, header), "quality": quality_of(header.quality)}


def _opened(path: str, name: str):
    try:
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"{name}: cannot read ({error.strerror or error})") from error


def _digest(file) -> tuple[int, str]:
    """(size in bytes, SHA-256) of a whole file."""
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return file.seek(0, os.SEEK_END), digest.hexdigest()
