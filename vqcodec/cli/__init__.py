"""The command `vqcodec`."""

from .program import main

__all__ = ["main"]
