"""The codecs of video that are compared, one class each. A new one is a subclass of `BenchCodec` named in `CODECS`.

All have a key frame every `KEY_DISTANCE` frames at most, no tuning, and 4:2:0 in BT.601 (BT.709 from 720 lines on). What counts of
the others is their packets and headers, without a container.
"""

from __future__ import annotations

import io
import os
from fractions import Fraction

import numpy as np

from ..bench.codecs import VQCODEC_COLOURS, BenchCodec, CodecSpec
from ..bench.packages import require
from ..errors import InputError
from .clip import BASE, Clip, ClipReader, Decoded
from .file import from_rgb, to_rgb
from .inspection import inspect

KEY_DISTANCE = 48


class ByFfmpeg(BenchCodec):
    """An encoder of FFmpeg's at a CRF. Settings are 100 less it, so that more is a larger file."""

    encoder: str
    options: dict[str, str]
    extension = "mkv"
    fine = tuple(100 - crf for crf in range(51, 9, -1))
    settings = (59, 63, 67, 71, 75, 79)  # CRF 41 to 21

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        av = require("av", f"codec '{spec.name}'", "video")
        if self.encoder not in av.codecs_available:
            raise InputError(f"codec '{spec.name}': this PyAV has no {self.encoder}")
        arguments = " ".join(f"-{name} {value}" for name, value in self.options.items())
        self.note = f"{self.encoder} {arguments} -crf N -g {KEY_DISTANCE}, yuv420p; packets and headers count"

    @property
    def version(self) -> str:
        import av

        return f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"

    def describe(self, setting: float) -> str:
        return f"CRF {100 - setting:g}"

    def encode(self, original: Clip, setting: float) -> bytes:
        import av

        file, reader = io.BytesIO(), ClipReader(original)
        with av.open(file, "w", format="matroska") as container:
            options = {**self.options, "crf": f"{100 - setting:g}", "g": str(KEY_DISTANCE)}
            stream = container.add_stream(self.encoder, rate=_rate(original), options=options)
            height, width = original.frames.shape[1:3]
            stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
            stream.time_base = stream.codec_context.time_base = BASE
            stream.codec_context.thread_count = 1
            for frame in reader.frames():
                rgb = np.pad(frame.rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
                made = from_rgb(rgb, "yuv420p", reader.shape.colour)
                made.pts, made.time_base = frame.time, BASE
                container.mux(stream.encode(made))
            container.mux(stream.encode(None))
        return file.getvalue()

    def decode(self, data: bytes) -> Decoded:
        """Of even sides: `Videos.conformed` cuts them."""
        import av

        frames, times, keys = [], [], []
        with av.open(io.BytesIO(data), format="matroska") as container:
            for number, frame in enumerate(container.decode(video=0)):
                keys += [number] * frame.key_frame
                colour = ClipReader(Clip(np.zeros((1, frame.height, frame.width, 3), np.uint8), np.zeros(1), 1.0)).shape.colour
                frames.append(to_rgb(frame, colour))
                times.append(float(frame.time))
        return Decoded(np.stack(frames), np.array(times), times[-1] + 1, keys=tuple(keys))

    def size(self, data: bytes) -> int:
        import av

        with av.open(io.BytesIO(data), format="matroska") as container:
            stream = container.streams.video[0]
            return len(stream.codec_context.extradata or b"") + sum(packet.size for packet in container.demux(stream))


def _rate(clip: Clip) -> Fraction:
    """Frames a second, which encoders spread their bits by."""
    return Fraction(len(clip.frames) / clip.end).limit_denominator(1001)


class X264(ByFfmpeg):
    label, colours, encoder, options = "x264 medium", ("#1c7ed6",), "libx264", {"preset": "medium"}


class X264VerySlow(ByFfmpeg):
    label, colours, encoder, options = "x264 veryslow", ("#4dabf7",), "libx264", {"preset": "veryslow"}


class X265(ByFfmpeg):
    label, colours, encoder = "x265 medium", ("#2f9e44",), "libx265"
    options = {"preset": "medium", "x265-params": "log-level=none:pools=1"}


class SvtAv1(ByFfmpeg):
    label, colours, encoder, options = "SVT-AV1 preset 6", ("#f08c00",), "libsvtav1", {"preset": "6", "svtav1-params": "lp=1"}
    fine = tuple(100 - crf for crf in range(63, 14, -1))
    settings = (40, 47, 54, 61, 68, 75)

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        os.environ.setdefault("SVT_LOG", "1")  # errors alone


class VqcodecVideo(BenchCodec):
    """vqcodec's models of video."""

    extension, colours, key_distance = "vq", VQCODEC_COLOURS, KEY_DISTANCE

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        from ..zoo import registry
        from .codec import VideoCodec

        self._codec = VideoCodec.open(registry.find_by_name(spec.model, spec.models_dir, modality="video"))
        entry, highest = self._codec.entry, self._codec.qualities
        self.label = f"vqcodec {entry.name}"
        self.note = (f"model {entry.name} ({entry.hash.hex()}) over {self._codec.base.entry.name}, effort {spec.effort}, key frames "
                     f"{self.key_distance} frames apart at most; the whole stream counts")
        self.settings = tuple(float(q) for q in range(1, highest + 1))
        self.fine = tuple(1 + i / 16 for i in range(16 * (highest - 1) + 1))

    @property
    def version(self) -> str:
        import torch

        from ..version import __version__

        files = ",".join((*self._codec.entry.sha256.values(), *self._codec.base.entry.sha256.values()))
        return f"vqcodec {__version__}, torch {torch.__version__}, model {files}"

    def encode(self, original: Clip, setting: float) -> bytes:
        parts: list[bytes] = []
        self._codec.encode_stream(ClipReader(original), parts.append, setting, effort=self.spec.effort, key_distance=self.key_distance)
        return b"".join(parts)

    def decode(self, data: bytes) -> Decoded:
        clip = self._codec.decode_stream(io.BytesIO(data))
        frames = list(clip.frames())
        base = clip.header.time_base
        return Decoded(np.stack([f.rgb for f in frames]), np.array([float(f.time * base) for f in frames]),
                       float((frames[-1].time + frames[-1].duration) * base), keys=inspect(data).keys)


class EachFrame(VqcodecVideo):
    """As `VqcodecVideo`, each frame by itself: what the prior that sees the frame before is to be compared with."""

    key_distance = 1
    colours = ("#868e96",)

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        self.label = f"each frame by {self._codec.base.entry.name}"


CODECS: dict[str, type[BenchCodec]] = {
    "vqcodec": VqcodecVideo, "vqcodec-pictures": EachFrame, "x264": X264, "x264-veryslow": X264VerySlow, "x265": X265, "svt-av1": SvtAv1}
