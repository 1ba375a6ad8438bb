"""Which worker does what, and when: the same for all engines."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..errors import InputError, LimitError, UnsupportedError
from ..filelimits import out_of_time
from .engine_local import Died
from .jobs import Failure, Job

GRACE = 2.0  # seconds beyond its time that a worker has to end a file itself, by the loops that look at the clock
_STARTS = 3  # workers in a row that may die before any is ready


@dataclass(frozen=True)
class Budget:
    """Bytes for all files that are worked on at the same time; None: no bound. needed(job) estimates one.
    strict: what does not even fit alone fails, instead of being tried alone."""

    limit: int | None
    needed: Callable[[Job], int]
    strict: bool = False


def dispatch(engine, jobs: list[Job], count: int, budget: Budget,
             seconds: float | None = None) -> Iterator[tuple[Job | None, dict | Failure | None]]:
    """Does all jobs with up to `count` workers and yields (job, facts or Failure) as they end, and (None, None) now
    and then while nothing does.

    A job whose worker dies is tried once more, with nothing beside it. One that takes more than `seconds` fails, and its worker
    is ended where it does not do so by itself. Raises InputError where workers cannot be
    started. Workers are closed whatever happens."""
    queue, costs = deque(jobs), {}
    idle, busy, starting, begun = [], {}, set(), {}
    deaths = 0
    try:
        while queue or busy:
            while queue and len(idle) + len(busy) + len(starting) < min(count, len(queue) + len(busy)):
                starting.add(engine.start())
            while queue and idle:
                job = queue[0]
                if job not in costs:
                    costs[job] = budget.needed(job) if budget.limit is not None else 0
                if budget.strict and costs[job] > budget.limit:
                    queue.popleft()
                    yield job, Failure(f"needs about {costs.pop(job) >> 20} MiB beside the model, more than "
                                       "--limit-memory leaves")
                    continue
                others = sum(costs[other] for other in busy.values())
                alone = job.retried or any(other.retried for other in busy.values())
                if busy and (alone or budget.limit is not None and others + costs[job] > budget.limit):
                    break
                queue.popleft()
                worker = idle.pop()
                try:
                    worker.send(job.as_dict())
                except Died:
                    queue.appendleft(job)  # it was never begun
                    continue
                busy[worker], begun[worker] = job, time.monotonic()
            ended = engine.wait([*busy, *starting], 0.2)
            if not ended:
                yield None, None
            for worker in ended:
                try:
                    message = worker.receive()
                except Died as death:
                    starting.discard(worker)
                    job = busy.pop(worker, None)
                    if job is None:
                        deaths += 1
                        if deaths >= _STARTS:
                            raise InputError(f"workers die before they are ready ({death})") from None
                    elif job.retried:
                        yield job, Failure(f"the worker died twice over this file ({death}){death.hint}")
                    else:
                        again = replace(job, retried=True)
                        costs[again] = costs.pop(job)
                        queue.append(again)
                    continue
                if "fatal" in message:
                    raise (UnsupportedError if message["exit_code"] == UnsupportedError.exit_code else InputError)(
                        message["fatal"])
                deaths = 0
                starting.discard(worker)
                idle.append(worker)
                if worker in busy:
                    job = busy.pop(worker)
                    costs.pop(job, None)
                    yield job, Failure(message["error"], message["exit_code"]) if "error" in message else message
            for worker in [worker for worker in busy if seconds is not None and worker not in ended
                           and time.monotonic() - begun[worker] > seconds + GRACE]:
                job = busy.pop(worker)
                worker.close()
                costs.pop(job, None)
                yield job, Failure(str(out_of_time(seconds)), LimitError.exit_code)
    finally:
        for worker in (*idle, *busy, *starting):
            worker.close()
        engine.close()
