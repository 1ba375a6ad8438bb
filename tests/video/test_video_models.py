"""Models of video that are imported and checked: not by their hashes alone."""

from __future__ import annotations

import shutil

import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from vqcodec.cli import main
from vqcodec.zoo import modelfile, registration, registry


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.setattr(registry, "packaged_dir", lambda: None)
    monkeypatch.setattr(registry, "user_dir", lambda: None)


def test_a_model_is_imported_after_its_base(tiny_video_dir, tmp_path, alone):
    for name in ("tiny", "tinyvideo"):
        modelfile.export_model(registry.find_by_name(name, tiny_video_dir, None), tmp_path / f"{name}.vqmodel")
    into = ("--models-dir", tmp_path / "models")
    refused = run("models", "import", tmp_path / "tinyvideo.vqmodel", *into)
    assert refused.exit_code == 4 and "needs model 'tiny'" in refused.output
    for name in ("tiny", "tinyvideo"):
        assert run("models", "import", tmp_path / f"{name}.vqmodel", *into).exit_code == 0
    assert run("models", "check", *into).stdout == "tiny: ok\ntinyvideo: ok\n"


def test_a_model_with_right_hashes_and_wrong_tensors_is_refused(tiny_video_dir, tmp_path, alone):
    folder = tmp_path / "bad"
    folder.mkdir()
    shutil.copytree(tiny_video_dir / "tiny", folder / "tiny")
    registration.register(folder / "tiny", "tiny", id=60000, status="default", models_dir=folder)
    shutil.copytree(tiny_video_dir / "tinyvideo", folder / "tinyvideo")
    tensors = load_file(folder / "tinyvideo" / "prior.safetensors")
    name = next(name for name in tensors if name.endswith("gate.weight"))
    save_file({**tensors, name: tensors[name][:-1]}, folder / "tinyvideo" / "prior.safetensors")
    registration.register(folder / "tinyvideo", "tinyvideo", id=60003, status="default", models_dir=folder, modality="video")
    checked = run("models", "check", "tinyvideo", "--models-dir", folder)
    assert checked.exit_code == 3 and "tinyvideo: FAILED" in checked.stdout and "gate.weight" in checked.stdout
    modelfile.export_model(registry.find_by_name("tinyvideo", folder, "video"), tmp_path / "bad.vqmodel")
    into = tmp_path / "models"
    modelfile.export_model(registry.find_by_name("tiny", folder, None), tmp_path / "tiny.vqmodel")
    assert run("models", "import", tmp_path / "tiny.vqmodel", "--models-dir", into).exit_code == 0
    refused = run("models", "import", tmp_path / "bad.vqmodel", "--models-dir", into)
    assert refused.exit_code and "gate.weight" in refused.output and not (into / "tinyvideo").exists()
