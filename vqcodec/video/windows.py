"""What a prior of video learns from: windows, some latents on a side and some frames long, of the latents that a model of pictures
gives them. They are made once and kept in the run's folder, as making them takes a tenth of the time of a run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError, UsageError, VqcodecError
from ..indices.config import PriorConfig
from ..indices.context import fast_arithmetic
from ..picture.crops import find_pictures, opened
from ..picture.synthesis import PATCH
from ..picture.transform import samples
from ..train.data import say

STRIDES = (1, 1, 1, 2, 2, 3)  # frames from one to the next, of which one is drawn for each window
EXTENSIONS = frozenset({".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".y4m"})


@dataclass(frozen=True)
class WindowsConfig:
    """count, frames of each, rows and columns (latents). moved: share that is made of photographs, if there are any: they pan and zoom."""

    count: int = 240
    frames: int = 20
    rows: int = 10
    columns: int = 13
    moved: float = 0.25


def find_clips(directories) -> list[Path]:
    """Files of video below the directories, sorted."""
    return sorted({path for folder in directories for path in Path(folder).rglob("*") if path.suffix.lower() in EXTENSIONS})


def find_photographs(directories) -> list[Path]:
    try:
        return find_pictures(directories)
    except VqcodecError:
        return []


class Windows:
    """latents: f16[count,frames,D,rows,columns]; level: f32[count]; labels: int64[count,frames,kinds] of the way to each frame from
    the one before, 0: none."""

    def __init__(self, latents: torch.Tensor, level: torch.Tensor, labels: torch.Tensor | None = None):
        self.latents, self.level = latents, level
        self.labels = torch.zeros(*latents.shape[:2], 0, dtype=torch.int64) if labels is None else labels

    @classmethod
    def load_or_make(cls, path: Path, config: WindowsConfig, clips: Sequence[Path], photographs: Sequence[Path], codec, seed: int,
                     kinds: tuple[tuple[str, ...], ...] = ()):
        """kinds: of labels, which clips then have beside them (`labels_beside`)."""
        if path.exists():
            stored = torch.load(path, weights_only=True)
            return cls(**stored)
        made = labelled_windows(config, clips, codec, seed, kinds) if kinds else cls.make(config, clips, photographs, codec, seed)
        temporary = path.with_suffix(".tmp")
        torch.save(dict(latents=made.latents, level=made.level, labels=made.labels), temporary)
        temporary.replace(path)
        return made

    @classmethod
    def make(cls, config: WindowsConfig, clips: Sequence[Path], photographs: Sequence[Path], codec, seed: int) -> Windows:
        """codec: a `picture.torch_codec.TorchCodec`. Raises InputError where there is no clip that is large enough."""
        rng, found, levels = random.Random(seed), [], []
        size = (config.rows * PATCH, config.columns * PATCH)
        moving = round(config.moved * config.count) if photographs else 0
        failed = 0
        while len(found) < config.count:
            number = len(found)
            if number % 20 == 0:
                say(f"windows {number}/{config.count}")
            if number < moving:
                pixels = moved_photograph(rng.choice(photographs), size, config.frames, rng)
            else:
                pixels = piece_of_clip(clips[number % len(clips)] if clips else None, size, config.frames, rng)
            if pixels is None:
                failed += 1
                if failed > 10 + 4 * config.count:
                    raise InputError(f"no clip has {config.frames} frames of {size[1]}x{size[0]} pixels")
                clips = clips[1:] + clips[:1]
                continue
            level = rng.randrange(codec.qualities)
            found.append(latents_of(codec, pixels, level))
            levels.append(float(level))
        return cls(torch.stack(found), torch.tensor(levels))


def labelled_windows(config: WindowsConfig, clips: Sequence[Path], codec, seed: int, kinds: tuple[tuple[str, ...], ...]) -> Windows:
    """Windows that cover whole clips, as they are, up to `config.count` of them. Raises InputError where there is none, or what is
    beside a clip does not fit it."""
    rng, parts = random.Random(seed), []
    size = (config.rows * PATCH, config.columns * PATCH)
    for number, path in enumerate(clips):
        if number % 20 == 0:
            say(f"windows of clip {number}/{len(clips)}")
        pixels = whole_clip(path)
        if pixels.shape[1:3] != size or len(pixels) < config.frames:
            continue
        labels, level = torch.tensor(labels_beside(path, len(pixels), kinds)), rng.randrange(codec.qualities)
        latents = latents_of(codec, pixels, level, at_once=32)
        starts = [min(start, len(pixels) - config.frames) for start in range(0, len(pixels), config.frames)]
        parts += [(latents[i : i + config.frames], float(level), labels[i : i + config.frames]) for i in starts]
    if not parts:
        raise InputError(f"no clip has {config.frames} frames of {size[1]}x{size[0]} pixels")
    parts = rng.sample(parts, min(len(parts), config.count))
    return Windows(torch.stack([p[0] for p in parts]), torch.tensor([p[1] for p in parts]), torch.stack([p[2] for p in parts]))


def labels_beside(path: Path, frames: int, kinds: tuple[tuple[str, ...], ...]) -> list[tuple[int, ...]]:
    """Of NAME.mkv those in NAME.actions, a line for each frame but the first: of each kind which label it is, 0 for none. Raises
    InputError."""
    text = path.with_suffix(".actions")
    try:
        lines = text.read_text(encoding="utf-8").splitlines()
        if len(lines) != frames - 1:
            raise InputError(f"{text}: {len(lines)} lines for {frames} frames, which should be one less")
        return [(0,) * len(kinds), *(PriorConfig(labels=kinds).numbers(line.strip() or None) for line in lines)]
    except (OSError, UnicodeDecodeError, UsageError) as error:
        raise InputError(f"{text}: {error}") from None


def whole_clip(path: Path) -> np.ndarray:
    """uint8[n,H,W,3]; raises InputError."""
    import av

    try:
        with av.open(str(path)) as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None


@torch.inference_mode()
def latents_of(codec, pixels: np.ndarray, level: int, at_once: int = 1) -> torch.Tensor:
    """uint8[n,H,W,3] → f16[n,D,h,w]"""
    with fast_arithmetic():
        parts = [codec.encoder(torch.cat([samples(frame) for frame in pixels[i : i + at_once]]), torch.tensor([float(level)]))
                 for i in range(0, len(pixels), at_once)]
    return torch.cat(parts).half()


def piece_of_clip(path: Path | None, size: tuple[int, int], count: int, rng: random.Random) -> np.ndarray | None:
    """uint8[count,H,W,3] of a clip, from somewhere in it, every frame or every second or third, perhaps mirrored; None if it is
    too small."""
    import av

    if path is None:
        return None
    stride = rng.choice(STRIDES)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            height, width = stream.height, stream.width
            total = stream.frames or 64
            while stride > 1 and total < count * stride:
                stride -= 1
            if height < size[0] or width < size[1] or total < count:
                return None
            first = rng.randint(0, total - count * stride)
            top, left = rng.randint(0, height - size[0]), rng.randint(0, width - size[1])
            found = []
            for number, frame in enumerate(container.decode(stream)):
                if number >= first and (number - first) % stride == 0:
                    found.append(frame.to_ndarray(format="rgb24")[top : top + size[0], left : left + size[1]])
                if len(found) == count:
                    break
    except (av.FFmpegError, IndexError):
        return None
    if len(found) < count:
        return None
    pixels = np.stack(found)
    return np.ascontiguousarray(pixels[:, :, ::-1] if rng.random() < 0.5 else pixels)


def moved_photograph(path: Path, size: tuple[int, int], count: int, rng: random.Random) -> np.ndarray | None:
    """uint8[count,H,W,3]: a window that pans and zooms over a photograph, with noise of a sensor; None if it is too small."""
    from PIL import Image

    with opened(path) as image:
        image = image.convert("RGB")
    scale = rng.uniform(1.0, 2.0) * max(size[1] / image.width, size[0] / image.height, 0.4)
    if scale > 1:
        return None
    speed, angle = rng.choice((0, 0.5, 1, 2, 4, 8)), rng.uniform(0, 2 * np.pi)
    zoom = 1 + rng.choice((0, 0, 0.002, -0.002, 0.01))
    width, height = size[1] / scale, size[0] / scale  # of the window, in pixels of the photograph
    x, y = rng.uniform(0, max(0, image.width - width)), rng.uniform(0, max(0, image.height - height))
    noise = rng.choice((0, 0, 1, 2))
    generator, found = np.random.default_rng(rng.randrange(1 << 30)), []
    dx, dy = speed / scale * np.cos(angle), speed / scale * np.sin(angle)
    for _ in range(count):
        dx = -dx if not 0 <= x + dx <= image.width - width else dx
        dy = -dy if not 0 <= y + dy <= image.height - height else dy
        x, y = min(max(x + dx, 0), max(0, image.width - width)), min(max(y + dy, 0), max(0, image.height - height))
        box = (x, y, min(x + width, image.width), min(y + height, image.height))
        frame = np.asarray(image.resize(size[::-1], Image.BICUBIC, box=box, reducing_gap=None))
        if noise:
            frame = (frame + generator.normal(0, noise, frame.shape)).round().clip(0, 255).astype(np.uint8)
        found.append(frame)
        width, height = min(width / zoom, image.width), min(height / zoom, image.height)
    return np.stack(found)
