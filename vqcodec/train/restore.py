"""A published model → a model in training: the inverse of `export.write_model`, up to the rounding of its weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from .. import medium
from ..errors import UsageError
from ..indices.config import GridModel
from ..indices.float_prior import fill
from ..zoo import loading
from ..zoo.loading import read_codebooks, read_network, read_prior
from ..indices.quantize import layouts, split_groups
from ..zoo.registry import ModelEntry
from .model import Model
from .regroup import parts_of, regroup

RIDGE = 1e-3
TUNED = ("lambdas", "distortion", "arithmetic")  # what may differ from the published model


def published_config(entry: ModelEntry) -> GridModel:
    """Raises UsageError for a config.toml that is not right, UnsupportedError for a modality that is unknown."""
    return loading.model_config(entry, medium.of_modality(entry.modality).kind())


def check_shape(config: GridModel, entry: ModelEntry) -> None:
    """What a model is tuned for may change, its prior may become wider, and slices may be parts of its slices; else its
    shape stands."""
    theirs = published_config(entry)
    tuned = {name: getattr(theirs.transform, name) for name in TUNED if hasattr(theirs.transform, name)}
    parts = parts_of(layouts(config.quantizer), layouts(theirs.quantizer))
    same = parts is not None and replace(config.transform, **tuned) == theirs.transform
    same = same and config.prior.rank == tuple(theirs.prior.rank[i] for i in parts)
    wide = same and all(mine >= theirs.prior.context_channels[i] for mine, i in zip(config.prior.context_channels, parts))
    if not wide or len(config.transform.lambdas) != len(theirs.transform.lambdas):
        raise UsageError(f"model '{entry.name}' has another shape than this configuration")


@torch.no_grad()
def restore(model: Model, entry: ModelEntry, batches) -> None:
    """Loads the weights of a published model of the same shape into `model`, slices as `regroup` has them; what a wider prior
    has more of is random, and nothing hangs on it yet (Chen et al., Net2Net, 2016). The soft heads of slices of several dims are
    not published: they are fitted to the categorical ones on `batches` of (samples, level).

    Raises UnsupportedError for a decoder-only model, UsageError for one of another shape."""
    entry.require_encoder()
    check_shape(model.config, entry)
    published, kind = published_config(entry), medium.of_modality(entry.modality).kind()
    for name, net in (("encoder", model.encoder), ("decoder", model.decoder)):
        net.load_state_dict(read_network(entry, name, kind, published.transform))
    theirs = layouts(published.quantizer)
    books = [book for whole in read_codebooks(entry, published) for book in whole]
    for s, quantizer in zip(model.prior.layouts, model.quantizers):
        quantizer.codebook.copy_(torch.stack(books[s.planes]))
        quantizer.total.copy_(quantizer.codebook)
    phases = [context.phases for context in model.prior.contexts]
    fill(model.prior, regroup(read_prior(entry, published), model.prior.layouts, theirs, phases))
    fit_soft_heads(model, batches)


def fit_soft_heads(model: Model, batches) -> None:
    """Logistic heads of slices of several dims: least squares from the hidden state to the mean and log scale of what
    the categorical heads predict."""
    many = [i for i, s in enumerate(model.prior.layouts) if s.d > 1]
    seen, wanted = {i: [] for i in many}, {i: [] for i in many}
    for samples, level in batches:
        latents = model.encoder(samples, level)
        values = model.choose(latents, level)[1]
        for i, h in enumerate(model.prior.hidden(values, level)):
            if i not in many:
                continue
            share = torch.softmax(model.prior.heads[i](h, False), 2)
            book = model.quantizers[i].codebook
            mean = share @ book
            spread = (share @ book.square() - mean.square() + 1 / 12).clamp_min(1 / 12)
            log_scale = 0.5 * spread.log() + 0.5 * torch.tensor(3 / torch.pi**2).log()  # of a logistic: s²π²/3
            rows = [t.permute(1, 0, 2).flatten(1) for t in (mean / model.prior.soft[i].unit, log_scale)]
            wanted[i].append(torch.cat(rows, 1))
            seen[i].append(split_groups(h, h.shape[1])[0])
    for i in many:
        x, y = torch.cat(seen[i]).double(), torch.cat(wanted[i]).double()
        x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
        gram = x.T @ x / len(x)
        gram.diagonal().add_(RIDGE * gram.diagonal().mean())
        solution = torch.linalg.solve(gram, x.T @ y / len(x)).T.float()
        layer = model.prior.soft[i].layer
        layer.weight.copy_(solution[:, :-1, None, None])
        layer.bias.copy_(solution[:, -1])
