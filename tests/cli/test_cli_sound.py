"""The commands on sound: by content, targets, formats, damage, standard streams; the Python interface."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from conftest import synthetic_sound

import vqcodec
from vqcodec.picture import file as media
from vqcodec.sound import stream as sound_container
from vqcodec.cli import main
from vqcodec.errors import VqcodecWarning, InputError, UsageError
from vqcodec.sound.file import Sound


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_audio_dir):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VQCODEC_MODELS_DIR", str(tiny_audio_dir))
    samples = synthetic_sound(12000, 2, 11025)
    soundfile.write("in.wav", samples, 11025)
    soundfile.write("in.flac", samples[:, 0], 8000)

    def invoke(command: str, **options):
        runner = CliRunner()
        return runner.invoke(main, command.split(), **options)

    return invoke


def error_line(result, code: int, words: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("vqcodec: error: ") and result.stderr.count("\n") == 1 and words in result.stderr


def test_round_trip(run):
    result = run("encode in.wav out.vq --verify")
    assert result.exit_code == 0 and "2 x 11025 Hz" in result.stderr and "verified" in result.stderr
    assert run("decode out.vq").exit_code == 0
    info = soundfile.info("out.wav")
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (12000, 11025, 2, "PCM_16")
    assert run("decode out.vq out.flac --subtype PCM_24").exit_code == 0
    assert soundfile.info("out.flac").subtype == "PCM_24"
    assert run("decode out.vq other --format aiff").exit_code == 0
    assert soundfile.info("other").format == "AIFF"
    assert run("verify out.vq").stdout == "out.vq: ok\n"


def test_facts(run):
    facts = json.loads(run("encode in.flac out.vq -q 2 --json").stdout)
    assert facts["bytes"] == os.path.getsize("out.vq") and facts["model"] == "tinysound" and facts["seconds"] == 1.5
    assert facts["kbps"] == pytest.approx(8 * facts["bytes"] / 1.5 / 1000)
    shown = json.loads(run("inspect out.vq --json --segments").stdout)
    assert facts["model_rate"] == 8000
    assert shown["quality"] == 2 and shown["channels"] == 1 and shown["modality"] == "audio"
    assert sum(shown["chunk_bytes"]) + shown["header_bytes"] == facts["bytes"]
    text = run("inspect out.vq").stdout
    assert "1.500 s, 1 x 8000 Hz" in text and "tinysound" in text
    assert run("inspect out.vq --grids g.png --bits b.png").exit_code == 0
    assert os.path.getsize("g.png") and os.path.getsize("b.png")


def test_it_says_which_frequencies_the_model_leaves_out(run):
    assert "11025 Hz of which up to 4 kHz are kept," in run("encode in.wav out.vq").stderr
    assert "8000 Hz," in run("encode in.flac out2.vq").stderr


def test_targets(run):
    low, high = (json.loads(run(f"encode in.flac {q}.vq -q {q} --json").stdout) for q in (1, 3))
    middle = (low["bytes"] + high["bytes"]) // 2
    assert json.loads(run(f"encode in.flac s.vq --size {middle} --json").stdout)["bytes"] <= middle
    kbps = (low["kbps"] + high["kbps"]) / 2
    assert json.loads(run(f"encode in.flac k.vq --kbps {kbps} --json").stdout)["kbps"] == pytest.approx(kbps, rel=0.1)
    error_line(run("encode in.flac x.vq --bpp 1"), 2, "--bpp is for images; of sound, give --kbps")
    error_line(run("encode in.flac x.vq --kbps 1 -q 2"), 2, "only one of")
    error_line(run("encode in.flac x.vq --model tiny"), 4, "is one of image")
    error_line(run("encode in.flac x.vq -q 4"), 2, "between 1 and 3")
    assert not os.path.exists("x.vq")


def test_standard_streams(run):
    with open("in.wav", "rb") as file:
        coded = run("encode - -", input=file.read())
    assert coded.exit_code == 0 and coded.stdout_bytes[:4] == b"VQ\1\x19"
    back = run("decode - -", input=coded.stdout_bytes)
    assert back.stdout_bytes[:4] == b"RIFF"


@pytest.mark.skipif(os.name != "posix", reason="names are Unicode there")
def test_names_that_are_not_unicode(run):
    name = os.fsdecode(b"\xff\xfe.wav")
    try:
        os.rename("in.wav", name)
    except OSError:
        pytest.skip("this file system takes no such names")
    result = CliRunner().invoke(main, ["encode", name, "out.vq"])
    assert result.exit_code == 0 and os.path.getsize("out.vq"), result.output


def test_damage(run):
    run("encode in.wav out.vq")
    data = bytearray(Path("out.vq").read_bytes())
    data[-20] ^= 1
    Path("bad.vq").write_bytes(data)
    error_line(run("decode bad.vq"), 3, "bad.vq: ")
    assert not os.path.exists("bad.wav")
    assert run("verify bad.vq").exit_code == 3
    result = run("decode bad.vq --conceal --json")
    assert result.exit_code == 3 and json.loads(result.stdout)["lost"] and "silence from" in result.stderr
    assert soundfile.info("bad.wav").frames == 12000
    for name, content in (("a.wav", b"RIFF\0\0\0\0WAVEjunk"), ("b.flac", b"fLaC" + bytes(100))):
        Path(name).write_bytes(content)
        error_line(run(f"encode {name} x.vq"), 1, "not a sound file")
    error_line(run("encode none.wav x.vq"), 1, "cannot read")
    error_line(run("decode out.vq out.xyz"), 2, "extension")
    error_line(run("decode out.vq out.wav --subtype VORBIS"), 2, "cannot hold")
    assert not any(name.endswith(".tmp") for name in os.listdir())


def test_an_old_file_survives_a_failure(run):
    run("encode in.wav out.vq")
    run("decode out.vq")
    before = Path("out.wav").read_bytes()
    error_line(run("decode out.vq"), 1, "exists")
    error_line(run("decode out.vq out.wav -f --subtype NONSENSE"), 2, "cannot hold")
    assert Path("out.wav").read_bytes() == before


def test_a_full_disk_is_one_line(run, monkeypatch):
    import io

    from vqcodec import fileio

    run("encode in.wav out.vq")

    class Full(io.FileIO):
        def write(self, data):
            if self.tell() + len(data) > 9000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    def opened(path, mode, **options):
        return Full(path, "x+") if mode == "x+b" else Path(path).open(mode)

    monkeypatch.setattr(fileio, "open", opened, raising=False)
    error_line(run("decode out.vq"), 1, "cannot write (No space left on device)")
    assert not os.path.exists("out.wav") and not any(name.endswith(".tmp") for name in os.listdir())


def test_python_interface(run, tiny_audio_dir):
    samples = synthetic_sound(8000)
    data = vqcodec.encode_sound((samples[:, 0], 8000), quality=2)
    assert data == vqcodec.encode_sound(Sound(samples, 8000), quality=2)
    back = vqcodec.decode_sound(data)
    assert back.samples.shape == (8000, 1) and back.rate == 8000
    assert vqcodec.tokens(data).shape[1:] == (1, 100)
    found = vqcodec.inspect(data)
    assert isinstance(found.header, sound_container.SoundHeader) and found.samples == found.header.length == 8000
    assert (found.seconds, found.quality, found.bytes, found.kbps) == (1.0, 2.0, len(data), 8 * len(data) / 1000)
    with pytest.warns(VqcodecWarning, match="target 50 is not reached"):
        assert vqcodec.encode_sound("in.wav", size=50)
    with pytest.raises(UsageError, match="swapped"):
        vqcodec.encode_sound((8000, samples[:, 0]))
    with open("in.wav", "rb") as file:
        assert vqcodec.encode(file, quality=2) == vqcodec.encode("in.wav", quality=2)
    Path("in.vq").write_bytes(data)
    assert vqcodec.inspect("in.vq") == vqcodec.inspect(io.BytesIO(data)) == found
    assert (vqcodec.decode(Path("in.vq")).samples == back.samples).all() and (vqcodec.tokens(memoryview(data)) == vqcodec.tokens(data)).all()
    with pytest.raises(UsageError):
        vqcodec.encode_sound("in.wav", quality=1, kbps=2)
    with pytest.raises(InputError):
        vqcodec.encode_sound(b"nothing")
    with pytest.raises(UsageError):
        vqcodec.encode_sound(Sound(np.zeros((4, 1), np.int16), 8000))


def test_python_interface_tells_sound_from_images(run):
    samples = synthetic_sound(8000)
    data = vqcodec.encode("in.wav", quality=2)
    assert data == vqcodec.encode_sound("in.wav", quality=2) == vqcodec.encode(Path("in.wav"), quality=2)
    content = Path("in.wav").read_bytes()
    assert data == vqcodec.encode(content, quality=2) == vqcodec.encode(bytearray(content), quality=2)
    assert vqcodec.encode((samples, 8000), kbps=1) == vqcodec.encode(vqcodec.Sound(samples, 8000), kbps=1)
    back = vqcodec.decode(data)
    assert isinstance(back, vqcodec.Sound) and back.samples.shape == (12000, 2) and back.rate == 11025
    assert (vqcodec.tokens("in.wav", quality=2) == vqcodec.tokens(data)).all()
    picture = np.zeros((20, 30, 3), np.uint8)
    assert vqcodec.decode(vqcodec.encode(picture, quality=2)).size == (30, 20)
    for wrong, options in ((picture, dict(kbps=1)), ("in.wav", dict(bpp=1)), ("in.wav", dict(psnr=30)),
                           ("in.wav", dict(quality=0)), ("in.wav", dict(kbps=1, size=9)), ((samples,), {}),
                           ((np.zeros(9, np.int16), 8000), {})):
        with pytest.raises(UsageError):
            vqcodec.encode(wrong, **options)
    with pytest.raises(InputError, match="cannot read"):
        vqcodec.encode("none.wav")


def test_tokens_and_back(run):
    data = vqcodec.encode("in.wav", quality=2)
    grids, header = vqcodec.tokens(data), vqcodec.inspect(data)
    assert grids.dtype == np.int64 and grids.shape[1:] == (2, 109)  # ceil(12000·8000/11025 / 80) frames
    assert vqcodec.from_tokens(grids, header) == data
    assert vqcodec.from_tokens(grids, header, model="tinysound") == data
    low = vqcodec.encode("in.wav", quality=1)
    assert vqcodec.from_tokens(vqcodec.tokens(low), vqcodec.inspect(low)) == low
    assert np.array_equal(vqcodec.tokens(vqcodec.from_tokens(vqcodec.tokens(low), header, quality=1)), vqcodec.tokens(low))  # other gains
    for arguments, options in (((grids[:, :, 1:], header), {}), ((0 * grids, header), {}), ((grids, header, 5), {}),
                               ((grids, 5), {}), ((grids, header), dict(quality=9)), ((grids, 30, 20), {})):
        with pytest.raises(UsageError):
            vqcodec.from_tokens(*arguments, **options)


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, vqcodec, vqcodec.cli\nprint({'torch', 'numpy', 'soundfile', 'soxr'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_kbps_is_not_for_images(run):
    Path("in.png").write_bytes(media.write_picture(media.read_picture(np.zeros((20, 30, 3), np.uint8)), "PNG"))
    error_line(run("encode in.png x.vq --kbps 2"), 2, "--kbps is for sound")
    assert run("encode in.png in.vq").exit_code == 0
    error_line(run("decode in.vq out.png --conceal"), 2, "--conceal is not for images")


def test_models_list_tells_the_modality(run):
    text = run("models list").stdout
    assert "tinysound" in text and "audio" in text
    assert json.loads(run("models show tinysound --json").stdout)["modality"] == "audio"


def test_what_a_library_prints_is_not_in_the_stream(run, tmp_path):
    """libsndfile does so over damaged MIDI sample dumps, on standard output."""
    soundfile.write("in.sds", synthetic_sound(2400)[:, 0], 48000, format="SDS")
    data = bytearray(Path("in.sds").read_bytes())
    data[148] ^= 1  # in the second packet
    Path("in.sds").write_bytes(data)
    assert run("encode in.sds out.vq").exit_code == 0
    piped = subprocess.run([sys.executable, "-m", "vqcodec", "encode", "in.sds", "-"], capture_output=True, check=True)
    assert piped.stdout == Path("out.vq").read_bytes()
    facts = subprocess.run([sys.executable, "-m", "vqcodec", "encode", "-f", "--json", "in.sds", "out.vq"], capture_output=True, check=True)
    assert json.loads(facts.stdout)["bytes"] == len(piped.stdout)
