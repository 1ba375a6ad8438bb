"""The sound track of a clip: coded by a model of sound, or its packets copied; and back into a file of video.

A track is a piece of bytes: i64, the microseconds from the first frame to the first sample, then a .vq file of sound, or a
Matroska file of the packets.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .. import filelimits
from ..errors import CorruptStreamError, InputError, UnknownModelError, UsageError, VqcodecError, VqcodecWarning
from ..indices.quality import usual_quality
from ..sound.codec import AudioCodec
from ..sound.file import Sound, SoundReader
from ..sound.stream import MAX_HEADER
from ..sound.stream import peek as peek_sound
from ..zoo import registry
from .codec import DecodedClip
from .file import After, VideoReader, require_av
from .stream import END, PACKETS, SOUND, SegmentsOf

AUDIO = ("code", "copy", "none")
WINDOW = 50  # parts of a second, whose loudness tells speech from music
LOW_SHARE = 0.35  # of them quieter than half the mean around: more in speech (Saunders, 1996)
SPEECH, MUSIC = ("speech",), ("music", "audio")  # what names of models begin with
HEAD = 8
GAP = 0.1  # seconds without packets of sound from which on there is silence
SPOOLED = 1 << 24  # bytes of a track that are kept in memory


def track_of(reader, how: str, model: str | None, folder, *, effort: int | None = None) -> tuple[int, BinaryIO] | None:
    """(kind of segment, file of the track) of a clip's sound, None where there is none, or it is not wanted. reader: a
    `VideoReader` or `clip.ClipReader`; how: of AUDIO, or the name of a model; model: of sound, else a rule chooses; folder: where
    models are looked for first. Raises UsageError, and UnknownModelError for a model that is not there."""
    if how == "none" or not reader.has_sound:
        return None
    if how not in AUDIO:
        if model is not None:
            raise UsageError(f"give one model of sound, not both '{how}' and '{model}'")
        model = how
    track = tempfile.SpooledTemporaryFile(SPOOLED)
    if how == "copy":
        if not isinstance(reader, VideoReader):
            raise UsageError("samples are coded, there is nothing to copy: give the sound of files")
        track.write((0).to_bytes(HEAD, "little", signed=True))
        _packets(reader, track)
        track.seek(0)
        return PACKETS, track
    with tempfile.TemporaryDirectory(prefix="vqcodec-") as place:
        sound, offset = _sound(reader, Path(place) / "sound.w64")
        if sound is None:
            return None
        codec = AudioCodec.open(model_for(sound, model, folder), encoder=True)
        track.write(round(offset * 10**6).to_bytes(HEAD, "little", signed=True))
        codec.encode_stream(sound, track.write, usual_quality(codec.qualities), effort=effort)
    track.seek(0)
    return SOUND, track


def _sound(reader, path: Path) -> tuple[SoundReader | None, Fraction | None]:
    """(samples, seconds from the first frame to the first of them) of a clip; path: where they may be kept meanwhile."""
    if not isinstance(reader, VideoReader):
        return reader.sound()
    with open(path, "wb") as file:
        offset = _samples(reader, file)
    return (None, None) if offset is None else (SoundReader.open(path, f"sound of {reader.name}"), offset)


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


def _samples(reader: VideoReader, file: BinaryIO) -> Fraction | None:
    """Writes the samples of a clip's sound; seconds from the first frame to the first of them, None where there is none."""
    import soundfile

    av, (begin, end) = require_av(), reader.times()
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
                missing = int((time + Fraction(cut, frame.sample_rate) - first) * frame.sample_rate) - writer.frames
                if missing > GAP * frame.sample_rate:
                    _silence(writer, missing)
                writer.write(samples)
    except av.FFmpegError as error:
        warnings.warn(f"{reader.name}: its sound is damaged, what could be read of it is coded ({error})", VqcodecWarning, stacklevel=3)
    finally:
        if writer is not None:
            writer.close()
    return None if first is None else first - begin


def _silence(writer, count: int) -> None:
    while count > 0:
        filelimits.tick()
        part = min(count, writer.samplerate)
        writer.write(np.zeros((part, writer.channels), np.float32))
        count -= part


def _floats(frame) -> np.ndarray:
    """f32[n,channels] of an AudioFrame."""
    values, channels = frame.to_ndarray(), frame.layout.nb_channels
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if values.dtype.kind == "u":
        return (values.astype(np.float32) - 128) / 128
    scale = 1 if values.dtype.kind == "f" else -float(np.iinfo(values.dtype).min)
    return np.ascontiguousarray(values.astype(np.float32) / scale)


def _packets(reader: VideoReader, track: BinaryIO) -> None:
    """Writes a Matroska file of the packets of a clip's sound, their times counted from its first frame."""
    av, (begin, end), file = require_av(), reader.times(), After(track, HEAD)
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


class Track:
    """The sound of a stream on its way out: into a file of video (see `writer.VideoWriter`), or as samples (`blocks`)."""

    def __init__(self, kind: int, file: BinaryIO, folder, *, conceal: bool = False, start: Fraction = Fraction(0),
                 stop: Fraction | None = None):
        """file: of the track; folder: where models are looked for first; start, stop: the seconds of the clip that are heard.
        Raises CorruptStreamError, UnknownModelError."""
        self.kind, self.file = kind, file
        head = file.read(HEAD)
        if len(head) < HEAD or not file.read(1):
            raise CorruptStreamError("the sound of the stream is too short")
        file.seek(HEAD)
        self.offset = Fraction(int.from_bytes(head, "little", signed=True), 10**6) - start
        self.length = None if stop is None else stop - start
        self.decoded = None
        if kind == SOUND:
            self.decoded = open_sound(file, folder).decode_stream(file, conceal=conceal)
            self.rate = self.decoded.header.rate
        else:
            self.source = self._opened(file)
            self.rate = self.source.streams.audio[0].rate

    @staticmethod
    def _opened(file: BinaryIO):
        av = require_av()
        try:
            found = av.open(After(file, HEAD), format="matroska")
        except (av.FFmpegError, ValueError) as error:
            raise CorruptStreamError(f"the copied sound of the stream cannot be read ({error})") from error
        if not found.streams.audio:
            raise CorruptStreamError("the copied sound of the stream has no track")
        return found

    # --- samples -----------------------------------------------------------------------------------------

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(position, f32[n,channels]) at `rate`; positions are counted from the first frame, and never below 0."""
        end = None if self.length is None else round(self.length * self.rate)
        for position, block in self._all():
            cut = max(0, -position)
            block = block[cut : None if end is None else max(0, end - position)]
            if len(block):
                yield position + cut, block
            if end is not None and position >= end:
                return

    def _all(self) -> Iterator[tuple[int, np.ndarray]]:
        if self.decoded is not None:
            position = round(self.offset * self.rate)
            for block in self.decoded.blocks():
                yield position, block
                position += len(block)
            return
        av = require_av()
        try:
            for frame in self.source.decode(audio=0):
                filelimits.tick()
                yield round((frame.pts * frame.time_base + self.offset) * self.rate), _floats(frame)
        except av.FFmpegError as error:
            raise CorruptStreamError(f"the copied sound of the stream cannot be decoded ({error})") from error

    def samples(self) -> tuple[Sound | None, float]:
        """(all samples, seconds from the first frame to the first of them); (None, 0.0) where there are none in this part."""
        parts, first = [], None
        for position, block in self.blocks():
            first = position if first is None else first
            if parts and block.shape[1] != parts[0].shape[1]:
                break
            parts.append(block)
        return (None, 0.0) if first is None else (Sound(np.concatenate(parts), self.rate), first / self.rate)

    # --- into a file -------------------------------------------------------------------------------------

    def add_to(self, container) -> None:
        if self.decoded is not None:
            header = self.decoded.header
            name = "aac" if container.format.name in ("mp4", "mov") else "flac"
            layout = {1: "mono", 2: "stereo"}.get(header.channels, f"{header.channels}c")
            options = {"b": str(96000 * header.channels)} if name == "aac" else {}
            self.stream = container.add_stream(name, rate=header.rate, layout=layout, options=options)
            self.rest = self._frames()
        else:
            self.stream = container.add_stream_from_template(self.source.streams.audio[0])
            self.rest = self._packets()
        self.held = None

    def _frames(self):
        av = require_av()
        for position, block in self.blocks():
            whole = (block.clip(-1, 1) * 32767).round().astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(whole.reshape(1, -1)), format="s16", layout=self.stream.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = self.rate, position, Fraction(1, self.rate)
            yield frame

    def _packets(self):
        for packet in self.source.demux(self.source.streams.audio[0]):
            if packet.pts is None:
                continue
            time = packet.pts * packet.time_base + self.offset
            if time < 0:
                continue
            if self.length is not None and time >= self.length:
                return
            packet.pts = packet.dts = round(time / packet.time_base)
            yield packet

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


def open_sound(file: BinaryIO, folder) -> AudioCodec:
    """The codec of the .vq file of sound that begins where an open file stands."""
    start = file.tell()
    header, _ = peek_sound(file.read(MAX_HEADER))
    file.seek(start)
    local = folder if (folder / registry.REGISTRY).is_file() else None
    return AudioCodec.open(registry.find_by_stream(header.model_id, header.model_hash, local), encoder=False)


def stored(clip: DecodedClip) -> tuple[int, BinaryIO] | None:
    """(kind, file of the track) of the sound in a stream, None where there is none. Raises CorruptStreamError for damage, which
    is passed over where it is concealed."""
    clip.file.seek(clip.position)
    file, found = tempfile.SpooledTemporaryFile(SPOOLED), None
    for segment in SegmentsOf(clip.file, clip.seed, conceal=clip.conceal, wanted=lambda kind, number: kind in (SOUND, PACKETS, END)):
        if segment.kind in (SOUND, PACKETS) and found in (None, segment.kind):
            clip.check_sound(segment)
            file.write(segment.payload)
            found = segment.kind
    file.seek(0)
    return None if found is None else (found, file)


def heard(clip: DecodedClip) -> Track | None:
    """The sound of the part of a clip that is shown; None where there is none, or, if damage is concealed, where it cannot be read."""
    try:
        found = stored(clip)
        if found is None:
            return None
        base = clip.header.time_base
        stop = None if clip.whole or clip.stop == float("inf") else Fraction(clip.stop) * base
        return Track(*found, clip.codec.entry.path.parent, conceal=clip.conceal, start=clip.origin * base, stop=stop)
    except VqcodecError as error:
        if not clip.conceal:
            raise
        warnings.warn(f"its sound is lost ({error})", VqcodecWarning, stacklevel=2)
        return None


def verify(clip: DecodedClip) -> None:
    """Raises CorruptStreamError for sound that cannot be decoded."""
    if (track := heard(clip)) is not None and track.decoded is not None:
        for _ in track.decoded.grids():
            pass
