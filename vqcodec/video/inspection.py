"""What a .vq file of video says of itself, and whether its segments are whole. Needs neither torch nor the stream's model."""

from __future__ import annotations

import io
from dataclasses import dataclass

from ..indices.quality import quality_of
from ..stream import checked_metadata
from .stream import END, GROUP, MAX_HEADER, PACKETS, SOUND, SegmentsOf, VideoHeader, peek, unpack_end, unpack_group


@dataclass(frozen=True)
class VideoInspection:
    """keys: numbers of the frames that groups begin with; times: of all frames, in units of `time_base`; kbps: of the whole file;
    sound: "coded", "copied" or "none"; sizes in bytes."""

    width: int
    height: int
    frames: int
    groups: int
    seconds: float
    quality: float
    aspect: str
    time_base: str
    sound: str
    model_id: int
    model_hash: str
    header_bytes: int
    metadata_bytes: int
    video_bytes: int
    sound_bytes: int
    bytes: int
    kbps: float
    header: VideoHeader
    keys: tuple[int, ...]
    times: tuple[int, ...]
    end: int

    def facts(self) -> dict:
        hidden = ("header", "keys", "times", "end")
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in hidden}
        return {"modality": "video", **values}


def inspect(data: bytes) -> VideoInspection:
    """Raises CorruptStreamError or UnsupportedError for what is not a complete stream."""
    header, sealed = peek(data)
    checked_metadata(data, sealed)
    file = io.BytesIO(data)
    file.seek(sealed.end)
    times, keys, video, sound, kind, totals = [], [], 0, 0, "none", None
    for segment in SegmentsOf(file, sealed.checksum):
        if segment.kind == GROUP:
            keys.append(len(times))
            times += unpack_group(segment).times
            video += segment.size
        elif segment.kind == END:
            totals = unpack_end(segment)
        else:
            sound += segment.size
            kind = {SOUND: "coded", PACKETS: "copied"}[segment.kind]
    seconds = float(totals.end * header.time_base)
    return VideoInspection(
        width=header.width, height=header.height, frames=len(times), groups=len(keys), seconds=round(seconds, 6),
        quality=quality_of(header.quality), aspect=str(header.aspect), time_base=str(header.time_base), sound=kind,
        model_id=header.model_id, model_hash=header.model_hash.hex(), header_bytes=sealed.size, metadata_bytes=sealed.metadata_length,
        video_bytes=video, sound_bytes=sound, bytes=len(data), kbps=8 * len(data) / max(seconds, 1e-9) / 1000, header=header,
        keys=tuple(keys), times=tuple(times), end=totals.end)


def frames_of(data: bytes) -> tuple[int, ...]:
    """Bytes of each frame of a complete stream."""
    file = io.BytesIO(data)
    sealed = peek(data)[1]
    file.seek(sealed.end)
    return tuple(length for segment in SegmentsOf(file, sealed.checksum) if segment.kind == GROUP
                 for length in unpack_group(segment).lengths)


def table(facts: dict) -> str:
    """The facts of `inspect` as text."""
    model = f"model {facts['model_id']}, hash {facts['model_hash']}"
    shape = "" if facts["aspect"] == "1" else f", samples {facts['aspect']} as wide as high"
    lines = [
        f"video      {facts['width']}x{facts['height']}{shape}, {facts['frames']} frames in {facts['groups']} groups",
        f"time       {facts['seconds']:.3f} s, in units of {facts['time_base']} s",
        f"quality    {facts['quality']:g}",
        f"model      {facts['model']} ({model})" if facts["model"] else f"model      not installed ({model})",
        f"rate       {facts['kbps']:.3f} kbps", "",
        f"header     {facts['header_bytes']:>10} bytes",
        f"metadata   {facts['metadata_bytes']:>10} bytes",
        f"frames     {facts['video_bytes']:>10} bytes",
        f"sound      {facts['sound_bytes']:>10} bytes, {facts['sound']}",
    ]
    lines += [f"group {i:<4} {size:>10} bytes" for i, size in enumerate(facts.get("group_bytes", ()))]
    if facts.get("labels"):
        from .labels import in_runs  # with NumPy, which help does without

        lines += [f"labels     {in_runs(facts['labels'])}"]
    return "\n".join([*lines, f"total      {facts['bytes']:>10} bytes"])


__all__ = ["MAX_HEADER", "VideoInspection", "inspect", "table"]
