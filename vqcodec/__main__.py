"""The command `vqcodec`: what must be there before the first import that takes time."""

import signal
import sys


def main() -> None:
    """Runs the command and exits; Ctrl-C gives one line from the first moment to the last."""
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
