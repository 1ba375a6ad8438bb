"""One run of the benchmark, from a folder to a `Result`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, UsageError, VqcodecWarning
from . import machine, matched, sweep, timing
from .bdrate import LEAST_POINTS
from .codecs import BenchCodec, CodecSpec
from .comparison import Comparison, Source
from .points import Curve, bd_rates, means, same_sources
from .progress import Progress
from .result import Result


@dataclass(frozen=True)
class Options:
    """metrics: None for what suits. qualities: of vqcodec, None for all whole ones. jobs: processes of the sweep, of
    `threads` threads each, and the timing's threads. timing_sources: how many are timed, 0 for no timing. compare: rates
    of what is shown side by side; compare_sources: names of that, or None for the first two."""

    medium: Comparison
    specs: tuple[CodecSpec, ...]
    metrics: tuple[str, ...] | None
    cache: Path
    qualities: tuple[float, ...] | None = None
    jobs: int = 1
    threads: int = 1
    timing_sources: int = 2
    compare: tuple[float, ...] = ()
    compare_sources: tuple[str, ...] | None = None
    published: bool = False  # others' curves too
    probes: bool = True  # what the medium makes by program too


def run(folder: Path, options: Options) -> Result:
    """Raises InputError where nothing can be read or a package is missing, UsageError for bad options."""
    medium = options.medium
    codecs = sweep.describe_codecs(list(options.specs))
    _warn_of_few_settings(codecs, options.qualities)
    sources, bad = medium.find(folder)
    if not sources:
        raise InputError(f"{folder}: none of its {len(bad)} {medium.nouns} can be read ({bad[0][0]}: {bad[0][1]})")
    metrics = medium.ready(medium.metric_names(options.metrics, sources, codecs))
    names = tuple(metric.key for metric in metrics)
    chosen = _chosen(medium, sources, options.compare_sources)
    published = medium.published(sources) if options.published else []
    if options.published and not published:
        raise UsageError(f"--published: there are no published curves of {medium.nouns}")
    jobs = [sweep.Job(source, spec, options.qualities if spec.name == "vqcodec" else None, names,
                      str(options.cache), options.threads) for source in sources for spec in options.specs]
    with Progress("sweep") as progress:
        points, refused = sweep.run(jobs, options.jobs, progress)
    bad += sorted(refused.items())
    sources = [source for source in sources if source.name not in refused]
    if not sources:
        raise InputError(f"{folder}: no {medium.noun} is left ({bad[0][0]}: {bad[0][1]})")
    chosen = [source for source in chosen if source.name not in refused]
    points, absent = same_sources(points, metrics)
    curves = [Curve(codec.spec.name, codec.label, codec.note, codec.version,
                    means([p for p in points if p.codec == codec.label], metrics)) for codec in codecs]
    curves += [found.curve(metrics) for found in published]
    timings = []
    with Progress("timing") as progress:
        for i, spec in enumerate(options.specs if options.timing_sources else ()):
            progress(i, len(options.specs))
            timings.append(timing.time_codec(spec, sources[: options.timing_sources], options.threads))
    sweep.limit_threads(options.threads)
    probes = medium.probed(codecs, sources) if options.probes else []
    return Result(medium, machine.describe(medium.packages), sources, bad, absent, metrics, points, curves, bd_rates(curves, metrics),
                  options.jobs, options.threads, timings, _matches(chosen, options, metrics), probes)


def _warn_of_few_settings(codecs: list[BenchCodec], qualities: tuple[float, ...] | None) -> None:
    """Before hours of work: a curve of so few points has no BD-rate."""
    for codec in codecs if len(codecs) > 1 else ():
        count = len(set(qualities if qualities and codec.spec.name == "vqcodec" else codec.settings))
        if count < LEAST_POINTS:
            warnings.warn(f"{codec.label}: too few qualities for a BD-rate ({count}, and {LEAST_POINTS} are needed)",
                          VqcodecWarning, stacklevel=2)


def _chosen(medium: Comparison, sources: list[Source], names: tuple[str, ...] | None) -> list[Source]:
    if names is None:
        return sources[:2]
    known = {name: s for s in sources for name in (Path(s.name).stem, s.name)}
    for name in names:
        if name not in known:
            raise InputError(f"there is no {medium.noun} '{name}' to show side by side")
    return [known[name] for name in names]


def _matches(chosen: list[Source], options: Options, metrics) -> list[matched.Match]:
    specs = [s for name in options.medium.beside for s in options.specs if s.name == name]
    if len(specs) < 2:
        return []
    sweep.limit_threads(options.threads)  # this stage is coded in this process
    work = [(source, rate) for source in chosen for rate in options.compare]
    found = []
    with Progress("side by side") as progress:
        for i, (source, rate) in enumerate(work):
            progress(i, len(work))
            found.append(matched.match(source, specs, rate, metrics))
    return found
