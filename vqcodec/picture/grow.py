"""A model in training → a larger one that starts as it: more qualities, further slices of latent dims behind its own.

Gains are interpolated over log λ and go on beyond the ends as they fall inside; what else hangs on the quality stays what it is
at the nearest end. New dims start as the principal components of what a linear path can tell of what is left out, at the gains that are
best at high rates; networks and prior know nothing of them yet."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import torch
import torch.nn.functional as F

from ..indices.config import GridModel, PriorConfig, QuantizerConfig
from ..train.model import Model
from .config import ModelConfig
from .transform import PATCH

RIDGE = 1e-4
BEHIND = ("encoder.linear.weight", "encoder.linear.bias", "encoder.head.weight", "encoder.head.bias")  # dims are rows
ACROSS = ("decoder.linear.weight", "decoder.stem.weight")  # dims are columns
LEVELS = ("condition.scale", "condition.bias", "past_bias")  # rows are qualities


def smaller(config: GridModel, theirs: GridModel) -> ModelConfig | None:
    """The part of a model of pictures that has as many qualities and latent dims as another; None if it has no more."""
    if not isinstance(config, ModelConfig) or not isinstance(theirs, ModelConfig):
        return None
    dims, levels = theirs.transform.latent_dims, len(theirs.transform.lambdas)
    if config.transform.latent_dims <= dims and len(config.transform.lambdas) <= levels:
        return None
    ends = list(itertools.accumulate(config.quantizer.slices))
    count = ends.index(dims) + 1 if dims in ends else len(ends)
    return replace(
        config, transform=replace(config.transform, latent_dims=dims, lambdas=theirs.transform.lambdas),
        quantizer=QuantizerConfig(*(getattr(config.quantizer, name)[:count] for name in ("slices", "dims", "codewords"))),
        prior=PriorConfig(config.prior.context_channels[:count], config.prior.rank[:count]))


@torch.no_grad()
def grow(large: Model, small: Model, batches) -> None:
    """Fills `large` from `small`, whose slices are the first of its; `batches` of (pixels, level) to learn from."""
    mine = large.state_dict()
    rows = positions(large.config.transform.lambdas, small.config.transform.lambdas)
    for name, value in small.state_dict().items():
        if name.endswith("log_gain"):
            mine[name][:, : value.shape[1]] = at(value, rows, beyond=True)
        elif name.endswith(LEVELS):
            mine[name].copy_(at(value, rows))
        elif name.startswith("prior.contexts") and name.endswith(".bias") and value.dim() == 3:  # phases, qualities, channels
            mine[name].copy_(torch.stack([at(of_phase, rows) for of_phase in value]))
        elif name in BEHIND:
            mine[name][: len(value)] = value
        elif name in ACROSS:
            mine[name][:, : value.shape[1]] = value
        else:
            mine[name].copy_(value)
    start_dims(large, small, batches)


def start_dims(large: Model, small: Model, batches) -> None:
    """Dims that `small` has not: reduced-rank regression of what its decoder, at its highest quality and without any quantiser,
    leaves of 16×16 patches on those patches."""
    first, encoder, decoder = small.config.transform.latent_dims, large.encoder, large.decoder
    patches, rest = [], []
    for pixels, _ in batches:
        level = torch.full((len(pixels),), len(small.config.transform.lambdas) - 1.0)
        left = pixels - small.decoder(small.encoder(pixels, level), level)
        for values, found in ((pixels - 0.5, patches), (left, rest)):
            found.append(F.pixel_unshuffle(values.contiguous(), PATCH).permute(0, 2, 3, 1).flatten(0, 2).double())
    x, r = torch.cat(patches), torch.cat(rest)
    gram = x.T @ x / len(x)
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    told = torch.linalg.solve(gram, x.T @ r / len(x))  # [768,768]: patches → what is left of them
    vectors = torch.linalg.eigh(told.T @ gram @ told)[1].flip(1)[:, : encoder.linear.out_channels - first]
    encoder.linear.weight[first:, :, 0, 0] = (told @ vectors).T.float()
    encoder.linear.bias[first:] = 0
    decoder.linear.weight[:, first:, 0, 0] = vectors.float()
    decoder.stem.weight[:, first:] = 0
    encoder.head.weight[first:], encoder.head.bias[first:] = 0, 0
    steps = torch.tensor([math.sqrt(26 / slope) / 255 for slope in large.config.transform.lambdas])
    for gain in (encoder.log_gain, decoder.log_gain):
        gain[:, first:] = -steps.log()[:, None]


def positions(new, old) -> torch.Tensor:
    """f64[L]: where on the scale of the old λ the new ones lie, by their logarithms; beyond its ends too."""
    spots = []
    for slope in new:
        low = max(0, min(len(old) - 2, sum(slope >= other for other in old) - 1))
        spots.append(low + math.log(slope / old[low]) / math.log(old[low + 1] / old[low]))
    return torch.tensor(spots, dtype=torch.float64)


def at(table: torch.Tensor, rows: torch.Tensor, beyond: bool = False) -> torch.Tensor:
    """Rows of a table [L,C] at positions f64[M], interpolated: [M,C]. `beyond` the ends they go on by the mean slope of three
    rows, else the end stands."""
    last = len(table) - 1
    inside = rows.clamp(0, last)
    low = inside.floor().clamp(max=max(0, last - 1)).long()
    part = (inside - low)[:, None]
    result = table[low] * (1 - part) + table[(low + 1).clamp(max=last)] * part
    if beyond and last:
        reach = min(2, last)
        slopes = (table[reach] - table[0]) / reach, (table[last] - table[last - reach]) / reach
        result = result + (rows - inside).clamp(max=0)[:, None] * slopes[0] + (rows - inside).clamp(min=0)[:, None] * slopes[1]
    return result.to(table.dtype)
