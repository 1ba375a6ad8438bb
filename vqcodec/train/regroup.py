"""The integer prior of a published model → the tensors of one whose slices are parts of its slices, coded in as many phases
as models get today. Each part starts as the network of the whole, without what it saw of dims that are now coded after it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..indices.prior import of_slice
from ..indices.quantize import SliceLayout

Tensors = dict[str, torch.Tensor]
OF_GROUPS = ("companded", "wide", "bounds", "vectors", "logit.mult", "logit.offset")  # rows are groups
OF_LEVELS = ("start", "size")  # columns are


def parts_of(mine: Sequence[SliceLayout], theirs: Sequence[SliceLayout]) -> list[int] | None:
    """For each of my slices the one of theirs that it is part of, with the same codebooks; None if it is not so."""
    found = []
    for s in mine:
        whole = [i for i, t in enumerate(theirs) if t.dim <= s.dim and s.dim + s.groups * s.d <= t.dim + t.groups * t.d]
        if not whole or (s.d, s.codewords) != (theirs[whole[0]].d, theirs[whole[0]].codewords):
            return None
        found += whole[:1]
    return found if sum(s.groups * s.d for s in mine) == sum(t.groups * t.d for t in theirs) else None


def regroup(tensors: Tensors, mine: Sequence[SliceLayout], theirs: Sequence[SliceLayout], phases: Sequence[int]) -> Tensors:
    """`phases`: of each of my slices. `mine` must be `parts_of` theirs."""
    result = {name: value for name, value in tensors.items() if name.startswith("table.")}
    old = [of_slice(tensors, i) for i in range(len(theirs))]
    past = [seen for s, t in zip(theirs, old) for seen in channels(s, t)]
    for i, whole in enumerate(parts_of(mine, theirs)):
        part = _part(old[whole], mine[i], theirs[whole], phases[i])
        if "past1.weight" in part:
            had = past[: part["past1.weight"].shape[1]]
            now = [seen for j in range(i) for seen in channels(mine[j], of_slice(result, j))]
            part["past1.weight"] = _columns(part["past1.weight"], had, now)
        result.update({f"s{i}.{name}": value for name, value in part.items()})
    return result


def channels(s: SliceLayout, t: Tensors) -> list[tuple[int, bool]]:
    """(dim, wide) of each context feature of a slice."""
    return [(s.dim + i, wide) for wide in (False, True)[: 1 + ("wide" in t)] for i in range(s.groups * s.d)]


def _columns(weight: torch.Tensor, had: list, now: list) -> torch.Tensor:
    """Weights [O,had,…] over other features: [O,now,…], zeros for new ones."""
    result = weight.new_zeros(len(weight), len(now), *weight.shape[2:])
    for column, seen in enumerate(now):
        if seen in had:
            result[:, column] = weight[:, had.index(seen)]
    return result


def _part(t: Tensors, s: SliceLayout, whole: SliceLayout, phases: int) -> Tensors:
    first = (s.dim - whole.dim) // s.d
    groups = slice(first, first + s.groups)
    part = {name: value for name, value in t.items() if name.startswith(("past", "mix", "place", "label"))}
    part |= {name: t[name][groups] for name in OF_GROUPS if name in t}
    part |= {name: t[name][:, groups] for name in OF_LEVELS}
    for name in ("weight", "mult", "bias"):
        rows = t[f"head.{name}"]
        blocks = rows.unflatten(0, (2, whole.groups) if s.d == 1 else (whole.groups, -1))
        part[f"head.{name}"] = (blocks[:, groups] if s.d == 1 else blocks[groups]).flatten(0, 1)
    had, now = channels(whole, t), channels(s, part)
    old = len(t["join.bias"])
    like = [0] + [old - 1 - (phases - 1 - k) % (old - 1) for k in range(1, phases)]  # a kernel for each of a lattice's phases
    for k, source in enumerate(like[1:], 1):
        part[f"near{k}.weight"] = _columns(t[f"near{source}.weight"], had, now)
        part[f"near{k}.mult"] = t[f"near{source}.mult"]
    part["join.bias"] = t["join.bias"][like]
    return part
