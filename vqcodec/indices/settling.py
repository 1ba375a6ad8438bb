"""Grids of which a part was drawn → the same, drawn part and surroundings fitting each other: sweeps of redrawing.

What is drawn in coding order does not know of kept indices that are coded later. A sweep visits each drawn position as if it
were coded last, with all around it known: by the distributions of the last phase, whose positions have one odd coordinate,
first as the grids are and then moved by a column (a pseudo-Gibbs sampler, as of dependency networks: Heckerman et al., JMLR
2000). It sees across the borders of bands and chunks. Such conditional distributions need not belong to any joint one: at
temperature 1 they may run away, at 0.7 they settle.
"""

from __future__ import annotations

import numpy as np

from .grids import GridReader
from .sampling import Sampler


def settle(reader: GridReader, grids: np.ndarray, free: np.ndarray, sixteenths: int, sampler: Sampler, sweeps: int, slices: int,
           labels: tuple[int, ...] | None = None, *, top: int = 0, progress=lambda text: None) -> np.ndarray:
    """int64[G,h,w] of int64[G,h,w], redrawn `sweeps` times where `free` bool[h,w]; the rest as in `GridReader.draw`. Of models
    that tell places apart nothing is redrawn: their positions cannot be moved."""
    grids = grids.copy()
    if not free.any() or reader.prior.has_places:
        return grids
    # What kernels see around what is drawn: the rest of the grids makes no difference.
    margin = reader.prior.reach
    rows, columns = (np.flatnonzero(free.any(axis)) for axis in (1, 0))
    (first, bottom), (left, right) = ((max(0, at[0] - margin), min(side, at[-1] + 1 + margin)) for at, side in zip((rows, columns), free.shape))
    rest = np.concatenate([np.asarray(indices) for indices in reader.rest])[:, None, None]
    first -= first % 2
    for turn in range(2 * sweeps):
        progress(f"settling, sweep {turn // 2 + 1} of {sweeps}")
        start = left - left % 2 - turn % 2  # even and odd in turns; perhaps a column before the first, which is at rest
        begin, before = max(0, start), max(0, -start)
        here = np.pad(free[first:bottom, begin:right], ((0, 0), (before, 0)))
        window = np.concatenate([np.broadcast_to(rest, (len(rest), bottom - first, before)), grids[:, first:bottom, begin:right]], 2)
        y, x = np.indices(here.shape)
        here &= (y + x) % 2 == 1
        if here.any():
            drawn, _ = reader.draw(*here.shape, sixteenths, sampler.of_turn(1 + turn), top=top + first, left=start, known=window,
                                   kept=~here, slices=slices, labels=labels, coded=False)
            grids[:, first:bottom, begin:right] = np.asarray(drawn)[:, :, before:]
    return grids
