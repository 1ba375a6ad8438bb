"""image file ⇄ Picture: uint8 sRGB samples, upright, with or without an alpha plane.

    bytes | path | PIL image ─ open, check limits, decode ─ strips ─┬─ alpha ──────────────────────┐
                                                                    └─ colour → sRGB ─ upright ────┴→ Picture

Everything that Pillow opens is brought to the one form that the codec works on: 8 bits per sample, sRGB,
straight (not premultiplied) alpha, EXIF orientation applied, first frame. Work goes in strips of rows, so
besides Pillow's own copy (4 bytes per pixel, 8 of 16-bit colour) only the result is ever held in memory as a whole.

Rules that are not obvious:
- 16-bit v becomes (v·255 + 32767) // 65535, after its profile or gamma has been applied to all 16 bits. Colour has all of
  them in PNG and TIFF, grey everywhere; of 16-bit colour in JPEG 2000, PPM, JPEG XL, HEIF, CMYK and TIFF by planes Pillow
  gives the upper 8, and profiles with tables of colours, not curves and a matrix, are applied to 8 bits.
- Grey of 9 to 15 bits is scaled by its own maximum. WhiteIsZero is turned.
- 32-bit integer samples must lie in 0…65535 (they are read as 16-bit), float samples in 0…1.
- An embedded ICC profile is followed (relative colorimetric, black point compensation) unless it moves no
  colour by more than one step; a broken or mismatched one is ignored with a warning. So are PNG's cICP (before a profile),
  gAMA and cHRM (after it and sRGB), `colr` of JP2, AVIF and HEIC, and a camera's "Adobe RGB" in EXIF. PQ and HLG are
  clipped at reference white, with a warning.
- Without a profile CMYK, YCbCr, LAB and HSV take Pillow's conversion.
- Alpha that is opaque everywhere is dropped.
- A TIFF file whose first directory is a preview gives the full picture, a camera's raw file an error.
- Damaged or oversized metadata are ignored with a warning; damage to what makes the pixels is an error.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from PIL import Image, UnidentifiedImageError

from . import stream
from .colour import split, srgb_converter
from .formats.metadata import finished, gather, left_out, save_options
from .formats.opening import load_plugin_for, of_image, open_source
from .formats.source import MAX_PIXELS, Source, check_size
from ..errors import InputError, UsageError, VqcodecError, VqcodecWarning, cause
from ..fileio import read_input
from ..metadata import Metadata

_STRIP_PIXELS = 2**19
_PILLOW_LOCK = threading.RLock()  # Pillow's size limit and the warning filters belong to the whole process
_ORIENTATION_TAG = 0x0112
_ALPHA_FORMATS = frozenset({"PNG", "WEBP", "AVIF", "TIFF", "TGA", "JPEG2000", "DDS", "SGI", "QOI",
                            "JXL", "HEIF"})
_ICON_FORMATS = frozenset({"ICO", "ICNS"})  # writing these would scale the picture
_SAVE_OPTIONS = MappingProxyType(
    {  # lose nothing, or as little as the format can
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True, "exact": True},  # exact: keep colours below full transparency
        "AVIF": {"quality": 95, "subsampling": "4:4:4"},
        "TIFF": {"compression": "tiff_adobe_deflate"},
        "JXL": {"lossless": True},
        "HEIF": {"quality": 95, "chroma": 444},
    }
)
_RUNS = MappingProxyType({"compress_type": 3})  # zlib.Z_RLE
_SAMPLED = 1 << 13  # pixels of each of four parts, which have 8 rows at least


@dataclass(frozen=True)
class Picture:
    """An upright 8-bit sRGB picture.

    rgb: uint8[H,W,3]; alpha: uint8[H,W], straight, None where all is opaque; grey: the source had no colour
    (R = G = B), so that it is written as greyscale again; metadata: what its file said beside, for upright sRGB
    samples. Raises UsageError for other shapes or dtypes.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    metadata: Metadata | None = None

    def __post_init__(self):
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise UsageError(f"rgb must be uint8 [H,W,3], not {self.rgb.dtype} {list(self.rgb.shape)}")
        if self.alpha is not None and (
            self.alpha.dtype != np.uint8 or self.alpha.shape != self.rgb.shape[:2]
        ):
            raise UsageError(f"alpha must be uint8 [H,W], not {self.alpha.dtype} {list(self.alpha.shape)}")


def read_picture(
    source: bytes | str | os.PathLike | Image.Image | np.ndarray, name: str | None = None
) -> Picture:
    """Read encoded bytes, a file ('-' is standard input), a PIL image (its current frame) or samples.

    Arrays are uint8 [H,W], [H,W,1], [H,W,3] or [H,W,4] in sRGB with straight alpha, and may share memory with
    the result. `name` stands for the source in messages.
    Raises InputError (unreadable, not an image, damaged, empty, too large), UsageError (other arrays or types).
    """
    if isinstance(source, (str, os.PathLike)):
        name = name or ("standard input" if source == "-" else os.fspath(source))
        source = read_input(source)
    name = name or ("image" if isinstance(source, Image.Image) else "input")
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    if not isinstance(source, (Image.Image, bytes, bytearray, memoryview)):
        raise UsageError(f"cannot read a picture from {type(source).__name__}")
    try:
        with pillow_limits():
            source = _opened(source, name)  # Pillow may let go of the encoded bytes now
            return _from_source(source, name)
    except (VqcodecError, VqcodecWarning):
        raise
    except MemoryError as error:
        raise InputError(f"{name}: not enough memory for this image") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: image too large (more than {MAX_PIXELS} pixels)") from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not an image, or its header is damaged") from error
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise InputError(f"{name}: truncated or damaged image ({cause(error)})") from error


def read_metadata(source: bytes | str | os.PathLike | Image.Image, name: str | None = None) -> Metadata | None:
    """What `read_picture` puts into `Picture.metadata`, without decoding pixels. Raises as it does."""
    if isinstance(source, (str, os.PathLike)):
        name = name or os.fspath(source)
        source = read_input(source)
    name = name or "input"
    try:
        with pillow_limits():
            source = _opened(source, name)
            return gather(source, _orientation(source, name) >= 5 or source.transposed, name)
    except (VqcodecError, VqcodecWarning):
        raise
    except Exception as error:
        raise InputError(f"{name}: not an image, or its header is damaged") from error


def to_image(picture: Picture) -> Image.Image:
    """PIL image of mode L, LA, RGB or RGBA (no A where all is opaque)."""
    image = Image.fromarray(picture.rgb)
    if picture.grey:
        image = image.convert("L")  # exact where R = G = B
    if picture.alpha is not None and picture.alpha.min(initial=255) < 255:
        image.putalpha(Image.fromarray(picture.alpha))
    return image


def digest(picture: Picture) -> str:
    """SHA-256 of the samples of `to_image`: row by row, those of a pixel side by side, one byte each."""
    return hashlib.sha256(np.asarray(to_image(picture)).tobytes()).hexdigest()


def write_picture(picture: Picture, format: str = "PNG", metadata: Metadata | None = None) -> bytes:
    """Encode a picture in a format that Pillow can write, by its name there ('PNG', 'JPEG', 'WEBP', …).

    Grey pictures become L or LA where the format has these. Alpha that the format cannot hold is composited
    over white with a VqcodecWarning. Formats with a lossless mode use it, the others a high quality.
    metadata: EXIF and XMP to write into PNG, JPEG, WebP, AVIF and TIFF (HEIF, and EXIF alone into JPEG XL), density into PNG,
    JPEG and TIFF; None takes the picture's own, Metadata() none. What a format cannot hold of them, by size, is left out with
    a VqcodecWarning. No ICC profile is written: samples are sRGB.
    Raises UsageError (format unknown or not writable), InputError (the format cannot hold this picture).
    """
    format = _writable_format(format)
    metadata = metadata or (picture.metadata if metadata is None else None) or Metadata()
    image = to_image(picture)
    if image.mode.endswith("A") and format not in _ALPHA_FORMATS:
        message = f"{format} holds no transparency: composited over white"
        warnings.warn(message, VqcodecWarning, stacklevel=2)
        canvas = Image.new(image.mode[:-1], image.size, "white")
        canvas.paste(image, mask=image.getchannel("A"))
        image = canvas
    if format == "GIF" and image.mode == "RGB" and image.getcolors(256) is None:
        warnings.warn("GIF holds 256 colours only: colours were reduced", VqcodecWarning, stacklevel=2)
    lost = left_out(format, metadata)
    metadata = metadata.without(*lost)
    failure, options = None, _png_options(image) if format == "PNG" else _SAVE_OPTIONS.get(format, {})
    for described in (metadata, Metadata()) if metadata else (metadata,):
        for mode in (image.mode, "RGBA" if image.mode.endswith("A") else "RGB"):  # some formats have no grey
            encoded = io.BytesIO()
            try:
                saved = image if image.mode == mode else image.convert(mode)
                saved.save(encoded, format, **options, **save_options(format, described))
                data = finished(encoded.getvalue(), format, described)
            except Exception as error:
                failure = failure or error
                continue
            if metadata and not described:
                lost.append(cause(failure))
            if lost:
                warnings.warn(f"metadata left out of the {format} file ({', '.join(lost)})", VqcodecWarning, stacklevel=2)
            return data
    raise InputError(f"cannot write this picture as {format} ({cause(failure)})") from failure


def _png_options(image: Image.Image) -> dict:
    """Of what was a photograph zlib finds hardly any repetitions but runs, and looking for no others takes a fifth of the time. Where
    some rows tell that this would make the file larger by 5 %, it looks for all."""
    width, height = image.size
    rows = max(8, _SAMPLED // width)
    if height < 4 * rows:
        return {}
    sizes = [0, 0]
    for top in range(0, height - rows + 1, (height - rows) // 3):
        part = image.crop((0, top, width, top + rows))
        for kind, options in enumerate(({}, _RUNS)):
            encoded = io.BytesIO()
            part.save(encoded, "PNG", **options)
            sizes[kind] += encoded.tell()
    return dict(_RUNS) if sizes[1] <= 1.05 * sizes[0] else {}


def format_for(path: str | os.PathLike) -> str:
    """Name of the output format for a file name, by its extension ('-' gives PNG).

    Raises UsageError for an extension that is missing, unknown or of a format that cannot be written.
    """
    path = os.fspath(path)
    extension = ".png" if path == "-" else os.path.splitext(path)[1].lower()
    Image.preinit()  # the usual formats; all of them take a tenth of a second
    known, extra = Image.EXTENSION.get(extension) or Image.registered_extensions().get(extension), None
    if known is None:
        extra = load_plugin_for(extension)
        known = Image.registered_extensions().get(extension)
    if extra:
        raise UsageError(f"{path}: to write this format: pip install \".[{extra}]\"")
    if known is None:
        raise UsageError(f"{path}: no image format goes by the extension '{extension}'")
    return _writable_format(known)


def _writable_format(name: str) -> str:
    """Pillow's name of a format that it can write, in any case. Raises UsageError."""
    name = name.upper()
    if name not in Image.SAVE:
        Image.init()  # loads all plugins
    if name in _ICON_FORMATS:
        raise UsageError(f"{name} holds icons of fixed sizes, not pictures")
    if name not in Image.SAVE:
        raise UsageError(f"'{name}' is not an image format that can be written")
    return name


@contextmanager
def pillow_limits():
    """Put this module's size limits in place of Pillow's, and silence Pillow's warnings, until the exit."""
    with _PILLOW_LOCK, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        saved, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = saved


def size_of(file, command: str) -> tuple[int, int]:
    """(width, height) by the header of a file; zeros where it has none that can be read: such files fail early."""
    try:
        if command == "decode":
            header = stream.peek(file.read(1 << 18))
            return header.width, header.height
        with pillow_limits(), Image.open(file) as image:
            return image.size
    except Exception:
        return 0, 0


def _from_array(samples: np.ndarray, name: str) -> Picture:
    """Picture from uint8 samples [H,W], [H,W,1], [H,W,3] or [H,W,4]."""
    shape = samples.shape
    if samples.dtype != np.uint8 or not (samples.ndim == 2 or samples.ndim == 3 and shape[2] in (1, 3, 4)):
        raise UsageError(
            f"{name}: need uint8 [H,W], [H,W,1], [H,W,3] or [H,W,4], not {samples.dtype} {list(shape)}"
        )
    check_size((shape[1], shape[0]), name)
    if samples.ndim == 2 or shape[2] == 1:
        return Picture(np.repeat(samples.reshape(shape[0], shape[1], 1), 3, axis=2), None, True)
    opaque = shape[2] == 3 or samples[:, :, 3].min() == 255
    alpha = None if opaque else np.ascontiguousarray(samples[:, :, 3])
    return Picture(np.ascontiguousarray(samples[:, :, :3]), alpha)


def _opened(source: bytes | bytearray | memoryview | Image.Image, name: str) -> Source:
    """An image within the limits, not decoded yet."""
    if isinstance(source, Image.Image):
        check_size(source.size, name)
        if source.format == "PNG":  # whose metadata may come last
            source.load()
        return of_image(source, name)
    opened = open_source(bytes(source), name)
    check_size(opened.image.size, name)
    return opened


def _from_source(source: Source, name: str) -> Picture:
    """Picture from an open image of any mode."""
    image = source.image
    orientation = _orientation(source, name)
    swapped = orientation >= 5 or source.transposed
    described = gather(source, swapped, name)  # before Pillow changes tags
    image.load()
    if source.low is not None:
        source.low.load()
    width, height = image.size  # after load: TIFF turns itself upright there
    check_size(image.size, name)
    if source.orientation is None and hasattr(image, "tag_v2"):
        orientation = _orientation(source, name)
    shape = (width, height) if orientation >= 5 else (height, width)
    rgb = np.empty((*shape, 3), np.uint8)
    stored_rgb = _as_stored(rgb, orientation)
    alpha, grey, convert = None, False, None
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        base, opacity = split(source, (0, strip.start, width, strip.stop), name)
        if convert is None:
            convert = srgb_converter(source.colour, base, name)
        samples = convert(base)
        grey = samples.ndim == 2
        stored_rgb[strip] = samples[:, :, None] if grey else samples
        if opacity is not None:
            alpha = np.empty(shape, np.uint8) if alpha is None else alpha
            _as_stored(alpha, orientation)[strip] = opacity
    return Picture(rgb, None if alpha is None or alpha.min() == 255 else alpha, grey, described)


def _orientation(source: Source, name: str) -> int:
    """EXIF orientation 1…8; 1 where it is missing or unreadable."""
    if source.orientation is not None:
        return source.orientation if source.orientation in range(2, 9) else 1
    try:
        value = source.image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception as error:
        warnings.warn(f"{name}: EXIF data ignored ({cause(error)})", VqcodecWarning, stacklevel=4)
        source.exif = None
        return 1
    return value if value in range(2, 9) else 1


def _as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """View of an upright array [H',W',…] in the row and column order of the file, [H,W,…]."""
    view = upright.swapaxes(0, 1) if orientation >= 5 else upright
    view = view[::-1] if orientation in (3, 4, 6, 7) else view
    return view[:, ::-1] if orientation in (2, 3, 7, 8) else view
