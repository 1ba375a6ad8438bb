"""The commands on single files: encode, decode, inspect, verify. They know media by `vqcodec/medium.py` alone."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import replace

import click

from .. import fileio, filelimits, medium
from ..errors import CorruptStreamError, UnsupportedError, UsageError, VqcodecError, one_line
from ..zoo import registry
from . import drawing
from .progress import Progress
from .support import (
    EncodingCommand,
    Number,
    duration_option,
    echo_json,
    encoding_model,
    encoding_options,
    force_option,
    json_option,
    limit_options,
    limits_of,
    modality_of,
    models_dir_option,
    pages_option,
    request_of,
    shown,
    start_option,
    verbose_option,
    warn,
    workers_option,
)

_FOLDER = click.option("-d", "--dir", "folder", type=click.Path(), metavar="DIR", help="Put the results into this folder.")


@click.command(cls=EncodingCommand,
               epilog="'-' is standard input or output. Without OUT the result goes beside IN, with the extension .vq; from "
                      "standard input, to standard output. Several files need -d. Without a target: the middle of the "
                      "quality scale.")
@click.argument("paths", metavar="IN [OUT] | IN... -d DIR", nargs=-1, required=True, type=click.Path())
@_FOLDER
@encoding_options
@limit_options("pixels", "samples", "memory", "seconds")
@models_dir_option
@click.option("--verify", is_flag=True, help="Read the result back before it is written.")
@click.option("--keep-time", is_flag=True, help="Keep the file's time too; decoding sets it.")
@force_option
@json_option
@verbose_option
@click.option("--quiet", is_flag=True, help="No summary line.")
def encode(paths, folder, model, models_dir, verify, keep_time, force, as_json, verbose, quiet, **options):
    """Encode the images, recordings, clips, documents or texts IN as .vq files."""
    request, allowed = request_of(options), limits_of(options)
    coders, results = {}, []

    def work(source: str, output: str) -> None:
        with filelimits.within(allowed):
            results.append(_encode(source, output, request, keep_time, model, models_dir, verify, force, as_json, verbose, quiet,
                                   coders))

    return _each(_jobs(paths, folder, lambda source: "vq"), work, results, as_json)


def _encode(path, output, request, keep_time, model, models_dir, verify, force, as_json, verbose, quiet, coders) -> dict:
    started = time.monotonic()
    refuse_same_file(path, output)
    if medium.of_extension(output) is not None:
        raise UsageError(f"{shown(output)}: a .vq file cannot be called so; to encode several files, name a folder with -d")
    fileio.ensure_writable(output, force)
    source = fileio.Source.open(path)
    kind = medium.of_input(source.head, path, modality_of(model, models_dir))
    medium.check_target(kind, request, "--")
    medium.check_options(kind, vars(request), "--")
    entry = encoding_model(model, models_dir, kind.modality)
    if keep_time:
        request = replace(request, modified=source.modified_ns)
    samples = kind.read(source, request)
    coder = coders.get(entry) or coders.setdefault(entry, kind.open(entry, encoder=True))
    with Progress(shown(path), verbose) as progress, fileio.output_file(output, force) as file:
        made = kind.encode(coder, samples, request, file.write, progress)
        if verify:
            file.seek(0)
            kind.verify(coder, file)
    seconds = time.monotonic() - started
    document = {"input": path, "output": output, "seconds": round(seconds, 3), "elapsed": round(seconds, 3), **made.facts,
                "input_bytes": source.size, "note": made.note, "verified": verify, **model_fields(entry)}
    if made.note and not as_json:
        warn(f"{shown(path)}: {made.note}")
    if not (quiet or as_json):
        click.echo(f"{shown(path)} -> {shown(output)}: {made.summary.format(input=source.size)}, "
                   f"{'verified, ' if verify else ''}{seconds:.1f} s", err=True)
    return document


@click.command(epilog="'-' is standard input or output. Without OUT the result goes beside IN, with the extension "
                      "of --format; from standard input, to standard output. Several files need -d.")
@click.argument("paths", metavar="IN [OUT] | IN... -d DIR", nargs=-1, required=True, type=click.Path())
@_FOLDER
@click.option("--format", "--to", "extension", metavar="EXT", help="Format, by its extension [OUT's, or png, wav, mp4, pdf, txt].")
@click.option("--subtype", metavar="NAME", help="Of sound: coding within the format, such as PCM_24 [PCM_16].")
@pages_option
@click.option("--dpi", type=Number("dpi", 1), help="Of documents: of pages of a PDF that are drawn as pixels [300].")
@start_option
@duration_option
@click.option("--audio", "track", type=click.Choice(["none"]), help="Of video: leave its sound out.")
@workers_option
@click.option("--conceal", is_flag=True, help="Of sound and video: go on behind damage, and say which seconds are lost.")
@limit_options()
@models_dir_option
@force_option
@json_option
@verbose_option
@click.option("--quiet", is_flag=True, help="No summary line.")
def decode(paths, folder, extension, subtype, conceal, models_dir, force, as_json, verbose, quiet, **options):
    """Decode the .vq files IN, by default to IN's name with .png, .wav, .mp4, .pdf or .txt.

    Frames of video are written into a folder as PNG where OUT is one, or ends with '/', or by --format png."""
    extension, allowed = extension and extension.lstrip("."), limits_of(options)
    coders, results = {}, []

    def ending(path: str) -> str:
        try:
            kind = medium.of_stream(fileio.Source.open(path).head)
            chosen = extension or kind.default_extension
            return "" if kind.format_for(f"output.{chosen}").folder else chosen
        except VqcodecError:  # which `work` will meet too
            return extension or medium.media()[0].default_extension

    def work(path: str, output: str) -> None:
        with filelimits.within(allowed):
            results.append(_decode(path, output, extension, subtype, options, conceal, models_dir, force, as_json, verbose, quiet,
                                   coders))

    return _each(_jobs(paths, folder, ending), work, results, as_json)


def _decode(path, output, extension, subtype, options, conceal, models_dir, force, as_json, verbose, quiet, coders) -> dict:
    started = time.monotonic()
    refuse_same_file(path, output)
    folder = output.endswith("/") or os.path.isdir(output)
    if not folder and extension is None:
        fileio.ensure_writable(output, force)
    source = fileio.Source.open(path)
    kind = medium.of_stream(source.head)
    if folder and not kind.writes_folders:
        fileio.ensure_writable(output, force)
    if conceal and not kind.conceals:
        raise UsageError(f"--conceal is not for {kind.nouns}")
    ending = extension or (kind.default_extension if output == fileio.STDIO else None)
    medium.check_options(kind, options, "--")
    name = f"output.{ending}" if ending else output.rstrip("/") + "/" if folder else output
    made_as = replace(kind.format_for(name, subtype), **options)
    if made_as.folder:
        fileio.ensure_folder(output, force)
        opened = fileio.output_folder(output, made_as.folder, force)
    else:
        fileio.ensure_writable(output, force)
        opened = fileio.output_file(output, force)
    header = kind.header(source.head)
    filelimits.check(kind.extent(source.head, made_as), source.size)
    entry = registry.find_by_stream(header.model_id, header.model_hash, models_dir)
    coder = coders.get(entry) or coders.setdefault(entry, kind.open(entry))
    with Progress(shown(path), verbose) as progress, opened as file:
        made = kind.decode(coder, source, made_as, file, conceal=conceal, progress=progress)
        size = sum(each.stat().st_size for each in os.scandir(file)) if made_as.folder else file.seek(0, os.SEEK_END)
    metadata = kind.metadata(source)
    if metadata and metadata.modified is not None and os.path.isfile(output):
        os.utime(output, ns=(metadata.modified, metadata.modified))
    seconds = time.monotonic() - started
    lost = [[round(begin, 3), round(end, 3)] for begin, end in made.lost]
    for begin, end in lost:
        warn(f"{shown(path)}: damaged; {kind.stands_in} from {begin:.3f} to {end:.3f} s")
    if not (quiet or as_json or output == fileio.STDIO):
        click.echo(f"{shown(path)} -> {shown(output)}: {made.summary.format(output=size)}, {seconds:.1f} s", err=True)
    return {"input": path, "output": output, "format": made_as.name, "seconds": round(seconds, 3),
            "elapsed": round(seconds, 3), **made.facts, "input_bytes": source.size, "bytes": size, "lost": lost,
            "exit_code": CorruptStreamError.exit_code if lost else 0, **model_fields(entry)}


@click.command()
@click.argument("path", metavar="IN", type=click.Path())
@click.option("--grids", type=click.Path(), metavar="PNG", help="Write a picture of the index grids.")
@click.option("--bits", type=click.Path(), metavar="PNG", help="Write a heat map of where the bits are spent.")
@click.option("--pixels", is_flag=True, help="Show the SHA-256 of the decoded pixels.")
@click.option("--segments", is_flag=True, help="Show the size of each segment, or chunk.")
@limit_options("pixels", "samples", "memory", "seconds")
@models_dir_option
@force_option
@json_option
def inspect(path, grids, bits, pixels, segments, models_dir, force, as_json, **options):
    """Show what is in IN (.vq); only --grids, --bits, --pixels and --segments need its model, and are limited."""
    with filelimits.within(limits_of(options)):
        return _inspect(path, grids, bits, pixels, segments, models_dir, force, as_json)


def _inspect(path, grids, bits, pixels, segments, models_dir, force, as_json) -> None:
    for picture in (grids, bits):
        if picture is not None:
            refuse_same_file(path, picture)
            fileio.ensure_writable(picture, force)
    source = fileio.Source.open(path)
    with naming(path):
        kind = medium.of_stream(source.head)
        facts = kind.facts(source.data())
    header = kind.header(source.head)
    try:
        entry = registry.find_by_stream(header.model_id, header.model_hash, models_dir)
    except VqcodecError:
        if grids or bits or pixels or segments:
            raise
        entry = None
    facts = {"input": path, "model": entry.name if entry else None, **facts}
    if entry:
        with naming(path):
            labels = kind.labels(entry, source.data())
        facts |= {"labels": list(labels)} if labels else {}
    metadata = kind.metadata(source)
    facts["metadata"] = kind.describe(metadata) if metadata else {}
    if grids or bits or pixels or segments:
        with naming(path):
            filelimits.check(kind.extent(source.head))
        coder = kind.open(entry)
        if grids:
            drawing.write(grids, kind.draw_grids(coder, source.data()), force)
        if bits:
            drawing.write(bits, kind.draw_bits(coder, source.data()), force)
        if pixels:
            facts |= kind.digest(coder, source.data())
        if segments:
            facts |= kind.parts(coder, source.data())
    taken = "-" in (grids, bits)
    if as_json:
        echo_json(facts, "-" if taken else None)
        return
    click.echo(kind.table(facts), err=taken)
    if facts["metadata"]:
        lines = (f"  {shown(name)}: {shown(str(value))}" for name, value in facts["metadata"].items())
        click.echo("\n".join(["", "metadata", *lines]), err=taken)


@click.command()
@click.argument("paths", metavar="IN...", nargs=-1, required=True, type=click.Path())
@limit_options("pixels", "samples", "memory", "seconds")
@models_dir_option
@json_option
def verify(paths, models_dir, as_json, **options):
    """Check files without writing anything.

    Each is entropy-decoded and its checksums are compared.

    Prints one line per file; the exit code is the highest that any file gives.
    """
    coders, results, allowed = {}, [], limits_of(options)
    for path in paths:
        try:
            with filelimits.within(allowed):
                _verify(path, models_dir, coders)
            code, message = 0, None
        except VqcodecError as error:
            code, message = error.exit_code, one_line(error)
        results.append({"input": path, "ok": code == 0, "exit_code": code, "error": message})
        if not as_json:
            prefix = f"{shown(path)}: "
            click.echo(prefix + ("ok" if message is None else f"FAILED: {message.removeprefix(prefix)}"))
    if as_json:
        echo_json({"ok": all(result["ok"] for result in results), "files": results})
    return max(result["exit_code"] for result in results)


def _verify(path, models_dir, coders) -> None:
    source = fileio.Source.open(path)
    kind = medium.of_stream(source.head)
    header = kind.header(source.head)
    filelimits.check(kind.extent(source.head))
    kind.metadata(source)
    entry = registry.find_by_stream(header.model_id, header.model_hash, models_dir)
    coder = coders.get(entry) or coders.setdefault(entry, kind.open(entry))
    with source.open_file() as file:
        kind.verify(coder, file)


def _jobs(paths, folder, ending) -> list[tuple[str, str]]:
    """(input, output) of each file. Raises UsageError for two of one name."""
    if folder is None:
        if len(paths) > 2:
            raise UsageError("several files need a folder for the results: -d DIR")
        source = paths[0]
        if len(paths) == 2:
            return [(source, paths[1])]
        return [(source, "-" if source == fileio.STDIO else _named(os.path.splitext(source)[0], ending(source)))]
    if fileio.STDIO in paths:
        raise UsageError("standard input has no name to put into a folder")
    jobs = []
    for path in paths:
        name = os.path.splitext(os.path.basename(path))[0]
        jobs.append((path, os.path.join(folder, _named(name, ending(path)))))
    outputs = [output for _, output in jobs]
    for output in outputs:
        if outputs.count(output) > 1:
            raise UsageError(f"two files would be written to {shown(output)}")
    os.makedirs(folder, exist_ok=True)
    return jobs


def _named(stem: str, ending: str) -> str:
    """With an extension, but of folders, which have none."""
    return f"{stem}.{ending}" if ending else stem


def _each(jobs: list[tuple[str, str]], work, results: list[dict], as_json: bool) -> int:
    """Does one file after the other; of several, all that can be done. Returns the highest exit code."""
    if len(jobs) == 1:
        with naming(jobs[0][0]):
            work(*jobs[0])
        if as_json:
            echo_json({k: v for k, v in results[0].items() if k != "exit_code"}, jobs[0][1])
        return results[0].get("exit_code", 0)
    failures = []
    for path, output in jobs:
        try:
            work(path, output)
        except VqcodecError as error:
            message = one_line(error).removeprefix(f"{shown(path)}: ")
            failures.append({"input": path, "error": message, "exit_code": error.exit_code})
            click.echo(f"vqcodec: error: {shown(path)}: {message}", err=True)
    if as_json:
        echo_json({"files": results + failures})
    return max(item.get("exit_code", 0) for item in results + failures)


@contextmanager
def naming(path: str):
    """Errors within name the file that they are about."""
    try:
        yield
    except (CorruptStreamError, UnsupportedError) as error:
        name = "standard input" if path == fileio.STDIO else shown(path)
        if str(error).startswith(f"{name}: "):
            raise
        raise type(error)(f"{name}: {error}") from error


def model_fields(entry: registry.ModelEntry) -> dict:
    return {"model": entry.name, "model_id": entry.id, "model_hash": entry.hash.hex()}


def refuse_same_file(source: str, output: str) -> None:
    """Raise UsageError where an output would replace its own input, which -f does not mean."""
    try:
        same = "-" not in (source, output) and os.path.samefile(source, output)
    except (OSError, ValueError):  # one of them does not exist, or cannot
        return
    if same and os.path.isfile(source):
        raise UsageError(f"{shown(output)}: input and output are the same file")
