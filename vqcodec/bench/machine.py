"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

PACKAGES = ("vqcodec", "torch", "numpy", "scipy")  # beside a medium's own


def describe(packages: Iterable[str]) -> dict:
    """{"cpu", "cores", "system", "python", "versions"}."""
    versions = {}
    for name in (*PACKAGES, *packages):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"cpu": _cpu(), "cores": os.cpu_count() or 0, "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(), "versions": versions}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
