"""Workers as Ray actors, on a cluster or on several processes of this machine. The cluster's machines need vqcodec
and the model; SRC and DST must be places that all of them see."""

from __future__ import annotations

import os
from dataclasses import asdict

from ..errors import InputError, UsageError, VqcodecError, cause
from .engine_local import Died
from .jobs import Settings


class Actor:
    """Runs on the cluster; holds the model."""

    def open(self, settings: dict) -> dict:
        from .work import Worker

        try:
            self.worker = Worker(Settings.from_dict(settings))
        except VqcodecError as error:
            return {"fatal": str(error), "exit_code": error.exit_code}
        return {"ready": True}

    def do(self, job: dict) -> dict:
        return self.worker.do(job)


class RayWorker:
    """An actor, and the result that it owes."""

    def __init__(self, ray, actor_class, settings: Settings):
        self.ray = ray
        self.actor = actor_class.remote()
        self.pending = self.actor.open.remote(asdict(settings))

    def send(self, job: dict) -> None:
        self.pending = self.actor.do.remote(job)

    def receive(self) -> dict:
        """The result, which is there. Raises Died where the actor, its machine or the way to it is gone."""
        try:
            return self.ray.get(self.pending)
        except self.ray.exceptions.RayError as error:
            self.close()
            raise Died(cause(error)) from None

    def close(self) -> None:
        self.ray.kill(self.actor)


class RayEngine:
    """Joins the cluster at `address`, or starts one for `workers` workers that ends with this process.

    gpus: GPUs of each worker, such as 0.25; the networks then run there. Raises UsageError without ray, or without
    a GPU to give; InputError where the cluster cannot be reached."""

    name = "ray"

    def __init__(self, settings: Settings, address: str | None, workers: int | None, gpus: float = 0):
        try:
            import ray
        except ImportError:
            raise UsageError("the engine 'ray' needs ray: pip install '.[cluster]'") from None
        # A new cluster's processes inherit these; num_cpus below sets OMP_NUM_THREADS in any. No runtime_env: its
        # agent needs more than a plain install of Ray.
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("RAY_worker_niceness", "0")  # as the workers of the local engine, not 15
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a notice
        self.ray, self.settings = ray, settings
        options = {"log_to_driver": False, "logging_level": "error"}
        if address is None:
            options |= {"include_dashboard": False, "num_cpus": max(os.cpu_count() or 1, (workers or 1) * settings.threads)}
        self.owner = not ray.is_initialized()
        try:
            if self.owner:
                ray.init(address=address or "local", **options)
        except Exception as error:
            raise InputError(f"Ray{f' at {address}' if address else ''}: {cause(error)}") from error
        resources = ray.cluster_resources()
        if gpus and resources.get("GPU", 0) < gpus:
            self.close()
            raise UsageError(f"the Ray cluster has no worker with {gpus:g} GPU")
        # Lost actors are started anew by `dispatch`, which knows what they were at; Ray must not do that too.
        self.actor_class = ray.remote(num_cpus=settings.threads, num_gpus=gpus, max_restarts=0, max_task_retries=0)(Actor)
        slots = resources.get("CPU", 1) // settings.threads
        self.capacity = max(1, int(min(slots, resources["GPU"] // gpus) if gpus else slots))

    def start(self) -> RayWorker:
        return RayWorker(self.ray, self.actor_class, self.settings)

    def wait(self, workers: list[RayWorker], timeout: float) -> list[RayWorker]:
        """Those that have a result, or have died."""
        by_result = {worker.pending: worker for worker in workers}
        ready, _ = self.ray.wait(list(by_result), num_returns=len(by_result), timeout=0) if by_result else ([], [])
        if not ready and by_result:
            ready, _ = self.ray.wait(list(by_result), num_returns=1, timeout=timeout)
        return [by_result[result] for result in ready]

    def close(self) -> None:
        if self.owner:
            self.ray.shutdown()
