"""The context network that runs in the codec, and the walk over its steps: `prior.py` tells what it is.

It is written once, for arrays of torch or of NumPy alike; an `Arithmetic` has what the two call by other names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from .config import QuantizerConfig
from .bounds import check_bounds, check_phases, near_spacing, phase_map
from .layout import SliceLayout, layouts
from .reference import TABLE, Reference, apart, led

Array = Any  # of the runtime's kind
Supplier = Callable[[Any], Array]


class Arithmetic(ABC):
    """A runtime. All of its results are exact.

    logistics, categoricals: what makes CDFs of a slice's outputs, of scalars and of codewords of several dims; step: a coding
    step, the symbols of one slice at the positions of one phase (as `cdf` has the three)."""

    logistics: type
    categoricals: type
    step: type

    @abstractmethod
    def array(self, values: np.ndarray) -> Array:
        """The same values."""

    @abstractmethod
    def floats(self, integers: Array) -> Array:
        """f32, the same values."""

    @abstractmethod
    def joined(self, parts: Sequence[Array], axis: int) -> Array:
        ...

    @abstractmethod
    def repeated(self, row: Array, count: int) -> Array:
        """[C] → [count,C], perhaps of the same memory."""

    @abstractmethod
    def kernel(self, weight: Array) -> Array:
        """int8[O,I,kh,kw] or [O,I] → f32[kh,kw,I,O]."""

    @abstractmethod
    def exact(self, product: Array) -> Array:
        """int64: a product of integers that are small enough for its kind of floats."""

    @abstractmethod
    def requantise(self, total: Array) -> Array:
        """int64 in units of 2^-24 → nearest integer, halves up. May be done in place."""

    @abstractmethod
    def activate(self, total: Array) -> Array:
        """int64 in units of 2^-24 → f32 integers 0..255. May be done in place."""

    @abstractmethod
    def correlate(self, x: Array, weight: Array, positions: Array | None = None, spacing: int = 1) -> Array:
        """int64[N,O]: f32 integers [h,w,I] correlated with f32[kh,kw,I,O], zeros outside, at `positions` or all; weights stand
        for positions `spacing` apart."""

    def distributions(self, tensors: dict[str, Array], shared: dict[str, Array], layout: SliceLayout):
        """Of a slice, by its tensors and the tables that all slices share."""
        if layout.d == 1:
            return self.logistics(tensors, shared["table.sigmoid"], shared["table.inverse"])
        return self.categoricals(tensors, shared["table.exp"])


@dataclass(frozen=True)
class Given:
    """Positions of a grid whose indices are known beforehand, and are not coded.

    labels: int[h,w] of NumPy, which column of `indices` a position has, or below 0 where it is coded; indices: int64[G,n], of the
    runtime's kind."""

    labels: np.ndarray
    indices: Array

    def rows(self, top: int, bottom: int) -> Given:
        return Given(self.labels[top:bottom], self.indices)

    def whole(self) -> Array:
        """int64[G,h,w] of a grid that is given everywhere."""
        return self.indices[:, self.labels]

    @property
    def coded(self) -> np.ndarray:
        """bool[h,w]"""
        return self.labels < 0


def at_quality(table: Array, quality: int) -> Array:
    """Rows of an int64 table [L,...] interpolated at `quality` sixteenths: exact integers."""
    low, part = divmod(quality, 16)
    if part == 0:
        return table[low]
    return (table[low] * (16 - part) + table[low + 1] * part + 8) >> 4


def of_slice(tensors: dict[str, Array], index: int) -> dict[str, Array]:
    """The tensors of prior.safetensors that are one slice's, without its number."""
    prefix = f"s{index}."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def label_kinds(tensors: dict[str, Array]) -> int:
    """Of the tensors of one slice."""
    return sum(name.startswith("label") for name in tensors)


class SlicePrior:
    """The integer network of one slice; tensors as in prior.safetensors, named in `bitstream_spec.md`."""

    def __init__(self, tensors: dict[str, Array], index: int, layout: SliceLayout, on: Arithmetic):
        self.t, self.on = of_slice(tensors, index), on
        self.layout, self.phases = layout, 1 + sum(name.startswith("near") for name in self.t) // 2
        check_phases(index, self.phases)
        self.distributions = on.distributions(self.t, tensors, layout)
        self.near = [on.kernel(self.t[f"near{k}.weight"]) for k in range(1, self.phases)]
        self.past1 = on.kernel(self.t["past1.weight"]) if "past1.weight" in self.t else None
        if self.past1 is not None:
            self.past2, self.past3 = on.kernel(self.t["past2.weight"]), on.kernel(self.t["past3.weight"])
        self.mix, self.head = on.kernel(self.t["mix.weight"]), on.kernel(self.t["head.weight"])
        self.labels = [self.t[f"label{k}.bias"] for k in range(label_kinds(self.t))]
        self.gate = on.kernel(self.t["gate.weight"]) if "gate.weight" in self.t else None
        self.table = on.floats(on.joined([self.t[n] for n in ("companded", "wide") if n in self.t], 2))
        g, k, f = self.table.shape
        self.feature_channels, self.numbers = g * f, on.array(np.arange(g))

    def features(self, indices: Array) -> Array:
        """Context features f32[N, C] of indices int64[N,G]: companded channels of all dims, then wide ones."""
        g, k, f = self.table.shape
        rows = self.table[self.numbers, indices]  # [N,G,f]
        d = self.layout.d
        parts = [rows[:, :, i : i + d].reshape(len(indices), g * d) for i in range(0, f, d)]
        return self.on.joined(parts, 1)

    def past_state(self, past: Array, quality: int) -> Array:
        """int64[N,C] in units of 2^-24: what earlier slices, f32[h,w,F], say of this one."""
        t, on = self.t, self.on
        h, w, _ = past.shape
        a = on.activate(on.correlate(past, self.past1) * t["past1.mult"] + at_quality(t["past1.bias"], quality))
        a = on.activate(on.correlate(a.reshape(h, w, -1), self.past2) * t["past2.mult"] + t["past2.bias"])
        return on.exact(a @ self.past3[0, 0]) * t["past3.mult"]

    def told(self, height: int, width: int, labels: Sequence[int]) -> Array | None:
        """int64[h·w,C] in units of 2^-24: what the place and the labels (0: none) of a position say; None for nothing."""
        on, total = self.on, None
        if "place.bias" in self.t:
            places = self.t["place.bias"]
            y, x = (np.arange(side).clip(max=most - 1) for side, most in zip((height, width), places.shape))
            total = places.reshape(-1, places.shape[2])[on.array((y[:, None] * places.shape[1] + x).ravel())]
        for table, label in zip(self.labels, labels):
            row = on.repeated(table[label], height * width)
            total = row if total is None else total + row
        return total

    def outputs(self, past: Array | None, own: Array, positions: Array, phase: int,
                quality: int, told: Array | None = None, reference: Reference | None = None) -> Array:
        """int64[N,C] at int64[N] positions; past: `past_state`, own: f32[h,w,F] of known symbols, told: as `told`."""
        t, on = self.t, self.on
        total = on.repeated(at_quality(t["join.bias"][phase], quality), len(positions))
        if past is not None:
            total = total + past[positions]
        if told is not None:
            total = total + told[positions]
        if phase:
            seen = on.correlate(own, self.near[phase - 1], positions, near_spacing(phase, self.phases))
            total = total + seen * t[f"near{phase}.mult"]
        a = on.activate(total)
        a = on.activate(on.exact(a @ self.mix[0, 0]) * t["mix.mult"] + t["mix.bias"])
        out = on.requantise(on.exact(a @ self.head[0, 0]) * t["head.mult"] + t["head.bias"])
        if reference is None:
            return out
        gate = on.requantise(on.exact(a @ self.gate[0, 0]) * t["gate.mult"] + t["gate.bias"])
        return led(out, gate, reference.values[positions][:, self.layout.dims], t, self.layout)

    def alphabet(self, quality: int) -> tuple[Array, Array]:
        """(first codeword, number of codewords), int64[G] each, of the symbols in use at this quality."""
        low, part = divmod(quality, 16)
        levels = slice(low, low + 1 + (part > 0))
        start = np.asarray(self.t["start"][levels]).astype(np.int64)
        first, end = start.min(0), (start + np.asarray(self.t["size"][levels])).max(0)
        return self.on.array(first), self.on.array(end - first)


class Prior:
    """The integer prior of a model: `tensors` as read from prior.safetensors, computed `on` one of the runtimes."""

    def __init__(self, tensors: dict[str, Array], config: QuantizerConfig, on: Arithmetic):
        self.on = on
        self.table = tensors.get(TABLE)  # of models that look at a reference too
        self.slices = []
        try:
            check_bounds(tensors)
            for i, layout in enumerate(layouts(config)):
                self.slices.append(SlicePrior(tensors, i, layout, on))
        except KeyError as error:
            raise InputError(f"prior: tensor {error} is missing") from None

    @property
    def steps(self) -> int:
        return sum(s.phases for s in self.slices)

    @property
    def has_places(self) -> bool:
        return "place.bias" in self.slices[0].t

    @property
    def reach(self) -> int:
        """How many positions around one its distributions in the last phase hang on."""
        kernels = [(1, s.near[-1]) for s in self.slices]
        kernels += [(2, kernel) for s in self.slices if s.past1 is not None for kernel in (s.past1, s.past2)]
        return max(times * (max(kernel.shape[:2]) // 2) for times, kernel in kernels)

    @property
    def labels(self) -> tuple[int, ...]:
        """How many labels there are of each kind, that for none included."""
        return tuple(len(table) for table in self.slices[0].labels)

    def windows(self, quality: int) -> list[tuple[Array, Array]]:
        """`SlicePrior.alphabet` of all slices."""
        return [s.alphabet(quality) for s in self.slices]

    def least_bytes(self, positions: int, quality: int, slices: int) -> int:
        """Of the segments of so many grid positions, whatever they hold; only the first `slices` are coded. (No
        symbol costs nothing, since each of the others of its alphabet keeps a part of the probability.)"""
        if not positions:
            return 0
        others = sum(int((size - 1).sum()) for _, size in self.windows(quality)[:slices])
        return 1 + (23 * positions * others >> 23)

    def reference(self, values: np.ndarray) -> Reference:
        """Of values int64[h,w,D] in 1/64."""
        return Reference.of(values, self.table, self.on)

    def code(self, height: int, width: int, quality: int, supply: Supplier, rest: Sequence[Array] = (),
             given: Given | None = None, labels: Sequence[int] | None = None, reference: Reference | None = None) -> Array:
        """Walks the steps of a grid of `height`×`width` positions at `quality` (sixteenths of a level).

        `supply(step)` returns the step's symbols int64[N,G]; gives back the grids int64[G,h,w]. rest: what indices int64[G] the
        last slices hold, one entry for each that is absent: int64[G,h·w] where they differ from place to place. Given positions
        are in no step; others see them as if they had been coded in the phase that is theirs. labels: one of each kind, 0 for none;
        None: none of all. reference: of a model that looks at one.
        """
        labels = labels or (0,) * len(self.labels)
        on, grids, known = self.on, [], []
        number = 0
        coded = np.ones(height * width, bool) if given is None else given.coded.ravel()
        fixed, seen = np.flatnonzero(~coded), [] if reference is None else [reference.features]
        present = len(self.slices) - len(rest)
        for model in self.slices[:present]:
            layout = model.layout
            past = model.past_state(on.joined(known + seen, 2), quality) if (known or seen) and coded.any() else None
            told = model.told(height, width, labels)
            own = on.array(np.zeros((height * width, model.feature_channels), np.float32))
            lead = None if reference is None else reference.features.reshape(height * width, -1)[:, layout.dims]
            away = None if lead is None else on.array(np.zeros((height * width, layout.groups * layout.d), np.float32))
            indices = on.array(np.zeros((height * width, layout.groups), np.int64))
            if len(fixed):
                indices[on.array(fixed)] = given.indices[layout.planes][:, on.array(given.labels.ravel()[fixed])].T
            phases = phase_map(height, width, model.phases).ravel()
            start, size = model.alphabet(quality)
            for phase in range(model.phases):
                here = np.flatnonzero(phases == phase)
                positions = on.array(here[coded[here]])
                if len(positions):
                    seen_own = own if lead is None else on.joined([own, away], 1)
                    out = model.outputs(past, seen_own.reshape(height, width, -1), positions, phase, quality, told, reference)
                    symbols = supply(on.step(number, layout, positions, out, start, size, model.distributions))
                    indices[positions] = symbols + start
                if len(here):
                    here = on.array(here)
                    own[here] = model.features(indices[here])
                    if lead is not None:
                        away[here] = apart(own[here], lead[here])
                number += 1
            known.append(own.reshape(height, width, -1))
            grids.append(indices.T.reshape(layout.groups, height, width))
        grids += [(indices if len(indices.shape) == 2 else on.repeated(indices, height * width).T).reshape(-1, height, width)
                  for indices in rest]
        return on.joined(grids, 0)
