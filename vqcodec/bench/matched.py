"""Files of one size side by side: vqcodec near a rate, the others the largest file that is not larger."""

from __future__ import annotations

from dataclasses import dataclass

from .codecs import BenchCodec, CodecSpec
from .comparison import Source, of_key
from .metrics import Metric
from .sweep import measured, opened, read_back


@dataclass(frozen=True)
class Version:
    """A source as one codec gives it: `content` is uint8[H,W,3] or a `Sound`. `over`: even the smallest file is larger than asked."""

    label: str
    described: str
    bytes: int
    rate: float
    values: dict[str, float | None]
    content: object
    over: bool


@dataclass(frozen=True)
class Match:
    """One source at one size: the first version is the one that set it."""

    source: Source
    original: object
    versions: list[Version]


def largest_within(codec: BenchCodec, original, limit: int) -> tuple[float, bytes]:
    """(setting, file): the largest file of at most `limit` bytes, by bisection over the codec's fine settings;
    the smallest there is where none is so small. Sizes are taken to rise with the setting, and then the
    neighbours above are tried too, because they do so only almost."""
    fine, tried = codec.fine, {}

    def size(i: int) -> int:
        if i not in tried:
            tried[i] = codec.encode(original, fine[i])
        return codec.size(tried[i])

    low, high = 0, len(fine)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= limit else (low, middle)
    if codec.spec.name != "vqcodec":  # its steps are small, and its encoder slow
        for i in range(low + 1, min(low + 3, len(fine))):
            size(i)
    size(low)
    within = [i for i in tried if codec.size(tried[i]) <= limit]
    best = max(within, key=lambda i: codec.size(tried[i])) if within else low
    return fine[best], tried[best]


def match(source: Source, specs: list[CodecSpec], rate: float, metrics: list[Metric]) -> Match:
    """The first codec of `specs` comes nearest below `rate`; the others stay within its file."""
    kind = of_key(specs[0].medium)
    original = kind.read(source.path)
    limit = int(rate * source.extent / 8)
    versions = []
    for i, spec in enumerate(specs):
        codec = opened(spec)
        setting, data = largest_within(codec, original, limit)
        data, decoded = read_back(kind, codec, original, data)
        size = codec.size(data)
        values = {m.key: None if (value := measured(m, source, original, decoded)) is None else m.shown(value)
                  for m in metrics}
        versions.append(Version(codec.label, codec.describe(setting), size, source.rate(size), values, decoded,
                                size > limit and i > 0))
        if i == 0:
            limit = size
    return Match(source, original, versions)
