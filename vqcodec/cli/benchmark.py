"""The command `vqcodec benchmark`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .support import EXIT_CODES, echo_json, force_option, json_option, models_dir_option, shown, warn
from ..errors import InputError, UsageError


class Names(click.ParamType):
    """Names with commas between."""

    name = "list"

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        found = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
        return found or self.fail("the list is empty", param, ctx)


class Numbers(Names):
    def convert(self, value, param, ctx):
        try:
            numbers = tuple(float(part) for part in super().convert(value, param, ctx))
        except ValueError:
            self.fail(f"'{value}' is not a list of numbers such as 1,2.5", param, ctx)
        if not all(0 < number < float("inf") for number in numbers):
            self.fail(f"'{value}' has a number that is not above 0", param, ctx)
        return numbers


class MediumChoice(click.Choice):
    """The media that are compared, looked up when they are needed."""

    def __init__(self):
        self.case_sensitive = True

    @property
    def choices(self):
        from ..bench.comparison import comparisons

        return tuple(compared.key for compared in comparisons())


class MediaOption(click.Option):
    """An option whose help ends with what `of` says of every medium; None is left out."""

    def __init__(self, *args, of, help, **more):
        super().__init__(*args, help=help, **more)
        self._of, self._general = of, help

    def get_help_record(self, ctx):
        from ..bench.comparison import comparisons

        found = [f"{compared.nouns}: {text}" for compared in comparisons() if (text := self._of(compared))]
        self.help = f"{self._general} [{'; '.join(found)}]."
        return super().get_help_record(ctx)


def _names(usual: tuple[str, ...], more: tuple[str, ...]) -> str:
    return ",".join(usual) + (f", also {','.join(more)}" if more else "")


@click.command(epilog="Unreadable files are listed and left out; the exit code is then 1, with all else done. "
                      "Finished points are kept in OUT/cache and used again.\n\n" + EXIT_CODES)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--medium", type=MediumChoice(), help="What to compare [what DIR holds].")
@click.option("--codecs", type=Names(), cls=MediaOption, of=lambda c: _names(c.codecs, c.more_codecs), help="Codecs, a curve each")
@click.option("--models", type=Names(), help="Models of vqcodec, a curve each [the default model].")
@click.option("--qualities", type=Numbers(), help="Qualities of vqcodec [all whole ones].")
@click.option("--effort", type=click.IntRange(0), cls=MediaOption, help="Effort of vqcodec",
              of=lambda c: f"0 to {c.efforts - 1}, {c.usual_effort} if not given" if c.efforts else None)
@click.option("--metrics", type=Names(), cls=MediaOption, of=lambda c: _names(c.metrics, c.more_metrics),
              help="Metrics; by default what suits and is installed")
@click.option("--out", type=click.Path(path_type=Path), default="report", show_default=True, metavar="OUT",
              help="Folder of the report.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes of the sweep.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
              help="Threads of each process, and of the timing.")
@click.option("--timing-files", "--timing-pictures", type=click.IntRange(0), default=2, show_default=True,
              help="Time this many; 0: no timing.")
@click.option("--compare", type=Numbers(), cls=MediaOption, help="Rates side by side",
              of=lambda c: f"{','.join(f'{rate:g}' for rate in c.compare)} {c.rate_name}")
@click.option("--compare-files", "--compare-pictures", type=Names(), help="Which of them side by side [the first two].")
@click.option("--published", is_flag=True, help="Draw in others' published curves of these very files, if there are.")
@click.option("--probes/--no-probes", default=True, show_default=True, help="Measure what is made by program too (of recordings).")
@models_dir_option
@force_option
@json_option
def benchmark(directory, medium, codecs, models, qualities, effort, metrics, out, jobs, threads, timing_files, compare,
              compare_files, published, probes, models_dir, force, as_json):
    """Compare codecs on the files in DIR: tables, and a page that shows them side by side."""
    page = out / "index.html"
    if out.exists() and not out.is_dir():
        raise InputError(f"{shown(str(out))}: not a folder")
    if page.exists() and not force:
        raise InputError(f"{shown(str(page))}: already exists (-f overwrites it)")
    from ..bench import comparison, report, runner, tables

    kind = comparison.of_key(medium) if medium else comparison.of_folder(directory)
    codecs = codecs or kind.codecs
    if models and "vqcodec" not in codecs:
        raise UsageError("--models needs vqcodec among the --codecs")
    specs = tuple(kind.specs(codecs, models or (None,), models_dir, effort))
    result = runner.run(directory, runner.Options(kind, specs, metrics, out / "cache", qualities, jobs, threads, timing_files,
                                                  compare or kind.compare, compare_files, published, probes))
    report.write(result, out)
    if as_json:
        echo_json({**tables.document(result), "report": os.fspath(page)})
    else:
        click.echo(tables.terminal(result))
        click.echo(f"\nreport: {shown(str(page))}", err=True)
    for name, reason in result.bad:
        warn(f"{shown(name)}: left out: {reason}")
    return 1 if result.bad else 0
