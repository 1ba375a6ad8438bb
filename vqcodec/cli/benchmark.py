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


@click.command(epilog="Unreadable files are listed and left out; the exit code is then 1, with all else done. "
                      "Finished points are kept in OUT/cache and used again.\n\n" + EXIT_CODES)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--medium", type=click.Choice(["picture", "sound"]), help="What to compare [what DIR holds].")
@click.option("--codecs", type=Names(), help="[vqcodec,jpeg,webp,avif,jpeg2000; also jxl. For sound "
                                             "vqcodec,opus,opus-packets; also opus-voip]")
@click.option("--models", type=Names(), help="Models of vqcodec, a curve each [the default model].")
@click.option("--qualities", type=Numbers(), help="Qualities of vqcodec [all whole ones].")
@click.option("--effort", type=click.IntRange(0, 5), help="Effort of vqcodec, for pictures [2].")
@click.option("--metrics", type=Names(), help="[psnr,psnr-y,ms-ssim,ssimulacra2. For sound, what is installed of visqol, "
                                              "log-mel, si-sdr and for speech pesq, stoi; also estoi, visqol-speech, "
                                              "visqol-speech-exp, visqol-audio]")
@click.option("--out", type=click.Path(path_type=Path), default="report", show_default=True, metavar="OUT",
              help="Folder of the report.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes of the sweep.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
              help="Threads of each process, and of the timing.")
@click.option("--timing-files", "--timing-pictures", type=click.IntRange(0), default=2, show_default=True,
              help="Time this many; 0: no timing.")
@click.option("--compare", type=Numbers(), help="Rates side by side [bits per pixel 0.1,0.25,0.5; kbit/s 3,6,12].")
@click.option("--compare-files", "--compare-pictures", type=Names(), help="Which of them side by side [the first two].")
@models_dir_option
@force_option
@json_option
def benchmark(directory, medium, codecs, models, qualities, effort, metrics, out, jobs, threads, timing_files, compare,
              compare_files, models_dir, force, as_json):
    """Compare codecs on the pictures or the recordings in DIR: tables, and a page to look at and to listen to."""
    page = out / "index.html"
    if out.exists() and not out.is_dir():
        raise InputError(f"{shown(str(out))}: not a folder")
    if page.exists() and not force:
        raise InputError(f"{shown(str(page))}: already exists (-f overwrites it)")
    from ..bench import medium as mediums
    from ..bench import report, runner, tables
    from ..bench.codecs import specs

    kind = mediums.medium(medium) if medium else mediums.medium_of(directory)
    codecs = codecs or kind.codecs
    if models and "vqcodec" not in codecs:
        raise UsageError("--models needs vqcodec among the --codecs")
    if effort is not None and kind.key != "picture":
        raise UsageError("--effort is for pictures only")
    result = runner.run(directory, runner.Options(
        kind, tuple(specs(kind.key, codecs, models or (None,), models_dir, 2 if effort is None else effort)), metrics,
        out / "cache", qualities, jobs, threads, timing_files, compare or kind.compare, compare_files))
    report.write(result, out)
    if as_json:
        echo_json({**tables.document(result), "report": os.fspath(page)})
    else:
        click.echo(tables.terminal(result))
        click.echo(f"\nreport: {shown(str(page))}", err=True)
    for name, reason in result.bad:
        warn(f"{name}: left out: {reason}")
    return 1 if result.bad else 0
