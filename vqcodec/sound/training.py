"""Recordings, as training asks for them (`train/medium.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from ..errors import InputError, UsageError
from ..train.config import StageConfig, TrainingConfig
from ..train.items import Items
from ..train.medium import Coded, Medium, Networks
from ..train.validate import code
from . import distortion, grow, transform
from .config import AudioModelConfig
from .excerpts import PEAK, Excerpts, find_sounds, load
from .file import Sound
from .pulses import hertz

SHOWN_SECONDS = 20  # of validation recordings


@dataclass(frozen=True)
class AudioTrainingConfig(TrainingConfig):
    drawn: float = 0.0
    stages: tuple[StageConfig, ...] = (
        StageConfig("soft", steps=5000),
        StageConfig("vq", steps=350, learning_rate=4e-4),
        StageConfig("prior", steps=500, learning_rate=1e-3),
    )


@dataclass(frozen=True)
class AudioRunConfig:
    """What `vqcodec train audio --config` reads; crops are counted in latent frames."""

    model: AudioModelConfig = field(default_factory=AudioModelConfig)
    training: AudioTrainingConfig = field(default_factory=AudioTrainingConfig)

    searches: ClassVar[bool] = False

    def check(self) -> None:
        """Raises UsageError for a share of drawn sounds that is none."""
        if not 0 <= self.training.drawn <= 1:
            raise UsageError("config: 'training.drawn' is a share, from 0 to 1, of excerpts")


class Sounds(Medium):
    modality, counted, unit, rate_unit = "audio", "samples", "Msample", "kbps"
    run_config, model_config = AudioRunConfig, AudioModelConfig
    find = staticmethod(find_sounds)

    def __init__(self, config: AudioRunConfig, paths):
        self.config, self.items = config, None
        t = config.training
        if t.whole:
            self.items = Items(paths, partial(whole, frames=t.stages[0].crop, config=config.model.transform),
                               config.model.prior.labels, seed=t.seed, unlabelled=t.unlabelled)
            return
        self.excerpts = Excerpts(paths, config.model.transform, seed=config.training.seed,
                                 limit=config.training.cache_megabytes << 20, drawn=config.training.drawn)

    @staticmethod
    def networks(config):
        t = config.transform
        return Networks(transform.Encoder(t), transform.Decoder(t), t.step,
                        partial(distortion.spectral, rate=t.sample_rate, floor=t.floor), error=error)

    @staticmethod
    def smaller(config, theirs):
        return grow.smaller(config, theirs)

    @staticmethod
    def grow(large, small, batches):
        grow.grow(large, small)

    def batch(self, step, size, count, rank=0):
        return self.items.batch(step, count, rank) if self.items else self.excerpts.batch(step, size, count, rank)

    def labels(self, step, count, rank=0):
        return self.items.labels(step, count, rank) if self.items else None

    def amount(self, size, count):
        return count * size * self.config.model.transform.step

    def rate(self, bits):
        return bits * self.config.model.transform.sample_rate / 1000

    def start(self, model):
        samples = torch.cat([self.batch(-1 - i, 64, 16) for i in range(20)])
        transform.init_linear_path(model.encoder, model.decoder, samples, self.config.model.transform)

    def validate(self, model, paths, soft, search):
        return distances(model, paths, soft)

    def check_file(self, path):
        load(path, self.config.model.transform)

    @staticmethod
    def code_file(codec, path, quality):
        """Of one chunk of the sound."""
        t = codec.model.transform
        samples = load(path, t)[0, :, 0, : t.chunk * t.step].T.numpy()
        data = codec.encode(Sound(np.ascontiguousarray(samples), t.sample_rate), quality).data
        return Coded(data, torch.from_numpy(codec.decode_grids(data)), codec.bits_per_frame(data).sum(),
                     1000 * len(samples) / t.sample_rate)


def whole(path, frames: int, config) -> torch.Tensor:
    """f32[C,1,frames·step]: a recording from its beginning, at a peak of 1/2, silence behind it. Raises InputError."""
    samples = load(path, config)[0, ..., : frames * config.step]
    peak = samples.abs().max().item() if samples.numel() else 0.0
    if peak <= 1e-3:
        raise InputError(f"{path}: too quiet")
    return torch.nn.functional.pad(samples * (PEAK / peak), (0, frames * config.step - samples.shape[2]))


def error(model, latents, level, samples):
    """f32[B]: a generalised energy distance of what the decoder makes with two noises, and that of tones."""
    t = model.config.transform
    noises = (torch.rand_like(samples).mul_(2).sub_(1) for _ in range(2))
    decoded, other = (model.synthesise(latents, level, noise) for noise in noises)
    apart = distortion.energy(decoded, other, samples, rate=t.sample_rate, floor=t.floor)
    if t.pitch_dims:
        frequency = torch.from_numpy(hertz(latents[:, 0, 0].detach().float().numpy()))
        apart = apart + distortion.steady(decoded, other, samples, rate=t.sample_rate, floor=t.floor)
        apart = apart + distortion.hoarse(decoded, samples, frequency, t.step, t.sample_rate)
    return apart + tone_error(model, latents, level, samples) if t.tones else apart


def tone_error(model, latents, level, samples):
    """f32[B]: weighed squared error of the companded coefficients of tones, the mean of frames."""
    t = model.config.transform
    wanted = transform.to_tones(transform.to_mid_side(samples), t)
    wrong = (model.decoder.unscaled(latents, level)[:, t.network_dims :] - wanted).square()
    return (wrong.squeeze(2) * transform.tone_weights(t)[:, None]).sum(1).mean(1)


@torch.no_grad()
def distances(model, paths, soft: bool) -> list[dict]:
    """One row per quality: mean kbps (a channel's) and mean spectral distance (see `distortion.py`)."""
    t = model.config.transform
    recordings = []
    for path in paths:
        x = load(path, t)[..., : SHOWN_SECONDS * t.sample_rate]
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
