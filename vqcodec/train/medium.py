"""What training asks of a medium: where samples come from, its networks and losses, how training starts, how it is judged.
`Trainer` and `Model` know only this; each medium has its answers in a module `training` of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import UnsupportedError
from ..medium import media
from ..zoo import weights


@dataclass(frozen=True)
class Networks:
    """patch: samples of a channel for each latent. distortion: (decoded, original), both f32[B,C,H,W] → f32[B]. error: what
    training takes for the distortion, (model, latents, level, samples) → f32[B], if it is more than that of what the decoder
    gives. search: the encoder's, None where there is none; improve: (model, latents f32[B,D,h,w], samples, level, steps) →
    (latents and codewords after so many steps of it), same."""

    encoder: nn.Module
    decoder: nn.Module
    patch: int
    distortion: Callable
    error: Callable | None = None
    search: Any = None
    improve: Callable | None = None


@dataclass(frozen=True)
class Coded:
    """A validation file: the bytes of its stream, index grids int64[G,h,w], their ideal code length in bits; extent: pixels, or
    milliseconds."""

    data: bytes
    grids: torch.Tensor
    bits: float
    extent: float


class Medium(ABC):
    modality: str
    counted: str
    unit: str  # what progress counts, in millions
    rate_unit: str
    run_config: type
    model_config: type
    own_run: Callable | None = None  # with the arguments of `train.run.train` but the modality, of a medium that is trained in another way
    on_cuda = False  # whether losses and search are written for devices other than the CPU

    @staticmethod
    @abstractmethod
    def networks(config) -> Networks:
        """Of a model's configuration."""

    @staticmethod
    @abstractmethod
    def find(directories) -> list[Path]: ...

    @abstractmethod
    def batch(self, step: int, size: int, count: int, rank: int = 0) -> torch.Tensor:
        """f32[count,...] samples that depend on the seed, `step` and `rank` alone."""

    def labels(self, step: int, count: int, rank: int = 0) -> torch.Tensor | None:
        """int64[count,kinds] of the batch of the same `step` and `rank`, 0: none; None where the model has no labels."""
        return None

    @abstractmethod
    def amount(self, size: int, count: int) -> int:
        """Pixels, or samples, of a batch."""

    @abstractmethod
    def rate(self, bits: float) -> float:
        """Bits per sample → `rate_unit`."""

    @abstractmethod
    def start(self, model) -> None:
        """Starts the linear paths and gains."""

    def extremes(self) -> torch.Tensor | None:
        """f32[N,...]: samples at the ends of what there can be, which training may never show."""
        return None

    @abstractmethod
    def validate(self, model, paths, soft: bool, search: int) -> list[dict]:
        """A row for each quality. soft: see `validate.code`."""

    @abstractmethod
    def check_file(self, path) -> None:
        """Raises VqcodecError for a file that `validate` and `code_file` could do nothing with."""

    @staticmethod
    @abstractmethod
    def code_file(codec, path, quality: float) -> Coded: ...

    @staticmethod
    def decoder_tensors(model, batches) -> dict[str, torch.Tensor]:
        """What decoder.safetensors is to hold; `batches` of (samples, level) show what goes through. Raises InputError for weights
        that no decoder would take."""
        return weights.pack(model.decoder.state_dict())

    @staticmethod
    def decoder_loss(codec, path, grids: torch.Tensor, quality: float) -> tuple[float, float] | None:
        """PSNR in dB of a file decoded from its index grids, by the weights in floats and by the integers; None where there are
        none."""
        return None

    @staticmethod
    def smaller(config, theirs):
        """The part of a model's configuration that has the shape of a published one, where it is larger and `grow` can start it
        from that; else None."""
        return None

    @staticmethod
    def grow(large, small, batches) -> None:
        """Fills a model from one that has the shape that `smaller` gave; `batches` of (samples, level) to learn from."""
        raise NotImplementedError


def of_config(config) -> type[Medium]:
    """By the configuration of a model or a run. Raises UnsupportedError."""
    for medium in media():
        found = medium.training()
        if found is not None and isinstance(config, (found.model_config, found.run_config)):
            return found
    raise UnsupportedError(f"nothing here can be trained by a {type(config).__name__}")
