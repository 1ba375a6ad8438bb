"""latents f32[h,w,D] → pixels uint8[16h,16w,3] in NumPy: the synthesis network of `transform.Decoder`, for decoders without torch.

Kernels of 3×3 are three matrix products each, one for every row of the kernel, over rows of the padded picture with what
their three columns see side by side. Work is done some rows at a time, so that temporaries stay in the cache. Results differ
from torch's in rounding only.
"""

from __future__ import annotations

import numpy as np

from ..indices.numpy_layers import interpolated, silu, soften
from .config import TransformConfig

PATCH = 16
POSITIONS = 1 << 12  # worked on at a time
Shape = tuple[int, ...]


def shapes(config: TransformConfig) -> dict[str, Shape]:
    """Of the weights in decoder.safetensors."""
    d, (c1, c2, c3) = config.latent_dims, config.channels
    found: dict[str, Shape] = {"log_gain": (len(config.lambdas), d)}

    def layer(name: str, inputs: int, outputs: int, side: int) -> None:
        found.update({f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)})

    layer("linear", d, 3 * PATCH * PATCH, 1)
    layer("stem", d, c3, 3)
    found.update({f"condition.{part}": (len(config.lambdas), c3) for part in ("scale", "bias")})
    layer("up2", c3, 4 * c2, 1)
    layer("up1", c2, 4 * c1, 1)
    layer("head", c1, 48, 3)
    for stage, channels, count in zip((1, 2, 3), (c1, c2, c3), config.decoder_blocks):
        for i in range(count):
            layer(f"blocks{stage}.{i}.conv1", channels, channels, 3)
            layer(f"blocks{stage}.{i}.conv2", channels, channels, 3)
    return found


def halo(config: TransformConfig) -> tuple[int, int]:
    """Latent rows on each side of a strip that its own rows depend on: (encoder, decoder)."""
    n1, n2, n3 = config.encoder_blocks
    encoder = 2 * n3 + -(-(2 * n2) // 2) + -(-(2 * n1 + 1) // 4)
    n1, n2, n3 = config.decoder_blocks
    decoder = 1 + 2 * n3 + -(-(2 * n2) // 2) + -(-(2 * n1 + 1) // 4)
    return encoder, decoder


class Pointwise:
    """A 1×1 layer whose outputs become `side`×`side` positions of fewer channels: f32[h,w,I] → f32[h·side,w·side,O/side²]."""

    def __init__(self, weights: dict[str, np.ndarray], name: str, side: int):
        weight, bias = weights[f"{name}.weight"][:, :, 0, 0], weights[f"{name}.bias"]
        order = places(len(bias), side)
        self.side, self.matrix, self.bias = side, np.ascontiguousarray(weight[order].T), bias[order]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        h, w, _ = x.shape
        return spread(x.reshape(h * w, -1) @ self.matrix + self.bias, h, w, self.side)


def places(count: int, side: int) -> np.ndarray:
    """Order of outputs of a layer in which places come first, then channels."""
    return np.arange(count).reshape(-1, side * side).T.ravel()


def spread(x: np.ndarray, h: int, w: int, side: int) -> np.ndarray:
    """[h·w,side·side·C] → [h·side,w·side,C]; there may be no rows."""
    channels = x.shape[1] // side**2
    return x.reshape(h, w, side, side, channels).transpose(0, 2, 1, 3, 4).reshape(h * side, w * side, channels)


class Kernel:
    """A 3×3 layer, zeros outside. `order`: of its outputs."""

    def __init__(self, weights: dict[str, np.ndarray], name: str, order=slice(None)):
        weight = weights[f"{name}.weight"][order]
        outputs, inputs = weight.shape[:2]
        self.matrices = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(3, 3 * inputs, outputs)
        self.bias = weights[f"{name}.bias"][order]

    def __call__(self, x: np.ndarray, before=None, after=None) -> np.ndarray:
        """f32[h,w,I] → f32[h,w,O]. before, after: what is done to f32[n,C] of inputs and outputs."""
        h, w, channels = x.shape
        out = np.empty((h, w, self.matrices.shape[2]), np.float32)
        rows = max(1, POSITIONS // w)
        for top in range(0, h, rows):
            bottom = min(h, top + rows)
            first, last = max(0, top - 1), min(h, bottom + 1)
            part = x[first:last].reshape(-1, channels)
            part = (before(part) if before else part).reshape(last - first, w, channels)
            seen = np.zeros((bottom - top + 2, w, 3, channels), np.float32)  # what the rows of the kernel see
            inner = seen[first - top + 1 :][: last - first]
            inner[:, :, 1] = part
            inner[:, 1:, 0] = part[:, :-1]
            inner[:, :-1, 2] = part[:, 1:]
            total = np.repeat(self.bias[None], (bottom - top) * w, 0)
            for dy, matrix in enumerate(self.matrices):
                total += seen[dy : dy + bottom - top].reshape(len(total), -1) @ matrix
            out[top:bottom] = (after(total) if after else total).reshape(bottom - top, w, -1)
        return out


class Synthesis:
    """The network, of weights f32 by their names in decoder.safetensors."""

    def __init__(self, weights: dict[str, np.ndarray], config: TransformConfig):
        self.log_gain, self.scale, self.bias = (weights[n] for n in ("log_gain", "condition.scale", "condition.bias"))
        self.linear, self.stem = Pointwise(weights, "linear", PATCH), Kernel(weights, "stem")
        self.up2, self.up1 = Pointwise(weights, "up2", 2), Pointwise(weights, "up1", 2)
        self.head = Kernel(weights, "head", places(48, 4))
        self.blocks1, self.blocks2, self.blocks3 = (
            [[Kernel(weights, f"blocks{stage}.{i}.conv{k}") for k in (1, 2)] for i in range(count)]
            for stage, count in zip((1, 2, 3), config.decoder_blocks))

    def __call__(self, latents: np.ndarray, sixteenths: int) -> np.ndarray:
        """f32[h,w,D] in quantiser units at a quality in sixteenths → f32[16h,16w,3], nominally in 0..1, not clamped."""
        h, w, _ = latents.shape
        with np.errstate(over="ignore", under="ignore"):
            y = latents * np.exp(-interpolated(self.log_gain, sixteenths))
            x = self.stem(y) * interpolated(self.scale, sixteenths) + interpolated(self.bias, sixteenths)
            x = self.up2(residual(self.blocks3, x))
            x = self.up1(residual(self.blocks2, x))
            x = self.head(residual(self.blocks1, x))
            x = spread(x.reshape(-1, 48), 4 * h, 4 * w, 4)
            x += self.linear(y)
        x += np.float32(0.5)
        return x


def residual(blocks, x: np.ndarray) -> np.ndarray:
    """x + conv3×3(silu(conv3×3(soften(x)))), block by block; x is changed."""
    for first, second in blocks:
        x += second(first(x, before=soften, after=silu))
    return x
