"""The command `vqcodec`. Everything slow to import is imported by the commands that need it."""

from __future__ import annotations

import click

from ..stream import VERSION
from . import files
from .batch import batch
from .benchmark import benchmark
from .models import models
from .sampling import continue_, fill, sample
from .support import EXIT_CODES, Program
from .train import train


def _version(context, parameter, value) -> None:
    if value and not context.resilient_parsing:
        from importlib import metadata

        try:
            version = metadata.version("vqcodec")
        except metadata.PackageNotFoundError:  # run from a checkout that was never installed
            version = "(not installed)"
        click.echo(f"vqcodec {version}, format version {VERSION}")
        context.exit()


@click.group("vqcodec", cls=Program, epilog=EXIT_CODES,
             context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
              help="Show the version and exit.")
def main():
    """A neural codec of images and sound: small files that decode alike on any machine."""


for _command in (files.encode, files.decode, files.inspect, files.verify, sample, continue_, fill, models, batch, train, benchmark):
    main.add_command(_command)
