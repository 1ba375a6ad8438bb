"""Every picture by every codec at every setting: real files, measured, cached, in parallel over pictures."""

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

import numpy as np

from ..errors import UsageError, one_line
from ..process import thread_variables
from .cache import Cache
from .codecs import BenchCodec, CodecSpec
from .metrics import METRICS
from .pictures import Source, read_rgb
from .points import Point


@dataclass(frozen=True)
class Job:
    """One picture by one codec, at these settings (None: the codec's sweep)."""

    source: Source
    spec: CodecSpec
    settings: tuple[float, ...] | None
    metrics: tuple[str, ...]
    cache: str
    threads: int


def round_trip(codec: BenchCodec, rgb: np.ndarray, setting: float) -> tuple[bytes, np.ndarray]:
    """Encodes, writes the file, reads it back: (what is on disk, the decoded picture)."""
    return read_back(codec, rgb, codec.encode(rgb, setting))


def read_back(codec: BenchCodec, rgb: np.ndarray, data: bytes) -> tuple[bytes, np.ndarray]:
    """As `round_trip`, of a picture that is encoded already."""
    with tempfile.TemporaryDirectory(prefix="vqcodec-") as folder:
        path = Path(folder, f"file.{codec.extension}")
        path.write_bytes(data)
        data = path.read_bytes()
    decoded = codec.decode(data)
    if decoded.shape != rgb.shape:
        raise ValueError(f"{codec.label} decodes {list(rgb.shape)} as {list(decoded.shape)}")
    return data, decoded


def run_job(job: Job) -> list[Point]:
    """In a worker process. Finished points come from the cache, new ones go there at once."""
    limit_threads(job.threads)
    codec, cache = opened(job.spec), Cache(Path(job.cache))
    rgb, points = None, []
    for setting in job.settings or codec.settings:
        key = Cache.key(picture=job.source.digest, codec=job.spec.name, setting=codec.describe(setting),
                        note=codec.note, version=codec.version)
        found = cache.get(key) or {"values": {}}
        missing = [METRICS[name]() for name in job.metrics if _cached_name(name) not in found["values"]]
        if missing or "bytes" not in found:
            if rgb is None:
                rgb = read_rgb(job.source.path)
            data, decoded = round_trip(codec, rgb, setting)
            found["bytes"] = len(data)
            for metric in missing:
                refused = metric.refusal(*rgb.shape[:2])
                found["values"][_cached_name(metric.key)] = None if refused else metric.measure(rgb, decoded)
            cache.put(key, found)
        values = {name: found["values"][_cached_name(name)] for name in job.metrics}
        points.append(Point(job.source.name, job.source.width, job.source.height, codec.label, setting,
                            codec.describe(setting), found["bytes"], values))
    return points


def run(jobs: list[Job], workers: int, done: Callable[[int, int], None]) -> tuple[list[Point], dict[str, str]]:
    """(all points in the order of the jobs, {picture: why a codec refused it}). A picture that is refused, as a
    side of 20,000 pixels is by WebP, has no points at all, so that all curves are means over the same pictures.

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
    points = [point for i in sorted(results) for point in results[i] if point.picture not in refused]
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


@lru_cache
def _cached_name(metric: str) -> str:
    """A metric's name in the cache: with the version of the package that computed it."""
    from importlib import metadata

    package = {"ms-ssim": "pytorch-msssim", "ssimulacra2": "ssimulacra2"}.get(metric)
    return f"{metric} {metadata.version(package)}" if package else metric


def describe_codecs(specs: list[CodecSpec]) -> list[BenchCodec]:
    """Opens each once here, so that what is missing is said before any work. Raises VqcodecError."""
    return [opened(spec) for spec in specs]
