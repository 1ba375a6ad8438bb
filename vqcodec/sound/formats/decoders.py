"""A recording as one file → blocks f32[n,C]: by libsndfile, and by PyAV (FFmpeg) what libsndfile cannot.

Both decode as far as they can and then say why they stopped. PyAV is the optional extra `av`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .source import Joined, Part, Source

BLOCK = 1 << 16
# Formats and codings whose header's length is exact; of others it is counted. Surveys have looked after cut files.
_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"})
_CODINGS = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
_TIMED = frozenset({"mov", "matroska", "asf", "ape", "tta", "wv"})  # demuxers whose durations are not estimates


class CannotDecode(Exception):
    """No decoder for it, or no file of its kind at all; the message says what the library said."""


class Damaged(Exception):
    """Raised after the last block that could be decoded."""


@functools.cache
def _sequential() -> type:
    """soundfile.SoundFile, but that it does not seek after each read to where it already is: MPEG decoders would begin
    anew, and FLAC of unknown length fails."""
    import soundfile

    class Sequential(soundfile.SoundFile):
        def seekable(self) -> bool:
            return False

    return Sequential


class SndFile:
    """A part of a source, decoded by libsndfile. Raises CannotDecode.

    libsndfile gets an open file, never a name: it would look for a resource fork beside the file, and takes those that
    macOS leaves on other file systems (._name) for sound."""

    def __init__(self, source: Source, part: Part):
        self._source, self._part = source, part
        with self._open() as (file, _):
            self.rate, self.channels = file.samplerate, file.channels
            exact = file.format in _FORMATS and file.subtype in _CODINGS and 0 <= file.frames < 1 << 48
            self.known = file.frames if exact else None

    @contextmanager
    def _open(self):
        import soundfile

        with self._source.opened() as raw:
            joined = Joined(raw, self._part.pieces)
            try:
                file = _sequential()(joined)
            except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: raw samples, which have no header
                raise CannotDecode(said(joined.error or error)) from error
            with file:
                yield file, joined

    def strings(self, names: tuple[str, ...]) -> dict[str, str]:
        """libsndfile's strings of these names; UTF-8, or else Windows' Latin script."""
        import soundfile

        library, ffi = getattr(soundfile, "_snd", None), getattr(soundfile, "_ffi", None)
        with self._open() as (file, _):
            found = {name: getattr(file, name, "") for name in names}
            for name, value in found.items():
                if "\ufffd" in value and library is not None and ffi is not None:  # soundfile does not show the bytes
                    said_raw = library.sf_get_string(file._file, soundfile._str_types[name])
                    found[name] = ffi.string(said_raw).decode("cp1252", "replace")
        return {name: value for name, value in found.items() if value}

    def blocks(self) -> Iterator[np.ndarray]:
        """f32[n,channels]. Raises Damaged."""
        import soundfile

        with self._open() as (file, joined):
            left = file.frames if file.format == "FLAC" else 1 << 62  # nothing after the last frame is to be decoded
            while left:
                block = np.full((min(BLOCK, left), self.channels), np.nan, np.float32)
                try:
                    count = len(file.read(out=block))
                except soundfile.LibsndfileError as error:  # it does not say how many it had decoded
                    unset = np.isnan(block).any(1)
                    yield block[: int(unset.argmax()) if unset.any() else len(block)]
                    raise Damaged(said(error)) from error
                if count:
                    yield block[:count]
                if joined.error:
                    raise Damaged(said(joined.error)) from joined.error
                if not count:
                    return
                left -= count


def said(error: Exception) -> str:
    """What a library or the system says, without names of files and Python objects."""
    return getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)


def have_av() -> bool:
    import importlib.util

    return importlib.util.find_spec("av") is not None


class AvFile:
    """The sound of a source, decoded by PyAV. FFmpeg leaves out encoders' delay and padding where the file tells them.

    Raises CannotDecode: also of video."""

    def __init__(self, source: Source, demuxer: str):
        self._source, self._demuxer = source, demuxer
        self.rate = self.channels = 0
        self.known: int | None = None
        self.duration: float | None = None  # seconds, where the file tells
        for block in self.blocks():  # sets what the first frame tells: headers need not know of doubled rates
            if len(block):
                return
        raise CannotDecode("no sound in it")

    def blocks(self) -> Iterator[np.ndarray]:
        """f32[n,channels]. Raises Damaged."""
        import av

        lost, failure = 0, None
        with self._source.opened() as raw, self._container(raw) as container:
            stream = self._stream(container)
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets)
                except StopIteration:
                    break
                except av.FFmpegError as error:
                    failure = error
                    break
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    lost, failure = lost + 1, error
                    continue
                for frame in frames:
                    if not self.rate:
                        self.rate, self.channels = frame.sample_rate, frame.layout.nb_channels
                    if (frame.sample_rate, frame.layout.nb_channels) != (self.rate, self.channels):
                        raise Damaged(f"it goes on with {frame.layout.nb_channels} channels at {frame.sample_rate} Hz")
                    yield _samples(frame, self.channels)
        if failure is not None:
            count = f"{lost} packet{'s' if lost > 1 else ''} could not be decoded: " if lost else ""
            raise Damaged(count + said(failure))

    def _container(self, raw):
        import av

        try:
            return av.open(Joined(raw, self._source.whole().pieces), format=self._demuxer, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            raise CannotDecode(said(error)) from error

    def tags(self) -> dict[str, str]:
        """Of the container and of its sound."""
        with self._source.opened() as raw, self._container(raw) as container:
            return {**container.metadata, **self._stream(container).metadata}

    def _stream(self, container):
        if any(not stream.disposition & stream.disposition.attached_pic for stream in container.streams.video):
            raise CannotDecode("it holds video")
        if not container.streams.audio:
            raise CannotDecode("no sound in it")
        stream = container.streams.audio[0]
        if self._demuxer in _TIMED and self.duration is None:
            if stream.duration is not None:
                self.duration = float(stream.duration * stream.time_base)
            elif container.duration is not None:
                self.duration = container.duration / 1e6
        return stream


def _samples(frame, channels: int) -> np.ndarray:
    """f32[n,channels] of an AudioFrame of any format, integers scaled to ±1."""
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if values.dtype.kind == "u":
        return np.ascontiguousarray((values.astype(np.float32) - 128) / 128)
    if values.dtype.kind == "i":
        return np.ascontiguousarray(values.astype(np.float32) / -float(np.iinfo(values.dtype).min))
    return np.ascontiguousarray(values, np.float32)
