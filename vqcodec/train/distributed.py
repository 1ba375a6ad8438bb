"""Data-parallel training under torchrun: averaged gradients, one process that writes."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist


def start() -> tuple[int, int]:
    """(rank, world size); joins the process group when launched by torchrun."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
    return (dist.get_rank(), world) if world > 1 else (0, 1)


def stop() -> None:
    """Leaves the process group together with the others: a process that ends while gloo's threads still hold tensors of its
    last reduction is aborted now and then."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def average_(tensors) -> None:
    """Replaces each tensor by its mean over all processes, in one message."""
    tensors = list(tensors)
    if not (dist.is_initialized() and tensors):
        return
    flat = torch.cat([t.reshape(-1).float() for t in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for t, part in zip(tensors, flat.split([t.numel() for t in tensors])):
        t.copy_(part.view_as(t))


def any_of(flag: bool) -> bool:
    """True everywhere when it is true anywhere."""
    if not dist.is_initialized():
        return flag
    value = torch.tensor(float(flag))
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value)
