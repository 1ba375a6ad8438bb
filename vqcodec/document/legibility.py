"""What can still be read on a page: the character error rate of Tesseract, a program that is run where it is installed."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from functools import lru_cache

import numpy as np

from ..bench.metrics import Metric, Unmeasurable
from ..errors import InputError
from ..picture.scores import PsnrLuma

USUAL_DPI = 200  # that Tesseract is told of a page that does not say
_TIMEOUT = 600  # seconds


def has_tesseract() -> bool:
    return shutil.which("tesseract") is not None


def read_text(rgb: np.ndarray, dpi: float = 0.0, language: str = "eng") -> str:
    """uint8[H,W,3] → what Tesseract reads. Raises InputError."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(file, "PNG", compress_level=1)
    command = ["tesseract", "stdin", "stdout", "-l", language, "--dpi", str(round(dpi or USUAL_DPI))]
    try:
        done = subprocess.run(command, input=file.getvalue(), capture_output=True, timeout=_TIMEOUT,
                              env={**os.environ, "OMP_THREAD_LIMIT": "1"})
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"tesseract: {error}") from None
    if done.returncode:
        raise InputError(f"tesseract: {done.stderr.decode(errors='replace').strip()[:200]}")
    return done.stdout.decode("utf-8", "replace")


def error_rate(found: str, wanted: str) -> float:
    """Percent of the characters of `wanted` (all white space counts as one space) that must be inserted, deleted or replaced."""
    found, wanted = (re.sub(r"\s+", " ", text).strip() for text in (found, wanted))
    if not wanted:
        raise ValueError("no text")
    return 100 * distance(found, wanted) / len(wanted)


def distance(found: str, wanted: str) -> int:
    """Levenshtein's."""
    letters = np.array([ord(c) for c in wanted], np.int64)
    steps = np.arange(len(wanted) + 1)
    row = steps.copy()
    for count, letter in enumerate(found, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        row = np.minimum.accumulate(np.concatenate([[count], best]) - steps) + steps
    return int(row[-1])


@lru_cache(maxsize=4)
def _read(samples: bytes, shape: tuple[int, ...], dpi: float) -> str:
    return read_text(np.frombuffer(samples, np.uint8).reshape(shape), dpi)


class CharacterErrors(Metric):
    """Against the text beside the page, or else against what is read on the original."""

    key, label, unit, better, package, span = "cer", "Character error rate", "%", "lower", None, 0.5

    def load(self):
        if not has_tesseract():
            raise InputError("metric 'cer' needs the program tesseract")

    def measure(self, reference, decoded):
        wanted = reference.text
        if wanted is None:
            wanted = _read(reference.rgb.tobytes(), reference.rgb.shape, reference.dpi)
        try:
            return error_rate(read_text(decoded.rgb, reference.dpi), wanted)
        except ValueError:
            raise Unmeasurable("no text") from None


class PagePsnr(PsnrLuma):
    def measure(self, reference, decoded):
        return super().measure(reference.rgb, decoded.rgb)


METRICS: dict[str, type[Metric]] = {"psnr-y": PagePsnr, "cer": CharacterErrors}
