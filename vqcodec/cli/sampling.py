"""The commands that draw from a model's prior: sample, continue, fill. They know media by `vqcodec/medium.py` alone."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext

import click

from .. import fileio, filelimits, medium
from ..errors import UsageError
from ..indices.drawing import MOST_SWEEPS, SETTLED, SWEEPS, Drawing
from ..indices.quality import usual_quality
from ..stream import MAGIC
from ..zoo import registry
from .files import model_fields, naming, refuse_same_file
from .progress import Progress
from .support import (
    Number,
    echo_json,
    encoding_model,
    force_option,
    json_option,
    limit_options,
    limits_of,
    models_dir_option,
    shown,
    verbose_option,
    warn,
)

STREAM = "vq"  # extension


class Numbers(click.ParamType):
    """The numbers of a measure, between its marks."""

    def __init__(self, measure: medium.Measure):
        self.measure, self.name = measure, measure.form

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        words = value.split(self.measure.mark) if self.measure.mark else [value]
        try:
            numbers = tuple((int if self.measure.whole else float)(word) for word in words)
        except ValueError:
            self.fail(f"'{value}' is not {self.measure.form}", param, ctx)
        return numbers if len(numbers) > 1 else numbers[0]


def _measure_options(action: str):
    """Decorator: the measures of all media."""
    def decorate(function):
        for measure in reversed(medium.all_measures(action)):
            of = [m.nouns for m in medium.media() if m.measures.get(action) == measure]
            function = click.option(f"--{measure.name}", type=Numbers(measure), metavar=measure.form,
                                    help=f"Of {' and '.join(of)}: {measure.help}")(function)
        return function
    return decorate


def _shared_options(function):
    for option in reversed((
        click.option("--seed", type=click.IntRange(0, (1 << 64) - 1), default=0, metavar="S", help="Another one draws another [0]."),
        click.option("--temperature", type=Number("t", 0), metavar="T",
                     help=f"Below 1 what is likely, above 1 what is not [1; beside what is kept {SETTLED:g}]."),
        click.option("--label", metavar="L", help="What it is to be, of models that have labels."),
        click.option("--format", "extension", metavar="EXT", help="Format, by its extension [OUT's]; vq: a stream."),
        click.option("--subtype", metavar="NAME", help="Of sound: coding within the format, such as PCM_24 [PCM_16]."),
        limit_options("pixels", "samples", "output", "memory", "seconds"), models_dir_option, force_option, json_option,
        verbose_option, click.option("--quiet", is_flag=True, help="No summary line."))):
        function = option(function)
    return function


_SWEEPS = click.option("--sweeps", type=click.IntRange(0, MOST_SWEEPS), default=SWEEPS, metavar="N",
                       help=f"Redraw so often, to fit to what is kept [{SWEEPS}; text: never].")
_QUALITY = click.option("-q", "--quality", type=Number("q", 1), help="From 1 to the model's highest [the middle].")


@click.command(epilog="'-' is standard output. Of several, each OUT has the item's number before its extension: out-03.png.")
@click.argument("model", metavar="MODEL")
@click.argument("output", metavar="OUT", type=click.Path())
@click.option("--count", type=click.IntRange(1), metavar="N", help="So many items [1].")
@click.option("--item", "first", type=click.IntRange(0, (1 << 32) - 1), default=0, metavar="N", help="Number of the first [0].")
@_measure_options("sample")
@_QUALITY
@_shared_options
def sample(model, output, count, first, quality, models_dir, as_json, **options):
    """Draw items from MODEL's prior: files that nobody has encoded. The same seed gives the same on every machine."""
    entry = registry.find_by_name(model, models_dir, None)
    kind = medium.of_modality(entry.modality)
    measure = _taken(kind, "sample", options)
    if count is not None and output == fileio.STDIO:
        raise UsageError("--count needs a name for the results, not standard output")
    drawings = [_drawing(options, 1.0, first + i) for i in range(count or 1)]
    allowed, results, coder = limits_of(options), [], kind.open(entry)
    quality = usual_quality(coder.qualities) if quality is None else quality
    _drop(options)
    for drawing in drawings:
        target = output if count is None else _numbered(output, drawing.item, first + count - 1)
        with filelimits.within(allowed):
            results.append(_write(
                kind, entry, coder, target, lambda progress, drawing=drawing: kind.sample(coder, drawing, measure, quality, progress),
                {"seed": drawing.seed, "item": drawing.item, "temperature": drawing.temperature}, as_json, **options))
    if as_json:
        echo_json({"files": results} if count is not None else results[0], output)


def _beside(action: str):
    """Decorator: arguments and options of what draws beside something that is kept."""
    def decorate(function):
        for part in reversed((
            click.argument("path", metavar="IN", type=click.Path()), click.argument("output", metavar="OUT", type=click.Path()),
            _measure_options(action), _QUALITY,
            click.option("--model", metavar="NAME", help="Model to encode with, where IN is no .vq file."), _SWEEPS,
            _shared_options)):
            function = part(function)
        return function
    return decorate


@click.command("continue", epilog="'-' is standard input or output. IN is a .vq file, or is encoded first.")
@_beside("continue")
def continue_(**options):
    """Draw what could follow IN: rows below a picture, seconds behind a recording, bytes behind a text."""
    _from_stream("continue", **options)


@click.command(epilog="'-' is standard input or output. IN is a .vq file, or is encoded first.")
@_beside("fill")
def fill(**options):
    """Draw a part of IN anew, and keep the rest."""
    _from_stream("fill", **options)


def _from_stream(action: str, path, output, quality, model, models_dir, as_json, **options) -> None:
    drawing, allowed = _drawing(options, SETTLED, sweeps=options.pop("sweeps")), limits_of(options)
    refuse_same_file(path, output)
    fileio.ensure_writable(output, options["force"])
    source = fileio.Source.open(path)
    with filelimits.within(allowed), naming(path):
        if source.head.startswith(MAGIC):
            if quality is not None or model is not None:
                raise UsageError(f"{shown(path)} is a .vq file: its quality and its model are known")
            kind = medium.of_stream(source.head)
            measure = _taken(kind, action, options)
            header = kind.header(source.head)
            filelimits.check(kind.extent(source.head), source.size)
            entry = registry.find_by_stream(header.model_id, header.model_hash, models_dir)
            coder, data = kind.open(entry), source.data()
        else:
            kind = medium.of_head(source.head, path)
            measure = _taken(kind, action, options)
            entry = encoding_model(model, models_dir, kind.modality)
            request, parts = medium.Request(quality), []
            samples, coder = kind.read(source, request), kind.open(entry, encoder=True)
            with Progress(shown(path), options["verbose"]) as progress:
                note = kind.encode(coder, samples, request, parts.append, progress).note
            if note:
                warn(f"{shown(path)}: {note}")
            data = b"".join(parts)
        _drop(options)
        draw = kind.extend if action == "continue" else kind.fill
        result = _write(kind, entry, coder, output, lambda progress: draw(coder, data, drawing, measure, progress),
                        {"input": path, "seed": drawing.seed, "temperature": drawing.temperature,
                         "sweeps": drawing.sweeps}, as_json, **options)
    if as_json:
        echo_json(result, output)


def _taken(kind: medium.Medium, action: str, options: dict):
    """The measure, taken out of the options. Raises as `medium.measure_of`."""
    given = {measure.name: options.pop(measure.name) for measure in medium.all_measures(action)}
    return medium.measure_of(kind, action, given, "--")


def _drawing(options: dict, usual: float, item: int = 0, sweeps: int = 0) -> Drawing:
    """usual: temperature."""
    temperature = usual if options["temperature"] is None else options["temperature"]
    return Drawing(options["seed"], item, temperature, options["label"], sweeps)


def _drop(options: dict) -> None:
    """Of the options those that `_drawing` has read."""
    for name in ("seed", "temperature", "label"):
        del options[name]


def _numbered(output: str, item: int, last: int) -> str:
    stem, extension = os.path.splitext(output)
    return f"{stem}-{item:0{len(str(last))}}{extension}"


def _write(kind, entry, coder, output, draw, facts: dict, as_json, extension, subtype, force, verbose, quiet) -> dict:
    """Draws a stream, and writes it or what it decodes to; returns what is to be told of it."""
    started = time.monotonic()
    fileio.ensure_writable(output, force)
    ending = extension and extension.lstrip(".") or (kind.default_extension if output == fileio.STDIO else None)
    as_stream = STREAM == (ending or os.path.splitext(output)[1].lstrip(".")).lower()
    if as_stream and subtype is not None:
        raise UsageError("--subtype is not for .vq files")
    made_as = None if as_stream else kind.format_for(f"output.{ending}" if ending else output, subtype)
    with Progress(shown(output), verbose) as progress:
        data = draw(progress)
        source = fileio.Source.of_bytes(data, "what was drawn")
        with fileio.output_file(output, force) as file, nullcontext() if as_stream else naming(output):
            if as_stream:
                file.write(data)
                found, summary = kind.facts(data), f"{len(data)} bytes"
            else:
                filelimits.check(kind.extent(source.head, made_as), len(data))
                made = kind.decode(coder, source, made_as, file, progress=progress)
                found, summary = made.facts, made.summary
            size = file.seek(0, os.SEEK_END)
    seconds = time.monotonic() - started
    if not (quiet or as_json or output == fileio.STDIO):
        click.echo(f"{shown(output)}: {summary.format(output=size)}, {seconds:.1f} s", err=True)
    return {**facts, "output": output, "format": STREAM if as_stream else made_as.name, "elapsed": round(seconds, 3), **found,
            "stream_bytes": len(data), "bytes": size, **model_fields(entry)}
