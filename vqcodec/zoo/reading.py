"""A registered model → its configuration and tensors, for NumPy. Every tensor is checked before anything is computed with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import config as configuration
from .registry import ModelEntry
from .schema import NetworkFile, check_size, check_tensors
from ..errors import InputError, UnsupportedError
from ..indices.bounds import check_bounds
from ..indices.config import GridModel
from ..indices.grids import GridReader
from ..indices.numpy_prior import NumpyPrior
from ..indices.tensors import codebook_tensors, forms, prior_tensors

MAX_HEADER = 1 << 20  # bytes of names and shapes in a safetensors file; of ours they take 12,000 at most


def load_decoder(entry: ModelEntry, modality: str, kind: type, file_of: Callable[[Any], NetworkFile]):
    """(config, `GridReader`, the decoder's tensors by name) of a model of a modality, whose config.toml is the data class
    `kind`; `file_of(config.transform)` tells what its decoder.safetensors holds. Raises UnsupportedError for a model of another
    modality; UsageError, InputError and CorruptStreamError for files that are not right."""
    if entry.modality != modality:
        raise UnsupportedError(f"model '{entry.name}' is one of {entry.modality}, not of {modality}")
    config = configuration.of_model(entry, kind)
    file = file_of(config.transform)
    tensors = read_prior(entry, config, file.tensors())
    coder = GridReader(NumpyPrior(tensors, config.quantizer), read_codebooks(entry, config), config.quantizer)
    return config, coder, read_network(entry, "decoder", file)


def read_prior(entry: ModelEntry, config: GridModel, *others, led: bool = False) -> dict[str, np.ndarray]:
    """The integer tensors of the prior. `others`: those of networks, which count for the size of the model; led: it must be one
    that looks at a reference, else it must not. Raises InputError
    for tensors that are not as the configuration and the proof of the prior's exactness want them."""
    with named(entry):
        tensors = read_tensors(entry, "prior")
        found = forms(tensors, config)
        if found[0].led != led:
            raise InputError(f"prior.safetensors {'does not look' if led else 'looks'} at a reference")
        expected = prior_tensors(config, found)
        check_size(expected, codebook_tensors(config), *others)
        check_tensors(tensors, expected, "prior.safetensors")
        check_bounds(tensors)
    return tensors


def read_codebooks(entry: ModelEntry, config: GridModel) -> list[np.ndarray]:
    """f32[G,K,d] of each slice. Raises InputError."""
    with named(entry):
        stored = read_tensors(entry, "codebook")
        check_tensors(stored, codebook_tensors(config), "codebook.safetensors")
    return [stored[f"s{i}"] for i in range(len(stored))]


def read_network(entry: ModelEntry, name: str, file: NetworkFile) -> dict[str, np.ndarray]:
    """The tensors of the encoder or decoder of a model, as decoders compute with them. Raises InputError."""
    with named(entry):
        stored = read_tensors(entry, name)
        check_tensors(stored, file.tensors(stored), f"{name}.safetensors")
        return file.read(stored)


def read_tensors(entry: ModelEntry, name: str) -> dict[str, np.ndarray]:
    """Tensors of `name`.safetensors of a model, its hash checked, whatever they are. Raises InputError or CorruptStreamError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = entry.read(f"{name}.safetensors")
    try:
        if int.from_bytes(data[:8], "little") > MAX_HEADER:
            raise ValueError(f"more than {MAX_HEADER} bytes of names and shapes")
        return load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError) as error:  # odd dtypes
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{name}.safetensors cannot be read ({reason})") from None


@contextmanager
def named(entry: ModelEntry):
    """Errors within tell which model they are about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"model '{entry.name}': {error}") from None
