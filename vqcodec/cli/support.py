"""What all commands share: errors and warnings as single lines, exit codes, parameter types, options."""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click

from .. import medium
from ..filelimits import Limits, NAMES
from ..zoo import registry
from ..errors import UsageError, VqcodecError, one_line, out_of_memory, shown  # noqa: F401 (shown: for the commands)
from ..process import wait_passively
from ..signals import Terminated, as_exceptions

EXIT_CODES = """\b
Exit codes:
  0  ok
  1  input or output failed
  2  usage
  3  corrupt stream
  4  unsupported version, unknown model or beyond a limit"""

INTERRUPTED = 130
TRACEBACK = "VQCODEC_TRACEBACK"


class Program(click.Group):
    """A group of commands that ends with one line per error, never with a traceback, and the right exit code."""

    def main(self, args=None, prog_name="vqcodec", standalone_mode=True, **extra):
        """Run with `args` (None: those of the process). Exits, or returns the code if not `standalone_mode`."""
        with as_exceptions() if standalone_mode else nullcontext():
            with _warnings_as_lines():
                code = self._run(args, prog_name, **extra)
            code = _flush() or code
        if standalone_mode:
            sys.exit(code)
        return code

    def resolve_command(self, ctx, args):
        name, command, rest = super().resolve_command(ctx, args)
        if name != "train":  # which has the machine to itself, mostly, and is a third faster with threads that spin
            wait_passively()
        return name, command, rest

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except EOFError as error:  # which click would take for an interruption
            raise RuntimeError(f"EOFError: {error}") from error
        except KeyboardInterrupt:  # click would say it with an empty line
            if sys.stderr.isatty():  # where ^C stands
                click.echo(err=True)
            raise click.Abort from None

    def _run(self, args, prog_name, **extra) -> int:
        try:
            code = super().main(args, prog_name, standalone_mode=False, **extra)
            return code if isinstance(code, int) else 0
        except VqcodecError as error:
            return _fail(str(error), error.exit_code)
        except click.ClickException as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # click ≥ 8.2: the message is the help text
                click.echo(error.format_message(), err=True)
                return error.exit_code
            context = getattr(error, "ctx", None)
            hint = f" (see '{context.command_path} --help')" if context else ""
            return _fail(error.format_message() + hint, error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            _end_children()
            return _fail("interrupted", INTERRUPTED)
        except Terminated as error:
            _end_children()
            return _fail(str(error), error.exit_code)
        except BrokenPipeError:
            return 1  # whoever read the output wants no more of it: nothing to say
        except OSError as error:
            return _fail(f"{f'{shown(error.filename)}: ' if error.filename else ''}{error.strerror or error}", 1)
        except Exception as error:
            if out_of_memory(error):
                return _fail("not enough memory", 1)
            message = f"unexpected {type(error).__name__}: {error}"
            return _fail(f"{message} (set {TRACEBACK}=1 to see where)", 1)


def warn(message: object) -> None:
    """One line of warning on standard error."""
    click.echo(f"vqcodec: warning: {one_line(message)}", err=True)


def echo_json(document: dict, output: str | None = None) -> None:
    """One JSON object on standard output; on standard error if that carries the data (`output` is '-')."""
    click.echo(json.dumps(document), err=output == "-")


class Number(click.ParamType):
    """A finite number of at least, or above, a minimum."""

    def __init__(self, name: str, minimum: float, above: bool = False):
        self.name, self.minimum, self.above = name, minimum, above

    def convert(self, value, param, ctx):
        try:
            number = float(value)
        except ValueError:
            self.fail(f"'{value}' is not a number", param, ctx)
        if not math.isfinite(number) or number < self.minimum or (self.above and number == self.minimum):
            self.fail(f"{value} is not {'above' if self.above else 'at least'} {self.minimum:g}", param, ctx)
        return number


class ByteSize(click.ParamType):
    """A number of bytes such as 20000, 20k, 1.5MB (powers of 1000), 20Ki or 20KiB (powers of 1024)."""

    name = "size"

    def convert(self, value, param, ctx):
        text = str(value).strip().lower()
        digits = text.rstrip("bikmg")
        units = {"": 1, "b": 1, "k": 1000, "kb": 1000, "ki": 1024, "kib": 1024,
                 "m": 1000**2, "mb": 1000**2, "mi": 1024**2, "mib": 1024**2,
                 "g": 1000**3, "gb": 1000**3, "gi": 1024**3, "gib": 1024**3}
        try:
            size = float(digits) * units[text[len(digits):].strip()]
        except (KeyError, ValueError):
            self.fail(f"'{value}' is not a size such as 20000, 20k or 20KiB", param, ctx)
        if not 1 <= size < math.inf:
            self.fail(f"{value} is less than one byte, or infinite", param, ctx)
        return int(size)


models_dir_option = click.option(
    "--models-dir", type=click.Path(path_type=Path), metavar="DIR", help="Look for models here first."
)
effort_option = click.option("--effort", type=click.IntRange(0, 5),
                             help="How long to look for a smaller file [2 up to 4 megapixels, 1 above]. Of sound, 0 or 1; "
                             "more is as 1.")
_model_option = click.option("--model", metavar="NAME", help="Model to encode with (see 'vqcodec models list').")
pages_option = click.option("--pages", metavar="LIST", help="Of documents: these pages, 1-5 or 1,3,7-9.")
start_option = click.option("--start", type=Number("s", 0), help="Of video: begin at this second.")
duration_option = click.option("--duration", type=Number("s", 0, above=True), help="Of video: take so many seconds.")
workers_option = click.option("--workers", type=click.IntRange(1), metavar="N", help="Of video: processes that share a clip [1].")
_more_encoding_options = (
    click.option("--exact", is_flag=True, help="Keep the colours of what is wholly transparent."),
    click.option("--strict", is_flag=True, help="Take what is cut short or damaged for an error."),
    click.option("--strip", multiple=True, type=click.Choice(medium.STRIPPED),
                 help="Leave the metadata out [all], or part of them: --strip gps."),
    pages_option,
    click.option("--dpi", type=Number("dpi", 1), help="Of documents: draw a PDF's pages at this resolution; that of images "
                                                      "that do not say theirs."),
    click.option("--mask", type=click.Choice(("lossless", "clean", "off")),
                 help="Of documents: print is kept bit by bit, without specks, or is part of the picture [lossless]."),
    start_option,
    duration_option,
    click.option("--audio", "track", metavar="code|copy|none|MODEL",
                 help="Of video: what becomes of its sound [code]; copy keeps it as it is, the name of a model codes it by that."),
    click.option("--audio-model", "track_model", metavar="NAME", help="Of video: model for its sound [one for speech or for music, by its pauses]."),
    workers_option,
)
force_option = click.option("-f", "--force", is_flag=True, help="Overwrite an existing output.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Say what is being done.")


def _target_option(target: medium.Target):
    of = [m for m in medium.media() if target.name in [t.name for t in m.targets]]
    text = target.help if len(of) == len(medium.media()) else f"Of {' and '.join(m.nouns for m in of)}: {target.help}"
    kind = ByteSize() if target.whole else Number(target.unit, 0, above=True)
    return click.option(f"--{target.name}", type=kind, help=text)


def target_options(function):
    """The options that say what to aim at, and how."""
    quality = click.option("-q", "--quality", type=Number("q", 1), help="From 1 to the model's highest, in steps of 1/16.")
    for option in reversed((quality, *map(_target_option, medium.all_targets()), effort_option, *_more_encoding_options)):
        function = option(function)
    return function


def encoding_options(function):
    """The options that say how to encode, for `request_of` and `encoding_model`."""
    return target_options(_model_option(function))


_LIMITS = {
    "pixels": (click.IntRange(1), "N", "Of a picture."),
    "samples": (click.IntRange(1), "N", "Of a recording, all channels counted."),
    "output": (ByteSize(), "BYTES", "Of what is decoded, before compression."),
    "ratio": (Number("x", 0, above=True), "X", "Of that to the size of the stream, beyond 1 GiB."),
    "memory": (ByteSize(), "BYTES", "Beside the model, by estimate."),
    "seconds": (Number("s", 0, above=True), "S", "For each file."),
}


def limit_options(*names: str):
    """Decorator: the options --limit-NAME; without names, all. Their values go to `limits_of`."""
    def decorate(function):
        for name in reversed(names or NAMES):
            kind, metavar, text = _LIMITS[name]
            usual = getattr(Limits(), name)
            shown = "none" if usual is None else f"{usual >> 30} GiB" if kind.name == "size" else f"{usual:g}" \
                if usual < 10**6 else f"{usual >> 20} Mi"
            function = click.option(f"--limit-{name}", type=kind, metavar=metavar, help=f"{text} [{shown}]")(function)
        return function
    return decorate


def limits_of(options: dict, **others) -> Limits:
    """Takes the values of `limit_options` out of the options; what is not given is as usual. others: fields as they are."""
    given = {name: options.pop(f"limit_{name}") for name in NAMES if f"limit_{name}" in options and name not in others}
    return Limits(**{name: value for name, value in given.items() if value is not None}, **others)


def request_of(options: dict) -> medium.Request:
    """What the options of `target_options` ask for. Raises UsageError where they ask for more than one thing."""
    targets = {target.name: options.get(target.name) for target in medium.all_targets()}
    more = {name: options[name] for name in ("effort", "exact", "strict", "strip", *medium.OPTIONS)}
    return medium.Request.of(options["quality"], targets, **more)


class EncodingCommand(click.Command):
    """`--strip` without a value leaves all metadata out."""

    def parse_args(self, ctx, args):
        found = []
        for i, word in enumerate(args):
            found.append(word)
            if word == "--strip" and (i + 1 == len(args) or args[i + 1] not in medium.STRIPPED):
                found.append("all")
        return super().parse_args(ctx, found)


def modality_of(name: str | None, models_dir) -> str | None:
    """Of the model that the user names, if any. Raises UnknownModelError."""
    return None if name is None else registry.find_by_name(name, models_dir, None).modality


def encoding_model(name: str | None, models_dir, modality: str) -> registry.ModelEntry:
    """Raises UnknownModelError, and UsageError for a model that no longer encodes."""
    entry = registry.find_by_name(name, models_dir, modality)
    if entry.status == "retired":
        raise UsageError(f"model '{entry.name}' is retired: it decodes only")
    return entry


def _fail(message: str, code: int) -> int:
    """Report the error being handled; returns its exit code."""
    if os.environ.get(TRACEBACK):
        click.echo(traceback.format_exc(), err=True, nl=False)
    click.echo(f"vqcodec: error: {one_line(message)}", err=True)
    return code


def _end_children() -> None:
    """Python would wait for pools of processes at its end, until they have done what they are at."""
    if "multiprocessing.process" in sys.modules:
        from multiprocessing import active_children

        for child in active_children():
            child.terminate()


def _flush() -> int:
    """Write out what is left for standard output; 1 if that fails. Keeps Python from complaining at exit."""
    try:
        sys.stdout.flush()
        return 0
    except (OSError, ValueError) as error:  # ValueError: closed
        if isinstance(error, OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                return _fail(f"standard output: cannot write ({error.strerror or error})", 1)
        return 1


@contextmanager
def _warnings_as_lines():
    """Show this package's warnings as one line each, and nobody else's."""
    def show(message, category, filename, lineno, file=None, line=None):
        if category.__module__.partition(".")[0] == "vqcodec":
            warn(message)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield
