"""The house: what may import what."""

from __future__ import annotations

import ast
import json
import shutil
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import vqcodec
from vqcodec import medium
from vqcodec.cli import main
from vqcodec.zoo import registration, registry

ROOT = Path(vqcodec.__file__).parent
MODULES = {".".join(("vqcodec", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
           for path in sorted(ROOT.rglob("*.py"))}
# From the ground up; rooms of one floor do not know each other.
FLOORS = (
    ("errors", "version"),
    ("fileio", "filelimits", "limits", "process", "signals", "stream"),
    ("guard", "metadata"),
    ("indices",),
    ("zoo",),
    ("medium",),
    ("batch", "bench", "train"),
    ("picture", "sound", "text"),
    ("document", "video"),  # of pictures, sound and text, by their codecs' public functions
    ("cli",),
    ("", "__main__"),  # the package itself: __init__.py
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
OF_ALL_MEDIA = ("cli", "batch", "bench", "train", "medium", "zoo", "indices")


def room_of(module: str) -> str:
    return (module.split(".") + [""])[1]


def running(tree: ast.AST):
    """All nodes but those in `if TYPE_CHECKING`."""
    yield tree
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
            yield from running(node)


def imports(module: str) -> set[str]:
    """The package's modules that one imports, at its top or lazily; not those that it only names as types."""
    path, found = MODULES[module], set()
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in running(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name in MODULES}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            base = ".".join(filter(None, (base, node.module)))
            found |= {inner if (inner := f"{base}.{name.name}") in MODULES else base for name in node.names}
    return {name for name in found if name in MODULES} - {module}


GRAPH = {module: imports(module) for module in MODULES}


def test_every_room_has_a_floor():
    assert {room_of(module) for module in MODULES} == set(FLOOR)
    assert "vqcodec.fileio" in GRAPH["vqcodec.cli.files"] and "vqcodec.sound.file" in GRAPH["vqcodec"]  # lazy ones are seen


def test_nothing_imports_what_is_above_it_or_beside_it():
    wrong = [f"{module} imports {other}" for module, others in GRAPH.items() for other in sorted(others)
             if room_of(other) != room_of(module) and FLOOR[room_of(other)] >= FLOOR[room_of(module)]]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_way_of_others():
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, with the circle


@pytest.mark.parametrize("room", OF_ALL_MEDIA)
def test_what_is_of_all_media_names_none(room):
    media = {f"vqcodec.{name}" for name in (*FLOORS[FLOOR["picture"]], *FLOORS[FLOOR["document"]])}
    assert not [(module, other) for module, others in GRAPH.items() if room_of(module) == room
                for other in others if other.startswith(tuple(media))]


@pytest.mark.parametrize("room", ("cli", "batch", "train", "medium"))
def test_nor_does_it_ask_for_one_by_name(room):
    names = {name for kind in medium.media() for name in (kind.key, kind.modality)}
    assert not [(module, node.value) for module, path in MODULES.items() if room_of(module) == room
                for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant) and node.value in names]


def test_the_package_itself_names_media_for_one_class_alone():
    assert {other for other in GRAPH["vqcodec"] if room_of(other) in ("picture", "sound")} == {"vqcodec.sound.file"}


# --- a medium is a folder and a line ---------------------------------------------------------------------------------

RAW = b"RAW!" + bytes(range(256))


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A models folder with the one model of a medium that the package does not have."""
    package = tmp_path / "packages" / "toy"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(Path(__file__).parent / "toy_medium.py", package / "medium.py")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(medium, "MEDIA", (*medium.MEDIA, "toy"))
    monkeypatch.setattr(registry, "user_dir", lambda: None)
    monkeypatch.setattr(registry, "packaged_dir", lambda: None)
    files = tmp_path / "model"
    files.mkdir()
    for name in registry.FILES:
        (files / name).write_bytes(b"\7" + name.encode())
    registration.register(files, "plain", tmp_path / "models", status="default", modality="raw")
    yield tmp_path / "models"
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
        del sys.modules[name]
    medium._load.cache_clear()


def test_a_new_medium_in_python(toy, tmp_path):
    (tmp_path / "a.raw").write_bytes(RAW)
    data = vqcodec.encode(tmp_path / "a.raw", models_dir=toy)
    assert data[:2] == b"VQ" and data[3] & 7 == 7
    assert vqcodec.decode(data, models_dir=toy) == RAW
    assert vqcodec.inspect(data).length == len(RAW)
    grids = vqcodec.tokens(data, models_dir=toy)
    assert grids.shape == (1, len(RAW)) and bytes((grids[0] - 7).astype("u1")) == RAW
    assert vqcodec.from_tokens(grids, vqcodec.inspect(data), models_dir=toy) == data
    assert (vqcodec.tokens(RAW, models_dir=toy) == grids).all()
    with pytest.raises(vqcodec.CorruptStreamError):
        vqcodec.decode(data[:-1] + b"?", models_dir=toy)
    with pytest.raises(vqcodec.UsageError, match="bpp is for images; raw files have no targets"):
        vqcodec.encode(RAW, bpp=1, models_dir=toy)


def test_a_new_medium_in_single_commands(toy, tmp_path):
    source, stream, back = tmp_path / "a.raw", tmp_path / "a.vq", tmp_path / "b.raw"
    source.write_bytes(RAW)
    models = ("--models-dir", toy)
    for args in (("encode", source, "--verify", "--keep-time", *models), ("decode", stream, back, *models),
                 ("verify", stream, *models), ("models", "check", *models)):
        result = run(*args)
        assert result.exit_code == 0, result.output
    assert back.read_bytes() == RAW and back.stat().st_mtime_ns == source.stat().st_mtime_ns
    shown = run("inspect", stream, "--grids", tmp_path / "grids.png", "--bits", tmp_path / "bits.png", "--segments", "--json", *models)
    facts = json.loads(shown.stdout)
    assert (facts["model"], facts["length"], facts["parts"]) == ("plain", len(RAW), [stream.stat().st_size])
    with Image.open(tmp_path / "grids.png") as drawn:
        assert drawn.size == (len(RAW), 1) and drawn.getpixel((0, 0)) == RAW[0] + 7
    stream.write_bytes(stream.read_bytes()[:-1] + b"?")
    assert run("verify", stream, *models).exit_code == 3
    assert run("encode", source, "-f", "--bpp", "1", *models).exit_code == 2


def test_what_cannot_be_drawn_says_so(toy, tmp_path):
    (tmp_path / "a.raw").write_bytes(RAW)
    for args in (("sample", "plain", tmp_path / "x.raw"), ("fill", tmp_path / "a.raw", tmp_path / "x.raw", "--box", "0,0,1,1")):
        result = run(*args, "--models-dir", toy)
        assert result.exit_code == 4 and "no raw files can be drawn" in result.output
    with pytest.raises(vqcodec.UnsupportedError, match="no raw files"):
        vqcodec.sample("plain", models_dir=toy)


def test_a_new_medium_in_batches(toy, tmp_path):
    for name in ("a.raw", "deep/b.raw"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(RAW + name.encode())
    for args in (("encode", tmp_path / "in", tmp_path / "coded", "--verify"), ("decode", tmp_path / "coded", tmp_path / "out")):
        result = run("batch", *args, "--jobs", "0", "--json", "--models-dir", toy)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["done"] == 2
    assert (tmp_path / "out" / "deep" / "b.raw").read_bytes() == RAW + b"deep/b.raw"
    again = run("batch", "encode", tmp_path / "in", tmp_path / "coded", "--verify", "--jobs", "0", "--json", "--models-dir", toy)
    assert json.loads(again.stdout)["complete"] == 2


def test_what_cannot_be_trained_or_compared_says_so(toy, tmp_path):
    from vqcodec.train.run import train

    with pytest.raises(vqcodec.UsageError, match="models of raw cannot be trained"):
        train("raw", [tmp_path], None, tmp_path / "run")
    result = run("benchmark", tmp_path, "--medium", "raw", "--out", tmp_path / "report")
    assert result.exit_code == 2 and "'raw' is not one of" in result.output
