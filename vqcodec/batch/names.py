"""Names of outputs. Decided for all sources at once, before any work, and the same whatever their order.

Two outputs collide if their paths are equal but for case or Unicode normalisation, as many file systems see
them, or if one would be a file where another needs a folder.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath


def key_of(path: str) -> str:
    """Equal for paths that a file system may take for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def encoded_names(source: str) -> tuple[str, str]:
    """(short, full) names of the output of `encode`: a.png → a.vq, a.png.vq."""
    return str(PurePosixPath(source).with_suffix(".vq")), source + ".vq"


def decoded_names(source: str, extension: str) -> tuple[str, str]:
    """(short, full) names of the output of `decode`, `extension` without dot: a.vq → a.png, a.vq.png;
    a.png.vq → a.png, a.png.vq.png; a.jpg.vq → a.jpg.png, a.jpg.vq.png."""
    stem = str(PurePosixPath(source).with_suffix(""))
    same = PurePosixPath(stem).suffix.lower() == f".{extension.lower()}"
    return stem if same else f"{stem}.{extension}", f"{source}.{extension}"


def resolve(names: Iterable[tuple[str, str, str]], full: bool = False) -> tuple[dict[str, str], int]:
    """(source, short name, full name) of all sources → (output of each source, how many had a collision).

    Everyone gets the short name. Where names collide, all concerned get the full one; where full names still
    collide (a.png and A.png), all but the first in code point order get '~2', '~3', … before the last extension.
    `full`: nobody gets the short name.
    """
    rows = sorted(names)
    outputs = {source: long if full else short for source, short, long in rows}
    longs = {source: long for source, _, long in rows}
    collided = set()
    while not full:
        clashing = {source for source in _clashing(outputs) if outputs[source] != longs[source]}
        if not clashing:
            break
        collided |= clashing
        outputs.update((source, longs[source]) for source in clashing)
    clashing = sorted(_clashing(outputs))
    taken = {key_of(output) for source, output in outputs.items() if source not in clashing}
    taken |= {key_of(str(parent)) for output in outputs.values() for parent in PurePosixPath(output).parents}
    for source in clashing:
        stem, dot, extension = longs[source].rpartition(".")
        number, output = 1, longs[source]
        while key_of(output) in taken:
            number += 1
            output = f"{stem}~{number}{dot}{extension}"
        taken.add(key_of(output))
        outputs[source] = output
    return outputs, len(collided | set(clashing))


def _clashing(outputs: dict[str, str]) -> set[str]:
    """The sources whose outputs collide with another one."""
    by_key = defaultdict(list)
    for source, output in outputs.items():
        by_key[key_of(output)].append(source)
    folders = {key_of(str(parent)) for output in outputs.values() for parent in PurePosixPath(output).parents}
    return {source for key, sources in by_key.items() if len(sources) > 1 or key in folders for source in sources}
