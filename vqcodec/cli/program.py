"""The command `vqcodec`. Everything slow to import is imported by the commands that need it."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path

import click

from . import sound as cli_sound
from ..picture import stream as container, inspection
from .. import fileio
from ..zoo import registry
from .batch import batch
from .benchmark import benchmark
from .models import models
from .support import (
    EXIT_CODES,
    Program,
    check_targets,
    echo_json,
    encoding_model,
    encoding_options,
    force_option,
    json_option,
    models_dir_option,
    shown,
    snapped_quality,
    warn,
)
from ..errors import UsageError, VqcodecError, one_line


def _version(context, parameter, value) -> None:
    if value and not context.resilient_parsing:
        from importlib import metadata

        try:
            version = metadata.version("vqcodec")
        except metadata.PackageNotFoundError:  # run from a checkout that was never installed
            version = "(not installed)"
        click.echo(f"vqcodec {version}, format version {container.VERSION}")
        context.exit()


@click.group("vqcodec", cls=Program, epilog=EXIT_CODES,
             context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
              help="Show the version and exit.")
def main():
    """A neural codec of images and sound: small files that decode alike on any machine."""


main.add_command(models)
main.add_command(batch)
main.add_command(benchmark)


@main.command(epilog="'-' is standard input or output. Without a target: the middle of the quality scale.")
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("output", metavar="OUT", type=click.Path())
@encoding_options
@models_dir_option
@click.option("--verify", is_flag=True, help="Read the result back before it is written.")
@force_option
@json_option
@click.option("--quiet", is_flag=True, help="No summary line.")
def encode(source, output, quality, bpp, psnr, kbps, size, effort, model, models_dir, verify, force, as_json, quiet):
    """Encode the image or the recording IN as OUT (.vq)."""
    started = time.monotonic()
    targets = {"bpp": bpp, "psnr": psnr, "size": size}
    check_targets(quality, kbps, *targets.values())
    _refuse_same_file(source, output)
    fileio.ensure_writable(output, force)
    data = fileio.read_input(source) if source == "-" else None
    if cli_sound.is_sound(data or fileio.first_bytes(source)):
        if bpp is not None or psnr is not None:
            raise UsageError("--bpp and --psnr are for images; of sound, give --kbps")
        cli_sound.encode(source, data, output, quality, kbps, size, effort, encoding_model(model, models_dir, "audio"),
                         verify, force, as_json, quiet)
        return
    if kbps is not None:
        raise UsageError("--kbps is for sound; of images, give --bpp")
    entry = encoding_model(model, models_dir)
    original = data or fileio.read_input(source)
    from ..picture import file as media

    picture = media.read_picture(original, name=shown(source))
    coder = _open(entry, encoder=True)
    if any(value is not None for value in targets.values()):
        result = coder.encode_to_target(picture, **targets, effort=effort)
    else:
        result = coder.encode(picture, snapped_quality(quality, coder.qualities), effort=effort)
    if verify:
        coder.decode_grids(result.data)
    fileio.write_output(output, result.data, force)
    seconds = time.monotonic() - started
    height, width = picture.rgb.shape[:2]
    if as_json:
        echo_json({
            "input": source, "output": output, "width": width, "height": height, "input_bytes": len(original),
            "bytes": len(result.data), "bpp": result.bpp, "quality": result.quality, "note": result.note,
            "verified": verify, "seconds": round(seconds, 3), **_model_fields(entry),
        }, output)
        return
    if result.note:
        warn(f"{shown(source)}: {result.note}")
    if not quiet:
        click.echo(
            f"{shown(source)} -> {shown(output)}: {width}x{height}, {len(original)} -> {len(result.data)} bytes, "
            f"{result.bpp:.3f} bpp, quality {result.quality:g}, {'verified, ' if verify else ''}{seconds:.1f} s",
            err=True)


@main.command(epilog="'-' is standard input or output. Without OUT the result goes beside IN, with the extension "
                     "of --format; from standard input, to standard output.")
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("output", metavar="[OUT]", type=click.Path(), required=False)
@click.option("--format", "extension", metavar="EXT", help="Format, by its extension [OUT's, or png, or wav].")
@click.option("--subtype", metavar="NAME", help="Of sound: coding within the format, such as PCM_24 [PCM_16].")
@click.option("--conceal", is_flag=True, help="Of sound: go on behind damage, and say which seconds are lost.")
@models_dir_option
@force_option
@json_option
def decode(source, output, extension, subtype, conceal, models_dir, force, as_json):
    """Decode IN (.vq), by default to IN's name with .png or .wav."""
    started = time.monotonic()
    extension = extension and extension.lstrip(".")
    if output is None and source == "-":
        output = "-"
    elif output is None:
        ending = extension or ("wav" if container.modality(fileio.first_bytes(source)) == "audio" else "png")
        output = f"{os.path.splitext(source)[0]}.{ending}"
    _refuse_same_file(source, output)
    fileio.ensure_writable(output, force)
    data = fileio.read_input(source)
    sound = container.modality(data) == "audio"
    if sound:
        return cli_sound.decode(source, data, output, extension, subtype, conceal, models_dir, force, as_json)
    if subtype or conceal:
        raise UsageError("--subtype and --conceal are for sound")
    stream = container.unpack(data)
    entry = registry.find_by_stream(stream.model_id, stream.model_hash, models_dir)
    from ..picture import file as media

    image_format = media.format_for(f"output.{extension}" if extension else output)
    picture = _open(entry).decode(data)
    encoded = media.write_picture(picture, image_format)
    fileio.write_output(output, encoded, force)
    if as_json:
        echo_json({
            "input": source, "output": output, "width": stream.width, "height": stream.height,
            "format": image_format, "input_bytes": len(data), "bytes": len(encoded),
            "quality": inspection.quality_of(stream.quality), "seconds": round(time.monotonic() - started, 3), **_model_fields(entry),
        }, output)


@main.command()
@click.argument("source", metavar="IN", type=click.Path())
@click.option("--grids", type=click.Path(), metavar="PNG", help="Write a picture of the index grids.")
@click.option("--bits", type=click.Path(), metavar="PNG", help="Write a heat map of the bits spent on each block.")
@click.option("--segments", is_flag=True, help="Show the size of each segment.")
@models_dir_option
@force_option
@json_option
def inspect(source, grids, bits, segments, models_dir, force, as_json):
    """Show what is in IN (.vq); only --grids, --bits and --segments need its model."""
    for path in (grids, bits):
        if path is not None:
            _refuse_same_file(source, path)
            fileio.ensure_writable(path, force)
    data = fileio.read_input(source)
    if container.modality(data) == "audio":
        cli_sound.inspect(source, data, grids, bits, segments, models_dir, force, as_json)
        return
    stream = container.unpack(data)
    try:
        entry = registry.find_by_stream(stream.model_id, stream.model_hash, models_dir)
    except VqcodecError:
        if grids or bits or segments:
            raise
        entry = None
    facts = {"input": source, "model": entry.name if entry else None, **asdict(inspection.inspect(data))}
    if grids or bits or segments:
        coder = _open(entry)
        _draw(coder, data, stream, grids, bits, force)
        if segments:
            facts["segment_bytes"] = coder.segment_bytes(data)
    if as_json:
        echo_json(facts, "-" if "-" in (grids, bits) else None)
    else:
        click.echo(_table(facts), err="-" in (grids, bits))


@main.command()
@click.argument("sources", metavar="IN...", nargs=-1, required=True, type=click.Path())
@models_dir_option
@json_option
def verify(sources, models_dir, as_json):
    """Check files without writing anything.

    Each is entropy-decoded and its checksums are compared.

    Prints one line per file; the exit code is the highest that any file gives.
    """
    coders, results = {}, []
    for source in sources:
        try:
            data = fileio.read_input(source)
            sound = container.modality(data) == "audio"
            header = cli_sound.header_of(data) if sound else container.unpack(data)
            key = header.model_id, header.model_hash
            if key not in coders:
                coders[key] = (cli_sound.open_codec if sound else _open)(registry.find_by_stream(*key, models_dir))
            coders[key].decode_grids(data)
            code, message = 0, None
        except VqcodecError as error:
            code, message = error.exit_code, one_line(error)
        results.append({"input": source, "ok": code == 0, "exit_code": code, "error": message})
        if not as_json:
            prefix = f"{shown(source)}: "
            click.echo(prefix + ("ok" if message is None else f"FAILED: {message.removeprefix(prefix)}"))
    if as_json:
        echo_json({"ok": all(result["ok"] for result in results), "files": results})
    return max(result["exit_code"] for result in results)


@main.group()
def train():
    """Train models."""


def _training_options(function):
    for option in reversed((
        click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)),
        click.option("--config", type=click.Path(path_type=Path), metavar="FILE",
                     help="Model and training configuration."),
        click.option("--out", type=click.Path(path_type=Path), metavar="RUN", required=True, help="Folder of the run."),
        click.option("--init", type=click.Path(path_type=Path), metavar="FILE",
                     help="Start a new run from these weights: a stageN.pt of another run."),
        click.option("--from-model", metavar="NAME", help="Start a new run from this published model."),
        click.option("--export", metavar="NAME", help="Register the result as a model of this name."),
        models_dir_option,
    )):
        function = option(function)
    return function


def _train(*arguments) -> None:
    from ..train import distributed
    from ..train.run import train as run

    run(*arguments)
    distributed.end_process()


@train.command("image")
@_training_options
def train_image(directories, config, out, init, from_model, export, models_dir):
    """Train an image model on the pictures below each DIR; an interrupted RUN is continued."""
    _train("image", list(directories), config, out, export, models_dir, init, from_model)


@train.command("audio")
@_training_options
def train_audio(directories, config, out, init, from_model, export, models_dir):
    """Train a model of sound on the recordings below each DIR; an interrupted RUN is continued."""
    _train("audio", list(directories), config, out, export, models_dir, init, from_model)


def _open(entry: registry.ModelEntry, encoder: bool = False):
    """The codec of a model; imports torch."""
    from ..picture.codec import Codec

    return Codec.open(entry, encoder=encoder)


def _model_fields(entry: registry.ModelEntry) -> dict:
    return {"model": entry.name, "model_id": entry.id, "model_hash": entry.hash.hex()}


def _refuse_same_file(source: str, output: str) -> None:
    """Raise UsageError where an output would replace its own input, which -f does not mean."""
    try:
        same = "-" not in (source, output) and os.path.samefile(source, output)
    except (OSError, ValueError):  # one of them does not exist, or cannot
        return
    if same and os.path.isfile(source):
        raise UsageError(f"{shown(output)}: input and output are the same file")


def _table(facts: dict) -> str:
    """The facts of `inspect` as text: what the picture is, then where the bytes are."""
    model = f"model {facts['model_id']}, hash {facts['model_hash']}"
    kind = ("grey" if facts["grey"] else "colour") + (" with alpha" if facts["alpha"] else "")
    rows, columns = facts["blocks"]
    lines = [
        f"picture    {facts['width']}x{facts['height']}, {kind}",
        f"quality    {facts['quality']:g}",
        f"model      {facts['model']} ({model})" if facts["model"] else f"model      not installed ({model})",
        f"grids      {columns}x{rows} indices each, one for every {inspection.BLOCK}x{inspection.BLOCK} pixels",
        f"rate       {facts['bpp']:.4f} bpp",
        "",
    ]
    parts = [("header", facts["header_bytes"])]
    if facts["segment_bytes"] is None:
        parts.append(("segments", facts["payload_bytes"]))
    else:
        parts += [(f"segment {i}", size) for i, size in enumerate(facts["segment_bytes"])]
    parts += [("alpha", facts["alpha_bytes"])] * facts["alpha"] + [("total", facts["bytes"])]
    lines += [f"{name:<10} {size:>10} bytes {100 * size / facts['bytes']:>6.2f} %" for name, size in parts]
    return "\n".join(lines)


def _draw(coder, data: bytes, stream: container.Stream, grids: str | None, bits: str | None, force: bool):
    """Write the pictures that `inspect` is asked for."""
    import numpy as np

    # Waiting threads must not spin: beside other work on the machine that slows everything many times over.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from ..picture import codec, file as media

    if grids is not None:
        sheet = codec.grids_image(coder.decode_grids(data))
        picture = media.Picture(np.repeat(sheet[:, :, None], 3, axis=2), grey=True)
        fileio.write_output(grids, media.write_picture(picture, media.format_for(grids)), force)
    if bits is not None:
        spent = coder.bits_per_block(data)
        heat = 3 * spent / max(spent.max(), 1e-9)  # black, red, yellow, white
        colours = np.stack([heat, heat - 1, heat - 2], axis=-1).clip(0, 1)
        pixels = (255 * colours + 0.5).astype(np.uint8).repeat(inspection.BLOCK, axis=0).repeat(inspection.BLOCK, axis=1)
        picture = media.Picture(np.ascontiguousarray(pixels[: stream.height, : stream.width]))
        fileio.write_output(bits, media.write_picture(picture, media.format_for(bits)), force)


if __name__ == "__main__":
    main()
