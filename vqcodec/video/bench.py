"""Clips as the benchmark sees them: `clip.Clip`, of the first seconds of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..bench.comparison import Comparison, Source, digest_of
from ..errors import InputError
from .kinds import EXTENSIONS

MOST_FRAMES = 240  # of a file that are compared


@dataclass(frozen=True)
class ClipSource(Source):
    width: int
    height: int
    frames: int
    milliseconds: float

    @property
    def extent(self) -> float:
        return self.milliseconds

    def sizes(self):
        return {"width": self.width, "height": self.height, "frames": self.frames}


class Videos(Comparison):
    key, noun, nouns = "video", "clip", "clips"
    rate_unit, rate_name, log_rate, highest_shown = "kbps", "kbit/s", True, 4000.0
    speed_name, speed_extent = "s per s", 1000.0
    compared = (f"the decoded R'G'B' frames, of the first {MOST_FRAMES} of a file; sound is left out. Flicker is how much more than the "
                "original, in levels of luma, decoded frames change from one to the next in blocks of 16x16 that stand still there: below 0 "
                "the noise of the original is smoothed. Pumping is how much greater that is at key frames than at all others")
    suffixes = tuple(sorted(EXTENSIONS))
    codecs = ("vqcodec", "x264", "x265")
    more_codecs = ("x264-veryslow", "svt-av1", "vqcodec-pictures")
    metrics = ("psnr", "ms-ssim")
    more_metrics = ("ssimulacra2", "cvvdp", "flicker", "pumping")
    efforts, usual_effort = 6, 1
    packages = ("av", "pytorch-msssim", "ssimulacra2")
    beside = ("vqcodec", "x265", "x264")
    compare = (100.0, 250.0)

    def codecs_by_name(self):
        from .peers import CODECS

        return CODECS

    def metrics_by_name(self):
        from .scores import METRICS

        return METRICS

    def gallery(self):
        from .reels import Reels

        return Reels()

    def read(self, path: str | Path):
        import itertools

        import numpy as np

        from ..fileio import Source as File
        from .clip import Clip
        from .file import VideoReader

        reader = VideoReader(File.open(path))
        frames = list(itertools.islice(reader.frames(), MOST_FRAMES))
        if len(frames) < 2:
            raise InputError(f"{path}: a clip of one frame is a picture")
        base = reader.shape.time_base
        times = np.array([float(frame.time * base) for frame in frames])
        return Clip(np.stack([frame.rgb for frame in frames]), times, float((frames[-1].time + frames[-1].duration) * base))

    def source(self, path, content):
        count, height, width, _ = content.frames.shape
        return ClipSource(path.name, str(path), digest_of(content.frames, content.times.tolist()), width, height, count,
                          1000 * content.end)

    def conformed(self, decoded, original):
        """Cut to the original's size: 4:2:0 has even sides."""
        from dataclasses import replace

        decoded = replace(decoded, frames=decoded.frames[:, : original.frames.shape[1], : original.frames.shape[2]])
        if decoded.frames.shape != original.frames.shape:
            raise ValueError(f"decoded to {decoded.frames.shape}, not {original.frames.shape}")
        return decoded

    def metric_names(self, asked, sources, codecs):
        from importlib.util import find_spec

        return [name for name in self.metrics if name == "psnr" or find_spec("pytorch_msssim")] if asked is None else list(asked)

    def summary(self, sources):
        return f"{sum(s.frames for s in sources)} frames, {sum(s.milliseconds for s in sources) / 1000:.1f} s"
