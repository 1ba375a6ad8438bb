"""The sound track of a clip: coded by a model of sound, or its packets copied; and back into a file of video.

A track is a piece of bytes: i64, the microseconds from the first frame to the first sample, then a .vq file of sound, or a
Matroska file of the packets.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from fractions import Fraction

import numpy as np

from .. import filelimits
from ..errors import CorruptStreamError, InputError, UnknownModelError, UsageError, VqcodecWarning
from ..indices.quality import usual_quality
from ..sound.codec import AudioCodec
from ..sound.file import SoundReader
from ..sound.stream import peek as peek_sound
from ..zoo import registry
from .file import VideoReader, require_av
from .stream import PACKETS, SOUND

AUDIO = ("code", "copy", "none")
WINDOW = 50  # parts of a second, whose loudness tells speech from music
LOW_SHARE = 0.35  # of them quieter than half the mean around: more in speech (Saunders, 1996)
SPEECH, MUSIC = ("speech",), ("music", "audio")  # what names of models begin with
HEAD = 8


def track_of(reader: VideoReader, how: str, model: str | None, folder, *, effort: int | None = None) -> tuple[int, bytes] | None:
    """(kind of segment, track) of a clip's sound, None where there is none, or it is not wanted. model: of sound, else a rule
    chooses; folder: where models are looked for first. Raises UsageError, and UnknownModelError for a model that is not there."""
    if how not in AUDIO:
        raise UsageError(f"sound is one of {', '.join(AUDIO)}, not '{how}'")
    if how == "none" or not reader.has_sound:
        return None
    if how == "copy":
        return PACKETS, (0).to_bytes(HEAD, "little", signed=True) + _packets(reader)
    with tempfile.TemporaryFile(suffix=".w64") as file:
        offset = _samples(reader, file)
        if offset is None:
            return None
        file.seek(0)
        sound = SoundReader.open(file.read(), f"sound of {reader.name}")
        codec = AudioCodec.open(model_for(sound, model, folder), encoder=True)
        parts: list[bytes] = []
        codec.encode_stream(sound, parts.append, usual_quality(codec.qualities), effort=effort)
    return SOUND, round(offset * 10**6).to_bytes(HEAD, "little", signed=True) + b"".join(parts)


def model_for(sound: SoundReader, name: str | None, folder) -> registry.ModelEntry:
    """The model of that name; else one for speech or for music, as the sound is; else the usual one."""
    known = [entry for entry in (*registry.read_registry(folder, missing_ok=True), *registry.list_models())
             if entry.modality == "audio" and entry.has_encoder and entry.status != "retired"]
    if name is not None:
        found = [entry for entry in known if entry.name == name]
        if not found:
            raise UnknownModelError(f"model '{name}' of sound is not installed")
        return found[0]
    if not known:
        raise UnknownModelError("no model of sound is installed: give --audio copy or --audio none")
    words = SPEECH if is_speech(sound) else MUSIC
    fitting = [entry for entry in known if entry.name.startswith(words)] or known
    return next((entry for entry in fitting if entry.status == "default"), fitting[0])


def is_speech(sound: SoundReader) -> bool:
    """By its pauses: the share of short parts that are quieter than half of the mean of the second around them."""
    size, levels = max(1, sound.rate // WINDOW), []
    for block in sound.blocks(size * WINDOW):
        mono = block.mean(1)[: len(block) // size * size].reshape(-1, size)
        levels.append(np.sqrt((mono.astype(np.float64) ** 2).mean(1)))
    loud = np.concatenate(levels) if levels else np.zeros(0)
    if len(loud) < WINDOW or not loud.any():
        return True
    around = np.convolve(np.pad(loud, WINDOW // 2, mode="edge"), np.ones(WINDOW) / WINDOW, "valid")[: len(loud)]
    heard = around > 1e-4 * loud.max()
    return bool((loud < around / 2)[heard].mean() > LOW_SHARE)


def _samples(reader: VideoReader, file) -> Fraction | None:
    """Writes the samples of a clip's sound; seconds from the first frame to the first of them, None where there is none."""
    import soundfile

    av, begin = require_av(), reader.first_time()
    end = None if reader.duration is None else begin + Fraction(reader.duration).limit_denominator(10**6)
    writer, first, known = None, None, None
    try:
        with reader._opened() as container:
            for frame in container.decode(container.streams.audio[0]):
                filelimits.tick()
                time = Fraction(frame.pts or 0) * frame.time_base
                samples = _floats(frame)
                if time + Fraction(len(samples), frame.sample_rate) <= begin:
                    continue
                if end is not None and time >= end:
                    break
                cut = max(0, int((begin - time) * frame.sample_rate)) if first is None and time < begin else 0
                samples = samples[cut:]
                if end is not None:
                    samples = samples[: max(0, int((end - time) * frame.sample_rate) - cut)]
                if not len(samples):
                    continue
                if writer is None:
                    first, known = time + Fraction(cut, frame.sample_rate), (frame.sample_rate, samples.shape[1])
                    writer = soundfile.SoundFile(file, "w", *known, format="W64", subtype="FLOAT")
                if (frame.sample_rate, samples.shape[1]) != known:
                    warnings.warn(f"{reader.name}: its sound changes its rate or channels, and ends there", VqcodecWarning, stacklevel=3)
                    break
                writer.write(samples)
    except av.FFmpegError as error:
        warnings.warn(f"{reader.name}: its sound is damaged, what could be read of it is coded ({error})", VqcodecWarning, stacklevel=3)
    finally:
        if writer is not None:
            writer.close()
    return None if first is None else first - begin


def _floats(frame) -> np.ndarray:
    """f32[n,channels] of an AudioFrame."""
    values, channels = frame.to_ndarray(), frame.layout.nb_channels
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if values.dtype.kind == "u":
        return (values.astype(np.float32) - 128) / 128
    scale = 1 if values.dtype.kind == "f" else -float(np.iinfo(values.dtype).min)
    return np.ascontiguousarray(values.astype(np.float32) / scale)


def _packets(reader: VideoReader) -> bytes:
    """A Matroska file of the packets of a clip's sound, their times counted from its first frame."""
    av, file, begin = require_av(), io.BytesIO(), reader.first_time()
    end = None if reader.duration is None else begin + Fraction(reader.duration).limit_denominator(10**6)
    try:
        with reader._opened() as container, av.open(file, "w", format="matroska") as made:
            stream = container.streams.audio[0]
            out = made.add_stream_from_template(stream)
            for packet in container.demux(stream):
                if packet.pts is None or packet.pts * packet.time_base < begin:
                    continue
                if end is not None and packet.pts * packet.time_base >= end:
                    break
                shift = round(begin / packet.time_base)
                packet.pts -= shift
                packet.dts = packet.pts
                packet.stream = out
                made.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"{reader.name}: its sound cannot be copied ({error}); give --audio none, or let it be coded") from error
    return file.getvalue()


class Track:
    """A track on its way into a file of video (see `writer.VideoWriter`)."""

    def __init__(self, kind: int, data: bytes, folder):
        """folder: where models are looked for first. Raises CorruptStreamError, UnknownModelError."""
        if len(data) <= HEAD:
            raise CorruptStreamError("the sound of the stream is too short")
        self.kind, self.data = kind, data[HEAD:]
        self.offset = Fraction(int.from_bytes(data[:HEAD], "little", signed=True), 10**6)
        self.decoded = None
        if kind == SOUND:
            self.decoded = open_sound(self.data, folder).decode_stream(io.BytesIO(self.data))

    def add_to(self, container) -> None:
        av = require_av()
        if self.decoded is not None:
            header = self.decoded.header
            name = "aac" if container.format.name in ("mp4", "mov") else "flac"
            layout = {1: "mono", 2: "stereo"}.get(header.channels, f"{header.channels}c")
            options = {"b": str(96000 * header.channels)} if name == "aac" else {}
            self.stream = container.add_stream(name, rate=header.rate, layout=layout, options=options)
            self.rest, self.position = self._frames(), round(self.offset * header.rate)
        else:
            self.source = av.open(io.BytesIO(self.data), format="matroska")
            self.stream = container.add_stream_from_template(self.source.streams.audio[0])
            self.rest = (packet for packet in self.source.demux(self.source.streams.audio[0]) if packet.pts is not None)
        self.held = None

    def _frames(self):
        av, header = require_av(), self.decoded.header
        for block in self.decoded.blocks():
            cut = max(0, -self.position)
            self.position += cut
            block = block[cut:]
            if not len(block):
                continue
            whole = (block.clip(-1, 1) * 32767).round().astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(whole.reshape(1, -1)), format="s16", layout=self.stream.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = header.rate, self.position, Fraction(1, header.rate)
            self.position += len(block)
            yield frame

    def write(self, container, until: float | None = None) -> None:
        """What is heard up to that second; None: all, and the end."""
        while True:
            part = self.held or next(self.rest, None)
            self.held = None
            if part is None:
                break
            if until is not None and float(part.pts * part.time_base) > until:
                self.held = part
                return
            if self.decoded is not None:
                container.mux(self.stream.encode(part))
            else:
                part.stream = self.stream
                container.mux(part)
        if until is None and self.decoded is not None:
            container.mux(self.stream.encode(None))


def open_sound(data: bytes, folder) -> AudioCodec:
    """The codec of a .vq file of sound."""
    header, _ = peek_sound(data)
    local = folder if (folder / registry.REGISTRY).is_file() else None
    return AudioCodec.open(registry.find_by_stream(header.model_id, header.model_hash, local), encoder=False)


def verify(kind: int, data: bytes, folder) -> None:
    """Raises CorruptStreamError for a track that cannot be decoded."""
    if len(data) <= HEAD:
        raise CorruptStreamError("the sound of the stream is too short")
    if kind == SOUND:
        for _ in open_sound(data[HEAD:], folder).decode_stream(io.BytesIO(data[HEAD:])).grids():
            pass
