"""What differs between training on pictures and on sound: where samples come from, how training starts, how it is
judged. One class each; `Trainer` knows only what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import torch

from .. import audio_transform, transform
from ..config import AudioRunConfig, RunConfig, StageConfig
from .data import Crops, find_pictures
from .sounds import Excerpts, find_sounds
from .validate import distance_of_sound, rate_distortion


class Medium(ABC):
    modality: str
    counted: str
    unit: str  # what progress counts, in millions

    @classmethod
    @abstractmethod
    def find(cls, directories) -> list[Path]: ...

    @abstractmethod
    def batch(self, step: int, size: int, count: int, rank: int = 0) -> torch.Tensor:
        """f32[count,...] samples that depend on the seed, `step` and `rank` alone."""

    @abstractmethod
    def amount(self, size: int, count: int) -> int:
        """Pixels, or samples, of a batch."""

    @abstractmethod
    def start(self, model) -> None:
        """Starts the linear paths and gains."""

    @abstractmethod
    def validate(self, model, paths, stage: StageConfig) -> list[dict]: ...


class Pictures(Medium):
    modality, counted, unit = "image", "pixels", "Mpixel"
    find = staticmethod(find_pictures)

    def __init__(self, config: RunConfig, paths):
        self.config, self.crops = config, Crops(paths, seed=config.training.seed, share=config.training.drawn)

    def batch(self, step, size, count, rank=0):
        return self.crops.batch(step, size, count, rank).float().div_(255)

    def amount(self, size, count):
        return count * size * size

    def start(self, model):
        patches = torch.cat([self.crops.batch(-1 - i, 16, 256) for i in range(60)]).float() / 255
        transform.init_linear_path(model.encoder, model.decoder, patches, self.config.model.transform.lambdas)

    def validate(self, model, paths, stage):
        return rate_distortion(model, paths, stage.kind == "soft", stage.search)


class Sounds(Medium):
    modality, counted, unit = "audio", "samples", "Msample"
    find = staticmethod(find_sounds)

    def __init__(self, config: AudioRunConfig, paths):
        self.config = config
        self.excerpts = Excerpts(paths, config.model.transform, seed=config.training.seed)

    def batch(self, step, size, count, rank=0):
        return self.excerpts.batch(step, size, count, rank)

    def amount(self, size, count):
        return count * size * self.config.model.transform.step

    def start(self, model):
        samples = torch.cat([self.excerpts.batch(-1 - i, 64, 16) for i in range(20)])
        audio_transform.init_linear_path(model.encoder, model.decoder, samples, self.config.model.transform)

    def validate(self, model, paths, stage):
        return distance_of_sound(model, paths, stage.kind == "soft")


MEDIA = {RunConfig: Pictures, AudioRunConfig: Sounds}
