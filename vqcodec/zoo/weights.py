"""Weights of a network, f32 ⇄ tensors as stored in encoder.safetensors and decoder.safetensors (bitstream_spec.md,
section "Model files"). Of torch, or to unpack, of NumPy too; imports neither."""

from __future__ import annotations

from typing import Any

SCALE = ".scale8"  # behind the name of an int8 tensor: that of its scales, f32[O]
SMALL = 4096  # values; smaller tensors are stored in halves
PRECISE = ("linear.", "stem.")  # what touches latents or pixels first: 8 bits there would cost rate, elsewhere they do not
LEVELS = 127


def pack(weights: dict[str, Any]) -> dict[str, Any]:
    """Large kernels, [O,I,h,w], as int8 with a scale per output channel, all else as f16; tensors of torch."""
    stored = {}
    for name, tensor in weights.items():
        tensor = tensor.detach().float()
        if tensor.dim() < 4 or tensor.numel() < SMALL or name.startswith(PRECISE):
            stored[name] = tensor.half().contiguous()
            continue
        scale = (tensor.flatten(1).abs().amax(1) / LEVELS).clamp(min=1e-12)
        stored[name] = (tensor / by_channel(scale, tensor)).round().char().contiguous()
        stored[name + SCALE] = scale
    return stored


def unpack(stored: dict[str, Any]) -> dict[str, Any]:
    """f32 weights. Raises ValueError for scales that do not fit."""
    weights = {name: _floats(tensor) for name, tensor in stored.items() if not name.endswith(SCALE)}
    for name, scale in stored.items():
        if name.endswith(SCALE):
            kernel = name.removesuffix(SCALE)
            if kernel not in weights or scale.shape != weights[kernel].shape[:1]:
                raise ValueError(f"{name} does not fit any tensor")
            weights[kernel] = weights[kernel] * by_channel(scale, weights[kernel])
    return weights


def by_channel(scale, tensor):
    return scale.reshape(-1, *[1] * (tensor.ndim - 1))


def _floats(tensor):
    return tensor.float() if hasattr(tensor, "float") else tensor.astype("float32")
