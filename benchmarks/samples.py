"""The pictures of docs/sampling.md: the first sixteen items of each model, one after the other, none picked.

    python benchmarks/samples.py docs/images KODAK/21.png RECORDING
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import vqcodec

ROWS = (("photo-3e", 1.0), ("photo-3e", 0.7), ("photo-4", 1.0), ("photo-ssim-1", 1.0))
SIDE, SHOWN = 128, 72


def pictures() -> Image.Image:
    sheet = Image.new("RGB", (16 * SHOWN, len(ROWS) * SHOWN), "white")
    for y, (model, temperature) in enumerate(ROWS):
        for item in range(16):
            drawn = vqcodec.decode(vqcodec.sample(model, item=item, temperature=temperature, size=(SIDE, SIDE)))
            sheet.paste(drawn.convert("RGB").resize((SHOWN - 2,) * 2, Image.LANCZOS), (item * SHOWN, y * SHOWN))
    return sheet


def continued(photo: str) -> Image.Image:
    """Three quarters of a picture, then them with as many rows below as there were, thrice; the whole, and its middle drawn
    anew, thrice."""
    whole = Image.open(photo).convert("RGB").resize((384, 256), Image.LANCZOS)
    sheet = Image.new("RGB", (4 * 388, 2 * 260), "white")
    upper = vqcodec.encode(whole.crop((0, 0, 384, 192)), quality=6, model="photo-3e")
    data = vqcodec.encode(whole, quality=6, model="photo-3e")
    sheet.paste(vqcodec.decode(upper), (0, 0))
    sheet.paste(vqcodec.decode(data), (0, 260))
    for i in range(3):
        sheet.paste(vqcodec.decode(vqcodec.extend(upper, rows=64, seed=i)), (388 * (i + 1), 0))
        sheet.paste(vqcodec.decode(vqcodec.fill(data, box=(160, 96, 64, 64), seed=i)), (388 * (i + 1), 260))
    return sheet


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """uint8[128,T] of f32[N] at 16 kHz, up to 8 kHz; 80 dB from black to white."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, 256), 512)[::160] * np.hanning(512)
    power = 20 * np.log10(np.abs(np.fft.rfft(frames))[:, :256].reshape(len(frames), 128, 2).max(2) + 1e-4)
    return np.clip((power.T[::-1] - power.max() + 80) * 255 / 80, 0, 255).astype(np.uint8)


def speech(real: str) -> Image.Image:
    """Two seconds each: a real recording, then items 0, 1 and 2; below, its first second continued, thrice."""
    from vqcodec.sound.file import read_sound

    sound = read_sound(real)
    coded = vqcodec.encode((sound.samples[: 2 * sound.rate], sound.rate), quality=6, model="speech-2")
    first = vqcodec.encode((sound.samples[: sound.rate], sound.rate), quality=6, model="speech-2")
    rows = [[coded] + [vqcodec.sample("speech-2", item=i, seconds=2, quality=6) for i in range(3)],
            [first] + [vqcodec.extend(first, seconds=1, seed=i) for i in range(3)]]
    sheet = np.full((2 * 132, 4 * 204), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, data in enumerate(row):
            drawn = spectrogram(vqcodec.decode(data).samples[:, 0])[:, :200]
            sheet[132 * y :][:128, 204 * x :][:, : drawn.shape[1]] = drawn
    return Image.fromarray(sheet)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    pictures().save(out / "sampled-pictures.webp", quality=80)
    continued(sys.argv[2]).save(out / "continued-picture.webp", quality=80)
    speech(sys.argv[3]).save(out / "sampled-speech.webp", quality=80)
