"""A registered model → the parts that a codec is made of. Every tensor is checked before anything is computed with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from . import config as configuration
from . import registry, weights
from .registry import ModelEntry
from .schema import check_size, check_tensors, network_tensors
from ..errors import InputError, UnsupportedError, VqcodecError
from ..indices.config import GridModel
from ..indices.float_prior import ContextPrior, fill
from ..indices.grids import GridCoder
from ..indices.prior import Prior, check_bounds
from ..indices.tensors import check_trainable, codebook_tensors, forms, prior_tensors

MAX_HEADER = 1 << 20  # bytes of names and shapes in a safetensors file; of ours they take 12,000 at most


@dataclass(frozen=True)
class ModelKind:
    """What a medium tells of its models. config: the data class of config.toml; encoder, decoder: networks by its
    `transform`; searches: whether its encoder asks the float twin of the prior."""

    modality: str
    config: type
    encoder: Callable[..., torch.nn.Module]
    decoder: Callable[..., torch.nn.Module]
    searches: bool = False

    def sketch(self, part: str, transform) -> torch.nn.Module:
        """The network "encoder" or "decoder" without memory for its weights."""
        with torch.device("meta"):
            return getattr(self, part)(transform)


@dataclass(frozen=True)
class LoadedModel:
    config: GridModel
    coder: GridCoder
    decoder: torch.nn.Module
    encoder: torch.nn.Module | None
    context: ContextPrior | None  # where there is an encoder that searches: what its search asks


def load_model(entry: ModelEntry, encoder: bool, kind: ModelKind) -> LoadedModel:
    """Reads a model's files, their hashes and tensors checked. Raises UnsupportedError when `encoder` is asked of a
    decoder-only model and for a model of another modality; UsageError, InputError and CorruptStreamError for files that are
    not right."""
    if entry.modality != kind.modality:
        raise UnsupportedError(f"model '{entry.name}' is one of {entry.modality}, not of {kind.modality}")
    config = model_config(entry, kind)
    if encoder:
        entry.require_encoder()
    sketches = {part: kind.sketch(part, config.transform) for part in ("decoder", "encoder")[: 1 + encoder]}
    tensors = read_prior(entry, config, *(network_tensors(net) for net in sketches.values()))
    if encoder:
        with _named(entry):
            check_trainable(forms(tensors, config), config)
    context = _context(config, tensors) if encoder and kind.searches else None
    coder = GridCoder(Prior(tensors, config.quantizer), read_codebooks(entry, config), config.quantizer)
    networks = {part: _filled(net, read_network(entry, part, net)) for part, net in sketches.items()}
    return LoadedModel(config, coder, networks["decoder"], networks.get("encoder"), context)


def problems(entry: ModelEntry, kind: ModelKind | None) -> tuple[str, ...]:
    """What is wrong with a model: files that are not what was registered, or else that are no model. Of a modality that this
    release does not know (None) only the former can be told."""
    damaged = registry.check(entry)
    if damaged or kind is None:
        return damaged
    try:
        load_model(entry, entry.has_encoder, kind)
    except VqcodecError as error:
        return (str(error),)
    return ()


def model_config(entry: ModelEntry, kind: ModelKind) -> GridModel:
    """A model's config.toml. Raises UsageError for one that is not right."""
    return configuration.of_model(entry, kind.config)


def read_prior(entry: ModelEntry, config: GridModel, *others) -> dict[str, torch.Tensor]:
    """The integer tensors of the prior. `others`: those of networks, which count for the size of the model. Raises InputError
    for tensors that are not as the configuration and the proof of the prior's exactness want them."""
    with _named(entry):
        tensors = read_tensors(entry, "prior")
        expected = prior_tensors(config, forms(tensors, config))
        check_size(expected, codebook_tensors(config), *others)
        check_tensors(tensors, expected, "prior.safetensors")
        check_bounds(tensors)
    return tensors


def read_codebooks(entry: ModelEntry, config: GridModel) -> list[torch.Tensor]:
    """f32[G,K,d] of each slice. Raises InputError."""
    with _named(entry):
        stored = read_tensors(entry, "codebook")
        check_tensors(stored, codebook_tensors(config), "codebook.safetensors")
    return [stored[f"s{i}"] for i in range(len(stored))]


def read_network(entry: ModelEntry, name: str, net: torch.nn.Module) -> dict[str, torch.Tensor]:
    """f32 weights for `net`, the encoder or decoder of a model. Raises InputError."""
    with _named(entry):
        stored = read_tensors(entry, name)
        kinds = {key: tensor.dtype for key, tensor in stored.items()}
        check_tensors(stored, network_tensors(net, kinds), f"{name}.safetensors")
    return weights.unpack(stored)


def read_tensors(entry: ModelEntry, name: str) -> dict[str, torch.Tensor]:
    """Tensors of `name`.safetensors of a model, its hash checked, whatever they are. Raises InputError or CorruptStreamError."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = entry.read(f"{name}.safetensors")
    try:
        if int.from_bytes(data[:8], "little") > MAX_HEADER:
            raise ValueError(f"more than {MAX_HEADER} bytes of names and shapes")
        return load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, AssertionError, RuntimeError) as error:  # odd dtypes, empty tensors
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{name}.safetensors cannot be read ({reason})") from None


@contextmanager
def _named(entry: ModelEntry):
    """Errors within tell which model they are about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"model '{entry.name}': {error}") from None


def _filled(net: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    net.load_state_dict(tensors, assign=True)
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _context(config: GridModel, tensors: dict[str, torch.Tensor]) -> ContextPrior:
    found = forms(tensors, config)
    with torch.random.fork_rng(devices=[]):  # modules begin with random numbers: the caller's shall go on as they would
        context = ContextPrior(config, [form.phases for form in found]).float()
    fill(context, tensors)
    return context.eval().requires_grad_(False)
