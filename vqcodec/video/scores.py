"""Quality metrics of clips: means over frames of those of pictures, CVVDP, flicker and pumping. A new one is named in `METRICS`."""

from __future__ import annotations

import numpy as np

from ..bench.metrics import Metric, Unmeasurable
from ..picture import scores as of_pictures
from ..picture.psnr import decibels

STILL = 1.0  # mean absolute difference of a block of the original from one frame to the next, below which it is taken for still
BLOCK = 16


class Psnr(Metric):
    """Of all samples of all frames together."""

    key, label, unit = "psnr", "PSNR (RGB)", "dB"

    def measure(self, reference, decoded):
        errors = [np.mean(np.square(a.astype(np.int16) - b, dtype=np.int32)) for a, b in zip(reference.frames, decoded.frames)]
        return decibels(float(np.mean(errors)))


class _MeanOfFrames(Metric):
    of: type[Metric]

    def __init__(self):
        self.metric = self.of()

    def load(self):
        self.metric.load()

    def refusal(self, source):
        return self.metric.refusal(source)

    def measure(self, reference, decoded):
        return float(np.mean([self.metric.measure(a, b) for a, b in zip(reference.frames, decoded.frames)]))

    def shown(self, mean):
        return self.metric.shown(mean)


class MsSsim(_MeanOfFrames):
    """The mean over frames."""

    of, key, label, unit, package = of_pictures.MsSsim, "ms-ssim", "MS-SSIM", "dB", "pytorch-msssim"


class Ssimulacra2(_MeanOfFrames):
    """The mean over frames."""

    of, key, label, span, package = of_pictures.Ssimulacra2, "ssimulacra2", "SSIMULACRA2", 2.0, "ssimulacra2"


class Flicker(Metric):
    """What still parts move: mean absolute difference of the luma of decoded frames from one to the next, in blocks of 16×16 that
    hardly differ in the original (by less than a level), less that of the original."""

    key, label, better, digits = "flicker", "flicker of still parts", "lower", 3

    def measure(self, reference, decoded):
        own, made = (_differences(clip.frames) for clip in (reference, decoded))
        still = own < STILL
        if not still.any():
            raise Unmeasurable("nothing stands still")
        return float((made - own)[still].mean())


class Pumping(Metric):
    """How much more still parts jump at key frames: the flicker at key frames, but the first, less that at all other frames."""

    key, label, better, digits = "pumping", "pumping at key frames", "lower", 3

    def measure(self, reference, decoded):
        own, made = (_differences(clip.frames) for clip in (reference, decoded))
        still, keys = own < STILL, np.zeros(len(own), bool)
        keys[[key - 1 for key in getattr(decoded, "keys", ()) if key]] = True
        at_keys, elsewhere = still & keys[:, None, None], still & ~keys[:, None, None]
        if not (at_keys.any() and elsewhere.any()):
            raise Unmeasurable("nothing stands still at a key frame")
        return float((made - own)[at_keys].mean() - (made - own)[elsewhere].mean())


class Cvvdp(Metric):
    """ColorVideoVDP of the moving picture, on the display that `picture.scores.Cvvdp` names."""

    key, label, unit, package = "cvvdp", of_pictures.Cvvdp.label, "JOD", "cvvdp"
    span, digits = 0.1, 3

    def load(self):
        of_pictures.Cvvdp().load()

    def refusal(self, source):
        return of_pictures.Cvvdp().refusal(source)

    def measure(self, reference, decoded):
        return of_pictures.cvvdp_of_frames(reference.frames, decoded.frames, len(reference.frames) / float(reference.end))


def _differences(frames: np.ndarray) -> np.ndarray:
    """f64[T-1,h,w] of uint8[T,H,W,3]: of whole blocks."""
    height, width = (side // BLOCK * BLOCK for side in frames.shape[1:3])
    weights, before, found = np.array([0.299, 0.587, 0.114]), None, []
    for frame in frames:
        luma = frame[:height, :width] @ weights
        if before is not None:
            found.append(np.abs(luma - before).reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean((1, 3)))
        before = luma
    return np.stack(found)


METRICS: dict[str, type[Metric]] = {m.key: m for m in (Psnr, MsSsim, Ssimulacra2, Cvvdp, Flicker, Pumping)}
