"""How much memory a picture takes, from its pixels, so that not too many big ones are worked on at once.

Measured with one thread and the model photo-1 (peak of the process above what the loaded model takes), encoding at
effort 2: 152 MiB for 0.39 megapixels, 448 for 1.5, 922 for 3.8, 1140 for 12. Less effort and decoding take less.
"""

from __future__ import annotations

MIB = 1 << 20
WORKER = 320 * MIB  # a worker with its model loaded
_SLACK = 1.1


def needed(pixels: int) -> int:
    """Bytes that a picture adds to its worker while it is encoded or decoded: an upper estimate."""
    mega = pixels / 1e6
    return int(_SLACK * MIB * min(800 * mega, 320 + 180 * mega, 880 + 32 * mega))


def pixels_of(store, path: str, command: str) -> int:
    """Width · height by the header of a file; 0 where it has none that can be read: such files fail early."""
    try:
        with store.open(path) as file:
            if command == "decode":
                from .. import container

                header = container.peek(file.read(1 << 18))
                return header.width * header.height
            from PIL import Image

            from ..media import pillow_limits

            with pillow_limits(), Image.open(file) as image:
                return image.width * image.height
    except Exception:
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
