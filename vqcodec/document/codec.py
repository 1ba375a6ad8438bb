"""Pages ⇄ records of streams; the only place that knows the order of the stages.

    page ─┬─ two levels ────────────────────── mask ── bilevel ──────────────┬→ record
          └─ grey, colour ─┬─ layers ── mask, and two pictures of a model ───┤
                           └─ picture ── one picture of a model ─────────────┘

Pictures within are complete streams, made and read by the picture codec of the model that they name.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import CorruptStreamError, UnknownModelError, UnsupportedError, UsageError
from ..guard import guarded
from ..indices.quality import SIXTEENTHS
from ..picture import stream as pictures
from ..picture.codec import Codec as PictureCodec
from ..picture.colour import luma
from ..picture.config import ModelConfig
from ..picture.file import Picture
from ..zoo import registry
from ..zoo.config import of_model
from . import layers, stream
from .bilevel import decode_mask, encode_mask
from .config import load
from .judge import worth_layers
from .opening import bodies
from .pages import PageImage

Progress = Callable[[str], None]
MASKS = ("lossless", "clean", "off")
USUAL_DPI = 200  # of a page that does not say


@dataclass(frozen=True)
class Choice:
    """How to encode pages. quality: of the pictures, in their model's scale; mask: of MASKS."""

    quality: float = 1.0
    effort: int | None = None
    mask: str = "lossless"


class Codec:
    """A loaded model. Pictures' models are opened when a page needs one: those that streams name, to encode the default one."""

    def __init__(self, entry: registry.ModelEntry, encoder: bool = False):
        self.entry, self.network, self.encoder = entry, load(entry), encoder
        self.qualities = picture_qualities(entry)
        self._pictures: dict[tuple, PictureCodec] = {}

    # --- pictures within -----------------------------------------------------------------------------------------

    def _picture_encoder(self) -> PictureCodec:
        if not self.encoder:
            raise UnsupportedError(f"model '{self.entry.name}' was opened without its encoder: it cannot encode")
        if () not in self._pictures:
            entry = registry.find_by_name(None, self.entry.path.parent, "image")
            self._pictures[()] = PictureCodec.open(entry, encoder=True)
        return self._pictures[()]

    def _encoded(self, samples: np.ndarray, grey: bool, choice: Choice) -> bytes:
        picture = Picture(np.ascontiguousarray(samples), None, grey)
        return self._picture_encoder().encode(picture, choice.quality, effort=choice.effort).data

    def _decoded(self, data: bytes) -> Picture:
        header = pictures.peek(data)
        key = header.model_id, header.model_hash
        if key not in self._pictures:
            entry = registry.find_by_stream(*key, self.entry.path.parent)
            self._pictures[key] = PictureCodec.open(entry, encoder=False)
        return self._pictures[key].decode(data)

    def _layer(self, samples: np.ndarray, grey: bool, choice: Choice) -> bytes:
        """The bytes of a layer: of one colour, or a stream."""
        low, high = samples.reshape(-1, 3).min(0).astype(int), samples.reshape(-1, 3).max(0).astype(int)
        if (high - low).max() <= FLAT:
            return bytes(np.rint(samples.reshape(-1, 3).mean(0)).astype(np.uint8))
        return self._encoded(samples, grey, choice)

    # --- pages → records -----------------------------------------------------------------------------------------

    @guarded
    def encode_page(self, page: PageImage, choice: Choice, progress: Progress = lambda text: None) -> bytes:
        """The body of a record."""
        height, width = page.samples.shape[:2]
        common = dict(width=width, height=height, dpi=tuple(round(100 * value) for value in page.dpi))
        if page.bilevel:
            clean, inverted = choice.mask == "clean", bool(page.samples.mean() > 0.5)
            mask = layers.cleaned(page.samples) if clean else page.samples
            return stream.pack_page(stream.Page(
                stream.MASK, flags=stream.CLEANED * clean | stream.INVERTED * inverted,
                mask=encode_mask(mask ^ inverted, self.network, progress), **common))
        grey = stream.GREY * page.grey
        dpi = page.dpi[0] or USUAL_DPI
        if choice.mask != "off":
            clean, mask = choice.mask == "clean", layers.find_print(luma(page.samples), dpi)
            mask = layers.cleaned(mask) if clean else mask
            parts = layers.split(page, mask, dpi)
            if worth_layers(page, parts, dpi):
                return stream.pack_page(stream.Page(
                    stream.LAYERS, flags=grey | stream.CLEANED * clean, mask=encode_mask(mask, self.network, progress),
                    below=self._layer(parts.below, page.grey, choice), ink=self._layer(parts.ink, page.grey, choice), **common))
        return stream.pack_page(stream.Page(
            stream.PICTURE, flags=grey, picture=self._encoded(page.samples, page.grey, choice), **common))

    # --- records → pages -----------------------------------------------------------------------------------------

    @guarded
    def decode_page(self, body: bytes, progress: Progress = lambda text: None) -> PageImage:
        """Raises CorruptStreamError, and as the picture codec does."""
        page, parts = self.decode_parts(body, progress)
        if isinstance(parts, layers.Layers):
            return replace(page, samples=layers.joined(parts))
        return page

    @guarded
    def decode_parts(self, body: bytes, progress: Progress = lambda text: None) -> tuple[PageImage, layers.Layers | None]:
        """(page, its layers); where it has some, `samples` of the page are but its mask."""
        found = stream.unpack_page(body)
        dpi, grey = (found.dpi[0] / 100, found.dpi[1] / 100), bool(found.flags & stream.GREY)
        if found.kind == stream.PICTURE:
            header = pictures.peek(found.picture)
            if (header.width, header.height) != (found.width, found.height):
                raise CorruptStreamError("a page's picture is of another size than the page")
            return PageImage(self._decoded(found.picture).rgb, dpi, grey), None
        mask = decode_mask(found.mask, found.height, found.width, self.network, progress)
        if found.kind == stream.MASK:
            return PageImage(mask ^ bool(found.flags & stream.INVERTED), dpi), None
        below, ink = (self._read_layer(layer, found) for layer in (found.below, found.ink))
        return PageImage(mask, dpi, grey), layers.Layers(mask, below, ink)

    def _read_layer(self, layer: bytes, page: stream.Page) -> np.ndarray:
        if len(layer) == 3:
            return np.frombuffer(layer, np.uint8).reshape(1, 1, 3)
        header = pictures.peek(layer)
        if header.width > page.width or header.height > page.height:
            raise CorruptStreamError("a layer is larger than its page")
        return self._decoded(layer).rgb

    # --- index grids ---------------------------------------------------------------------------------------------

    @guarded
    def page_grid(self, body: bytes) -> np.ndarray:
        """int64[G,h,w]: the mask of a page, or of a picture its index grids."""
        found = stream.unpack_page(body)
        if found.kind == stream.PICTURE:
            header = pictures.peek(found.picture)
            entry = registry.find_by_stream(header.model_id, header.model_hash, self.entry.path.parent)
            return PictureCodec.open(entry, encoder=False).decode_grids(found.picture)
        mask = decode_mask(found.mask, found.height, found.width, self.network)
        return (mask ^ bool(found.flags & stream.INVERTED)).astype(np.int64)[None]

    @guarded
    def decode_grids(self, data: bytes) -> list[np.ndarray]:
        """Of each page int64[G,h,w], as `page_grid`."""
        return [self.page_grid(body) for _, body in bodies(self, io.BytesIO(data))]

    @guarded
    def mask_bits(self, page: stream.Page) -> np.ndarray:
        """float32[H,W]: bits that each pixel of a page's mask takes, by the network's probabilities."""
        spent = np.zeros((page.height, page.width), np.float32)
        decode_mask(page.mask, page.height, page.width, self.network, spent=spent)
        return spent

    def checked(self, header: stream.DocumentHeader) -> None:
        """Raises UnsupportedError for a stream of another model."""
        if (header.model_id, header.model_hash) != (self.entry.id, self.entry.hash):
            raise UnsupportedError(f"the stream was made by model {header.model_id}, not by '{self.entry.name}'")


FLAT = 6  # levels by which a layer may vary and is still taken for one colour


def checked_mask(mask: str | None) -> str:
    """Raises UsageError."""
    if mask is None:
        return "lossless"
    if mask not in MASKS:
        raise UsageError(f"masks are one of {', '.join(MASKS)}, not '{mask}'")
    return mask


def sixteenths(choice: Choice) -> int:
    return round((choice.quality - 1) * SIXTEENTHS)


def picture_qualities(entry: registry.ModelEntry) -> int:
    """Of the model that pages' pictures are encoded with; 1 where none is installed."""
    try:
        pictures_entry = registry.find_by_name(None, entry.path.parent, "image")
    except UnknownModelError:
        return 1
    return len(of_model(pictures_entry, ModelConfig).transform.lambdas)
