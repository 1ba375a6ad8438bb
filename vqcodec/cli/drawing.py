"""uint8 samples → a picture file: what `inspect` draws."""

from __future__ import annotations

import io
import os

from .. import fileio
from ..errors import InputError, UsageError, cause

MAX_SIDE = 65000


def write(path: str, samples, force: bool) -> None:
    """uint8[H,W] or [H,W,3] → a file of the format of its extension, PNG on standard output. Raises UsageError, InputError."""
    from PIL import Image

    extension = ".png" if path == fileio.STDIO else os.path.splitext(path)[1].lower()
    format = Image.registered_extensions().get(extension)
    if format not in Image.SAVE:
        raise UsageError(f"{fileio.shown(path)}: no image format that can be written goes by the extension '{extension}'")
    if max(samples.shape[:2]) > MAX_SIDE:
        raise UsageError(f"a drawing of {samples.shape[1]}x{samples.shape[0]} pixels is too large for a picture")
    encoded = io.BytesIO()
    try:
        Image.fromarray(samples).save(encoded, format)
    except Exception as error:
        raise InputError(f"cannot write this drawing as {format} ({cause(error)})") from error
    fileio.write_output(path, encoded.getvalue(), force)
