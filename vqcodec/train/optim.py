"""Muon for the hidden convolutions, Adam for everything else, behind one `torch.optim.Optimizer`."""

from __future__ import annotations

import torch


GAIN_SCALE = 0.2  # of the learning rate: gains of new qualities have some way to go


class MuonAdam(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton–Schulz steps for matrices (Jordan et al., 2024), scaled to Adam's
    update size as in Liu et al. (2025), so that one learning rate serves both kinds of parameter groups.

    Groups with `muon=True` must hold kernels [O,I,h,w]; they are flattened to [O, h·w·I], which copies nothing where
    they are stored channels last.
    """

    def __init__(self, groups, lr: float, betas=(0.9, 0.98), momentum: float = 0.95, eps: float = 1e-8,
                 weight_decay: float = 0.1):
        super().__init__(groups, dict(lr=lr, betas=betas, momentum=momentum, eps=eps, muon=False, scale=1.0,
                                      weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr = group["lr"] * group["scale"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if group["muon"]:
                    if not state:
                        state["momentum"] = torch.zeros_like(p)
                    m = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                    update = p.grad.lerp(m, group["momentum"]).permute(0, 2, 3, 1)
                    update = orthogonalise(update.flatten(1)).view(update.shape).permute(0, 3, 1, 2)
                    p.mul_(1 - lr * group["weight_decay"])
                    p.add_(update, alpha=-lr * 0.2 * max(p.shape[0], p[0].numel()) ** 0.5)
                else:
                    if not state:
                        state["step"] = 0
                        state["mean"] = torch.zeros_like(p)
                        state["square"] = torch.zeros_like(p)
                    state["step"] += 1
                    b1, b2 = group["betas"]
                    mean = state["mean"].lerp_(p.grad, 1 - b1)
                    square = state["square"].lerp_(p.grad.square(), 1 - b2)
                    t = state["step"]
                    denominator = (square / (1 - b2**t)).sqrt_().add_(group["eps"])
                    p.addcdiv_(mean, denominator, value=-lr / (1 - b1**t))


def orthogonalise(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Nearest semi-orthogonal matrix, roughly, by a quintic Newton–Schulz iteration in bfloat16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


def parameter_groups(model: torch.nn.Module, optimizer: str, linear_scale: float = 0.03, encoder_scale: float = 1.0):
    """Splits parameters: convolutions with dense kernels (Muon), linear paths and gains (slow), the rest; the encoder's apart."""
    groups: dict[tuple[bool, float], list] = {}
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        linear, gain = ".linear." in name, "log_gain" in name
        muon = optimizer == "muon" and p.dim() == 4 and "head" not in name and not linear
        scale = (linear_scale if linear else GAIN_SCALE if gain else 1.0) * (encoder_scale if name.startswith("encoder.") else 1.0)
        groups.setdefault((muon, scale), []).append(p)
    return [dict(params=params, muon=muon, scale=scale) for (muon, scale), params in groups.items()]
