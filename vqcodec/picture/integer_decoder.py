"""index grids → pixels in torch, on any device, in the integers of `integer.py`; gives what `integer_synthesis.py` gives in NumPy.

All numbers are whole, or fractions by powers of two, and small enough that float64, and float32 in the products of residual blocks,
hold them exactly. Products are those of matrices alone: a library's convolution may take a way on which sums are rounded.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ..indices.bounds import SHIFT
from ..indices.config import QuantizerConfig
from ..indices.network import at_quality
from ..indices.quantize import dequantize
from .config import TransformConfig
from .integer import SCALE_BITS, TABLE, UNIT_BITS, VALUE_LIMIT, blocks, scaled
from .synthesis import PATCH


def correlate(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """[h,w,I] correlated with [kh,kw,I,O], zeros outside: f64[h,w,O]. Rows of the kernel are summed in f64."""
    (h, w, channels), (kh, kw, _, outputs) = x.shape, weight.shape
    padded = F.pad(x, (0, 0, kw // 2, kw // 2, kh // 2, kh // 2))
    down, right, deep = padded.stride()
    seen = padded.as_strided((h + kh - 1, w, kw, channels), (down, right, right, deep))
    total = torch.zeros(h * w, outputs, dtype=torch.float64, device=x.device)
    for dy in range(kh):
        total.add_(seen[dy : dy + h].reshape(h * w, kw * channels) @ weight[dy].flatten(0, 1))
    return total.view(h, w, outputs)


def shuffled(x: torch.Tensor, side: int) -> torch.Tensor:
    """[h,w,C·side²] → [h·side,w·side,C], as F.pixel_shuffle."""
    return F.pixel_shuffle(x.permute(2, 0, 1), side).permute(1, 2, 0)


class IntegerDecoder:
    """The network of tensors as `integer.tensors` has them, checked, and of codebooks f32[G,K,d]."""

    def __init__(self, stored: dict[str, np.ndarray], codebooks: list[np.ndarray], config: TransformConfig, quantizer: QuantizerConfig,
                 device: torch.device | str = "cpu"):
        self.stored, self.codebooks, self.quantizer, self.device = stored, codebooks, quantizer, torch.device(device)
        self.blocks = [[name for name, _ in blocks(config) if name.startswith(f"blocks{stage}")] for stage in (3, 2, 1)]
        self.t = {name: self._on_device(value) for name, value in stored.items()
                  if name.split(".")[-1] in ("silu", "mult", "bias", "weight")}

    def _on_device(self, value: np.ndarray) -> torch.Tensor:
        """f64, or of the kernels of residual blocks f32; of weights [kh,kw,I,O]."""
        found = torch.from_numpy(np.ascontiguousarray(value)).to(self.device, torch.float32 if value.dtype == np.int8 else torch.float64)
        return found.permute(2, 3, 1, 0).contiguous() if found.dim() == 4 else found

    def values(self, sixteenths: int) -> list[torch.Tensor]:
        """Of all codewords at a quality: f64[G,K,d] of each slice."""
        return [torch.from_numpy(book).to(self.device, torch.float64) for book in scaled(self.codebooks, self.stored, sixteenths)]

    @torch.no_grad()
    def __call__(self, grids: torch.Tensor, sixteenths: int) -> torch.Tensor:
        """Index grids int64[G,h,w] → uint8[16h,16w,3]."""
        z = dequantize(grids[None].to(self.device), self.values(sixteenths), self.quantizer)[0].permute(1, 2, 0).contiguous()
        x = self._values(correlate(z, self.t["stem.weight"]), "stem")
        scale, bias = (torch.from_numpy(at_quality(self.stored[f"condition.{part}"].astype(np.int64), sixteenths)).to(self.device, torch.float64)
                       for part in ("scale", "bias"))
        x = limited((x * scale * 2.0**-SCALE_BITS + 0.5).floor_() + bias)
        for names, up in zip(self.blocks, ("up2", "up1", None)):
            for name in names:
                x = self._block(x, name)
            if up:
                x = shuffled(self._values(correlate(x, self.t[f"{up}.weight"]), up), 2).contiguous()
        unit, fine = 2.0 ** -(UNIT_BITS + int(self.stored["shift"][0])), 2.0**-UNIT_BITS
        parts = [shuffled(correlate(values, self.t[f"{name}.weight"]).mul_(unit).add_(self.t[f"{name}.bias"] * fine), side)
                 for name, values, side in (("linear", z, PATCH), ("head", x, 4))]
        return (parts[0] + parts[1] + 0.5).floor_().clamp_(0, 255).to(torch.uint8)

    def _values(self, total: torch.Tensor, name: str) -> torch.Tensor:
        shift = int(self.stored[f"{name}.shift"][0])
        return limited(total.mul_(2.0**-shift).add_(0.5).floor_().add_(self.t[f"{name}.bias"]))

    def _block(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Values f64[h,w,C] → the same."""
        channels, soften, limit = x.shape[2], int(self.stored[f"{name}.soften"][0]), int(self.stored[f"{name}.limit"][0])
        root = (x.square().sum(2, keepdim=True) + float(channels << 2 * UNIT_BITS)).sqrt_().floor_()
        inverse = (torch.full_like(root, soften) / root).floor_()
        a = rounded(x * inverse).clamp_(-limit, limit).float()
        which = self._requantised(correlate(a, self.t[f"{name}.conv1.weight"]), f"{name}.conv1").clamp_(0, TABLE - 1)
        a = self.t[f"{name}.silu"].float()[which.long()]
        return limited(x + self._requantised(correlate(a, self.t[f"{name}.conv2.weight"]), f"{name}.conv2"))

    def _requantised(self, total: torch.Tensor, name: str) -> torch.Tensor:
        return rounded(total * self.t[f"{name}.mult"] + self.t[f"{name}.bias"])


def rounded(x: torch.Tensor) -> torch.Tensor:
    """Whole f64 numbers in units of 2^-24 → nearest, halves up."""
    return x.mul_(2.0**-SHIFT).add_(0.5).floor_()


def limited(x: torch.Tensor) -> torch.Tensor:
    return x.clamp_(-VALUE_LIMIT, VALUE_LIMIT)
