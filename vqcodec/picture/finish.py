"""What is done to a decoded picture last: curves against a tint, then plain blocks (see `curves.py`, `plain.py`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import curves as curve_bytes
from . import plain as plain_bytes
from .plain import Plain
from .stream import Stream


@dataclass(frozen=True)
class Finish:
    """curves: int[n,C], as in `curves.py`; None: not done."""

    plain: Plain | None = None
    curves: np.ndarray | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing of what is decoded is left."""
        return self.plain is not None and self.plain.whole

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """uint8[H,W,3], in place."""
        if self.curves is not None and not self.whole:
            curve_bytes.apply(rgb, self.curves)
        return rgb if self.plain is None else self.plain.finish(rgb)

    def parts(self, grey: bool) -> dict[str, bytes | None]:
        """The fields of a stream."""
        return {"plain": None if self.plain is None else plain_bytes.pack(self.plain, grey),
                "curves": None if self.curves is None else curve_bytes.pack(self.curves)}


def of_stream(stream: Stream) -> Finish:
    """Raises CorruptStreamError."""
    plain = curves = None
    if stream.plain is not None:
        plain = plain_bytes.unpack(stream.plain, *(-(-side // plain_bytes.BLOCK) for side in (stream.height, stream.width)), stream.grey)
    if stream.curves is not None:
        curves = curve_bytes.unpack(stream.curves, stream.grey)
    return Finish(plain, curves)


def of_inspection(shape) -> Finish:
    """The curves, if `shape` is an `Inspection` that has some: what index grids do not say of a stream without plain blocks."""
    found = getattr(shape, "curves", None)
    return Finish() if found is None else Finish(None, curve_bytes.unpack(bytes.fromhex(found), shape.grey))
