"""Kinds of input, told apart by extension. Another kind is another entry in KINDS and another branch in
`work.Worker`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

# Pillow lists these among its formats, but only identifies them, or would run an interpreter on them.
_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
STREAM = "vq"


@functools.cache
def image_extensions() -> frozenset[str]:
    """Extensions, in lower case with the dot, of the formats that Pillow decodes."""
    from PIL import Image

    known = Image.registered_extensions()  # loads all plugins
    return frozenset(extension for extension, format in known.items()
                     if format in Image.OPEN and format not in _NOT_DECODED)


@dataclass(frozen=True)
class Kind:
    """A kind of media that `batch encode` takes."""

    name: str
    extensions: Callable[[], frozenset[str]]


KINDS = (Kind("image", image_extensions),)


def extension_of(path: str) -> str:
    """The last extension of a path in lower case with its dot, or ''."""
    name = path.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    return (dot + extension).lower() if stem else ""


def kind_to_encode(path: str) -> str | None:
    """Name of the kind of a file, None where nothing takes it."""
    extension = extension_of(path)
    return next((kind.name for kind in KINDS if extension in kind.extensions()), None)
