"""The prior as the search sees it: prices as the integer prior's, gradients as differences of the bits say."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from conftest import synthetic_picture

from vqcodec.indices import rates as rates_module
from vqcodec.picture import search as refine
from vqcodec.zoo import registry
from vqcodec.picture.codec import Codec
from vqcodec.indices.float_prior import ContextPrior, fill
from vqcodec.indices.choosing import price_of_mass
from vqcodec.zoo.loading import read_tensors
from vqcodec.indices.prior import phase_map
from vqcodec.indices.quantize import codewords_of, distances, look_up, split_groups
from vqcodec.indices.rates import Rates

SIXTEENTHS = 16


@pytest.fixture(scope="module")
def codec(tiny_model_dir):
    return Codec.open(registry.find_by_name("tiny", tiny_model_dir))


@pytest.fixture(scope="module")
def latents(codec):
    return codec.latents(synthetic_picture(128, 176), SIXTEENTHS).clone()


@pytest.fixture(autouse=True)
def exact_arithmetic(monkeypatch):
    monkeypatch.setattr(rates_module, "fast_arithmetic", nullcontext)


def weights_of(codec):
    return [(1 + 0.5 * i) * refine.SEARCHES["mse"].weight for i in range(len(codec.coder.layouts))]


def rates_of(codec, sixteenths=SIXTEENTHS, **options):
    options = {"windows": codec.coder.prior.windows(sixteenths), **options}
    return Rates(codec.context, codec.coder.codebooks, weights_of(codec), torch.tensor([sixteenths / 16]), **options)


def choose(rates, latents):
    """(codewords chosen at the prices beside the nearest ones, their indices, gradient)"""
    gradient = torch.empty_like(latents)
    return *rates.choose(latents, rates.nearest(latents), True, gradient), gradient


def codewords(rates, indices, latents):
    return codewords_of([i.long() for i in indices], rates.codebooks, (1, *latents.shape[2:]))


def test_prices_are_those_of_the_integer_prior(codec, latents):
    rates = rates_of(codec)
    [before] = rates.nearest(latents)
    windows = codec.coder.prior.windows(SIXTEENTHS)
    before = [torch.minimum(torch.maximum(i.long(), start[:, None]), (start + size)[:, None] - 1).short()
              for i, (start, size) in zip(before, windows)]
    rates.choose(latents, [before], True, torch.empty_like(latents))
    errors = []

    def compare(step):
        i = codec.coder.layouts.index(step.layout)
        entry = rates.lists[0][i]
        mass = step.cdf.long().diff(dim=2).permute(1, 0, 2)  # [G,N,A]
        wanted = price_of_mass(weights_of(codec)[i])[mass]
        prices = torch.cat(entry.prices, 1)[:, step.positions].float()
        if entry.first is not None:
            symbols = entry.first[:, step.positions, None] + torch.arange(prices.shape[2]) - step.start[:, None, None]
            assert ((symbols < step.cdf.shape[2] - 1) | prices.isinf()).all()
            symbols = symbols.clamp(max=step.cdf.shape[2] - 2)
            assert torch.equal(look_up(entry.first[:, step.positions].long(), rates.codebooks[i]).squeeze(2),
                               entry.words[:, step.positions, 0])
            wanted = wanted.gather(2, symbols)
        likely = wanted < 8 * weights_of(codec)[i]  # the others' mass is near the coder's floor
        errors.append((prices - wanted)[likely & ~prices.isinf()] / weights_of(codec)[i])
        return before[i].long()[:, step.positions].T - step.start

    codec.coder._walk(*latents.shape[2:], SIXTEENTHS, compare, lambda: None)
    errors = torch.cat(errors).abs()
    assert len(errors) > 5000 and errors.mean() < 0.05 and errors.quantile(0.95) < 0.3  # bits


@pytest.mark.parametrize("quality", [1, 2, 3])
def test_a_shortlist_holds_what_latents_nearby_would_choose(codec, latents, quality):
    rates = rates_of(codec, 16 * (quality - 1), windows=None)
    gradient = torch.empty_like(latents)
    _, before = rates.choose(latents, rates.nearest(latents), True, gradient)
    rates.choose(latents, before, True, gradient)
    moved = latents + torch.rand(latents.shape, generator=torch.Generator().manual_seed(quality)) * 2 - 1
    found, _ = rates.choose(moved, before, False, gradient)
    excess = []
    with torch.no_grad():
        bits = codec.context.codeword_bits(codewords(rates, before[0], latents), rates.level, rates.codebooks)
        for s, book, weight, own in zip(codec.coder.layouts, rates.codebooks, rates.weights, bits):  # with all to choose from
            cost = distances(split_groups(moved[:, s.dims], s.d), book) + weight * own
            taken = distances(split_groups(found[:, s.dims], s.d), book).argmin(2, keepdim=True)
            excess.append((cost.gather(2, taken).squeeze(2) - cost.amin(2)).flatten())
    excess = torch.cat(excess)
    assert (excess < 0.01).float().mean() > 0.995 and excess.mean() < 1e-3


def test_gradient_is_that_of_the_others_bits(codec, latents):
    rates = rates_of(codec, windows=None)
    [indices] = rates.nearest(latents)
    gradient, values = torch.empty_like(latents), codewords(rates, indices, latents)
    rates.choose(latents, [indices], True, gradient)

    def bits(values):
        """Of the chosen indices, as contexts see `values`."""
        total = 0
        for i, table in enumerate(codec.context.codeword_bits(values, rates.level, rates.codebooks)):
            total += table.gather(2, indices[i].long()[:, :, None]).double().sum()
        return total

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(3):
            direction = gradient + torch.randn(latents.shape, generator=generator) * gradient.abs()
            direction = direction * 0.05 / direction.abs().max()
            difference = bits(values + direction) - bits(values - direction)
            assert difference.abs() > 0.01
            assert torch.isclose(2 * (gradient * direction).double().sum(), difference, rtol=0.05)


def narrow(codec):
    """Windows of three codewords at the end of scalar codebooks; of the others the first three."""
    return [(torch.full((s.groups,), s.codewords - 3 if s.d == 1 else 0), torch.full((s.groups,), 3)) for s in codec.coder.layouts]


@pytest.mark.parametrize("windows", [0, 7, 16, 32, narrow])
def test_nothing_outside_of_the_windows_is_chosen(codec, latents, windows):
    rates = rates_of(codec, windows) if isinstance(windows, int) else rates_of(codec, windows=windows(codec))
    far = latents + torch.randn(latents.shape, generator=torch.Generator().manual_seed(1)) * 30
    _, [chosen], _ = choose(rates, far)
    for indices, (start, size) in zip(chosen, rates.windows):
        assert ((indices >= start[:, None]) & (indices < (start + size)[:, None])).all()


def test_indices_name_the_codewords(codec, latents):
    rates = rates_of(codec)
    values, [indices], _ = choose(rates, latents)
    assert torch.equal(codewords(rates, indices, latents), values)
    for s, book, chosen in zip(codec.coder.layouts, rates.codebooks, indices):
        assert torch.equal(look_up(chosen.long(), book), split_groups(values[:, s.dims], s.d))


def test_prices_are_kept_until_they_are_renewed(codec, latents, monkeypatch):
    looks = []
    look = Rates._look
    monkeypatch.setattr(Rates, "_look", lambda *args: looks.append(1) or look(*args))
    results = []
    for keep in (True, False):
        rates, gradient = rates_of(codec, keep=keep), torch.empty_like(latents)
        first, indices = rates.choose(latents, rates.nearest(latents), True, gradient)
        rates.choose(latents, indices, False, gradient)
        results.append((first, len(looks)))
    assert [count for _, count in results] == [1, 3]
    assert torch.equal(results[0][0], results[1][0])


def test_bands_are_apart(codec, latents):
    """As in the stream: one band's contexts end where it ends."""
    rows = [slice(0, 2), slice(2, 8)]
    parts = [choose(rates_of(codec), latents[:, :, r]) for r in rows]
    values, _, gradient = choose(rates_of(codec, bands=rows), latents)
    assert torch.equal(values, torch.cat([part for part, _, _ in parts], 2))
    assert torch.equal(gradient, torch.cat([part for _, _, part in parts], 2))


def test_models_of_fewer_phases_are_understood(codec, latents):
    """Published models may have other phases than models get today."""
    whole = codec.context.contexts
    assert [part.phases for part in whole] == [7, 3]
    context = ContextPrior(codec.model, [2, 3])
    fill(context, {name: value[:2] if name == "s0.join.bias" else value
                   for name, value in read_tensors(codec.entry, "prior").items()})
    assert [len(part.near) for part in context.contexts] == [1, 2]
    with torch.no_grad():
        found, whole = (list(prior.hidden(latents, torch.tensor([1.0]))) for prior in (context.eval(), codec.context))
    first = phase_map(*latents.shape[2:], 7) == 0
    assert torch.allclose(found[0][:, :, first], whole[0][:, :, first])
