"""The command `vqcodec benchmark`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .cli_support import EXIT_CODES, echo_json, force_option, json_option, models_dir_option, shown, warn
from .errors import InputError, UsageError


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


@click.command(epilog="Unreadable pictures are listed and left out; the exit code is then 1, with all else done. "
                      "Finished points are kept in OUT/cache and used again.\n\n" + EXIT_CODES)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--codecs", type=Names(), default="vqcodec,jpeg,webp,avif,jpeg2000", show_default=True,
              help="Also: jxl.")
@click.option("--models", type=Names(), help="Models of vqcodec, a curve each [the default model].")
@click.option("--qualities", type=Numbers(), help="Qualities of vqcodec [all whole ones].")
@click.option("--effort", type=click.IntRange(0, 5), default=2, show_default=True, help="Effort of vqcodec.")
@click.option("--metrics", type=Names(), default="psnr,psnr-y,ms-ssim,ssimulacra2", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="report", show_default=True, metavar="OUT",
              help="Folder of the report.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes of the sweep.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
              help="Threads of each process, and of the timing.")
@click.option("--timing-pictures", type=click.IntRange(0), default=2, show_default=True,
              help="Time this many pictures; 0: no timing.")
@click.option("--compare", type=Numbers(), default="0.1,0.25,0.5", show_default=True,
              help="Bits per pixel of the pictures side by side.")
@click.option("--compare-pictures", type=Names(), help="Which pictures [the first two].")
@models_dir_option
@force_option
@json_option
def benchmark(directory, codecs, models, qualities, effort, metrics, out, jobs, threads, timing_pictures, compare,
              compare_pictures, models_dir, force, as_json):
    """Compare codecs on the pictures in DIR: tables, and a page to look at."""
    page = out / "index.html"
    if out.exists() and not out.is_dir():
        raise InputError(f"{shown(str(out))}: not a folder")
    if page.exists() and not force:
        raise InputError(f"{shown(str(page))}: already exists (-f overwrites it)")
    from .bench import report, runner, tables
    from .bench.codecs import specs

    if models and "vqcodec" not in codecs:
        raise UsageError("--models needs vqcodec among the --codecs")
    result = runner.run(directory, runner.Options(
        tuple(specs(list(codecs), list(models or (None,)), models_dir, effort)), metrics, out / "cache", qualities,
        jobs, threads, timing_pictures, compare, compare_pictures))
    report.write(result, out)
    if as_json:
        echo_json({**tables.document(result), "report": os.fspath(page)})
    else:
        click.echo(tables.terminal(result))
        click.echo(f"\nreport: {shown(str(page))}", err=True)
    for name, reason in result.bad:
        warn(f"{name}: left out: {reason}")
    return 1 if result.bad else 0
