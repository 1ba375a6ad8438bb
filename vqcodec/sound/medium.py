"""Recordings, as everything that is not of one medium asks for them (`vqcodec/medium.py`). Imports what is slow when it is
asked."""

from __future__ import annotations

import functools
import io
from pathlib import PurePath

from ..medium import AS_SAMPLES, SIZE, Format, Made, Measure, Medium, Request, Target, asked_quality, kept, stored
from . import inspection, stream
from .stream import SoundHeader


class Sounds(Medium):
    key, modality, code = "sound", "audio", stream.CODE
    nouns, trained_on = "sound", "recordings"
    targets = (Target("kbps", "aim at this many kilobits per second."), SIZE)
    default_extension, reads_pieces, conceals, has_subtypes = "wav", True, True, True
    measures = {"sample": Measure("seconds", "S", "so long [5].", whole=False),
                "continue": Measure("seconds", "S", "so many seconds behind.", whole=False),
                "fill": Measure("span", "START,END", "the seconds from one to the other.", whole=False)}

    @functools.cache
    def extensions(self):
        from .formats.kinds import EXTENSIONS

        return EXTENSIONS

    def recognises(self, head, name=""):
        from .formats.kinds import looks_like_sound

        return looks_like_sound(head, name)

    def takes(self, thing):
        from .file import Sound

        return isinstance(thing, (Sound, tuple))

    def open(self, entry, *, encoder=False, on_torch=False):
        from .codec import AudioCodec

        return AudioCodec.open(entry, encoder=encoder, on_torch=on_torch)

    def kind(self):
        from .torch_codec import KIND

        return KIND

    def qualities(self, entry):
        from ..zoo.config import of_model
        from .config import AudioModelConfig

        return len(of_model(entry, AudioModelConfig).transform.lambdas)

    # --- files ⇄ streams -----------------------------------------------------------------------------------------

    def read(self, thing, request):
        from ..fileio import Source
        from .file import SoundReader

        if isinstance(thing, Source):
            file = thing.data() if thing.path is None else thing.path
            return SoundReader.open(file, thing.name, strict=request.strict)
        return SoundReader.of(thing)

    def encode(self, codec, samples, request: Request, write, progress=lambda text: None):
        note, size = None, 0
        more = dict(effort=request.effort, metadata=kept(samples.metadata, request), progress=progress)

        def count(data: bytes) -> None:
            nonlocal size
            size += len(data)
            write(data)

        if request.target is None:
            header = codec.encode_stream(samples, count, asked_quality(request, codec.qualities), **more)
        else:
            name, value = request.target
            result = codec.encode_to_target(samples, **{name: value}, **more)
            count(result.data)
            header, note = stream.peek(result.data)[0], result.note
        facts = {**inspection.facts(header, size), "model_rate": codec.rate}
        band = f" of which up to {codec.rate / 2000:g} kHz are kept" if codec.rate < header.rate else ""
        summary = (f"{facts['seconds']:.2f} s, {header.channels} x {header.rate} Hz{band}, {{input}} -> {size} bytes, "
                   f"{facts['kbps']:.2f} kbps, quality {facts['quality']:g}")
        return Made(facts, summary, note)

    def format_for(self, name, subtype=None):
        from .file import SoundWriter, format_for

        format = format_for(name)
        extension = PurePath(name).suffix.lstrip(".").lower()
        if subtype is not None:  # does this libsndfile write it?
            with SoundWriter(io.BytesIO(), name, 48000, 1, subtype):
                pass
        return Format(extension, format, subtype)

    def header(self, head):
        return stream.peek(head)[0]

    def extent(self, head, made=None):
        from ..filelimits import Extent
        from .formats.writer import sample_bytes
        from .memory import needed

        found = stream.peek(head)[0]
        samples = found.length * found.channels
        memory = needed(found.channels, found.coded_channels, "decode")
        if made == AS_SAMPLES:
            return Extent(samples=samples, output=4 * samples, memory=memory + 8 * samples)  # in blocks, then joined
        return Extent(samples=samples, output=sample_bytes(made.subtype) * samples if made else 0, memory=memory)

    def decode(self, codec, source, made, file, *, conceal=False, progress=lambda text: None):
        from .file import SoundWriter
        from .pace import Pace

        with source.open_file() as data:
            decoded = codec.decode_stream(data, conceal=conceal)
            header = decoded.header
            metadata = self.metadata(source) if not conceal else None
            with SoundWriter(file, f"output.{made.extension}", header.rate, header.channels, made.subtype,
                             length=header.length, tags=metadata.tags if metadata else ()) as writer:
                pace, done = Pace(progress, header.length / header.rate), 0
                for block in decoded.blocks():
                    writer.write(block)
                    done += len(block)
                    pace(done / header.rate)
        facts = inspection.facts(header, source.size)
        lost = tuple((part.start, part.end) for part in decoded.lost)
        return Made(facts, f"{facts['seconds']:.2f} s, {header.channels} x {header.rate} Hz, {source.size} -> {{output}} bytes, "
                    f"quality {facts['quality']:g}", lost=lost)

    def decoded(self, codec, data):
        return codec.decode(data)

    # --- about streams -------------------------------------------------------------------------------------------

    def inspect(self, data):
        return inspection.inspect(data)

    def facts(self, data):
        return inspection.inspect(data).facts()

    def table(self, facts):
        return inspection.table(facts)

    def parts(self, codec, data):
        return {"chunk_bytes": codec.chunk_bytes(data)}

    def labels(self, entry, data):
        from ..zoo.config import of_model
        from .config import AudioModelConfig

        prior = of_model(entry, AudioModelConfig).prior
        return tuple(map(prior.names, inspection.grid_payloads(data))) if prior.labels else ()

    def draw_grids(self, codec, data):
        """All index grids over time, one line each."""
        import numpy as np

        found = codec.decode_grids(data)
        rows = found.reshape(-1, found.shape[2]).astype(np.int64)
        low, span = rows.min(1, keepdims=True), np.maximum(1, np.ptp(rows, 1)[:, None])
        return ((rows - low) * 255 // span).astype(np.uint8).repeat(2, 0)

    def draw_bits(self, codec, data):
        """Bits of every latent frame, as columns."""
        import numpy as np

        spent, height = codec.bits_per_frame(data), 128
        tall = spent / max(spent.max(), 1e-9) * height
        return (np.arange(height, 0, -1)[:, None] <= tall).astype(np.uint8) * 255

    def verify(self, codec, file):
        for _ in codec.decode_stream(file).grids():
            pass

    def metadata(self, source):
        return stored(source, stream.peek(source.head)[1])

    # --- index grids ---------------------------------------------------------------------------------------------

    def described_by(self, shape):
        return isinstance(shape, (SoundHeader, inspection.SoundInspection))

    def from_tokens(self, codec, grids, shape, quality):
        from dataclasses import replace

        from ..indices.quality import checked_sixteenths

        header, gains = shape, None
        if isinstance(shape, inspection.SoundInspection):
            header, gains = shape.header, shape.gains or None
        if quality is not None:
            header = replace(header, quality=checked_sixteenths(quality, codec.qualities))
        return codec.encode_tokens(grids, header, gains).data

    # --- drawing from the prior ----------------------------------------------------------------------------------

    def sample(self, codec, drawing, measure, quality, progress=lambda text: None):
        from . import sampling

        return sampling.sample(codec, drawing, measure or sampling.usual_seconds(codec), quality, progress)

    def extend(self, codec, data, drawing, measure, progress=lambda text: None):
        from . import sampling

        return sampling.extend(codec, data, drawing, measure, progress)

    def fill(self, codec, data, drawing, measure, progress=lambda text: None):
        from . import sampling

        return sampling.fill(codec, data, drawing, measure, progress)

    # --- for the tools -------------------------------------------------------------------------------------------

    def memory(self, file, command):
        from . import memory

        return memory.needed(2, 2, command) if file is None else memory.needed(*memory.size_of(file, command), command)

    def comparison(self):
        from .bench import Sounds as Compared

        return Compared()

    def training(self):
        from .training import Sounds as Trained

        return Trained


MEDIUM = Sounds()
