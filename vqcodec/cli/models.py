"""The commands `vqcodec models ...`: list, show, export, import, check."""

from __future__ import annotations

import click

from .. import medium
from ..zoo import modelfile, registry
from .support import echo_json, force_option, json_option, models_dir_option, shown
from ..errors import CorruptStreamError, shown_text


@click.group()
def models():
    """List, check and move models."""


@models.command("list")
@models_dir_option
@json_option
def list_command(models_dir, as_json):
    """List the installed models, those found first at the top."""
    entries = registry.list_models(models_dir)
    if as_json:
        echo_json({"models": [_facts(entry) for entry in entries]})
        return
    if not entries:
        click.echo("no model is installed", err=True)
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        use = "encodes and decodes" if entry.has_encoder else "decodes only"
        click.echo(f"{entry.id:>5}  {entry.name:<{width}}  {entry.hash.hex()}  {entry.modality}  {entry.status:<12}  {use:<19}  "
                   f"{shown(str(entry.path))}")


@models.command()
@click.argument("name")
@models_dir_option
@json_option
def show(name, models_dir, as_json):
    """Show one model: its files, and its card."""
    entry = registry.find_by_name(name, models_dir, None)
    card = entry.read("card.md").decode("utf-8", "replace") if "card.md" in entry.sha256 else None
    if as_json:
        echo_json({**_facts(entry), "card": card})
        return
    click.echo(f"name    {entry.name}\nid      {entry.id}\nhash    {entry.hash.hex()}, of {entry.fingerprint.hex()}\n"
               f"of      {entry.modality}\nstatus  {entry.status}\nfolder  {shown(str(entry.path))}\n")
    for file, digest in entry.sha256.items():
        click.echo(f"{digest}  {file}")
    if card:
        click.echo("\n" + shown_text(card.rstrip()))


@models.command()
@click.argument("name")
@click.argument("output", metavar="OUT", type=click.Path())
@click.option("--decoder-only", is_flag=True, help="Leave out the encoder.")
@models_dir_option
@force_option
def export(name, output, decoder_only, models_dir, force):
    """Write the model NAME as one file, to be imported elsewhere."""
    modelfile.export_model(registry.find_by_name(name, models_dir, None), output, decoder_only, force)


@models.command("import")
@click.argument("source", metavar="FILE", type=click.Path())
@models_dir_option
@force_option
@json_option
def import_command(source, models_dir, force, as_json):
    """Install a model file that 'vqcodec models export' wrote, in --models-dir or the user's folder, if it is sound."""
    entry = modelfile.import_model(source, models_dir, force, _check_usable)
    if as_json:
        echo_json(_facts(entry))
    else:
        click.echo(f"{entry.name} (model {entry.id}, hash {entry.hash.hex()}) is in {shown(str(entry.path))}",
                   err=True)


@models.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@models_dir_option
@json_option
def check(names, models_dir, as_json):
    """Compare the files of models (default: all) with their registered hashes, and see whether they are models at all: every
    tensor of the kind, shape and range that is expected, of a size that can be worked with."""
    from ..zoo import loading

    if names:
        entries = [registry.find_by_name(name, models_dir, None) for name in names]
    else:
        entries = registry.list_models(models_dir)
    problems = {entry: loading.problems(entry, _check_model(entry.modality)) for entry in entries}
    if as_json:
        echo_json({"ok": not any(problems.values()),
                   "models": [{**_facts(entry), "problems": list(found)} for entry, found in problems.items()]})
    else:
        for entry, found in problems.items():
            known = "" if _known(entry) else f" (hashes only: this release knows no models of {shown(entry.modality)})"
            click.echo(f"{entry.name}: {shown('FAILED: ' + '; '.join(found)) if found else 'ok' + known}")
    return CorruptStreamError.exit_code if any(problems.values()) else 0


def _check_model(modality: str):
    """What sees whether a model could be opened, `Medium.check_model`; None for a modality that this release does not know."""
    return next((kind.check_model for kind in medium.media() if kind.modality == modality), None)


def _check_usable(entry: registry.ModelEntry) -> None:
    """Raises an error for a model that could not be opened."""
    if (check := _check_model(entry.modality)) is None:
        raise registry.unknown_modality(entry)
    check(entry)


def _known(entry: registry.ModelEntry) -> bool:
    return any(kind.modality == entry.modality for kind in medium.media())


def _facts(entry: registry.ModelEntry) -> dict:
    return {"id": entry.id, "name": entry.name, "hash": entry.hash.hex(), "modality": entry.modality, "status": entry.status,
            "encoder": entry.has_encoder, "path": str(entry.path), "sha256": dict(entry.sha256)}
