"""A run from SRC to DST: plan, claim outputs, work, record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace

from ..errors import one_line, shown
from . import memory
from .dispatch import Budget, dispatch
from .engine_local import InlineEngine, LocalEngine
from .jobs import Failure, Job, Settings
from .manifest import NAME, Manifest, read_history
from .plan import Plan, Rules, make_plan
from .progress import ProgressLine, Totals
from .stores import open_store


@dataclass(frozen=True)
class Engine:
    """How to work. jobs: workers, 0 is this process itself, None (Ray) as many as there are cores; limit: bytes for
    all workers together, None for what is available; kind: "local" or "ray"; address, gpus: for Ray."""

    jobs: int | None = 1
    limit: int | None = None
    kind: str = "local"
    address: str | None = None
    gpus: float = 0


@dataclass
class Summary:
    """What became of a run. failures: dicts of source, output, error, exit_code."""

    totals: Totals
    plan: Plan
    failures: list[dict] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """The highest that any file gives."""
        return max((failure["exit_code"] for failure in self.failures), default=0)

    def as_dict(self) -> dict:
        t = self.totals
        return {"files": t.files, "done": t.done, "complete": t.complete, "failed": t.failed,
                "ignored": len(self.plan.ignored), "ignored_files": [asdict(file) for file in self.plan.ignored],
                "collisions": self.plan.collisions, "bytes_in": t.bytes_in,
                "bytes_out": t.bytes_out, "ratio": t.bytes_in / t.bytes_out if t.bytes_out else None,
                "megapixels": t.pixels / 1e6, "seconds": round(t.seconds, 3),
                "megapixels_per_second": t.pixels / 1e6 / t.seconds,
                "sound_seconds": round(t.duration, 3), "sound_seconds_per_second": t.duration / t.seconds,
                "peak_memory_per_worker": max(t.peak_memory.values(), default=0), "failures": self.failures}


def preview(settings: Settings, rules: Rules) -> Plan:
    """The plan of a run, with nothing created, locked or changed."""
    source, destination = open_store(settings.source), open_store(settings.destination)
    return make_plan(source, destination, settings, rules, read_history(destination))


def run(settings: Settings, rules: Rules, engine: Engine, say: Callable[[str], None], quiet: bool = False,
        prepare: Callable[[int], None] = lambda count: None) -> Summary:
    """Does what is not complete. `say` gets one line per failure or warning, `prepare` the number of files before
    workers start. Raises InputError, UnsupportedError or UsageError where nothing can be done at all,
    KeyboardInterrupt and signals.Terminated when told to stop."""
    source, destination = open_store(settings.source), open_store(settings.destination)
    source.check_folder()
    log = destination.open_log(NAME)
    manifest = Manifest(log)
    try:
        destination.remove_temporaries(NAME)
        plan = make_plan(source, destination, settings, rules, manifest.history)
        totals = Totals(files=plan.files, complete=len(plan.complete),
                        bytes_left=sum(job.source.size for job in plan.jobs))
        summary = Summary(totals, plan)
        progress = ProgressLine(totals, quiet)

        def failed(path: str, output: str | None, failure: Failure) -> None:
            totals.failed += 1
            message = failure.message.removeprefix(f"{path}: ").removeprefix(f"{shown(path)}: ")
            summary.failures.append({"source": path, "output": output, "error": message,
                                     "exit_code": failure.exit_code})
            manifest.failed(path, output, message, failure.exit_code)
            progress.clear()
            say(f"{shown(path)}: FAILED: {one_line(message)}")

        for path, output, failure in plan.failures:
            failed(path, output, failure)
        manifest.plan([job.output for job in plan.jobs])
        try:
            if plan.jobs:
                prepare(len(plan.jobs))
            with closing(_work(settings, engine, plan.jobs, source, log)) as results:  # so that no worker is left
                for job, outcome in results:
                    if isinstance(outcome, Failure):
                        totals.bytes_left -= job.source.size
                        failed(job.source.path, job.output, outcome)
                    elif job is not None:
                        facts = dict(outcome)
                        totals.bytes_left -= job.source.size
                        totals.add(facts)
                        totals.peak_memory[facts["worker"]] = facts.pop("peak_memory")
                        name = shown(job.source.path)
                        for message in [*facts.pop("messages"), *filter(None, [facts.get("note")])]:
                            progress.clear()
                            say(f"warning: {name}: {one_line(message).removeprefix(name + ': ')}")
                        manifest.done(job.source, job.output, settings.fingerprint(job.kind), facts)
                    progress.update()
        finally:
            progress.clear()
            destination.remove_temporaries(NAME)
        return summary
    finally:
        manifest.close()


def _work(settings: Settings, engine: Engine, jobs: list[Job], source, log):
    """The engine's results, under a bound on memory."""
    if not jobs:
        return
    kinds = {job.kind for job in jobs}
    settings = replace(settings, encodings={kind: value for kind, value in settings.encodings.items() if kind in kinds})
    made = _engine(settings, engine, log)
    count = max(1, min(engine.jobs if engine.jobs is not None else made.capacity, len(jobs)))
    limit = engine.limit
    if limit is None and engine.kind == "local":
        available = memory.available()
        limit = None if available is None else int(0.9 * available)
    files = None
    if limit is not None:
        # as many workers as leave room for a middling file each
        worker = memory.WORKER + max(0, len(kinds) - 1) * memory.MODEL
        count = max(1, min(count, limit // (worker + max(map(memory.middling, kinds)))))
        files = max(0, limit - count * worker)
    budget = Budget(files, lambda job: memory.of_file(source, job.source.path, job.kind, settings.command),
                    strict=engine.limit is not None)
    yield from dispatch(made, jobs, count, budget, settings.limits.seconds)


def _engine(settings: Settings, engine: Engine, log):
    if engine.kind == "ray":
        from .engine_ray import RayEngine

        return RayEngine(settings, engine.address, engine.jobs, engine.gpus)
    if engine.jobs == 0:
        return InlineEngine(settings)
    return LocalEngine(settings, (log.fileno(),) if hasattr(log, "fileno") else ())
