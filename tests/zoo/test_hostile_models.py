"""Models made to hurt: each is refused at import and where it is opened, and found by `models check`, by one clean line."""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
from dataclasses import fields

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from conftest import tiny_audio_config, tiny_config
from helpers import time_limit
from vqcodec import medium
from vqcodec.cli import program
from vqcodec.errors import InputError, UnsupportedError, UsageError, VqcodecError
from vqcodec.picture import torch_codec as pictures
from vqcodec.sound import torch_codec as sounds
from vqcodec.indices.config import PriorConfig, QuantizerConfig
from vqcodec.picture.config import ModelConfig, TransformConfig
from vqcodec.sound.config import AudioModelConfig, AudioTransformConfig
from vqcodec.zoo import config, loading, modelfile, reading, registration, registry, schema

CODECS = {"tiny": pictures.Codec, "tinysound": sounds.AudioCodec}
KINDS = {"tiny": pictures.KIND, "tinysound": sounds.KIND}

# Other lines of config.toml: (of which model, its line, what stands there instead).
CONFIGS = {
    "blocks by the billion": ("tiny", "decoder_blocks = [1, 1, 1]", "decoder_blocks = [1, 3, 1000000000]"),
    "less than no blocks": ("tiny", "encoder_blocks = [1, 1, 1]", "encoder_blocks = [1, -1, 1]"),
    "wide channels": ("tiny", "channels = [8, 12, 16]", "channels = [8, 12, 100000]"),
    "wide channels at high resolution": ("tiny", "channels = [8, 12, 16]", "channels = [1024, 12, 16]"),
    "no channels": ("tiny", "channels = [8, 12, 16]", "channels = [8, 0, 16]"),
    "too many values": ("tiny", "channels = [8, 12, 16]\nencoder_blocks = [1, 1, 1]\ndecoder_blocks = [1, 1, 1]",
                        "channels = [8, 12, 1024]\nencoder_blocks = [1, 1, 1]\ndecoder_blocks = [1, 1, 16]"),
    "no qualities": ("tiny", "lambdas = [0.0006, 0.002, 0.007]", "lambdas = []"),
    "too many qualities": ("tiny", "lambdas = [0.0006, 0.002, 0.007]", f"lambdas = {list(range(1, 18))}"),
    "falling lambdas": ("tiny", "lambdas = [0.0006, 0.002, 0.007]", "lambdas = [0.002, 0.0006, 0.007]"),
    "negative lambda": ("tiny", "lambdas = [0.0006, 0.002, 0.007]", "lambdas = [-1.0, 0.002, 0.007]"),
    "NaN lambda": ("tiny", "lambdas = [0.0006, 0.002, 0.007]", "lambdas = [0.0006, nan, 0.007]"),
    "infinite lambda": ("tiny", "lambdas = [0.0006, 0.002, 0.007]", "lambdas = [0.0006, 0.002, inf]"),
    "huge integer": ("tiny", "lambdas = [0.0006, 0.002, 0.007]", f"lambdas = [0.0006, 0.002, 1{'0' * 400}]"),
    "integer of 5000 digits": ("tiny", "latent_dims = 24", f"latent_dims = {'9' * 5000}"),
    "deep brackets": ("tiny", "latent_dims = 24", f"latent_dims = {'[' * 5000}"),
    "other distortion": ("tiny", 'distortion = "mse"', 'distortion = "none"'),
    "no dims per group": ("tiny", "dims = [1, 2]", "dims = [1, 0]"),
    "negative dims per group": ("tiny", "dims = [1, 2]", "dims = [1, -2]"),
    "negative slice": ("tiny", "slices = [8, 16]", "slices = [-8, 32]"),
    "empty slice": ("tiny", "slices = [8, 16]", "slices = [24, 0]"),
    "no slices": ("tiny", "slices = [8, 16]", "slices = []"),
    "one codeword": ("tiny", "codewords = [256, 64]", "codewords = [256, 1]"),
    "codewords by the million": ("tiny", "codewords = [256, 64]", "codewords = [256, 4096]\n"),  # and no such tensors
    "no width": ("tiny", "context_channels = [16, 24]", "context_channels = [16, 0]"),
    "wide contexts": ("tiny", "context_channels = [16, 24]", "context_channels = [16, 1000000]"),
    "no rank": ("tiny", "rank = [4, 6]", "rank = [4, 0]"),
    "rank beyond the proof": ("tiny", "rank = [4, 6]", "rank = [4, 129]"),
    "unknown key": ("tiny", "latent_dims = 24", "latent_dims = 24\nexec = 1"),
    "long configuration": ("tiny", "latent_dims = 24", "latent_dims = 24\n" + "#" * (1 << 16)),
    "no rate": ("tinysound", "sample_rate = 8000", "sample_rate = 0"),
    "huge rate": ("tinysound", "sample_rate = 8000", "sample_rate = 1048575"),
    "no hop": ("tinysound", "hop = 40", "hop = 0"),
    "huge hop": ("tinysound", "hop = 40", "hop = 1000000000"),
    "no chunk": ("tinysound", "chunk = 64", "chunk = 0"),
    "huge chunk": ("tinysound", "chunk = 64", "chunk = 1000000000"),
    "chunks of many samples": ("tinysound", "hop = 40\nchunk = 64", "hop = 2048\nchunk = 4096"),
    "no channels of sound": ("tinysound", "channels = 1", "channels = 0"),
    "no dilation": ("tinysound", "encoder_dilations = [[1], [1, 2]]", "encoder_dilations = [[1], [1, 0]]"),
    "huge dilation": ("tinysound", "decoder_dilations = [[1, 2], [1]]", "decoder_dilations = [[1, 1000000], [1]]"),
    "many blocks of sound": ("tinysound", "decoder_dilations = [[1, 2], [1]]", f"decoder_dilations = [{[1] * 9}, [1]]"),
    "negative bands": ("tinysound", "bands = 0", "bands = -1"),
    "NaN floor": ("tinysound", "floor = 0.0001", "floor = nan"),
    "more tones than dims": ("tinysound", "tones = []", "tones = [24]"),
    "negative tones": ("tinysound", "tones = []", "tones = [-1]"),
}


def put(name, value):
    """One value of a tensor changed, its dtype kept where that can hold it."""
    def change(tensors):
        tensors[name].view(-1)[-1] = value
    return change


def retyped(name, dtype):
    def change(tensors):
        tensors[name] = tensors[name].to(dtype)
    return change


def reshaped(name, *shape):
    def change(tensors):
        tensors[name] = torch.zeros(shape, dtype=tensors[name].dtype)
    return change


def added(name, tensor):
    return lambda tensors: tensors.update({name: tensor})


def without(name):
    return lambda tensors: tensors.pop(name)


def halves(name):
    """A fractional prior: it encodes here, and is "corrupt" where floats are summed in another order."""
    def change(tensors):
        tensors[name] = tensors[name].float() * 0.999
    return change


# Other tensors: (of which model, of which file, what is changed).
TENSORS = {
    "fractional prior": ("tiny", "prior", halves("s0.mix.weight")),
    "NaN prior": ("tiny", "prior", added("s0.mix.weight", torch.full((16, 16), torch.nan))),
    "huge prior": ("tiny", "prior", added("s0.mix.weight", torch.full((16, 16), 1e30))),
    "weight -128": ("tiny", "prior", put("s0.mix.weight", -128)),
    "multiplier -2^31": ("tiny", "prior", put("s0.mix.mult", -(2**31))),
    "multiplier -2^63": ("tiny", "prior", put("s1.logit.mult", -(2**63))),
    "wide multiplier": ("tiny", "prior", retyped("s0.mix.mult", torch.int64)),
    "bias -2^63": ("tiny", "prior", put("s0.join.bias", -(2**63))),
    "bias 2^58": ("tiny", "prior", put("s0.mix.bias", 2**58)),
    "float bias": ("tiny", "prior", retyped("s0.mix.bias", torch.float64)),
    "offset -2^63": ("tiny", "prior", put("s1.logit.offset", -(2**63))),
    "even kernel": ("tiny", "prior", reshaped("s0.near1.weight", 16, 16, 4, 4)),
    "huge kernel": ("tiny", "prior", reshaped("s0.near1.weight", 16, 16, 129, 129)),
    "four phases": ("tiny", "prior", lambda t: (t.pop("s1.near2.weight"), t.pop("s1.near2.mult"))),
    "wrong phases": ("tiny", "prior", reshaped("s0.join.bias", 1, 3, 16)),
    "phases without end": ("tiny", "prior", lambda t: t.update({f"s0.near{k}.weight": torch.zeros(1, dtype=torch.int8)
                                                                for k in range(1, 3000)})),
    "no table": ("tiny", "prior", without("table.exp")),
    "no slice": ("tiny", "prior", without("s1.head.weight")),
    "unknown tensor": ("tiny", "prior", added("s7.mix.weight", torch.zeros(1, dtype=torch.int8))),
    "unknown name of a terminal": ("tiny", "prior", added("\x1b[2J\n" * 99, torch.zeros(1))),
    "empty tensor": ("tiny", "prior", reshaped("s0.bounds", 8, 0)),
    "short table": ("tiny", "prior", reshaped("table.sigmoid", 2)),
    "falling sigmoid": ("tiny", "prior", put("table.sigmoid", 0)),
    "negative mass": ("tiny", "prior", put("table.exp", -1)),
    "no scale": ("tiny", "prior", put("table.inverse", 0)),
    "huge scale": ("tiny", "prior", put("table.inverse", 2**31 - 1)),
    "bounds -2^31": ("tiny", "prior", lambda t: t["s0.bounds"].view(-1).__setitem__(0, -(2**31))),
    "falling bounds": ("tiny", "prior", put("s0.bounds", -500)),
    "alphabet of none": ("tiny", "prior", put("s0.size", 0)),
    "alphabet beyond the codewords": ("tiny", "prior", put("s0.size", 2**31 - 1)),
    "alphabet before the codewords": ("tiny", "prior", put("s0.start", -1)),
    "negative features": ("tiny", "prior", put("s0.companded", -128)),
    "no wide features where the encoder has them": ("tiny", "prior", lambda t: (
        t.pop("s1.wide"), t.update({name: t[name][:, :16].contiguous() for name in t if name.startswith("s1.near")
                                    and name.endswith("weight")}))),
    "two levels": ("tiny", "prior", reshaped("s0.join.bias", 7, 2, 16)),
    "NaN codebook": ("tiny", "codebook", put("s1", torch.nan)),
    "infinite codeword": ("tiny", "codebook", put("s1", -torch.inf)),
    "far codeword": ("tiny", "codebook", put("s0", 1e30)),
    "codebook of halves": ("tiny", "codebook", retyped("s1", torch.float16)),
    "few codewords": ("tiny", "codebook", reshaped("s1", 8, 63, 2)),
    "no codebook": ("tiny", "codebook", without("s1")),
    "other codebook": ("tiny", "codebook", added("s2", torch.zeros(8, 64, 2))),
    "NaN decoder": ("tiny", "decoder", put("head.bias", torch.nan)),
    "infinite decoder": ("tiny", "decoder", put("stem.weight", torch.inf)),
    "exploding gain": ("tiny", "decoder", put("log_gain", -60000)),
    "double decoder": ("tiny", "decoder", retyped("stem.weight", torch.float64)),
    "integer decoder": ("tiny", "decoder", retyped("stem.weight", torch.int32)),
    "bytes without scales": ("tiny", "decoder", retyped("stem.weight", torch.int8)),
    "scales without bytes": ("tiny", "decoder", added("head.weight.scale8", torch.ones(48))),
    "NaN scale": ("tiny", "decoder", lambda t: t.update({"head.weight": torch.zeros(48, 8, 3, 3, dtype=torch.int8),
                                                          "head.weight.scale8": torch.full((48,), torch.nan)})),
    "huge scale of bytes": ("tiny", "decoder", lambda t: t.update({"head.weight": torch.zeros(48, 8, 3, 3, dtype=torch.int8),
                                                                   "head.weight.scale8": torch.full((48,), 3e38)})),
    "even decoder": ("tiny", "decoder", reshaped("head.weight", 48, 8, 2, 2)),
    "no layer": ("tiny", "decoder", without("up1.weight")),
    "other layer": ("tiny", "decoder", added("up9.weight", torch.zeros(1))),
    "NaN encoder": ("tiny", "encoder", put("head.bias", torch.nan)),
    "short encoder": ("tiny", "encoder", reshaped("log_gain", 1, 24)),
    "NaN decoder of sound": ("tinysound", "decoder", put("phase_head.bias", torch.nan)),
    "even decoder of sound": ("tinysound", "decoder", reshaped("blocks1.0.conv1.weight", 12, 12, 1, 2)),
    "exploding gain of sound": ("tinysound", "decoder", put("log_gain", -60000)),
    "NaN encoder of sound": ("tinysound", "encoder", put("stem.bias", torch.nan)),
    "prior of pictures for sound": ("tinysound", "prior", reshaped("s0.near1.weight", 16, 16, 5, 5)),
    "fractional prior of sound": ("tinysound", "prior", halves("s1.past1.weight")),
}


def header(text: str, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + data


# Other bytes: (of which file, from what it was).
FILES = {
    "nothing": ("prior", lambda data: b""),
    "no header": ("prior", lambda data: b"\x01\0\0"),
    "header beyond the file": ("prior", lambda data: b"\xff" * 8 + data[8:]),
    "header of 99 MiB": ("decoder", lambda data: struct.pack("<Q", 99 << 20) + b" " * (1 << 21)),
    "header of many tensors": ("decoder", lambda data: header(json.dumps(
        {f"t{i}": {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]} for i in range(20_000)}))),
    "not JSON": ("codebook", lambda data: header("nonsense")),
    "brackets": ("codebook", lambda data: header("[" * 100_000)),
    "overlapping tensors": ("codebook", lambda data: header(json.dumps(
        {f"s{i}": {"dtype": "F32", "shape": [1, 1, 1], "data_offsets": [0, 4]} for i in range(2)}), b"\0" * 4)),
    "shape beyond the data": ("codebook", lambda data: header(json.dumps(
        {"s0": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}}), b"\0" * 4)),
    "negative shape": ("codebook", lambda data: header(json.dumps(
        {"s0": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}), b"\0" * 4)),
    "odd dtype": ("codebook", lambda data: header(json.dumps(
        {"s0": {"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}}), b"\0" * 4)),
    "unknown dtype": ("codebook", lambda data: header(json.dumps(
        {"s0": {"dtype": "PICKLE", "shape": [4], "data_offsets": [0, 4]}}), b"\0" * 4)),
    "truncated": ("encoder", lambda data: data[:-1]),
    "longer": ("encoder", lambda data: data + b"\0"),
    "a pickle": ("decoder", lambda data: b"\x80\x04cos\nsystem\n"),
}


def with_config(folder, case):
    model, line, other = CONFIGS[case]
    path = folder / model / "config.toml"
    text = path.read_text()
    assert text.count(line) == 1
    path.write_text(text.replace(line, other))
    return model


def with_tensors(folder, case):
    model, file, change = TENSORS[case]
    path = folder / model / f"{file}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return model


def with_bytes(folder, case):
    file, change = FILES[case]
    path = folder / "tiny" / f"{file}.safetensors"
    path.write_bytes(change(path.read_bytes()))
    return "tiny"


OF_ENCODERS = {"no wide features where the encoder has them",  # what these models decode is right
               *(case for case, (_, file, _) in TENSORS.items() if file == "encoder"),
               *(case for case, (file, _) in FILES.items() if file == "encoder")}
CASES = [(make, case) for make, cases in ((with_config, CONFIGS), (with_tensors, TENSORS), (with_bytes, FILES)) for case in cases]


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No models but those of the tests."""
    monkeypatch.setattr(registry, "user_dir", lambda: tmp_path / "user")
    monkeypatch.setattr(registry, "packaged_dir", lambda: None)
    monkeypatch.delenv(registry.ENV, raising=False)


def registered(tiny_audio_dir, folder, make, case):
    """The entry of a hostile model, in `folder`, with the hashes of its files."""
    sources = folder.parent / "sources"
    for name in CODECS:
        shutil.copytree(tiny_audio_dir / name, sources / name)
    model = make(sources, case)
    try:
        return registration.register(sources / model, model, folder, id=60007, modality=KINDS[model].modality)
    except InputError as error:  # too large to be registered: as it would be in a registry written by hand
        assert "more than" in str(error)
        entry = registration.register(tiny_audio_dir / model, model, folder, id=60007, modality=KINDS[model].modality)
        data = (sources / model / "config.toml").read_bytes()
        (entry.path / "config.toml").write_bytes(data)
        text = (folder / registry.REGISTRY).read_text()
        (folder / registry.REGISTRY).write_text(text.replace(entry.sha256["config.toml"], registry.digest(data)))
        return registry.find_by_name(model, folder, None)


def assert_clean(result, code):
    """One line of error on standard error, the right exit code, no traceback."""
    assert result.exit_code == code, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("vqcodec: error: ") and "unexpected" not in lines[0], result.stderr
    assert len(lines[0]) < 1000 and lines[0].isprintable()


def run(*arguments):
    return CliRunner().invoke(program.main, [str(argument) for argument in arguments])


def packed(entry, path):
    """A .vqmodel file, whatever the size of its members."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(registry.REGISTRY, registry.to_toml([entry]))
        for file in entry.sha256:
            archive.writestr(file, (entry.path / file).read_bytes())
    return path


@pytest.mark.parametrize("make, case", CASES, ids=[case for _, case in CASES])
def test_hostile_models_are_refused_everywhere(tiny_audio_dir, tmp_path, alone, make, case):
    entry = registered(tiny_audio_dir, tmp_path / "models", make, case)
    with time_limit(20):
        for encoder in (True,) if case in OF_ENCODERS else (True, False):
            with pytest.raises(VqcodecError) as caught:
                CODECS[entry.name].open(entry, encoder=encoder)
            assert isinstance(caught.value, (InputError, UsageError))
        result = run("models", "import", "-f", packed(entry, tmp_path / "hostile.vqmodel"), "--models-dir", tmp_path / "new")
        assert_clean(result, 3 if case == "long configuration" else caught.value.exit_code)
        assert not (tmp_path / "new").exists()
        result = run("models", "check", entry.name, "--models-dir", tmp_path / "models")
        assert result.exit_code == 3 and result.stdout.startswith(f"{entry.name}: FAILED: "), result.output
        assert len(result.stdout.splitlines()) == 1 and "unexpected" not in result.output


def test_what_a_configuration_asks_for_is_known_before_it_is_allocated():
    largest = TransformConfig(1024, (256, 512, 1024), (16,) * 3, (16,) * 3)
    with torch.device("meta"):
        specs = schema.network_tensors(loading.shapes(pictures.Decoder(largest)))
    assert sum(spec.count for spec in specs.values()) > schema.MAX_VALUES
    with pytest.raises(InputError, match="values; 67108864 are the most"):
        schema.check_size(specs)


@pytest.mark.parametrize("name", CODECS)
def test_good_models_pass(tiny_audio_dir, tmp_path, alone, name):
    entry = registry.find_by_name(name, tiny_audio_dir, None)
    assert loading.problems(entry, lambda found: loading.load_model(found, found.has_encoder, KINDS[name])) == ()
    for part, decoder_only in (("whole", False), ("part", True)):
        path = tmp_path / f"{part}.vqmodel"
        modelfile.export_model(entry, path, decoder_only)
        result = run("models", "import", path, "--models-dir", tmp_path / part)
        assert result.exit_code == 0, result.output
        assert run("models", "check", "--models-dir", tmp_path / part).stdout == f"{name}: ok\n"


def test_models_of_the_package_pass():
    for entry in registry.read_registry(registry.packaged_dir()):
        assert loading.problems(entry, medium.of_modality(entry.modality).check_model) == ()


@pytest.mark.parametrize("kind", [ModelConfig, AudioModelConfig])
def test_defaults_are_within_the_limits(kind):
    config.check_model(kind())
    config.check_model(tiny_config() if kind is ModelConfig else tiny_audio_config())


def test_every_number_of_a_model_has_limits():
    for kind in (TransformConfig, AudioTransformConfig, QuantizerConfig, PriorConfig):
        assert set(kind.LIMITS) == {f.name for f in fields(kind)} - {"distortion", "arithmetic", "labels", "excitation"}


def test_what_a_release_does_not_know_stops_nothing_else(tiny_audio_dir, tmp_path, alone):
    shutil.copytree(tiny_audio_dir, tmp_path / "models")
    film = registration.register(tiny_audio_dir / "tiny", "film", tmp_path / "models", modality="smell")
    listed = run("models", "list", "--models-dir", tmp_path / "models")
    assert listed.exit_code == 0 and len(listed.stdout.splitlines()) == 3
    result = run("models", "check", "--models-dir", tmp_path / "models")
    assert result.exit_code == 0 and "film: ok (hashes only: this release knows no models of smell)\n" in result.stdout
    with pytest.raises(UnsupportedError, match="'film' is one of smell, not of image"):
        pictures.Codec.open(film)
    modelfile.export_model(film, tmp_path / "film.vqmodel")
    result = run("models", "import", tmp_path / "film.vqmodel")
    assert_clean(result, 4)
    assert "'film' is one of smell, which this release does not know" in result.stderr
    result = run("batch", "encode", tmp_path, tmp_path / "out", "--model", "film", "--models-dir", tmp_path / "models")
    assert_clean(result, 4)
    (film.path / "config.toml").write_text("damaged")
    result = run("models", "check", "film", "--models-dir", tmp_path / "models")
    assert result.exit_code == 3 and "damaged or changed" in result.stdout


def test_networks_are_sketched_without_memory_and_filled_to_the_bit(tiny_audio_dir):
    for name, kind in KINDS.items():
        entry = registry.find_by_name(name, tiny_audio_dir, None)
        before = torch.get_rng_state()
        loaded = loading.load_model(entry, True, kind)
        if name == "tinysound":  # what searches makes a context network, which begins at random
            assert torch.equal(torch.get_rng_state(), before)
        for part in ("encoder", "decoder"):
            net = getattr(loaded, part)
            assert all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in net.state_dict().values())
            stored = loading.weights.unpack(load_file(entry.path / f"{part}.safetensors"))
            assert all(torch.equal(tensor, stored[key]) for key, tensor in net.state_dict().items())


def test_long_headers_are_not_parsed(tiny_audio_dir, tmp_path):
    """A million empty tensors would take gigabytes."""
    text = json.dumps({"s0": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}) + " " * reading.MAX_HEADER
    folder = tmp_path / "sources"
    shutil.copytree(tiny_audio_dir / "tiny", folder)
    (folder / "codebook.safetensors").write_bytes(header(text, b"\0" * 4))
    entry = registration.register(folder, "long", tmp_path / "models")
    with pytest.raises(InputError, match="more than 1048576 bytes of names and shapes"):
        loading.read_tensors(entry, "codebook")
