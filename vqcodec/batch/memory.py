"""How much memory files take, so that not too many big ones are worked on at once: each medium tells for its own."""

from __future__ import annotations

from .. import medium

MIB = 1 << 20
WORKER = 320 * MIB  # a worker with its model loaded
MODEL = 48 * MIB  # each further model that it has


def middling(kind: str) -> int:
    """Bytes that a file of no unusual size adds."""
    return medium.of_modality(kind).memory(None, "encode")


def of_file(store, path: str, kind: str, command: str) -> int:
    """Bytes that a file adds to its worker, by its header; little where it has none that can be read."""
    try:
        with store.open(path) as file:
            return medium.of_modality(kind).memory(file, command)
    except Exception:  # gone, or not to be opened: whoever reads it will say so
        return 0


def available() -> int | None:
    """Bytes that this machine can give without swapping, or None where that is not known (only Linux tells)."""
    try:
        with open("/proc/meminfo") as file:
            free = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None
    try:
        with open("/sys/fs/cgroup/memory.max") as limit, open("/sys/fs/cgroup/memory.current") as used:
            free = min(free, int(limit.read()) - int(used.read()))
    except (OSError, ValueError):  # no limit, or none that can be read
        pass
    return free
