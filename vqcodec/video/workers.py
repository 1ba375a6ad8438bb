"""Groups of frames, coded and decoded by several processes. The bytes and pixels are those of one.

Frames pass through files that processes have in memory together. Encoding: where a group ends is only known when it is coded, so
the next one is begun where it will likely begin, by how much pictures change; if it does not, it is coded again from where it does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .. import filelimits
from ..errors import CorruptStreamError, InputError
from ..guard import guarded
from ..process import thread_variables
from ..zoo import registry
from .codec import Ahead, DecodedClip, VideoCodec
from .file import Frame
from .group import CodedGroup
from .stream import GROUP, Segment, VideoHeader

CUT = 0.5  # of the variance of a frame's green that changes from the frame before where a group will likely begin
STEP = 8  # pixels from one to the next that is looked at
WAIT = 0.2  # seconds between looks at the limit of time
_codec: VideoCodec | None = None  # of a worker


@contextmanager
def pool(entry: registry.ModelEntry, workers: int, *, encoder: bool) -> Iterator[ProcessPoolExecutor]:
    """Processes with a model of video; they are ended where something fails."""
    variables = thread_variables(max(1, (os.cpu_count() or 1) // workers))
    before = {name: os.environ.get(name) for name in variables}
    others = set(multiprocessing.active_children())
    os.environ.update(variables)  # children inherit it
    try:
        made = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _open, (entry.name, str(entry.path.parent), encoder))
        try:
            yield made
            made.shutdown(cancel_futures=True)
        except BaseException as error:
            made.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            if isinstance(error, BrokenExecutor):
                raise InputError("a process that codes groups of frames has died; not enough memory?") from error
            raise
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def result_of(future: Future):
    while True:
        try:
            return future.result(WAIT)
        except NotYet:
            if future.done():
                raise
            filelimits.tick()


def _open(name: str, folder: str, encoder: bool) -> None:
    """Begins a worker."""
    global _codec
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    _codec = VideoCodec.open(registry.find_by_name(name, folder, "video"), encoder=encoder)


# --- encoding --------------------------------------------------------------------------------------------------------

class Ring:
    """uint8[slots,H,W,3] in a file: frame i is in slot i % slots."""

    def __init__(self, path: str, slots: int, shape: tuple[int, int], mode: str = "r"):
        self.slots, self.frames = slots, np.memmap(path, np.uint8, mode, shape=(slots, *shape, 3))

    def __getitem__(self, number: int) -> np.ndarray:
        return self.frames[number % self.slots]


def coded_groups(entry: registry.ModelEntry, frames: Iterable[Frame], shape: tuple[int, int], coding: tuple[int, int, int],
                 workers: int) -> Iterator:
    """As `TorchVideoCodec.groups`. shape: (H, W); coding: (sixteenths, effort, key distance)."""
    distance, ahead = coding[2], workers + 1  # groups that are on their way
    with tempfile.TemporaryDirectory(prefix="vqcodec-") as folder, pool(entry, workers, encoder=True) as processes:
        place = str(Path(folder) / "frames")
        slots = (ahead + 1) * distance
        ring, times, likely = Ring(place, slots, shape, "w+"), {}, Likely()
        waiting: deque[tuple[int, Future]] = deque()  # (number of its first frame, …)
        frames, start, known, whole = iter(frames), 0, 0, False  # of the next group to be begun; frames that are read
        while True:
            while len(waiting) < ahead:
                while known < start + distance and not whole:
                    frame = next(frames, None)
                    if frame is None:
                        whole = True
                        break
                    ring[known][:], times[known] = frame.rgb, frame.time
                    likely.add(known, frame.rgb)
                    known += 1
                if start >= known:
                    break
                count = min(known - start, distance)
                waiting.append((start, processes.submit(_code, (place, slots, shape), start, count, coding)))
                start = likely.after(start, count)
            if not waiting:
                return
            first, future = waiting.popleft()
            group = CodedGroup()
            group.coded, group.grids = result_of(future)
            end = first + len(group.coded)
            group.times = [times.pop(number) for number in range(first, end)]
            likely.forget(end)
            if waiting and waiting[0][0] != end:  # those that run come to their end, and nobody asks for what they found
                for _, other in waiting:
                    other.cancel()
                waiting.clear()
            if not waiting:
                start = end
            yield group


class Likely:
    """Where groups will begin, as far as pictures tell."""

    def __init__(self):
        self.cuts: set[int] = set()
        self.before: np.ndarray | None = None

    def add(self, number: int, rgb: np.ndarray) -> None:
        """The next frame, uint8[H,W,3]."""
        some = rgb[::STEP, ::STEP, 1].astype(np.float32)
        if self.before is not None and np.square(some - self.before).sum() > CUT * np.square(some - some.mean()).sum():
            self.cuts.add(number)
        self.before = some

    def after(self, start: int, count: int) -> int:
        """Where the group that begins with frame `start` likely ends."""
        return min((cut for cut in self.cuts if start < cut < start + count), default=start + count)

    def forget(self, end: int) -> None:
        self.cuts = {cut for cut in self.cuts if cut > end}


@guarded
def _code(ring: tuple, start: int, count: int, coding: tuple[int, int, int]):
    """(coded, grids) of the group that begins with a frame: of as many of `count` frames as it takes. In a worker."""
    frames, group = Ring(*ring), CodedGroup()
    for number in range(start, start + count):
        begins, coded = _codec.following(np.array(frames[number]), group, *coding)
        if begins and group.times:
            break
        group.add(number, *coded)
    return group.coded, group.grids


# --- decoding --------------------------------------------------------------------------------------------------------

@contextmanager
def decoded_ahead(clip: DecodedClip, workers: int) -> Iterator[Ahead]:
    """What `DecodedClip.frames` takes: groups are decoded by so many processes."""
    with tempfile.TemporaryDirectory(prefix="vqcodec-") as folder, pool(clip.codec.entry, workers, encoder=False) as processes:
        def submitted(segment: Segment) -> Future | None:
            if segment.kind != GROUP or segment.unread:
                return None
            return processes.submit(_decode, segment, clip.header, (clip.begin, clip.stop), str(Path(folder) / str(segment.number)))

        def ahead(segments: Iterable[Segment]) -> Iterator[tuple[Segment, Iterator | None]]:
            waiting: deque[tuple[Segment, Future | None]] = deque()
            for segment in segments:
                waiting.append((segment, submitted(segment)))
                if sum(future is not None for _, future in waiting) > workers:
                    yield _found(*waiting.popleft(), clip.header)
            while waiting:
                yield _found(*waiting.popleft(), clip.header)

        yield ahead


def _found(segment: Segment, future: Future | None, header: VideoHeader) -> tuple[Segment, Iterator | None]:
    return segment, None if future is None else _frames(future, header)


def _frames(future: Future, header: VideoHeader) -> Iterator[tuple[int, np.ndarray]]:
    """(time, uint8[H,W,3]) of each frame; one that is like the last is the same object."""
    found, path, error = result_of(future)
    size, pixels, last = 3 * header.height * header.width, None, None
    try:
        with open(path, "rb") as file:
            for time, place in found:
                if place != last:
                    last, pixels = place, np.frombuffer(file.read(size), np.uint8).reshape(header.height, header.width, 3)
                yield time, pixels
    finally:
        os.unlink(path)
    if error is not None:
        raise CorruptStreamError(error)


@guarded
def _decode(segment: Segment, header: VideoHeader, part: tuple[float, float], path: str):
    """([(time, number of its pixels in the file)] of each frame, path, what is damaged). Of frames out of the part pixels are
    those of another. In a worker."""
    found, shown, count, error = [], None, -1, None
    with open(path, "wb") as file:
        try:
            for time, grids in _codec.read_group(segment, header):
                if count < 0 or (part[0] <= time < part[1] and not np.array_equal(grids, shown)):
                    file.write(np.ascontiguousarray(_codec.base.pixels(grids, header.height, header.width, header.quality)))
                    count, shown = count + 1, grids
                found.append((time, count))
        except CorruptStreamError as damage:
            error = str(damage)
    return found, path, error


__all__ = ["coded_groups", "decoded_ahead"]
