"""Limits on what a file may take, and files made to take more than anybody has: the small ones are in tests/attacks."""

from __future__ import annotations

import io
import json
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import synthetic_picture, synthetic_sound
from helpers import memory_growth, time_limit
from PIL import Image

import vqcodec
from vqcodec import Limits, cli, filelimits, medium
from vqcodec.errors import CorruptStreamError, LimitError, UnsupportedError, UsageError
from vqcodec.filelimits import Extent, check, tick, within
from vqcodec.picture.codec import Codec
from vqcodec.sound import stream as sound_container
from vqcodec.sound.codec import AudioCodec
from vqcodec.sound.file import Sound, resample
from vqcodec.zoo import registry

ATTACKS = Path(__file__).parent / "attacks"


@pytest.fixture(scope="module")
def codec(tiny_audio_dir):
    return AudioCodec.open(registry.find_by_name("tinysound", tiny_audio_dir, "audio"))


@pytest.fixture(scope="module")
def pictures(tiny_audio_dir):
    return Codec.open(registry.find_by_name("tiny", tiny_audio_dir))


@pytest.fixture
def run(tiny_audio_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda words: CliRunner().invoke(cli.main, [*words.split(), "--models-dir", str(tiny_audio_dir)])


def bomb(codec, chunks: int = 3, rate: int = 768000, channels: int = 255) -> bytes:
    """A valid stream of equal channels: few bytes become many samples."""
    count = chunks * codec.model.transform.chunk * codec.model.transform.step
    data = codec.encode(Sound(synthetic_sound(count, 1, codec.rate), codec.rate), 1).data
    header = replace(sound_container.peek(data)[0], rate=rate, channels=channels, coded_channels=1,
                     length=count * rate // codec.rate)
    return codec.encode_tokens(codec.decode_grids(data), header).data


def png_of(width: int, height: int) -> bytes:
    """A valid PNG of 1 bit per pixel, all black."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, rows = zlib.compressobj(1), bytes(256 * (1 + width // 8))
    data = b"".join(packer.compress(rows) for _ in range(height // 256)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


# --- the limits themselves -----------------------------------------------------------------------------------

@pytest.mark.parametrize("extent, size, name", [
    (Extent(pixels=101), None, "pixels"), (Extent(samples=102), None, "samples"), (Extent(output=(1 << 31) + 1), None, "output"),
    (Extent(memory=104), None, "memory"), (Extent(output=(1 << 30) + 1), 1 << 26, "ratio")])
def test_what_is_beyond_a_limit_is_refused_with_words_on_how_to_raise_it(extent, size, name):
    allowed = Limits(pixels=100, samples=101, output=1 << 31, ratio=16, memory=103)
    with within(allowed), pytest.raises(LimitError, match=f"--limit-{name} raises it, Limits\\({name}=...\\)"):
        check(extent, size)
    with within(replace(allowed, **{name: None})):
        check(extent, size)
    check(extent, size)  # nobody set a limit


def test_what_is_at_a_limit_passes():
    with within(Limits(pixels=100, samples=101, output=1 << 31, ratio=16, memory=103)):
        check(Extent(100, 101, 1 << 31, 103), 1 << 27)
        check(Extent(output=1 << 30), 1)


def test_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(filelimits.time, "monotonic", lambda: now[0])
    with within(Limits(seconds=5)):
        now[0] = 5
        tick()
        with within(Limits(seconds=100)):  # the outer ones hold
            now[0] = 5.1
            with pytest.raises(LimitError, match="not done after 5 s"):
                tick()
    tick()


@pytest.mark.parametrize("wrong", [dict(pixels=0), dict(seconds=-1), dict(memory="4GiB"), dict(ratio=float("nan"))])
def test_limits_are_numbers_above_nought(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Limits(**wrong)


def test_honest_work_is_within_the_usual_limits():
    from vqcodec.picture.memory import needed as of_picture
    from vqcodec.sound.memory import needed as of_sound

    with within(Limits()):
        check(Extent(pixels=11600 * 8700, memory=of_picture(11600, 8700), output=4 * 11600 * 8700), 2_000_000)
        samples = 10 * 3600 * 48000 * 2
        check(Extent(samples=samples, output=2 * samples, memory=of_sound(2, 2)), 10 * 3600 * 400 // 8)


# --- attacks ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, options, code, message", [
    ("sound_rate", "", 4, "more than the limit of 4096 (--limit-ratio raises it"), ("sound_rate", "--limit-ratio 1e9", 4, "768000 Hz are supported"),
    ("sound_channels", "", 4, "4308480000 bytes to write"), ("sound_silence", "--conceal", 4, "samples, more than the limit"),
    ("sound_silence", "--conceal --limit-samples 99999999999999", 4, "--limit-output raises it"),
    ("picture_size", "", 4, "1073741824 pixels, more than the limit of 268435456 (--limit-pixels raises it"),
    ("picture_empty", "", 3, "cannot hold the segments"), ("picture_empty", "--limit-memory 1GiB", 4, "--limit-memory raises it"),
    ("picture_empty", "--limit-output 100MB", 4, "--limit-output raises it")])
def test_attacks_end_at_once(tmp_path, monkeypatch, name, options, code, message):
    monkeypatch.chdir(tmp_path)
    with time_limit(60), memory_growth() as growth:
        result = CliRunner().invoke(cli.main, ["decode", str(ATTACKS / f"{name}.vq"), "out.wav" if "sound" in name else "out.png",
                                               *options.split()])
    lines = [line for line in result.stderr.splitlines() if "warning" not in line]
    assert result.exit_code == code and len(lines) == 1 and message in lines[0] and lines[0].count(f"{name}.vq: ") == 1, result.stderr
    assert growth() < 500 << 20 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["sound_channels", "picture_size"])
def test_attacks_from_python(name):
    for function in (vqcodec.decode, vqcodec.tokens):
        if (function, name) != (vqcodec.tokens, "sound_channels"):
            with pytest.raises(LimitError):
                function(ATTACKS / f"{name}.vq")
    with pytest.raises(LimitError, match="pixels" if "picture" in name else "samples"):
        vqcodec.tokens(ATTACKS / f"{name}.vq", limits=Limits(pixels=1000, samples=1000))
    vqcodec.inspect(ATTACKS / f"{name}.vq")  # which does no work


def test_a_small_png_of_a_gigapixel(run, tmp_path):
    (tmp_path / "in.png").write_bytes(png_of(32768, 32768))
    assert (tmp_path / "in.png").stat().st_size < 1_000_000
    with time_limit(60), memory_growth() as growth:
        result = run("encode in.png out.vq")
        with pytest.raises(LimitError, match="pixels"):
            vqcodec.encode(tmp_path / "in.png")
    assert result.exit_code == 4 and "in.png: 1073741824 pixels" in result.stderr and growth() < 200 << 20
    assert run("encode in.png out.vq --limit-pixels 2000000000").stderr.count("--limit-memory") == 1


def test_blocks_of_sound_are_small_whatever_they_become(codec):
    data = bomb(codec)
    stream = codec.decode_stream(io.BytesIO(data))
    with memory_growth() as growth:
        sizes = [len(block) for block in stream.blocks()]
    assert sum(sizes) == stream.header.length and max(sizes) * 255 <= 1 << 22
    assert growth() < 120 << 20  # all of it is 750 MB


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_channels_are_repeated_after_resampling(codec, rate):
    data = bomb(codec, rate=rate, channels=3)
    mono = bomb(codec, rate=8000, channels=1)
    found, expected = codec.decode(data).samples, resample(codec.decode(mono), rate).samples
    assert found.shape == (len(expected), 3)
    np.testing.assert_array_equal(found, np.repeat(expected, 3, 1))


@pytest.mark.parametrize("rate", [999, 768001, sound_container.MAX_RATE])
def test_rates_are_limited_as_the_encoder_limits_them(codec, rate):
    data = bomb(codec, 1, rate=rate, channels=1)
    with pytest.raises(UnsupportedError, match="1000..768000 Hz are supported"):
        codec.decode(data)


@pytest.mark.parametrize("tail", [12, 4000])
def test_false_headers_cost_no_more_than_honest_chunks(codec, tail):
    """Chunk 0 again and again, each time with a header that checks and content that does not."""
    header = replace(sound_container.peek(bomb(codec))[0], rate=8000, channels=1, length=64 * 40 * 30000)
    start = sound_container.pack_header(header)
    seed = sound_container.seed_of(header, sound_container.peek(start)[1])
    data = start + sound_container.pack_chunk(0, 0, bytes(tail), seed) * (200_000 // tail)
    tried = []
    reader = sound_container.ChunkReader(io.BytesIO(data), 30000, seed, conceal=True)
    reader.file.seek(0)
    reader.position = len(start)
    with time_limit(60):
        while (chunk := reader.read(0)) is not None:
            tried.append(len(chunk.payload))
            reader.reject(chunk)
    assert len(tried) <= 64 + len(data) // 64 + 1
    assert sum(tried) <= 64 * len(data) + 64 * 4096 + max(tried)


# --- work that takes long --------------------------------------------------------------------------------------

def test_encoders_and_decoders_look_at_the_time(tiny_audio_dir):
    short = dict(models_dir=tiny_audio_dir, limits=Limits(seconds=1e-6))
    picture = synthetic_picture(64, 64)
    sound = Sound(synthetic_sound(9000, 1, 8000), 8000)
    for thing, kind in ((picture, "image"), (sound, "sound")):
        with pytest.raises(LimitError, match="not done after"):
            vqcodec.encode(thing, **short)
        data = vqcodec.encode(thing, models_dir=tiny_audio_dir, limits=Limits(seconds=600))
        for function in (vqcodec.decode, vqcodec.tokens):
            with pytest.raises(LimitError, match="not done after"):
                function(data, **short)


@pytest.mark.parametrize("command", ["decode in.vq", "verify in.vq", "inspect in.vq --segments"])
def test_commands_look_at_the_time_and_at_pixels(run, tiny_audio_dir, tmp_path, command):
    (tmp_path / "in.vq").write_bytes(vqcodec.encode(synthetic_picture(64, 64), models_dir=tiny_audio_dir))
    for option in ("--limit-seconds 0.000001", "--limit-pixels 4095", "--limit-memory 1KiB"):
        result = run(f"{command} {option}")
        assert result.exit_code == 4 and option.split()[0] in result.output + result.stderr, option
    assert run(f"{command} --limit-seconds 1000 --limit-pixels 4096").exit_code == 0


def test_batch_limits_each_file(tiny_audio_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    for side in (40, 48, 64):
        Image.fromarray(synthetic_picture(side, side)).save(f"src/{side}.png")

    def batch(words, code):
        result = CliRunner().invoke(cli.main, ["batch", *words.split(), "--json", "-j", "0", "--models-dir", str(tiny_audio_dir)])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    found = batch("encode src dst --limit-pixels 2500", 4)
    assert found["done"] == 2 and [f["source"] for f in found["failures"]] == ["64.png"]
    assert "--limit-pixels raises it" in found["failures"][0]["error"]
    assert batch("encode src dst", 0)["done"] == 1  # limits do not decide the bytes: what is complete stays
    assert batch("decode dst out --limit-seconds 0.000001", 4)["failed"] == 3
    assert batch("decode dst out --limit-output 8000", 4)["failed"] == 1


def test_verifying_a_long_stream_takes_no_more_memory(codec, monkeypatch):
    """100 chunks whose grids, were they held, would take 100 MB."""
    header = replace(sound_container.peek(bomb(codec, 1, rate=8000, channels=1))[0], length=100 * 64 * codec.model.transform.step)
    start = sound_container.pack_header(header)
    seed = sound_container.seed_of(header, sound_container.peek(start)[1])
    data = start + b"".join(sound_container.pack_chunk(i, 0, bytes(100), seed) for i in range(100))
    monkeypatch.setattr(codec, "read_chunk", lambda *_: torch.ones(16, 1, 1 << 13, dtype=torch.int64))
    kind = medium.of_modality("audio")
    with memory_growth() as growth:
        kind.verify(codec, io.BytesIO(data))
    assert growth() < 20 << 20
    with pytest.raises(CorruptStreamError, match="truncated"):
        kind.verify(codec, io.BytesIO(data[:-1]))
