"""What is a sound file: by its first bytes, and by its extension. Standard library only.

One judge for every command. `demuxer` names what reads it where libsndfile does not: PyAV's demuxer is always chosen here
and never guessed by FFmpeg, some of whose demuxers (playlists) would open other files and addresses.
"""

from __future__ import annotations

from pathlib import PurePath

from .mpeg import is_frame

# (offset, bytes, demuxer of FFmpeg or "") of what libsndfile reads
_LIBSNDFILE = (
    (0, b"fLaC", "flac"), (0, b"OggS", "ogg"), (0, b".snd", "au"), (0, b"dns.", ""), (0, b"caff", "caf"),
    (0, b"riff\x2e\x91\xcf\x11", "w64"), (0, b"RF64", "wav"), (0, b"BW64", "wav"),
    (0, b"NIST_1A\n", "nistsphere"), (0, b"Creative Voice File\x1a", "voc"), (0, b"2BIT", ""), (0, b"PVF1\n", "pvf"),
    (0, b" paf", ""), (0, b"fap ", ""), (0, b"ALawSoundFile**", ""), (0, b"Extended Instrument: ", ""),
    (0, b"MATLAB 5.0 MAT-file", ""), (20, b"samplerate\0", ""),  # MAT4: five integers, then the first variable's name
)
_IRCAM = frozenset(bytes([0x64, 0xA3, machine, 0]) for machine in range(1, 5)) | frozenset(
    bytes([0, machine, 0xA3, 0x64]) for machine in range(1, 5))
# of what only PyAV reads
_OTHERS = (
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", "asf"), (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"#!AMR", "amr"), (0, b"MAC ", "ape"), (0, b"wvpk", "wv"), (0, b"TTA1", "tta"), (0, b"MPCK", "mpc8"),
    (0, b"MP+", "mpc"), (0, b"DSD ", "dsf"), (0, b"\x7f\xfe\x80\x01", "dts"),
)
_EBML, _VIDEO_TRACK = b"\x1a\x45\xdf\xa3", b"\x83\x81\x01"  # Matroska's first bytes, and a track of its type 1
_MP4 = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "})  # brands of sound; others may be video or pictures

LIBSNDFILE_EXTENSIONS = frozenset({
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".spx", ".mp3", ".mp2", ".mp1", ".mpga", ".aif", ".aiff", ".aifc",
    ".au", ".snd", ".caf", ".w64", ".rf64", ".bwf", ".nist", ".sph", ".voc", ".svx", ".8svx", ".16svx", ".iff", ".avr",
    ".paf", ".fap", ".pvf", ".sf", ".ircam", ".wve", ".xi", ".sds", ".htk"})
OTHER_EXTENSIONS = frozenset({
    ".aac", ".m4a", ".m4b", ".wma", ".ac3", ".eac3", ".mka", ".weba", ".amr", ".ape", ".wv", ".tta", ".mpc", ".dsf", ".dts"})
EXTENSIONS = LIBSNDFILE_EXTENSIONS | OTHER_EXTENSIONS


def looks_like_sound(first: bytes, name: str = "") -> bool:
    """Whether the first bytes of a file (`HEAD`, or all) are those of a format of sound that this package reads, itself or
    with the extra `av`. Pictures and text are not: MPEG layer I with checksums, which begins as UTF-16 does, is left out.

    name: of the file, which decides where the bytes do not: MP4 of general brands is sound if it ends in .m4a or .m4b. ASF
    is taken, though it may hold video: that is found when it is opened; Matroska with a track of it is not, unless it is named as
    sound."""
    if first.startswith(_EBML) and _VIDEO_TRACK in first and PurePath(name).suffix.lower() not in (".mka", ".weba"):
        return False
    return by_libsndfile(first) or demuxer(first, name) is not None


def by_libsndfile(first: bytes) -> bool:
    riff = first[:4] in (b"RIFF", b"RIFX") and first[8:12] == b"WAVE"
    iff = first[:4] == b"FORM" and first[8:12] in (b"AIFF", b"AIFC", b"8SVX", b"16SV")
    dump = first[:2] == b"\xf0\x7e" and first[3:4] == b"\x01" and len(first) > 20 and first[20] == 0xF7  # MIDI sample dump
    akai = first[:2] == b"\1\4" and len(first) > 18 and all(32 <= byte < 127 for byte in first[2:19])
    return (riff or iff or dump or akai or first.startswith(b"ID3") or first[:4] in _IRCAM or is_frame(first[:4])
            or any(first[at : at + len(magic)] == magic for at, magic, _ in _LIBSNDFILE))


def demuxer(first: bytes, name: str = "") -> str | None:
    """The name of FFmpeg's demuxer for a file of these first bytes; its name decides where they are no more than MP4's."""
    if first[4:8] == b"ftyp":
        sound = first[8:12] in _MP4 or PurePath(name).suffix.lower() in (".m4a", ".m4b")
        return "mov" if sound else None
    if len(first) > 6 and first[0] == 0xFF and first[1] & 0xF6 == 0xF0 and first[2] >> 2 & 15 < 13:
        return "aac"  # ADTS
    if first[:2] == b"\x0b\x77" and len(first) > 5:
        stream = first[5] >> 3
        return "ac3" if stream <= 8 and first[4] >> 6 != 3 and first[4] & 63 < 38 else "eac3" if 10 < stream <= 16 else None
    if first[:4] in (b"RIFF", b"RIFX") and first[8:12] == b"WAVE":
        return "wav"
    if first[:4] == b"FORM" and first[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if first[:3] == b"ID3" or is_frame(first[:4]):
        return "mp3"
    known = _LIBSNDFILE + _OTHERS
    return next((name for at, magic, name in known if name and first[at : at + len(magic)] == magic), None)
