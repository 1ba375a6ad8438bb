"""What the tests of `vqcodec batch` share."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from click.testing import CliRunner

from vqcodec import cli
from vqcodec.batch.manifest import NAME


def batch(arguments, code=0) -> dict:
    """The summary of a run in this process."""
    words = ["batch", *arguments.split(), "--json"] + ([] if "-j" in arguments.split() else ["-j", "0"])
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if result.stdout else {}


def digests(folder) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name != NAME}
