"""Workers as processes of this machine: fresh interpreters, spoken to in JSON over a socket each.

A worker's socket is its life line: it ends as soon as the other end is gone, however that happened. It holds the
destination's lock too (see `stores.LocalLog`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from multiprocessing import connection

from ..process import thread_variables
from .jobs import Settings

# "-m" and "-c" look for modules in the current folder first, where anybody's may lie.
_MAIN = ("import sys; sys.path = [p for p in sys.path if p]; "
         "from vqcodec.batch.worker_process import main; main(int(sys.argv[1]))")


REASONS = {"signal 9": "; not enough memory?", "signal 11": "; a library that reads it crashes"}


class Died(Exception):
    """A worker is gone; the message says how. hint: at what it may have been."""

    @property
    def hint(self) -> str:
        return REASONS.get(str(self), "")


class LocalWorker:
    """A process with a model."""

    def __init__(self, settings: Settings, keep_open: tuple[int, ...] = ()):
        ours, theirs = connection.Pipe()
        environment = {**os.environ, **thread_variables(settings.threads)}
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (package, environment.get("PYTHONPATH"))))
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, str(theirs.fileno())], env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=(theirs.fileno(), *keep_open))
        self.connection = ours
        self.send(asdict(settings))

    def fileno(self) -> int:
        return self.connection.fileno()

    def send(self, message: dict) -> None:
        """Raises Died."""
        try:
            self.connection.send_bytes(json.dumps(message).encode())
        except OSError:
            raise Died(self._end()) from None

    def receive(self) -> dict:
        """The next message. Raises Died."""
        try:
            return json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise Died(self._end()) from None

    def close(self) -> None:
        """Ends the process at once."""
        self.connection.close()
        self.process.kill()
        self.process.wait()

    def _end(self) -> str:
        code = self.process.wait()
        self.connection.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


class LocalEngine:
    """Starts workers and waits for them."""

    name = "local"

    def __init__(self, settings: Settings, keep_open: tuple[int, ...] = ()):
        self.settings, self.keep_open = settings, keep_open

    def start(self) -> LocalWorker:
        return LocalWorker(self.settings, self.keep_open)

    def wait(self, workers: list[LocalWorker], timeout: float) -> list[LocalWorker]:
        """Those that have something to receive, or have died."""
        return connection.wait(workers, timeout)

    def close(self) -> None:
        pass


class InlineWorker:
    """No process of its own: a job is done when its result is asked for."""

    def __init__(self, settings: Settings):
        from .work import Worker

        self.worker, self.messages = Worker(settings), [{"ready": True}]

    def send(self, job: dict) -> None:
        self.messages.append(job)

    def receive(self) -> dict:
        message = self.messages.pop(0)
        return message if "ready" in message else self.worker.do(message)

    def close(self) -> None:
        pass


class InlineEngine:
    """All work in this process, for file systems that only it can see, and for debugging."""

    name = "inline"

    def __init__(self, settings: Settings):
        self.settings = settings

    def start(self) -> InlineWorker:
        return InlineWorker(self.settings)

    def wait(self, workers: list[InlineWorker], timeout: float) -> list[InlineWorker]:
        return [worker for worker in workers if worker.messages]

    def close(self) -> None:
        pass
