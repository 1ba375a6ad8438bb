"""Tiny clips, made by PyAV."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np


def moving(count: int = 6, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """uint8[count,H,W,3]: a square that moves over smooth colours."""
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(seed)
    back = np.stack([120 + 80 * np.sin(rng.uniform(0.03, 0.1) * x + rng.uniform(0.03, 0.1) * y + c) for c in range(3)], 2)
    frames = np.repeat(back[None], count, 0)
    for i, frame in enumerate(frames):
        frame[8 + i : 24 + i, 4 + 3 * i : 20 + 3 * i] = (200, 60, 40)
    return frames.clip(0, 255).astype(np.uint8)


def clip(frames, times=None, *, format="matroska", codec="libx264rgb", pixels="rgb24", time_base=Fraction(1, 1000), options=None,
         aspect=None, sound=None, sound_at=0, matrix=None, full=None, tags=None) -> bytes:
    """A file of video; times: in units of time_base; sound: at 16 kHz, from sample `sound_at` on."""
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=25, options=options or ({"crf": "0"} if "264" in codec else {}))
        first = frames[0]
        height, width = (first.height, first.width) if isinstance(first, av.VideoFrame) else first.shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.time_base = stream.codec_context.time_base = time_base
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix:
            stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        track = container.add_stream("flac", rate=16000, layout="mono") if sound is not None else None
        for i, rgb in enumerate(frames):
            frame = rgb if isinstance(rgb, av.VideoFrame) else av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = (40 * i if times is None else times[i]), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            part = av.AudioFrame.from_ndarray((sound.clip(-1, 1) * 32767).astype(np.int16)[None], format="s16", layout="mono")
            part.sample_rate, part.pts, part.time_base = 16000, sound_at, Fraction(1, 16000)
            container.mux(track.encode(part))
            container.mux(track.encode(None))
    return file.getvalue()
