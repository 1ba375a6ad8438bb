"""Configuration of models of any medium: plain data classes ⇄ TOML; unknown keys are errors."""

from __future__ import annotations

import dataclasses
import sys
import typing

from ..errors import UsageError
from ..indices.config import GridModel, check_grids
from ..limits import check_limits

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib


def from_dict(cls, data: dict, where: str = "", complete: bool = False):
    """Builds the data class `cls` from nested dicts. Raises UsageError for unknown keys or wrong types, and,
    if `complete`, for missing ones: what a published model means must not hang on defaults."""
    if not isinstance(data, dict):
        raise UsageError(f"config: [{where}] must be a table")
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    values = {}
    for key, value in data.items():
        path = f"{where}.{key}" if where else key
        if key not in known:
            raise UsageError(f"config: unknown key '{path}' (known: {', '.join(sorted(known))})")
        values[key] = _convert(hints[key], value, path, complete)
    needed = {f.name for f in dataclasses.fields(cls) if not f.metadata.get("added_later")}
    if complete and needed - set(values):
        raise UsageError(f"config: [{where}] lacks {', '.join(sorted(needed - set(values)))}")
    try:
        return cls(**values)
    except TypeError as error:
        raise UsageError(f"config: [{where}]: {error}") from None


def _convert(hint, value, path: str, complete: bool):
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, path, complete)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"config: '{path}' must be a list")
        args = typing.get_args(hint)
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise UsageError(f"config: '{path}' must have {len(args)} entries")
        return tuple(_convert(args[0], item, path, complete) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise UsageError(f"config: '{path}' is too large") from None
    if type(value) is not hint:
        raise UsageError(f"config: '{path}' must be {hint.__name__}, not {type(value).__name__}")
    return value


def load_toml(path) -> dict:
    """Reads a TOML file. Raises UsageError for a missing file or bad syntax."""
    try:
        with open(path, "rb") as file:
            return parse_toml(file.read(), path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def parse_toml(data: bytes, name) -> dict:
    """The table that TOML text `data` holds; `name` is for the message. Raises UsageError for bad syntax."""
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # TOML and UTF-8 errors are ValueErrors, and so are numbers of 5000 digits
        raise UsageError(f"{name}: {error}") from None


def to_toml(config, prefix: str = "") -> str:
    """Writes a (nested) data class as TOML; `from_dict(type(config), tomllib.loads(...))` gives it back."""
    lines, tables = [], []
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            tables.append(f"[{prefix}{f.name}]\n{to_toml(value, prefix + f.name + '.')}")
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            tables.extend(f"[[{prefix}{f.name}]]\n{to_toml(item)}" for item in value)
        else:
            lines.append(f"{f.name} = {_toml_value(value)}\n")
    return "\n".join(["".join(lines), *tables]) if tables else "".join(lines)


def _toml_value(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)


def of_model(entry, kind: type) -> GridModel:
    """The config.toml of a registered model, of the data class `kind`. Raises UsageError for one that is not right, InputError
    and CorruptStreamError as `entry.read`. Needs no torch."""
    table = parse_toml(entry.read("config.toml"), f"model '{entry.name}': config.toml")
    try:
        return check_model(from_dict(kind, table, complete=True))
    except UsageError as error:
        raise UsageError(f"model '{entry.name}': {error}") from None


def check_model(model: GridModel) -> GridModel:
    """Raises UsageError for numbers beyond their limits and for shapes that do not fit together. What passes is safe to build:
    nothing is divided by zero, and nothing grows beyond what its own tensors (`schema.MAX_VALUES`) and these limits allow."""
    transform = model.transform
    for where, part in (("transform", transform), ("quantizer", model.quantizer), ("prior", model.prior)):
        check_limits(part, where)
    if not transform.lambdas or any(low >= high for low, high in zip(transform.lambdas, transform.lambdas[1:])):
        raise UsageError("config: 'transform.lambdas' must be one or more numbers in ascending order")
    transform.check()
    check_grids(model)
    return model
