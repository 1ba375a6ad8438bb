"""The codecs of text that are compared, one class each, at their strongest setting. A new one is a subclass named in `CODECS`."""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib

from ..bench.codecs import VQCODEC_COLOURS, BenchCodec, CodecSpec
from ..bench.packages import require

EXTRA = "benchmark-text"


class Lossless(BenchCodec):
    settings = fine = (1.0,)

    def describe(self, setting):
        return "the strongest"


class VqcodecText(Lossless):
    """vqcodec's models of modality text."""

    extension, colours = "vq", VQCODEC_COLOURS

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        from ..zoo import registry
        from .codec import TextCodec

        self._codec = TextCodec.open(registry.find_by_name(spec.model, spec.models_dir, modality="text"))
        entry = self._codec.entry
        self.label, self.note = f"vqcodec {entry.name}", f"model {entry.name} ({entry.hash.hex()}); the whole stream counts"

    @property
    def version(self):
        import numpy

        from ..version import __version__

        files = ",".join(self._codec.entry.sha256.values())
        return f"vqcodec {__version__}, NumPy {numpy.__version__}, model {files}"

    def encode(self, original, setting):
        return self._codec.encode(original)

    def decode(self, data):
        return self._codec.decode(data)


class Gzip(Lossless):
    label, extension, note = "gzip", "gz", "zlib, level 9, in a gzip file without a name"

    @property
    def version(self):
        return f"zlib {zlib.ZLIB_RUNTIME_VERSION}"

    def encode(self, original, setting):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        return packer.compress(original) + packer.flush()

    def decode(self, data):
        return zlib.decompress(data, 31)


class Bzip2(Lossless):
    label, extension, note = "bzip2", "bz2", "level 9"
    version = f"Python {sys.version_info.major}.{sys.version_info.minor}"

    def encode(self, original, setting):
        return bz2.compress(original, 9)

    def decode(self, data):
        return bz2.decompress(data)


class Xz(Lossless):
    label, extension, note = "xz", "xz", "level 9, extreme"
    version = Bzip2.version

    def encode(self, original, setting):
        return lzma.compress(original, preset=9 | lzma.PRESET_EXTREME)

    def decode(self, data):
        return lzma.decompress(data)


class _Packaged(Lossless):
    module: str
    package: str | None = None

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        self._module = require(self.module, f"codec '{spec.name}'", EXTRA, self.package)

    @property
    def version(self):
        from importlib.metadata import version

        name = self.package or self.module
        return f"{name} {version(name)}"

    def decode(self, data):
        return self._module.decompress(data)


class Zstd(_Packaged):
    label, extension, note, module = "zstd", "zst", "level 22", "zstandard"

    def encode(self, original, setting):
        return self._module.ZstdCompressor(level=22).compress(original)

    def decode(self, data):
        return self._module.ZstdDecompressor().decompress(data)


class Brotli(_Packaged):
    label, extension, note, module, package = "brotli", "br", "quality 11, window of 16 MiB, mode text", "brotli", "Brotli"

    def encode(self, original, setting):
        return self._module.compress(original, mode=self._module.MODE_TEXT, quality=11, lgwin=24)


class Ppmd(_Packaged):
    label, extension, note, module = "PPMd", "ppmd", "variant H of order 6, 64 MiB; as pyppmd writes it, 5 bytes for the length", "pyppmd"

    def encode(self, original, setting):
        coder = self._module.Ppmd7Encoder(6, 64 << 20)
        return len(original).to_bytes(5, "little") + coder.encode(original) + coder.flush()

    def decode(self, data):
        length = int.from_bytes(data[:5], "little")
        decoder, out = self._module.Ppmd7Decoder(6, 64 << 20), b""
        out = decoder.decode(data[5:], length)
        while len(out) < length:
            if not (more := decoder.decode(b"\0", length - len(out))):
                raise ValueError("it ends early")
            out += more
        return out


CODECS: dict[str, type[BenchCodec]] = {"vqcodec": VqcodecText, "gzip": Gzip, "bzip2": Bzip2, "xz": Xz, "zstd": Zstd,
                                      "brotli": Brotli, "ppmd": Ppmd}
