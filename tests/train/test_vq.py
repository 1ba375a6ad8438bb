"""Product codebooks: choice, look-up, and every way of training them learns."""

from __future__ import annotations

import pytest
import torch

from vqcodec.indices.config import QuantizerConfig
from vqcodec.indices.quantize import choose, dequantize, layouts, look_up, quantize
from vqcodec.train.vq import SliceQuantizer, build, fit_codebook, lattice


def clusters(count: int, seed: int = 0, d: int = 2, groups: int = 3) -> torch.Tensor:
    """f32[1, groups·d, 1, count]: points around eight centres per group, far from the lattice's origin."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(groups, 8, d, generator=torch.Generator().manual_seed(9)) * 4 + 3
    which = torch.randint(8, (groups, count), generator=generator)
    points = torch.gather(centres, 1, which[:, :, None].expand(-1, -1, d))
    points = points + 0.1 * torch.randn(points.shape, generator=generator)
    return points.permute(0, 2, 1).reshape(1, groups * d, 1, count)


def distortion(quantizer: SliceQuantizer, latents: torch.Tensor) -> float:
    quantizer.eval()
    with torch.no_grad():
        return quantizer(latents).codebook.item() if quantizer.update == "gradient" else \
            quantizer(latents).commitment.item()


@pytest.mark.parametrize("assignment", ["straight-through", "soft"])
@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_codebook_learns(assignment, update):
    quantizer = SliceQuantizer(3, 16, 2, assignment=assignment, update=update, decay=0.8)
    held_out = clusters(400, seed=1000)
    before = distortion(quantizer, held_out)
    optimizer = torch.optim.Adam([p for p in quantizer.parameters() if p.requires_grad] or [torch.zeros(1)], lr=0.1)
    for step in range(150):
        quantizer.train()
        latents = clusters(200, seed=step)
        loss = quantizer(latents).codebook
        if update == "gradient":
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if step % 20 == 10:
            quantizer.revive(latents, torch.Generator().manual_seed(step))
    assert distortion(quantizer, held_out) < 0.1 * before


def test_ema_codeword_is_the_decayed_mean_of_its_latents():
    quantizer = SliceQuantizer(1, 2, 1, update="ema", decay=0.5)
    quantizer.codebook.data.copy_(torch.tensor([[[0.0], [10.0]]]))
    quantizer.count.fill_(1.0)
    quantizer.total.copy_(torch.tensor([[[0.0], [10.0]]]))
    quantizer.train()
    quantizer(torch.tensor([1.0, 3.0, 9.0]).reshape(1, 1, 1, 3))
    # N = (0.5·1 + 0.5·2, 0.5·1 + 0.5·1), m = (0.5·0 + 0.5·4, 0.5·10 + 0.5·9)
    assert torch.allclose(quantizer.codebook[0, :, 0], torch.tensor([2 / 1.5, 9.5 / 1.0]))


def test_straight_through_copies_gradients_and_commitment_pulls_latents():
    quantizer = SliceQuantizer(1, 16, 1)
    latents = torch.tensor([0.3, -1.4, 2.6]).reshape(1, 1, 1, 3).requires_grad_()
    assigned = quantizer(latents)
    assert torch.equal(assigned.values.detach().flatten(), torch.tensor([0.0, -1.0, 3.0]))
    (assigned.values * torch.tensor([1.0, 2.0, 3.0])).sum().backward(retain_graph=True)
    assert torch.equal(latents.grad.flatten(), torch.tensor([1.0, 2.0, 3.0]))
    latents.grad = None
    assigned.commitment.backward()
    assert torch.equal(latents.grad.flatten().sign(), torch.tensor([1.0, -1.0, -1.0]))


def test_soft_assignment_has_the_gradient_of_the_softmax_average():
    quantizer = SliceQuantizer(1, 16, 1, assignment="soft", temperature=0.5)
    latents = torch.tensor([0.4]).reshape(1, 1, 1, 1).requires_grad_()
    quantizer(latents).values.sum().backward()
    step = 1e-3
    book = quantizer.codebook.detach()[0, :, 0]
    average = [(torch.softmax(-((0.4 + s - book) ** 2) / 0.5, 0) * book).sum().item() for s in (-step, step)]
    assert latents.grad.item() == pytest.approx((average[1] - average[0]) / (2 * step), rel=1e-2)


def test_noise_assignment_is_uniform_of_unit_width():
    quantizer = SliceQuantizer(1, 16, 1, assignment="noise")
    noise = quantizer(torch.zeros(1, 1, 1, 4000)).values.detach()
    assert noise.abs().max() <= 0.5 and noise.var().item() == pytest.approx(1 / 12, rel=0.1)


def test_dead_codewords_are_revived():
    quantizer = SliceQuantizer(3, 64, 2, decay=0.5).train()
    latents = clusters(300)
    for _ in range(30):
        quantizer(latents)
    used = quantizer.perplexity()
    assert quantizer.revive(latents, torch.Generator().manual_seed(0)).any()
    for _ in range(30):
        quantizer(latents)
    assert (quantizer.perplexity() > used).all()


def test_nearest_codeword_and_ties():
    book = torch.tensor([[[0.0], [2.0], [4.0]]])
    assert choose(torch.tensor([[[0.9], [1.0], [3.0], [9.0]]]), book).tolist() == [[0, 0, 1, 2]]
    bits = torch.tensor([[[9.0, 0.0, 9.0]]]).expand(1, 4, 3)
    assert choose(torch.tensor([[[0.5], [1.0], [3.5], [9.0]]]), book, bits, 1.0).tolist() == [[1, 1, 1, 2]]


def test_quantize_and_dequantize_are_inverse_on_codewords():
    config = QuantizerConfig((4, 6, 8), (1, 2, 4), (16, 9, 32))
    books = [q.codebook.detach() for q in build(config)]
    grids = torch.cat([torch.randint(s.codewords, (2, s.groups, 5, 3)) for s in layouts(config)], 1)
    values = dequantize(grids, books, config)
    assert values.shape == (2, 18, 5, 3)
    assert torch.equal(quantize(values, books, config), grids)


def test_each_group_chooses_in_its_own_codebook():
    books = torch.stack([lattice(1, 8, 2)[0], lattice(1, 8, 2)[0] + 100])
    vectors = torch.zeros(2, 1, 2)
    assert look_up(choose(vectors, books), books)[0].abs().max() == 0
    assert look_up(choose(vectors, books), books)[1].min() > 90


@pytest.mark.parametrize("d", [1, 2, 4])
def test_entropy_constrained_lloyd_beats_the_lattice(d):
    torch.manual_seed(0)
    vectors = torch.distributions.Laplace(0.0, 0.6).sample((4000, d))

    def cost(book):
        bits = torch.zeros(len(book))
        for _ in range(20):
            chosen = choose(vectors[None], book[None], bits[None, None])[0]
            share = torch.bincount(chosen, minlength=len(book)).float() / len(chosen)
            bits = -share.clamp_min(1e-6).log2()
        return ((vectors - book[chosen]) ** 2).sum(1).mean() + 0.1155 * bits[chosen].mean()

    book, share = fit_codebook(vectors, 64)
    assert cost(book) < (1.0 if d == 1 else 0.99) * cost(lattice(1, 64, d)[0])
    assert share.sum().item() == pytest.approx(1, abs=1e-3)
    assert (book[1:, 0] >= book[:-1, 0]).all() if d == 1 else (share[1:] <= share[:-1]).all()
