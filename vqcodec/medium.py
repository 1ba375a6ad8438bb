"""What every medium answers, and the list of media.

A medium is one folder with a module `medium` in it, whose `MEDIUM` is an object of a subclass of `Medium`, and one line
in `MEDIA`. Everything that is not of one medium (the commands, `batch`, `bench`, `train`, the Python interface) asks here
and knows none of them by name; media are imported when they are asked for, and import no other.

    encode:  Source → read → samples → encode → bytes of a stream      decode:  stream → decode → a file

`vqcodec.picture` comes first: what nobody recognises is taken for a picture, so that somebody says what is wrong.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

from . import stream
from .errors import UnsupportedError, UsageError
from .indices.drawing import Drawing
from .indices.quality import SIXTEENTHS, checked_sixteenths, usual_quality
from .metadata import Metadata
from .metadata import pack as pack_metadata
from .metadata import unpack as unpack_metadata

if TYPE_CHECKING:
    from .fileio import Source
    from .filelimits import Extent

MEDIA = ("vqcodec.picture", "vqcodec.sound", "vqcodec.video", "vqcodec.document", "vqcodec.text")


@dataclass(frozen=True)
class Target:
    """Something beside the quality that an encoder can aim at: an option of the command line, an argument in Python."""

    name: str
    help: str
    unit: str = "x"
    whole: bool = False  # a number of bytes


OPTIONS = ("pages", "dpi", "mask", "start", "duration", "track", "track_model", "workers")  # that only some media have
SAID = {"track": "--audio", "track_model": "--audio-model"}  # as commands call them
STRIPPED = ("all", "gps", "exif", "xmp", "icc", "density", "tags")
SIZE = Target("size", "Stay within this many bytes per file: 20000, 20k, 20KiB.", whole=True)


@dataclass(frozen=True)
class Measure:
    """What says how much is drawn, or where: an option of `sample`, `continue` or `fill`, an argument in Python. form: how it
    is written, as many numbers as are named there, between the same marks; whole: they are integers."""

    name: str
    form: str  # "N", "WxH", "X,Y,W,H"
    help: str
    whole: bool = True

    @property
    def mark(self) -> str:
        """Between numbers; "" where there is one."""
        return next((mark for mark in ",x" if mark in self.form), "")

    @property
    def count(self) -> int:
        return self.form.count(self.mark) + 1 if self.mark else 1


@dataclass(frozen=True)
class Request:
    """How to encode. quality: None where there is a target, or for the middle of the model's scale; target: (name, value);
    exact: what cannot be seen or heard is coded as it is; strict: damage of the input is an error; strip: what of the metadata
    to leave out (of STRIPPED); modified: the file's time, in nanoseconds since 1970, if it is to be kept. Of `OPTIONS`, None where
    they are not given: pages, dpi, mask: of documents; start, duration: the seconds of what lasts and is seen that are taken;
    track: what becomes of its sound ("code", "copy", "none", or the name of a model), track_model: by which model; workers:
    processes that share the work."""

    quality: float | None = None
    target: tuple[str, float] | None = None
    effort: int | None = None
    exact: bool = False
    strict: bool = False
    strip: tuple[str, ...] = ()
    modified: int | None = None
    pages: str | None = None
    dpi: float | None = None
    mask: str | None = None
    start: float | None = None
    duration: float | None = None
    track: str | None = None
    track_model: str | None = None
    workers: int | None = None

    @classmethod
    def of(cls, quality: float | None, targets: Mapping[str, float | None], **more) -> Request:
        """Raises UsageError where more than one of quality and targets is given."""
        given = [(name, value) for name, value in targets.items() if value is not None]
        if len(given) + (quality is not None) > 1:
            names = [name for name, _ in given] + ["quality"] * (quality is not None)
            raise UsageError(f"give only one of {', '.join(sorted(names))}")
        return cls(quality, given[0] if given else None, **more)


@dataclass(frozen=True)
class Format:
    """What a stream is decoded to. name: as the library that writes it has it; subtype: of sound, the coding within it; pages:
    of a document, which of them ("1-5"); dpi: at which they are drawn where they have no pixels; start, duration, track ("none"),
    workers: as in `Request`; folder: of what is no file but a folder of them, a regular expression of their names."""

    extension: str
    name: str
    subtype: str | None = None
    pages: str | None = None
    dpi: float | None = None
    start: float | None = None
    duration: float | None = None
    track: str | None = None
    workers: int | None = None
    folder: str | None = None


AS_SAMPLES = Format("", "samples")  # as Python programs take them, in memory


@dataclass(frozen=True)
class Made:
    """What came of encoding or decoding. facts: for JSON and manifests; summary: the same in words, in which {input} or
    {output} stands for the size of the other file; note: where a target
    was missed, by how much; lost: seconds (begin, end) that are silent because of damage."""

    facts: dict[str, Any]
    summary: str
    note: str | None = None
    lost: tuple[tuple[float, float], ...] = ()


def asked_quality(request: Request, highest: int) -> float:
    """The nearest sixteenth; the middle of the scale where none is asked for. Raises UsageError beyond the scale."""
    quality = usual_quality(highest) if request.quality is None else request.quality
    return 1 + checked_sixteenths(quality, highest) / SIXTEENTHS


def kept(found: Metadata | None, request: Request) -> bytes | None:
    """Metadata as a stream has them, without what is to be left out; None where nothing is left."""
    found = Metadata() if found is None or "all" in request.strip else found
    found = found.without(*(name for name in request.strip if name in Metadata.__dataclass_fields__))
    found = replace(found, modified=request.modified)
    return pack_metadata(found) if found else None


def stored(source: Source, sealed: stream.Sealed) -> Metadata | None:
    """The inverse of `kept`: the metadata of a stream whose header ends so. Raises CorruptStreamError for damage."""
    with source.open_file() as file:
        found = stream.checked_metadata(file.read(sealed.end), sealed)
    return None if found is None else unpack_metadata(found)


class Medium(ABC):
    key: str  # as the benchmark calls it, "picture"
    modality: str  # as models and commands call it, "image"
    code: int  # of the modality in streams
    nouns: str
    trained_on: str  # "pictures"
    targets: tuple[Target, ...]
    conceals: bool  # decoders can go on behind damage
    default_extension: str  # of what is decoded
    has_subtypes: bool  # formats of files with a choice of codings within
    writes_any: bool = False  # files of any extension
    writes_folders: bool = False  # of files, too
    reads_pieces: bool  # of files that need not fit into memory
    measures: Mapping[str, Measure] = MappingProxyType({})  # of "sample", "continue" and "fill", those that there are
    undrawn: Mapping[str, str] = MappingProxyType({})  # of those that there are not, why, in a line
    trainable: bool = True  # by `vqcodec train`
    options: frozenset[str] = frozenset()  # of OPTIONS
    also: frozenset[str] = frozenset()  # extensions of other media's files that may be its own, by content
    stands_in = "silence"  # for what is lost, where damage is concealed

    # --- is it you? --------------------------------------------------------------------------------------------

    @abstractmethod
    def extensions(self) -> frozenset[str]:
        """Extensions of files that are encoded, in lower case with the dot."""

    @abstractmethod
    def recognises(self, head: bytes, name: str = "") -> bool:
        """Whether a file that begins so is of this medium; where the bytes do not tell, its name may."""

    def may_read(self, head: bytes, name: str = "") -> bool:
        """Whether it can read such a file too, where the user names one of its models, though another medium recognises it."""
        return self.recognises(head, name)

    @abstractmethod
    def takes(self, thing) -> bool:
        """Whether a Python object holds samples of this medium."""

    # --- a model -----------------------------------------------------------------------------------------------

    @abstractmethod
    def open(self, entry, *, encoder: bool = False, on_torch: bool = False):
        """The codec of a model; without its encoder it decodes in NumPy, if not `on_torch` (on other devices than the CPU), and
        imports no torch. It has `qualities`, `entry`, `decode_grids(data)`."""

    @abstractmethod
    def kind(self):
        """The `zoo.loading.ModelKind` of its models, None where they are no networks that are trained as such. Imports torch."""

    def check_model(self, entry) -> None:
        """Raises a VqcodecError for a model that could not be opened. Hashes have been checked."""
        if (kind := self.kind()) is not None:
            from .zoo.loading import load_model

            load_model(entry, entry.has_encoder, kind)
        else:
            self.open(entry, encoder=entry.has_encoder)

    @abstractmethod
    def qualities(self, entry) -> int:
        """How many qualities a model has; without loading it."""

    # --- files → streams ---------------------------------------------------------------------------------------

    @abstractmethod
    def read(self, thing: Source | Any, request: Request):
        """A file, or a Python object that `takes` accepts → samples as `encode` takes them. Raises InputError."""

    @abstractmethod
    def encode(self, codec, samples, request: Request, write: Callable[[bytes], Any],
               progress: Callable[[str], None] = lambda text: None) -> Made:
        """Hands the bytes of a stream to `write`, and a word on how far it is to `progress`. Raises UsageError for a quality or target that the model has not."""

    # --- streams → files ---------------------------------------------------------------------------------------

    @abstractmethod
    def format_for(self, name: str, subtype: str | None = None) -> Format:
        """By a file name's extension, or of a folder, by a name that ends with "/". Raises UsageError for what cannot be
        written."""

    @abstractmethod
    def header(self, head: bytes):
        """What the first bytes of a stream say: an object with `model_id`, `model_hash` and `metadata_length`. Raises
        CorruptStreamError, UnsupportedError."""

    @abstractmethod
    def extent(self, head: bytes, made: Format | None = None) -> Extent:
        """What the stream that begins so takes when it is decoded to a format, or AS_SAMPLES; None: only verified or looked
        into. Raises as `header`."""

    @abstractmethod
    def decode(self, codec, source: Source, made: Format, file: BinaryIO, *, conceal: bool = False,
               progress: Callable[[str], None] = lambda text: None) -> Made:
        """A stream → a file of that format, written to an open file that can seek; where the format is a folder, `file` is the
        path of one. Raises CorruptStreamError."""

    @abstractmethod
    def decoded(self, codec, data: bytes, **options):
        """A stream → samples as Python programs take them. options: those of its own that decoding has."""

    # --- about streams -----------------------------------------------------------------------------------------

    @abstractmethod
    def inspect(self, data: bytes):
        """A data class of what a whole stream says of itself. Needs no model."""

    @abstractmethod
    def facts(self, data: bytes) -> dict:
        """The same as a table for JSON."""

    @abstractmethod
    def table(self, facts: dict) -> str:
        """The same as text; "model" is the model's name, or None where it is not installed."""

    @abstractmethod
    def parts(self, codec, data: bytes) -> dict:
        """More facts: bytes of segments or chunks."""

    def labels(self, entry, data: bytes) -> tuple[str, ...]:
        """Of a stream of the model, those that it was coded with, as `Drawing` has them, "" for none: of each chunk, where it has
        chunks. Empty where models have none. Raises CorruptStreamError."""
        return ()

    def digest(self, codec, data: bytes) -> dict:
        """More facts: what tells two decoders' samples apart. Raises UsageError where there is nothing."""
        raise UsageError("--pixels is for images")

    @abstractmethod
    def draw_grids(self, codec, data: bytes):
        """uint8[H,W]: a picture of the index grids."""

    @abstractmethod
    def draw_bits(self, codec, data: bytes):
        """uint8[H,W] or [H,W,3]: where the bits went."""

    @abstractmethod
    def verify(self, codec, file: BinaryIO) -> None:
        """Reads all of a stream, a file that can seek. Raises CorruptStreamError."""

    @abstractmethod
    def metadata(self, source: Source) -> Metadata | None:
        """The metadata in a stream. Raises CorruptStreamError for damage."""

    def describe(self, metadata: Metadata) -> dict[str, str]:
        """What there is, in words."""
        return metadata.described()

    # --- index grids -------------------------------------------------------------------------------------------

    @abstractmethod
    def from_tokens(self, codec, grids, shape, quality: float | None) -> bytes:
        """Index grids → a stream. shape: (width, height), or what `inspect` gave for a stream like this one."""

    @abstractmethod
    def described_by(self, shape) -> bool:
        """Whether `from_tokens` knows a shape of this kind."""

    # --- drawing from the prior ----------------------------------------------------------------------------------
    # progress is told how far it is. All raise UsageError for what cannot be, and LimitError.

    def sample(self, codec, drawing: Drawing, measure, quality: float, progress: Callable[[str], None] = lambda text: None) -> bytes:
        """A stream that the prior makes up. measure: a number, or a tuple of them, as `measures["sample"]` has it; None: as is
        usual."""
        raise NotImplementedError

    def extend(self, codec, data: bytes, drawing: Drawing, measure, progress: Callable[[str], None] = lambda text: None) -> bytes:
        """A stream of which what is there stays, and more is drawn. Raises CorruptStreamError."""
        raise NotImplementedError

    def fill(self, codec, data: bytes, drawing: Drawing, measure, progress: Callable[[str], None] = lambda text: None) -> bytes:
        """A stream of which one part is drawn anew. Raises CorruptStreamError."""
        raise NotImplementedError

    # --- for the tools -----------------------------------------------------------------------------------------

    @abstractmethod
    def memory(self, file: BinaryIO | None, command: str) -> int:
        """Bytes that encoding the file, or decoding the stream, takes beside the model; None: of usual size."""

    @abstractmethod
    def comparison(self):
        """What the benchmark asks: a `bench.comparison.Comparison`; None where nothing can be compared."""

    @abstractmethod
    def training(self):
        """What training asks: a class below `train.medium.Medium`; None where nothing can be trained."""


# The list.

@functools.cache
def _load(module: str) -> Medium:
    return import_module(f"{module}.medium").MEDIUM


def media() -> tuple[Medium, ...]:
    return tuple(_load(module) for module in MEDIA)


def of_modality(modality: str) -> Medium:
    """By the name that models give it. Raises UnsupportedError."""
    for medium in media():
        if medium.modality == modality:
            return medium
    raise UnsupportedError(f"models of {modality} are unknown to this release")


def of_key(key: str) -> Medium:
    """By the name that the benchmark gives it. Raises UsageError."""
    for medium in media():
        if medium.key == key:
            return medium
    raise UsageError(f"there is no medium '{key}' (known: {', '.join(m.key for m in media())})")


def of_head(head: bytes, name: str = "") -> Medium:
    """Of a file to encode, by its first bytes, and its name where they do not tell."""
    return next((medium for medium in media() if medium.recognises(head, name)), media()[0])


def of_input(head: bytes, name: str, modality: str | None) -> Medium:
    """Of a file to encode, as `of_head`; but of the medium of the model that the user names, `modality`, if that may read it."""
    recognised = of_head(head, name)
    asked = next((medium for medium in media() if medium.modality == modality), recognised)
    return asked if asked.may_read(head, name) else recognised


def of_stream(head: bytes) -> Medium:
    """Of a stream, by its first bytes. Raises CorruptStreamError for what is none, UnsupportedError for what is of a later
    release."""
    code = stream.modality(head)
    for medium in media():
        if medium.code == code:
            return medium
    raise UnsupportedError(f"modality {code} is reserved: the stream is from a later release, or damaged")


def of_extension(path: str) -> Medium | None:
    """Of a file to encode, by its name."""
    extension = extension_of(path)
    return next((medium for medium in media() if extension in medium.extensions()), None)


def of_thing(thing) -> Medium:
    """Of a Python object with samples."""
    return next((medium for medium in media() if medium.takes(thing)), media()[0])


def extension_of(path: str) -> str:
    """The last extension of a path in lower case with its dot, or ''."""
    stem, dot, extension = path.rpartition("/")[2].rpartition(".")
    return (dot + extension).lower() if stem else ""


def all_targets() -> tuple[Target, ...]:
    """Of all media, each name once."""
    return tuple({target.name: target for medium in media() for target in medium.targets}.values())


def check_options(medium: Medium, options: Mapping[str, Any], prefix: str = "") -> None:
    """Raises UsageError for one of OPTIONS that is given (not None) and another medium's. prefix: of options, "--"."""
    for name in OPTIONS:
        if options.get(name) is not None and name not in medium.options:
            owner = next(m for m in media() if name in m.options)
            said = prefix + SAID.get(name, name).removeprefix("--")
            raise UsageError(f"{said} is for {owner.nouns}, not for {medium.nouns}")


def check_target(medium: Medium, request: Request, prefix: str = "") -> None:
    """Raises UsageError for a target that is another medium's. prefix: of options, "--"."""
    if request.target is None or request.target[0] in [target.name for target in medium.targets]:
        return
    name = request.target[0]
    owner = next(m for m in media() if name in [t.name for t in m.targets])
    own = next((t.name for t in medium.targets), None)
    instead = f"of {medium.nouns}, give {prefix}{own}" if own else f"{medium.nouns} have no targets"
    raise UsageError(f"{prefix}{name} is for {owner.nouns}; {instead}")


def all_measures(action: str) -> tuple[Measure, ...]:
    """Of all media that can do it, each name once."""
    return tuple({m.measures[action].name: m.measures[action] for m in media() if action in m.measures}.values())


def measure_of(medium: Medium, action: str, given: Mapping[str, Any], prefix: str = ""):
    """The one measure that is given, of those by their names, None where none is: numbers as `Medium.sample` takes them. Raises
    UsageError for another medium's, for numbers that are no measure, and where it must be given; UnsupportedError where
    nothing can be drawn. prefix: of options, "--"."""
    own = medium.measures.get(action)
    if own is None:
        raise UnsupportedError(medium.undrawn.get(action, f"no {medium.nouns} can be drawn in this way"))
    known = [measure.name for measure in all_measures(action)]
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in known:
            raise UsageError(f"there is no measure '{name}' (known: {', '.join(known)})")
        if name != own.name:
            raise UsageError(f"{prefix}{name} is not for {medium.nouns}; give {prefix}{own.name} ({own.form})")
    if not given:
        if action != "sample":
            raise UsageError(f"of {medium.nouns}, give {prefix}{own.name} ({own.form})")
        return None
    value = given[own.name]
    numbers = value if isinstance(value, (tuple, list)) else (value,)
    kinds = (int,) if own.whole else (int, float)
    if len(numbers) != own.count or not all(type(n) in kinds and 0 <= n < float("inf") for n in numbers):
        raise UsageError(f"{prefix}{own.name} is {own.form}, numbers of at least 0, not {value!r}")
    if own.count == 1 and not numbers[0]:
        raise UsageError(f"{prefix}{own.name} must be above 0")
    return tuple(numbers) if own.count > 1 else numbers[0]
