"""A finished run → a model folder, registered; and the integer prior measured against the float one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from .. import config as configuration
from ..config import ModelConfig
from .model import ImageModel
from .quantize_prior import integer_prior


@torch.no_grad()
def count_use(model: ImageModel, batches) -> list[torch.Tensor]:
    """For each slice int64[levels,G,K]: how often codewords are chosen in `batches` of (pixels, level)."""
    levels = len(model.config.transform.lambdas)
    use = [torch.zeros(levels, s.groups, s.codewords, dtype=torch.int64) for s in model.prior.layouts]
    for pixels, level in batches:
        latents = model.encoder(pixels, level)
        row = level.long().repeat_interleave(latents[0, 0].numel())
        for i, (s, chosen) in enumerate(zip(model.prior.layouts, model.choose(latents, level)[0])):
            flat = (row[None] * s.groups + torch.arange(s.groups)[:, None]) * s.codewords + chosen
            use[i].view(-1).scatter_add_(0, flat.reshape(-1), torch.ones(flat.numel(), dtype=torch.int64))
    return use


def write_model(model: ImageModel, batches, folder: Path, config: ModelConfig, card: str) -> None:
    """Writes config.toml, the four weight files and card.md into `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(configuration.to_toml(config))
    half = {n: {k: v.detach().half().contiguous() for k, v in net.state_dict().items()}
            for n, net in (("encoder", model.encoder), ("decoder", model.decoder))}
    for name, tensors in half.items():
        save_file(tensors, folder / f"{name}.safetensors")
    # What is stored is what runs: the prior's tables are made from the codebook as written.
    books = [q.codebook.detach().float().contiguous() for q in model.quantizers]
    save_file({f"s{i}": book for i, book in enumerate(books)}, folder / "codebook.safetensors")
    save_file(integer_prior(model.prior, books, config, count_use(model, batches)), folder / "prior.safetensors")
    (folder / "card.md").write_text(card)


@dataclass(frozen=True)
class PriorLoss:
    """Mean bits per pixel on validation pictures: float prior, integer prior, bytes really written."""

    float_bpp: float
    integer_bpp: float
    coded_bpp: float


@torch.no_grad()
def compare_priors(model: ImageModel, codec, paths, qualities) -> PriorLoss:
    """Codes pictures with the exported codec and rates the very same indices with the float prior."""
    from ..media import Picture
    from ..quantize import dequantize
    from .validate import load

    rows = []
    model.prior.set_mode("float")
    for path in paths:
        x = load(path)
        rgb = (x[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        for quality in qualities:
            encoded = codec.encode(Picture(rgb, None, False), quality)
            grids = torch.from_numpy(codec.decode_grids(encoded.data))[None]
            values = dequantize(grids, codec.codebooks, codec.model.quantizer)
            indices = [grids[0, s.planes].flatten(1) for s in model.prior.layouts]
            bits = model.index_bits(values, values, indices, torch.tensor([quality - 1.0])).item()
            pixels = x[0, 0].numel()
            rows.append((bits / pixels, codec.bits_per_block(encoded.data).sum() / pixels,
                         8 * len(encoded.data) / pixels))
    return PriorLoss(*np.mean(rows, axis=0).tolist())


def export_model(trainer, name: str, models_dir, model_id: int | None = None, status: str = "experimental") -> PriorLoss:
    """Turns a finished run into model `name` below `models_dir`, registers it and reports the priors' rates."""
    from .. import registry
    from ..codec import Codec

    model = trainer.average.eval()
    model.prior.set_mode("quantized")
    batches = [trainer._batch(-5000 - i, 256, 16) for i in range(40)]
    folder = trainer.out / "model"  # `register` copies it, unless that would change a published model
    config = trainer.config.model
    card = (f"# {name}\n\nTrained for {trainer.pixels / 1e9:.2f}·10^9 pixels in {trainer.seconds / 3600:.2f} hours.\n")
    write_model(model, batches, folder, config, card)
    entry = registry.register(folder, name, id=model_id, status=status, models_dir=models_dir or registry.user_dir())
    codec = Codec.open(entry)
    loss = compare_priors(model, codec, trainer.validation, sorted({1, (codec.qualities + 1) // 2, codec.qualities}))
    print(f"{name}: {loss.float_bpp:.4f} bpp with the float prior, {loss.integer_bpp:.4f} with the integer one, "
          f"{loss.coded_bpp:.4f} in files")
    return loss
