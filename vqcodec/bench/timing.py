"""Time and memory of a codec: serial, each in a fresh process of its own.

    python -m vqcodec.bench.timing < request.json > answer.json
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import InputError
from ..process import peak_memory
from .codecs import CodecSpec
from .comparison import Source, of_key
from .sweep import limit_threads, thread_environment

REPEATS = 3


@dataclass(frozen=True)
class Timing:
    """Seconds per megapixel or second of sound (the median over sources of the best of three runs, library and model loaded) at the
    setting in the middle of the sweep, and the peak memory of the process in bytes (None where the system does not
    tell), of which `base` were in use before the codec was loaded."""

    codec: str
    setting: str
    encode: float
    decode: float
    peak: int | None
    base: int | None
    sources: int
    threads: int


def time_codec(spec: CodecSpec, sources: list[Source], threads: int) -> Timing:
    """Raises InputError where the process fails."""
    request = {"spec": asdict(spec), "paths": [s.path for s in sources], "threads": threads}
    with thread_environment(threads):
        result = subprocess.run([sys.executable, "-m", "vqcodec.bench.timing"], check=False,
                                input=json.dumps(request), capture_output=True, text=True)
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"timing of {spec.name} failed: {last}")
    return Timing(**json.loads(result.stdout.splitlines()[-1]))


def measure(spec: CodecSpec, paths: list[str], threads: int) -> Timing:
    """In this process."""
    kind = of_key(spec.medium)
    sources = [(kind.source(Path(path), content), content) for path, content in zip(paths, map(kind.read, paths))]
    base = peak_memory()
    codec = spec.open()
    if spec.name == "vqcodec":
        limit_threads(threads)
    setting = codec.settings[len(codec.settings) // 2]
    codec.decode(codec.encode(sources[0][1], setting))  # what is loaded on the first call
    encoding, decoding = [], []
    for source, content in sources:
        runs = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            data = codec.encode(content, setting)
            middle = time.perf_counter()
            codec.decode(data)
            runs.append((middle - start, time.perf_counter() - middle))
        amount = source.extent / kind.speed_extent
        encoding.append(min(run[0] for run in runs) / amount)
        decoding.append(min(run[1] for run in runs) / amount)
    return Timing(codec.label, codec.describe(setting), statistics.median(encoding), statistics.median(decoding),
                  peak_memory(), base, len(sources), threads)


if __name__ == "__main__":
    _request = json.load(sys.stdin)
    print(json.dumps(asdict(measure(CodecSpec(**_request["spec"]), _request["paths"], _request["threads"]))))
