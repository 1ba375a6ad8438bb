"""A model with pitch from a published one without it. Codebooks and prior start anew: soft training moves what they are of."""

from __future__ import annotations

from dataclasses import replace

import torch

from .config import AudioModelConfig

ROWS = ("encoder.linear.", "encoder.head.")  # latent dims along dim 0
COLUMNS = ("encoder.log_gain", "decoder.log_gain", "decoder.stem.weight")  # along dim 1, the pitch being the first


def smaller(config: AudioModelConfig, theirs: AudioModelConfig) -> AudioModelConfig | None:
    """The published model's configuration, if networks of `config`, which has pitch, can start from it; else None. λ may differ, and
    their last latent dims may be lacking."""
    mine, other = config.transform, theirs.transform
    alike = replace(mine, excitation=other.excitation, latent_dims=other.latent_dims, lambdas=other.lambdas) == other
    fits = mine.network_dims <= other.network_dims and len(mine.lambdas) == len(other.lambdas)
    return theirs if mine.pitch_dims and not other.pitch_dims and not mine.tones and alike and fits else None


@torch.no_grad()
def grow(large, small) -> None:
    """Fills the networks of `large` from those of `small`."""
    mine, dims = large.state_dict(), large.config.transform.network_dims
    for name, value in small.state_dict().items():
        if name in COLUMNS:
            mine[name].zero_()
            mine[name][:, 1:] = value[:, :dims]
        elif name.startswith(ROWS):
            mine[name].copy_(value[:dims])
        elif name == "decoder.linear.weight":
            mine[name].copy_(value[:, :dims])
        elif name.startswith(("encoder.", "decoder.")):
            mine[name].copy_(value)
