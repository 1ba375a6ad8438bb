"""A finished run → a model folder, registered; and the integer prior measured against the float one."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from .. import medium
from ..indices.context import bfloat16
from ..zoo import config as configuration
from ..zoo import registration, registry, weights
from ..indices.tensors import codebook_tensors
from ..zoo.schema import check_tensors
from .medium import Medium, of_config
from .model import Model
from .quantize_prior import integer_prior


USE_BATCHES = 40  # of 16 crops of 256², in which it is counted which codewords are used


def extreme_batches(kind: Medium, levels: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(samples, level) of `Medium.extremes` at each quality: what codewords they need there must be, though nothing uses them."""
    samples = kind.extremes()
    return [] if samples is None else [(samples, torch.full((len(samples),), float(i))) for i in range(levels)]


@torch.no_grad()
def count_use(model: Model, batches, search: int) -> list[torch.Tensor]:
    """For each slice int64[levels,G,K]: how often codewords are chosen in `batches` of (pixels, level), after so many
    gradients of the search."""
    levels = len(model.config.transform.lambdas)
    use = [torch.zeros(levels, s.groups, s.codewords, dtype=torch.int64) for s in model.prior.layouts]
    for pixels, level in batches:
        with bfloat16(pixels.device.type):
            own = model.analyse(pixels, level)
        latents, wish = model.searched(own.float(), pixels, level, search)
        row = level.long().repeat_interleave(latents[0, 0].numel())
        for i, (s, chosen) in enumerate(zip(model.prior.layouts, model.choose_by(latents, wish, level)[0])):
            flat = (row[None] * s.groups + torch.arange(s.groups)[:, None]) * s.codewords + chosen
            use[i].view(-1).scatter_add_(0, flat.reshape(-1), model.present[row, i].long().repeat(s.groups))
    return use


def write_model(model: Model, batches, folder: Path, config, card: str, search: int = 0) -> None:
    """Writes config.toml, the four weight files and card.md into `folder`. Which codewords a quality uses is counted in
    `batches` of (samples, level), after `search` gradients. Raises InputError for weights that no decoder would take."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(configuration.to_toml(config))
    of_medium = of_config(config)
    kind = medium.of_modality(of_medium.modality).kind()
    parts = {"encoder": weights.pack(model.encoder.state_dict()), "decoder": of_medium.decoder_tensors(model, batches)}
    for name, packed in parts.items():
        expected = kind.file(name, config.transform).tensors(packed)
        check_tensors(packed, expected, f"{name}.safetensors")  # training may have gone astray
        save_file(packed, folder / f"{name}.safetensors")
    # What is stored is what runs: the prior's tables are made from the codebook as written.
    books = [q.codebook.detach().float().contiguous() for q in model.quantizers]
    named = {f"s{i}": book for i, book in enumerate(books)}
    check_tensors(named, codebook_tensors(config), "codebook.safetensors")
    save_file(named, folder / "codebook.safetensors")
    save_file(integer_prior(model.prior, books, config, count_use(model, batches, search)), folder / "prior.safetensors")
    (folder / "card.md").write_text(card)


@dataclass(frozen=True)
class Measured:
    """Mean rate on validation files (bits per pixel, kbps): float prior, integer prior, bytes really written; mean PSNR in dB of the
    decoder in floats and in integers, if it has them."""

    floating: float
    integer: float
    coded: float
    unit: str
    float_psnr: float | None = None
    integer_psnr: float | None = None


@torch.no_grad()
def compare(model: Model, codec, paths, qualities, kind: type[Medium]) -> Measured:
    """Codes files with the exported codec and rates the very same indices with the float prior."""
    rows, decoded = [], []
    model.prior.set_mode("float")
    for path in paths:
        for quality in qualities:
            coded = kind.code_file(codec, path, quality)
            values = codec.coder.dequantize(coded.grids[None])
            indices = [coded.grids[s.planes].flatten(1) for s in model.prior.layouts]
            bits = model.index_bits(values, values, indices, torch.tensor([quality - 1.0])).item()
            rows.append((bits / coded.extent, coded.bits / coded.extent, 8 * len(coded.data) / coded.extent))
            decoded.append(kind.decoder_loss(codec, path, coded.grids, quality))
    psnr = () if None in decoded else np.mean(decoded, axis=0).tolist()
    return Measured(*np.mean(rows, axis=0).tolist(), kind.rate_unit, *psnr)


def export_model(trainer, name: str, models_dir, model_id: int | None = None, status: str = "experimental") -> Measured | None:
    """Turns a finished run into model `name` below `models_dir`, registers it and reports the priors' rates on the files set
    aside, if there are any."""
    model = copy.deepcopy(trainer.average).cpu().eval()
    model.prior.set_mode("quantized")
    batches = [tuple(part.cpu() for part in trainer.batch(-5000 - i, 256, 16)) for i in range(USE_BATCHES)]
    batches += extreme_batches(trainer.medium, len(trainer.lambdas))
    folder = trainer.out / "model"  # `register` copies it, unless that would change a published model
    config = trainer.config.model
    card = (f"# {name}\n\nTrained for {trainer.pixels / 1e9:.2f}·10^9 {trainer.medium.counted} in {trainer.seconds / 3600:.2f} hours.\n")
    write_model(model, batches, folder, config, card, trainer.stage_config.search)
    modality = trainer.medium.modality
    entry = registration.register(folder, name, registry.writable_dir(models_dir), id=model_id, status=status,
                                  modality=modality)
    codec = medium.of_modality(modality).open(entry, encoder=True)
    if not trainer.validation:
        print(f"{name}: no files were set aside to compare its priors on")
        return None
    qualities = sorted({1, (codec.qualities + 1) // 2, codec.qualities})
    loss = compare(model, codec, trainer.validation, qualities, type(trainer.medium))
    print(f"{name}: {loss.floating:.4f} {loss.unit} with the float prior, {loss.integer:.4f} with the integer one, "
          f"{loss.coded:.4f} in files")
    if loss.integer_psnr is not None:
        print(f"{name}: {loss.float_psnr:.3f} dB with the decoder in floats, {loss.integer_psnr:.3f} in integers")
    return loss
