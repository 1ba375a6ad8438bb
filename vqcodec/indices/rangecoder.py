"""indices int[N] + CDFs int32[N, L+1] ⇄ bytes: the 32-bit arithmetic coder of torchac.

`bitstream_spec.md`, section "Arithmetic coder", defines every bit. Two implementations agree on them, so
the choice is one of speed only: torchac's compiled one, and a plain one without compiler or torch.

A CDF row belongs to one symbol: it starts at 0, grows by at least 1 per symbol and ends at 65536. A row
whose alphabet is smaller than L reaches 65536 early and repeats it; those last symbols cannot be coded.
"""

import functools
import os
import stat
import subprocess
import sys
import sysconfig
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import machinery, util
from itertools import chain
from pathlib import Path

import numpy as np

from ..errors import CorruptStreamError, UsageError

PRECISION = 16
TOTAL = 1 << PRECISION  # what the frequencies of a row add up to
MAX_ALPHABET = 32767  # torchac returns symbols as int16
MAX_SHIFT = 18  # bits by which a symbol of frequency 1 may shift the interval

_HALF = 1 << 31
_LISTED = 1 << 10


def encode(symbols: np.ndarray, cdf: np.ndarray, backend: str = "auto") -> bytes:
    """Code symbol i with row i of `cdf`.

    symbols: int[N], each in its row's alphabet. cdf: int32 or uint32 [N, L+1], L <= 32767.
    Returns bytes; b"" for N = 0. Raises ValueError for a symbol or a table that cannot be coded,
    UsageError where `backend` is "torchac" and its extension is not built.
    """
    cdf = _checked(cdf)
    symbols = np.asarray(symbols)
    if symbols.shape != (len(cdf),) or (symbols.size and symbols.dtype.kind not in "iu"):
        raise ValueError(f"symbols must be integers of shape ({len(cdf)},), "
                         f"not {symbols.dtype} of shape {symbols.shape}")
    if symbols.size and (symbols.min() < 0 or symbols.max() >= cdf.shape[1] - 1):
        raise ValueError(f"symbols must lie in 0..{cdf.shape[1] - 2}")
    low, high = _bounds(symbols.astype(np.int64), cdf)
    if (low == high).any():
        i = (low == high).argmax()
        raise ValueError(f"symbol {symbols[i]} at position {i} is padding: its frequency is zero")
    return encode_bounds(low, high, backend)


def encode_bounds(low: np.ndarray, high: np.ndarray, backend: str = "auto") -> bytes:
    """As `encode`, where of each symbol's row only the entries below and above the symbol, int[N] each, are known."""
    extension = _choose(backend)
    if not len(low):
        return b""
    bad = (low < 0) | (low >= high) | (high > TOTAL)
    if bad.any():
        i = bad.argmax()
        raise ValueError(f"the symbol at position {i} cannot be coded: its bounds are {low[i]} and {high[i]}")
    return _encode_plain(low, high) if extension is None else _encode_torchac(extension, low, high)


def decode_segment(data: bytes, cdf: np.ndarray, start: int = 0, backend: str = "auto") -> tuple[np.ndarray, int]:
    """Read the segment that begins at data[start], whatever follows it: (int64[N], where it ends).

    Raises CorruptStreamError unless data[start:end] is what `encode` writes for these symbols, and else
    as `decode` does.
    """
    cdf = _checked(cdf)
    extension = _choose(backend)
    if not len(cdf):
        return np.zeros(0, np.int64), start
    data = bytes(data[start:start + (MAX_SHIFT * len(cdf) + 9) // 8])  # no segment of N symbols is longer
    symbols = None if extension is None else _decode_torchac(extension, data, cdf)
    if symbols is None:
        symbols, length, canonical = _decode_plain(data, cdf)
    else:  # torchac does not tell how far it read
        segment = _encode_torchac(extension, *_bounds(symbols, cdf))
        length, canonical = len(segment), data.startswith(segment)
    _check_end(data, length, canonical)
    return symbols, start + length


def decode_rows(data: bytes, rows: "Rows", start: int = 0) -> tuple[np.ndarray, int]:
    """As `decode_segment`, by the plain coder: (int64[N,G], where the segment ends)."""
    if not rows.symbols.size:
        return rows.symbols, start
    data = bytes(data[start : start + (MAX_SHIFT * rows.symbols.size + 9) // 8])
    decoder = SegmentDecoder(data)
    symbols = decoder.read_rows(rows)
    _check_end(data, decoder.length, decoder.canonical)
    return symbols, start + decoder.length


def _check_end(data: bytes, length: int, canonical: bool) -> None:
    if length > len(data):
        raise CorruptStreamError("the segments are damaged: they end before their symbols do")
    if not canonical:
        raise CorruptStreamError("a segment is damaged: it is not what an encoder writes")


def decode(data: bytes, cdf: np.ndarray, backend: str = "auto") -> np.ndarray:
    """Read len(cdf) symbols, the inverse of `encode`.

    data: bytes, any: bits past its end read as zero, so every input decodes to some symbols of the
    rows' alphabets. Returns int64[N]. Raises ValueError for a bad table and UsageError as `encode` does.
    """
    cdf = _checked(cdf)
    extension = _choose(backend)
    if not len(cdf):
        return np.zeros(0, np.int64)
    data = bytes(data)
    symbols = None if extension is None else _decode_torchac(extension, data, cdf)
    return _decode_plain(data, cdf)[0] if symbols is None else symbols


def _bounds(symbols: np.ndarray, cdf: np.ndarray) -> np.ndarray:
    """int32[2,N]: the cumulative frequencies below and above each symbol."""
    flat, at = cdf.reshape(-1), np.arange(len(cdf)) * cdf.shape[1] + symbols
    return np.stack([flat[at], flat[at + 1]])


def _checked(cdf: np.ndarray) -> np.ndarray:
    """cdf int32 or uint32 [N, L+1] -> the same as C-contiguous int32, or ValueError."""
    cdf = np.asarray(cdf)
    if cdf.dtype not in (np.int32, np.uint32) or cdf.ndim != 2 or not 2 <= cdf.shape[1] <= MAX_ALPHABET + 1:
        raise ValueError(f"a CDF must be int32 or uint32 of shape [N, L+1] with 1 <= L <= {MAX_ALPHABET}, "
                         f"not {cdf.dtype} of shape {cdf.shape}")
    cdf = np.ascontiguousarray(cdf).view(np.int32)
    if (cdf[:, 0] != 0).any() or (cdf[:, -1] != TOTAL).any():
        raise ValueError(f"every CDF row must start at 0 and end at {TOTAL}")
    # A table that does not increase would divide by zero inside the compiled coder and end the process.
    for start in range(0, len(cdf), 1024):  # blocks: the temporaries stay small and in the cache
        left, right = cdf[start:start + 1024, :-1], cdf[start:start + 1024, 1:]
        grows = right > left
        if not (grows.all() or (grows | ((left == TOTAL) & (right == TOTAL))).all()):
            raise ValueError(f"a CDF row must increase by at least 1 per symbol up to {TOTAL}")
    return cdf


# Floats are faster than integers of more than 30 bits. They hold span · entry / 65536 exactly, in 48 bits; what is taken from it makes
# the nearest integer the one below, and never is there a tie; adding and taking away 1.5 · 2^52 rounds to the nearest integer.
_PART, _LESS, _WHOLE = 2.0**-PRECISION, 0.5 - 2.0**-17, 1.5 * 2.0**52

# The plain coder. Instead of `high` and `value` it keeps span = high - low + 1 and offset = value - low: every
# renormalisation step, of whichever of the three kinds, doubles both of them. It doubles low too, less 0, 2^31 or 2^32: so
# after the last step, where low < 2^31 <= high, low is what plain doubling gives, less its bits from 2^31 on. Those bits,
# added up with their carries, are the output: a pending bit is a 1, which a carry makes a 0 and the 0 before it a 1.

def _steps(low: int, span: int) -> int:
    """How often low and high = low + span - 1 are renormalised: once for each leading bit on which they agree, then, behind
    the first on which they do not, for each that is 1 in low and 0 in high."""
    high = low + span - 1
    rest = (1 << (low ^ high).bit_length() >> 1) - 1
    return 31 - ((high | ~low) & rest).bit_length()


def _enough(low: int, span: int) -> int:
    """Of an interval that needs no renormalisation: none does that lies in it and is longer than this."""
    high = low + span - 1
    return max(high - _HALF + 1, _HALF - low, min(high - (_HALF >> 1) + 1, 3 * (_HALF >> 1) - low))


def _encode_plain(lows: np.ndarray, highs: np.ndarray) -> bytes:
    """Cumulative bounds int[N], int[N] of the symbols -> bytes."""
    low, span = 0, 1 << 32
    out, bits, n_bits = bytearray(), 0, 1  # `bits`: the last n_bits, not yet in `out`, and perhaps a carry
    for c_low, c_high in zip(lows.tolist(), highs.tolist()):
        bottom = span * c_low >> PRECISION
        span = (span * c_high >> PRECISION) - bottom
        low += bottom
        if span > _HALF:  # then low < 2^31 <= high, and no quarter holds both: nothing to do
            continue
        high = low + span - 1  # as `_steps`; a call takes as long as all else here
        steps = 31 - ((high | ~low) & (1 << (low ^ high).bit_length() >> 1) - 1).bit_length()
        if not steps:
            continue
        low <<= steps
        span <<= steps
        bits = (bits << steps) + (low >> 31)
        low &= _HALF - 1
        n_bits += steps
        if n_bits >= 256:
            _move(bits >> (n_bits & 7), n_bits >> 3, out)
            n_bits &= 7
            bits &= (1 << n_bits) - 1
    bits = 2 * bits + (1 if low < _HALF >> 1 else 2)
    n_bits += 1
    _move(bits << (-n_bits & 7), (n_bits + 7) // 8, out)
    return bytes(out)


def _move(value: int, count: int, out: bytearray) -> None:
    """Appends a number of `count` bytes; its carry goes to those before."""
    if value >> 8 * count:
        value -= 1 << 8 * count
        i = len(out) - 1
        while out[i] == 255:
            out[i] = 0
            i -= 1
        out[i] += 1
    out += value.to_bytes(count, "big")


@dataclass(frozen=True)
class Rows:
    """Those of N·G symbols, of which most are as good as certain: of these there is a guess, and a row only where it was wrong.

    symbols int64[N,G], low, high int32[N,G]: the guesses and their bounds, `high` 0 where there is none; tables: for each group
    int32[k,size+1], the rows of those without, as N goes; row(n, group): that of any, int32[size+1]."""

    symbols: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tables: list[np.ndarray]
    row: Callable[[int, int], np.ndarray]


def _parts(entries: np.ndarray) -> Iterator[float]:
    """Those of rows, divided by 65536. Few exist at a time: they stay in the cache."""
    flat = entries.ravel()
    return chain.from_iterable((flat[i : i + _LISTED] * _PART).tolist() for i in range(0, flat.size, _LISTED))


class SegmentDecoder:
    """The plain coder, reading one segment that begins at data[0], part by part: its rows may depend on the symbols before them."""

    def __init__(self, data: bytes):
        self.data, self.low, self.span, self.shifts = data, 0, 1 << 32, 0
        self.offset, self.position = int.from_bytes(data[:4].ljust(4, b"\0"), "big"), 4
        self.bits, self.n_bits = 0, 0  # `bits`: n_bits that were fetched and not yet shifted into `offset`
        self.any = False

    def read(self, cdf: np.ndarray) -> np.ndarray:
        """The next symbols int64[N], of int32 or uint32 [N, L+1]. Raises ValueError for a bad table."""
        return self.read_checked(_checked(cdf))

    def read_checked(self, cdf: np.ndarray) -> np.ndarray:
        n, width = cdf.shape
        nothing = np.zeros((n, 1), np.int64)
        return self.read_rows(Rows(nothing, nothing, nothing, [cdf], lambda n, group: cdf[n]))[:, 0]

    def read_rows(self, rows: Rows) -> np.ndarray:
        """The next symbols int64[N,G]."""
        symbols, groups = rows.symbols.copy(), len(rows.tables)
        tables = [array("i", np.ascontiguousarray(table, np.intc).tobytes()) for table in rows.tables]
        widths, starts = [table.shape[1] for table in rows.tables], [0] * groups
        data, others, found, shifts = self.data, [], [], self.shifts
        position, bits, n_bits, value = self.position, self.bits, self.n_bits, self.low + self.offset
        part, whole, less, half = _PART, _WHOLE, _LESS, float(_HALF)
        span, offset, enough = float(self.span), float(self.offset), half
        for i, below, above in zip(range(symbols.size), _parts(rows.low), _parts(rows.high)):
            bottom = span * below - less + whole - whole
            top = span * above - less + whole - whole
            if not bottom <= offset < top:
                group = i % groups
                if above:
                    row, start, width = rows.row(i // groups, group).tolist(), 0, widths[group]
                else:
                    row, start, width = tables[group], starts[group], widths[group]
                    starts[group] = start + width
                count = int((offset * 65536.0 + 65535.0) / span)  # no quotient is so near below a whole number that it is rounded up
                end = bisect_right(row, count, start + 1, start + width - 1)
                others.append(i)
                found.append(end - 1 - start)
                bottom = span * (row[end - 1] * part) - less + whole - whole
                top = span * (row[end] * part) - less + whole - whole
            span = top - bottom
            offset -= bottom
            if span > enough:
                continue
            size, ahead = int(span), int(offset)
            low = value - ahead
            shift = _steps(low, size)
            if not shift:
                enough = _enough(low, size)
                continue
            low = low << shift & (_HALF - 1)
            shifts += shift
            if n_bits < shift:  # a frequency of 1 shifts by 18: 32 bits always suffice
                bits = bits << 32 | int.from_bytes(data[position:position + 4].ljust(4, b"\0"), "big")
                position += 4
                n_bits += 32
            n_bits -= shift
            ahead = ahead << shift | bits >> n_bits
            bits &= (1 << n_bits) - 1
            value = low + ahead
            span, offset, enough = float(size << shift), float(ahead), half
        self.span, self.offset, self.position, self.bits, self.n_bits = int(span), int(offset), position, bits, n_bits
        self.low, self.shifts, self.any = value - self.offset, shifts, self.any or symbols.size > 0
        symbols.reshape(-1)[others] = found
        return symbols

    @property
    def length(self) -> int:
        """Bytes of the segment, if it ends here."""
        return (self.shifts + 9) // 8 if self.any else 0

    @property
    def canonical(self) -> bool:
        """Whether these bytes are what an encoder writes."""
        # Of the bits written all but the last two have left the register; those two, 01 or 10, and the padding to a
        # whole byte lead it now (pending ones make no difference: see the specification).
        rest = 8 * self.length - self.shifts
        return not self.any or (self.low + self.offset) >> (32 - rest) == (1 if self.low < _HALF >> 1 else 2) << (rest - 2)


def _decode_plain(data: bytes, cdf: np.ndarray) -> tuple[np.ndarray, int, bool]:
    """data: bytes, cdf: checked int32[N, L+1] -> (int64[N], bytes of the segment, whether they are canonical)."""
    decoder = SegmentDecoder(data)
    return decoder.read_checked(cdf), decoder.length, decoder.canonical


class Decoder:
    """As `_decode_plain`, one symbol after the other, for rows that depend on the symbols before them."""

    def __init__(self, data: bytes):
        self.data, self.low, self.span, self.shifts = data, 0, 1 << 32, 0
        self.offset = int.from_bytes(data[:4].ljust(4, b"\0"), "big")

    def symbol(self, row) -> int:
        """The next one, of a row of integers that rise from 0 to 65536."""
        above = bisect_right(row, ((self.offset << PRECISION) + TOTAL - 1) // self.span, 1, len(row) - 1)
        bottom = self.span * row[above - 1] >> PRECISION
        span = (self.span * row[above] >> PRECISION) - bottom
        low, self.offset = self.low + bottom, self.offset - bottom
        shift = 0 if span > _HALF else _steps(low, span)
        if shift:
            first, skipped = divmod(32 + self.shifts, 8)
            ahead = int.from_bytes(self.data[first : first + 4].ljust(4, b"\0"), "big")
            self.offset = self.offset << shift | ahead >> (32 - skipped - shift) & ((1 << shift) - 1)
            self.shifts += shift
            low = low << shift & (_HALF - 1)
        self.low, self.span = low, span << shift
        return above - 1

    def finish(self) -> None:
        """Raises CorruptStreamError unless the data are what an encoder writes for these symbols."""
        length = (self.shifts + 9) // 8
        rest = 8 * length - self.shifts
        end = (self.low + self.offset) >> (32 - rest)
        if length != len(self.data) or end != (1 if self.low < _HALF >> 1 else 2) << (rest - 2):
            raise CorruptStreamError("coded labels are damaged: they are not what an encoder writes")


# The compiled coder.

def torchac_ready() -> bool:
    """Whether torchac's compiled extension is there and works. Imports torch, never compiles."""
    return _extension() is not None


def build_torchac() -> bool:
    """Compile torchac's extension into torch's extension cache (about a minute), unless it is there.

    Returns whether it can be used now: False without a compiler, ninja or torchac. Prints nothing.
    """
    if torchac_ready():
        return True
    # Importing torchac compiles it: in a process of its own, so that it prints nothing here and finds the
    # ninja beside this Python. It waits without end on the lock of a killed build: hence the timeout.
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    code = "import sys; sys.path = [p for p in sys.path if p]; import torchac"  # nothing from the current folder
    try:
        _cache_folder()
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PATH": path},
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False)
    except (OSError, LookupError, subprocess.SubprocessError):
        return False
    return torchac_ready()


def _choose(backend: str):
    """The extension to use, None for the plain coder; ValueError or UsageError."""
    if backend not in ("auto", "torchac", "plain"):
        raise ValueError(f"backend must be auto, torchac or plain, not {backend!r}")
    # Importing torch takes longer than the plain coder takes for a picture: "auto" does not begin it.
    if backend == "plain" or (backend == "auto" and "torch" not in sys.modules):
        return None
    extension = _extension()
    if extension is None and backend == "torchac":
        raise UsageError("torchac's extension is not built: call build_torchac() or use another backend")
    return extension


def _extension():
    """torchac's compiled module where it was built for this torch, else None. Never compiles or waits."""
    try:
        return _load(*_built_library())
    except Exception:  # no torch, no cache, nothing in it, a library that does not load or work, ...
        return None


def _cache_folder() -> Path:
    """Where torch builds extensions. Raises LookupError where that depends on the current folder.

    The location is that of torch.utils.cpp_extension, which cannot be asked: it creates the directory.
    """
    import torch
    from torch import _appdirs

    root = os.environ.get("TORCH_EXTENSIONS_DIR")
    if root is None:
        hip, cuda = getattr(torch.version, "hip", None), torch.version.cuda
        accelerator = f"rocm{hip}" if hip else f"cu{cuda}" if cuda else "cpu"
        python = f"py{sys.version_info.major}{sys.version_info.minor}{getattr(sys, 'abiflags', '')}"
        root = os.path.join(_appdirs.user_cache_dir(appname="torch_extensions"), f"{python}_{accelerator}".replace(".", ""))
    if not os.path.isabs(root):  # XDG_CACHE_HOME empty or relative, or no home folder
        raise LookupError("the cache's folder is not an absolute path")
    return Path(os.path.realpath(root))


def _built_library() -> tuple[str, int]:
    """(path, time of the build) of the extension; raises where there is none for this torch that can be trusted."""
    import torch

    folder = Path(os.path.realpath(_cache_folder() / "torchac_backend"))
    library = folder / ("torchac_backend.pyd" if os.name == "nt" else "torchac_backend.so")
    if not (_trusted(library) and _trusted(folder) and all(map(_closed, folder.parents))):
        raise LookupError("others than this user could have written it")
    torch_folder = Path(torch.__file__).parent
    built = library.stat().st_mtime_ns
    # The cache knows neither which environment's torch a library was built for nor that torch's version.
    if (str(torch_folder / "include") not in (folder / "build.ninja").read_text()
            or built < (torch_folder / "version.py").stat().st_mtime_ns or (folder / "lock").exists()):
        raise LookupError("built for another or an older torch, or being built just now")
    return str(library), built


def _trusted(path: Path) -> bool:
    """Whether a file or folder, itself no link, is this user's, or root's, and nobody else may write there."""
    if not hasattr(os, "geteuid"):  # Windows: profiles are their users' own
        return True
    status = path.lstat()
    private = status.st_gid == os.getegid() == os.geteuid()  # a group of this user alone, as many systems have it
    writers = stat.S_IWOTH if private else stat.S_IWOTH | stat.S_IWGRP
    return (status.st_uid in (os.geteuid(), 0) and not stat.S_ISLNK(status.st_mode)
            and not status.st_mode & writers)


def _closed(folder: Path) -> bool:
    """Whether not everybody may replace what is in a folder above."""
    mode = folder.stat().st_mode
    return not hasattr(os, "geteuid") or not mode & stat.S_IWOTH or bool(mode & stat.S_ISVTX)


@functools.lru_cache(maxsize=4)
def _load(library: str, built: int):
    """Import a library and try it once; None where it does not work. `built` tells rebuilds apart."""
    loader = machinery.ExtensionFileLoader("torchac_backend", library)
    module = util.module_from_spec(util.spec_from_file_location(loader.name, library, loader=loader))
    loader.exec_module(module)
    bounds = np.array([0, 1, 49152]), np.array([49152, 2, TOTAL])
    return module if _encode_torchac(module, *bounds) == _encode_plain(*bounds) else None


def _encode_torchac(extension, lows: np.ndarray, highs: np.ndarray) -> bytes:
    """As `_encode_plain`: the coder sees alphabets of two, made of the bounds. No copy of the whole table,
    and padding needs no care, though torchac takes 65536 as the upper bound of the last symbol only.
    """
    import torch

    last = (highs == TOTAL).astype(np.int16)
    rows = np.zeros((len(lows), 3), np.uint16)  # symbol 0 is [row 0, row 1), symbol 1 [row 1, 65536)
    rows[:, 0] = lows
    rows[:, 1] = np.where(last, lows, highs)
    return extension.encode_cdf(torch.from_numpy(rows.view(np.int16)), torch.from_numpy(last))


def _decode_torchac(extension, data: bytes, cdf: np.ndarray) -> np.ndarray | None:
    """As `_decode_plain`, or None for a table that torchac cannot search (see `_slot_symbols`)."""
    import torch

    length = cdf.shape[1] - 1
    rows = cdf.astype(np.uint16)  # 65536 wraps to 0, as torchac wants it in the last column
    sizes = (cdf == TOTAL).argmax(axis=1)
    if sizes.min() < (length - 1).bit_length() or cdf.size > np.iinfo(np.int32).max:  # its indices are int
        return None
    groups = [(np.flatnonzero(sizes == size), _slot_symbols(length, int(size)))
              for size in np.unique(sizes[sizes < length])]
    for members, order in groups:
        for block in np.array_split(members, len(members) // 1024 + 1):  # each stays in the cache
            rows[block] = rows[block].take(np.append(order, length), axis=1)
    symbols = extension.decode_cdf(torch.from_numpy(rows.view(np.int16)), data).numpy().astype(np.int64)
    for members, order in groups:
        symbols[members] = order[symbols[members]]
    return symbols


def _slot_symbols(length: int, size: int) -> np.ndarray:
    """The symbol, int[length], for each slot of a torchac row that holds `size` < length symbols.

    torchac takes 65536 as the upper bound of the last slot only, so padding cannot stay behind the
    symbols; it moves in between, as slots that repeat the lower bound of the next symbol. The binary
    search never ends in one of them if it always meets that next symbol's slot first. That holds where
    the symbols' slots are closed towards the root of the search tree and include the last slot: the first
    `size` nodes of a walk that takes right children first, if they are ceil(log2(length)) or more.
    """
    walk, ranges = [], [(0, length)]
    while ranges:
        left, right = ranges.pop()
        middle = (left + right) // 2
        if middle > left:
            walk.append(middle)
            ranges += [(left, middle), (middle, right)]
    kept = np.sort(walk[:size])
    return np.searchsorted(kept, np.arange(length))
