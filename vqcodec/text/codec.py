"""Composes the stages for text: bytes ⇄ blocks ⇄ bits of lanes ⇄ a stream. NumPy alone, both ways."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import CorruptStreamError, InputError, UnsupportedError, UsageError
from ..zoo.config import from_dict, parse_toml
from ..zoo.registry import ModelEntry
from . import blocks, stream
from .hashing import Learnt
from .stream import CODED, DEFLATED, STORED, Block, TextHeader
from .tables import Tables, from_tensors

MODALITY, KIND = "text", "context mixing"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class TextModelConfig:
    """config.toml."""

    kind: str


@dataclass(frozen=True)
class TextCodec:
    """A loaded model of text. Thread-safe: nothing changes after `open`.

        codec = TextCodec.open(registry.find_by_name(modality="text"))
        data = codec.encode("What was to be shown.".encode())
        assert codec.decode(data) == b"What was to be shown."
    """

    entry: ModelEntry
    tables: Tables
    qualities: int = 1

    @classmethod
    def open(cls, entry: ModelEntry) -> TextCodec:
        """Raises UnsupportedError for a model of another modality, InputError and CorruptStreamError for damaged files."""
        if entry.modality != MODALITY:
            raise UnsupportedError(f"model '{entry.name}' is one of {entry.modality}, not of {MODALITY}")
        kind = from_dict(TextModelConfig, parse_toml(entry.read("config.toml"), entry.name), complete=True).kind
        if kind != KIND:
            raise UnsupportedError(f"model '{entry.name}' is of the kind '{kind}', which this release does not know")
        return cls(entry, load(entry))

    @cached_property
    def learnt(self) -> Learnt:
        return Learnt(self.tables)

    def encode(self, text: bytes, metadata: bytes | None = None, progress: Progress = lambda text: None) -> bytes:
        """Any bytes → a stream; what is no text is deflated or stored. Raises UsageError for no bytes, or too many."""
        data = stream.pack_header(TextHeader(self.entry.id, self.entry.hash, len(text)), metadata)
        out, checksum = [data], stream.header_crc(data, stream.peek(data)[1])
        for at in stream.block_lengths(len(text)):
            part = text[at : at + stream.MAX_BLOCK]
            checksum = stream.chained(part, checksum)
            out.append(self._best(part, checksum, _percent(progress, at, len(part), len(text))).pack())
        return b"".join(out)

    def _best(self, text: bytes, checksum: int, progress) -> Block:
        """The smallest of the methods."""
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        deflated = deflater.compress(text) + deflater.flush()
        segments = blocks.encode(self.tables, self.learnt, text, progress)[0]
        choices = [Block(STORED, checksum, (text,), len(text)), Block(DEFLATED, checksum, (deflated,), len(text)),
                   Block(CODED, checksum, tuple(segments), len(text))]
        return min(choices, key=lambda block: len(block.pack()))

    def decode(self, data: bytes, progress: Progress = lambda text: None) -> bytes:
        """Raises CorruptStreamError, UnsupportedError for what is no whole stream of this model."""
        header, sealed = stream.peek(data)
        found, out, checksum = stream.blocks(data), [], stream.header_crc(data, sealed)
        for at, block in zip(stream.block_lengths(header.length), found):
            text = self._text(block, _percent(progress, at, block.length, header.length))
            checksum = stream.chained(text, checksum)
            if checksum != block.checksum:
                raise CorruptStreamError(f"block {len(out)} is damaged: its checksum does not match")
            out.append(text)
        return b"".join(out)

    def _text(self, block: Block, progress) -> bytes:
        if block.method == STORED:
            return block.parts[0]
        if block.method == CODED:
            return blocks.decode(self.tables, self.learnt, list(block.parts), block.length, progress)
        inflater = zlib.decompressobj(-15)
        try:
            text = inflater.decompress(block.parts[0], block.length)
        except zlib.error as error:
            raise CorruptStreamError(f"a block is damaged: {error}") from None
        if len(text) != block.length or not inflater.eof or inflater.unused_data:
            raise CorruptStreamError("a block is damaged: it is inflated to another length")
        return text

    def decode_grids(self, data: bytes) -> np.ndarray:
        """int64[1,N]: the bytes, which are the tokens; the codebook is the identity."""
        return np.frombuffer(self.decode(data), np.uint8).astype(np.int64)[None]

    def encode_tokens(self, grids: np.ndarray) -> bytes:
        """The inverse. Raises UsageError for what are no bytes."""
        grids = np.asarray(grids)
        if grids.ndim != 2 or len(grids) != 1 or grids.dtype.kind not in "iu" or not grids.size:
            raise UsageError(f"tokens of text are integers of shape [1, N], not {grids.dtype} of {grids.shape}")
        if grids.min() < 0 or grids.max() > 255:
            raise UsageError("tokens of text are in 0..255")
        return self.encode(grids.astype(np.uint8).tobytes())

    def bits(self, text: bytes) -> np.ndarray:
        """float64[N]: what each byte costs, were all blocks coded."""
        parts = [text[at : at + stream.MAX_BLOCK] for at in stream.block_lengths(len(text))]
        found = [blocks.encode(self.tables, self.learnt, part)[1] for part in parts]
        return 16 * 8 - np.log2(np.concatenate(found).astype(np.float64)).sum(1)


def load(entry: ModelEntry) -> Tables:
    """Raises InputError and CorruptStreamError for files that are not right."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as parse

    where = f"model '{entry.name}': prior.safetensors"
    try:
        return from_tensors(parse(entry.read("prior.safetensors")), where)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{where}: cannot be read ({error})") from None


def _percent(progress: Progress, at: int, size: int, total: int) -> Callable[[float], None]:
    return lambda part: progress(f"{100 * (at + part * size) / total:.0f} %")
