"""Main program of a local worker: settings, then jobs, arrive over the socket whose number is the argument."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from multiprocessing.connection import Connection


def main(descriptor: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    connection, inbox = Connection(descriptor), queue.Queue()

    def listen() -> None:
        """Ends the process with its parent, even in the middle of a file."""
        try:
            while True:
                inbox.put(json.loads(connection.recv_bytes()))
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    from ..errors import VqcodecError
    from .jobs import Settings
    from .work import Worker

    def reply(message: dict) -> None:
        connection.send_bytes(json.dumps(message).encode())

    try:
        worker = Worker(Settings.from_dict(inbox.get()))
    except VqcodecError as error:
        reply({"fatal": str(error), "exit_code": error.exit_code})
        return
    reply({"ready": True})
    while True:
        reply(worker.do(inbox.get()))
