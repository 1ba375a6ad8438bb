"""index grids int64[G,h,w] → pixels uint8[16h,16w,3] in NumPy, in the integers of `integer.py`: the same on every machine.

Rows go through the network as they come: a 3×3 layer keeps what the last two rows add to the sums of those below, so that nothing
is computed twice and memory does not grow with the picture's height. All numbers are whole, or fractions by powers of two, and small
enough that floats hold them exactly; so floats may compute what is specified in integers.

Memory is taken once, and products are made of few rows at a time, whose numbers stay in the cache: the system's giving of fresh
pages, and memory itself, would take as long as the products.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from ..indices.bounds import SHIFT
from ..indices.network import at_quality
from .config import TransformConfig
from .integer import SCALE_BITS, UNIT_BITS, VALUE_LIMIT, blocks, clamped, scaled, shifted
from .synthesis import PATCH, places, spread

POSITIONS = 1 << 13  # at 1/4 resolution, that go through the network at a time
PRODUCTS = 1 << 9  # positions whose products are made at a time
AHEAD = 2  # pieces that the first half of the network may be ahead of the second


def side_by_side(weight: np.ndarray, kind) -> np.ndarray:
    """[O,I,3,3] → [3·I,3·O]: what a row's neighbours add to the sums of the row above, the same and the one below."""
    outputs, inputs = weight.shape[:2]
    return np.ascontiguousarray(weight[:, :, ::-1].transpose(3, 1, 2, 0).reshape(3 * inputs, 3 * outputs), kind)


class Wide:
    """A layer that carries the picture, of weights int16[O,I,k,k], its outputs in an `order`; in float64. `bits`: of the fraction of
    its sums; `offset`: what rounds them."""

    def __init__(self, stored, name: str, bits: int, order: np.ndarray | slice = slice(None), offset: float = 0.5):
        weight = stored[f"{name}.weight"].astype(np.float64)[order] * 2.0**-bits
        one = weight.shape[2] == 1
        self.matrix = np.ascontiguousarray(weight[:, :, 0, 0].T) if one else side_by_side(weight, np.float64)
        self.bias = stored[f"{name}.bias"].astype(np.float64)[order] + offset

    def values(self, total: np.ndarray) -> np.ndarray:
        """Sums f64[…,O] → values, f32. The sums are changed."""
        total += self.bias
        np.floor(total, out=total)
        return np.clip(total, -VALUE_LIMIT, VALUE_LIMIT, out=total).astype(np.float32)


class Window:
    """A 3×3 layer of `matrix` [3·I,3·O] while rows of a picture go through, as many at a time as `rows` tells, or `most`."""

    def __init__(self, matrix: np.ndarray, width: int, most: int | None = None):
        self.matrix, self.width = matrix, width
        self.inputs, self.outputs = (side // 3 for side in matrix.shape)
        self.rows = max(1, PRODUCTS // (width + 1))
        most = most or self.rows
        thirds = -(-most * (width + 1) // 3)
        self.line = np.zeros((3 * thirds + 2, self.inputs), matrix.dtype)  # a zero, and one behind each row
        self.room = self.line[1 : 1 + most * (width + 1)].reshape(most, width + 1, self.inputs)[:, :width]
        self.products = np.empty((3 * thirds, 3 * self.outputs), matrix.dtype)
        self.sums = np.zeros((most + 4, width, self.outputs))
        self.at = 0  # where there the last row's sums are, without what the row below will add
        self.top = np.zeros((width, self.outputs), matrix.dtype)  # of those of the row below, what the last row adds
        self.begun = False

    def cut(self, x: np.ndarray, last: bool) -> Iterator[tuple[np.ndarray, bool]]:
        """Rows [n,…] in parts that `push` takes, and whether they are the last; there may be none."""
        for top in range(0, len(x), self.rows):
            yield x[top : top + self.rows], last and top + self.rows >= len(x)

    def push(self, rows: np.ndarray, last: bool) -> np.ndarray:
        """[n,w,I], the next rows → sums f64[m,w,O], until the next call, of all rows whose lower neighbours are known; `last`: no
        more will come."""
        count, o = len(rows), self.outputs
        self.room[:count] = rows
        # Three positions beside each other are a row of a matrix that is there already: those from 0, from 1, and from 2 on.
        thirds = -(-count * (self.width + 1) // 3)
        for i in range(3):
            seen = self.line[i : i + 3 * thirds].reshape(thirds, 3 * self.inputs)
            np.matmul(seen, self.matrix, out=self.products[i : 3 * thirds : 3])
        parts = self.products[: count * (self.width + 1)].reshape(count, self.width + 1, 3 * o)[:, : self.width]
        above, same, below = parts[:, :, :o], parts[:, :, o : 2 * o], parts[:, :, 2 * o :]
        if self.at + count >= len(self.sums):
            self.sums[0], self.at = self.sums[self.at], 0
        sums = self.sums[self.at : self.at + count + 1]
        if count:
            np.add(same[0], self.top, out=sums[1], dtype=np.float64)
            np.add(same[1:], below[:-1], out=sums[2:], dtype=np.float64)
            self.top[:] = below[-1]
            sums[:count] += above
        first = 0 if self.begun else 1  # nothing is above the picture
        self.begun, self.at = self.begun or count > 0, self.at + count
        return sums[first : count + last]


class Block:
    """A residual block's integers."""

    def __init__(self, stored, name: str):
        self.channels = len(stored[f"{name}.conv1.weight"])
        self.soften, self.limit = float(stored[f"{name}.soften"][0]), float(stored[f"{name}.limit"][0])
        self.table = stored[f"{name}.silu"].astype(np.float32)
        self.layers = []
        for layer in ("conv1", "conv2"):
            matrix = side_by_side(stored[f"{name}.{layer}.weight"], np.float32)
            mult, bias = (stored[f"{name}.{layer}.{part}"].astype(np.float64) for part in ("mult", "bias"))
            self.layers.append((matrix, mult * 2.0**-SHIFT, bias * 2.0**-SHIFT + 0.5))

    def softened(self, x: np.ndarray) -> np.ndarray:
        """Values f32[n,w,C] → activations, f64."""
        wide = x.astype(np.float64)
        root = np.sqrt(np.einsum("nwc,nwc->nw", wide, wide) + float(self.channels << 2 * UNIT_BITS))
        wide *= (np.floor(self.soften / np.floor(root, out=root)) * 2.0**-SHIFT)[:, :, None]
        wide += 0.5
        np.floor(wide, out=wide)
        return np.clip(wide, -self.limit, self.limit, out=wide)

    def activated(self, total: np.ndarray) -> np.ndarray:
        """Sums f64[…,C] of conv1 → activations f32. The sums are changed."""
        _, mult, bias = self.layers[0]
        total *= mult
        total += bias
        return self.table.take(total.astype(np.intp), mode="clip")  # below 0 it does not matter how they were rounded

    def change(self, total: np.ndarray) -> np.ndarray:
        """Sums f64[…,C] of conv2 → what values change by, in their place."""
        _, mult, bias = self.layers[1]
        total *= mult
        total += bias
        return np.floor(total, out=total)


class Running:
    """A block while rows of a picture go through."""

    def __init__(self, block: Block, width: int):
        self.block = block
        (first, *_), (second, *_) = block.layers
        self.first = Window(first, width)
        self.second = Window(second, width, self.first.rows + 1)
        self.waiting = np.empty((0, width, block.channels), np.float32)
        self.work = 18 * width**2 * block.channels**2

    def push(self, x: np.ndarray, last: bool) -> np.ndarray:
        """Values f32[n,w,C] → f32[m,w,C], two rows behind."""
        block, done, before = self.block, 0, len(self.waiting)
        x = np.concatenate([self.waiting, x])
        for part, end in self.first.cut(x[before:], last):
            inner = block.activated(self.first.push(block.softened(part), end))
            change = block.change(self.second.push(inner, end))
            out = x[done : done + len(change)]
            np.add(out, change, out=out, casting="same_kind")
            np.clip(out, -VALUE_LIMIT, VALUE_LIMIT, out=out)
            done += len(change)
        self.waiting = x[done:].copy()
        return x[:done]


class _Stem:
    """The first layer, and the quality's scale and bias of its values, while rows go through."""

    def __init__(self, net: IntegerSynthesis, width: int, sixteenths: int):
        self.layer, self.window = net.stem, Window(net.stem.matrix, width)
        tables = (net.stored[f"condition.{part}"].astype(np.int64) for part in ("scale", "bias"))
        self.scale, self.bias = (at_quality(table, sixteenths) for table in tables)
        self.work = 2 * width**2 * self.layer.matrix.size

    def push(self, z: np.ndarray, last: bool) -> np.ndarray:
        """Values f64[n,w,D] of latents → f32[m,w,C]"""
        parts = [self._scaled(self.window.push(*part)) for part in self.window.cut(z, last)]
        return np.concatenate(parts)

    def _scaled(self, total: np.ndarray) -> np.ndarray:
        x = self.layer.values(total).astype(np.int64)
        return clamped(shifted(x * self.scale, SCALE_BITS) + self.bias).astype(np.float32)


class _Up:
    """A 1×1 layer whose outputs become 2×2 positions each."""

    def __init__(self, layer: Wide, width: int):
        self.layer, self.work = layer, 2 * width**2 * layer.matrix.size

    def push(self, x: np.ndarray, _last: bool) -> np.ndarray:
        """f32[n,w,C] → f32[2n,2w,C']"""
        h, w, channels = x.shape
        out = np.empty((h * w, len(self.layer.bias)), np.float32)
        for top in range(0, h * w, PRODUCTS):
            part = x.reshape(h * w, channels)[top : top + PRODUCTS].astype(np.float64)
            out[top : top + PRODUCTS] = self.layer.values(part @ self.layer.matrix)
        return spread(out, h, w, 2)


class IntegerSynthesis:
    """The network of tensors as `integer.tensors` has them, checked, and of codebooks f32[G,K,d]."""

    def __init__(self, stored: dict[str, np.ndarray], codebooks: list[np.ndarray], config: TransformConfig):
        self.stored, self.codebooks = stored, codebooks
        bits = UNIT_BITS + int(stored["shift"][0])
        c1, c2, _ = config.channels
        fine = places(48, 4)
        # The sixteen parts of a latent's pixels that are a position at 1/4 resolution each, one after the other.
        self.linear = Wide(stored, "linear", bits, places(768, PATCH).reshape(4, 4, 4, 4, 3).transpose(0, 2, 1, 3, 4).ravel(), 0.0)
        self.head = Wide(stored, "head", bits, fine, 0.0)
        self.bias = (self.linear.bias + np.tile(self.head.bias, 16)) * 2.0**-UNIT_BITS + 0.5
        orders = {"stem": slice(None), "up2": places(4 * c2, 2), "up1": places(4 * c1, 2)}
        self.stem, self.up2, self.up1 = (
            Wide(stored, name, int(stored[f"{name}.shift"][0]), order) for name, order in orders.items())
        self.blocks = {name: Block(stored, name) for name, _ in blocks(config)}

    def values(self, sixteenths: int) -> list[np.ndarray]:
        """Of all codewords at a quality: f64[G,K,d] of each slice."""
        return [book.astype(np.float64) for book in scaled(self.codebooks, self.stored, sixteenths)]

    def rows(self, pieces: Iterator[np.ndarray], sixteenths: int, threads: int = 1) -> Iterator[np.ndarray]:
        """Values f64[n,w,D], the rows of latents piece by piece → pixels uint8[16m,16w,3], all rows in turn. With `threads` of two or
        more the second half of the network works in one of its own."""
        piece = next(pieces)
        run = _Run(self, piece.shape[1], sixteenths)

        def halves() -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
            nonlocal piece
            while piece is not None:
                following = next(pieces, None)
                yield piece, run.first(piece, following is None), following is None
                piece = following

        return behind(run.second, halves()) if threads > 1 else (run.second(*half) for half in halves())


def behind(work: Callable, items: Iterator[tuple]) -> Iterator:
    """work(*item) of each, in order, in a thread of its own, which is done when this ends."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(work, *item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Run:
    """The network while rows of a picture go through."""

    def __init__(self, net: IntegerSynthesis, width: int, sixteenths: int):
        self.net, self.width = net, width
        links: list = [_Stem(net, width, sixteenths)]
        for stage, side, up in ((3, 1, net.up2), (2, 2, net.up1), (1, 4, None)):
            links += [Running(block, width * side) for name, block in net.blocks.items() if name.startswith(f"blocks{stage}")]
            if up:
                links.append(_Up(up, width * side))
        self.head = Window(net.head.matrix, 4 * width)
        end = 2 * width**2 * (16 * net.head.matrix.size + net.linear.matrix.size)
        work = np.cumsum([link.work for link in links] + [end])
        half = int(np.abs(work - work[-1] / 2)[:-1].argmin()) + 1
        self.links = links[:half], links[half:]
        self.latents = np.empty((0, width, len(net.linear.matrix)))
        self.details = np.empty((0, 4 * width, 48))

    def first(self, z: np.ndarray, last: bool) -> np.ndarray:
        """The values of the next rows of latents, f64[n,w,D] → what the second half wants beside them."""
        return passed(self.links[0], z, last)

    def second(self, z: np.ndarray, x: np.ndarray, last: bool) -> np.ndarray:
        """→ pixels uint8[16m,16w,3]"""
        x = passed(self.links[1], x, last)
        self.latents = np.concatenate([self.latents, z])
        self.details = np.concatenate([self.details, *(self.head.push(*part).copy() for part in self.head.cut(x, last))])
        count, w = len(self.details) // 4, self.width
        here, self.latents = self.latents[:count], self.latents[count:]
        details, self.details = self.details[: 4 * count], self.details[4 * count :]
        total = here.reshape(count * w, here.shape[2]) @ self.net.linear.matrix
        total += self.net.bias
        parts = total.reshape(count, w, 4, 4, 48)
        parts += details.reshape(count, 4, w, 4, 48).transpose(0, 2, 1, 3, 4)
        samples = np.clip(total, 0, 255, out=total).astype(np.uint8).reshape(count, w, 4, 4, 4, 4, 3)
        return samples.transpose(0, 2, 4, 1, 3, 5, 6).reshape(PATCH * count, PATCH * w, 3)


def passed(links: list, x: np.ndarray, last: bool) -> np.ndarray:
    for link in links:
        x = link.push(x, last)
    return x
