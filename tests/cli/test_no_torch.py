"""Streams are decoded by NumPy alone: in processes where torch cannot be imported."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqcodec.sound.file import read_sound

GOLDEN = Path(__file__).parents[1] / "golden"

COMMANDS = """
import json, sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchac"):
            raise ImportError(f"{name} is not wanted here")
sys.meta_path.insert(0, NoTorch())
from vqcodec.cli.program import main
print(json.dumps([main(arguments, standalone_mode=False) for arguments in json.loads(sys.argv[1])]))
"""
PYTHON = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchac"):
            raise ImportError(f"{name} is not wanted here")
sys.meta_path.insert(0, NoTorch())
import numpy as np, vqcodec
path = sys.argv[1]
grids, decoded = vqcodec.tokens(path), vqcodec.decode(path)
assert vqcodec.tokens(vqcodec.from_tokens(grids, vqcodec.inspect(path))).tolist() == grids.tolist()
print(type(decoded).__name__, grids.shape)
"""


def run(code: str, argument: str) -> str:
    result = subprocess.run([sys.executable, "-c", code, argument], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def test_the_digest_of_pixels(tmp_path):
    """Of a model that decodes in integers: what is known of it, by both commands that tell it."""
    case = next(case for case in json.loads((GOLDEN / "golden.json").read_text()) if case["stream"] == "photo-3e_alpha.vq")
    stream, code = str(GOLDEN / case["stream"]), COMMANDS.replace("print(json.dumps([", "[").replace("]))", "]")
    for command in (["decode", stream, str(tmp_path / "out.png"), "--json"], ["inspect", stream, "--pixels", "--json"]):
        facts = json.loads(run(code, json.dumps([command])))
        assert (facts["pixels_sha256"], facts["pixels_exact"]) == (case["pixels_sha256"], True)
    assert hashlib.sha256(np.asarray(Image.open(tmp_path / "out.png")).tobytes()).hexdigest() == case["pixels_sha256"]


@pytest.mark.parametrize("name, extension", [("photo-3_alpha", "png"), ("speech-2_stereo", "flac")])
def test_commands_on_streams(name, extension, tmp_path):
    stream, out = str(GOLDEN / f"{name}.vq"), tmp_path / f"out.{extension}"
    drawings = [str(tmp_path / "grids.png"), str(tmp_path / "bits.png")]
    commands = [["decode", stream, str(out)], ["verify", stream], ["inspect", stream],
                ["inspect", stream, "--grids", drawings[0], "--bits", drawings[1], "--segments", "--json"]]
    assert run(COMMANDS, json.dumps(commands)) == "[0, 0, 0, 0]"
    expected = GOLDEN / f"{name}.{extension}"
    if extension == "png":
        found = [np.asarray(Image.open(path)).astype(int) for path in (out, expected)]
        assert np.abs(found[0] - found[1]).max() <= 1
    else:
        found = [read_sound(path).samples for path in (out, expected)]
        assert np.abs(found[0] - found[1]).max() <= 2**-11
    assert all(Image.open(drawing).size > (1, 1) for drawing in drawings)


@pytest.mark.parametrize("name, expected", [("photo-3_photo", "Image"), ("speech-2_mono", "Sound")])
def test_python(name, expected):
    kind, _, shape = run(PYTHON, str(GOLDEN / f"{name}.vq")).partition(" ")
    assert kind == expected and len(shape.split(",")) == 3
