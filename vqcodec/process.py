"""What a process may use and has used: threads of numeric libraries, memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS",
                     "NUMBA_NUM_THREADS")
# Waiting threads must not spin: beside other work on the machine that slows everything many times over.
_PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}


def thread_variables(threads: int) -> dict[str, str]:
    """Environment of a child: libraries read their thread budget, and how their threads wait, when they are loaded."""
    return {**dict.fromkeys(_THREAD_VARIABLES, str(threads)), **_PASSIVE}


def wait_passively() -> None:
    """Threads of this process and of its children sleep while they wait, unless the environment says how they shall wait; NumPy's
    do not know how to, so there are none, unless the environment says how many. Of use before the libraries are loaded."""
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "torch" not in sys.modules and _PASSIVE.keys().isdisjoint(os.environ):
        os.environ.update(_PASSIVE)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_threads() -> int:
    """How many this process may work with: what the environment says, else as many as there are cores for it."""
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if told.isdecimal() and int(told):
        return int(told)
    return cores()


def waits_passively() -> bool:
    """Whether threads sleep while they wait, as far as the environment tells."""
    return os.environ.get("OMP_WAIT_POLICY", "").strip().upper() == "PASSIVE"


def peak_memory() -> int | None:
    """Most bytes that this process ever had in memory. On Linux not from getrusage, which begins with the
    parent's peak. None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) << 10
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def keep_freed_memory() -> None:
    """Makes glibc keep up to 62 MB of freed memory for what comes next. Left alone it returns all beyond twice the largest block
    freed so far (of blocks up to 32 MB: mallopt(3), M_MMAP_THRESHOLD) to the system, and takes it again a moment later, page
    by page: a tenth of the time of an encoder's search. Nothing is written to this block, so it takes no memory itself."""
    import numpy as np

    np.empty(31 << 20, np.uint8)
