"""Samples f32[n,C] → sound files, block by block. libsndfile does the work, but for what its headers lack."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import PurePath

import numpy as np

from ...errors import InputError, UnsupportedError, UsageError
from .decoders import BLOCK, said
from ..samples import Sound
from .tags import id3, set_tags

FORMATS = {"wav": "WAV", "wave": "WAV", "flac": "FLAC", "ogg": "OGG", "oga": "OGG", "opus": "OGG", "mp3": "MP3",
           "aif": "AIFF", "aiff": "AIFF", "au": "AU", "caf": "CAF", "w64": "W64", "rf64": "RF64"}
LIMITS = dict.fromkeys(("WAV", "AIFF", "AU"), (1 << 32) - (1 << 20))  # bytes of samples, beside headers and tags
_BYTES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}  # of a sample; others: one or less
_FLOAT = {"FLOAT", "DOUBLE"}
_EXTENSIBLE = frozenset({"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
# Loudspeakers of 3 to 8 channels as WAVE_FORMAT_EXTENSIBLE has them, in the orders of FLAC (RFC 9639, 9.1.3), which
# are those of Microsoft too: front left, right, centre (1, 2, 4), low frequencies (8), back left, right (16, 32), back
# centre (256), side left, right (512, 1024).
CHANNEL_MASKS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}


def format_for(name: str) -> str:
    """libsndfile's name of the format that a file name's extension stands for. Raises UsageError."""
    extension = PurePath(name).suffix.lstrip(".").lower()
    if extension not in FORMATS:
        raise UsageError(f"cannot tell a sound format by the extension '{extension}' (known: {', '.join(FORMATS)})")
    return FORMATS[extension]


def sample_bytes(subtype: str | None) -> int:
    """Bytes of a sample that is not compressed."""
    return _BYTES.get(subtype or "PCM_16", 1)


class _Target:
    """A file that libsndfile writes to by callbacks, out of which no exception finds its way: keeps the first one.
    base: where in it libsndfile's file begins."""

    def __init__(self, file, base: int = 0):
        self.file, self.base, self.error = file, base, None
        self.read, self.flush = file.read, file.flush

    def tell(self) -> int:
        return self.file.tell() - self.base

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset + (self.base if whence == io.SEEK_SET else 0), whence) - self.base

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
    choice. length: sample frames to come, if that is known: WAV of more than 4 GiB becomes RF64, which has 64-bit sizes.
    tags: (name, value), as far as the format holds them. WAV of 3 to 8 channels tells the usual loudspeakers.

    Raises UsageError for a format or subtype that does not exist, UnsupportedError for a rate or number of channels
    that the format cannot hold and for more samples than it can, InputError where that is only found while writing, OSError
    where writing fails."""

    def __init__(self, file, name: str, rate: int, channels: int, subtype: str | None = None, *,
                 length: int | None = None, tags: Iterable[tuple[str, str]] = ()):
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
        self._frame = channels * _BYTES.get(subtype, 1)
        self._kind, self._limit, self._written = kind, LIMITS.get(kind), 0
        if self._limit is not None and length is not None and length * self._frame > self._limit:
            kind = self._kind_for_long(subtype)
        self._mask = CHANNEL_MASKS.get(channels) if kind in ("WAV", "RF64") and subtype in _EXTENSIBLE else None
        if kind == "WAV" and self._mask is not None:
            kind = "WAVEX"
        self._own = None if hasattr(file, "write") else open(file, "w+b")
        file = self._own or file
        before = id3(tags) if kind == "MP3" else b""  # libsndfile would write ID3v1, which has no Unicode
        file.write(before)
        self.target = _Target(file, len(before))
        try:
            self.file = soundfile.SoundFile(self.target, "w", rate, channels, subtype, format=kind)
        except soundfile.LibsndfileError as error:
            self._close()
            raise UnsupportedError(f"{kind} ({subtype}) cannot hold {channels} channels at {rate} Hz "
                                   f"({said(error)})") from error
        if not before:
            set_tags(self.file, kind, tags)

    def _kind_for_long(self, subtype: str) -> str:
        import soundfile

        if self._kind != "WAV" or not soundfile.check_format("RF64", subtype):
            raise UnsupportedError(self._too_long())
        self._limit = None
        return "RF64"

    def _too_long(self) -> str:
        return f"{self._kind} files hold no more than {self._limit} bytes of samples; .w64, .rf64, .caf and .flac hold more"

    def write(self, block: np.ndarray) -> None:
        """f32[n,channels]"""
        import soundfile

        self._written += len(block) * self._frame
        if self._limit is not None and self._written > self._limit:
            raise InputError(self._too_long())
        try:
            self.file.write(block.clip(-1, 1) if self.clips else block)
        except soundfile.LibsndfileError as error:
            raise OSError(None, said(error)) from error
        self.target.check()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            self.file.close()
            self.target.check()
            if self._mask is not None:
                _set_mask(self.target.file, self._mask)
        finally:
            self._close()

    def _close(self) -> None:
        if self._own is not None:
            self._own.close()


def _set_mask(file, mask: int) -> None:
    """Writes the channel mask, which libsndfile knows for some numbers of channels only, into a finished file."""
    file.seek(0)
    at = file.read(256).find(b"fmt ")
    if at > 0:
        file.seek(at + 8 + 20)
        file.write(mask.to_bytes(4, "little"))
    file.seek(0, io.SEEK_END)


def write_sound(sound: Sound, name: str, subtype: str | None = None, *, tags: Iterable[tuple[str, str]] = ()) -> bytes:
    """The bytes of a sound file; as `SoundWriter`."""
    file = io.BytesIO()
    samples = sound.samples
    with SoundWriter(file, name, sound.rate, samples.shape[1], subtype, length=len(samples), tags=tags) as writer:
        for first in range(0, len(samples), BLOCK):
            writer.write(samples[first : first + BLOCK])
    return file.getvalue()
