"""The tables of a text model ⇄ prior.safetensors. All of it integers; `bitstream_spec.md`, section "Text", says what they mean.

    keys, extras, nodes     what was learnt of texts beforehand: nibble contexts → levels of 15 nodes
    histories, match, mix, refine     how what a text shows, and what was learnt, become a probability: adaptive, these are
                                      where they start
    stretch, squash, next, classes     constants
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass, fields

import numpy as np

from ..errors import InputError

CONTEXTS = 10  # of nibbles: orders 1 to 6, word, two words, two bytes but the last, above and last
LEARNT = 8  # the first of them are in `nodes`
INPUTS = CONTEXTS + 2  # and the match model's, and a constant
LEVELS = 32  # 0: nothing known
ORDER_SETS, CLASSES, MATCHES, STEPS = 24, 16, 48, 24
KEY_BITS, EXTRA_BITS = 26, 3
MAX_GROUPS = 1 << 22
WEIGHT = 1 << 21  # the largest weight
_PACKED = {"gaps": (1, 0), "extras": (1, 0), "nodes": (16, 4)}  # bytes of a group, and bits of a position in them


@dataclass(frozen=True)
class Tables:
    """keys: int64[N], ascending, below 2^26; extras: uint8[N] in 0..7; nodes: uint8[N,15] in 0..31.

    histories: uint16[10,32,S], S the number of states in `next`, uint8[S,2]; match: uint16[48]; mix: int32[8, 128 + 40, 12];
    refine: uint16[16,256,24]; stretch: int16[4096]; squash: uint16[4096]; classes: uint8[256]."""

    keys: np.ndarray
    extras: np.ndarray
    nodes: np.ndarray
    histories: np.ndarray
    match: np.ndarray
    mix: np.ndarray
    refine: np.ndarray
    stretch: np.ndarray
    squash: np.ndarray
    next: np.ndarray
    classes: np.ndarray

    def __post_init__(self):
        groups, states = len(self.keys), len(self.next)
        wanted = dict(keys=(np.int64, (groups,), 0, (1 << KEY_BITS) - 1), extras=(np.uint8, (groups,), 0, 7),
                      nodes=(np.uint8, (groups, 15), 0, LEVELS - 1),
                      histories=(np.uint16, (CONTEXTS, LEVELS, states), 0, 65535), match=(np.uint16, (MATCHES,), 0, 65535),
                      mix=(np.int32, (8, 128 + ORDER_SETS + CLASSES, INPUTS), -WEIGHT, WEIGHT),
                      refine=(np.uint16, (CLASSES, 256, STEPS), 0, 65535), stretch=(np.int16, (4096,), -2047, 2047),
                      squash=(np.uint16, (4096,), 1, 65535), next=(np.uint8, (states, 2), 0, states - 1),
                      classes=(np.uint8, (256,), 0, CLASSES - 1))
        for name, (dtype, shape, least, most) in wanted.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != shape:
                raise InputError(f"a text model: {name} is {array.dtype} of shape {array.shape}, not of {shape}")
            if array.size and not least <= array.min() <= array.max() <= most:
                raise InputError(f"a text model: {name} has values that are not in {least}..{most}")
        if groups > MAX_GROUPS or not 1 <= states <= 256 or (groups > 1 and np.diff(self.keys).min() < 1):
            raise InputError("a text model: its keys do not ascend, or are too many")


def to_tensors(tables: Tables) -> dict[str, np.ndarray]:
    tensors = {f.name: getattr(tables, f.name) for f in fields(Tables) if f.name not in ("keys", "extras", "nodes")}
    gaps = np.diff(tables.keys, prepend=0)
    extra = gaps // 255  # so many bytes 255, then the rest
    ends = np.cumsum(extra + 1)
    coded = np.full(ends[-1] if len(ends) else 0, 255, np.uint8)
    coded[ends - 1] = gaps % 255
    for name, data in (("gaps", coded), ("extras", tables.extras), ("nodes", np.pad(tables.nodes, ((0, 0), (1, 0))))):
        bits = _PACKED[name][1]
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": bits, "pb": bits}]
        tensors[name] = np.frombuffer(lzma.compress(data.tobytes(), lzma.FORMAT_XZ, filters=filters), np.uint8)
    return tensors


def from_tensors(tensors: dict[str, np.ndarray], where: str) -> Tables:
    """Raises InputError for what is no such file."""
    names = {f.name for f in fields(Tables)} - {"keys"} | {"gaps"}
    if set(tensors) != names:
        raise InputError(f"{where}: other tensors than a text model has: {', '.join(sorted(set(tensors) ^ names))[:80]}")
    packed = {name: np.frombuffer(_unpacked(tensors[name], size * MAX_GROUPS, where), np.uint8)
              for name, (size, _) in _PACKED.items()}
    gaps = packed["gaps"]
    keys = np.cumsum(gaps, dtype=np.int64)[gaps != 255]
    if packed["nodes"].size != 16 * len(keys):
        raise InputError(f"{where}: the nodes are not those of the keys")
    rest = {name: tensors[name] for name in names - set(_PACKED)}
    return Tables(keys=keys, extras=packed["extras"], nodes=packed["nodes"].reshape(-1, 16)[:, 1:], **rest)


def _unpacked(tensor: np.ndarray, most: int, where: str) -> bytes:
    try:
        reader = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 28)
        data = reader.decompress(np.ascontiguousarray(tensor, np.uint8).tobytes(), most + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise InputError(f"{where}: damaged ({error})") from None
    if len(data) > most or not reader.eof:
        raise InputError(f"{where}: more than a text model may have")
    return data
