"""How the constant tables of a model are made, and where the adaptive ones start before training. Floats are allowed here:
a model's file holds the integers that came out."""

from __future__ import annotations

import numpy as np

from .tables import CLASSES, CONTEXTS, INPUTS, LEVELS, MATCHES, ORDER_SETS, STEPS, Tables

_MOST = {0: 30, 1: 20, 2: 10, 3: 6, 4: 5}  # of the commoner bit, by how often there was the rarer one
EDGES = (-5.4, -4.2, -3.3, -2.6, -1.9, -1.2, -0.4, 0.4, 1.2, 1.9, 2.6, 3.3, 4.2, 5.4)  # of levels, logits
_CENTRES = (-6.2, -4.8, -3.7, -2.9, -2.2, -1.5, -0.8, 0.0, 0.8, 1.5, 2.2, 2.9, 3.7, 4.8, 6.2)
_KINDS = ("\n", " ", "aeiou", "bcdfghjklmnpqrstvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", ".,;:!?", "<>/", "\"'",
          "()[]{}", "=-_+*&|#", "".join(map(chr, range(128, 192))), "".join(map(chr, range(192, 256))), "\t\r")


def levels(ones: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """uint8 in 1..30 of float[N]: weights of the texts in which a bit was 1, and 0."""
    count = ones + zeros
    p = (ones + 0.3) / (count + 0.6)
    return (1 + np.digitize(np.log(p / (1 - p)), EDGES) * 2 + (count >= 8)).astype(np.uint8)


def _fits(zeros: int, ones: int) -> bool:
    least = min(zeros, ones)
    return least in _MOST and max(zeros, ones) <= _MOST[least]


def states() -> list[tuple[int, int, int]]:
    """Bit histories: (zeros, ones, the last bit), by their length; the last bit is told where there were both."""
    found = []
    for length in range(_MOST[0] + 1):
        for zeros in range(length + 1):
            ones = length - zeros
            if _fits(zeros, ones):
                found += [(zeros, ones, last) for last in ((0, 1) if zeros and ones else (int(ones > 0),))]
    return found


def next_states() -> np.ndarray:
    """uint8[S,2]: what a history becomes by a 0 or a 1. What speaks against the bit is forgotten in part."""
    known = states()
    index = {state: i for i, state in enumerate(known)}
    return np.array([[index[_after(state, bit)] for bit in (0, 1)] for state in known], np.uint8)


def _after(state: tuple[int, int, int], bit: int) -> tuple[int, int, int]:
    counts = list(state[:2])
    against = counts[1 - bit]
    if against > 2:
        counts[1 - bit] = 2 + (against - 1) // 3 if against < 6 else 3 + (against > 16)
    counts[bit] += 1
    while not _fits(*counts):
        counts[bit if counts[bit] > counts[1 - bit] else 1 - bit] -= 1
    return counts[0], counts[1], bit if min(counts) else int(counts[1] > 0)


def start(keys: np.ndarray, extras: np.ndarray, nodes: np.ndarray) -> Tables:
    """A model that has learnt these nodes and does not yet know what they are worth."""
    domain, p = np.arange(-2048, 2048), (np.arange(4096) + 0.5) / 4096
    known = np.array(states())
    histories = np.empty((LEVELS, len(known)))
    for level in range(LEVELS):
        prior, weight = 0.5, 0.8
        if level:
            prior, weight = 1 / (1 + np.exp(-_CENTRES[min((level - 1) // 2, 14)])), 6.0 if level % 2 == 0 else 2.0
        histories[level] = (known[:, 1] + weight * prior) / (known[:, 0] + known[:, 1] + weight)
    length = np.arange(MATCHES) // 2
    sure = 0.5 + 0.49 * np.minimum(1, 0.5 + length / 20)
    classes = np.zeros(256, np.uint8)
    for i, kind in enumerate(_KINDS):
        classes[list(kind.encode("latin-1"))] = i + 1
    straight = 65536 / (1 + np.exp(-(np.arange(STEPS) * 4096 / (STEPS - 1) - 2048) / 256))
    return Tables(
        keys=keys, extras=extras, nodes=nodes,
        histories=np.tile((histories * 65535).astype(np.uint16), (CONTEXTS, 1, 1)),
        match=(65535 * np.where(np.arange(MATCHES) % 2, sure, 1 - sure)).astype(np.uint16),
        mix=np.full((8, 128 + ORDER_SETS + CLASSES, INPUTS), 6554, np.int32),
        refine=np.tile(np.clip(straight, 1, 65535).astype(np.uint16), (CLASSES, 256, 1)),
        stretch=np.clip(np.round(256 * np.log(p / (1 - p))), -2047, 2047).astype(np.int16),
        squash=np.clip(np.round(65536 / (1 + np.exp(-domain / 256))), 16, 65520).astype(np.uint16),
        next=next_states(), classes=classes)
