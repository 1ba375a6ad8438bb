"""vqcodec: a neural codec for images and sound with a vector-quantised autoencoder and an integer prior.

    import vqcodec
    data = vqcodec.encode("photo.png", quality=4)      # bytes of a .vq file
    image = vqcodec.decode(data)                       # PIL.Image
    grids = vqcodec.tokens(data)                       # index grids int64[G, H/16, W/16]
    data = vqcodec.encode_sound("speech.wav", kbps=3)  # bytes of a .vq file
    sound = vqcodec.decode_sound(data)                 # Sound(samples f32[N,C], rate)

Everything below raises errors of the `vqcodec.errors.VqcodecError` family. Heavy libraries are imported on
the first call, not with the package.
"""

from __future__ import annotations

from .errors import CorruptStreamError, InputError, UnknownModelError, UnsupportedError, UsageError, VqcodecError

__version__ = "0.1.0"
__all__ = ["encode", "decode", "encode_sound", "decode_sound", "inspect", "tokens", "from_tokens", "VqcodecError", "InputError", "UsageError",
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


def encode_sound(sound, *, quality: float | None = None, kbps: float | None = None, size: int | None = None,
                 effort: int | None = None, model: str | None = None, models_dir=None) -> bytes:
    """A recording → the bytes of a .vq file.

    sound: path, bytes of a sound file, `vqcodec.sound.Sound`, or (float array [N] or [N,C], rate in Hz).
    One of: quality (1..N, default the middle), kbps, size (bytes, an upper bound).
    effort: 0 takes the nearest codewords, more (the default) those that are worth their bits.
    Raises InputError for what is not sound, UsageError for bad arguments.
    """
    from .inspection import usual_quality

    given = [name for name, value in dict(quality=quality, kbps=kbps, size=size).items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"give only one of {', '.join(given)}")
    reader = _sound_reader(sound)
    codec = _open_sound(model, models_dir)
    if kbps is not None or size is not None:
        return codec.encode_to_target(reader, kbps=kbps, size=size, effort=effort).data
    parts = []
    codec.encode_stream(reader, parts.append, quality or usual_quality(codec.qualities), effort=effort)
    return b"".join(parts)


def decode_sound(data: bytes, *, models_dir=None):
    """The bytes of a .vq file → `vqcodec.sound.Sound`. Raises CorruptStreamError, UnsupportedError or
    UnknownModelError."""
    return _open_sound_for(data, models_dir).decode(data)


def _sound_reader(sound):
    import numpy as np

    from .sound import Sound, SoundReader

    if isinstance(sound, tuple) and len(sound) == 2:
        samples = np.asarray(sound[0], np.float32)
        sound = Sound(samples[:, None] if samples.ndim == 1 else samples, int(sound[1]))
    return SoundReader.of(sound) if isinstance(sound, Sound) else SoundReader.open(sound)


def _open_sound(name, models_dir):
    from . import audio_codec, registry

    return audio_codec.AudioCodec.open(registry.find_by_name(name, models_dir, "audio"))


def _open_sound_for(data: bytes, models_dir):
    from . import audio_codec, registry, sound_container

    header, _ = sound_container.peek(data)
    entry = registry.find_by_stream(header.model_id, header.model_hash, models_dir)
    return audio_codec.AudioCodec.open(entry, encoder=False)


def inspect(data: bytes):
    """What the header of a .vq file says: a `vqcodec.inspection.Inspection`, or of sound a
    `vqcodec.sound_container.SoundHeader`. Needs no model."""
    from . import container, inspection, sound_container

    return sound_container.peek(data)[0] if container.modality(data) == "audio" else inspection.inspect(data)


def tokens(source, *, quality: float | None = None, model: str | None = None, models_dir=None):
    """Index grids int64[G, ceil(H/16), ceil(W/16)]: of a .vq file's bytes, or of an image (as in `encode`).
    Of the bytes of a .vq file of sound: int64[G, units, frames]."""
    from .container import MAGIC, modality

    if isinstance(source, (bytes, bytearray)) and source[:2] == MAGIC and modality(source) == "audio":
        return _open_sound_for(source, models_dir).decode_grids(bytes(source))
    if not (isinstance(source, (bytes, bytearray)) and source[:2] == MAGIC):
        source = encode(source, quality=quality, model=model, models_dir=models_dir)
    return _open_for(source, models_dir).decode_grids(source)


def from_tokens(grids, width: int, height: int, *, quality: float, model: str | None = None, models_dir=None) -> bytes:
    """Index grids of a width × height picture → the bytes of a .vq file: the inverse of `tokens`.

    Raises UsageError for grids of the wrong shape or with codewords that the quality does not use."""
    return _open(model, models_dir).encode_tokens(grids, width, height, quality).data
