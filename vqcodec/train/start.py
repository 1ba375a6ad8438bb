"""Where a run starts: the weights of another run, or a published model, which may be smaller."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from ..errors import InputError, UsageError
from ..zoo.registry import ModelEntry
from . import vq
from .medium import Medium
from .model import Model
from .restore import published_config, restore


def start_from_model(model: Model, entry: ModelEntry, batches, medium: Medium) -> None:
    """Fills a model on the CPU from a published one, of its shape or smaller, which are fitted to each other on `batches` of
    (samples, level). Raises UnsupportedError for a decoder-only model, UsageError for one of another shape."""
    smaller = medium.smaller(model.config, published_config(entry))
    if smaller is None:
        restore(model, entry, batches)
        return
    small = Model(smaller).eval()
    restore(small, entry, [(samples, level % len(smaller.transform.lambdas)) for samples, level in batches])
    medium.grow(model, small, batches)


def start_from_file(model: Model, path: Path) -> None:
    """Fills a model from a stageN.pt. Raises InputError for a bad file, UsageError for weights of another shape."""
    try:
        weights = torch.load(path, weights_only=True, map_location=model.present.device)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: cannot read weights ({getattr(error, 'strerror', None) or 'not a weight file'})") from None
    try:
        model.load_state_dict(with_own_codebooks(weights, model))
    except (RuntimeError, TypeError, AttributeError):
        raise UsageError(f"{path}: not the weights of a model of this configuration") from None


def fitted(model: Model) -> bool:
    """Whether codebooks are any but those that training begins with."""
    return any(not torch.equal(q.codebook, vq.lattice(*q.codebook.shape).to(q.codebook)) for q in model.quantizers)


def with_own_codebooks(weights: dict, model: Model) -> dict:
    """Weights of another model of the same shape, but for codebooks and categorical heads: where those have another shape, the
    model's own. After soft training it may still be settled what codewords there are to be."""
    own = {name: value for name, value in model.state_dict().items() if name.startswith(("quantizers.", "prior.heads."))}
    alike = {name for name, value in own.items() if name in weights and weights[name].shape == value.shape}
    kept = {name: value for name, value in weights.items()
            if name in alike or not name.startswith(("quantizers.", "prior.heads."))}
    return {**own, **kept}
