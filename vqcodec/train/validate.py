"""What a model in training makes of a whole file, its rate by its float prior."""

from __future__ import annotations

import torch


def code(model, x: torch.Tensor, level: torch.Tensor, soft: bool, search: int = 0) -> tuple[torch.Tensor, float]:
    """(decoded samples, on the CPU, bits), by the device of the model. `soft`: latents rounded to integers and rated by the soft heads; else codewords
    chosen with the prior's bits, after so many gradients of the search."""
    device = model.present.device
    x, level = x.to(device), level.to(device)
    with device:
        latents = model.analyse(x, level)
        if soft:
            values = latents.round()
            bits = model.density_bits(values, level).sum().item()
        else:
            latents, wish = model.searched(latents, x, level, search)
            chosen, values = model.choose_by(latents, wish, level)
            bits = model.index_bits(latents, values, chosen, level).sum().item()
        return model.decoder(values, level).cpu(), bits
