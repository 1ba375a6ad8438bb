"""The command `vqcodec`: what must be there before the first import that takes time."""

import os
import signal
import sys


def _keep_output() -> None:
    """Standard output for this program alone: what C libraries print by themselves (libsndfile of damaged MIDI sample dumps), which
    would end up within streams and JSON, goes to standard error."""
    try:
        own, old = os.dup(1), sys.stdout
        if os.fstat(2) and old.fileno() == 1:
            old.flush()
            sys.stdout = open(own, "w", encoding=old.encoding, errors=old.errors, buffering=1 if old.line_buffering else -1)
            os.dup2(2, 1)
    except (OSError, AttributeError):  # one of them is closed
        pass


def main() -> None:
    """Runs the command and exits; Ctrl-C gives one line from the first moment to the last."""
    if sys.argv[1:2] in (["encode"], ["batch"]):  # which read files of others; others have child processes that print
        _keep_output()
    try:
        from .cli import main as program

        program()
    except KeyboardInterrupt:  # before the program could see to it itself
        sys.stderr.write("vqcodec: error: interrupted\n")
        sys.exit(130)
    finally:
        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left to do


if __name__ == "__main__":
    main()
