"""Configuration of models of pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..errors import UsageError
from ..indices.config import PriorConfig, QuantizerConfig
from ..limits import ADDED_LATER, Limits

MS_SSIM_SIDE = 176  # least side whose coarsest of five scales still holds a window
SSIMULACRA2_SIDE = 128  # likewise
LEAST_SIDES = {"mse": 1, "ms-ssim": MS_SSIM_SIDE, "ssimulacra2": SSIMULACRA2_SIDE}  # of the crops of each distortion
REMEMBERED_PIXELS = 3 << 22  # of larger pictures the search remembers nothing between its steps, so that memory is bounded


@dataclass(frozen=True)
class TransformConfig:
    """Shape of the analysis and synthesis networks (see `transform.py`)."""

    latent_dims: int = 192
    channels: tuple[int, int, int] = (64, 128, 192)  # at 1/4, 1/8, 1/16 resolution
    encoder_blocks: tuple[int, int, int] = (1, 2, 2)
    decoder_blocks: tuple[int, int, int] = (1, 3, 3)
    lambdas: tuple[float, ...] = (0.0006, 0.00108, 0.00194, 0.0035, 0.0063, 0.0113, 0.0204, 0.0367)
    distortion: str = field(default="mse", metadata=ADDED_LATER)  # or 'ms-ssim', 'ssimulacra2' (see `distortion.py`)
    arithmetic: str = field(default="float", metadata=ADDED_LATER)  # of the decoder; or 'integer' (see `integer.py`)

    LIMITS: ClassVar = {
        "latent_dims": Limits(1, 1024),
        "channels": Limits(1, 1024),
        "encoder_blocks": Limits(0, 16),
        "decoder_blocks": Limits(0, 16),
        "lambdas": Limits(1e-9, 1e9),
    }

    @property
    def grid_rank(self) -> int:
        return 2

    def check(self) -> None:
        """Raises UsageError for values within their limits that do not fit together."""
        if self.distortion not in LEAST_SIDES:
            raise UsageError("config: 'transform.distortion' must be one of mse, ms-ssim, ssimulacra2")
        if self.arithmetic not in ("float", "integer"):
            raise UsageError("config: 'transform.arithmetic' must be one of float, integer")
        if any(count * share > self.LIMITS["channels"].most for count, share in zip(self.channels, (4, 2, 1))):
            raise UsageError("config: 'transform.channels' must be 256, 512 and 1024 at most")


@dataclass(frozen=True)
class ModelConfig:
    transform: TransformConfig = field(default_factory=TransformConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
