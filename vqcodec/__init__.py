"""vqcodec: a neural codec for images with a vector-quantised autoencoder and an integer prior.

    import vqcodec
    data = vqcodec.encode("photo.png", quality=4)      # bytes of a .vq file
    image = vqcodec.decode(data)                       # PIL.Image
    grids = vqcodec.tokens(data)                       # index grids int64[G, H/16, W/16]

Everything below raises errors of the `vqcodec.errors.VqcodecError` family. Heavy libraries are imported on
the first call, not with the package.
"""

from __future__ import annotations

from .errors import CorruptStreamError, InputError, UnknownModelError, UnsupportedError, UsageError, VqcodecError

__version__ = "0.1.0"
__all__ = ["encode", "decode", "inspect", "tokens", "from_tokens", "VqcodecError", "InputError", "UsageError",
           "CorruptStreamError", "UnsupportedError", "UnknownModelError", "__version__"]


def _open(name, models_dir):
    from . import codec, registry

    return codec.Codec.open(registry.find_by_name(name, models_dir))


def _open_for(data: bytes, models_dir):
    from . import codec, container, registry

    header = container.peek(data)
    return codec.Codec.open(registry.find_by_stream(header.model_id, header.model_hash, models_dir), encoder=False)


def encode(image, *, quality: float | None = None, bpp: float | None = None, psnr: float | None = None,
           size: int | None = None, effort: int | None = None, model: str | None = None, models_dir=None) -> bytes:
    """An image → the bytes of a .vq file.

    image: path, bytes of an image file, PIL.Image, or uint8 array [H,W], [H,W,3] or [H,W,4].
    One of: quality (1..N, default the middle), bpp, psnr (dB), size (bytes, an upper bound).
    effort: 0..5, how long to look for a smaller file (default 2 up to 4 megapixels, 1 above).
    Raises InputError for what is not an image, UsageError for bad arguments.
    """
    from .inspection import usual_quality
    from .media import read_picture

    targets = dict(bpp=bpp, psnr=psnr, size=size)
    given = [name for name, value in {**targets, "quality": quality}.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"give only one of {', '.join(given)}")
    picture = read_picture(image)
    codec = _open(model, models_dir)
    if not given or quality is not None:
        return codec.encode(picture, usual_quality(codec.qualities) if quality is None else quality, effort=effort).data
    return codec.encode_to_target(picture, **targets, effort=effort).data


def decode(data: bytes, *, models_dir=None):
    """The bytes of a .vq file → PIL.Image of mode L, LA, RGB or RGBA. Raises CorruptStreamError,
    UnsupportedError or UnknownModelError."""
    from .media import to_image

    return to_image(_open_for(data, models_dir).decode(data))


def inspect(data: bytes):
    """What the header of a .vq file says: a `vqcodec.inspection.Inspection`. Needs no model."""
    from . import inspection

    return inspection.inspect(data)


def tokens(source, *, quality: float | None = None, model: str | None = None, models_dir=None):
    """Index grids int64[G, ceil(H/16), ceil(W/16)]: of a .vq file's bytes, or of an image (as in `encode`)."""
    from .container import MAGIC

    if not (isinstance(source, (bytes, bytearray)) and source[:2] == MAGIC):
        source = encode(source, quality=quality, model=model, models_dir=models_dir)
    return _open_for(source, models_dir).decode_grids(source)


def from_tokens(grids, width: int, height: int, *, quality: float, model: str | None = None, models_dir=None) -> bytes:
    """Index grids of a width × height picture → the bytes of a .vq file: the inverse of `tokens`.

    Raises UsageError for grids of the wrong shape or with codewords that the quality does not use."""
    return _open(model, models_dir).encode_tokens(grids, width, height, quality).data
