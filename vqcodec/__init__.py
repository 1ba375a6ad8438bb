"""vqcodec: a neural codec for images and sound with a vector-quantised autoencoder and an integer prior.

    import vqcodec
    data = vqcodec.encode("photo.png", quality=4)      # bytes of a .vq file
    image = vqcodec.decode(data)                       # PIL.Image
    grids = vqcodec.tokens(data)                       # index grids int64[G, H/16, W/16]
    data = vqcodec.encode("speech.wav", kbps=3)        # bytes of a .vq file
    sound = vqcodec.decode(data)                       # Sound(samples f32[N,C], rate)

Everything below raises errors of the `vqcodec.errors.VqcodecError` family. Heavy libraries are imported on
the first call, not with the package.
"""

from __future__ import annotations

import os

from .errors import CorruptStreamError, InputError, UnknownModelError, UnsupportedError, UsageError, VqcodecError

__version__ = "0.1.0"
__all__ = ["encode", "decode", "encode_sound", "decode_sound", "inspect", "tokens", "from_tokens", "Sound", "VqcodecError",
           "InputError", "UsageError", "CorruptStreamError", "UnsupportedError", "UnknownModelError", "__version__"]


def __getattr__(name: str):
    if name == "Sound":  # needs numpy
        from .sound.file import Sound

        return Sound
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def _open(name, models_dir):
    from .picture import codec
    from .zoo import registry

    return codec.Codec.open(registry.find_by_name(name, models_dir))


def _open_for(data: bytes, models_dir):
    from .picture import codec, stream as container
    from .zoo import registry

    header = container.peek(data)
    return codec.Codec.open(registry.find_by_stream(header.model_id, header.model_hash, models_dir), encoder=False)


def _is_sound(source) -> bool:
    """Whether `encode` is given sound; of files by their first bytes. Raises InputError for a file that cannot be read."""
    from .fileio import STDIO, first_bytes
    from .sound.file import Sound, looks_like_sound

    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source) != STDIO and looks_like_sound(first_bytes(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return looks_like_sound(bytes(source[:64]))
    return isinstance(source, (Sound, tuple))


def encode(source, *, quality: float | None = None, bpp: float | None = None, psnr: float | None = None,
           kbps: float | None = None, size: int | None = None, effort: int | None = None, model: str | None = None,
           models_dir=None) -> bytes:
    """An image or a recording → the bytes of a .vq file.

    source: path, bytes of a file, PIL.Image, uint8 array [H,W], [H,W,3] or [H,W,4], or sound as in `encode_sound`.
    One of: quality (1..N, default the middle), bpp or psnr (dB) of images, kbps of sound, size (bytes, an upper bound).
    effort: 0..5, how long to look for a smaller file (default 2 up to 4 megapixels, 1 above and for sound).
    Raises InputError for what is neither, UsageError for bad arguments.
    """
    from .picture.inspection import usual_quality
    from .picture.file import read_picture

    if _is_sound(source):
        if bpp is not None or psnr is not None:
            raise UsageError("bpp and psnr are for images; of sound, give kbps")
        return encode_sound(source, quality=quality, kbps=kbps, size=size, effort=effort, model=model,
                            models_dir=models_dir)
    if kbps is not None:
        raise UsageError("kbps is for sound; of images, give bpp")
    targets = dict(bpp=bpp, psnr=psnr, size=size)
    given = [name for name, value in {**targets, "quality": quality}.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"give only one of {', '.join(given)}")
    picture = read_picture(source)
    codec = _open(model, models_dir)
    if not given or quality is not None:
        return codec.encode(picture, usual_quality(codec.qualities) if quality is None else quality, effort=effort).data
    return codec.encode_to_target(picture, **targets, effort=effort).data


def decode(data: bytes, *, models_dir=None):
    """The bytes of a .vq file → PIL.Image of mode L, LA, RGB or RGBA, or `Sound`. Raises CorruptStreamError,
    UnsupportedError or UnknownModelError."""
    from .picture.stream import modality
    from .picture.file import to_image

    if modality(data) == "audio":
        return decode_sound(data, models_dir=models_dir)
    return to_image(_open_for(data, models_dir).decode(data))


def encode_sound(sound, *, quality: float | None = None, kbps: float | None = None, size: int | None = None,
                 effort: int | None = None, model: str | None = None, models_dir=None) -> bytes:
    """A recording → the bytes of a .vq file; as `encode`, for what is known to be sound.

    sound: path, bytes of a sound file, `Sound`, or (float array [N] or [N,C], rate in Hz).
    One of: quality (1..N, default the middle), kbps, size (bytes, an upper bound).
    effort: 0 takes the nearest codewords, more (the default) those that are worth their bits.
    Raises InputError for what is not sound, UsageError for bad arguments.
    """
    from .picture.inspection import usual_quality

    given = [name for name, value in dict(quality=quality, kbps=kbps, size=size).items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"give only one of {', '.join(given)}")
    reader = _sound_reader(sound)
    codec = _open_sound(model, models_dir)
    if kbps is not None or size is not None:
        return codec.encode_to_target(reader, kbps=kbps, size=size, effort=effort).data
    parts = []
    codec.encode_stream(reader, parts.append, usual_quality(codec.qualities) if quality is None else quality, effort=effort)
    return b"".join(parts)


def decode_sound(data: bytes, *, models_dir=None):
    """The bytes of a .vq file → `Sound` (samples f32[N,C], rate in Hz). Raises CorruptStreamError, UnsupportedError or
    UnknownModelError."""
    return _open_sound_for(data, models_dir).decode(data)


def _sound_reader(sound):
    import numpy as np

    from .sound.file import Sound, SoundReader

    if isinstance(sound, tuple):
        if len(sound) != 2:
            raise UsageError(f"sound is (samples, rate in Hz), not {len(sound)} things")
        samples = np.asarray(sound[0])
        sound = Sound(samples[:, None] if samples.ndim == 1 else samples, int(sound[1]))
    elif isinstance(sound, (bytearray, memoryview)):
        sound = bytes(sound)
    return SoundReader.of(sound) if isinstance(sound, Sound) else SoundReader.open(sound)


def _sound_from_tokens(grids, header, quality, model, models_dir) -> bytes:
    from dataclasses import replace

    from .sound import codec as audio_codec
    from .zoo import registry
    from .indices.quality import checked_sixteenths

    if model is None:
        codec = _open_by_header(header, models_dir)
    else:
        codec = audio_codec.AudioCodec.open(registry.find_by_name(model, models_dir, "audio"), encoder=False)
    if quality is not None:
        header = replace(header, quality=checked_sixteenths(quality, codec.qualities))
    return codec.encode_tokens(grids, header).data


def _open_sound(name, models_dir):
    from .sound import codec as audio_codec
    from .zoo import registry

    return audio_codec.AudioCodec.open(registry.find_by_name(name, models_dir, "audio"))


def _open_sound_for(data: bytes, models_dir):
    from .sound import stream as sound_container

    return _open_by_header(sound_container.peek(data)[0], models_dir)


def _open_by_header(header, models_dir):
    from .sound import codec as audio_codec
    from .zoo import registry

    entry = registry.find_by_stream(header.model_id, header.model_hash, models_dir)
    return audio_codec.AudioCodec.open(entry, encoder=False)


def inspect(data: bytes):
    """What the header of a .vq file says: a `vqcodec.inspection.Inspection`, or of sound a
    `vqcodec.sound_container.SoundHeader`. Needs no model."""
    from .picture import stream as container, inspection
    from .sound import stream as sound_container

    return sound_container.peek(data)[0] if container.modality(data) == "audio" else inspection.inspect(data)


def tokens(source, *, quality: float | None = None, model: str | None = None, models_dir=None):
    """Index grids of a .vq file's bytes, or of an image or sound (as in `encode`): int64[G, ceil(H/16), ceil(W/16)], of
    sound int64[G, units, frames], a unit being the channels that the model takes at a time."""
    from .picture.stream import MAGIC, modality

    if not (isinstance(source, (bytes, bytearray)) and source[:2] == MAGIC):
        source = encode(source, quality=quality, model=model, models_dir=models_dir)
    if modality(source) == "audio":
        return _open_sound_for(source, models_dir).decode_grids(bytes(source))
    return _open_for(source, models_dir).decode_grids(source)


def from_tokens(grids, width, height: int | None = None, *, quality: float | None = None, model: str | None = None,
                models_dir=None) -> bytes:
    """Index grids of a width × height picture → the bytes of a .vq file: the inverse of `tokens`.

    Of sound: from_tokens(grids, header), with the `SoundHeader` that `inspect` gives, `quality` if it is another one. Its
    model is the header's, unless `model` is given.
    Raises UsageError for grids of the wrong shape or with codewords that the quality does not use."""
    from .sound.stream import SoundHeader

    if isinstance(width, SoundHeader):
        if height is not None:
            raise UsageError("sound has no height")
        return _sound_from_tokens(grids, width, quality, model, models_dir)
    if height is None or quality is None:
        raise UsageError("give the height and the quality of the picture")
    return _open(model, models_dir).encode_tokens(grids, width, height, quality).data
