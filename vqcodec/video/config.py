"""Configuration of models of video: a prior for frames that follow others, over a model of pictures that is named by its fingerprint."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import UsageError
from ..indices.config import PriorConfig, QuantizerConfig, check_grids
from ..limits import check_limits
from ..picture.config import ModelConfig, TransformConfig
from ..zoo import config as configuration


@dataclass(frozen=True)
class BaseConfig:
    """The model of pictures that codes key frames, and whose transform and codebooks all frames have."""

    name: str = "photo-3e"
    fingerprint: str = ""  # SHA-256, 64 hexadecimal digits: streams depend on it by way of the hash of this configuration

    def check(self) -> None:
        """Raises UsageError."""
        if len(self.fingerprint) != 64 or set(self.fingerprint) - set("0123456789abcdef"):
            raise UsageError("config: 'base.fingerprint' must be 64 hexadecimal digits")


@dataclass(frozen=True)
class VideoModelConfig:
    """config.toml of a model of video."""

    base: BaseConfig = field(default_factory=BaseConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)


@dataclass(frozen=True)
class FramesConfig:
    """Of the grids of frames that follow others, as `indices.config.GridModel` wants it."""

    transform: TransformConfig
    quantizer: QuantizerConfig
    prior: PriorConfig


def of_model(entry) -> VideoModelConfig:
    """The config.toml of a registered model. Raises UsageError, InputError and CorruptStreamError."""
    table = configuration.parse_toml(entry.read("config.toml"), f"model '{entry.name}': config.toml")
    try:
        config = configuration.from_dict(VideoModelConfig, table, complete=True)
        config.base.check()
        check_limits(config.prior, "prior")
        return config
    except UsageError as error:
        raise UsageError(f"model '{entry.name}': {error}") from None


def frames_config(config: VideoModelConfig, base: ModelConfig) -> FramesConfig:
    """Raises UsageError where the two do not fit together."""
    frames = FramesConfig(base.transform, base.quantizer, config.prior)
    check_grids(frames)
    return frames
