"""Pictures that are not photographs, drawn by program: flat colours, gradients, paper, pages of text, charts, line drawings,
screenshots. Photographs alone teach a model nothing about white paper."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from .colour import without_colour

FONTS = "/usr/share/fonts"
SIDE = 448  # pixels on a side of each
LETTERS = "etaoinshrdlucmfwypvbgkjqxzETAOINSHRDLCMW0123456789.,;:!?()-'\"ÄÖéñßжщдбяЛКФπΣ一人大国日"


def pictures(count: int, seed: int) -> list[np.ndarray]:
    """uint8[SIDE,SIDE,3] each, the same for the same count, seed and fonts (see `fonts`)."""
    found = fonts()
    return [np.asarray(draw(random.Random(f"drawn/{seed}/{i}"), KINDS[i % len(KINDS)], found)) for i in range(count)]


def fonts() -> list[str]:
    """TrueType fonts below FONTS, sorted; none is fine: Pillow brings one. Those of bitmaps (emoji) have no other size."""
    return [path for path in sorted(map(str, Path(FONTS).rglob("*.ttf"))) if scalable(path)]


def scalable(path: str) -> bool:
    try:
        return bool(ImageFont.truetype(path, 13))
    except OSError:
        return False


def draw(rng: random.Random, kind: Callable, found: list[str]) -> Image.Image:
    """A picture of a kind, half the time as a printer, scanner or camera would have it."""
    image = kind(rng, found)
    if kind in SHARP and rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
        image = noisy(rng, image, rng.uniform(0, 3))
    return image


def varied(rng: random.Random, crop: np.ndarray) -> np.ndarray:
    """A crop uint8[S,S,3] in other colours: channels exchanged, inverted, of less contrast, or grey."""
    crop = crop[:, :, rng.sample(range(3), 3)]
    if rng.random() < 0.25:
        crop = 255 - crop
    if rng.random() < 0.3:
        low = np.array([rng.randint(0, 80) for _ in range(3)], np.float32)
        high = np.array([rng.randint(120, 255) for _ in range(3)], np.float32)
        crop = (low + crop * ((high - low) / 255) + 0.5).astype(np.uint8)
    return without_colour(crop) if rng.random() < 0.2 else crop


def colour(rng: random.Random, pale: float = 0.5) -> tuple[int, int, int]:
    """Pale, dark or any."""
    pick = rng.random()
    if pick < pale:
        light = rng.randint(215, 255)
        return tuple(min(255, max(0, light + rng.randint(-18, 10))) for _ in range(3))
    if pick < pale + 0.15:
        return tuple(rng.randint(0, 45) for _ in range(3))
    return tuple(rng.randint(0, 255) for _ in range(3))


def paper(rng: random.Random) -> tuple[int, int, int]:
    return (255, 255, 255) if rng.random() < 0.4 else colour(rng, 1.0)


def noisy(rng: random.Random, image: Image.Image, amount: float) -> Image.Image:
    """With noise of so many levels (standard deviation), grey or coloured, fine or coarse."""
    generator = np.random.default_rng(rng.getrandbits(32))
    noise = generator.normal(0, amount, (SIDE, SIDE, rng.choice((1, 1, 3)))).astype(np.float32)
    if rng.random() < 0.4:
        noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, (1, 1), (0, 1))) / 2
    return Image.fromarray((np.asarray(image, np.float32) + noise + 0.5).clip(0, 255).astype(np.uint8))


def flat(rng: random.Random, found) -> Image.Image:
    return Image.new("RGB", (SIDE, SIDE), colour(rng))


def textured(rng: random.Random, found) -> Image.Image:
    return noisy(rng, gradient(rng, found) if rng.random() < 0.3 else flat(rng, found), rng.uniform(0.3, 4))


def gradient(rng: random.Random, found) -> Image.Image:
    """Between two colours that are near or far, along a line or around a point, in steps or dithered."""
    a, b = np.array(colour(rng), np.float32), np.array(colour(rng), np.float32)
    b = a + (b - a) * rng.choice((0.1, 0.3, 1.0))
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    angle = rng.uniform(0, 2 * math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    if rng.random() < 0.3:
        along = np.hypot(x - rng.random(), y - rng.random())
    along = (along - along.min()) / (along.max() - along.min())
    part = a + (b - a) * along[:, :, None]
    part += np.random.default_rng(rng.getrandbits(32)).random((SIDE, SIDE, 1), np.float32) if rng.random() < 0.5 else 0.5
    return Image.fromarray(part.clip(0, 255).astype(np.uint8))


def letters(rng: random.Random, count: int) -> str:
    """Words of so many letters in all."""
    return "".join(" " if rng.random() < 0.17 else LETTERS[min(int(rng.expovariate(0.09)), len(LETTERS) - 1)] for _ in range(count))


def font(rng: random.Random, found, low: int = 9, high: int = 30):
    size = round(low * (high / low) ** rng.random())
    return ImageFont.truetype(rng.choice(found), size) if found else ImageFont.load_default(size)


def page(rng: random.Random, found) -> Image.Image:
    """Lines of text, perhaps askew."""
    ground = paper(rng)
    image = Image.new("RGB", (SIDE, SIDE), ground)
    pen, left = ImageDraw.Draw(image), rng.randint(-40, 60)
    y, face = rng.randint(-20, 80), font(rng, found)
    ink = (0, 0, 0) if rng.random() < 0.5 else tuple(rng.randint(0, 110) for _ in range(3))
    while y < SIDE:
        if rng.random() < 0.08:
            face = font(rng, found)
        pen.text((left, y), letters(rng, rng.choice((90, 90, 90, 30))), ink, face)
        y += face.size * rng.choice((1.2, 1.2, 1.2, 2.4))
    if rng.random() < 0.4:
        image = image.rotate(rng.uniform(-3, 3), Image.BICUBIC, fillcolor=ground)
    return image


def chart(rng: random.Random, found) -> Image.Image:
    """Axes with bars, lines or points."""
    image = Image.new("RGB", (SIDE * 2, SIDE * 2), paper(rng))
    pen, ink = ImageDraw.Draw(image), tuple(rng.randint(0, 120) for _ in range(3))
    left, right, top, bottom = (rng.randint(40, 200), SIDE * 2 - rng.randint(20, 150), rng.randint(20, 150), SIDE * 2 - rng.randint(60, 200))
    for k in range(rng.randint(0, 8)):
        y = top + (bottom - top) * k // 8
        pen.line((left, y, right, y), (210, 210, 210), 2)
    count, kind = rng.randint(3, 40), rng.choice(("bars", "lines", "points"))
    for _ in range(1 if kind == "bars" else rng.randint(1, 4)):
        fill, level = colour(rng, 0.1), rng.random()
        at = []
        for i in range(count):
            level = min(1, max(0, level + rng.gauss(0, 0.12)))
            at.append((left + (right - left) * i / count, bottom - (bottom - top) * level))
        if kind == "lines":
            pen.line(at, fill, rng.randint(2, 8))
        for x, y in at if kind != "lines" else ():
            pen.rectangle((x, y, x + 0.7 * (right - left) / count, bottom), fill) if kind == "bars" else pen.ellipse((x, y, x + 14, y + 14), fill)
    pen.line((left, top, left, bottom, right, bottom), ink, 3)
    face = font(rng, found, 20, 40)
    for i in range(5):
        pen.text((left + (right - left) * i // 5, bottom + 8), letters(rng, 5), ink, face)
    return image.resize((SIDE, SIDE), Image.LANCZOS)


def lines(rng: random.Random, found) -> Image.Image:
    """Curves, outlines and filled shapes."""
    image = Image.new("RGB", (SIDE * 2, SIDE * 2), paper(rng))
    pen, ink = ImageDraw.Draw(image), (0, 0, 0) if rng.random() < 0.6 else colour(rng, 0.1)
    for _ in range(rng.randint(4, 50)):
        x, y, r = rng.uniform(0, 2 * SIDE), rng.uniform(0, 2 * SIDE), rng.uniform(10, 300)
        width, fill = rng.randint(1, 7), colour(rng) if rng.random() < 0.25 else None
        match rng.randrange(4):
            case 0:
                pen.ellipse((x - r, y - r * rng.random(), x + r, y + r * rng.random()), fill, ink, width)
            case 1:
                pen.polygon([(x + rng.uniform(-r, r), y + rng.uniform(-r, r)) for _ in range(rng.randint(3, 6))], fill, ink, width)
            case 2:
                a, b, c = (rng.uniform(0, 7) for _ in range(3))
                pen.line([(x + r * math.cos(a + t / 9), y + r * math.sin(b + c * t / 9)) for t in range(40)], ink, width)
            case 3:
                pen.line((x, y, x + rng.uniform(-r, r), y + rng.uniform(-r, r)), ink, width)
    return image.resize((SIDE, SIDE), Image.LANCZOS)


def screenshot(rng: random.Random, found) -> Image.Image:
    """Panels with borders, buttons and text, on the pixel."""
    image = Image.new("RGB", (SIDE, SIDE), colour(rng))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(3, 14)):
        x, y = rng.randint(-30, SIDE), rng.randint(-30, SIDE)
        w, h = rng.randint(20, 300), rng.randint(14, 160)
        ground = colour(rng, 0.6)
        ink = (20, 20, 20) if sum(ground) > 380 else (240, 240, 240)
        pen.rounded_rectangle((x, y, x + w, y + h), rng.choice((0, 0, 4, 9)), ground, colour(rng) if rng.random() < 0.6 else None)
        face = font(rng, found, 9, 18)
        for row in range(rng.randint(0, int(h / face.size / 1.3) + 1)):
            pen.text((x + 6, y + 4 + row * face.size * 1.3), letters(rng, int(w / face.size * 1.6)), ink, face)
    return image


KINDS = (flat, page, gradient, chart, textured, lines, flat, screenshot)
SHARP = (page, chart, lines)
