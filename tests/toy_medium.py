"""A medium of a page: files whose bytes are their tokens. Tests put it into a folder of its own as `toy/medium.py`."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass

import numpy as np

from vqcodec import stream
from vqcodec.errors import CorruptStreamError, UsageError
from vqcodec.filelimits import Extent
from vqcodec.medium import Format, Made, Medium, asked_quality, kept
from vqcodec.metadata import unpack

MAGIC = b"RAW!"


@dataclass(frozen=True)
class Header:
    model_id: int
    model_hash: bytes
    quality: int
    length: int
    metadata_length: int


@dataclass(frozen=True)
class Codec:
    """Its model is a number that is added to each byte."""

    entry: object
    shift: int
    qualities: int = 1

    def coded(self, data: bytes) -> bytes:
        return bytes((byte + self.shift) % 256 for byte in data)

    def decode_grids(self, data: bytes) -> np.ndarray:
        """int64[1,N]."""
        header, sealed = read(data)
        body = data[sealed.end :]
        if len(body) != header.length + 4 or zlib.crc32(body[4:]) != int.from_bytes(body[:4], "little"):
            raise CorruptStreamError("the bytes are damaged")
        return np.frombuffer(body[4:], np.uint8).astype(np.int64)[None]


def read(data: bytes):
    beginning, reader = stream.read_beginning(data, 7, 0)
    length = reader.uvarint(4)
    sealed = stream.unseal(reader, beginning.metadata)
    return Header(beginning.model_id, beginning.model_hash, beginning.quality, length, sealed.metadata_length), sealed


def pack(codec: Codec, body: bytes, metadata: bytes | None = None) -> bytes:
    beginning = stream.Beginning(0, metadata is not None, codec.entry.id, codec.entry.hash, 0)
    return (stream.seal(stream.pack_beginning(7, beginning) + stream.uvarint(len(body)), metadata)
            + zlib.crc32(body).to_bytes(4, "little") + body)


class Raws(Medium):
    key, modality, code = "raw", "raw", 7
    nouns, trained_on = "raw files", "raw files"
    targets = ()
    default_extension, reads_pieces, conceals, has_subtypes = "raw", False, False, False

    def extensions(self):
        return frozenset({".raw"})

    def recognises(self, head, name=""):
        return head.startswith(MAGIC)

    def takes(self, thing):
        return False

    def open(self, entry, *, encoder=False):
        return Codec(entry, entry.read("prior.safetensors")[0])

    def kind(self):
        return None

    def qualities(self, entry):
        return 1

    def read(self, thing, request):
        return thing.data()

    def encode(self, codec, samples, request, write, progress=lambda text: None):
        asked_quality(request, codec.qualities)
        data = pack(codec, codec.coded(samples), kept(None, request))
        write(data)
        return Made({"bytes": len(data)}, f"{{input}} -> {len(data)} bytes")

    def format_for(self, name, subtype=None):
        if not name.endswith(".raw"):
            raise UsageError("raw files are called .raw")
        return Format("raw", "RAW")

    def header(self, head):
        return read(head)[0]

    def extent(self, head, made=None):
        return Extent(samples=read(head)[0].length)

    def decode(self, codec, source, made, file, *, conceal=False, progress=lambda text: None):
        file.write(self.decoded(codec, source.data()))
        return Made({}, f"{source.size} -> {{output}} bytes")

    def decoded(self, codec, data):
        return bytes(int(token - codec.shift) % 256 for token in codec.decode_grids(data)[0])

    def inspect(self, data):
        return read(data)[0]

    def facts(self, data):
        return asdict(read(data)[0]) | {"model_hash": read(data)[0].model_hash.hex()}

    def table(self, facts):
        return f"{facts['length']} raw bytes"

    def parts(self, codec, data):
        return {"parts": [len(data)]}

    def draw_grids(self, codec, data):
        return codec.decode_grids(data).astype(np.uint8)

    def draw_bits(self, codec, data):
        return np.full((1, read(data)[0].length), 255, np.uint8)

    def verify(self, codec, file):
        codec.decode_grids(file.read())

    def metadata(self, source):
        found = stream.checked_metadata(source.data(), read(source.head)[1])
        return None if found is None else unpack(found)

    def from_tokens(self, codec, grids, shape, quality):
        return pack(codec, np.asarray(grids, np.uint8).tobytes())

    def described_by(self, shape):
        return isinstance(shape, Header)

    def memory(self, file, command):
        return 0

    def comparison(self):
        return None

    def training(self):
        return None


MEDIUM = Raws()
