"""What is a file of video: by its first bytes. Standard library only.

PyAV's demuxer is always chosen here and never guessed by FFmpeg, some of whose demuxers (playlists) would open other files and
addresses.
"""

from __future__ import annotations

from pathlib import PurePath

EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".y4m", ".ts", ".flv"})
_OF_SOUND = (".mka", ".weba", ".m4a", ".m4b")
_STILL = (b"mif1", b"msf1", b"heic", b"heix", b"hevc", b"hevx", b"avif", b"avis", b"jxl ", b"crx ")  # pictures in boxes
_SOUND = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")
_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # QuickTime's, from before there was `ftyp`
_EBML = b"\x1a\x45\xdf\xa3"
_VIDEO_TRACK = b"\x83\x81\x01"  # Matroska's TrackType


def demuxer(head: bytes, name: str = "") -> str | None:
    """FFmpeg's demuxer for a file of video of these first bytes; None for anything else. Containers that may hold sound alone
    are video where a track of it is seen, or else if they are not named as sound; a GIF if it moves."""
    extension = PurePath(name).suffix.lower()
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return None if brand in _STILL + _SOUND or extension in _OF_SOUND else "mov"
    if head[4:8] in _BOXES and extension in (".mov", ".mp4", ".m4v", ".qt"):
        return "mov"
    if head.startswith(_EBML):
        sound = _VIDEO_TRACK not in head or extension in _OF_SOUND
        return None if sound else "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif" if b"NETSCAPE2.0" in head or b"ANIMEXTS1.0" in head else None
    if head.startswith(b"YUV4MPEG2 "):
        return "yuv4mpegpipe"
    if head[:1] == b"G" and len(head) > 377 and head[188:189] == head[376:377] == b"G":
        return "mpegts"
    return "flv" if head.startswith(b"FLV\x01") else None
