"""Documents, as everything that is not of one medium asks for them (`vqcodec/medium.py`)."""

from __future__ import annotations

import io

from ..errors import InputError, UsageError
from ..medium import AS_SAMPLES, Format, Made, Medium, Request, asked_quality, kept, stored
from . import inspection, recognise, stream

_FORMATS = {"pdf": "PDF", "tif": "TIFF", "tiff": "TIFF", "png": "PNG"}
WORTH = 0.95  # of a PDF's size: what is not smaller than that is refused


class Documents(Medium):
    key, modality, code = "document", "document", stream.CODE
    nouns, trained_on = "documents", "pages"
    targets = ()
    default_extension, reads_pieces, conceals, has_subtypes = "pdf", True, False, False
    trainable = False
    options = frozenset({"pages", "dpi", "mask"})
    undrawn = dict.fromkeys(("sample", "continue", "fill"), "no documents are drawn: a model of pages knows the few dots around "
                            "a dot, and would make up blots that look like print")
    also = frozenset({".tif", ".tiff"})

    def extensions(self):
        return frozenset({".pdf"})

    def recognises(self, head, name=""):
        return recognise.is_document(head, name)

    def may_read(self, head, name=""):
        return recognise.may_be_document(head)

    def takes(self, thing):
        return isinstance(thing, list) and bool(thing)

    def open(self, entry, *, encoder=False, on_torch=False):
        from .codec import Codec

        if entry.modality != self.modality:
            from ..errors import UnsupportedError

            raise UnsupportedError(f"model '{entry.name}' is one of {entry.modality}, not of {self.modality}")
        return Codec(entry, encoder)

    def kind(self):
        return None

    def qualities(self, entry):
        from .codec import picture_qualities

        return picture_qualities(entry)

    # --- files → streams -----------------------------------------------------------------------------------------

    def read(self, thing, request):
        from ..fileio import Source
        from .codec import checked_mask
        from .reading import Document

        checked_mask(request.mask)
        if isinstance(thing, Source):
            return Document.of_file(thing.data(), thing.name, request.pages, request.dpi)
        return Document.of_images(thing, request.pages)

    def encode(self, codec, samples, request: Request, write, progress=lambda text: None):
        from .codec import Choice, checked_mask
        from .reading import encoded

        choice = Choice(asked_quality(request, codec.qualities), request.effort, checked_mask(request.mask))
        data, facts = encoded(codec, samples, choice, kept(None, request), progress)
        if samples.shell_of is not None and samples.dpi is None and len(data) > WORTH * samples.size:
            raise InputError(f"{samples.name}: {samples.why_not(len(data))}")
        write(data)
        summary = f"{inspection.count(facts['pages'])}, {{input}} -> {len(data)} bytes"
        return Made(facts, summary)

    # --- streams → files -----------------------------------------------------------------------------------------

    def format_for(self, name, subtype=None):
        if subtype is not None:
            raise UsageError("--subtype is for sound")
        extension = name.rpartition(".")[2].lower()
        if extension not in _FORMATS:
            raise UsageError(f"documents are decoded to .pdf, .tiff or .png, not to {name}")
        return Format(extension, _FORMATS[extension])

    def header(self, head):
        return stream.peek(head)[0]

    def extent(self, head, made=None):
        from ..filelimits import Extent
        from .memory import needed

        header = stream.peek(head)[0]
        as_pixels = made is not None and made.name != "PDF"
        output = 3 * header.pixels if made == AS_SAMPLES else header.pixels // 8 if as_pixels else 0
        return Extent(pixels=header.largest, output=output, memory=needed(header.largest))

    def decode(self, codec, source, made, file, *, conceal=False, progress=lambda text: None):
        from .writing import write_document

        with source.open_file() as data:
            header = write_document(codec, data, made, file, progress)
        facts = {"pages": header.pages, "pixels": header.pixels}
        return Made(facts, f"{inspection.count(header.pages)}, {source.size} -> {{output}} bytes")

    def decoded(self, codec, data):
        from .pages import image_of
        from .writing import decoded_pages

        return [image_of(page) for page in decoded_pages(codec, io.BytesIO(data))]

    # --- about streams -------------------------------------------------------------------------------------------

    def inspect(self, data):
        return inspection.inspect(data)

    def facts(self, data):
        return inspection.inspect(data).facts()

    def table(self, facts):
        return inspection.table(facts)

    def parts(self, codec, data):
        return {"page_bytes": [page.bytes for page in inspection.inspect(data).pages]}

    def draw_grids(self, codec, data):
        """The mask of the first page, or the index grids of its picture."""
        from .writing import draw_first

        return draw_first(codec, data)

    def draw_bits(self, codec, data):
        """Of the first page, bits of each 16×16 pixels of its mask."""
        from .writing import first_bits

        return first_bits(codec, data)

    def verify(self, codec, file):
        from .writing import verify

        verify(codec, file)

    def metadata(self, source):
        return stored(source, stream.peek(source.head)[1])

    # --- index grids ---------------------------------------------------------------------------------------------

    def described_by(self, shape):
        return isinstance(shape, inspection.DocumentInspection)

    def from_tokens(self, codec, grids, shape, quality):
        from .reading import of_masks

        return of_masks(codec, grids, shape)

    # --- for the tools -------------------------------------------------------------------------------------------

    def memory(self, file, command):
        from .memory import needed, pixels_of

        return needed(9_000_000 if file is None else pixels_of(file, command))

    def comparison(self):
        from .bench import Leaves

        return Leaves()

    def training(self):
        return None


MEDIUM = Documents()
