"""`python -m vqcodec.picture.pack DIR... --out FOLDER --megabytes 48`: pictures to train on → a folder that is small enough to
travel to another machine: the same pictures, no larger than they may be for all to fit."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from PIL import Image

from ..errors import InputError, UsageError, VqcodecError
from .crops import find_pictures, opened

SIDES = (1536, 1280, 1088, 928, 800, 672, 576, 512)  # tried one after the other; smaller pictures stay as they are
QUALITY = 90


def pack(directories, out: Path, megabytes: float) -> int:
    """Writes all pictures below `directories` into `out`, WebP of the largest of SIDES with which they fit, and returns that side.
    Their names are kept, since the ones set aside for validation are chosen by them; where several have one name, all but the first
    get a number. Raises InputError where there are no pictures, for one that cannot be read or written, UsageError if they do not
    fit."""
    paths = find_pictures(directories)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: {error.strerror}") from None
    for side in SIDES:
        left, names = megabytes * 1e6, Counter()
        for path in paths:
            number = names[path.name]
            names[path.name] += 1
            left -= write(path, out / f"{path.name}{f'.{number}' if number else ''}.webp", side)
            if left < 0:
                break
        else:
            return side
    raise UsageError(f"{len(paths)} pictures do not fit into {megabytes:g} MB")


def write(path: Path, target: Path, side: int) -> int:
    """Bytes of the picture of `side` pixels at most. Raises InputError."""
    with opened(path) as image:
        image = image.convert("RGB")
    image.thumbnail((side, side), Image.LANCZOS, reducing_gap=3)
    try:
        image.save(target, "WEBP", quality=QUALITY)
    except OSError as error:
        raise InputError(f"{target}: {error.strerror or error}") from None
    return target.stat().st_size


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vqcodec.picture.pack", description=__doc__)
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=48.0)
    options = parser.parse_args(arguments)
    try:
        side = pack(options.directories, options.out, options.megabytes)
    except VqcodecError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"{options.out}: pictures of up to {side} pixels", file=sys.stderr)


if __name__ == "__main__":
    main()
