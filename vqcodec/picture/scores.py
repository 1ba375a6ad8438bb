"""Quality metrics of pictures, uint8[H,W,3]. A new one is a subclass of `Metric` named in `METRICS`."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .psnr import decibels, psnr
from ..bench.metrics import Metric
from ..bench.packages import require
from ..errors import InputError


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


class Cvvdp(Metric):
    """ColorVideoVDP, in units of just-objectionable differences below 10, which is no visible difference: Mantiuk, Hanji,
    Ashraf, Asano, Chapiro, "ColorVideoVDP: a visual difference predictor for image, video and display distortions", ACM
    Transactions on Graphics 43(4), 2024.

    As seen on the package's display `standard_4k`: 30 inches, 3840 × 2160, peak 200 cd/m², contrast 1000, in a room of 250 lux,
    from 0.75 m, which is twice its height: 75 pixels per degree."""

    key, label, unit, package = "cvvdp", "CVVDP (75 px/°, 200 cd/m²)", "JOD", "cvvdp"
    span, digits = 0.1, 3

    def load(self):
        for number in range(2):
            try:
                require("pycvvdp", "metric 'cvvdp'", "benchmark-cvvdp", "cvvdp")
                return
            except RuntimeError as error:  # torchvision is made for another torch
                if number:
                    raise InputError(f"metric 'cvvdp': its package cannot be loaded ({error})") from error
                try:
                    _name_operators()
                except RuntimeError:  # they have names: it is something else
                    raise InputError(f"metric 'cvvdp': its package cannot be loaded ({error})") from error

    def refusal(self, source):
        return "CVVDP needs at least 8 pixels on each side" if min(source.height, source.width) < 8 else None

    def measure(self, reference, decoded):
        import torch

        with torch.inference_mode():
            return float(_cvvdp().predict(decoded, reference, dim_order="HWC")[0])


def cvvdp_of_frames(reference, decoded, rate: float) -> float:
    """Of clips uint8[T,H,W,3] at `rate` frames a second, as `Cvvdp`."""
    import torch

    with torch.inference_mode():
        return float(_cvvdp().predict(decoded, reference, dim_order="FHWC", frames_per_second=rate)[0])


@lru_cache
def _name_operators():
    """Names two operators of torchvision, which the metric never calls, where its library of operators cannot be loaded: PyPI's
    is made for torch with CUDA, and does not go with one for CPUs."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


@lru_cache
def _cvvdp():
    import pycvvdp
    import torch

    return pycvvdp.cvvdp(display_name="standard_4k", quiet=True, device=torch.device("cpu"))


METRICS: dict[str, type[Metric]] = {m.key: m for m in (PsnrRgb, PsnrLuma, MsSsim, Ssimulacra2, Cvvdp)}
