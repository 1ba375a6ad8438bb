"""Kinds of input: told apart by extension, streams and files of unknown extensions by their first bytes. Another kind
is another entry in KINDS, with a module that does its work (see `work`)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from ..picture import stream as container
from ..errors import VqcodecError

# Pillow lists these among its formats, but only identifies them, or would run an interpreter on them.
_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
STREAM = "vq"
HEAD = 64  # bytes that tell what a file is


@functools.cache
def image_extensions() -> frozenset[str]:
    """Extensions, in lower case with the dot, of the formats that Pillow decodes."""
    from PIL import Image

    known = Image.registered_extensions()  # loads all plugins
    return frozenset(extension for extension, format in known.items()
                     if format in Image.OPEN and format not in _NOT_DECODED)


def sound_extensions() -> frozenset[str]:
    """Those of the formats that `sound.looks_like_sound` knows."""
    return frozenset({".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd",
                      ".caf", ".w64", ".rf64"})


@dataclass(frozen=True)
class Kind:
    """A kind of media, by the name of its modality, and what of it `batch encode` takes."""

    name: str
    extensions: Callable[[], frozenset[str]]


KINDS = (Kind("image", image_extensions), Kind("audio", sound_extensions))


def extension_of(path: str) -> str:
    """The last extension of a path in lower case with its dot, or ''."""
    name = path.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    return (dot + extension).lower() if stem else ""


def kind_to_encode(path: str) -> str | None:
    """Name of the kind of a file, None where nothing takes it."""
    extension = extension_of(path)
    return next((kind.name for kind in KINDS if extension in kind.extensions()), None)


def kind_of_content(head: bytes) -> str:
    """Of a file that may be anything: taken for an image where it is no sound."""
    from ..sound.file import looks_like_sound

    return "audio" if looks_like_sound(head) else "image"


def kind_of_stream(head: bytes) -> str:
    """Of a .vq file. What is none is taken for an image: whoever decodes it will say what is wrong."""
    try:
        return container.modality(head)
    except VqcodecError:
        return "image"
