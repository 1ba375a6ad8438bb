"""Seconds and peak memory of whole `vqcodec` processes, from their start to their end: what a user waits for.

    python benchmarks/start.py FILE... [--runs 10] [--python PATH] [--encode]

A FILE is a picture or a recording, which is encoded once at the middle quality, or a .vq file. Medians of all runs; CPU seconds are
those of all threads, and say more on a machine that is busy with other work, whose load is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(*command: str) -> tuple[float, float, float]:
    """(seconds, CPU seconds, MiB at most) of a process. Raises where it fails."""
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: {message.decode()}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--python", default=sys.executable, help="of another installation, to compare with")
    parser.add_argument("--encode", action="store_true", help="time encoding too")
    options = parser.parse_args()
    program = (options.python, "-m", "vqcodec")
    with tempfile.TemporaryDirectory() as folder:
        for path in options.files:
            stream = path
            if path.suffix != ".vq":
                stream = Path(folder, path.name + ".vq")
                run(*program, "encode", str(path), str(stream), "-f")
            tasks = {"decode": ("decode", str(stream), "-d", folder, "-f"), "verify": ("verify", str(stream))}
            if options.encode and stream != path:
                tasks["encode"] = ("encode", str(path), str(stream), "-f")
            for task, arguments in tasks.items():
                load = os.getloadavg()[0]
                wall, spent, memory = (statistics.median(part) for part in zip(*(run(*program, *arguments)
                                                                                 for _ in range(options.runs))))
                print(json.dumps({"file": path.name, "task": task, "seconds": round(wall, 2), "cpu_seconds": round(spent, 2),
                                  "mib": round(memory), "runs": options.runs, "load": round(load, 1)}), flush=True)


if __name__ == "__main__":
    main()
