"""sound files ⇄ samples f32[N,C], nominally in ±1, block by block; and from one sampling rate to another.

soundfile (libsndfile) reads and writes the formats, soxr resamples. Nothing here holds a whole recording unless it was
asked for one. No torch.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from ..errors import InputError, UnsupportedError, UsageError
from ..metadata import Metadata

RATES = (1000, 768000)  # Hz, least and greatest
MAX_CHANNELS = 255
BLOCK = 1 << 16
COUNTED = {"MP3"}  # formats whose headers only estimate the length
RESAMPLER = "VHQ"
_FLOAT = {"FLOAT", "DOUBLE"}
_FORMATS = {"wav": "WAV", "wave": "WAV", "flac": "FLAC", "ogg": "OGG", "oga": "OGG", "opus": "OGG", "mp3": "MP3",
            "aif": "AIFF", "aiff": "AIFF", "au": "AU", "caf": "CAF", "w64": "W64", "rf64": "RF64"}
_MAGIC = (b"fLaC", b"OggS", b"ID3", b".snd", b"caff", b"riff", b"RF64")


EXTENSIONS = frozenset({".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd",
                        ".caf", ".w64", ".rf64"})


@dataclass(frozen=True)
class Sound:
    """samples f32[N,C]; rate in Hz."""

    samples: np.ndarray
    rate: int


def looks_like_sound(first: bytes) -> bool:
    """Whether the first bytes of a file (16 or more) are those of a format of sound that this module reads."""
    riff = first[:4] in (b"RIFF", b"FORM") and first[8:12] in (b"WAVE", b"AIFF", b"AIFC")
    mpeg = len(first) > 1 and first[0] == 0xFF and first[1] & 0xE6 == 0xE2
    return riff or mpeg or first.startswith(_MAGIC)


def sound_of(thing) -> Sound:
    """`Sound`, or (float array [N] or [N,C], rate in Hz). Raises UsageError for anything else."""
    if isinstance(thing, Sound):
        return thing
    if not isinstance(thing, tuple) or len(thing) != 2:
        raise UsageError("sound is (samples, rate in Hz)")
    samples, rate = np.asarray(thing[0]), thing[1]
    if isinstance(rate, np.ndarray) and rate.ndim or not isinstance(rate, (int, float, np.integer, np.floating)):
        raise UsageError("sound is (samples, rate in Hz), in this order")
    return Sound(samples[:, None] if samples.ndim == 1 else samples, int(rate))


class SoundReader:
    """A recording that can be read again and again. `length` is exact: as many sample frames as `blocks` gives.

    Raises InputError for what is not sound, is damaged or holds samples that are not numbers, UnsupportedError for rates
    and numbers of channels beyond this release."""

    def __init__(self, source, rate: int, channels: int, length: int, name: str = "sound"):
        self._source, self.name = source, name
        self.metadata: Metadata | None = None
        self.rate, self.channels, self.length = rate, channels, length
        if not RATES[0] <= rate <= RATES[1]:
            raise UnsupportedError(f"{name}: a sampling rate of {rate} Hz; {RATES[0]}..{RATES[1]} Hz are supported")
        if not 1 <= channels <= MAX_CHANNELS:
            raise UnsupportedError(f"{name}: {channels} channels; 1..{MAX_CHANNELS} are supported")
        if length < 1:
            raise InputError(f"{name}: no samples in it")

    @classmethod
    def of(cls, sound: Sound, name: str = "sound") -> SoundReader:
        samples = np.asarray(sound.samples)
        if samples.ndim != 2 or samples.dtype.kind != "f":
            raise UsageError(f"samples must be floats of shape [N,C], not {samples.dtype} of {list(samples.shape)}")
        return cls(sound, sound.rate, samples.shape[1], len(samples), name)

    @classmethod
    def open(cls, source: str | os.PathLike | bytes, name: str | None = None) -> SoundReader:
        """Of a sound file: a path, or its bytes."""
        name = name or ("sound" if isinstance(source, bytes) else os.fspath(source))
        with _opened(source, name) as file:
            length = file.frames
            if file.format in COUNTED or not 0 <= length < 1 << 48:
                length = sum(len(block) for block in _read(file, BLOCK, name))
            return cls(source, file.samplerate, file.channels, length, name)

    def blocks(self, size: int = BLOCK) -> Iterator[np.ndarray]:
        """f32[n,channels], n of `size` in all but the last."""
        done = 0
        for block in self._raw(size):
            wrong = ~np.isfinite(block).all(1)
            if wrong.any():
                second = (done + int(wrong.argmax())) / self.rate
                raise InputError(f"{self.name}: a sample is not a number, at {second:.3f} s")
            done += len(block)
            yield block
        if done != self.length:
            raise InputError(f"{self.name}: truncated: {done} of {self.length} samples are there")

    def _raw(self, size: int) -> Iterator[np.ndarray]:
        if isinstance(self._source, Sound):
            for first in range(0, self.length, size):
                yield np.asarray(self._source.samples[first : first + size], np.float32)
            return
        with _opened(self._source, self.name) as file:
            yield from _read(file, size, self.name)


def _opened(source, name: str):
    import soundfile

    if isinstance(source, bytes):
        source = io.BytesIO(source)
    else:
        source = os.fspath(source)
        try:
            with open(source, "rb") as file:
                if not file.read(1):
                    raise InputError(f"{name}: empty")
        except OSError as error:
            raise InputError(f"{name}: cannot read ({error.strerror})") from error
        if os.name == "posix":  # a name may be any bytes, which soundfile would refuse
            source = os.fsencode(source)
    try:
        return soundfile.SoundFile(source)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: raw samples, which have no header
        raise InputError(f"{name}: not a sound file, or damaged ({_said(error)})") from error


def _read(file, size: int, name: str) -> Iterator[np.ndarray]:
    import soundfile

    while True:
        try:
            block = file.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise InputError(f"{name}: damaged ({_said(error)})") from error
        if not len(block):
            return
        yield block


def _said(error: Exception) -> str:
    return getattr(error, "error_string", None) or str(error)


def read_sound(source: str | os.PathLike | bytes, name: str | None = None) -> Sound:
    """A whole sound file. Raises as `SoundReader`."""
    reader = SoundReader.open(source, name)
    return Sound(np.concatenate(list(reader.blocks())), reader.rate)


def format_for(name: str) -> str:
    """libsndfile's name of the format that a file name's extension stands for. Raises UsageError."""
    extension = PurePath(name).suffix.lstrip(".").lower()
    if extension not in _FORMATS:
        raise UsageError(f"cannot tell a sound format by the extension '{extension}' (known: {', '.join(_FORMATS)})")
    return _FORMATS[extension]


class _Target:
    """A file that libsndfile writes to by callbacks, out of which no exception finds its way: keeps the first one."""

    def __init__(self, file):
        self.file, self.error = file, None
        self.seek, self.tell, self.read, self.flush = file.seek, file.tell, file.read, file.flush

    def write(self, data) -> int:
        try:
            if self.error is None:
                self.file.write(data)
        except OSError as error:
            self.error = error
        return len(data)

    def check(self) -> None:
        if self.error is not None:
            raise self.error


class SoundWriter:
    """Writes a sound file block by block. `name` gives the format by its extension, `file` is where it goes: a path, or
    an open file that can seek. Samples beyond ±1 are clipped where the format holds integers or is lossy.

    subtype: libsndfile's name of the coding within the format, such as PCM_24 or FLOAT; None: PCM_16 where there is a
    choice. Raises UsageError for a format or subtype that does not exist, UnsupportedError for a rate or number of channels
    that the format cannot hold, OSError where writing fails."""

    def __init__(self, file, name: str, rate: int, channels: int, subtype: str | None = None):
        import soundfile

        kind = format_for(name)
        if subtype is None:
            opus = name.lower().endswith(".opus")
            subtype = "OPUS" if opus else "PCM_16" if "PCM_16" in soundfile.available_subtypes(kind) else None
        subtype = subtype or soundfile.default_subtype(kind)
        if not soundfile.check_format(kind, subtype):
            known = ", ".join(soundfile.available_subtypes(kind)) or "none in this libsndfile"
            raise UsageError(f"{kind} files cannot hold {subtype} (they can hold: {known})")
        self.clips = subtype not in _FLOAT
        self.target = _Target(file) if hasattr(file, "write") else None
        try:
            self.file = soundfile.SoundFile(self.target or file, "w", rate, channels, subtype, format=kind)
        except soundfile.LibsndfileError as error:
            raise UnsupportedError(f"{kind} ({subtype}) cannot hold {channels} channels at {rate} Hz "
                                   f"({_said(error)})") from error

    def write(self, block: np.ndarray) -> None:
        """f32[n,channels]"""
        import soundfile

        try:
            self.file.write(block.clip(-1, 1) if self.clips else block)
        except soundfile.LibsndfileError as error:
            raise OSError(None, _said(error)) from error
        if self.target:
            self.target.check()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.file.close()
        if self.target:
            self.target.check()


def write_sound(sound: Sound, name: str, subtype: str | None = None) -> bytes:
    """The bytes of a sound file; as `SoundWriter`."""
    file = io.BytesIO()
    with SoundWriter(file, name, sound.rate, sound.samples.shape[1], subtype) as writer:
        for first in range(0, len(sound.samples), BLOCK):
            writer.write(sound.samples[first : first + BLOCK])
    return file.getvalue()


def resampled(blocks: Iterable[np.ndarray], rate: int, new_rate: int, length: int) -> Iterator[np.ndarray]:
    """Blocks f32[n,C] at `rate` → blocks at `new_rate`, without delay, `length` sample frames in all (cut, or filled up
    with silence). The result does not depend on how the samples come in blocks."""
    done, channels = 0, 1
    for block in _resampled(blocks, rate, new_rate):
        channels = block.shape[1]
        block = block[: length - done]
        if len(block):
            done += len(block)
            yield block
    while done < length:
        count = min(BLOCK, length - done)
        done += count
        yield np.zeros((count, channels), np.float32)


def _resampled(blocks: Iterable[np.ndarray], rate: int, new_rate: int) -> Iterator[np.ndarray]:
    if rate == new_rate:
        yield from blocks
        return
    import soxr

    stream = None
    for block in blocks:
        stream = stream or soxr.ResampleStream(rate, new_rate, block.shape[1], dtype="float32", quality=RESAMPLER)
        shape = block.shape[1]
        # Samples of fixed numbers at a time: how much soxr gives out at once depends on how much it is given.
        for first in range(0, len(block), BLOCK):
            yield _as_rows(stream.resample_chunk(_as_given(block[first : first + BLOCK])), shape)
    if stream:
        yield _as_rows(stream.resample_chunk(_as_given(np.empty((0, shape), np.float32)), last=True), shape)


def _as_given(block: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(block[:, 0] if block.shape[1] == 1 else block, np.float32)


def _as_rows(block: np.ndarray, channels: int) -> np.ndarray:
    return block.reshape(-1, channels)


def resample(sound: Sound, rate: int) -> Sound:
    """The whole of a sound at another rate."""
    if sound.rate == rate:
        return sound
    length = -(-len(sound.samples) * rate // sound.rate)
    return Sound(np.concatenate(list(resampled([sound.samples], sound.rate, rate, length))), rate)
