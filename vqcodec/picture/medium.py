"""Pictures, as everything that is not of one medium asks for them (`vqcodec/medium.py`). Imports what is slow when it is asked."""

from __future__ import annotations

import functools
import os
from dataclasses import asdict

from .. import metadata as parts_of_metadata
from ..metadata import Metadata
from ..medium import SIZE, Format, Made, Measure, Medium, Request, Target, asked_quality, kept
from . import inspection, stream

# Pillow lists these among its formats, but only identifies them, or would run an interpreter on them.
_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})


class Pictures(Medium):
    key, modality, code = "picture", "image", stream.CODE
    nouns, trained_on = "images", "pictures"
    targets = (Target("bpp", "aim at this many bits per pixel."), Target("psnr", "aim at this PSNR in dB.", "dB"), SIZE)
    default_extension, reads_pieces, conceals, has_subtypes = "png", False, False, False
    measures = {"sample": Measure("size", "WxH", "of so many pixels [256x256]."),
                "continue": Measure("rows", "N", "so many rows of pixels below."),
                "fill": Measure("box", "X,Y,W,H", "the 16x16 blocks that these pixels lie in.")}

    @functools.cache
    def extensions(self):
        from PIL import Image

        from .formats.opening import installed_extensions

        known = Image.registered_extensions()  # loads all plugins
        return frozenset(extension for extension, format in known.items()
                         if format in Image.OPEN and format not in _NOT_DECODED) | installed_extensions()

    def recognises(self, head, name=""):
        return False  # but takes what nobody else does

    def may_read(self, head, name=""):
        return head.startswith((b"\x89PNG", b"II*\0", b"MM\0*"))

    def takes(self, thing):
        return False

    def open(self, entry, *, encoder=False, on_torch=False):
        from .codec import Codec

        return Codec.open(entry, encoder=encoder, on_torch=on_torch)

    def kind(self):
        from .torch_codec import KIND

        return KIND

    def qualities(self, entry):
        from ..zoo.config import of_model
        from .config import ModelConfig

        return len(of_model(entry, ModelConfig).transform.lambdas)

    # --- files ⇄ streams -----------------------------------------------------------------------------------------

    def read(self, thing, request):
        from ..fileio import Source
        from .file import read_picture

        if isinstance(thing, Source):
            return read_picture(thing.data(), name=thing.name)
        return read_picture(os.fspath(thing) if isinstance(thing, os.PathLike) else thing)

    def encode(self, codec, samples, request: Request, write, progress=lambda text: None):
        from .invisible import fill_invisible

        samples = fill_invisible(samples, exact=request.exact)
        height, width = samples.rgb.shape[:2]
        more = dict(effort=request.effort, metadata=_kept(samples.metadata, request), progress=progress)
        if request.target is None:
            result = codec.encode(samples, asked_quality(request, codec.qualities), **more)
        else:
            name, value = request.target
            result = codec.encode_to_target(samples, **{name: value}, **more)
        write(result.data)
        facts = _facts(width, height, len(result.data), result.quality)
        summary = f"{width}x{height}, {{input}} -> {len(result.data)} bytes, {result.bpp:.3f} bpp, quality {result.quality:g}"
        return Made(facts, summary, result.note)

    def format_for(self, name, subtype=None):
        from ..errors import UsageError
        from .file import format_for

        if subtype is not None:
            raise UsageError("--subtype is for sound")
        format = format_for(name)
        return Format(os.path.splitext(name)[1].lstrip(".").lower() or self.default_extension, format)

    def header(self, head):
        return stream.peek(head)

    def extent(self, head, made=None):
        from ..filelimits import Extent
        from .memory import needed

        found = stream.peek(head)
        pixels = found.width * found.height
        bands = (1 if found.grey else 3) + (found.alpha_length is not None)
        return Extent(pixels=pixels, output=bands * pixels if made else 0, memory=needed(found.width, found.height, "decode"))

    def decode(self, codec, source, made, file, *, conceal=False, progress=lambda text: None):
        from .file import write_picture

        header, data = stream.peek(source.head), source.data()
        picture = codec.decode(data, progress=progress)
        file.write(write_picture(picture, made.name, metadata=self.metadata(source) or Metadata()))
        facts = _facts(header.width, header.height, len(data), inspection.quality_of(header.quality)) | _digest(codec, picture)
        return Made(facts, f"{header.width}x{header.height}, {len(data)} -> {{output}} bytes, quality {facts['quality']:g}")

    def decoded(self, codec, data):
        from .file import to_image

        return to_image(codec.decode(data))

    # --- about streams -------------------------------------------------------------------------------------------

    def inspect(self, data):
        return inspection.inspect(data)

    def facts(self, data):
        return asdict(inspection.inspect(data))

    def table(self, facts):
        return inspection.table(facts)

    def parts(self, codec, data):
        return {"segment_bytes": codec.segment_bytes(data)}

    def labels(self, entry, data):
        from ..zoo.config import of_model
        from .config import ModelConfig

        prior, payload = of_model(entry, ModelConfig).prior, b"".join(stream.unpack(data).segments)
        return (prior.names(payload),) if prior.labels and payload else ()

    def digest(self, codec, data):
        return _digest(codec, codec.decode(data))

    def draw_grids(self, codec, data):
        from .codec import grids_image

        return grids_image(codec.decode_grids(data))

    def draw_bits(self, codec, data):
        import numpy as np

        header = stream.peek(data)
        spent = codec.bits_per_block(data)
        heat = 3 * spent / max(spent.max(), 1e-9)  # black, red, yellow, white
        colours = np.stack([heat, heat - 1, heat - 2], axis=-1).clip(0, 1)
        pixels = (255 * colours + 0.5).astype(np.uint8).repeat(inspection.BLOCK, axis=0).repeat(inspection.BLOCK, axis=1)
        return np.ascontiguousarray(pixels[: header.height, : header.width])

    def verify(self, codec, file):
        codec.decode_grids(file.read())

    def metadata(self, source):
        found = stream.unpack(source.data()).metadata
        return None if found is None else parts_of_metadata.unpack(found)

    def describe(self, metadata):
        from .formats.metadata import without_gps

        place = {"place": "yes: --strip gps leaves it out"} if without_gps(metadata) != metadata else {}
        return {**metadata.described(), **place}

    # --- index grids ---------------------------------------------------------------------------------------------

    def described_by(self, shape):
        return isinstance(shape, (tuple, inspection.Inspection))

    def from_tokens(self, codec, grids, shape, quality):
        from ..errors import UsageError

        from .finish import of_inspection

        finish = of_inspection(shape)
        if isinstance(shape, inspection.Inspection):
            quality, grey = shape.quality if quality is None else quality, shape.grey
            shape = shape.width, shape.height
        else:
            grey = False
        if quality is None:
            raise UsageError("give the height and the quality of the picture")
        return codec.encode_tokens(grids, *shape, quality, grey=grey, finish=finish).data

    # --- drawing from the prior ----------------------------------------------------------------------------------

    def sample(self, codec, drawing, measure, quality, progress=lambda text: None):
        from . import sampling

        width, height = measure or sampling.usual_size(codec)
        return sampling.sample(codec, drawing, width, height, quality, progress)

    def extend(self, codec, data, drawing, measure, progress=lambda text: None):
        from . import sampling

        return sampling.extend(codec, data, drawing, measure, progress)

    def fill(self, codec, data, drawing, measure, progress=lambda text: None):
        from . import sampling

        return sampling.fill(codec, data, drawing, measure, progress)

    # --- for the tools -------------------------------------------------------------------------------------------

    def memory(self, file, command):
        from .file import size_of
        from .memory import needed

        return needed(400, 1000) if file is None else needed(*size_of(file, command), command)

    def comparison(self):
        from .bench import Pictures as Compared

        return Compared()

    def training(self):
        from .training import Pictures as Trained

        return Trained


def _kept(found, request: Request) -> bytes | None:
    if found and "gps" in request.strip:
        from .formats.metadata import without_gps

        found = without_gps(found)
    return kept(found, request)


def _digest(codec, picture) -> dict:
    from .file import digest

    return {"pixels_sha256": digest(picture), "pixels_exact": codec.exact}


def _facts(width: int, height: int, size: int, quality: float) -> dict:
    return {"width": width, "height": height, "pixels": width * height, "bytes": size, "bpp": 8 * size / (width * height),
            "quality": quality}


MEDIUM = Pictures()
