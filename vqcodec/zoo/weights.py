"""Weights of a network, f32 ⇄ tensors as stored in encoder.safetensors and decoder.safetensors (bitstream_spec.md,
section "Model files")."""

from __future__ import annotations

import torch

SCALE = ".scale8"  # behind the name of an int8 tensor: that of its scales, f32[O]
SMALL = 4096  # values; smaller tensors are stored in halves
PRECISE = ("linear.", "stem.")  # what touches latents or pixels first: 8 bits there would cost rate, elsewhere they do not
LEVELS = 127


def pack(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Large kernels, [O,I,h,w], as int8 with a scale per output channel, all else as f16."""
    stored = {}
    for name, tensor in weights.items():
        tensor = tensor.detach().float()
        if tensor.dim() < 4 or tensor.numel() < SMALL or name.startswith(PRECISE):
            stored[name] = tensor.half().contiguous()
            continue
        scale = (tensor.flatten(1).abs().amax(1) / LEVELS).clamp(min=1e-12)
        stored[name] = (tensor / by_channel(scale, tensor)).round().to(torch.int8).contiguous()
        stored[name + SCALE] = scale
    return stored


def unpack(stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """f32 weights. Raises ValueError for scales that do not fit."""
    weights = {name: tensor.float() for name, tensor in stored.items() if not name.endswith(SCALE)}
    for name, scale in stored.items():
        if name.endswith(SCALE):
            kernel = name.removesuffix(SCALE)
            if kernel not in weights or scale.shape != weights[kernel].shape[:1]:
                raise ValueError(f"{name} does not fit any tensor")
            weights[kernel] *= by_channel(scale, weights[kernel])
    return weights


def by_channel(scale: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    return scale.view(-1, *[1] * (tensor.dim() - 1))
