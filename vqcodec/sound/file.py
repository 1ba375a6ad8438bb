"""sound files ⇄ samples f32[N,C], nominally in ±1, block by block; and from one sampling rate to another.

soundfile (libsndfile) reads and writes the formats, PyAV reads others, soxr resamples. Nothing here holds a whole recording
unless it was asked for one. No torch.

    file ─ source ─ survey (mpeg, flac, ogg, chunks) ─ decoders ─ SoundReader → blocks → writer ─ file
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

import numpy as np

from .. import filelimits
from ..errors import InputError, LimitError, VqcodecWarning, shown
from ..metadata import Metadata
from .formats.chunks import Endless
from .formats.decoders import BLOCK, AvFile, CannotDecode, Damaged, SndFile, have_av
from .memory import needed
from .formats.kinds import EXTENSIONS, by_libsndfile, demuxer, looks_like_sound
from .resampling import resample, resampled
from .samples import MAX_CHANNELS, RATES, Sound, check_shape, sound_of
from .formats.source import HEAD, Source, Window
from .formats.survey import survey
from .formats.tags import read_tags, tags_of
from .formats.writer import SoundWriter, format_for, write_sound

__all__ = ["BLOCK", "EXTENSIONS", "HEAD", "MAX_CHANNELS", "RATES", "Sound", "SoundReader", "SoundWriter", "format_for",
           "looks_like_sound", "read_sound", "read_tags", "resample", "resampled", "sound_of", "write_sound"]

PADDING = 4096  # sample frames, at most, that an encoder adds at the end


class SoundReader:
    """A recording that can be read again and again. `length` is exact: as many sample frames as `blocks` gives.

    metadata: the file's tags, None where there are none. notes: what of the file is not in it, because it is cut off,
    damaged or of another rate; empty where it is whole.
    Raises InputError for what is not sound or holds samples that are not numbers, UnsupportedError for rates and numbers of
    channels beyond this release."""

    def __init__(self, tracks, rate: int, channels: int, length: int, name: str = "sound", notes: tuple[str, ...] = ()):
        """tracks: [(what has `blocks()`, its sample frames)], or a `Sound`."""
        self._tracks, self.name, self.notes = tracks, name, notes
        self.metadata: Metadata | None = None
        self.rate, self.channels, self.length = rate, channels, length
        check_shape(rate, channels, name)
        _check_extent(length, channels, name)
        if length < 1:
            raise InputError(f"{name}: no samples in it")

    @classmethod
    def of(cls, sound: Sound, name: str = "sound") -> SoundReader:
        """Of samples in memory. Raises as `sound_of`."""
        sound = sound_of(sound)
        return cls(sound, sound.rate, sound.samples.shape[1], len(sound.samples), name)

    @classmethod
    def open(cls, source: str | os.PathLike | bytes, name: str | None = None, *, strict: bool = False) -> SoundReader:
        """Of a sound file: a path, or its bytes. What is no regular file is read once, whole.

        Recordings that follow one another in the file (joined MP3, chained Ogg, …) are one while rate and channels stay.
        What can be read of a file that is cut off or damaged is taken, with a VqcodecWarning that says what is missing;
        `strict` makes that an InputError."""
        name = name or ("sound" if isinstance(source, (bytes, bytearray, memoryview)) else shown(os.fsdecode(source)))
        source = Source(source, name, looks_like_sound)
        tracks, notes = _tracks(source)
        for note in notes:
            if strict:
                raise InputError(f"{name}: {note}")
            warnings.warn(f"{name}: {note}", VqcodecWarning, stacklevel=2)
        first = tracks[0][0]
        reader = cls(tracks, first.rate, first.channels, sum(length for _, length in tracks), name, tuple(notes))
        tags = tags_of(source)
        reader.metadata = Metadata(tags=tags) if tags else None
        return reader

    def blocks(self, size: int = BLOCK) -> Iterator[np.ndarray]:
        """f32[n,channels], n of `size` in all but the last."""
        done = 0
        for block in self._sized(size):
            filelimits.tick()
            wrong = ~np.isfinite(block).all(1)
            if wrong.any():
                second = (done + int(wrong.argmax())) / self.rate
                raise InputError(f"{self.name}: a sample is not a number, at {second:.3f} s")
            done += len(block)
            yield block
        if done != self.length:  # the file has changed since
            raise InputError(f"{self.name}: truncated: {done} of {self.length} samples are there")

    def _sized(self, size: int) -> Iterator[np.ndarray]:
        if isinstance(self._tracks, Sound):
            for first in range(0, self.length, size):
                yield np.asarray(self._tracks.samples[first : first + size], np.float32)
            return
        kept = np.empty((0, self.channels), np.float32)
        for block in self._raw():
            kept = np.concatenate([kept, block]) if len(kept) else block
            whole = len(kept) // size * size
            for first in range(0, whole, size):
                yield kept[first : first + size]
            kept = kept[whole:]
        if len(kept):
            yield kept

    def _raw(self) -> Iterator[np.ndarray]:
        for track, length in self._tracks:
            left = length
            try:
                for block in track.blocks():
                    yield block[:left]
                    left -= min(left, len(block))
                    if not left:
                        break
            except (Damaged, CannotDecode):  # known since it was opened, or else the length will not be right
                continue


def _check_extent(length: int, channels: int, name: str) -> None:
    """Raises LimitError."""
    try:
        filelimits.check(filelimits.Extent(samples=length * channels, memory=needed(channels, channels)))
    except LimitError as error:
        raise LimitError(f"{name}: {error}") from None


def _tracks(source: Source) -> tuple[list, list[str]]:
    """[(decoder, sample frames)] of a source, and notes on what is not in them. Raises InputError."""
    with source.opened() as file:
        window = Window(file, source.size)
        head = window.get(0, HEAD)
        known = demuxer(head, source.name)
        if known and not by_libsndfile(head):
            return _by_av(source, known, "")
        try:
            found = survey(window)
        except Endless as error:
            raise InputError(f"{source.name}: not a sound file, or damaged ({error})") from error
    try:
        tracks = [SndFile(source, found.parts[0])]
    except CannotDecode as error:
        if known is None:
            raise InputError(f"{source.name}: not a sound file, or damaged ({error})") from error
        return _by_av(source, known, str(error))
    rate, channels = tracks[0].rate, tracks[0].channels
    notes, taken, total = [], [], 0
    for number, part in enumerate(found.parts):
        try:
            track = tracks[0] if number == 0 else SndFile(source, part)
        except CannotDecode as error:
            notes.append(f"what follows {total / rate:.3f} s cannot be read ({error}) and is left out")
            break
        length, damage = _measured(track, source.name)
        if (track.rate, track.channels) != (rate, channels):
            notes.append(f"what follows {total / rate:.3f} s is left out: {length / track.rate:.3f} s of "
                         f"{_shape(track)}, not {_shape(tracks[0])}")
            continue
        taken.append((track, length))
        total += length
        if part.cut:
            lacks = f": about {length * part.lacks / rate:.3f} s are missing" if part.lacks else ""
            notes.append(f"cut off at {total / rate:.3f} s{lacks}")
        elif damage:
            notes.append(f"damaged at {total / rate:.3f} s ({damage}); the rest of it is left out")
    if found.junk:
        notes.append(f"{found.junk} bytes that are no sound are left out")
    return taken, notes


def _shape(track) -> str:
    return f"{track.channels} channel{'s' if track.channels > 1 else ''} at {track.rate} Hz"


def _by_av(source: Source, known: str, said: str) -> tuple[list, list[str]]:
    """As `_tracks`, of what libsndfile does not read; said: what it said."""
    if not have_av():
        hint = 'the extra "av" may read it: pip install ".[av]"'
        raise InputError(f"{source.name}: not a sound file, or damaged ({said}); {hint}" if said else
                         f"{source.name}: libsndfile does not read this format; {hint.replace('may read', 'reads')}")
    try:
        track = AvFile(source, known)
    except (CannotDecode, Damaged) as error:
        raise InputError(f"{source.name}: not a sound file, or damaged ({said or error})") from error
    length, damage = _measured(track, source.name)
    end = round((track.duration or 0) * track.rate)
    if known == "mov" and 0 < length - end <= PADDING and end:
        length = end  # MP4's edit list tells how much of the last packet is padding
    seconds, notes = length / track.rate, []
    if damage:
        notes.append(f"damaged, {seconds:.3f} s could be read ({damage})")
    elif track.duration is not None and track.duration - seconds > 0.1:
        notes.append(f"cut off at {seconds:.3f} s: about {track.duration - seconds:.3f} s are missing")
    return [(track, length)], notes


def _measured(track, name: str) -> tuple[int, str | None]:
    """(sample frames that can be decoded, why no more). Raises LimitError."""
    if track.known is not None:
        return track.known, None
    length = 0
    try:
        for block in track.blocks():
            length += len(block)
            filelimits.tick()
            _check_extent(length, track.channels, name)
    except Damaged as error:
        return length, str(error)
    return length, None


def read_sound(source: str | os.PathLike | bytes, name: str | None = None, *, strict: bool = False) -> Sound:
    """A whole sound file. Raises and warns as `SoundReader.open`."""
    reader = SoundReader.open(source, name, strict=strict)
    return Sound(np.concatenate(list(reader.blocks())), reader.rate)
