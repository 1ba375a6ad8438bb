"""Strips of a decoded image, in any of Pillow's modes → 8-bit samples in a base mode, their alpha, their colours in sRGB.

`media` states the rules.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageCms

from ..errors import InputError, VqcodecWarning, cause


def split(strip: Image.Image, name: str) -> tuple[Image.Image, np.ndarray | None]:
    """Base picture of mode L, RGB, CMYK or LAB, and its straight alpha uint8[h,w] or None."""
    key = strip.info.get("transparency")
    if strip.mode in ("I", "F") or strip.mode.startswith("I;16"):
        values = np.asarray(strip)
        return Image.fromarray(_eight_bits(values, name)), None if key is None else _key_alpha(values, key)
    if strip.mode in ("P", "PA"):
        colours = np.array(strip.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
        grey = bool((colours == colours[:, :1]).all())
        strip = strip.convert("RGBA" if strip.has_transparency_data else "RGB")
        alpha = np.asarray(strip.getchannel("A")) if strip.mode == "RGBA" else None
        return (strip.getchannel("G") if grey else strip.convert("RGB")), alpha
    if strip.mode in ("La", "RGBa"):
        strip = strip.convert(strip.mode.upper())  # no longer premultiplied
    if strip.mode in ("LA", "RGBA"):
        return strip.convert(strip.mode[:-1]), np.asarray(strip.getchannel("A"))
    if strip.mode in ("1", "L", "RGB"):
        alpha = None if key is None else _key_alpha(np.asarray(strip), key)
        return (strip.convert("L") if strip.mode == "1" else strip), alpha
    return (strip if strip.mode in ("CMYK", "LAB") else strip.convert("RGB")), None


def _eight_bits(values: np.ndarray, name: str) -> np.ndarray:
    """uint8 of 16-bit, int32 (0…65535) or float (0…1) samples; InputError outside these ranges."""
    low, high = (0, 1) if values.dtype.kind == "f" else (0, 65535)
    if not (values.min() >= low and values.max() <= high):  # false for NaN too
        raise InputError(f"{name}: {values.dtype} samples outside {low}…{high} have no defined brightness")
    if values.dtype.kind == "f":
        return (values * 255 + 0.5).astype(np.uint8)
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _key_alpha(values: np.ndarray, key: int | tuple) -> np.ndarray:
    """uint8[h,w], 0 where a pixel has the transparent colour `key`, else 255."""
    key = np.array(key) if values.dtype != bool else bool(key)
    if values.ndim == 3 and key.max() > 255:
        key = key >> 8  # the file had 16 bits per sample, of which Pillow keeps the upper 8
    equal = values == key
    return np.where(equal.all(axis=2) if equal.ndim == 3 else equal, np.uint8(0), np.uint8(255))


def srgb_converter(profile: bytes | None, mode: str, name: str):
    """Function from PIL images of `mode` (L, RGB, CMYK, LAB) to sRGB ones (L stays L, others become RGB)."""
    if profile:
        try:
            return _profile_converter(ImageCms.ImageCmsProfile(io.BytesIO(profile)), mode)
        except Exception as error:
            warnings.warn(f"{name}: ICC profile ignored ({cause(error)})", VqcodecWarning, stacklevel=4)
    return lambda image: image if image.mode in ("L", "RGB") else image.convert("RGB")


def _profile_converter(profile: ImageCms.ImageCmsProfile, mode: str):
    """As `srgb_converter`, by a profile. Raises ValueError or Pillow's error where they do not fit."""
    made_for = profile.profile.xcolor_space.strip()
    space = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK", "Lab": "LAB"}.get(made_for)
    if space != mode and (mode, space) != ("L", "RGB"):  # grey files with an RGB profile are common
        raise ValueError(f"profile for {made_for}, picture in {mode}")
    # interpolation between few points is far off in the shadows of linear grey; 256 values need none
    precision = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.HIGHRESPRECALC
    transform = ImageCms.ImageCmsTransform(
        profile,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        space,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | precision,
    )
    if mode == "L":  # a table keeps R = G = B exactly
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        table = list(transform.apply(ramp.convert(space)).getchannel("G").tobytes())
        return lambda image: image.point(table)
    if mode == "RGB":
        steps = np.arange(0, 256, 15, dtype=np.uint8)
        probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
        moved = np.asarray(transform.apply(Image.fromarray(probe)))
        if np.abs(moved.astype(int) - probe).max() <= 1:  # sRGB already
            return lambda image: image
    return transform.apply
