"""A registered model → the parts that a codec is made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..sound import transform as audio_transform
from ..picture import transform
from . import weights
from . import config as configuration
from .config import AudioModelConfig, ModelConfig
from ..errors import InputError, UnsupportedError
from ..indices.float_prior import ContextPrior, fill
from ..indices.grids import GridCoder
from ..indices.prior import Prior
from .registry import ModelEntry

NETWORKS = {"image": transform, "audio": audio_transform}


@dataclass(frozen=True)
class LoadedModel:
    config: ModelConfig | AudioModelConfig
    coder: GridCoder
    decoder: torch.nn.Module
    encoder: torch.nn.Module | None
    context: ContextPrior | None  # of pictures, where there is an encoder: what its search asks


def load_model(entry: ModelEntry, encoder: bool, modality: str) -> LoadedModel:
    """Reads a model's files, their hashes checked. Raises UnsupportedError when `encoder` is asked of a decoder-only
    model and for a model of another modality, InputError and CorruptStreamError for files that are not right."""
    if entry.modality != modality:
        raise UnsupportedError(f"model '{entry.name}' is one of {entry.modality}, not of {modality}")
    config = model_config(entry)
    if encoder:
        entry.require_encoder()
    tensors = read_tensors(entry, "prior")
    prior = Prior(tensors, config.quantizer)
    stored = read_tensors(entry, "codebook")
    codebooks = [stored[f"s{i}"].float() for i in range(len(config.quantizer.slices))]
    networks = NETWORKS[modality]
    return LoadedModel(config, GridCoder(prior, codebooks, config.quantizer),
                       _network(entry, "decoder", networks.Decoder(config.transform)),
                       _network(entry, "encoder", networks.Encoder(config.transform)) if encoder else None,
                       _context(config, prior, tensors) if encoder and modality == "image" else None)


def _context(config: ModelConfig, prior: Prior, tensors: dict[str, torch.Tensor]) -> ContextPrior:
    context = ContextPrior(config, [s.phases for s in prior.slices])
    fill(context, tensors)
    return context.eval().requires_grad_(False)


def model_config(entry: ModelEntry) -> ModelConfig | AudioModelConfig:
    """A model's config.toml. Raises UsageError for one that is not right."""
    table = configuration.parse_toml(entry.read("config.toml"), entry.name)
    return configuration.check_model(configuration.from_dict(configuration.MODELS[entry.modality], table, complete=True))


def _network(entry: ModelEntry, name: str, net: torch.nn.Module) -> torch.nn.Module:
    try:
        net.load_state_dict(weights.unpack(read_tensors(entry, name)))
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"model '{entry.name}': {name}.safetensors has other tensors than its config.toml asks for "
                         f"({reason})") from None
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def read_tensors(entry: ModelEntry, name: str) -> dict[str, torch.Tensor]:
    """Tensors of `name`.safetensors of a model, its hash checked. Raises InputError or CorruptStreamError."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = entry.read(f"{name}.safetensors")
    try:
        return load(data)
    except SafetensorError as error:
        raise InputError(f"model '{entry.name}': {name}.safetensors cannot be read ({error})") from None
