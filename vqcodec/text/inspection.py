"""What a .vq file of text says of itself. Needs neither NumPy nor the stream's model."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from . import stream
from .stream import METHODS


@dataclass(frozen=True)
class TextInspection:
    """length: bytes of text; bpc: bits of the stream for each; lanes: of the longest block; sizes in bytes; methods: how many
    blocks are stored, deflated and coded."""

    length: int
    bpc: float
    lanes: int
    blocks: int
    methods: dict[str, int]
    model_id: int
    model_hash: str
    header_bytes: int
    metadata_bytes: int
    bytes: int


def inspect(data: bytes) -> TextInspection:
    """Raises CorruptStreamError or UnsupportedError for what is not a complete stream."""
    header, sealed = stream.peek(data)
    found = stream.blocks(data)
    methods = {name: sum(block.method == i for block in found) for i, name in enumerate(METHODS)}
    return TextInspection(
        header.length, 8 * len(data) / header.length, max(len(b.parts) for b in found), len(found),
        {name: count for name, count in methods.items() if count}, header.model_id, header.model_hash.hex(), sealed.size,
        header.metadata_length, len(data))


def facts(data: bytes) -> dict:
    return {"modality": "text", **asdict(inspect(data))}


def table(facts: dict) -> str:
    """The facts as text."""
    model = f"model {facts['model_id']}, hash {facts['model_hash']}"
    methods = ", ".join(f"{count} {name}" for name, count in facts["methods"].items())
    lines = [
        f"text       {facts['length']} bytes",
        f"model      {facts['model']} ({model})" if facts["model"] else f"model      not installed ({model})",
        f"blocks     {facts['blocks']} ({methods}), {facts['lanes']} lane{'s' * (facts['lanes'] != 1)}",
        f"rate       {facts['bpc']:.3f} bits per byte of text", "",
        f"header     {facts['header_bytes']:>10} bytes",
    ]
    if facts["metadata_bytes"]:
        lines.append(f"metadata   {facts['metadata_bytes']:>10} bytes")
    lines += [f"block {i:<4} {size:>10} bytes" for i, size in enumerate(facts.get("block_bytes", ()))]
    return "\n".join([*lines, f"total      {facts['bytes']:>10} bytes"])
