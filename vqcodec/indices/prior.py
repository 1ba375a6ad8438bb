"""index grids → what their integer CDFs are made of (`cdf.py`): the context network that runs in the codec. Integers only.

`Prior.code` is the ONE loop for both directions: it walks slices and phases, computes what the next symbols' CDFs
are made of from the symbols known so far, and asks a supplier for them (the encoder chooses, the decoder reads).

Exactness. Every matrix product has integer inputs and is bounded: |inputs| ≤ 255, |weights| ≤ 127, and for
each output Σ|w|·max|input| < 2^24, so float32 kernels give the exact integer in any order of summation
(and bfloat16 or TF32 products too, as 8-bit integers are exact in them). Requantisation is
(acc·mult + bias + 2^23) >> 24 in int64: |acc| < 2^24, |mult| < 2^31, |bias| < 2^58. No float reaches a CDF.
`check_bounds` asserts all of this, `tensors.py` dtypes, shapes and names. `bitstream_spec.md` states each step
normatively; the float twin is `context.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from .cdf import CDF_BITS, MEAN_LIMIT, Categoricals, Logistics, Step, exact, requantise
from .config import QuantizerConfig
from ..errors import InputError
from .quantize import SliceLayout, layouts
from .specs import extent

WEIGHT_LIMIT = 127
ACTIVATION_LIMIT = 255
FEATURE_LIMIT = 127
FEATURE_STEPS = (1 / 16, 1 / 8)  # of asinh(value), and of value/8 for the wide dims
ACCUMULATOR_LIMIT = 1 << 24
MULTIPLIER_LIMIT = (1 << 31) - 1
BIAS_LIMIT = (1 << 58) - 1
MAX_PHASES = 15  # a first lattice of every 128th row and column: bands have no more than that


def phase_count(first_dim: int, grid_rank: int) -> int:
    """Of models in training. In a plane the first dims, which hardly anything else predicts, have the most."""
    if grid_rank == 1 or first_dim >= 32:
        return 2
    return 7 if first_dim < 8 else 3


def check_phases(index: int, phases: int) -> None:
    """Raises InputError for a number of phases that slice `index` cannot have."""
    if phases != 2 and not (3 <= phases <= MAX_PHASES and phases % 2):
        raise InputError(f"prior: slice {index} has {phases} phases, which must be 2 or odd, and {MAX_PHASES} at most")


def phase_map(height: int, width: int, phases: int) -> torch.Tensor:
    """int64[h,w]: the phase in which each grid position is coded.

    Two phases: a checkerboard. 1 + 2n: multiples of 2^n in both coordinates; then n times a lattice of half the spacing,
    first where neither coordinate was in the one before, then the rest."""
    y, x = torch.arange(height)[:, None], torch.arange(width)[None, :]
    if phases == 2:
        return (y + x) % 2
    phase = torch.zeros(height, width, dtype=torch.int64)
    for k in range(1, phases, 2):
        spacing = near_spacing(k, phases)
        new_y, new_x = (y // spacing) % 2, (x // spacing) % 2
        here = (y % spacing == 0) & (x % spacing == 0) & (new_y | new_x).bool()
        phase = torch.where(here, torch.where((new_y & new_x).bool(), k, k + 1), phase)
    return phase


def near_spacing(phase: int, phases: int) -> int:
    """Of the lattice that a phase after the first completes: how far apart the positions are that its kernel sees."""
    return 1 << (phases - 1 - phase) // 2


def at_quality(table: torch.Tensor, quality: int) -> torch.Tensor:
    """Rows of an int64 table [L,...] interpolated at `quality` sixteenths: exact integers."""
    low, part = divmod(quality, 16)
    if part == 0:
        return table[low]
    return (table[low] * (16 - part) + table[low + 1] * part + 8) >> 4


Supplier = Callable[[Step], torch.Tensor]


def of_slice(tensors: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    """The tensors of prior.safetensors that are one slice's, without its number."""
    prefix = f"s{index}."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


class SlicePrior:
    """The integer network of one slice; tensors as in prior.safetensors, named in `bitstream_spec.md`."""

    def __init__(self, tensors: dict[str, torch.Tensor], index: int, layout: SliceLayout):
        self.t = of_slice(tensors, index)
        self.layout, self.phases = layout, 1 + sum(name.startswith("near") for name in self.t) // 2
        check_phases(index, self.phases)
        sigmoid, exp, inverse = (tensors[f"table.{n}"] for n in ("sigmoid", "exp", "inverse"))
        self.distributions = Logistics(self.t, sigmoid, inverse) if layout.d == 1 else Categoricals(self.t, exp)
        self.near = [kernel(self.t[f"near{k}.weight"]) for k in range(1, self.phases)]
        self.past1 = kernel(self.t["past1.weight"]) if "past1.weight" in self.t else None
        if self.past1 is not None:
            self.past2, self.past3 = kernel(self.t["past2.weight"]), kernel(self.t["past3.weight"])
        self.mix, self.head = kernel(self.t["mix.weight"]), kernel(self.t["head.weight"])
        self.table = torch.cat([self.t[n] for n in ("companded", "wide") if n in self.t], 2).float()
        g, k, f = self.table.shape
        self.feature_channels = g * f

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        """Context features f32[N, C] of indices int64[N,G]: companded channels of all dims, then wide ones."""
        g, k, f = self.table.shape
        rows = self.table[torch.arange(g), indices]  # [N,G,f]
        d = self.layout.d
        parts = [rows[:, :, i : i + d].reshape(len(indices), g * d) for i in range(0, f, d)]
        return torch.cat(parts, 1)

    def past_state(self, past: torch.Tensor, quality: int) -> torch.Tensor:
        """int64[N,C] in units of 2^-24: what earlier slices, f32[h,w,F], say of this one."""
        t = self.t
        h, w, _ = past.shape
        a = activate(correlate(past, self.past1) * t["past1.mult"] + at_quality(t["past1.bias"], quality))
        a = activate(correlate(a.view(h, w, -1), self.past2) * t["past2.mult"] + t["past2.bias"])
        return exact(a @ self.past3[0, 0]) * t["past3.mult"]

    def outputs(self, past: torch.Tensor | None, own: torch.Tensor, positions: torch.Tensor, phase: int,
                quality: int) -> torch.Tensor:
        """int64[N,C] at int64[N] positions; past: `past_state`, own: f32[h,w,F] of known symbols."""
        t = self.t
        total = at_quality(t["join.bias"][phase], quality).expand(len(positions), -1)
        if past is not None:
            total = total + past[positions]
        if phase:
            total = total + correlate(own, self.near[phase - 1], positions, near_spacing(phase, self.phases)) * t[f"near{phase}.mult"]
        a = activate(total)
        a = activate(exact(a @ self.mix[0, 0]) * t["mix.mult"] + t["mix.bias"])
        return requantise(exact(a @ self.head[0, 0]) * t["head.mult"] + t["head.bias"])

    def alphabet(self, quality: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(first codeword, number of codewords), int64[G] each, of the symbols in use at this quality."""
        low, part = divmod(quality, 16)
        levels = slice(low, low + 1 + (part > 0))
        start, end = self.t["start"][levels], self.t["start"][levels] + self.t["size"][levels]
        first = start.amin(0).long()
        return first, end.amax(0).long() - first


def kernel(weight: torch.Tensor) -> torch.Tensor:
    """int8[O,I,kh,kw] or [O,I] → f32[kh,kw,I,O]."""
    if weight.dim() == 2:
        weight = weight[:, :, None, None]
    return weight.permute(2, 3, 1, 0).float().contiguous()


def activate(total: torch.Tensor) -> torch.Tensor:
    """int64 in units of 2^-24 → f32 integers 0..255."""
    return requantise(total).clamp_(0, ACTIVATION_LIMIT).float()


def correlate(x: torch.Tensor, weight: torch.Tensor, positions: torch.Tensor | None = None, spacing: int = 1) -> torch.Tensor:
    """int64[N,O]: f32 integers [h,w,I] correlated with f32[kh,kw,I,O], zeros outside, at `positions` or all; weights stand
    for positions `spacing` apart."""
    h, w, channels = x.shape
    kh, kw = weight.shape[:2]
    ys, xs = (k // 2 * spacing for k in (kh, kw))
    padded = F.pad(x, (0, 0, xs, xs, ys, ys))
    down, right, deep = padded.stride()
    seen = padded.as_strided((h + 2 * ys, w, kw, channels), (down, right, spacing * right, deep))  # what the rows of a kernel see
    total = torch.zeros(h * w if positions is None else len(positions), weight.shape[3], dtype=torch.float32)
    for dy in range(kh):
        rows = seen[dy * spacing : dy * spacing + h]
        rows = rows if positions is None else rows[positions // w, positions % w]
        total.addmm_(rows.reshape(len(total), kw * channels), weight[dy].flatten(0, 1))
    return exact(total)


class Prior:
    """The integer prior of a model: `tensors` as read from prior.safetensors."""

    def __init__(self, tensors: dict[str, torch.Tensor], config: QuantizerConfig):
        self.slices = []
        try:
            check_bounds(tensors)
            for i, layout in enumerate(layouts(config)):
                self.slices.append(SlicePrior(tensors, i, layout))
        except KeyError as error:
            raise InputError(f"prior: tensor {error} is missing") from None

    @property
    def steps(self) -> int:
        return sum(s.phases for s in self.slices)

    def windows(self, quality: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """`SlicePrior.alphabet` of all slices."""
        return [s.alphabet(quality) for s in self.slices]

    def least_bytes(self, positions: int, quality: int, slices: int) -> int:
        """Of the segments of so many grid positions, one or more, whatever they hold; only the first `slices` are coded. (No
        symbol costs nothing, since each of the others of its alphabet keeps a part of the probability.)"""
        others = sum(int((size - 1).sum()) for _, size in self.windows(quality)[:slices])
        return 1 + (23 * positions * others >> 23)

    def code(self, height: int, width: int, quality: int, supply: Supplier, rest: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """Walks the steps of a grid of `height`×`width` positions at `quality` (sixteenths of a level).

        `supply(step)` returns the step's symbols int64[N,G]; gives back the grids int64[G,h,w]. rest: what indices int64[G] the
        last slices hold, one entry for each that is absent.
        """
        grids, known = [], []
        number = 0
        present = len(self.slices) - len(rest)
        for model in self.slices[:present]:
            layout = model.layout
            past = model.past_state(torch.cat(known, 2), quality) if known else None
            own = torch.zeros(height * width, model.feature_channels, dtype=torch.float32)
            indices = torch.zeros(height * width, layout.groups, dtype=torch.int64)
            phases = phase_map(height, width, model.phases).reshape(-1)
            start, size = model.alphabet(quality)
            for phase in range(model.phases):
                positions = (phases == phase).nonzero().squeeze(1)
                if len(positions):
                    out = model.outputs(past, own.view(height, width, -1), positions, phase, quality)
                    symbols = supply(Step(number, layout, positions, out, start, size, model.distributions))
                    indices[positions] = symbols + start
                    own[positions] = model.features(indices[positions])
                number += 1
            known.append(own.view(height, width, -1))
            grids.append(indices.T.reshape(layout.groups, height, width))
        grids += [indices[:, None, None].expand(-1, height, width) for indices in rest]
        return torch.cat(grids)


def check_bounds(tensors: dict[str, torch.Tensor]) -> None:
    """Raises InputError unless all tensors are integers, and every integer of the network stays below its proven limit,
    whatever the input."""

    def require(holds: bool, what: str) -> None:
        if not holds:
            raise InputError(f"prior: {what}")

    for name, tensor in tensors.items():
        require(not (tensor.is_floating_point() or tensor.is_complex()), f"{name} must hold integers, not {tensor.dtype}")
        kind = name.split(".")[-1]
        least, most = (int(value) for value in extent(tensor))
        largest = max(-least, most)  # not the tensor's abs: that of -2^63 is -2^63
        if kind in ("weight", "companded", "wide", "vectors"):
            require(largest <= WEIGHT_LIMIT, f"{name} has values beyond ±{WEIGHT_LIMIT}")
        if kind == "weight":
            inputs = FEATURE_LIMIT if ("near" in name or "past1" in name) else ACTIVATION_LIMIT
            total = tensor.long().abs().flatten(1).sum(1).max().item() * inputs
            require(total < ACCUMULATOR_LIMIT, f"{name} may overflow its accumulator ({total} ≥ 2^24)")
        elif kind == "mult":
            require(largest <= MULTIPLIER_LIMIT, f"{name} is 2^31 or more")
        elif kind in ("bias", "offset"):
            require(largest <= BIAS_LIMIT, f"{name} is 2^58 or more")
        elif kind == "bounds":
            require(bool((tensor[:, 1:] >= tensor[:, :-1]).all()), f"{name} is not in ascending order")
            reach = (largest + MEAN_LIMIT) * tensors["table.inverse"].max().item()
            require(reach < 1 << 31, f"{name} may overflow 32 bits")
        elif kind == "start":
            size = tensors[name.replace("start", "size")]
            words = tensors[name.replace("start", "companded")].shape[1]
            # Each by itself first, so that their sum cannot overflow.
            require(0 <= least and 1 <= extent(size)[0] and max(most, extent(size)[1]) <= words
                    and bool((tensor.long() + size.long() <= words).all()), f"{name}: no such codewords")
            require(name.replace("start", "vectors") not in tensors or largest == 0, f"{name} must be 0")
    sigmoid, exponential = tensors["table.sigmoid"], tensors["table.exp"]
    require(ascending(sigmoid) and sigmoid[0] == 0 and sigmoid[-1] == 1 << CDF_BITS, "bad sigmoid table")
    require(exponential[0] == 1 << 15 and ascending(exponential.flip(0)) and exponential[-1] >= 0, "bad exp table")
    require(bool((tensors["table.inverse"] > 0).all()), "bad table of inverse scales")


def ascending(table: torch.Tensor) -> bool:
    """Compared, since differences may overflow."""
    return bool((table[1:] >= table[:-1]).all())
