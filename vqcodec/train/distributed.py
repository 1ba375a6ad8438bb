"""Data-parallel training under torchrun: averaged gradients, one process that writes."""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist


def world_size() -> int:
    """How many processes torchrun launched; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def start() -> tuple[int, int]:
    """(rank, world size); joins the process group when launched by torchrun."""
    world = world_size()
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
    return (dist.get_rank(), world) if world > 1 else (0, 1)


def stop() -> None:
    """Leaves the process group together with the others."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def end_process() -> None:
    """Ends a process that torchrun launched, as a success, without taking Python down: threads of gloo that let go of their last
    tensors meanwhile would abort it now and then. Does nothing where there is one process only."""
    if world_size() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


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
