"""Where the bits of a clip go, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .inspection import VideoInspection

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 960, 320, 64, 24, 28, 12  # of the picture, and of the edges around the columns
WINDOW = 1.0  # seconds that the curve is a mean over
INK, GRID, FOLLOWING, KEY, MEAN = (33, 37, 41), (222, 226, 230), (77, 171, 247), (245, 159, 0), (224, 49, 49)


def rates(lengths: Sequence[int], clip: VideoInspection) -> np.ndarray:
    """uint8[HEIGHT,WIDTH,3]: a column of each frame, as long as it is shown and as high as its kbps meanwhile; those of key frames
    are in KEY, cut off where they are very high; in MEAN the mean over a second. lengths: bytes of each frame."""
    from PIL import Image, ImageDraw

    base = clip.seconds / clip.end if clip.end else 0.0
    edges = np.array([*clip.times, clip.end], np.float64) * base
    lasting = np.maximum(np.diff(edges), 1e-9)
    kbps = 8 * np.array(lengths, np.float64) / lasting / 1000
    smooth = means(np.array(lengths, np.float64) * 8 / 1000, edges)
    highest = nice(max(float(np.percentile(kbps, 98)), float(smooth.max()), 1e-3))
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)

    def across(second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * second / max(clip.seconds, 1e-9)

    def down(rate: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(rate / highest, 1.0)

    for part in range(5):
        rate = highest * part / 4
        draw.line([(LEFT, down(rate)), (WIDTH - RIGHT, down(rate))], fill=GRID)
        draw.text((LEFT - 6, down(rate)), f"{rate:g}", fill=INK, anchor="rm")
    step = nice(clip.seconds / 8) if clip.seconds > 0 else 1.0
    for number in range(int(clip.seconds / step) + 1):
        draw.text((across(number * step), HEIGHT - BOTTOM + 6), f"{number * step:g} s", fill=INK, anchor="mt")
    keys = set(clip.keys)
    for number, rate in enumerate(kbps):
        left, right = across(edges[number]), across(edges[number + 1])
        draw.rectangle([left, down(rate), max(left, right - (1 if right - left > 3 else 0)), HEIGHT - BOTTOM],
                       fill=KEY if number in keys else FOLLOWING)
    points = [(across((edges[i] + edges[i + 1]) / 2), down(rate)) for i, rate in enumerate(smooth)]
    if len(points) > 1:
        draw.line(points, fill=MEAN, width=2)
    total = 8 * sum(lengths) / max(clip.seconds, 1e-9) / 1000
    draw.text((LEFT, TOP / 2), f"kbps of frames: {total:.1f} in the mean; orange: key frames; red: mean over {WINDOW:g} s", fill=INK,
              anchor="lm")
    return np.asarray(image)


def means(kilobits: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """f64[T]: kbps over WINDOW around the middle of each frame, at the clip's ends over what there is of it."""
    total = np.concatenate([[0.0], np.cumsum(kilobits)])
    middle = (edges[1:] + edges[:-1]) / 2
    low, high = np.maximum(middle - WINDOW / 2, 0), np.minimum(middle + WINDOW / 2, edges[-1])
    return (np.interp(high, edges, total) - np.interp(low, edges, total)) / np.maximum(high - low, 1e-9)


def nice(value: float) -> float:
    """The next number above of 1, 2 or 5 and zeros."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)))
