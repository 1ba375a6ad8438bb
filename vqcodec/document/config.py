"""config.toml of models of documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..errors import InputError, UsageError
from ..limits import Limits, check_limits
from ..zoo.config import from_dict, parse_toml
from ..zoo.reading import named, read_tensors
from ..zoo.registry import ModelEntry
from ..zoo.schema import check_tensors
from .inputs import of_count
from .network import MaskNetwork, tensors


@dataclass(frozen=True)
class MaskConfig:
    """inputs of the network: how many, which tells what makes them (`inputs`); hidden: values of its first layer; last: of its second."""

    LIMITS: ClassVar = {"inputs": Limits(1, 1024), "hidden": Limits(1, 256), "last": Limits(1, 256)}

    inputs: int
    hidden: int = 48
    last: int = 16


@dataclass(frozen=True)
class DocumentConfig:
    mask: MaskConfig


def load(entry: ModelEntry) -> MaskNetwork:
    """The network of a registered model. Raises UsageError, InputError and CorruptStreamError for files that are not right."""
    try:
        table = parse_toml(entry.read("config.toml"), f"model '{entry.name}': config.toml")
        config = from_dict(DocumentConfig, table, complete=True)
        check_limits(config.mask, "mask")
        of_count(config.mask.inputs)
    except UsageError as error:
        raise UsageError(f"model '{entry.name}': {error}") from None
    with named(entry):
        for file in ("codebook", "decoder"):
            if read_tensors(entry, file):
                raise InputError(f"{file}.safetensors is not empty")
        weights = read_tensors(entry, "prior")
        check_tensors(weights, tensors(config.mask.inputs, config.mask.hidden, config.mask.last), "prior.safetensors")
        return MaskNetwork(weights)
