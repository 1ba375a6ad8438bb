"""How much memory a file takes, so that not too many big ones are worked on at once: a picture by its pixels, a recording
by its channels and rate (its length does not matter).

Measured with one thread (peak of the process above what the loaded model takes). Pictures, encoding at quality 8 with
photo-3: at effort 2 147 MiB for 0.39 megapixels, 436 for 1.5, 928 for 3.8, at effort 1 2274 for 12; where the search
remembers nothing, 1567 for 12.6, 1767 for 25; less effort and decoding take less. With photo-ssim-1 195, 528, 1104, 2344, 1811 and
1930. Recordings with an earlier model of the same shape, the more of encoding and decoding: 58 MiB for 1 channel, 85 for 2, 357 for 8,
531 for 16, 696 for 32, 835 for 64, 1388 for 255 (at 16 to 48 kHz); 2 channels at 768 kHz: 155; where all channels are
equal and coded once, 972 for 255 at 48 kHz, 200 for 16 at 192 kHz. A worker that did 164 recordings of 1 channel, all of
other lengths, had taken 410 MiB in all, model included.
"""

from __future__ import annotations

from ..zoo.config import REMEMBERED_PIXELS

MIB = 1 << 20
WORKER = 320 * MIB  # a worker with its model loaded
MODEL = 48 * MIB  # each further model that it has
_SLACK = 1.1


def needed(pixels: int) -> int:
    """Bytes that a picture adds to its worker while it is encoded or decoded: an upper estimate."""
    mega = pixels / 1e6
    most = min(800 * mega, 320 + 240 * mega, 900 + 130 * mega) if pixels <= REMEMBERED_PIXELS else 1300 + 32 * mega
    return int(_SLACK * MIB * most)


def needed_by_sound(channels: int, rate: int, coded: int) -> int:
    """Bytes that a recording adds to its worker, `coded` of its channels being transformed: an upper estimate."""
    return int(_SLACK * MIB * (min(60 + 45 * coded, 450 + 8 * coded) + 1.2 * channels * rate / 16000))


def middling(kind: str) -> int:
    """Bytes that a file of no unusual size adds."""
    return needed_by_sound(2, 48000, 2) if kind == "audio" else needed(400_000)


def of_file(store, path: str, kind: str, command: str) -> int:
    """Bytes that a file adds to its worker, by its header; little where it has none that can be read."""
    if kind == "audio":
        return needed_by_sound(*sound_of(store, path, command))
    return needed(pixels_of(store, path, command))


def sound_of(store, path: str, command: str) -> tuple[int, int, int]:
    """(channels, rate in Hz, channels that are coded at most) by the header of a file; zeros where it has none that can
    be read."""
    try:
        with store.open(path) as file:
            if command == "decode":
                from ..sound import stream as sound_container

                header, _ = sound_container.peek(file.read(sound_container.MAX_HEADER))
                return header.channels, header.rate, header.coded_channels
            import soundfile

            info = soundfile.info(file)
            return info.channels, info.samplerate, info.channels
    except Exception:
        return 0, 0, 0


def pixels_of(store, path: str, command: str) -> int:
    """Width · height by the header of a file; 0 where it has none that can be read: such files fail early."""
    try:
        with store.open(path) as file:
            if command == "decode":
                from ..picture import stream as container

                header = container.peek(file.read(1 << 18))
                return header.width * header.height
            from PIL import Image

            from ..picture.file import pillow_limits

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
