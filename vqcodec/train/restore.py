"""A published model → a model in training: the inverse of `export.write_model`, up to the rounding of its weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from .. import weights
from ..config import AudioModelConfig, ModelConfig
from ..errors import UsageError
from ..loading import model_config, read_tensors
from ..prior import LOG_SCALE_MIN, LOG_SCALE_STEP, LOGIT_UNIT, MEAN_UNIT, of_slice
from ..quantize import split_groups
from ..registry import ModelEntry
from .model import ContextPrior, Model
from .quantize_prior import UNIT

WEIGHT_RMS = 0.03  # of restored hidden layers: relu leaves their scale open, and this is where Muon's steps suit it
COEFFICIENT_STEP = 0.03  # likewise of the coefficients of categorical heads
RIDGE = 1e-3
TUNED = ("lambdas", "distortion")  # what may differ from the published model


def check_shape(config: ModelConfig | AudioModelConfig, entry: ModelEntry) -> None:
    """What a model is tuned for may change, and its prior may become wider; else its shape stands."""
    theirs = model_config(entry)
    tuned = {name: getattr(theirs.transform, name) for name in TUNED if hasattr(theirs.transform, name)}
    widths = theirs.prior.context_channels
    same = replace(config, transform=replace(config.transform, **tuned),
                   prior=replace(config.prior, context_channels=widths)) == theirs
    narrower = any(mine < width for mine, width in zip(config.prior.context_channels, widths))
    if not same or narrower or len(config.transform.lambdas) != len(theirs.transform.lambdas):
        raise UsageError(f"model '{entry.name}' has another shape than this configuration")


@torch.no_grad()
def restore(model: Model, entry: ModelEntry, batches) -> None:
    """Loads the weights of a published model of the same shape into `model`; what a wider prior has more of is random, and
    nothing hangs on it yet (Chen et al., Net2Net, 2016). The soft heads of slices of several dims are not published: they
    are fitted to the categorical ones on `batches` of (samples, level).

    Raises UnsupportedError for a decoder-only model, UsageError for one of another shape."""
    entry.require_encoder()
    check_shape(model.config, entry)
    for name, net in (("encoder", model.encoder), ("decoder", model.decoder)):
        net.load_state_dict(weights.unpack(read_tensors(entry, name)))
    books = read_tensors(entry, "codebook")
    for i, quantizer in enumerate(model.quantizers):
        quantizer.codebook.copy_(books[f"s{i}"])
        quantizer.total.copy_(quantizer.codebook)
    float_prior(model.prior, read_tensors(entry, "prior"))
    fit_soft_heads(model, batches)


def float_prior(prior: ContextPrior, tensors: dict[str, torch.Tensor]) -> None:
    """Fills the float context network with what the tensors of prior.safetensors mean."""
    for i in range(len(prior.layouts)):
        float_slice(prior, i, {name: value.double() for name, value in of_slice(tensors, i).items()})


def float_slice(prior: ContextPrior, i: int, t: dict[str, torch.Tensor]) -> None:
    s, context = prior.layouts[i], prior.contexts[i]

    def scaled(name):
        """Weights in steps of the layer's output."""
        weight, mult = t[f"{name}.weight"], t[f"{name}.mult"] / UNIT
        return weight * mult.view(-1, *[1] * (weight.dim() - 1))

    def put(layer, weight, bias=None):
        """Output channels beyond those of `weight` keep what they are, the others hear nothing of further inputs."""
        own = layer.weight[: len(weight)]
        own.zero_()[:, : weight.shape[1]] = weight.view(*weight.shape[:2], *own.shape[2:])
        if bias is not None:
            layer.bias[: len(bias)] = bias

    own = prior.steps[i].double().view(1, -1, 1, 1)
    near = [scaled(f"near{k}") / own for k in range(1, len(context.near) + 1)]
    step3 = WEIGHT_RMS / rms(near[0])
    for layer, weight in zip(context.near, near):
        put(layer, weight * step3)
    if i:
        past1 = scaled("past1") / torch.cat(prior.steps[:i]).double().view(1, -1, 1, 1)
        step1 = WEIGHT_RMS / rms(past1)
        put(context.past1, past1 * step1, torch.zeros(len(past1)))
        context.past_bias[:, : len(past1)] = (t["past1.bias"] / UNIT * step1).float()
        past2 = scaled("past2") / step1
        step2 = WEIGHT_RMS / rms(past2)
        put(context.past2, past2 * step2, t["past2.bias"] / UNIT * step2)
        put(context.past3, scaled("past3") * step3 / step2)
        context.range1.step.fill_(step1)
        context.range2.step.fill_(step2)
    context.bias[:, :, : len(near[0])] = (t["join.bias"] / UNIT * step3).float()
    mix = scaled("mix") / step3
    step4 = WEIGHT_RMS / rms(mix)
    put(context.mix, mix * step4, t["mix.bias"] / UNIT * step4)
    context.range3.step.fill_(step3)
    context.range4.step.fill_(step4)
    gain, offset = scaled("head") / step4, t["head.bias"] / UNIT
    if s.d == 1:
        mean = torch.arange(len(gain)) < s.groups
        scale = torch.where(mean, prior.soft[i].unit * MEAN_UNIT, 1 / LOG_SCALE_STEP).double()
        put(prior.soft[i].layer, gain / scale[:, None], offset / scale + torch.where(mean, 0.0, LOG_SCALE_MIN))
    else:
        head = prior.heads[i]
        put(head.layer, gain * COEFFICIENT_STEP, offset * COEFFICIENT_STEP)
        step = t["logit.mult"] / UNIT / LOGIT_UNIT / COEFFICIENT_STEP
        head.vectors.copy_(t["vectors"] * step[:, None, None])
        head.offset.copy_(t["logit.offset"] / UNIT / LOGIT_UNIT)
        head.step.fill_(COEFFICIENT_STEP)


def rms(weight: torch.Tensor) -> float:
    return weight.square().mean().sqrt().item()


def fit_soft_heads(model: Model, batches) -> None:
    """Logistic heads of slices of several dims: least squares from the hidden state to the mean and log scale of what
    the categorical heads predict."""
    many = [i for i, s in enumerate(model.prior.layouts) if s.d > 1]
    seen, wanted = {i: [] for i in many}, {i: [] for i in many}
    for samples, level in batches:
        latents = model.encoder(samples, level)
        values = model.choose(latents, level)[1]
        for i, h in enumerate(model.prior.hidden(values, level)):
            if i not in many:
                continue
            share = torch.softmax(model.prior.heads[i](h, False), 2)
            book = model.quantizers[i].codebook
            mean = share @ book
            spread = (share @ book.square() - mean.square() + 1 / 12).clamp_min(1 / 12)
            log_scale = 0.5 * spread.log() + 0.5 * torch.tensor(3 / torch.pi**2).log()  # of a logistic: s²π²/3
            rows = [t.permute(1, 0, 2).flatten(1) for t in (mean / model.prior.soft[i].unit, log_scale)]
            wanted[i].append(torch.cat(rows, 1))
            seen[i].append(split_groups(h, h.shape[1])[0])
    for i in many:
        x, y = torch.cat(seen[i]).double(), torch.cat(wanted[i]).double()
        x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
        gram = x.T @ x / len(x)
        gram.diagonal().add_(RIDGE * gram.diagonal().mean())
        solution = torch.linalg.solve(gram, x.T @ y / len(x)).T.float()
        layer = model.prior.soft[i].layer
        layer.weight.copy_(solution[:, :-1, None, None])
        layer.bias.copy_(solution[:, -1])
