"""Configuration of models of sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..errors import UsageError
from ..indices.config import PriorConfig, QuantizerConfig
from ..limits import ADDED_LATER, Limits

MAX_CHUNK = 1 << 20  # samples
EXCITATIONS = ("noise", "harmonic")


@dataclass(frozen=True)
class AudioTransformConfig:
    """Shape of the analysis and synthesis networks of sound (see `transform.py`)."""

    sample_rate: int = 16000  # Hz
    channels: int = 1  # or 2: coded together
    hop: int = 160  # samples per spectral frame; two of these make a latent frame
    chunk: int = 512  # latent frames that are coded together; part of what the model's streams mean
    latent_dims: int = 96
    widths: tuple[int, int] = (192, 256)  # of the networks at the rate of spectral and of latent frames
    encoder_dilations: tuple[tuple[int, ...], tuple[int, ...]] = ((1, 2), (1, 2, 4, 8))  # spectral, latent frames
    decoder_dilations: tuple[tuple[int, ...], tuple[int, ...]] = ((1, 2, 4, 8), (1, 2, 4))  # latent, spectral frames
    lambdas: tuple[float, ...] = (0.05, 0.12, 0.28, 0.65, 1.5, 3.6, 8.5, 20.0)
    bands: int = field(default=0, metadata=ADDED_LATER)  # per channel, of the encoder's linear path; 0: single bins
    floor: float = field(default=1e-4, metadata=ADDED_LATER)  # magnitudes below this are nothing; a full-scale sine has 0.5
    excitation: str = field(default="noise", metadata=ADDED_LATER)  # or "harmonic": pulses at the pitch, the first latent dim, too
    tones: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)  # lowest lapped coefficients of each channel among the latents

    LIMITS: ClassVar = {
        "sample_rate": Limits(1000, 192_000),
        "channels": Limits(1, 2),
        "hop": Limits(8, 2048),
        "chunk": Limits(16, 4096),
        "latent_dims": Limits(1, 1024),
        "widths": Limits(1, 1024),
        "encoder_dilations": Limits(1, 64, entries=8),
        "decoder_dilations": Limits(1, 64, entries=8),
        "lambdas": Limits(1e-9, 1e9),
        "bands": Limits(0, 512),
        "floor": Limits(1e-12, 0.5),
        "tones": Limits(0, 1024, entries=2),
    }

    @property
    def grid_rank(self) -> int:
        return 1

    @property
    def bins(self) -> int:
        return 2 * self.hop + 1

    @property
    def step(self) -> int:
        """Samples per latent frame."""
        return 2 * self.hop

    @property
    def network_dims(self) -> int:
        """Latent dims that the encoder's network makes; the pitch comes before, tones follow."""
        return self.latent_dims - sum(self.tones) - self.pitch_dims

    @property
    def pitch_dims(self) -> int:
        return int(self.excitation == "harmonic")

    def check(self) -> None:
        """Raises UsageError for values within their limits that do not fit together."""
        if self.chunk * self.step > MAX_CHUNK:
            raise UsageError(f"config: a 'transform.chunk' of {self.chunk} frames has more than {MAX_CHUNK} samples")
        if self.excitation not in EXCITATIONS:
            raise UsageError(f"config: 'transform.excitation' must be one of {', '.join(EXCITATIONS)}")
        if self.pitch_dims and (self.channels != 1 or self.sample_rate < 8000):
            raise UsageError("config: a harmonic 'transform.excitation' is for one channel, at 8000 Hz or more")
        if self.tones and len(self.tones) != self.channels:
            raise UsageError("config: 'transform.tones' needs one entry per channel, or none")
        if self.network_dims < 1 or any(not 0 <= count <= self.step for count in self.tones):
            raise UsageError("config: 'transform.tones' must be in 0..2*hop and leave some of the latent_dims")
        least = -(-self.network_dims // (2 * self.channels))
        if self.bands and not least <= self.bands <= self.bins:
            raise UsageError(f"config: 'transform.bands' must be 0 or in {least}..{self.bins} for these latent_dims")


@dataclass(frozen=True)
class AudioModelConfig:
    transform: AudioTransformConfig = field(default_factory=AudioTransformConfig)
    quantizer: QuantizerConfig = field(default_factory=lambda: QuantizerConfig(
        slices=(8, 24, 64), dims=(1, 1, 2), codewords=(128, 64, 128)))
    prior: PriorConfig = field(default_factory=lambda: PriorConfig(context_channels=(96, 128, 160), rank=(6, 6, 8)))
