"""Optional packages."""

from __future__ import annotations

import importlib

from ..errors import InputError


def require(module: str, what: str, extra: str, package: str | None = None):
    """Import an optional module. Raises InputError that says how to install its package."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"{what} needs the package {package or module.replace('_', '-')}: "
                         f"pip install '.[{extra}]'") from None
