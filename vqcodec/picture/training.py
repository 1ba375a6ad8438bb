"""Pictures, as training asks for them (`train/medium.py`)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from ..errors import InputError, UsageError
from ..indices.quality import SIXTEENTHS
from ..indices.quantize import codewords_of, nearest
from ..indices.rates import Rates
from ..train.config import TrainingConfig
from ..train.medium import Coded, Medium, Networks
from ..train.validate import code
from . import calibration, distortion, grow, search, ssimulacra2, transform
from .config import LEAST_SIDES, ModelConfig
from .crops import Crops, find_pictures, opened
from .file import Picture
from .psnr import psnr

CALIBRATION = 20  # of the batches that export counts codewords in; the last of them are the extremes
SHOWN_SIDE = 768  # pixels of a side of validation pictures, at most


@dataclass(frozen=True)
class RunConfig:
    """What `vqcodec train image --config` reads."""

    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    searches: ClassVar[bool] = True

    def check(self) -> None:
        """Raises UsageError for crops that are too small for the distortion."""
        kind = self.model.transform.distortion
        for stage in self.training.stages:
            if (stage.kind != "prior" or stage.search) and min(stage.crop, stage.late_crop) < LEAST_SIDES.get(kind, 1):
                raise UsageError(f"config: {kind.upper()} needs crops of {LEAST_SIDES[kind]} pixels or more")


class Pictures(Medium):
    modality, counted, unit, rate_unit = "image", "pixels", "Mpixel", "bpp"
    run_config, model_config = RunConfig, ModelConfig
    on_cuda = True
    find = staticmethod(find_pictures)
    smaller, grow = staticmethod(grow.smaller), staticmethod(grow.grow)

    def __init__(self, config: RunConfig, paths):
        self.config, self.crops = config, Crops(
            paths, seed=config.training.seed, share=config.training.drawn, limit=config.training.cache_megabytes << 20)

    @staticmethod
    def networks(config):
        t = config.transform
        return Networks(transform.Encoder(t), transform.Decoder(t), transform.PATCH**2, distortion.KINDS_OF_CROPS[t.distortion],
                        search=search.SEARCHES[t.distortion], improve=improve)

    def batch(self, step, size, count, rank=0):
        return self.crops.batch(step, size, count, rank).float().div_(255)

    def amount(self, size, count):
        return count * size * size

    def rate(self, bits):
        return bits

    def start(self, model):
        patches = torch.cat([self.crops.batch(-1 - i, 16, 256) for i in range(60)]).float() / 255
        transform.init_linear_path(model.encoder, model.decoder, patches, self.config.model.transform.lambdas)

    def extremes(self):
        """The corners of the RGB cube, each as a plain picture."""
        corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)))
        return corners[:, :, None, None].repeat(1, 1, 64, 64)

    @staticmethod
    def decoder_tensors(model, batches):
        if model.config.transform.arithmetic != "integer":
            return Medium.decoder_tensors(model, batches)
        tensors = calibration.decoder_tensors(model.decoder, latents_of(model, batches[-CALIBRATION:]), model.config.transform)
        return {name: torch.from_numpy(values) for name, values in tensors.items()}

    @staticmethod
    def decoder_loss(codec, path, grids, quality):
        if not codec.exact:
            return None
        rgb = (load(path)[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        with torch.no_grad():
            x = codec.decoder(codec.coder.dequantize(grids[None]), torch.tensor([quality - 1.0]))[0]
        x = (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return psnr(rgb, x), psnr(rgb, codec.pixels(grids, *rgb.shape[:2], round(SIXTEENTHS * (quality - 1))))

    def validate(self, model, paths, soft, search):
        return rate_distortion(model, paths, soft, search)

    def check_file(self, path):
        load(path)

    @staticmethod
    def code_file(codec, path, quality):
        x = load(path)
        rgb = (x[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        data = codec.encode(Picture(rgb), quality).data
        return Coded(data, torch.from_numpy(codec.decode_grids(data)), codec.bits_per_block(data).sum(), x[0, 0].numel())


@torch.no_grad()
def latents_of(model, batches):
    """(latents f32[B,D,h,w] as they are decoded, level f32[B]) of batches of (pixels, level)."""
    for pixels, level in batches:
        y = model.analyse(pixels, level)
        chosen = nearest(y, model.codebooks, model.prior.layouts)
        yield model.masked(codewords_of(chosen, model.codebooks, (len(y), *y.shape[2:])), level), level


def improve(model, latents, pixels, level, steps: int):
    """As `train.medium.Networks` says, by the encoder's search (`search.py`)."""
    lambdas = torch.tensor(model.config.transform.lambdas)[level.long()][:, None, None, None]
    slope = lambdas.flatten() * pixels[0, 0].numel()

    def gradient(chosen):
        return search.gradient_at(chosen, lambda y: model.synthesise(y, level), lambda x: model.distortion(x, pixels), slope)

    rates = Rates(model.prior, model.codebooks, model.rate_weights, level, present=model.present[level.long()])
    return search.refine(latents, steps, model.search, rates, gradient, damping=model.search.damping(lambdas))


def load(path, side: int = SHOWN_SIDE) -> torch.Tensor:
    """f32[1,3,H,W]: the picture scaled to `side` at most and cut to multiples of 16. Raises InputError."""
    with opened(path) as image:
        image = image.convert("RGB")
    image.thumbnail((side, side), Image.LANCZOS)
    width, height = (s - s % 16 for s in image.size)
    if not (width and height):
        raise InputError(f"{path}: less than 16 pixels wide or high at {side} pixels")
    pixels = np.asarray(image.crop((0, 0, width, height)))
    return transform.samples(pixels.copy())


@torch.no_grad()
def rate_distortion(model, paths, soft: bool, search: int = 0) -> list[dict]:
    """One row per quality: mean bpp and mean PSNR (RGB, dB); of models trained on MS-SSIM its mean too, in dB, on SSIMULACRA2 the
    mean score. `soft`: see `code`."""
    pictures = [load(p) for p in paths]
    measure = {"ms-ssim": distortion.similarity, "ssimulacra2": ssimulacra2.error}.get(model.config.transform.distortion)
    rows = []
    for index in range(len(model.config.transform.lambdas)):
        level = torch.tensor([float(index)])
        bpp, decibels, alike = [], [], []
        for x in pictures:
            decoded, bits = code(model, x, level, soft, search)
            decoded = (decoded.clamp(0, 1) * 255).round()
            mse = (decoded - x * 255).square().mean().item()
            bpp.append(bits / x[0, 0].numel())
            decibels.append(10 * math.log10(255**2 / max(mse, 1e-9)))
            if measure:
                alike.append(measure(decoded / 255, x))
        rows.append(dict(quality=index + 1, bpp=round(float(np.mean(bpp)), 5), psnr=round(float(np.mean(decibels)), 3)))
        if measure is distortion.similarity:
            rows[-1]["ms_ssim_db"] = round(-10 * math.log10(max(1 - torch.cat(alike).mean().item(), 1e-9)), 3)
        elif measure:
            rows[-1]["ssimulacra2"] = round(ssimulacra2.score(torch.cat(alike)).mean().item(), 3)
    return rows
