"""What `encode`, `decode` and `inspect` do with sound. Imports what is slow only where it is needed."""

from __future__ import annotations

import io
import os
import time

import click

from .. import fileio
from ..zoo import registry
from ..sound import stream as sound_container
from .support import echo_json, shown, snapped_quality, warn
from ..errors import CorruptStreamError, UsageError, VqcodecError
from ..indices.quality import SIXTEENTHS


def is_sound(first: bytes) -> bool:
    """Whether the beginning of a file is that of a sound file."""
    from ..sound.file import looks_like_sound

    return looks_like_sound(first)


def open_codec(entry: registry.ModelEntry, encoder: bool = False):
    """The codec of a model; imports torch."""
    from ..sound.codec import AudioCodec

    return AudioCodec.open(entry, encoder=encoder)


def header_of(data: bytes) -> sound_container.SoundHeader:
    return sound_container.peek(data)[0]


def encode(source, data, output, quality, kbps, size, effort, entry, verify, force, as_json, quiet) -> None:
    """`data`: what has been read of standard input."""
    from ..sound.file import SoundReader

    started = time.monotonic()
    reader = SoundReader.open(source if data is None else data, shown(source))
    coder = open_codec(entry, encoder=True)
    note = None
    if kbps is None and size is None:
        packed = io.BytesIO()
        header = coder.encode_stream(reader, packed.write, snapped_quality(quality, coder.qualities), effort=effort)
        encoded = packed.getvalue()
    else:
        result = coder.encode_to_target(reader, kbps=kbps, size=size, effort=effort)
        encoded, note, header = result.data, result.note, header_of(result.data)
    if verify:
        coder.decode_grids(encoded)
    fileio.write_output(output, encoded, force)
    original = len(data) if data is not None else os.path.getsize(source)
    facts = {
        "input": source, "output": output, **_facts(header, len(encoded)), "input_bytes": original, "note": note,
        "verified": verify, "elapsed": round(time.monotonic() - started, 3), "model": entry.name,
        "model_id": entry.id, "model_hash": entry.hash.hex(), "model_rate": coder.rate}
    if as_json:
        echo_json(facts, output)
        return
    if note:
        warn(f"{shown(source)}: {note}")
    if not quiet:
        band = f" of which up to {coder.rate / 2000:g} kHz are kept" if coder.rate < header.rate else ""
        click.echo(f"{shown(source)} -> {shown(output)}: {facts['seconds']:.2f} s, {header.channels} x {header.rate} Hz{band}, "
                   f"{original} -> {len(encoded)} bytes, {facts['kbps']:.2f} kbps, quality {facts['quality']:g}, "
                   f"{'verified, ' if verify else ''}{facts['elapsed']:.1f} s", err=True)


def decode(source, data, output, extension, subtype, conceal, models_dir, force, as_json) -> int:
    """Returns the exit code: that of a corrupt stream where damage was concealed."""
    from ..sound.file import SoundWriter, format_for

    started = time.monotonic()
    header = header_of(data)
    name = f"output.{extension}" if extension else "output.wav" if output == fileio.STDIO else output
    kind = format_for(name)
    entry = registry.find_by_stream(header.model_id, header.model_hash, models_dir)
    stream = open_codec(entry).decode_stream(io.BytesIO(data), conceal=conceal)
    with fileio.output_file(output, force) as file:
        with SoundWriter(file, name, header.rate, header.channels, subtype) as writer:
            for block in stream.blocks():
                writer.write(block)
        size = file.seek(0, os.SEEK_END)
    lost = [[round(part.start, 3), round(part.end, 3)] for part in stream.lost]
    if as_json:
        echo_json({"input": source, "output": output, "format": kind, **_facts(header, len(data)), "input_bytes": len(data),
                   "bytes": size, "lost": lost, "elapsed": round(time.monotonic() - started, 3), "model": entry.name,
                   "model_id": entry.id, "model_hash": entry.hash.hex()}, output)
    for start, end in lost:
        warn(f"{shown(source)}: damaged; silence from {start:.3f} to {end:.3f} s")
    return CorruptStreamError.exit_code if lost else 0


def inspect(source, data, grids, bits, segments, models_dir, force, as_json) -> None:
    header, size = sound_container.peek(data)
    try:
        entry = registry.find_by_stream(header.model_id, header.model_hash, models_dir)
    except VqcodecError:
        if grids or bits or segments:
            raise
        entry = None
    facts = {"input": source, "modality": "audio", "model": entry.name if entry else None,
             "model_id": header.model_id, "model_hash": header.model_hash.hex(), **_facts(header, len(data)),
             "coded_channels": header.coded_channels, "gain_db": round(header.gain / 4 * 20 * 0.30103, 2),
             "header_bytes": size}
    if grids or bits or segments:
        coder = open_codec(entry)
        _draw(coder, data, grids, bits, force)
        if segments:
            facts["chunk_bytes"] = coder.chunk_bytes(data)
    if as_json:
        echo_json(facts, "-" if "-" in (grids, bits) else None)
    else:
        click.echo(_table(facts), err="-" in (grids, bits))


def _facts(header: sound_container.SoundHeader, size: int) -> dict:
    seconds = header.length / header.rate
    return {"seconds": round(seconds, 6), "rate": header.rate, "channels": header.channels, "samples": header.length,
            "quality": 1 + header.quality / SIXTEENTHS, "bytes": size, "kbps": 8 * size / seconds / 1000}


def _table(facts: dict) -> str:
    model = f"model {facts['model_id']}, hash {facts['model_hash']}"
    once = " (all equal, coded once)" if facts["coded_channels"] < facts["channels"] else ""
    lines = [
        f"sound      {facts['seconds']:.3f} s, {facts['channels']} x {facts['rate']} Hz{once}",
        f"quality    {facts['quality']:g}",
        f"model      {facts['model']} ({model})" if facts["model"] else f"model      not installed ({model})",
        f"level      {facts['gain_db']:+.2f} dB",
        f"rate       {facts['kbps']:.3f} kbps", "",
        f"header     {facts['header_bytes']:>10} bytes",
    ]
    lines += [f"chunk {i:<4} {size:>10} bytes" for i, size in enumerate(facts.get("chunk_bytes", ()))]
    return "\n".join([*lines, f"total      {facts['bytes']:>10} bytes"])


def _draw(coder, data: bytes, grids: str | None, bits: str | None, force: bool) -> None:
    """Pictures over time: all index grids, one line each; bits of every latent frame, as columns."""
    import numpy as np

    from ..picture import file as media

    if grids is not None:
        found = coder.decode_grids(data)
        rows = found.reshape(-1, found.shape[2]).astype(np.int64)
        low, span = rows.min(1, keepdims=True), np.maximum(1, np.ptp(rows, 1)[:, None])
        _write_picture(media, grids, ((rows - low) * 255 // span).astype(np.uint8).repeat(2, 0), force)
    if bits is not None:
        spent, height = coder.bits_per_frame(data), 128
        tall = spent / max(spent.max(), 1e-9) * height
        _write_picture(media, bits, (np.arange(height, 0, -1)[:, None] <= tall).astype(np.uint8) * 255, force)


def _write_picture(media, path: str, grey, force: bool) -> None:
    import numpy as np

    if max(grey.shape) > 65000:
        raise UsageError("the recording is too long for a picture")
    picture = media.Picture(np.repeat(grey[:, :, None], 3, axis=2), grey=True)
    fileio.write_output(path, media.write_picture(picture, media.format_for(path)), force)
