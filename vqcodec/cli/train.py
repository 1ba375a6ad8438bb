"""The commands `vqcodec train MODALITY`, one for each medium that can be trained."""

from __future__ import annotations

from pathlib import Path

import click

from ..medium import media
from .support import models_dir_option


@click.group()
def train():
    """Train models."""


def _options(function):
    for option in reversed((
        click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)),
        click.option("--config", type=click.Path(path_type=Path), metavar="FILE",
                     help="Model and training configuration."),
        click.option("--out", type=click.Path(path_type=Path), metavar="RUN", required=True, help="Folder of the run."),
        click.option("--init", type=click.Path(path_type=Path), metavar="FILE",
                     help="Start a new run from these weights: a stageN.pt of another run."),
        click.option("--from-model", metavar="NAME", help="Start a new run from this published model."),
        click.option("--export", metavar="NAME", help="Register the result as a model of this name."),
        click.option("--minutes", type=click.FloatRange(min=0), metavar="N",
                     help="Stop after N minutes; the same command goes on."),
        models_dir_option,
    )):
        function = option(function)
    return function


def _command(modality: str, nouns: str):
    @_options
    def run(directories, config, out, init, from_model, export, minutes, models_dir):
        from ..train import distributed
        from ..train.run import train as work

        work(modality, list(directories), config, out, export, models_dir, init, from_model, minutes)
        distributed.end_process()

    run.__doc__ = f"Train a model on the {nouns} below each DIR; an interrupted RUN is continued."
    return click.command(modality)(run)


for _medium in filter(lambda medium: medium.trainable, media()):
    train.add_command(_command(_medium.modality, _medium.trained_on))
