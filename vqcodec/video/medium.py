"""Video, as everything that is not of one medium asks for it (`vqcodec/medium.py`). Imports what is slow when it is asked."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import PurePath

from ..errors import UsageError
from ..indices.quality import quality_of
from ..medium import SIZE, Format, Made, Measure, Medium, Request, Target, asked_quality, kept, stored
from . import inspection, kinds, stream


class Videos(Medium):
    key, modality, code = "video", "video", stream.CODE
    nouns, trained_on = "video", "clips"
    targets = (Target("kbps", "aim at this many kilobits per second."), Target("bpp", "aim at this many bits per pixel."), SIZE)
    default_extension, reads_pieces, conceals, has_subtypes = "mp4", True, True, True
    stands_in = "the frame before stands still"
    writes_folders = True
    options = frozenset({"start", "duration", "track", "track_model", "workers"})
    measures = {"sample": Measure("frames", "N", "so many frames [16]."),
                "continue": Measure("frames", "N", "so many frames behind.")}

    def extensions(self):
        return kinds.EXTENSIONS

    def recognises(self, head, name=""):
        return kinds.demuxer(head, name) is not None

    def takes(self, thing):
        from .clip import Clip

        return isinstance(thing, Clip)

    def open(self, entry, *, encoder=False, on_torch=False):
        from .codec import VideoCodec

        return VideoCodec.open(entry, encoder=encoder, on_torch=on_torch)

    def kind(self):
        return None  # its networks are its base's

    def qualities(self, entry):
        from ..picture.config import ModelConfig
        from ..zoo.config import of_model
        from .codec import base_of
        from .config import of_model as own

        return len(of_model(base_of(entry, own(entry)), ModelConfig).transform.lambdas)

    # --- files ⇄ streams -----------------------------------------------------------------------------------------

    def read(self, thing, request):
        from ..fileio import Source
        from .clip import ClipReader
        from .file import VideoReader, checked_part

        part = checked_part(request.start, request.duration)
        return VideoReader(thing, **part) if isinstance(thing, Source) else ClipReader(thing, **part)

    def encode(self, codec, samples, request: Request, write, progress=lambda text: None):
        from .sound_track import track_of

        def sound():
            return track_of(samples, request.track or "code", request.track_model, codec.entry.path.parent)

        more = dict(effort=request.effort, metadata=kept(samples.metadata, request), workers=request.workers or 1)
        if request.target is None:
            made, note = codec.encode_stream(samples, write, asked_quality(request, codec.qualities), sound=sound,
                                             progress=progress, **more), None
        else:
            made, note = _to_target(codec, samples, request.target, write, sound(), progress, more)
        header = made.header
        pixels = header.width * header.height * made.frames
        facts = {"width": header.width, "height": header.height, "frames": made.frames, "groups": made.keys,
                 "duration": round(made.seconds, 6), "bytes": made.size, "video_bytes": made.video_bytes,
                 "kbps": 8 * made.size / made.seconds / 1000, "bpp": 8 * made.video_bytes / pixels, "quality": quality_of(header.quality)}
        summary = (f"{made.seconds:.2f} s, {header.width}x{header.height}, {made.frames} frames in {made.keys} groups, {{input}} -> "
                   f"{made.size} bytes, {facts['kbps']:.1f} kbps, quality {facts['quality']:g}")
        return Made(facts, summary, note)

    def format_for(self, name, subtype=None):
        from .writer import coding_of

        from .folder import PATTERN

        extension = "png" if name.endswith("/") else PurePath(name).suffix.lstrip(".").lower()
        folder = PATTERN if extension == "png" else None
        if folder and not name.endswith("/") and PurePath(name).stem != "output":
            raise UsageError(f"frames are written as PNG into a folder: {name.removesuffix('.png')}/, or --format png")
        return Format(extension, coding_of(extension, subtype).codec, subtype, folder=folder)

    def header(self, head):
        header, sealed = stream.peek(head)
        return Heading(header.model_id, header.model_hash, sealed.metadata_length, header)

    def extent(self, head, made=None):
        from ..filelimits import Extent
        from ..picture.memory import needed

        header = stream.peek(head)[0]
        return Extent(pixels=header.width * header.height, memory=needed(header.width, header.height))

    def decode(self, codec, source, made, file, *, conceal=False, progress=lambda text: None):
        from contextlib import ExitStack

        from .. import filelimits
        from .codec import shape_of
        from .file import checked_part
        from .pace import Pace
        from .sound_track import heard
        from .writer import coding_of, writer_of

        coding, part = coding_of(made.extension, made.subtype), checked_part(made.start, made.duration)
        with source.open_file() as data, ExitStack() as stack:
            decoded = codec.decode_stream(data, conceal=conceal, **part)
            header, outline = decoded.header, decoded.outline
            metadata = None if conceal else self.metadata(source)
            track = None if made.track == "none" or not coding.holds_sound else heard(decoded)
            times = [time for _, times in outline.groups for time in times if decoded.begin <= time < decoded.stop]
            writer = writer_of(file, coding, shape_of(header), times, outline.end, dict(metadata.tags) if metadata else {}, track)
            pace, ahead, count, end = Pace(progress, len(times)), None, 0, 0
            if (made.workers or 1) > 1:
                from .workers import decoded_ahead

                ahead = stack.enter_context(decoded_ahead(decoded, made.workers))
            for count, frame in enumerate(decoded.frames(ahead), 1):
                writer.write(frame)
                end = frame.time + frame.duration
                if not coding.few_bytes:
                    filelimits.check(filelimits.Extent(output=count * frame.rgb.nbytes), source.size)
                pace(count)
            writer.close()
        seconds = float(end * header.time_base)
        facts = {"width": header.width, "height": header.height, "frames": count, "duration": round(seconds, 6),
                 "kbps": 8 * source.size / seconds / 1000, "quality": quality_of(header.quality)}
        return Made(facts, f"{seconds:.2f} s, {header.width}x{header.height}, {count} frames, {source.size} -> {{output}} bytes, "
                    f"quality {facts['quality']:g}", lost=tuple((part.start, part.end) for part in decoded.lost))

    def decoded(self, codec, data, start=None, duration=None, track=None):
        import numpy as np

        from .. import filelimits
        from .clip import Clip
        from .file import checked_part
        from .sound_track import heard

        clip, frames, times = codec.decode_stream(io.BytesIO(data), **checked_part(start, duration)), [], []
        for frame in clip.frames():
            frames.append(frame.rgb)
            times.append(float(frame.time * clip.header.time_base))
            filelimits.check(filelimits.Extent(output=len(frames) * frame.rgb.nbytes), len(data))
        found = None if track == "none" else heard(clip)
        sound, offset = (None, 0.0) if found is None else found.samples()
        return Clip(np.stack(frames), np.array(times), float((frame.time + frame.duration) * clip.header.time_base), sound, offset)

    # --- about streams -------------------------------------------------------------------------------------------

    def inspect(self, data):
        return inspection.inspect(data)

    def facts(self, data):
        return inspection.inspect(data).facts()

    def table(self, facts):
        return inspection.table(facts)

    def parts(self, codec, data):
        file = io.BytesIO(data)
        sealed = stream.peek(data)[1]
        file.seek(sealed.end)
        found = {"group_bytes": [s.size for s in stream.SegmentsOf(file, sealed.checksum) if s.kind == stream.GROUP]}
        if codec.no_labels:
            from .labels import in_words

            found["labels"] = [in_words(labels, codec.config.prior) for labels in codec.labels(data)]
        return found

    def draw_grids(self, codec, data):
        """The first plane of all frames, side by side, in rows of as many as make a square."""
        import numpy as np

        planes = codec.decode_grids(data)[:, 0].astype(np.int64)
        count, height, width = planes.shape
        across = max(1, round((count * height / width) ** 0.5))
        sheet = np.zeros((-(-count // across) * (height + 1), across * (width + 1)), np.uint8)
        low, span = planes.min(), max(1, np.ptp(planes))
        for i, plane in enumerate(planes):
            top, left = i // across * (height + 1), i % across * (width + 1)
            sheet[top : top + height, left : left + width] = (plane - low) * 255 // span
        return sheet

    def draw_bits(self, codec, data):
        """kbps of every frame over time: columns, those of key frames in another colour, and a curve of their mean over a second."""
        from .drawing import rates

        return rates(inspection.frames_of(data), inspection.inspect(data))

    def verify(self, codec, file):
        from .sound_track import verify

        clip = codec.decode_stream(file)
        for _ in clip.grids():
            pass
        verify(clip)

    def metadata(self, source):
        return stored(source, stream.peek(source.head)[1])

    # --- index grids ---------------------------------------------------------------------------------------------

    def described_by(self, shape):
        return isinstance(shape, inspection.VideoInspection)

    def from_tokens(self, codec, grids, shape, quality):
        from .tokens import encode_tokens

        return encode_tokens(codec, grids, shape, quality)

    # --- drawing from the prior ----------------------------------------------------------------------------------

    def sample(self, codec, drawing, measure, quality, progress=lambda text: None):
        from . import sampling

        return sampling.sample(codec, drawing, measure or sampling.USUAL, quality, progress)

    def extend(self, codec, data, drawing, measure, progress=lambda text: None):
        from . import sampling

        return sampling.extend(codec, data, drawing, measure, progress)

    # --- for the tools -------------------------------------------------------------------------------------------

    def memory(self, file, command):
        from ..picture.memory import needed

        if file is None or command != "decode":
            return needed(854, 480)
        try:
            header = stream.peek(file.read(stream.MAX_HEADER))[0]
        except Exception:
            return needed(854, 480)
        return needed(header.width, header.height)

    def comparison(self):
        from .bench import Videos as Compared

        return Compared()

    def training(self):
        from .training import Videos as Trained

        return Trained


class Heading:
    """What `Medium.header` is to give."""

    def __init__(self, model_id: int, model_hash: bytes, metadata_length: int, header):
        self.model_id, self.model_hash, self.metadata_length, self.header = model_id, model_hash, metadata_length, header


def _to_target(codec, samples, target, write, track, progress, more):
    """(`EncodedVideo`, note) of the quality that serves a target."""
    from ..indices.target import Estimate, Goal, reach
    from . import aiming

    name, wanted = target
    goal = (Goal(float(wanted), "bytes", upper_bound=True) if name == "size" else Goal(wanted, name))

    def again():
        if track is not None:
            track[1].seek(0)
        return track

    def attempt(sixteenths: int):
        file = tempfile.SpooledTemporaryFile(1 << 26)
        made = codec.encode_stream(samples, file.write, quality_of(sixteenths), sound=again,
                                   progress=lambda text: progress(f"trying quality {quality_of(sixteenths):g}: {text}"), **more)
        pixels = made.header.width * made.header.height * made.frames
        value = {"size": made.size, "kbps": 8 * made.size / made.seconds / 1000, "bpp": 8 * made.video_bytes / pixels}[name]
        return (made, file), value

    sound = 0
    if track is not None:
        track[1].seek(0, os.SEEK_END)
        sound = track[1].tell()
    runs, shape = aiming.Runs.of(samples), samples.shape
    expected, seconds = runs.estimate(codec, more["effort"]), float(runs.end * shape.time_base)

    def estimated(sixteenths: int) -> float:
        video = expected(sixteenths)
        return {"size": video + sound, "kbps": 8 * (video + sound) / seconds / 1000,
                "bpp": 8 * video / (shape.width * shape.height * runs.count)}[name]

    (made, file), note = reach(goal, codec.qualities, attempt, estimate=Estimate(estimated, times=aiming.ESTIMATES), most=aiming.MOST,
                               progress=progress)
    file.seek(0)
    while piece := file.read(1 << 20):
        write(piece)
    return made, note


MEDIUM = Videos()
