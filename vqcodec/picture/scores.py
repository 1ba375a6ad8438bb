"""Quality metrics of pictures, uint8[H,W,3]. A new one is a subclass of `Metric` named in `METRICS`."""

from __future__ import annotations

import math

import numpy as np

from .psnr import decibels, psnr
from ..bench.metrics import Metric
from ..bench.packages import require


class PsnrRgb(Metric):
    key, label, unit = "psnr", "PSNR (RGB)", "dB"

    def measure(self, reference, decoded):
        return psnr(reference, decoded)


class PsnrLuma(Metric):
    """Of Y' = 0.299 R' + 0.587 G' + 0.114 B' (ITU-R BT.601, full range, not rounded)."""

    key, label, unit = "psnr-y", "PSNR (luma)", "dB"

    def measure(self, reference, decoded):
        luma = (reference.astype(np.float64) - decoded) @ np.array([0.299, 0.587, 0.114])
        return decibels(float(np.mean(np.square(luma))))


class MsSsim(Metric):
    """Of RGB, mean of channels (pytorch-msssim): Wang, Simoncelli, Bovik, "Multiscale structural similarity for
    image quality assessment", Asilomar 2003. Shown as -10 log10(1 - mean) dB."""

    key, label, unit, package = "ms-ssim", "MS-SSIM", "dB", "pytorch-msssim"

    def load(self):
        require("pytorch_msssim", "metric 'ms-ssim'", "benchmark")

    def refusal(self, source):
        return "MS-SSIM needs more than 160 pixels on each side" if min(source.height, source.width) <= 160 else None

    def measure(self, reference, decoded):
        import torch
        from pytorch_msssim import ms_ssim

        pair = (torch.from_numpy(np.ascontiguousarray(a.transpose(2, 0, 1)))[None].double()
                for a in (reference, decoded))
        with torch.inference_mode():
            return ms_ssim(*pair, data_range=255).item()

    def shown(self, mean):
        return math.inf if mean >= 1 else -10 * math.log10(1 - mean)


class Ssimulacra2(Metric):
    """SSIMULACRA 2.1 (Sneyers, Cloudinary): 30 low, 50 medium, 70 high, 90 visually lossless."""

    key, label, span, package = "ssimulacra2", "SSIMULACRA2", 2.0, "ssimulacra2"

    def load(self):
        require("ssimulacra2", "metric 'ssimulacra2'", "benchmark")

    def refusal(self, source):
        return "SSIMULACRA2 needs at least 8 pixels on each side" if min(source.height, source.width) < 8 else None

    def measure(self, reference, decoded):
        import io

        from PIL import Image
        from ssimulacra2 import compute_ssimulacra2

        files = [io.BytesIO(), io.BytesIO()]
        for file, samples in zip(files, (reference, decoded)):
            Image.fromarray(samples).save(file, "PNG", compress_level=0)
            file.seek(0)
        return float(compute_ssimulacra2(*files))


METRICS: dict[str, type[Metric]] = {m.key: m for m in (PsnrRgb, PsnrLuma, MsSsim, Ssimulacra2)}
