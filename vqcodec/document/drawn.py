"""Pages to train on, drawn by program: print in many fonts and scripts, tables, drawings, halftones; clean, or as a scanner or a
fax makes them: skewed, spread, noisy; one bit a pixel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

_PDF_DPI = (150, 200, 240, 300, 300, 300, 400)

_SCRIPTS = ((0x3B1, 24), (0x430, 32), (0x5D0, 27), (0x4E00, 900), (0x3042, 80), (0x905, 50))  # first letter, letters


class Pages:
    """Endless pages of one seed. fonts: files of scalable ones; texts: files of English text. Raises ValueError for none."""

    def __init__(self, fonts: Sequence[Path], texts: Sequence[Path], seed: int):
        self.random, self.fonts = np.random.default_rng(seed), list(fonts)
        self.words = [word for path in texts for word in re.findall(r"\S+", path.read_text(errors="ignore"))]
        if not self.fonts or not self.words:
            raise ValueError("pages are drawn of fonts and texts: there are none")

    def page(self, height: int = 1400, width: int = 1100) -> np.ndarray:
        """bool[H,W], black where true."""
        r = self.random
        dpi = float(r.choice([100, 150, 200, 200, 240, 300, 300, 300, 300, 400]))
        clean = r.random() < 0.3
        scale = 1 if clean else 2
        image = Image.new("L", (width * scale, height * scale), 255)
        self._fill(image, ImageDraw.Draw(image), dpi * scale)
        if clean:
            return np.asarray(image) < int(r.integers(90, 190))
        return self._scanned(image, scale)

    def of_pdf(self, path: Path, count: int = 4) -> Iterator[np.ndarray]:
        """The top of pages that are chosen at random, bool[H,W]: three of four as they are rendered, others as if scanned."""
        import pypdfium2

        r, document = self.random, pypdfium2.PdfDocument(path)
        for turn, number in enumerate(r.choice(len(document), min(count, len(document)), replace=False)):
            scale = 2 if turn % 4 == 3 else 1
            page = document[int(number)].render(scale=scale * float(r.choice(_PDF_DPI)) / 72, grayscale=True).to_pil().convert("L")
            page = page.crop((0, 0, min(page.width, 2000 * scale), min(page.height, 1700 * scale)))
            yield self._scanned(page, scale) if scale == 2 else np.asarray(page) < int(r.integers(90, 190))

    def _scanned(self, image: Image.Image, scale: int) -> np.ndarray:
        r = self.random
        if r.random() < 0.7:
            image = image.rotate(r.normal(0, 0.6), Image.Resampling.BICUBIC, fillcolor=255)
        image = image.filter(ImageFilter.GaussianBlur(scale * float(r.uniform(0.2, 0.9))))
        width, height = image.width // scale, image.height // scale
        grey = np.asarray(image.resize((width, height), Image.Resampling.BOX), np.float32)
        grey = grey + r.normal(0, r.choice([0, 4, 10, 20]), grey.shape)
        if r.random() < 0.6:  # paper and ink have grain that is wider than a pixel
            grain = Image.fromarray(r.normal(128, 30, grey.shape).clip(0, 255).astype(np.uint8))
            grain = grain.filter(ImageFilter.GaussianBlur(float(r.uniform(0.7, 1.6))))
            grey = grey + (np.asarray(grain, np.float32) - 128) * float(r.uniform(0.5, 4))
        mask = grey < float(r.uniform(90, 190))
        if r.random() < 0.2:  # dust
            mask ^= r.random(mask.shape) < 10 ** r.uniform(-5, -3.3)
        if r.random() < 0.1:  # a fax: lines twice
            mask = mask[::2].repeat(2, 0)[: mask.shape[0]]
        return mask

    def _fill(self, image: Image.Image, draw: ImageDraw.ImageDraw, dpi: float) -> None:
        r, y = self.random, int(dpi * 0.15)
        columns = int(r.choice([1, 1, 1, 2, 3]))
        font = self._font(dpi)
        script = None if r.random() < 0.7 else _SCRIPTS[r.integers(len(_SCRIPTS))]
        while y < image.height:
            kind = r.random()
            if kind < 0.66:
                deep = self._paragraph(draw, font, script, y, image.width, columns, dpi)
            elif kind < 0.80:
                deep = self._table(draw, font, y, image.width, dpi)
            elif kind < 0.92:
                deep = self._drawing(draw, y, image.width, dpi)
            else:
                deep = self._halftone(image, y, dpi)
            y += deep + int(dpi * r.uniform(0.05, 0.4))
            if r.random() < 0.3:
                font = self._font(dpi)

    def _font(self, dpi: float):
        size = int(dpi / 72 * self.random.choice([7, 8, 9, 10, 10, 11, 12, 12, 14, 18, 26]))
        return ImageFont.truetype(str(self.fonts[self.random.integers(len(self.fonts))]), max(8, size))

    def _words(self, count: int, script) -> list[str]:
        start = self.random.integers(max(1, len(self.words) - count))
        words = self.words[start : start + count]
        if script is None:
            return words
        first, letters = script
        return ["".join(chr(first + ord(c) * 7 % letters) if c.isalpha() else c for c in word) for word in words]

    def _paragraph(self, draw, font, script, top, width, columns, dpi) -> int:
        r, step = self.random, int(font.size * self.random.uniform(1.05, 1.6))
        lines, margin = int(r.integers(3, 22)), int(dpi * 0.2)
        wide = (width - margin) // columns - margin
        for column in range(columns):
            words, left = iter(self._words(lines * 30, script)), margin + column * (wide + margin)
            for line in range(lines):
                x = left
                for word in words:
                    long = draw.textlength(word, font=font)
                    if x + long > left + wide:
                        break
                    draw.text((x, top + line * step), word, font=font, fill=0)
                    x += int(long + font.size * 0.28)
        return lines * step

    def _table(self, draw, font, top, width, dpi) -> int:
        r, step = self.random, int(font.size * 1.4)
        rows, columns, ruled = int(r.integers(4, 20)), int(r.integers(3, 10)), r.random() < 0.6
        wide, thick = width // columns, max(1, int(dpi / 150))
        for row in range(rows):
            y = top + row * step
            for column in range(columns):
                value = f"{r.normal(0, 10 ** r.integers(0, 5)):,.{int(r.integers(0, 3))}f}"
                draw.text((column * wide + wide - draw.textlength(value, font=font) - 6, y), value, font=font, fill=0)
            if ruled:
                draw.line((4, y, width - 4, y), fill=0, width=thick)
        if ruled:
            for column in range(columns + 1):
                draw.line((column * wide + 2, top, column * wide + 2, top + rows * step), fill=0, width=thick)
        return rows * step

    def _drawing(self, draw, top, width, dpi) -> int:
        r, deep = self.random, int(dpi * self.random.uniform(0.7, 2.5))
        for _ in range(int(r.integers(4, 40))):
            thick = max(1, int(dpi * r.choice([0.004, 0.008, 0.02, 0.04])))
            x0, x1 = sorted(r.integers(0, width, 2).tolist())
            y0, y1 = sorted((top + r.integers(0, deep, 2)).tolist())
            kind = r.random()
            if kind < 0.5:
                draw.line((x0, y0, x1, y1) if r.random() < 0.5 else (x0, y1, x1, y0), fill=0, width=thick)
            elif kind < 0.75:
                draw.ellipse((x0, y0, x1 + 1, y1 + 1), outline=0, width=thick, fill=0 if r.random() < 0.1 else None)
            elif kind < 0.9:
                wave = top + deep * (0.5 + 0.4 * np.sin(np.linspace(0, r.uniform(3, 40), 60)))
                draw.line(list(zip(np.linspace(0, width, 60).tolist(), wave.tolist())), fill=0, width=thick)
            else:
                for x in range(x0, x1, max(3, int(dpi / r.integers(12, 60)))):
                    draw.line((x, y0, x + (y1 - y0) // 2, y1), fill=0, width=max(1, thick // 2))
        return deep

    def _halftone(self, image, top, dpi) -> int:
        r, deep = self.random, int(dpi * self.random.uniform(0.5, 1.5))
        left, wide = int(r.integers(0, image.width // 2)), int(image.width * r.uniform(0.2, 0.5))
        noise = Image.fromarray(r.normal(128, 60, (9, 9)).clip(0, 255).astype(np.uint8))
        noise = noise.resize((wide, deep), Image.Resampling.BICUBIC)
        if r.random() < 0.5:
            image.paste(noise.convert("1").convert("L"), (left, top))
        else:  # a screen of dots
            y, x = np.mgrid[:deep, :wide]
            angle, period = r.uniform(0, 1.5), dpi / float(r.uniform(40, 90))
            u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
            screen = 128 + 60 * (np.cos(u * 6.283 / period) + np.cos(v * 6.283 / period))
            image.paste(ImageChops.invert(Image.fromarray(((np.asarray(noise) < screen) * 255).astype(np.uint8))), (left, top))
        return deep
