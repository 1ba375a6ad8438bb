"""Slices of a published prior cut into parts, and coded in more phases: what stays the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vqcodec.zoo import loading, registry
from vqcodec.indices.config import PriorConfig, QuantizerConfig
from vqcodec.indices.float_prior import ContextPrior, fill
from vqcodec.indices.prior import of_slice
from vqcodec.indices.quantize import layouts
from vqcodec.picture.torch_codec import KIND
from vqcodec.train.regroup import parts_of, regroup

PARTS = QuantizerConfig(slices=(2, 6, 10, 6), dims=(1, 1, 2, 2), codewords=(256, 256, 64, 64))


@pytest.fixture
def published(tiny_model_dir):
    """(config, tensors of the prior) of a model of slices of 8 and 16 dims."""
    entry = registry.find_by_name("tiny", tiny_model_dir)
    return loading.model_config(entry, KIND), loading.read_tensors(entry, "prior")


def prior_of(config, tensors, quantizer, phases):
    theirs, mine = layouts(config.quantizer), layouts(quantizer)
    parts = parts_of(mine, theirs)
    width, rank = config.prior.context_channels, config.prior.rank
    config = replace(config, quantizer=quantizer,
                     prior=PriorConfig(tuple(width[i] for i in parts), tuple(rank[i] for i in parts)))
    prior = ContextPrior(config, phases)
    fill(prior, regroup(tensors, mine, theirs, phases))
    return prior.eval()


def some_books(config):
    return [torch.randn(s.groups, s.codewords, s.d, generator=torch.Generator().manual_seed(s.dim)).sort(1).values
            for s in layouts(config.quantizer)]


@torch.no_grad()
def bits_of(prior, books, values):
    """f32[groups,N,K] of each slice; `books`: those of the published slices."""
    books = [book for whole in books for book in whole]
    mine = [torch.stack(books[s.planes]) for s in prior.layouts]
    return list(prior.codeword_bits(values, torch.tensor([0.5]), mine))


def test_a_prior_cut_into_its_own_slices_is_itself(published):
    config, tensors = published
    theirs = layouts(config.quantizer)
    phases = [len(of_slice(tensors, i)["join.bias"]) for i in range(len(theirs))]
    again = regroup(tensors, theirs, theirs, phases)
    assert set(again) == set(tensors)
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_parts_predict_as_the_whole_did_where_they_may_look(published):
    config, tensors = published
    for name, tensor in tensors.items():  # of their own dims the slices see no more than their first parts may
        if "near" in name and name.endswith("weight"):
            dims, part = (8, 2) if name.startswith("s0") else (16, 10)
            tensor[:, part:dims] = 0
            tensor[:, dims + part :] = 0
    phases = [len(of_slice(tensors, i)["join.bias"]) for i in range(2)]
    values = torch.randn(1, 24, 13, 9, generator=torch.Generator().manual_seed(5)) * 4
    books = some_books(config)
    whole = bits_of(prior_of(config, tensors, config.quantizer, phases), books, values)
    parts = bits_of(prior_of(config, tensors, PARTS, [phases[0]] * 2 + [phases[1]] * 2), books, values)
    assert torch.allclose(parts[0], whole[0][:2], atol=1e-3) and torch.allclose(parts[2], whole[1][:5], atol=1e-3)
    # The others have yet to learn what to make of the first parts.
    assert not torch.allclose(parts[1], whole[0][2:], atol=1e-3) and not torch.allclose(parts[3], whole[1][5:], atol=1e-3)


def test_finer_lattices_start_with_kernels_of_the_same_kind(published):
    """A lattice has two phases, and so two kernels: one for diagonal neighbours, one for all."""
    config, tensors = published
    theirs = layouts(config.quantizer)
    more = regroup(tensors, theirs, theirs, [9, 5])
    for i, sources in enumerate(([0, 5, 6, 1, 2, 3, 4, 5, 6], [0, 1, 2, 1, 2])):
        assert torch.equal(more[f"s{i}.join.bias"], tensors[f"s{i}.join.bias"][sources])
        for k, source in enumerate(sources[1:], 1):
            assert torch.equal(more[f"s{i}.near{k}.weight"], tensors[f"s{i}.near{source}.weight"])
            assert torch.equal(more[f"s{i}.near{k}.mult"], tensors[f"s{i}.near{source}.mult"])


@pytest.mark.parametrize("quantizer", [
    QuantizerConfig(slices=(6, 8, 10), dims=(1, 1, 2), codewords=(256, 64, 64)),  # across a border
    QuantizerConfig(slices=(8, 16), dims=(1, 2), codewords=(256, 32)),
    QuantizerConfig(slices=(8, 16), dims=(2, 2), codewords=(256, 64)),
    QuantizerConfig(slices=(8, 10), dims=(1, 2), codewords=(256, 64)),  # too few dims
])
def test_what_is_no_part_of_the_slices_is_seen(published, quantizer):
    config, _ = published
    assert parts_of(layouts(quantizer), layouts(config.quantizer)) is None
    assert parts_of(layouts(PARTS), layouts(config.quantizer)) == [0, 0, 1, 1]
