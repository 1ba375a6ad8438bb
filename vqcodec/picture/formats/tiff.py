"""TIFF files and what is built like them: which of their directories is the picture, and which are camera raws.

A first directory is often a preview: of NewSubfileType bit 0 (reduced), with the picture in a SubIFD or a later
directory. Sources: TIFF 6.0, Adobe PageMaker 6.0 TIFF Technical Notes (SubIFDs), DNG 1.7.
"""

from __future__ import annotations

from dataclasses import dataclass

from .ifd import Directory, TiffStructure

PHOTOMETRIC, SUBFILE = 262, 254
_OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION = 255, 256, 257, 258, 259
_SAMPLES, _PLANAR, _ORIENTATION, _SUB_DIRECTORIES, _DNG_VERSION = 277, 284, 274, 330, 50706
REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_SENSOR = {32803, 34892}  # photometric: colour filter array, linear raw
_RAW_COMPRESSIONS = {32767, 32769, 32770, 34713, 65535}  # ARW, packed, SRW, NEF, PEF
_MOST_DIRECTORIES = 4096


@dataclass(frozen=True)
class Page:
    """One directory with a picture, and whether it is a small copy of another one."""

    directory: Directory
    width: int
    height: int
    reduced: bool
    sensor: bool

    @property
    def pixels(self) -> int:
        return self.width * self.height


@dataclass(frozen=True)
class TiffFile:
    """What a TIFF file has: the page to read, whether there are more of its kind, and the largest preview.

    orientation: of the page or, where it has none, of the first directory. raw: what the page is where it holds samples
    of a camera's sensor, else None. photometric, bits, planar, compression: of the page."""

    structure: TiffStructure
    first: Directory
    page: Page
    several: bool
    preview: Page | None
    raw: str | None
    orientation: int

    def tag(self, number: int, default: int) -> int:
        return self.structure.value(self.page.directory, number, default)

    @property
    def turned_by_pillow(self) -> bool:
        """Whether Pillow, which looks at the page's own tags, knows the orientation."""
        return _ORIENTATION in self.page.directory.entries

    @property
    def photometric(self) -> int:
        return self.tag(PHOTOMETRIC, 0)

    @property
    def bits(self) -> int:
        return self.tag(_BITS, 1)

    @property
    def planar(self) -> bool:
        return self.tag(_PLANAR, 1) == 2 and self.tag(_SAMPLES, 1) > 1

    @property
    def kind(self) -> str:
        """The page in the format's own numbers, for messages about those that cannot be read."""
        return (f"TIFF of {self.tag(_SAMPLES, 1)}×{self.bits} bits, photometric {self.photometric}, "
                f"compression {self.tag(_COMPRESSION, 1)}")


def look(data: bytes) -> TiffFile:
    """Finds the page to read. Raises ValueError where there is none, or the first directory is damaged."""
    structure = TiffStructure(data)
    chain, subs = _pages(structure)
    everything = chain + subs
    if not everything:
        raise ValueError("no directory has a picture")
    full = [page for page in everything if not page.reduced]
    first = chain[0] if chain else everything[0]
    if first.reduced:
        page = max(full or everything, key=lambda each: each.pixels)  # of equal ones the first
    else:  # pages of any size may follow; but what hangs below the first one and is larger is the original of it
        below = [sub for sub in subs if not sub.reduced and sub.pixels > first.pixels]
        page = max(below, key=lambda each: each.pixels, default=first)
    others = [each for each in everything if each.directory.offset != page.directory.offset and each.pixels < page.pixels]
    preview = max((each for each in others if not each.sensor), key=lambda each: each.pixels, default=None)
    head = structure.directory(structure.first)
    orientation = structure.value(page.directory, _ORIENTATION, structure.value(head, _ORIENTATION, 1))
    several = sum(not each.reduced for each in chain) > 1 or (not full and len(chain) > 1)
    return TiffFile(structure, head, page, several, preview, _raw_kind(structure, head, page), orientation)


def _raw_kind(structure: TiffStructure, head: Directory, page: Page) -> str | None:
    data = structure.data
    if page.sensor:
        return "a camera raw file (DNG)" if _DNG_VERSION in head.entries else "a camera raw file"
    if bytes(data[8:11]) == b"CR\x02":
        return "a camera raw file (CR2)"
    return None


def _pages(structure: TiffStructure) -> tuple[list[Page], list[Page]]:
    """Pages of the chain of directories, and those of SubIFDs. A damaged directory ends its chain, unless it is the first."""
    chain, subs, seen, offset = [], [], set(), structure.first
    while offset and offset not in seen and len(seen) < _MOST_DIRECTORIES:
        seen.add(offset)
        try:
            directory = structure.directory(offset)
        except ValueError:
            if len(seen) == 1:
                raise
            break
        chain += _page(structure, directory)
        for below in structure.values(directory, _SUB_DIRECTORIES):
            if below in seen or len(seen) >= _MOST_DIRECTORIES:
                continue
            seen.add(below)
            try:
                subs += _page(structure, structure.directory(below))
            except ValueError:
                continue
        offset = directory.next
    return chain, subs


def _page(structure: TiffStructure, directory: Directory) -> list[Page]:
    """A list of one page, or of none where the directory has no picture or a mask."""
    width, height = structure.value(directory, _WIDTH), structure.value(directory, _HEIGHT)
    kind = structure.value(directory, SUBFILE)
    if not width or not height or kind & _MASK:
        return []
    reduced = bool(kind & REDUCED) or structure.value(directory, _OLD_SUBFILE) == 2
    sensor = (structure.value(directory, PHOTOMETRIC) in _SENSOR
              or structure.value(directory, _COMPRESSION, 1) in _RAW_COMPRESSIONS)
    return [Page(directory, width, height, reduced, sensor)]
