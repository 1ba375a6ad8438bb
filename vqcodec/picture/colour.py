"""Strips of a decoded image, in any of Pillow's modes → 8-bit samples in sRGB, and their alpha.

`file` states the rules.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageCms

from .formats.icc import matrix_rendering
from .formats.rendering import Rendering, by_code_points, by_gamma, eight_bits
from .formats.source import Colour, Source
from ..errors import InputError, VqcodecWarning, cause


def luma(rgb: np.ndarray) -> np.ndarray:
    """uint8[H,W,3] → uint8[H,W], in integers: normative for grey pictures."""
    return ((rgb.astype(np.uint16) @ np.array([77, 150, 29], np.uint16) + 128) >> 8).astype(np.uint8)


def without_colour(rgb: np.ndarray) -> np.ndarray:
    """uint8[H,W,3] → uint8[H,W,3] with R = G = B."""
    return np.repeat(luma(rgb)[:, :, None], 3, axis=2)


def split(source: Source, box: tuple[int, int, int, int], name: str):
    """Base and straight alpha uint8[h,w] (or None) of a part of a picture. The base is a PIL image of mode L, RGB, CMYK or
    LAB, or for samples of 16 bits an array uint16[h,w] or uint16[h,w,3]."""
    strip = source.image.crop(box)
    if source.low is not None or source.layout == "LA":
        return _deep_colour(source, strip, box)
    key = strip.info.get("transparency")
    if strip.mode in ("I", "F") or strip.mode.startswith("I;16"):
        values = _sixteen_bits(np.asarray(strip), source, name)
        return values, None if key is None else _key_alpha(values, key)
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


def _deep_colour(source: Source, strip: Image.Image, box) -> tuple[np.ndarray, np.ndarray | None]:
    """uint16[h,w] or [h,w,3] and alpha, of two images or of four bands (see `Source`)."""
    upper, key = np.asarray(strip).astype(np.uint16), strip.info.get("transparency")
    if source.layout == "LA":
        return upper[..., 0] << 8 | upper[..., 1], eight_bits(upper[..., 2] << 8 | upper[..., 3])
    samples = upper << 8 | np.asarray(source.low.crop(box))
    if samples.shape[2] == 3:
        return samples, None if key is None else _key_alpha(samples, key)
    colours, opacity = samples[..., :3], samples[..., 3:]
    if source.layout == "RGBa":
        colours = np.minimum(colours.astype(np.uint64) * 65535 // np.maximum(opacity, 1), 65535).astype(np.uint16)
    return colours, eight_bits(opacity[..., 0])


def _sixteen_bits(values: np.ndarray, source: Source, name: str) -> np.ndarray:
    """uint16 of samples of up to 16 bits, int32 (0…65535) or float (0…1) samples; InputError outside these ranges."""
    low, high = (0, 1) if values.dtype.kind == "f" else (0, 65535)
    if not (values.min() >= low and values.max() <= high):  # false for NaN too
        raise InputError(f"{name}: {values.dtype} samples outside {low}…{high} have no defined brightness")
    if values.dtype.kind == "f":
        values = np.rint(values * 65535)
    elif source.maximum != 65535:
        values = (np.minimum(values.astype(np.uint32), source.maximum) * 65535 + source.maximum // 2) // source.maximum
    values = values.astype(np.uint16)
    return ~values if source.white_is_zero else values


def _key_alpha(values: np.ndarray, key: int | tuple) -> np.ndarray:
    """uint8[h,w], 0 where a pixel has the transparent colour `key`, else 255."""
    key = np.array(key) if values.dtype != bool else bool(key)
    if values.ndim == 3 and values.dtype == np.uint8 and key.max() > 255:
        key = key >> 8  # the file had 16 bits per sample, of which this image has the upper 8
    equal = values == key
    return np.where(equal.all(axis=2) if equal.ndim == 3 else equal, np.uint8(0), np.uint8(255))


def srgb_converter(colour: Colour, base: Image.Image | np.ndarray, name: str):
    """Function from bases like this one (see `split`) to sRGB samples uint8[h,w] (of a grey base) or uint8[h,w,3].

    Of the colour's statements the first that makes sense is followed: code points, profile, gamma and chromaticities."""
    deep = isinstance(base, np.ndarray)
    mode = ("L" if base.ndim == 2 else "RGB") if deep else base.mode
    grey, depth = mode == "L", 16 if deep else 8
    if mode in ("L", "RGB") and colour.cicp is not None:
        try:
            rendering, note = by_code_points(*colour.cicp)
        except (ValueError, ArithmeticError) as error:
            _warn(name, "colour's code points ignored", error)
        else:
            if note:
                warnings.warn(f"{name}: {note}", VqcodecWarning, stacklevel=5)
            return _rendered(rendering, depth, grey)
    if colour.icc:
        rendering = matrix_rendering(colour.icc, grey) if deep else None
        if rendering is not None:
            return _rendered(rendering, depth, grey)
        try:
            convert = _profile_converter(ImageCms.ImageCmsProfile(io.BytesIO(colour.icc)), mode)
            return (lambda samples: convert(Image.fromarray(eight_bits(samples)))) if deep else convert
        except Exception as error:
            _warn(name, "ICC profile ignored", error)
    if mode in ("L", "RGB") and (colour.gamma is not None or colour.chromaticities is not None):
        try:
            return _rendered(by_gamma(colour.gamma, colour.chromaticities), depth, grey)
        except (ValueError, ArithmeticError) as error:
            _warn(name, "gamma and chromaticities ignored", error)
    if deep:
        return eight_bits
    return np.asarray if mode in ("L", "RGB") else lambda image: np.asarray(image.convert("RGB"))


def _warn(name: str, what: str, error: Exception) -> None:
    warnings.warn(f"{name}: {what} ({cause(error)})", VqcodecWarning, stacklevel=6)


def _rendered(rendering: Rendering, depth: int, grey: bool):
    convert = rendering.converter(depth, grey)
    if convert is None:
        return eight_bits if depth == 16 else np.asarray
    return convert if depth == 16 else lambda image: convert(np.asarray(image))


def _profile_converter(profile: ImageCms.ImageCmsProfile, mode: str):
    """As `srgb_converter`, by a profile, for images. Raises ValueError or Pillow's error where they do not fit."""
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
        return lambda image: np.asarray(image.point(table))
    if mode == "RGB":
        steps = np.arange(0, 256, 15, dtype=np.uint8)
        probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
        moved = np.asarray(transform.apply(Image.fromarray(probe)))
        if np.abs(moved.astype(int) - probe).max() <= 1:  # sRGB already
            return np.asarray
    return lambda image: np.asarray(transform.apply(image))
