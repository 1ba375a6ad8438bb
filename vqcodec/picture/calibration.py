"""What goes through the residual blocks of a decoder of pictures, which its integers are made for (`rounding.py`)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F

from ..indices.layers import lerp_rows, soften
from .config import TransformConfig
from .rounding import FLAT, Range, integers
from .transform import Decoder

MARGIN = 1.1  # beyond what calibration saw: what lies farther out is clamped


@torch.no_grad()
def ranges(decoder: Decoder, batches) -> dict[str, Range]:
    """What goes through each block, over `batches` of (latents f32[B,D,h,w] in quantiser units, level f32[B])."""
    seen: dict[str, list[torch.Tensor]] = {}
    for latents, level in batches:
        y = latents * lerp_rows(-decoder.log_gain, level).exp()[:, :, None, None]
        x = decoder.condition(decoder.stem(y), level)
        for stage, up in ((3, decoder.up2), (2, decoder.up1), (1, None)):
            for i, block in enumerate(getattr(decoder, f"blocks{stage}")):
                soft = soften(x)
                inner = block.conv1(soft)
                outer = F.silu(inner)
                seen.setdefault(f"blocks{stage}.{i}", []).append(
                    torch.stack([soft.abs().max(), -inner.min(), inner.max(), outer.max()]))
                x = x + block.conv2(outer)
            if up:
                x = F.pixel_shuffle(up(x), 2)
    found = {}
    for name, values in seen.items():
        soft, low, high, top = (torch.stack(values).amax(0) * MARGIN).tolist()
        found[name] = Range(max(soft, 1e-3), max(-low, FLAT) - 0.1, max(high, 0.0) + 0.1, max(top, 0.1))
    return found


def decoder_tensors(decoder: Decoder, batches: Iterable, config: TransformConfig) -> dict[str, np.ndarray]:
    """decoder.safetensors of a float decoder; `batches` as `ranges` wants them. Raises InputError."""
    weights = {name: tensor.detach().float().numpy() for name, tensor in decoder.state_dict().items()}
    return integers(weights, ranges(decoder, batches), config)
