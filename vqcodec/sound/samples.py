"""Sound in memory."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np

from ..errors import UnsupportedError, UsageError

RATES = (1000, 768000)  # Hz, least and greatest
MAX_CHANNELS = 255


@dataclass(frozen=True)
class Sound:
    """samples f32[N,C]; rate in Hz."""

    samples: np.ndarray
    rate: int


def sound_of(value) -> Sound:
    """A `Sound`, or (float array [N] or [N,C], rate in Hz) → the same with samples [N,C] and an int as rate, checked.

    Raises UsageError for what is none of these, UnsupportedError for rates and numbers of channels beyond this
    release."""
    if isinstance(value, Sound):
        value = (value.samples, value.rate)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        what = f"{len(value)} things" if isinstance(value, (tuple, list)) else f"a {type(value).__name__}"
        raise UsageError(f"sound is (samples, rate in Hz), not {what}")
    try:
        samples = np.asarray(value[0])
    except (ValueError, TypeError):  # rows of unlike length
        raise UsageError("samples must be an array of floats of shape [N] or [N,C]") from None
    if samples.ndim == 0 and np.ndim(value[1]) > 0:
        raise UsageError("sound is (samples, rate in Hz): these two are swapped")
    if samples.ndim not in (1, 2) or samples.dtype.kind != "f":
        scale = " (divide integers by the value of full scale)" if samples.dtype.kind in "iu" and samples.ndim else ""
        raise UsageError(f"samples must be floats of shape [N] or [N,C], not {samples.dtype} of "
                         f"{list(samples.shape)}{scale}")
    try:
        rate = operator.index(value[1])
    except TypeError:
        rate = int(value[1]) if isinstance(value[1], float) and value[1].is_integer() else None
    if rate is None or isinstance(value[1], (bool, np.bool_)):
        raise UsageError(f"the sampling rate must be an integer in Hz, not {value[1]!r}")
    samples = samples[:, None] if samples.ndim == 1 else samples
    check_shape(rate, samples.shape[1], "sound", len(samples))
    return Sound(samples, rate)


def check_shape(rate: int, channels: int, name: str, length: int | None = None) -> None:
    """Raises UnsupportedError."""
    if not RATES[0] <= rate <= RATES[1]:
        raise UnsupportedError(f"{name}: a sampling rate of {rate} Hz; {RATES[0]}..{RATES[1]} Hz are supported")
    if not 1 <= channels <= MAX_CHANNELS:
        turned = "; samples are of shape [N,C]" if length is not None and length <= MAX_CHANNELS < channels else ""
        raise UnsupportedError(f"{name}: {channels} channels; 1..{MAX_CHANNELS} are supported{turned}")
