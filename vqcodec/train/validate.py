"""Rate–distortion of a model in training on whole pictures and recordings, rates by its float prior."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image

from .. import ssimulacra2
from ..distortion import similarity
from ..transform import samples
from .sounds import load as load_sound


def load(path, side: int = 768) -> torch.Tensor:
    """f32[1,3,H,W]: the picture scaled to `side` at most and cut to multiples of 16."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    image.thumbnail((side, side), Image.LANCZOS)
    width, height = (s - s % 16 for s in image.size)
    pixels = np.asarray(image.crop((0, 0, width, height)))
    return samples(pixels.copy())


def code(model, x: torch.Tensor, level: torch.Tensor, soft: bool, search: int = 0) -> tuple[torch.Tensor, float]:
    """(decoded samples, bits). `soft`: latents rounded to integers and rated by the soft heads; else codewords
    chosen with the prior's bits, after so many gradients of the search."""
    latents = model.analyse(x, level)
    if soft:
        values = latents.round()
        bits = model.density_bits(values, level).sum().item()
    else:
        latents, wish = model.searched(latents, x, level, search)
        chosen, values = model.choose_by(latents, wish, level)
        bits = model.index_bits(latents, values, chosen, level).sum().item()
    return model.decoder(values, level), bits


@torch.no_grad()
def distance_of_sound(model, paths, soft: bool) -> list[dict]:
    """One row per quality: mean kbps (a channel's) and mean spectral distance (see `audio_distortion.py`)."""
    t = model.config.transform
    recordings = []
    for path in paths:
        x = load_sound(path, t)[..., : 20 * t.sample_rate]
        recordings.append(torch.nn.functional.pad(x, (0, -x.shape[3] % t.step)))
    rows = []
    for index in range(len(t.lambdas)):
        level = torch.tensor([float(index)])
        results = [code(model, x, level, soft) for x in recordings]
        seconds = sum(x.shape[3] for x in recordings) / t.sample_rate
        distance = np.mean([model.distortion(d, x).item() for (d, _), x in zip(results, recordings)])
        rows.append(dict(quality=index + 1, kbps=round(sum(b for _, b in results) / seconds / 1000, 4),
                         distance=round(float(distance), 4)))
    return rows


@torch.no_grad()
def rate_distortion(model, paths, soft: bool, search: int = 0) -> list[dict]:
    """One row per quality: mean bpp and mean PSNR (RGB, dB); of models trained on MS-SSIM its mean too, in dB, on SSIMULACRA2 the
    mean score. `soft`: see `code`."""
    pictures = [load(p) for p in paths]
    measure = {"ms-ssim": similarity, "ssimulacra2": ssimulacra2.error}.get(model.config.transform.distortion)
    rows = []
    for index in range(len(model.config.transform.lambdas)):
        level = torch.tensor([float(index)])
        bpp, psnr, alike = [], [], []
        for x in pictures:
            decoded, bits = code(model, x, level, soft, search)
            decoded = (decoded.clamp(0, 1) * 255).round()
            mse = (decoded - x * 255).square().mean().item()
            bpp.append(bits / x[0, 0].numel())
            psnr.append(10 * math.log10(255**2 / max(mse, 1e-9)))
            if measure:
                alike.append(measure(decoded / 255, x))
        rows.append(dict(quality=index + 1, bpp=round(float(np.mean(bpp)), 5), psnr=round(float(np.mean(psnr)), 3)))
        if measure is similarity:
            rows[-1]["ms_ssim_db"] = round(-10 * math.log10(max(1 - torch.cat(alike).mean().item(), 1e-9)), 3)
        elif measure:
            rows[-1]["ssimulacra2"] = round(ssimulacra2.score(torch.cat(alike)).mean().item(), 3)
    return rows
