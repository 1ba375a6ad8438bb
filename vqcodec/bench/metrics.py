"""Quality metrics, one class each. A new one is a subclass of `Metric` named in `METRICS`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from ..errors import UsageError
from ..metrics import decibels, psnr
from .codecs import require


class Metric(ABC):
    """A full-reference metric of two uint8[H,W,3] pictures; more is better."""

    key: str
    label: str
    unit: str = ""
    span: float = 0.5  # the least overlap of two curves, in shown units, that a BD-rate is computed on

    def load(self) -> None:
        """Import what is needed. Raises InputError where a package is missing."""

    def refusal(self, height: int, width: int) -> str | None:
        """Why a picture of this size has no value, if so."""
        return None

    @abstractmethod
    def measure(self, reference: np.ndarray, decoded: np.ndarray) -> float: ...

    def shown(self, mean: float) -> float:
        """The mean over pictures on the scale of plots and BD-rates."""
        return mean


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

    key, label, unit = "ms-ssim", "MS-SSIM", "dB"

    def load(self):
        require("pytorch_msssim", "metric 'ms-ssim'", "benchmark")

    def refusal(self, height, width):
        return "MS-SSIM needs more than 160 pixels on each side" if min(height, width) <= 160 else None

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

    key, label, span = "ssimulacra2", "SSIMULACRA2", 2.0

    def load(self):
        require("ssimulacra2", "metric 'ssimulacra2'", "benchmark")

    def refusal(self, height, width):
        return "SSIMULACRA2 needs at least 8 pixels on each side" if min(height, width) < 8 else None

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


def metrics(names: list[str]) -> list[Metric]:
    """The metrics of these names, ready to measure. Raises UsageError, or InputError for a missing package."""
    for name in names:
        if name not in METRICS:
            raise UsageError(f"unknown metric '{name}' (there are {', '.join(METRICS)})")
    found = [METRICS[name]() for name in dict.fromkeys(names)]
    for metric in found:
        metric.load()
    return found
