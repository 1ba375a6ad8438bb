"""The command line: exit codes, messages, what is written where, and what is not."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import TINY_ID, synthetic_picture
from PIL import Image

from vqcodec import cli
from vqcodec.cli import files
from vqcodec.picture import stream as container
from vqcodec.zoo import registration, registry


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path, tiny_model_dir):
    """Only the tiny model is installed, in the environment's folder."""
    monkeypatch.setenv("VQCODEC_MODELS_DIR", str(tiny_model_dir))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("VQCODEC_TRACEBACK", raising=False)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command line within tmp_path; arguments are a string or a list."""
    monkeypatch.chdir(tmp_path)
    try:
        runner = CliRunner(mix_stderr=False)
    except TypeError:  # click ≥ 8.2 always keeps them apart
        runner = CliRunner()

    def invoke(arguments, input=None):
        if isinstance(arguments, str):
            arguments = arguments.split()
        return runner.invoke(cli.main, arguments, input=input)

    return invoke


@pytest.fixture
def picture(tmp_path):
    """in.png"""
    Image.fromarray(synthetic_picture(70, 90)).save(tmp_path / "in.png")
    return tmp_path / "in.png"


@pytest.fixture(scope="session")
def stream(tiny_model_dir):
    """A .vq file of 90x70 pixels with alpha."""
    from vqcodec.picture.codec import Codec
    from vqcodec.picture.file import Picture

    alpha = np.zeros((70, 90), np.uint8)
    alpha[:, 40:] = 255
    coder = Codec.open(registry.find_by_name("tiny", tiny_model_dir))
    return coder.encode(Picture(synthetic_picture(70, 90), alpha), 2).data


@pytest.fixture
def coded(tmp_path, stream):
    """in.vq"""
    (tmp_path / "in.vq").write_bytes(stream)
    return tmp_path / "in.vq"


def subprocess_run(*arguments, **options):
    command = [sys.executable, "-m", "vqcodec", *map(str, arguments)]
    return subprocess.run(command, check=False, **options)


def assert_one_error_line(result, code, *words):
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("vqcodec: error: "), result.stderr
    for word in words:
        assert word in lines[0]


def reidentified(data, **changes):
    """The stream with other fields, well packed."""
    unpacked = container.unpack(data)
    return container.pack(type(unpacked)(**{**vars(unpacked), **changes}))


# Imports and help.

def test_imports_nothing_heavy():
    code = ("import sys, vqcodec.cli\n"
            "try: vqcodec.cli.main(['--help'])\nexcept SystemExit: pass\n"
            "print({'torch', 'numpy', 'PIL', 'safetensors', 'torchac'} & set(sys.modules))")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "set()"


def test_inspecting_imports_no_torch(coded):
    code = f"import sys, vqcodec.cli\nvqcodec.cli.main(['inspect', {str(coded)!r}], standalone_mode=False)\n" \
           "print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "False"


def test_help_shows_the_exit_codes(run):
    result = run("--help")
    assert result.exit_code == 0
    for line in ("0  ok", "1  input", "2  usage", "3  corrupt", "4  unsupported"):
        assert line in result.stdout


@pytest.mark.parametrize("command", ["encode", "decode", "inspect", "verify", "models", "models list", "models show",
                                     "models export", "models import", "models check", "train", "train image",
                                     "batch", "batch encode", "batch decode"])
def test_every_command_has_help(run, command):
    for flag in ("--help", "-h"):
        result = run(f"{command} {flag}")
        assert result.exit_code == 0 and result.stdout.startswith("Usage: vqcodec " + command)


def test_version(run):
    result = run("--version")
    assert result.exit_code == 0 and result.stdout.startswith("vqcodec ") and "format version 1" in result.stdout


# Encoding and decoding.

def test_encode_and_decode(run, picture, tmp_path):
    result = run("encode in.png out.vq")
    assert result.exit_code == 0 and result.stdout == "", result.output
    size = (tmp_path / "out.vq").stat().st_size
    assert len(result.stderr.splitlines()) == 1
    assert f"{size} bytes" in result.stderr and "quality 2," in result.stderr and "bpp" in result.stderr
    result = run("decode out.vq")
    assert result.exit_code == 0 and result.stdout == ""
    assert result.stderr.startswith("out.vq -> out.png: 90x70, ") and len(result.stderr.splitlines()) == 1
    assert run("decode out.vq -f --quiet").output == ""
    assert Image.open(tmp_path / "out.png").size == (90, 70)


def test_quiet(run, picture):
    assert run("encode in.png out.vq --quiet").output == ""


def test_quality_is_rounded_to_sixteenths(run, picture):
    assert json.loads(run("encode in.png out.vq -q 1.99 --json").stdout)["quality"] == 2


@pytest.mark.parametrize("target", ["--bpp 0.5", "--psnr 20", "--size 600", "--size 0.7KiB"])
def test_targets(run, picture, target):
    facts = json.loads(run(f"encode in.png out.vq --json {target}").stdout)
    if "--size" in target and facts["note"] is None:
        assert facts["bytes"] <= 717


def test_targets_out_of_reach_warn(run, picture):
    result = run("encode in.png out.vq --bpp 90")
    assert result.exit_code == 0
    assert result.stderr.startswith("vqcodec: warning: in.png: ") and len(result.stderr.splitlines()) == 2


def test_verify_while_encoding(run, picture):
    assert json.loads(run("encode in.png out.vq --verify --json").stdout)["verified"] is True


def test_a_failed_verification_writes_nothing(run, picture, tmp_path, monkeypatch):
    from vqcodec.picture.codec import Codec
    from vqcodec.errors import CorruptStreamError

    def fail(self, data):
        raise CorruptStreamError("grids differ")

    monkeypatch.setattr(Codec, "decode_grids", fail)
    assert_one_error_line(run("encode in.png out.vq --verify"), 3, "grids differ")
    assert os.listdir(tmp_path) == ["in.png"]


def test_encode_json(run, picture):
    result = run("encode in.png out.vq --json")
    assert result.stderr == ""
    facts = json.loads(result.stdout)
    assert set(facts) == {"input", "output", "width", "height", "pixels", "input_bytes", "bytes", "bpp", "quality", "note",
                          "verified", "seconds", "elapsed", "model", "model_id", "model_hash"}
    assert (facts["width"], facts["height"], facts["model"], facts["model_id"]) == (90, 70, "tiny", TINY_ID)
    assert facts["bpp"] == pytest.approx(8 * facts["bytes"] / (90 * 70))


def test_decode_json(run, coded):
    facts = json.loads(run("decode in.vq out.webp --json").stdout)
    assert set(facts) == {"input", "output", "width", "height", "pixels", "format", "input_bytes", "bytes", "bpp", "quality",
                          "pixels_sha256", "pixels_exact", "lost", "seconds", "elapsed", "model", "model_id", "model_hash"}
    assert facts["bytes"] == os.path.getsize("out.webp") and facts["bpp"] == 8 * facts["input_bytes"] / facts["pixels"]
    assert facts["format"] == "WEBP" and facts["quality"] == 2


def test_standard_input_and_output(run, picture, tmp_path):
    result = run("encode - - --json", input=picture.read_bytes())
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stderr)["bytes"] == len(result.stdout_bytes)
    coded = result.stdout_bytes
    result = run("decode -", input=coded)
    assert Image.open(io.BytesIO(result.stdout_bytes)).format == "PNG" and result.stderr == ""
    result = run("decode - --format bmp --json", input=coded)
    assert Image.open(io.BytesIO(result.stdout_bytes)).format == "BMP" and json.loads(result.stderr)["output"] == "-"
    assert os.listdir(tmp_path) == ["in.png"]


def test_format_option(run, coded, tmp_path):
    assert run("decode in.vq --format .jpg").exit_code == 0
    assert run("decode in.vq out.dat --format png").exit_code == 0
    assert Image.open(tmp_path / "in.jpg").format == "JPEG" and Image.open(tmp_path / "out.dat").format == "PNG"


def test_warnings_are_single_lines(run, coded):
    result = run("decode in.vq out.jpg --quiet")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == ["vqcodec: warning: JPEG holds no transparency: composited over white"]


def test_several_files(run, picture, tmp_path):
    (tmp_path / "other.png").write_bytes(picture.read_bytes())
    result = run("encode in.png other.png -d coded -q 1")
    assert result.exit_code == 0 and len(result.stderr.splitlines()) == 2
    assert (tmp_path / "coded" / "in.vq").read_bytes() == (tmp_path / "coded" / "other.vq").read_bytes()
    run("encode in.png -q 1")
    assert (tmp_path / "in.vq").read_bytes() == (tmp_path / "coded" / "in.vq").read_bytes()
    (tmp_path / "bad.vq").write_bytes(b"VQ nonsense")
    result = run("decode coded/in.vq bad.vq coded/other.vq -d back --json")
    assert result.exit_code == 4 and "bad.vq: " in result.stderr
    files_ = json.loads(result.stdout)["files"]
    assert sorted(os.path.basename(f["input"]) for f in files_) == ["bad.vq", "in.vq", "other.vq"]
    assert sorted(os.listdir(tmp_path / "back")) == ["in.png", "other.png"]
    os.mkdir("more")
    (tmp_path / "more" / "in.jpg").write_bytes(picture.read_bytes())
    assert_one_error_line(run("encode in.png more/in.jpg -d coded"), 2, "two files would be written")


def test_the_files_time_is_kept_if_asked_for(run, picture, tmp_path):
    os.utime(picture, ns=(10**18, 1_600_000_000_123_456_789))
    assert run("encode in.png plain.vq -q 1").exit_code == 0 and run("encode in.png timed.vq -q 1 --keep-time").exit_code == 0
    assert run("decode timed.vq timed.png").exit_code == 0 and run("decode plain.vq plain.png").exit_code == 0
    assert os.stat("timed.png").st_mtime_ns == 1_600_000_000_123_456_789 != os.stat("plain.png").st_mtime_ns
    assert "2020-09-13T12:26:40Z" in run("inspect timed.vq").stdout


def test_metadata_are_kept_and_can_be_left_out(run, tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 0.0)
    Image.fromarray(synthetic_picture(60, 80)).save("photo.jpg", exif=exif, dpi=(300, 300))
    for options, place, maker in (("", True, True), ("--strip gps", False, True), ("--strip exif", False, False), ("--strip", False, False)):
        assert run(f"encode photo.jpg coded.vq -q 1 -f {options}").exit_code == 0
        facts = json.loads(run("inspect coded.vq --json").stdout)
        assert ("place" in facts["metadata"]) == place and ("exif" in facts["metadata"]) == maker
        assert ("density" in facts["metadata"]) == (options != "--strip") == (facts["metadata_bytes"] > 0)
        assert run("decode coded.vq back.jpg -f").exit_code == 0 and run("verify coded.vq").exit_code == 0
        with Image.open("back.jpg") as image:
            found = image.getexif()
            assert bool(found.get_ifd(0x8825)) == place and (found.get(0x010F) == "Maker") == maker
    plain = (tmp_path / "coded.vq").read_bytes()
    assert run("encode --strip photo.jpg again.vq -q 1").exit_code == 0 and (tmp_path / "again.vq").read_bytes() == plain
    assert run("batch encode . out -q 1 --include *.jpg --exclude back.jpg --strip").exit_code == 0
    assert (tmp_path / "out" / "photo.vq").read_bytes() == plain


# Refusals.

@pytest.mark.parametrize("command", ["encode in.png out.vq", "decode in.vq out.vq", "decode in.vq",
                                     "inspect in.vq --grids out.vq", "models export tiny out.vq"])
def test_no_overwriting_without_force(run, picture, coded, tmp_path, command, monkeypatch):
    (tmp_path / "out.vq").write_bytes(b"precious")
    with monkeypatch.context() as patch:
        for command_of in (files.medium.Medium.__subclasses__()):
            patch.setattr(command_of, "open", lambda *_, **__: pytest.fail("it worked before it looked"))
        assert_one_error_line(run(command), 1, "exists; use -f")
    assert (tmp_path / "out.vq").read_bytes() == b"precious"


def test_force_overwrites(run, picture, tmp_path):
    (tmp_path / "out.vq").write_bytes(b"old")
    assert run("encode in.png out.vq -f").exit_code == 0
    assert (tmp_path / "out.vq").read_bytes()[:2] == b"VQ"


@pytest.mark.parametrize("command", ["encode in.png in.png -f", "decode in.vq ./in.vq -f", "inspect in.vq --bits in.vq -f"])
def test_input_is_never_the_output(run, picture, coded, command, tmp_path):
    before = picture.read_bytes(), coded.read_bytes()
    assert_one_error_line(run(command), 2, "same file")
    assert (picture.read_bytes(), coded.read_bytes()) == before


@pytest.mark.parametrize("arguments", [
    "encode", "encode in.png out.vq extra", "encode in.png other.png", "encode in.png - -d folder", "encode in.png out.vq --nonsense", "nonsense", "verify",
    "train image x", "models show", "encode in.png out.vq -q 2 --bpp 1", "encode in.png out.vq --psnr 30 --size 20k",
    "encode in.png out.vq -q 0.9", "encode in.png out.vq -q 3.01", "encode in.png out.vq -q nan",
    "encode in.png out.vq -q x", "encode in.png out.vq --bpp 0", "encode in.png out.vq --bpp inf",
    "encode in.png out.vq --psnr -1", "encode in.png out.vq --size 0", "encode in.png out.vq --size 20x",
    "encode in.png out.vq --size k", "encode in.png out.vq --size nan", "decode in.vq out.xyz", "decode in.vq out",
    "decode in.vq out.png --format xyz",
])
def test_usage_errors(run, picture, coded, tmp_path, arguments):
    assert_one_error_line(run(arguments), 2)
    assert sorted(os.listdir(tmp_path)) == ["in.png", "in.vq"]


@pytest.mark.parametrize("text, size", [("20000", 20000), ("20k", 20000), ("20kB", 20000), ("20KiB", 20480),
                                        ("20 Ki", 20480), ("1.5M", 1500000), ("1MiB", 1 << 20), ("7b", 7)])
def test_sizes(text, size):
    from vqcodec.cli.support import ByteSize

    assert ByteSize().convert(text, None, None) == size


@pytest.mark.parametrize("arguments", [
    "encode missing.png out.vq", "encode junk out.vq", "encode empty out.vq", "encode in.png missing/out.vq",
    "encode . out.vq", "decode missing.vq", "inspect missing.vq", "encode in.png out.vq --models-dir missing",
    "models list --models-dir .", "models import missing",
])
def test_input_and_output_errors(run, picture, tmp_path, arguments):
    (tmp_path / "junk").write_bytes(b"\1\2\3 no text")
    (tmp_path / "empty").touch()
    assert_one_error_line(run(arguments), 1)
    assert sorted(os.listdir(tmp_path)) == ["empty", "in.png", "junk"]


@pytest.mark.parametrize("command", ["decode bad.vq", "inspect bad.vq", "inspect bad.vq --grids g.png --bits b.png"])
@pytest.mark.parametrize("damage", [lambda d: b"text", lambda d: d[:-1], lambda d: d + b"x", lambda d: d[:20],
                                    lambda d: d[:9] + bytes([d[9] ^ 1]) + d[10:]])
def test_corrupt_streams(run, stream, tmp_path, command, damage):
    (tmp_path / "bad.vq").write_bytes(damage(stream))
    assert_one_error_line(run(command), 3)
    assert os.listdir(tmp_path) == ["bad.vq"]


def test_damaged_segments(run, stream, tmp_path):
    payload, = container.unpack(stream).segments
    (tmp_path / "bad.vq").write_bytes(reidentified(stream, segments=(bytes([payload[0] ^ 0x55]) + payload[1:],)))
    for command in ("decode bad.vq", "inspect bad.vq --grids g.png", "inspect bad.vq --segments"):
        assert_one_error_line(run(command), 3)
    assert os.listdir(tmp_path) == ["bad.vq"]
    assert run("inspect bad.vq").exit_code == 0  # its header is sound


@pytest.mark.parametrize("change, words", [
    ({"model_id": 59999}, ("model 59999", "not installed", "models import FILE")),
    ({"model_hash": b"\0\1\2\3"}, ("hash 00010203", "another one", "'tiny'", "models import FILE")),
])
def test_unknown_models(run, stream, tmp_path, change, words):
    (tmp_path / "in.vq").write_bytes(reidentified(stream, **change))
    assert_one_error_line(run("decode in.vq"), 4, *words)
    assert_one_error_line(run("inspect in.vq --bits b.png"), 4, *words)
    result = run("inspect in.vq")
    assert result.exit_code == 0 and "not installed" in result.stdout
    assert json.loads(run("inspect in.vq --json").stdout)["model"] is None
    assert os.listdir(tmp_path) == ["in.vq"]


def test_unsupported_version(run, stream, tmp_path):
    (tmp_path / "in.vq").write_bytes(stream[:2] + b"\x09" + stream[3:])
    assert_one_error_line(run("decode in.vq"), 4, "version 9")


def test_unknown_model_name(run, picture):
    assert_one_error_line(run("encode in.png out.vq --model nonsense"), 4, "'nonsense' is not installed")


def test_retired_and_decoder_only_models(run, picture, tmp_path, tiny_model_dir):
    entry = registry.find_by_name("tiny", tiny_model_dir)
    registration.register(entry.path, "old", tmp_path / "retired", id=1, status="retired")
    assert_one_error_line(run("encode in.png out.vq --models-dir retired --model old"), 2, "retired")
    assert run("models export tiny small.vqmodel --decoder-only").exit_code == 0
    assert run("models import small.vqmodel --models-dir small").exit_code == 0
    assert_one_error_line(run("encode in.png out.vq --models-dir small --model tiny"), 4, "decoder-only")


@pytest.mark.parametrize("error, code, words", [
    (RuntimeError("strange\nthing"), 1, ("unexpected RuntimeError: strange thing", "VQCODEC_TRACEBACK=1")),
    (EOFError("odd"), 1, ("unexpected",)), (MemoryError(), 1, ("not enough memory",)),
    (OSError(28, "No space left on device"), 1, ("No space left",)),
])
def test_unexpected_errors(run, coded, tmp_path, monkeypatch, error, code, words):
    def fail(data):
        raise error

    monkeypatch.setattr(files.medium, "of_stream", fail)
    assert_one_error_line(run("decode in.vq"), code, *words)
    assert os.listdir(tmp_path) == ["in.vq"]
    monkeypatch.setenv("VQCODEC_TRACEBACK", "1")
    assert "Traceback" in run("decode in.vq").stderr


def test_interruption(run, coded, tmp_path, monkeypatch):
    def interrupt(data):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.medium, "of_stream", interrupt)
    result = run("decode in.vq")
    assert result.exit_code == 130 and result.stderr.strip() == "vqcodec: error: interrupted"
    assert os.listdir(tmp_path) == ["in.vq"]


# Inspecting and verifying.

def test_inspect(run, coded):
    for options, rows in (("", 4), (" --segments", 13)):
        lines = run("inspect in.vq" + options).stdout.splitlines()
        assert lines[0].split() == ["picture", "90x70,", "colour", "with", "alpha"]
        assert "tiny" in lines[2] and "6x5" in lines[3]
        sizes = [int(line.split(" bytes ")[0].split()[-1]) for line in lines if " bytes " in line]
        assert len(sizes) == rows and sum(sizes[:-1]) == sizes[-1] == coded.stat().st_size
        assert lines[-1].endswith("100.00 %")


def test_inspect_json(run, coded):
    result = run("inspect in.vq --json")
    facts = json.loads(result.stdout)
    assert set(facts) == {"input", "width", "height", "quality", "grey", "alpha", "model", "model_id", "model_hash",
                          "blocks", "header_bytes", "payload_bytes", "segment_bytes", "alpha_bytes", "plain_blocks", "plain_bytes", "curves", "metadata_bytes", "metadata",
                          "bytes", "bpp"}
    assert facts["bytes"] == facts["header_bytes"] + facts["payload_bytes"] + facts["alpha_bytes"]
    assert facts["metadata"] == {} and facts["metadata_bytes"] == 0
    assert facts["segment_bytes"] is None
    detailed = json.loads(run("inspect in.vq --json --segments").stdout)
    assert len(detailed["segment_bytes"]) == 10 and sum(detailed["segment_bytes"]) == facts["payload_bytes"]
    assert facts["blocks"] == [5, 6] and facts["alpha"] is True


def test_inspect_draws(run, coded, tmp_path):
    result = run("inspect in.vq --grids grids.png --bits bits.png")
    assert result.exit_code == 0, result.stderr
    assert Image.open(tmp_path / "grids.png").mode == "L"
    assert Image.open(tmp_path / "bits.png").size == (90, 70)
    result = run("inspect in.vq --bits - --json")
    assert Image.open(io.BytesIO(result.stdout_bytes)).size == (90, 70)
    assert json.loads(result.stderr)["width"] == 90


def test_verify(run, stream, tmp_path):
    (tmp_path / "good.vq").write_bytes(stream)
    (tmp_path / "cut.vq").write_bytes(stream[:-1])
    (tmp_path / "other.vq").write_bytes(reidentified(stream, model_id=59999))
    (tmp_path / "wrong.vq").write_bytes(reidentified(stream, grids_crc=1))
    before = sorted(os.listdir(tmp_path))
    for names, code in (("good.vq", 0), ("good.vq missing.vq", 1), ("good.vq wrong.vq missing.vq", 3),
                        ("cut.vq", 3), ("cut.vq other.vq good.vq", 4)):
        result = run("verify " + names)
        assert result.exit_code == code and result.stderr == ""
        lines = result.stdout.splitlines()
        assert [line.split(":")[0] for line in lines] == names.split()
        assert all(line == "good.vq: ok" or ": FAILED: " in line for line in lines)
        facts = json.loads(run(f"verify --json {names}").stdout)
        assert facts["ok"] == (code == 0) and max(file["exit_code"] for file in facts["files"]) == code
    assert sorted(os.listdir(tmp_path)) == before


# Models and training.

def test_models_list_show_check(run, tiny_model_dir):
    line = run("models list").stdout.splitlines()[0]
    assert line.split()[:2] == [str(TINY_ID), "tiny"] and "image" in line.split()
    listed = json.loads(run("models list --json").stdout)["models"][0]
    assert set(listed) == {"id", "name", "hash", "modality", "status", "encoder", "path", "sha256"}
    shown = run("models show tiny")
    assert listed["hash"] in shown.stdout and "# tiny" in shown.stdout
    assert listed["modality"] == "image" and ["of", "image"] in [row.split() for row in shown.stdout.splitlines()]
    assert json.loads(run("models show tiny --json").stdout) == {**listed, "card": "# tiny\n"}
    assert run("models check tiny").stdout == "tiny: ok\n"
    assert json.loads(run("models check tiny --json").stdout)["ok"] is True


def test_models_move(run, tmp_path, stream, monkeypatch):
    assert run("models export tiny tiny.vqmodel --decoder-only").exit_code == 0
    (tmp_path / "in.vq").write_bytes(stream)
    monkeypatch.delenv("VQCODEC_MODELS_DIR")
    assert_one_error_line(run("decode in.vq"), 4)
    result = run("models import tiny.vqmodel")
    assert result.exit_code == 0 and "tiny (model 60000" in result.stderr, result.output
    assert run("decode in.vq").exit_code == 0
    (registry.find_by_name("tiny").path / "prior.safetensors").write_bytes(b"damaged")
    result = run("models check tiny")
    assert result.exit_code == 3 and result.stdout.startswith("tiny: FAILED: ")


def test_models_import_refuses_damage(run, tmp_path):
    (tmp_path / "x.vqmodel").write_bytes(b"PK nonsense")
    assert_one_error_line(run("models import x.vqmodel"), 3)
    assert os.listdir(tmp_path) == ["x.vqmodel"]


def test_train_hands_over(run, tmp_path, monkeypatch):
    from vqcodec.train import run as training

    calls = []
    monkeypatch.setattr(training, "train", lambda *arguments: calls.append(arguments))
    assert run("train image a b --config c.toml --out d --export e").exit_code == 0
    path = registry.Path
    assert run("train audio a --out d --from-model speech-2").exit_code == 0
    assert calls == [("image", [path("a"), path("b")], path("c.toml"), path("d"), "e", None, None, None, None),
                     ("audio", [path("a")], None, path("d"), None, None, None, "speech-2", None)]


# Foreign text, and what is no file.

def test_foreign_text_does_not_reach_the_terminal(run, tmp_path):
    name = os.fsdecode(b"a\n\x1b[31m\xff.vq")
    result = run(["inspect", name])
    assert_one_error_line(result, 1)
    assert result.stderr.startswith(r"vqcodec: error: a\n\x1b[31m\xff.vq: cannot read")
    (tmp_path / name).write_bytes(b"VQ\1\0")
    result = run(["verify", name])
    assert result.stdout.startswith(r"a\n\x1b[31m\xff.vq: FAILED") and result.stdout.count("\n") == 1
    Image.fromarray(synthetic_picture(20, 20)).save(tmp_path / "in.png")
    result = run(["encode", "in.png", name, "-f"])
    assert result.exit_code == 0 and result.stderr.count("\n") == 1 and "\x1b" not in result.stderr


def test_model_cards_do_not_reach_the_terminal_raw(run, monkeypatch):
    read = registry.ModelEntry.read
    monkeypatch.setattr(registry.ModelEntry, "read", lambda self, file: b"# \x1b]0;x\x07\r\n\ta\xc3\xa9\xff\n"
                        if file == "card.md" else read(self, file))
    assert run("models show tiny").stdout.endswith("\n\n# \\x1b]0;x\\x07\n\ta\u00e9\ufffd\n")


def test_devices_without_end(run):
    result = run("inspect /dev/zero")
    assert result.exit_code in (1, 3) and len(result.stderr.splitlines()) == 1


def test_lack_of_memory_as_torch_says_it(run, coded, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to "
                           "allocate 4 bytes. Error code 12 (Cannot allocate memory)\nmore")

    monkeypatch.setattr(registry, "find_by_stream", fail)
    result = run("decode in.vq")
    assert result.exit_code == 1 and result.stderr == "vqcodec: error: not enough memory\n"


# As a process of its own.

def test_process_round_trip(picture, tmp_path):
    with open(picture, "rb") as source:
        coded = subprocess_run("encode", "-", "-", "-q", "1", stdin=source, capture_output=True)
    assert coded.returncode == 0 and b"quality 1" in coded.stderr
    result = subprocess_run("decode", "-", tmp_path / "out.png", input=coded.stdout, capture_output=True)
    assert result.returncode == 0 and result.stdout == b"" and result.stderr.startswith(b"- -> ")
    assert Image.open(tmp_path / "out.png").size == (90, 70)


def test_process_exit_codes(coded, tmp_path):
    for arguments, code in ((["inspect", coded], 0), (["inspect", "missing"], 1), (["inspect"], 2),
                            (["inspect", __file__], 3)):
        result = subprocess_run(*arguments, capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == code and "Traceback" not in result.stderr


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals")
def test_no_binary_to_a_terminal(coded):
    master, terminal = os.openpty()
    try:
        result = subprocess_run("decode", coded, "-", stdout=terminal, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(master)
        os.close(terminal)
    assert result.returncode == 2 and "terminal" in result.stderr and len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
@pytest.mark.parametrize("command", [["inspect"], ["decode", "-f"]])
def test_closed_pipes_are_no_disaster(coded, command):
    reader, writer = os.pipe()
    os.close(reader)
    output = ["-"] if command[0] == "decode" else []
    try:
        result = subprocess_run(*command, coded, *output, stdout=writer, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writer)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr and "Exception ignored" not in result.stderr
    assert len(result.stderr.splitlines()) <= 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("command", [["inspect"], ["decode"]])
def test_full_disks(coded, command):
    output = ["-"] if command[0] == "decode" else []
    with open("/dev/full", "w") as full:
        result = subprocess_run(*command, coded, *output, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1 and result.stderr.startswith("vqcodec: error: ")
    assert len(result.stderr.splitlines()) == 1
