"""A registered model → the parts that an encoder is made of, in torch. Decoders have what they need from `reading.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from . import config as configuration
from . import reading, registry, weights  # noqa: F401
from .reading import named
from .registry import ModelEntry
from .schema import FloatNetwork, NetworkFile
from ..errors import UnsupportedError, VqcodecError
from ..indices.choosing import GridCoder
from ..indices.config import GridModel
from ..indices.float_prior import ContextPrior, fill
from ..indices.prior import Prior
from ..indices.tensors import check_trainable, forms


@dataclass(frozen=True)
class ModelKind:
    """What a medium tells of its models. config: the data class of config.toml; encoder, decoder: networks by its
    `transform`; searches: whether its encoder asks the float twin of the prior; integers: by its `transform`, what
    decoder.safetensors holds where that is not the decoder's weights in floats."""

    modality: str
    config: type
    encoder: Callable[..., torch.nn.Module]
    decoder: Callable[..., torch.nn.Module]
    searches: bool = False
    integers: Callable[..., NetworkFile | None] = lambda transform: None

    def sketch(self, part: str, transform) -> torch.nn.Module:
        """The network "encoder" or "decoder" without memory for its weights."""
        with torch.device("meta"):
            return getattr(self, part)(transform)

    def file(self, part: str, transform) -> NetworkFile:
        """What the weights of "encoder" or "decoder" are read from."""
        found = self.integers(transform) if part == "decoder" else None
        return found or FloatNetwork(shapes(self.sketch(part, transform)))


@dataclass(frozen=True)
class LoadedModel:
    config: GridModel
    coder: GridCoder
    decoder: torch.nn.Module
    encoder: torch.nn.Module | None
    stored: dict[str, np.ndarray]  # the decoder's tensors as decoders compute with them
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
    files = {part: kind.file(part, config.transform) for part in sketches}
    tensors = read_prior(entry, config, *(file.tensors() for file in files.values()))
    if encoder:
        with named(entry):
            check_trainable(forms(tensors, config), config)
    context = _context(config, tensors) if encoder and kind.searches else None
    coder = GridCoder(Prior(tensors, config.quantizer), read_codebooks(entry, config), config.quantizer)
    stored = {part: reading.read_network(entry, part, file) for part, file in files.items()}
    networks = {part: _filled(net, as_tensors(files[part].floats(stored[part]))) for part, net in sketches.items()}
    return LoadedModel(config, coder, networks["decoder"], networks.get("encoder"), stored["decoder"], context)


def problems(entry: ModelEntry, check: Callable[[ModelEntry], object] | None) -> tuple[str, ...]:
    """What is wrong with a model: files that are not what was registered, or else that are no model, by the error that `check`
    raises. Of a modality that this release does not know (None) only the former can be told."""
    damaged = registry.check(entry)
    if damaged or check is None:
        return damaged
    try:
        check(entry)
    except VqcodecError as error:
        return (str(error),)
    return ()


def model_config(entry: ModelEntry, kind: ModelKind) -> GridModel:
    """A model's config.toml. Raises UsageError for one that is not right."""
    return configuration.of_model(entry, kind.config)


def read_prior(entry: ModelEntry, config: GridModel, *others, led: bool = False) -> dict[str, torch.Tensor]:
    """`reading.read_prior` for torch."""
    return as_tensors(reading.read_prior(entry, config, *others, led=led))


def read_codebooks(entry: ModelEntry, config: GridModel) -> list[torch.Tensor]:
    """f32[G,K,d] of each slice. Raises InputError."""
    return [torch.from_numpy(book.copy()) for book in reading.read_codebooks(entry, config)]


def read_network(entry: ModelEntry, part: str, kind: ModelKind, transform) -> dict[str, torch.Tensor]:
    """f32 weights of the network "encoder" or "decoder" of a model with this `transform`. Raises InputError."""
    file = kind.file(part, transform)
    return as_tensors(file.floats(reading.read_network(entry, part, file)))


def read_tensors(entry: ModelEntry, name: str) -> dict[str, torch.Tensor]:
    """`reading.read_tensors` for torch."""
    return as_tensors(reading.read_tensors(entry, name))


def as_tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """With memory of their own: what was read from a file cannot be written to."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def shapes(net: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Of its weights; it may be on the device "meta"."""
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


def _filled(net: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    net.load_state_dict(tensors, assign=True)
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _context(config: GridModel, tensors: dict[str, torch.Tensor]) -> ContextPrior:
    found = forms(tensors, config)
    with torch.random.fork_rng(devices=[]):  # modules begin with random numbers: the caller's shall go on as they would
        context = ContextPrior(config, [form.phases for form in found]).float()
    fill(context, tensors)
    return context.eval().requires_grad_(False)
