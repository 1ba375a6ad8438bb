"""vqcodec: a neural codec for images, sound, documents and text with a vector-quantised autoencoder and an integer prior.

    import vqcodec
    data = vqcodec.encode("photo.png", quality=4)      # bytes of a .vq file
    image = vqcodec.decode(data)                       # PIL.Image
    grids = vqcodec.tokens(data)                       # index grids int64[G, H/16, W/16]
    data = vqcodec.sample("photo-3e", seed=1)           # one that the model's prior makes up
    data = vqcodec.encode("speech.wav", kbps=3)        # bytes of a .vq file
    sound = vqcodec.decode(data)                       # Sound(samples f32[N,C], rate)
    data = vqcodec.encode("notes.md")                  # text, without loss
    text = vqcodec.decode(data)                        # the same bytes

Everything below raises errors of the `vqcodec.errors.VqcodecError` family. Heavy libraries are imported on
the first call, not with the package.
"""

from __future__ import annotations

import os

from .errors import (
    CorruptStreamError,
    InputError,
    LimitError,
    UnknownModelError,
    UnsupportedError,
    UsageError,
    VqcodecError,
    VqcodecWarning,
)
from .filelimits import Limits
from .indices.drawing import Drawing
from .version import __version__

__all__ = ["encode", "decode", "encode_sound", "decode_sound", "inspect", "tokens", "from_tokens", "sample", "extend", "fill",
           "Sound", "Limits",
           "VqcodecError", "InputError", "LimitError", "UsageError", "CorruptStreamError", "UnsupportedError", "UnknownModelError",
           "VqcodecWarning",
           "__version__"]


def __getattr__(name: str):
    if name == "Sound":  # needs numpy
        from .sound.file import Sound

        return Sound
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def encode(source, *, quality: float | None = None, bpp: float | None = None, psnr: float | None = None,
           kbps: float | None = None, size: int | None = None, effort: int | None = None, model: str | None = None,
           models_dir=None, exact: bool = False, strict: bool = False, strip: tuple[str, ...] = (),
           pages: str | None = None, dpi: float | None = None, mask: str | None = None,
           start: float | None = None, duration: float | None = None, audio: str | None = None,
           limits: Limits | None = None) -> bytes:
    """An image, a recording, a clip, a document or a text → the bytes of a .vq file.

    source: a path, the bytes of a file or an open binary file; PIL.Image, uint8 array [H,W], [H,W,3] or [H,W,4]; `Sound` or
    (float array [N] or [N,C], rate in Hz); `vqcodec.video.clip.Clip`; of a document a list of pages: PIL.Images, or arrays as above or bool [H,W], black
    where true.
    One of: quality (1..N, default the middle), bpp or psnr (dB) of images, kbps of sound and video, bpp of video, size (bytes, an upper bound). A
    target that is missed by more than 3 % gives a VqcodecWarning.
    effort: 0..5, how long to look for a smaller file (default 2 up to 4 megapixels, 1 above and for sound).
    exact: keep the colours of pixels that are wholly transparent. strict: damage of the input is an error, not a warning.
    strip: what of the file's metadata to leave out: "all", or any of "gps", "exif", "xmp", "icc", "density", "tags".
    pages, dpi, mask: of documents, as the options of `vqcodec encode`: "1-3,7"; pages of a PDF are drawn at dpi; "lossless",
    "clean" or "off".
    start, duration, audio: of video, the seconds that are taken, and what becomes of its sound: "code" (by a model that suits it,
    the default), "copy" (the packets of a file, as they are), "none", or the name of a model of sound.
    limits: None is `Limits()`. Raises InputError for what is none of these, UsageError for bad arguments, LimitError beyond limits.
    """
    from . import medium

    with _within(limits):
        source, kind = _source(source, model, models_dir)
        options = dict(pages=pages, dpi=dpi, mask=mask, start=start, duration=duration, track=audio)
        medium.check_options(kind, options)
        return _encode(kind, source, medium.Request.of(
            quality, dict(bpp=bpp, psnr=psnr, kbps=kbps, size=size), effort=effort, exact=exact, strict=strict,
            strip=(strip,) if isinstance(strip, str) else tuple(strip), **options), model, models_dir)


def encode_sound(sound, *, quality: float | None = None, kbps: float | None = None, size: int | None = None,
                 effort: int | None = None, model: str | None = None, models_dir=None,
                 limits: Limits | None = None) -> bytes:
    """A recording → the bytes of a .vq file; as `encode`, for what is known to be sound.

    effort: 0 takes the nearest codewords, more (the default) those that are worth their bits."""
    from . import medium

    request = medium.Request.of(quality, dict(kbps=kbps, size=size), effort=effort)
    with _within(limits):
        return _encode(medium.of_modality("audio"), _source(sound)[0], request, model, models_dir)


def decode(data, *, start: float | None = None, duration: float | None = None, audio: str | None = None, models_dir=None,
           limits: Limits | None = None):
    """A .vq file (its path, its bytes, or an open binary file) → PIL.Image of mode L, LA, RGB or RGBA, or `Sound`; of video a
    `vqcodec.video.clip.Clip`, of all of it or of `duration` seconds from `start` on, with audio="none" without its sound; of a document
    a list of PIL.Images, of mode 1, L or RGB; of text bytes. Raises CorruptStreamError, UnsupportedError, UnknownModelError or, beyond `limits`
    (None is `Limits()`), LimitError."""
    from .filelimits import check
    from .medium import AS_SAMPLES, check_options

    options = {name: value for name, value in dict(start=start, duration=duration, track=audio).items() if value is not None}
    if audio not in (None, "none"):
        raise UsageError('audio is "none", or not given: sound is decoded as it is')
    with _within(limits):
        kind, data = _stream(data)
        check_options(kind, options)
        check(kind.extent(data, AS_SAMPLES), len(data))
        return kind.decoded(_open_for(kind, data, models_dir), data, **options)


decode_sound = decode


def inspect(data):
    """What a .vq file (its path, its bytes, or an open binary file) says of itself: an `Inspection` of
    `vqcodec.picture.inspection`, of sound a `SoundInspection` of `vqcodec.sound.inspection`, of a document a `DocumentInspection`
    of `vqcodec.document.inspection`, of text a `TextInspection`. Needs no model."""
    kind, data = _stream(data)
    return kind.inspect(data)


def tokens(source, *, quality: float | None = None, model: str | None = None, models_dir=None,
           limits: Limits | None = None):
    """Index grids of a .vq file, or of an image or sound (as in `encode`): int64[G, ceil(H/16), ceil(W/16)], of sound
    int64[G, units, frames], a unit being the channels that the model takes at a time; of a document a list of the masks of its
    pages, int64[1,H,W], or of pages that are pictures the grids of these; of text int64[1,N], its bytes. limits: as in `encode`."""
    from .fileio import Source
    from .filelimits import check
    from .stream import MAGIC

    with _within(limits):
        source, _ = _source(source)
        if not (isinstance(source, Source) and source.head.startswith(MAGIC)):
            source = encode(source, quality=quality, model=model, models_dir=models_dir)
        kind, data = _stream(source)
        check(kind.extent(data))
        return _open_for(kind, data, models_dir).decode_grids(data)


def from_tokens(grids, shape, height: int | None = None, *, quality: float | None = None, model: str | None = None,
                models_dir=None) -> bytes:
    """Index grids → the bytes of a .vq file: the inverse of `tokens`.

    shape: width of the picture, beside its `height`, or what `inspect` gave for a stream like this one; `quality` if it is
    another one. The model is that of what `inspect` gave, unless `model` is given.
    Raises UsageError for grids of the wrong shape or with codewords that the quality does not use."""
    from . import medium
    from .zoo import registry

    if height is not None and not isinstance(shape, int):
        raise UsageError("what `inspect` gave has no further height")
    if isinstance(shape, int):
        if height is None or quality is None:
            raise UsageError("give the height and the quality of the picture")
        shape = shape, height
    kind = next((m for m in medium.media() if m.described_by(shape)), None)
    if kind is None:
        raise UsageError(f"grids have a width and a height, or what `inspect` gives, not {type(shape).__name__}")
    if model is not None or isinstance(shape, tuple):
        entry = registry.find_by_name(model, models_dir, kind.modality)
    else:
        model_hash = shape.model_hash
        model_hash = bytes.fromhex(model_hash) if isinstance(model_hash, str) else model_hash
        entry = registry.find_by_stream(shape.model_id, model_hash, models_dir)
    return kind.from_tokens(kind.open(entry), grids, shape, quality)


def sample(model: str, *, seed: int = 0, item: int = 0, temperature: float = 1.0, label: str | None = None,
           quality: float | None = None, models_dir=None, limits: Limits | None = None, **measure) -> bytes:
    """The bytes of a .vq file that nobody has encoded: drawn from a model's prior. `decode` and `tokens` take it like others.

    Of pictures size=(width, height), of sound seconds, of text bytes. seed, and item of those with one seed: the same draw the same grids on
    every machine. temperature: below 1 what is likely, above 1 what is not, 0 the most probable. label: of models that have
    labels. quality: 1..N, default the middle. Raises UsageError, UnknownModelError, LimitError."""
    from . import medium
    from .indices.quality import usual_quality
    from .zoo import registry

    drawing = Drawing(seed, item, temperature, label)
    entry = registry.find_by_name(model, models_dir, None)
    kind = medium.of_modality(entry.modality)
    measure = medium.measure_of(kind, "sample", measure)
    with _within(limits):
        codec = kind.open(entry)
        return kind.sample(codec, drawing, measure, usual_quality(codec.qualities) if quality is None else quality)


def extend(data, *, seed: int = 0, temperature: float = 0.7, sweeps: int = 8, label: str | None = None, models_dir=None,
           limits: Limits | None = None, **measure) -> bytes:
    """A .vq file (as in `decode`) and what could follow it, drawn from its model's prior: of pictures rows, of sound seconds,
    of text bytes. The bytes of a .vq file. sweeps: how often what is drawn is redrawn, so that it fits to what is there; with some, keep the
    temperature below 0.8. The rest as `sample`; raises CorruptStreamError too."""
    return _drawn("continue", data, Drawing(seed, 0, temperature, label, sweeps), models_dir, limits, measure)


def fill(data, *, seed: int = 0, temperature: float = 0.7, sweeps: int = 8, label: str | None = None, models_dir=None,
         limits: Limits | None = None, **measure) -> bytes:
    """A .vq file (as in `decode`) of which a part is drawn anew from its model's prior: of pictures the 16×16 blocks that
    box=(x, y, width, height) touches, of sound span=(from, to) in seconds. The rest as `extend`."""
    return _drawn("fill", data, Drawing(seed, 0, temperature, label, sweeps), models_dir, limits, measure)


def _drawn(action, data, drawing, models_dir, limits, measure) -> bytes:
    from . import medium
    from .filelimits import check

    with _within(limits):
        kind, data = _stream(data)
        measure = medium.measure_of(kind, action, measure)
        check(kind.extent(data), len(data))
        draw = kind.extend if action == "continue" else kind.fill
        return draw(_open_for(kind, data, models_dir), data, drawing, measure)


def _within(limits: Limits | None):
    from .filelimits import within

    return within(Limits() if limits is None else limits)


def _source(source, model: str | None = None, models_dir=None):
    """(a `fileio.Source` for what is a file, else the thing itself; its medium, or that of the model that is named)."""
    from . import medium
    from .fileio import Source
    from .zoo import registry

    name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ""
    if isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):
        source = Source.open(source)
    elif hasattr(source, "read") and not hasattr(source, "tobytes"):  # an image of Pillow's has `tobytes`
        source = Source.of_file(source)
    if not isinstance(source, Source):
        return source, medium.of_thing(source)
    modality = None if model is None else registry.find_by_name(model, models_dir, None).modality
    return source, medium.of_input(source.head, name, modality)


def _encode(kind, source, request, model, models_dir) -> bytes:
    import warnings

    from . import medium
    from .zoo import registry

    medium.check_target(kind, request)
    samples = kind.read(source, request)
    codec = kind.open(registry.find_by_name(model, models_dir, kind.modality), encoder=True)
    parts = []
    made = kind.encode(codec, samples, request, parts.append)
    if made.note:
        warnings.warn(made.note, VqcodecWarning, stacklevel=3)
    return b"".join(parts)


def _stream(data):
    """(medium, bytes) of a .vq file."""
    from . import medium

    source, _ = _source(data)
    if not hasattr(source, "head"):
        raise UsageError(f"a .vq file is a path, bytes or an open file, not {type(data).__name__}")
    return medium.of_stream(source.head), source.data()


def _open_for(kind, data: bytes, models_dir):
    from .zoo import registry

    header = kind.header(data)
    return kind.open(registry.find_by_stream(header.model_id, header.model_hash, models_dir))
