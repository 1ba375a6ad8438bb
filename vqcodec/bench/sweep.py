"""Every source by every codec at every setting: real files, measured, cached, in parallel over sources."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import UsageError, one_line
from ..process import thread_variables
from .cache import Cache
from .codecs import BenchCodec, CodecSpec
from .comparison import Comparison, Source, of_key
from .metrics import Metric, Unmeasurable
from .points import Point


@dataclass(frozen=True)
class Job:
    """One source by one codec, at these settings (None: the codec's sweep)."""

    source: Source
    spec: CodecSpec
    settings: tuple[float, ...] | None
    metrics: tuple[str, ...]
    cache: str
    threads: int


def round_trip(kind: Comparison, codec: BenchCodec, original, setting: float) -> tuple[bytes, object]:
    """Encodes, writes the file, reads it back: (what is on disk, what is decoded, in the original's shape)."""
    return read_back(kind, codec, original, codec.encode(original, setting))


def read_back(kind: Comparison, codec: BenchCodec, original, data: bytes) -> tuple[bytes, object]:
    """As `round_trip`, of what is encoded already."""
    with tempfile.TemporaryDirectory(prefix="vqcodec-") as folder:
        path = Path(folder, f"file.{codec.extension}")
        path.write_bytes(data)
        data = path.read_bytes()
    try:
        return data, kind.conformed(codec.decode(data), original)
    except ValueError as error:
        raise ValueError(f"{codec.label}: {error}") from error


def measured(metric: Metric, source: Source, original, decoded) -> float | None:
    """None where the metric has no value."""
    try:
        return None if metric.refusal(source) else metric.measure(original, decoded)
    except Unmeasurable:
        return None


def run_job(job: Job) -> list[Point]:
    """In a worker process. Finished points come from the cache, new ones go there at once."""
    limit_threads(job.threads)
    kind, codec, cache = of_key(job.spec.medium), opened(job.spec), Cache(Path(job.cache))
    original, points = None, []
    there = kind.metrics_by_name()
    metrics = {name: there[name]() for name in job.metrics}
    for setting in job.settings or codec.settings:
        key = Cache.key(**{kind.key: job.source.digest}, codec=job.spec.name, setting=codec.describe(setting),
                        note=codec.note, version=codec.version)
        found = cache.get(key) or {"values": {}}
        missing = [metric for metric in metrics.values() if _cached_name(metric) not in found["values"]]
        if missing or "bytes" not in found:
            if original is None:
                original = kind.read(job.source.path)
            data, decoded = round_trip(kind, codec, original, setting)
            found["bytes"] = codec.size(data)
            for metric in missing:
                found["values"][_cached_name(metric)] = measured(metric, job.source, original, decoded)
            cache.put(key, found)
        values = {name: found["values"][_cached_name(metric)] for name, metric in metrics.items()}
        points.append(Point(job.source, codec.label, setting, codec.describe(setting), found["bytes"], values))
    return points


def run(jobs: list[Job], workers: int, done: Callable[[int, int], None]) -> tuple[list[Point], dict[str, str]]:
    """(all points in the order of the jobs, {source: why a codec refused it}). A source that is refused, as a
    side of 20,000 pixels is by WebP, has no points at all, so that all curves are means over the same sources.

    `done(finished, all)` is called as jobs finish. Raises UsageError for a quality that a model does not have."""
    results: dict[int, list[Point]] = {}
    refused: dict[str, str] = {}
    with thread_environment(jobs[0].threads if jobs else 1), ProcessPoolExecutor(
            min(workers, max(1, len(jobs))), multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(run_job, job): i for i, job in enumerate(jobs)}
        try:
            for count, future in enumerate(as_completed(futures), 1):
                index = futures[future]
                try:
                    results[index] = future.result()
                except (UsageError, BrokenExecutor):
                    raise
                except Exception as error:
                    reason = one_line(error) or type(error).__name__
                    refused.setdefault(jobs[index].source.name, f"{jobs[index].spec.name}: {reason}")
                done(count, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    points = [point for i in sorted(results) for point in results[i] if point.source.name not in refused]
    return points, refused


def limit_threads(threads: int) -> None:
    import torch

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


@contextmanager
def thread_environment(threads: int) -> Iterator[None]:
    """What children inherit."""
    variables = thread_variables(threads)
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@lru_cache(maxsize=8)
def opened(spec: CodecSpec) -> BenchCodec:
    return spec.open()


def _cached_name(metric: Metric) -> str:
    """A metric's name in the cache: with the version of the package that computes it."""
    return f"{metric.key} {_version(metric.package)}" if metric.package else metric.key


@lru_cache
def _version(package: str) -> str:
    from importlib import metadata

    return metadata.version(package)


def describe_codecs(specs: list[CodecSpec]) -> list[BenchCodec]:
    """Opens each once here, so that what is missing is said before any work. Raises VqcodecError."""
    return [opened(spec) for spec in specs]
