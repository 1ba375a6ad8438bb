"""index grids → what their integer CDFs are made of (`cdf.py`): the context network that runs in the codec. Integers only.

`Prior.code` is the ONE loop for both directions: it walks slices and phases, computes what the next symbols' CDFs
are made of from the symbols known so far, and asks a supplier for them (the encoder chooses, the decoder reads).

Exactness. Every matrix product has integer inputs and is bounded: |inputs| ≤ 255, |weights| ≤ 127, and for
each output Σ|w|·max|input| < 2^24, so float32 kernels give the exact integer in any order of summation
(and bfloat16 or TF32 products too, as 8-bit integers are exact in them). Requantisation is
(acc·mult + bias + 2^23) >> 24 in int64: |acc| < 2^24, |mult| < 2^31, |bias| < 2^58. No float reaches a CDF.
`bounds.check_bounds` asserts all of this, `tensors.py` dtypes, shapes and names. `bitstream_spec.md` states each step
normatively; the float twin is `context.py`. The network itself is in `network.py`; here is its arithmetic in torch, in
`numpy_prior.py` that of NumPy.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from . import bounds, network
from .config import QuantizerConfig
from .bounds import (  # noqa: F401 (for those who use the prior of torch)
    ACTIVATION_LIMIT,
    FEATURE_LIMIT,
    FEATURE_STEPS,
    WEIGHT_LIMIT,
    check_bounds,
    near_spacing,
)
from .cdf import Categoricals, Logistics, Step, exact, requantise
from .network import Arithmetic, of_slice  # noqa: F401


def phase_count(first_dim: int, grid_rank: int) -> int:
    """Of models in training. In a plane the first dims, which hardly anything else predicts, have the most."""
    if grid_rank == 1 or first_dim >= 32:
        return 2
    return 7 if first_dim < 8 else 3


def phase_map(height: int, width: int, phases: int) -> torch.Tensor:
    """`bounds.phase_map`, int64[h,w]."""
    return torch.from_numpy(bounds.phase_map(height, width, phases)).to(torch.get_default_device())


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


class Torch(Arithmetic):
    logistics, categoricals, step = Logistics, Categoricals, Step

    def array(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values)

    def floats(self, integers: torch.Tensor) -> torch.Tensor:
        return integers.float()

    def joined(self, parts, axis: int) -> torch.Tensor:
        return torch.cat(parts, axis)

    def repeated(self, row: torch.Tensor, count: int) -> torch.Tensor:
        return row.expand(count, -1)

    def kernel(self, weight: torch.Tensor) -> torch.Tensor:
        return kernel(weight)

    def exact(self, product: torch.Tensor) -> torch.Tensor:
        return exact(product)

    def requantise(self, total: torch.Tensor) -> torch.Tensor:
        return requantise(total)

    def activate(self, total: torch.Tensor) -> torch.Tensor:
        return activate(total)

    def correlate(self, x, weight, positions=None, spacing: int = 1) -> torch.Tensor:
        return correlate(x, weight, positions, spacing)


class Prior(network.Prior):
    """The integer prior in torch: `tensors` as read from prior.safetensors."""

    def __init__(self, tensors: dict[str, torch.Tensor], config: QuantizerConfig):
        super().__init__(tensors, config, Torch())
