"""Texts → a model: what `vqcodec train text` does (docs/training.md).

Two steps. `learn` counts in how many pieces of text each byte follows each context, and keeps of contexts and bytes those of
several pieces. `tune` reads other texts as the codec does, each as if it were alone, and keeps what adapts meanwhile: what a
history, beside what was learnt, is worth, and the weights of mixing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from . import constants, hashing
from .hashing import Learnt
from .mixing import _LETTER, Lanes, State
from .tables import LEARNT, WEIGHT, Tables, to_tensors

PIECE = 20000  # bytes; a longer text is several pieces
THRESHOLDS = (1, 2, 3, 5, 8, 11, 6, 9)  # pieces in which a byte must have followed a context of that kind
GROUPS = 2_280_000  # nibble contexts: 7.8 MB
_U = np.uint32


@dataclass(frozen=True)
class Stage:
    """Of `tune`: texts are cut to `length` bytes, `lanes` of them are read side by side, `batches` times."""

    length: int
    lanes: int
    batches: int
    rate: int = 2
    history_shift: int = 6


STAGES = (Stage(4096, 64, 1, 4, 4), Stage(8192, 64, 2, 2, 5), Stage(16384, 64, 1), Stage(3000, 96, 3), Stage(6000, 64, 2, 2, 7))


def learn(texts: Sequence[bytes], thresholds: Sequence[int] = THRESHOLDS, most: int = GROUPS) -> Tables:
    """most: of nibble contexts; the more frequent ones are kept."""
    pieces = [text[at : at + PIECE] for text in texts for at in range(0, len(text), PIECE)]
    data = np.frombuffer(b"".join(pieces), np.uint8)
    lengths = np.array([len(piece) for piece in pieces])
    piece = np.repeat(np.arange(len(pieces), dtype=np.uint64), lengths)
    found = [_nodes(hashes, data, piece, threshold)
             for hashes, threshold in zip(_hashes(pieces, data, lengths), thresholds, strict=True)]
    hashes, nodes, weight = (np.concatenate(part) for part in zip(*found))
    keys = (hashes >> _U(6)).astype(np.int64)
    order = np.lexsort((-weight, keys))  # of two groups with one key the more frequent
    order = order[np.diff(keys[order], prepend=-1) > 0]
    order = order[np.argsort(-weight[order], kind="stable")[:most]]
    order = order[np.argsort(keys[order])]
    return constants.start(keys[order], (hashes[order] >> _U(3) & _U(7)).astype(np.uint8), nodes[order])


def _hashes(pieces, data: np.ndarray, lengths: np.ndarray) -> Iterator[np.ndarray]:
    """uint32[N] for each kind of context that is learnt: its hash before each byte."""
    ends = np.cumsum(lengths)
    within = np.arange(len(data)) - np.repeat(ends - lengths, lengths)
    last, before = np.zeros(len(data), np.uint32), np.zeros(len(data), np.uint32)
    for back in range(1, 9):
        shifted = np.concatenate([np.zeros(back, np.uint8), data[:-back]])
        byte = np.where(within >= back, shifted, 0).astype(np.uint32)
        into = last if back <= 4 else before
        into |= byte << _U(8 * ((back - 1) % 4))
    word, word_before = _words(data, lengths)
    zero = np.zeros(1 << 20, np.uint32)
    for kind in range(LEARNT):
        out = np.empty(len(data), np.uint32)
        for at in range(0, len(data), 1 << 20):
            part = slice(at, min(len(data), at + (1 << 20)))
            out[part] = hashing.contexts(last[part], before[part], word[part], word_before[part],
                                         zero[: part.stop - at])[kind]
        yield out


def _words(data: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of words as `Lanes` has them before each byte; all pieces side by side."""
    order = np.argsort(-lengths, kind="stable")
    starts = (np.cumsum(lengths) - lengths)[order]
    word, before = np.zeros(len(data), np.uint32), np.zeros(len(data), np.uint32)
    now, earlier = np.zeros(len(starts), np.uint32), np.zeros(len(starts), np.uint32)
    sizes = -lengths[order]
    for step in range(int(lengths.max())):
        count = int(np.searchsorted(sizes, -step))  # longer than `step`
        at = starts[:count] + step
        now, earlier = now[:count], earlier[:count]
        word[at], before[at] = now, earlier
        letter = _LETTER.take(data[at])
        earlier = np.where((letter == 0) & (now != 0), now, earlier)
        now = np.where(letter == 0, _U(0), (now + letter) * hashing.LETTER)
    return word, before


def _runs(values: np.ndarray) -> np.ndarray:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))


def _nodes(hashes: np.ndarray, data: np.ndarray, piece: np.ndarray, threshold: int
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(finished hashes uint32[N], levels uint8[N,15], weights) of the groups of one kind of context."""
    keys = hashes.astype(np.uint64) << np.uint64(24) | data.astype(np.uint64) << np.uint64(16) | piece & np.uint64(0xFFFF)
    keys.sort()
    starts = _runs(keys)
    times = np.diff(starts, append=len(keys))
    keys = keys[starts] >> np.uint64(16)
    starts = _runs(keys)
    weight = np.add.reduceat(np.sqrt(np.minimum(times, 4)), starts)  # a piece that repeats itself tells little of others
    kept = np.diff(starts, append=len(keys)) >= threshold
    keys = keys[starts]
    context, byte = keys >> np.uint64(8), (keys & np.uint64(255)).astype(np.int64)
    starts = _runs(context)
    index = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(context)))
    good = np.zeros(len(starts), bool)
    good[index[kept]] = True
    chosen, hashes = good[index], context[starts[good]].astype(np.uint32)
    index, byte, weight, kept = (np.cumsum(good) - 1)[index[chosen]], byte[chosen], weight[chosen], kept[chosen]
    high = _levels(index, byte >> 4, weight, kept, len(hashes))
    second, group = np.unique(index * 16 + (byte >> 4), return_inverse=True)
    low = _levels(group, byte & 15, weight, kept, len(second))
    below = hashes[second // 16] + (second % 16 + 16).astype(np.uint32) * hashing.NIBBLE
    found = np.concatenate([hashes, below]), np.concatenate([high[0], low[0]]), np.concatenate([high[1], low[1]])
    used = found[1].any(1)
    return hashing.finish(found[0][used]), found[1][used], found[2][used]


def _levels(group: np.ndarray, nibble: np.ndarray, weight: np.ndarray, kept: np.ndarray, count: int):
    ones, zeros, told = np.zeros(count * 16), np.zeros(count * 16), np.zeros(count * 16, bool)
    for bit in range(4):
        node, value = group * 16 + ((nibble | 16) >> 4 - bit), nibble >> 3 - bit & 1
        ones += np.bincount(node, weight * value, count * 16)
        zeros += np.bincount(node, weight * (1 - value), count * 16)
        told[node[kept]] = True
    level = np.where(told, constants.levels(ones, zeros), 0).astype(np.uint8)
    return level.reshape(-1, 16)[:, 1:], (ones + zeros).reshape(-1, 16)[:, 1]


def tune(tables: Tables, texts: Sequence[bytes], stages: Sequence[Stage] = STAGES, seed: int = 0,
         say: Callable[[str], None] = print) -> Tables:
    learnt, state, choice = Learnt(tables), State(tables), random.Random(seed)
    for stage in stages:
        state.rate, state.history_shift = stage.rate, stage.history_shift
        for _ in range(stage.batches):
            batch = []
            while len(batch) < stage.lanes:
                text = choice.choice(texts)
                at = choice.randrange(max(1, len(text) - stage.length // 2))
                batch.append(text[at if choice.random() < 0.5 else 0 :][: stage.length])
            say(f"{stage}: {_read(tables, learnt, state, batch):.4f} bits a byte")
    return replace(tables, histories=state.histories.reshape(tables.histories.shape).astype(np.uint16),
                   match=state.match[:-1].astype(np.uint16), mix=np.clip(state.mix, -WEIGHT, WEIGHT).astype(np.int32),
                   refine=state.refine.reshape(tables.refine.shape).astype(np.uint16))


def _read(tables: Tables, learnt: Learnt, state: State, texts: list[bytes]) -> float:
    """Bits a byte, by the way: each text in a lane with contexts of its own."""
    texts = sorted(texts, key=len, reverse=True)
    lengths = np.array([len(text) for text in texts])
    bits = np.unpackbits(np.frombuffer(b"".join(texts), np.uint8)).reshape(-1, 8).astype(np.int64)
    lanes, spent = Lanes(tables, learnt, state, np.cumsum(lengths) - lengths, int(lengths.sum()), salt=True), 0.0
    for step in range(int(lengths[0])):
        if (count := int((lengths > step).sum())) < len(lanes.at):
            lanes.narrow(count)
        lanes.begin()
        for bit in range(8):
            ones, found = lanes.probability(), bits[lanes.at, bit]
            spent -= np.log2(np.where(found, ones, 65536 - ones) / 65536).sum()
            lanes.update(found)
    return spent / lengths.sum()


def export(tables: Tables, folder: Path) -> None:
    """The files of a model, all but its card."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    files = {"prior.safetensors": save(to_tensors(tables)), "decoder.safetensors": save({}), "encoder.safetensors": save({}),
             "codebook.safetensors": save({"codebook": np.arange(256, dtype=np.uint8)}),
             "config.toml": b'kind = "context mixing"\n'}
    for name, data in files.items():
        (folder / name).write_bytes(data)


def texts(folders: Sequence[Path]) -> list[bytes]:
    """Of all files below `folders` that are not empty, by their paths. Raises InputError."""
    found = []
    for folder in map(Path, folders):
        if not folder.exists():
            raise InputError(f"{folder}: no such folder")
        paths = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
        try:
            found += [path.read_bytes() for path in paths]
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from None
    return [text for text in found if text]
