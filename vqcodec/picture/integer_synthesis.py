"""index grids int64[G,h,w] → pixels uint8[16h,16w,3] in NumPy, in the integers of `integer.py`: the same on every machine.

Rows go through the network as they come: a 3×3 layer keeps the last two rows that it has seen, so that nothing is computed
twice and memory does not grow with the picture's height. All numbers are whole, or fractions by powers of two, and small enough
that floats hold them exactly; so floats may compute what is specified in integers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..indices.bounds import SHIFT
from ..indices.network import at_quality
from .config import TransformConfig
from .integer import SCALE_BITS, TABLE, UNIT_BITS, VALUE_LIMIT, blocks, clamped, scaled, shifted
from .synthesis import PATCH, places, spread

POSITIONS = 1 << 13  # at 1/4 resolution, worked on at a time: temporaries stay in the cache


class Wide:
    """A layer that carries the picture, of weights int16[O,I,k,k], its outputs in an `order`; in float64. `bits`: of the fraction of
    its sums; `offset`: what rounds them."""

    def __init__(self, stored, name: str, bits: int, order: np.ndarray | slice = slice(None), offset: float = 0.5):
        weight = stored[f"{name}.weight"].astype(np.float64)[order] * 2.0**-bits
        side = weight.shape[2]
        self.matrices = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(side, -1, len(weight))
        self.bias = stored[f"{name}.bias"].astype(np.float64)[order] + offset


class Window:
    """The rows that a 3×3 layer of `matrices` [3,3·I,O] looks at."""

    def __init__(self, matrices: np.ndarray, width: int):
        self.matrices, self.width = matrices, width
        self.kept = np.zeros((1, width, 3, matrices.shape[1] // 3), matrices.dtype)  # the row above the picture

    def push(self, rows: np.ndarray, last: bool) -> np.ndarray:
        """[n,w,I], the next rows → sums f64[m·w,O] of all rows whose lower neighbours are known; `last`: no more will come."""
        before, count = len(self.kept), len(rows)
        seen = np.empty((before + count + last, *self.kept.shape[1:]), self.matrices.dtype)
        seen[:before] = self.kept
        new = seen[before : before + count]
        new[:, :, 1] = rows
        new[:, 1:, 0] = rows[:, :-1]
        new[:, 0, 0] = 0
        new[:, :-1, 2] = rows[:, 1:]
        new[:, -1, 2] = 0
        if last:
            seen[-1] = 0
        self.kept = seen[-2:].copy()
        ready = len(seen) - 2
        if ready <= 0:
            return np.empty((0, self.matrices.shape[2]))
        parts = [seen[dy : dy + ready].reshape(ready * self.width, -1) @ matrix for dy, matrix in enumerate(self.matrices)]
        total = np.add(parts[0], parts[1], dtype=np.float64)
        return np.add(total, parts[2], out=total)


class Block:
    """A residual block's integers."""

    def __init__(self, stored, name: str):
        self.channels = len(stored[f"{name}.conv1.weight"])
        self.soften, self.limit = float(stored[f"{name}.soften"][0]), float(stored[f"{name}.limit"][0])
        self.table = stored[f"{name}.silu"].astype(np.float32)
        self.layers = []
        for layer in ("conv1", "conv2"):
            weight = stored[f"{name}.{layer}.weight"].astype(np.float32)
            matrices = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(3, -1, self.channels)
            mult, bias = (stored[f"{name}.{layer}.{part}"].astype(np.float64) for part in ("mult", "bias"))
            self.layers.append((matrices, mult * 2.0**-SHIFT, bias * 2.0**-SHIFT + 0.5))

    def softened(self, x: np.ndarray) -> np.ndarray:
        """Values f32[n,w,C] → activations, same."""
        wide = x.reshape(-1, self.channels).astype(np.float64)
        root = np.sqrt(np.einsum("nc,nc->n", wide, wide) + float(self.channels << 2 * UNIT_BITS))
        inverse = np.floor(self.soften / np.floor(root, out=root)) * 2.0**-SHIFT
        wide *= inverse[:, None]
        wide += 0.5
        np.floor(wide, out=wide)
        return np.clip(wide, -self.limit, self.limit, out=wide).reshape(x.shape)

    def activated(self, total: np.ndarray) -> np.ndarray:
        """Sums f64[n,C] of conv1 → activations f32, same."""
        _, mult, bias = self.layers[0]
        total *= mult
        total += bias
        return self.table.take(np.clip(total, 0, TABLE - 1, out=total).astype(np.intp))

    def change(self, total: np.ndarray) -> np.ndarray:
        """Sums f64[n,C] of conv2 → what values change by."""
        _, mult, bias = self.layers[1]
        total *= mult
        total += bias
        return np.floor(total, out=total)


class Running:
    """A block while rows of a picture go through."""

    def __init__(self, block: Block, width: int):
        self.block, self.width = block, width
        self.first, self.second = (Window(matrices, width) for matrices, _, _ in block.layers)
        self.waiting = np.empty((0, width, block.channels), np.float32)

    def push(self, x: np.ndarray, last: bool) -> np.ndarray:
        """Values f32[n,w,C] → f32[m,w,C], two rows behind."""
        block = self.block
        inner = as_rows(block.activated(self.first.push(block.softened(x), last)), self.width)
        change = as_rows(block.change(self.second.push(inner, last)), self.width)
        x = np.concatenate([self.waiting, x])
        out, self.waiting = x[: len(change)], x[len(change) :].copy()
        np.add(out, change, out=out, casting="same_kind")
        return np.clip(out, -VALUE_LIMIT, VALUE_LIMIT, out=out)


class IntegerSynthesis:
    """The network of tensors as `integer.tensors` has them, checked, and of codebooks f32[G,K,d]."""

    def __init__(self, stored: dict[str, np.ndarray], codebooks: list[np.ndarray], config: TransformConfig):
        self.stored, self.codebooks = stored, codebooks
        bits = UNIT_BITS + int(stored["shift"][0])
        self.linear = Wide(stored, "linear", bits, places(768, PATCH), 0.0)
        self.head = Wide(stored, "head", bits, places(48, 4), 0.0)
        for layer in (self.linear, self.head):
            layer.bias *= 2.0**-UNIT_BITS
        self.linear.bias += 0.5
        c1, c2, _ = config.channels
        orders = {"stem": slice(None), "up2": places(4 * c2, 2), "up1": places(4 * c1, 2)}
        self.stem, self.up2, self.up1 = (
            Wide(stored, name, int(stored[f"{name}.shift"][0]), order) for name, order in orders.items())
        self.blocks = {name: Block(stored, name) for name, _ in blocks(config)}

    def values(self, sixteenths: int) -> list[np.ndarray]:
        """Of all codewords at a quality: f64[G,K,d] of each slice."""
        return [book.astype(np.float64) for book in scaled(self.codebooks, self.stored, sixteenths)]

    def rows(self, pieces: Iterator[np.ndarray], sixteenths: int) -> Iterator[np.ndarray]:
        """Values f64[n,w,D], the rows of latents piece by piece → pixels uint8[16m,16w,3], all rows in turn."""
        run, piece = None, next(pieces)
        while piece is not None:
            following = next(pieces, None)
            run = run or _Run(self, piece.shape[1], sixteenths)
            yield run.push(piece, following is None)
            piece = following


class _Run:
    """The network while rows of a picture go through."""

    def __init__(self, net: IntegerSynthesis, width: int, sixteenths: int):
        self.net, self.width = net, width
        tables = (net.stored[f"condition.{part}"].astype(np.int64) for part in ("scale", "bias"))
        self.scale, self.bias = (at_quality(table, sixteenths) for table in tables)
        self.stem, self.head = Window(net.stem.matrices, width), Window(net.head.matrices, 4 * width)
        self.stages = [[Running(block, width * side) for name, block in net.blocks.items() if name.startswith(f"blocks{stage}")]
                       for stage, side in ((3, 1), (2, 2), (1, 4))]
        self.latents: np.ndarray | None = None
        self.details = np.empty((0, 4 * width, 48))

    def push(self, z: np.ndarray, last: bool) -> np.ndarray:
        x = _values(self.stem.push(z, last), self.net.stem).astype(np.int64)
        x = clamped(shifted(x * self.scale, SCALE_BITS) + self.bias).astype(np.float32)
        x = as_rows(x, self.width)
        for stage, up in zip(self.stages, (self.net.up2, self.net.up1, None)):
            for block in stage:
                x = block.push(x, last)
            if up:
                h, w, _ = x.shape
                x = spread(_values(x.reshape(h * w, x.shape[2]).astype(np.float64) @ up.matrices[0], up), h, w, 2)
        return self._pixels(z, self.head.push(x, last))

    def _pixels(self, z: np.ndarray, details: np.ndarray) -> np.ndarray:
        self.latents = z if self.latents is None else np.concatenate([self.latents, z])
        self.details = np.concatenate([self.details, as_rows(details, 4 * self.width)])
        count, w = len(self.details) // 4, self.width
        here, self.latents = self.latents[:count], self.latents[count:]
        details, self.details = self.details[: 4 * count], self.details[4 * count :]
        flat = here.reshape(count * w, here.shape[2]) @ self.net.linear.matrices[0]
        flat += self.net.linear.bias
        out = spread(flat, count, w, PATCH)
        out += spread((details + self.net.head.bias).reshape(-1, 48), 4 * count, 4 * w, 4)
        return np.clip(out, 0, 255, out=out).astype(np.uint8)


def as_rows(x: np.ndarray, width: int) -> np.ndarray:
    """[n·w,C] → [n,w,C]"""
    return x.reshape(len(x) // width, width, x.shape[1])


def _values(total: np.ndarray, layer: Wide) -> np.ndarray:
    """Sums f64[n,O] → values, f32."""
    total += layer.bias
    np.floor(total, out=total)
    return np.clip(total, -VALUE_LIMIT, VALUE_LIMIT, out=total).astype(np.float32)
