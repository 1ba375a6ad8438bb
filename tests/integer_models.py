"""Models of pictures that decode in integers, made to go to the limits of their arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from helpers import make_wild_model
from safetensors.numpy import save_file

from vqcodec.picture import integer, rounding
from vqcodec.picture.config import ModelConfig, TransformConfig
from vqcodec.zoo import config as configuration
from vqcodec.zoo import registration, registry

WILD_EXACT_ID = 60006


def drawn_integers(config: TransformConfig, seed: int) -> dict[str, np.ndarray]:
    """Tensors of decoder.safetensors drawn from all that a model may hold: weights as large as may be, sums up to their bounds."""
    rng, found = np.random.default_rng(seed), {}
    for name, spec in integer.tensors(config).items():
        found[name] = rng.integers(int(spec.least), int(spec.most), spec.shape, dtype=np.int64, endpoint=True)
    found["table.exp2"] = np.rint(2.0 ** (23 + np.arange(4096) / 4096))
    found["gain"] = rng.integers(-6 << 12, 2 << 12, found["gain"].shape)
    for name in found:
        kind = name.split(".")[-1]
        if kind == "shift":
            found[name] = np.array([int(rng.integers(14, 18)) if "." in name else 11])
        elif kind == "bias" and "conv" not in name:
            found[name] = rng.integers(-1 << 20, 1 << 20, found[name].shape)
    for name, most in (("linear", 1500), ("head", 120)):
        found[f"{name}.weight"] = rng.integers(-most, most, found[f"{name}.weight"].shape)
    for block, channels in integer.blocks(config):
        weights = {layer: rng.choice([-127, 127], (channels, channels, 3, 3)) for layer in ("conv1", "conv2")}
        found |= {f"{block}.{layer}.weight": weight for layer, weight in weights.items()}
        found[f"{block}.limit"] = np.array([rounding.soften_limit(weights["conv1"])])
        top = rounding.silu_limit(weights["conv2"], 3.0)
        found[f"{block}.silu"] = rng.integers(-int(0.09 * top), top, 4096, endpoint=True)
        found[f"{block}.soften"] = np.array([int(channels**0.5 * 2**24 * found[f"{block}.limit"][0] / 2)])
        spread = int(2**24 * 4096 / (found[f"{block}.limit"][0] * 127 * (9 * channels) ** 0.5))
        found[f"{block}.conv1.mult"] = rng.integers(-spread, spread, channels)
        found[f"{block}.conv1.bias"] = rng.integers(0, 4096 << 24, channels)
        found[f"{block}.conv2.mult"] = rng.integers(-1 << 20, 1 << 20, channels)
        found[f"{block}.conv2.bias"] = rng.integers(-1 << 40, 1 << 40, channels)
        found[f"{block}.range"] = np.array([1 << 16, -1 << 16, 1 << 16, 1 << 16])
    found = {name: np.ascontiguousarray(found[name], spec.dtypes[0]) for name, spec in integer.tensors(config).items()}
    integer.check_bounds(found)
    return found


def make_wild_exact_model(tiny_exact_dir: Path, models_dir: Path) -> None:
    """Puts the model "wildexact" into a models folder: "tinyexact" with a wild prior, and a decoder of drawn integers."""
    make_wild_model(tiny_exact_dir, models_dir, "tinyexact", "wildexact", WILD_EXACT_ID)
    folder = models_dir / "wildexact"
    config = configuration.of_model(registry.find_by_name("wildexact", models_dir), ModelConfig)
    save_file(drawn_integers(config.transform, 3), folder / "decoder.safetensors")
    registration.register(folder, "wildexact", models_dir, id=WILD_EXACT_ID)
