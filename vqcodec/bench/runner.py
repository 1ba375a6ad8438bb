"""One run of the benchmark, from a folder to a `Result`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from . import machine, matched, sweep, timing
from .codecs import CodecSpec
from .metrics import metrics as named_metrics
from .pictures import Source, find
from .points import Curve, bd_rates, means
from .progress import Progress
from .result import Result

SIDE_BY_SIDE = ("vqcodec", "jpeg", "webp", "avif")  # first the one that sets the size


@dataclass(frozen=True)
class Options:
    """qualities: of vqcodec, None for all whole ones. jobs: processes of the sweep, of `threads` threads each, and
    the timing's threads. timing_pictures: how many pictures are timed, 0 for no timing. compare: bits per pixel of the
    sliders; compare_pictures: their pictures' names, or None for the first two."""

    specs: tuple[CodecSpec, ...]
    metrics: tuple[str, ...]
    cache: Path
    qualities: tuple[float, ...] | None = None
    jobs: int = 1
    threads: int = 1
    timing_pictures: int = 2
    compare: tuple[float, ...] = (0.1, 0.25, 0.5)
    compare_pictures: tuple[str, ...] | None = None


def run(folder: Path, options: Options) -> Result:
    """Raises InputError where no picture can be read or a package is missing, UsageError for bad options."""
    metrics = named_metrics(list(options.metrics))
    codecs = sweep.describe_codecs(list(options.specs))
    sources, bad = find(folder)
    if not sources:
        raise InputError(f"{folder}: none of its {len(bad)} pictures can be read ({bad[0][0]}: {bad[0][1]})")
    chosen = _chosen(sources, options.compare_pictures)
    jobs = [sweep.Job(source, spec, options.qualities if spec.name == "vqcodec" else None, options.metrics,
                      str(options.cache), options.threads) for source in sources for spec in options.specs]
    with Progress("sweep") as progress:
        points, refused = sweep.run(jobs, options.jobs, progress)
    bad += sorted(refused.items())
    sources = [source for source in sources if source.name not in refused]
    if not sources:
        raise InputError(f"{folder}: no picture is left ({bad[0][0]}: {bad[0][1]})")
    chosen = [source for source in chosen if source.name not in refused]
    curves = [Curve(codec.spec.name, codec.label, codec.note, codec.version,
                    means([p for p in points if p.codec == codec.label], metrics)) for codec in codecs]
    timings = []
    with Progress("timing") as progress:
        for i, spec in enumerate(options.specs if options.timing_pictures else ()):
            progress(i, len(options.specs))
            timings.append(timing.time_codec(spec, sources[: options.timing_pictures], options.threads))
    absent = [(s.name, reason) for s in sources for m in metrics if (reason := m.refusal(s.height, s.width))]
    return Result(machine.describe(), sources, bad, absent, metrics, points, curves, bd_rates(curves, metrics),
                  options.jobs, options.threads, timings, _matches(chosen, options, metrics))


def _chosen(sources: list[Source], names: tuple[str, ...] | None) -> list[Source]:
    if names is None:
        return sources[:2]
    known = {name: s for s in sources for name in (Path(s.name).stem, s.name)}
    for name in names:
        if name not in known:
            raise InputError(f"there is no picture '{name}' to show side by side")
    return [known[name] for name in names]


def _matches(chosen: list[Source], options: Options, metrics) -> list[matched.Match]:
    specs = [s for name in SIDE_BY_SIDE for s in options.specs if s.name == name]
    if len(specs) < 2:
        return []
    sweep.limit_threads(options.threads)  # this stage is coded in this process
    work = [(source, bpp) for source in chosen for bpp in options.compare]
    found = []
    with Progress("side by side") as progress:
        for i, (source, bpp) in enumerate(work):
            progress(i, len(work))
            found.append(matched.match(source, specs, bpp, metrics))
    return found
