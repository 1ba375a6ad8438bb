"""Files of one size side by side: vqcodec near a rate, the others the largest file that is not larger."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .codecs import BenchCodec, CodecSpec
from .metrics import Metric
from .pictures import Source, read_rgb
from .sweep import opened, read_back


@dataclass(frozen=True)
class Version:
    """A picture as one codec gives it. `over`: even the smallest file is larger than asked."""

    label: str
    described: str
    bytes: int
    bpp: float
    values: dict[str, float | None]
    rgb: np.ndarray
    over: bool


@dataclass(frozen=True)
class Match:
    """One picture at one size: the first version is the one that set it."""

    picture: str
    bpp: float
    original: np.ndarray
    versions: list[Version]


def largest_within(codec: BenchCodec, rgb: np.ndarray, limit: int) -> tuple[float, bytes]:
    """(setting, file): the largest file of at most `limit` bytes, by bisection over the codec's fine settings;
    the smallest there is where none is so small. Sizes are taken to rise with the setting, and then the
    neighbours above are tried too, because they do so only almost."""
    fine, tried = codec.fine, {}

    def size(i: int) -> int:
        if i not in tried:
            tried[i] = codec.encode(rgb, fine[i])
        return len(tried[i])

    low, high = 0, len(fine)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= limit else (low, middle)
    if codec.spec.name != "vqcodec":  # its steps are small, and its encoder slow
        for i in range(low + 1, min(low + 3, len(fine))):
            size(i)
    size(low)
    within = [i for i in tried if len(tried[i]) <= limit]
    best = max(within, key=lambda i: len(tried[i])) if within else low
    return fine[best], tried[best]


def match(source: Source, specs: list[CodecSpec], bpp: float, metrics: list[Metric]) -> Match:
    """The first codec of `specs` comes nearest below `bpp`; the others stay within its file."""
    rgb = read_rgb(source.path)
    limit = int(bpp * source.width * source.height / 8)
    versions = []
    for i, spec in enumerate(specs):
        codec = opened(spec)
        setting, data = largest_within(codec, rgb, limit)
        data, decoded = read_back(codec, rgb, data)
        values = {m.key: None if m.refusal(*rgb.shape[:2]) else m.shown(m.measure(rgb, decoded)) for m in metrics}
        versions.append(Version(codec.label, codec.describe(setting), len(data),
                                8 * len(data) / (source.width * source.height), values, decoded,
                                len(data) > limit and i > 0))
        if i == 0:
            limit = len(data)
    return Match(source.name, bpp, rgb, versions)
