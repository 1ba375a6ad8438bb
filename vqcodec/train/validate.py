"""Rate–distortion of a model in training on whole pictures, rates by its float prior."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image

from ..distortion import similarity


def load(path, side: int = 768) -> torch.Tensor:
    """f32[1,3,H,W]: the picture scaled to `side` at most and cut to multiples of 16."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    image.thumbnail((side, side), Image.LANCZOS)
    width, height = (s - s % 16 for s in image.size)
    pixels = np.asarray(image.crop((0, 0, width, height)))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def rate_distortion(model, paths, soft: bool) -> list[dict]:
    """One row per quality: mean bpp and mean PSNR (RGB, dB); of models trained on MS-SSIM its mean too, in dB.
    `soft`: latents rounded to integers and rated by the soft heads; else codewords chosen with the prior's bits."""
    pictures = [load(p) for p in paths]
    by_similarity = model.config.transform.distortion == "ms-ssim"
    rows = []
    for index in range(len(model.config.transform.lambdas)):
        level = torch.tensor([float(index)])
        bpp, psnr, alike = [], [], []
        for x in pictures:
            latents = model.encoder(x, level)
            if soft:
                values = latents.round()
                bits = model.prior.density_bits(values, level).sum().item()
            else:
                chosen, values = model.choose(latents, level)
                bits = model.index_bits(latents, values, chosen, level).sum().item()
            decoded = (model.decoder(values, level).clamp(0, 1) * 255).round()
            mse = (decoded - x * 255).square().mean().item()
            bpp.append(bits / x[0, 0].numel())
            psnr.append(10 * math.log10(255**2 / max(mse, 1e-9)))
            if by_similarity:
                alike.append(similarity(decoded / 255, x).item())
        rows.append(dict(quality=index + 1, bpp=round(float(np.mean(bpp)), 5), psnr=round(float(np.mean(psnr)), 3)))
        if by_similarity:
            rows[-1]["ms_ssim_db"] = round(-10 * math.log10(max(1 - float(np.mean(alike)), 1e-9)), 3)
    return rows
