"""Texts, as everything that is not of one medium asks for them (`vqcodec/medium.py`). Imports what is slow when it is asked."""

from __future__ import annotations

from ..errors import UsageError
from ..indices.quality import checked_sixteenths
from ..medium import AS_SAMPLES, Format, Made, Measure, Medium, asked_quality, kept, stored
from . import inspection, stream
from .file import EXTENSIONS, OTHERS, looks_like_text

MEMORY = 200 << 20  # bytes: groups, tables and what a step takes, of the longest block
ROW = 128  # characters of a picture's row


class Texts(Medium):
    key, modality, code = "text", "text", stream.CODE
    nouns, trained_on = "texts", "texts"
    writes_any = True
    targets = ()
    measures = {"sample": Measure("bytes", "N", "of so many bytes [1000]."), "continue": Measure("bytes", "N", "so many bytes behind.")}
    undrawn = {"fill": "a model of texts knows what is before a gap, not what is behind it: no text can be filled in"}
    default_extension, reads_pieces, conceals, has_subtypes = "txt", False, False, False

    def extensions(self):
        return EXTENSIONS

    def recognises(self, head, name=""):
        return looks_like_text(head, name)

    def takes(self, thing):
        return False  # bytes are a file's

    def open(self, entry, *, encoder=False, on_torch=False):
        from .codec import TextCodec

        return TextCodec.open(entry)

    def kind(self):
        return None

    def qualities(self, entry):
        return 1

    # --- files ⇄ streams -----------------------------------------------------------------------------------------

    def read(self, thing, request):
        return thing.data()

    def encode(self, codec, samples, request, write, progress=lambda text: None):
        asked_quality(request, codec.qualities)
        data = codec.encode(samples, kept(None, request), progress)
        write(data)
        facts = _facts(len(samples), len(data))
        return Made(facts, f"{len(samples)} bytes of text -> {len(data)} bytes, {facts['bpc']:.3f} bits per byte")

    def format_for(self, name, subtype=None):
        extension = name.rpartition("/")[2].rpartition(".")[2].lower() if "." in name.rpartition("/")[2] else ""
        if f".{extension}" in OTHERS:
            raise UsageError(f"{name}: text is not written as .{extension}")
        return Format(extension or "txt", "text")

    def header(self, head):
        return stream.peek(head)[0]

    def extent(self, head, made=None):
        from ..filelimits import Extent

        length = stream.peek(head)[0].length
        memory = MEMORY + 2 * length
        return Extent(output=length if made else 0, memory=memory + length if made == AS_SAMPLES else memory)

    def decode(self, codec, source, made, file, *, conceal=False, progress=lambda text: None):
        text = codec.decode(source.data(), progress)
        file.write(text)
        return Made(_facts(len(text), source.size), f"{source.size} -> {{output}} bytes of text")

    def decoded(self, codec, data):
        """bytes."""
        return codec.decode(data)

    # --- about streams -------------------------------------------------------------------------------------------

    def inspect(self, data):
        return inspection.inspect(data)

    def facts(self, data):
        return inspection.facts(data)

    def table(self, facts):
        return inspection.table(facts)

    def parts(self, codec, data):
        return {"block_bytes": [len(block.pack()) for block in stream.blocks(data)]}

    def draw_grids(self, codec, data):
        """The bytes, row by row."""
        return _rows(codec.decode_grids(data)[0])

    def draw_bits(self, codec, data):
        """Bits of every byte, row by row: white is 8 or more."""
        return _rows((codec.bits(codec.decode(data)) * 32).clip(0, 255))

    def verify(self, codec, file):
        codec.decode(file.read())

    def metadata(self, source):
        return stored(source, stream.peek(source.head)[1])

    # --- index grids ---------------------------------------------------------------------------------------------

    def described_by(self, shape):
        return isinstance(shape, (stream.TextHeader, inspection.TextInspection))

    def from_tokens(self, codec, grids, shape, quality):
        return codec.encode_tokens(grids)

    # --- drawing from the prior ----------------------------------------------------------------------------------

    def sample(self, codec, drawing, measure, quality, progress=lambda text: None):
        from . import sampling

        checked_sixteenths(quality, codec.qualities)
        return sampling.sample(codec, drawing, measure or sampling.USUAL, progress)

    def extend(self, codec, data, drawing, measure, progress=lambda text: None):
        from . import sampling

        return sampling.extend(codec, data, drawing, measure, progress)

    # --- for the tools -------------------------------------------------------------------------------------------

    def memory(self, file, command):
        if file is None:
            return MEMORY
        size = file.seek(0, 2)
        return MEMORY + 8 * min(size, stream.MAX_BLOCK) + 3 * size

    def comparison(self):
        from .bench import Texts as Compared

        return Compared()

    def training(self):
        from .training import Texts as Trained

        return Trained


def _facts(length: int, size: int) -> dict:
    return {"length": length, "bytes": size, "bpc": 8 * size / length}


def _rows(values):
    """uint8[H,W] of numbers [N]."""
    import numpy as np

    values = np.asarray(values).astype(np.uint8)
    width = min(ROW, len(values))
    return np.pad(values, (0, -len(values) % width)).reshape(-1, width)


MEDIUM = Texts()
