"""The commands `vqcodec batch encode` and `batch decode`."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, replace

import click

from .. import medium
from ..medium import Format
from ..zoo import registry
from ..batch.globs import Selection
from ..batch.jobs import Encoding, Failure, Settings
from .support import (
    EXIT_CODES,
    ByteSize,
    EncodingCommand,
    Number,
    echo_json,
    encoding_model,
    force_option,
    json_option,
    limit_options,
    limits_of,
    models_dir_option,
    shown,
    request_of,
    target_options,
    warn,
)
from ..errors import UsageError, VqcodecError
from ..process import cores

_ALL_TARGETS = [target.name for target in medium.all_targets()]
_SHOWN = 8  # extensions of ignored files in the summary
BUILD_CODER_FROM = 1000  # files: fewer are done sooner than torchac is compiled


@click.group(epilog=EXIT_CODES)
def batch():
    """Encode or decode whole trees of files; a run that was stopped or killed is taken up again."""


def _shared(function):
    """The options that both commands have, the first at the top of the help."""
    options = [
        click.argument("source", metavar="SRC"),
        click.argument("destination", metavar="DST"),
        click.option("--include", multiple=True, metavar="GLOB", help="Only paths that match (any of them)."),
        click.option("--exclude", multiple=True, metavar="GLOB", help="No paths that match."),
        click.option("--hidden", is_flag=True, help="Files and folders whose names begin with a dot too."),
        click.option("--keep-extension", is_flag=True, help="Name all outputs as if they collided: a.png.vq."),
        click.option("-j", "--jobs", type=click.IntRange(0), help="Workers [one per core]; 0: no process but this."),
        click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each worker."),
        click.option("--limit-memory", type=ByteSize(), metavar="BYTES", help="For all workers together: 4GiB."),
        limit_options("pixels", "samples", "output", "ratio", "seconds"),
        click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
                     help="This machine, or a Ray cluster."),
        click.option("--address", metavar="HOST:PORT", help="Of the Ray cluster [a new one on this machine]."),
        click.option("--gpus", type=Number("x", 0), default=0, help="GPUs of each Ray worker, such as 0.25 [none]."),
        click.option("--build-coder/--no-build-coder", default=None,
                     help=f"Compile torchac first if it is not [from {BUILD_CODER_FROM} files on]."),
        click.option("--checksum", is_flag=True, help="Tell what is complete by content, not by size and time."),
        click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
        models_dir_option, force_option, json_option,
        click.option("-v", "--verbose", is_flag=True, help="Name the files that are ignored, and why."),
        click.option("--quiet", is_flag=True, help="No progress and no summary, only failures."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@batch.command("encode", cls=EncodingCommand, epilog="SRC and DST are folders, or URLs that fsspec knows. --bpp and --psnr are for images, "
                                "--kbps is for sound, -q and --size are for both.")
@_shared
@target_options
@click.option("--model", "models", multiple=True, metavar="NAME",
              help="Model to encode with; one for images and one for sound may be given.")
@click.option("--verify", is_flag=True, help="Read each result back before it is written.")
@click.option("--all", "all_files", is_flag=True, help="Try files of unknown extensions too.")
def encode(source, destination, models, verify, all_files, **options):
    """Encode the images and recordings below SRC into the same tree below DST."""
    encodings, refused = _encodings(options, models, options["models_dir"])
    return _run(options, all_files, refused, dict(
        command="encode", source=source, destination=destination, encodings=encodings, verify=verify))


@batch.command("decode", epilog="SRC and DST are folders, or URLs that fsspec knows.")
@_shared
@click.option("--format", "extensions", multiple=True, metavar="EXT",
              help="Format of images or of sound, by its extension; one of each may be given [png, wav].")
@click.option("--subtype", metavar="NAME", help="Of sound: coding within the format, such as PCM_24 [PCM_16].")
def decode(source, destination, extensions, subtype, **options):
    """Decode the .vq files below SRC into the same tree below DST."""
    return _run(options, False, {}, dict(
        command="decode", source=source, destination=destination, formats=_formats(extensions, subtype)))


def _encodings(options: dict, names: tuple[str, ...], models_dir) -> tuple[dict[str, Encoding], dict[str, Failure]]:
    """How each kind is encoded; and the kinds that cannot be as the user wants, and why. A model that is named must do;
    beyond that something is wrong only if nothing can be encoded at all. Raises UsageError, UnsupportedError."""
    named: dict[str, str] = {}
    for name in names:
        entry = registry.find_by_name(name, models_dir, None)
        kind = entry.modality
        if kind not in {m.modality for m in medium.media()}:
            raise registry.unknown_modality(entry)
        if kind in named:
            raise UsageError(f"--model: '{named[kind]}' and '{name}' are both of {kind}")
        named[kind] = name
    encodings, refused, errors = {}, {}, []
    wanted = {kind.modality: {t.name for t in kind.targets if options.get(t.name) is not None} for kind in medium.media()}
    alone = {name for names in wanted.values() if len(names) == 1 for name in names}
    for kind in medium.media():
        own = [target.name for target in kind.targets]
        if len(wanted[kind.modality]) > 1 and wanted[kind.modality] <= alone:  # each is meant for another kind
            errors.append(UsageError(f"of {kind.nouns}, give only one of {', '.join(sorted(wanted[kind.modality]))}"))
            refused[kind.modality] = Failure(str(errors[-1]), errors[-1].exit_code)
            continue
        request = request_of({name: value for name, value in options.items() if name not in _ALL_TARGETS or name in own})
        try:
            encodings[kind.modality] = _encoding(kind, request, encoding_model(named.get(kind.modality), models_dir, kind.modality))
        except VqcodecError as error:
            if kind.modality in named:
                raise
            errors.append(error)
            refused[kind.modality] = Failure(str(error), error.exit_code)
    if not encodings:
        raise errors[0]
    return encodings, refused


def _encoding(kind: medium.Medium, request: medium.Request, entry: registry.ModelEntry) -> Encoding:
    entry.require_encoder()
    if request.target is None:
        request = replace(request, quality=medium.asked_quality(request, kind.qualities(entry)))
    return Encoding(entry.name, entry.fingerprint.hex(), entry.sha256[registry.ENCODER], request)


def _formats(extensions: tuple[str, ...], subtype: str | None) -> dict[str, Format]:
    """What each kind is decoded to. Raises UsageError."""
    named: dict[str, str] = {}
    for extension in (extension.lstrip(".") for extension in extensions):
        kind = _writer_of(extension)
        if kind.modality in named:
            raise UsageError(f"--format: '{named[kind.modality]}' and '{extension}' are both of {kind.modality}")
        named[kind.modality] = extension
    chosen: dict[str, Format] = {}
    errors: list[UsageError] = []  # of kinds that do not have the subtype; one that has it will do
    takers = 0
    for kind in medium.media():
        name = f"output.{named.get(kind.modality, kind.default_extension)}"
        try:
            chosen[kind.modality] = kind.format_for(name, subtype if kind.has_subtypes else None)
            takers += kind.has_subtypes
        except UsageError as error:
            errors.append(error)
            chosen[kind.modality] = kind.format_for(name)
    if subtype is not None and not takers:
        raise errors[0]
    return chosen


def _writer_of(extension: str) -> medium.Medium:
    """The first medium that writes files of an extension; the first of all, which will say what is wrong, where none does."""
    for kind in medium.media():
        if kind.writes_any and f".{extension}" not in kind.extensions():
            continue
        try:
            kind.format_for(f"output.{extension}")
            return kind
        except UsageError:
            continue
    return medium.media()[0]


def _run(options: dict, all_files: bool, refused: dict[str, Failure], settings: dict) -> int:
    """Plans or runs, and reports. Returns the exit code."""
    from ..batch import run as runs
    from ..batch.plan import Rules

    _check_place(settings["source"], settings["destination"])
    threads, engine_name = options["threads"], options["engine"]
    if engine_name == "local" and (options["address"] or options["gpus"]):
        raise UsageError("--address and --gpus are for --engine ray")
    if engine_name == "ray" and options["jobs"] == 0:
        raise UsageError("--jobs 0 is for the local engine")
    models_dir = options["models_dir"]
    job_settings = Settings(**settings, models_dir=None if models_dir is None else os.path.abspath(models_dir),
                            threads=threads, gpu=options["gpus"] > 0, limits=limits_of(options, memory=None))
    rules = Rules(Selection.of(options["include"], options["exclude"], options["hidden"]), all_files,
                  options["keep_extension"], options["force"], options["checksum"], refused)
    if options["dry_run"]:
        return _show_plan(runs.preview(job_settings, rules), options["as_json"], options["verbose"])
    jobs = options["jobs"]
    if jobs is None and engine_name == "local":
        jobs = max(1, cores() // threads)
    engine = runs.Engine(jobs, options["limit_memory"], engine_name, options["address"], options["gpus"])
    summary = runs.run(job_settings, rules, engine, lambda line: click.echo(line, err=True), options["quiet"],
                       prepare=lambda count: _build_coder(options["build_coder"], count, engine_name))
    if options["verbose"]:
        _name_ignored(summary.plan)
    if options["as_json"]:
        echo_json({"command": settings["command"], "source": settings["source"],
                   "destination": settings["destination"], **summary.as_dict(), "exit_code": summary.exit_code})
    elif not options["quiet"]:
        click.echo(_summary_text(summary), err=True)
    return summary.exit_code


def _build_coder(wanted: bool | None, count: int, engine_name: str) -> None:
    """Compiles torchac where that is asked for, or pays: in a process of its own, so that this one stays small."""
    import subprocess

    if engine_name != "local" or not (count >= BUILD_CODER_FROM if wanted is None else wanted):
        return
    # no code from the current folder, which "-c" puts first
    code = "import sys\nsys.path = [p for p in sys.path if p]\n" \
           "from vqcodec.indices import rangecoder as r\nready = r.torchac_ready()\n" \
           "if not ready:\n    print('vqcodec: compiling torchac, once; about a minute', file=sys.stderr, flush=True)\n" \
           "    ready = r.build_torchac()\nsys.exit(0 if ready else 1)"
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    result = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL,
                            check=False)
    if result.returncode:
        warn("torchac cannot be compiled here; the plain coder does the same, more slowly")


def _check_place(source: str, destination: str) -> None:
    """Raises UsageError for '-'."""
    for place in (source, destination):
        if place == "-":
            raise UsageError("'-' cannot be a folder")


def _name_ignored(plan) -> None:
    for file in plan.ignored:
        click.echo(f"{shown(file.source)}: ignored: {file.reason}", err=True)


def _ignored_text(plan) -> str:
    """"4 ignored (3 .heic: HEIC needs the extra 'heif'; 1 .xyz: unknown extension)"."""
    rows = plan.ignored_by_extension()
    texts = [f"{count} {shown(extension)}: {reason}" if extension else f"{count}: {reason}"
             for count, extension, reason in rows[:_SHOWN]]
    texts += [f"{sum(row[0] for row in rows[_SHOWN:])} others"] * (len(rows) > _SHOWN)
    return f"{len(plan.ignored)} ignored" + (f" ({'; '.join(texts)})" if texts else "")


def _show_plan(plan, as_json: bool, verbose: bool) -> int:
    rows = [{"source": job.source.path, "output": job.output, "state": "to do"} for job in plan.jobs]
    rows += [{"source": source, "output": output, "state": "complete"} for source, output in plan.complete]
    rows += [{"source": path, "output": output, "state": failure.message} for path, output, failure in plan.failures]
    rows.sort(key=lambda row: row["source"])
    if as_json:
        echo_json({"files": rows, "ignored": len(plan.ignored), "ignored_files": [asdict(file) for file in plan.ignored],
                   "collisions": plan.collisions})
        return 0
    for row in rows:
        click.echo(f"{shown(row['source'])} -> {shown(row['output'] or '(nothing)')}  [{row['state']}]")
    if verbose:
        _name_ignored(plan)
    click.echo(f"{len(plan.jobs)} to do, {len(plan.complete)} complete, {len(plan.failures)} failing, "
               f"{_ignored_text(plan)}, {plan.collisions} names changed by collisions", err=True)
    return 0


def _summary_text(summary) -> str:
    from ..batch.progress import clock, ratio, size

    t = summary.totals
    amounts = [f"{t.pixels / 1e6:.1f} megapixels"] if t.pixels or not t.duration else []
    amounts += [f"{clock(t.duration)} of sound"] if t.duration else []
    text = (f"{t.done} done, {t.complete} complete before, {t.failed} failed, {_ignored_text(summary.plan)}; "
            f"{size(t.bytes_in)} -> {size(t.bytes_out)}{ratio(t)}, {' and '.join(amounts)} in "
            f"{t.seconds:.1f} s ({t.speed()})")
    if summary.plan.collisions:
        text += f"\n{summary.plan.collisions} outputs have longer names because of collisions"
    return text
