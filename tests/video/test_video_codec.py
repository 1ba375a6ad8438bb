"""Clips → streams → clips: exact grids, groups, damage, both runtimes."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest

from video.clips import clip, moving
from vqcodec.errors import CorruptStreamError, UnknownModelError, UnsupportedError, UsageError, VqcodecWarning
from vqcodec.fileio import Source
from vqcodec.video import inspection, stream
from vqcodec.video.codec import VideoCodec
from vqcodec.video.file import VideoReader
from vqcodec.video.tokens import encode_tokens
from vqcodec.zoo import registry

TIMES = [0, 40, 80, 125, 170, 200, 240, 280, 320, 360]


@pytest.fixture(scope="module")
def codec(tiny_video_dir):
    return VideoCodec.open(registry.find_by_name("tinyvideo", tiny_video_dir, "video"), encoder=True)


@pytest.fixture(scope="module")
def decoder(tiny_video_dir):
    return VideoCodec.open(registry.find_by_name("tinyvideo", tiny_video_dir, "video"), encoder=False)


def encoded(codec, pictures, times=None, key_distance=4, **more) -> bytes:
    parts = []
    reader = VideoReader(Source.of_bytes(clip(pictures, times)))
    codec.encode_stream(reader, parts.append, 2.5, effort=0, key_distance=key_distance, **more)
    return b"".join(parts)


@pytest.fixture(scope="module")
def data(codec):
    return encoded(codec, moving(10, 56, 72), TIMES)


def decoded(decoder, data, **options):
    stream_ = decoder.decode_stream(io.BytesIO(data), **options)
    return list(stream_.frames()), stream_


def test_frames_come_back_in_both_runtimes(codec, decoder, data):
    frames, _ = decoded(decoder, data)
    assert [frame.time for frame in frames] == TIMES and frames[0].rgb.shape == (56, 72, 3)
    errors = [np.abs(frame.rgb.astype(int) - picture).mean() for frame, picture in zip(frames, moving(10, 56, 72))]
    assert max(errors) < 25  # nothing is trained, but the square is where it was
    assert (codec.decode_grids(data) == decoder.decode_grids(data)).all()
    assert frames[-1].duration > 0 and [f.duration for f in frames[:-1]] == np.diff(TIMES).tolist()


def test_what_stands_still_takes_no_bytes(codec, data):
    still = encoded(codec, np.repeat(moving(1, 56, 72), 4, 0))
    file = io.BytesIO(still)
    sealed = stream.peek(still)[1]
    file.seek(sealed.end)
    group = stream.unpack_group(next(iter(stream.SegmentsOf(file, sealed.checksum))))
    assert len(group.lengths) == 4 and sum(group.lengths[2:]) < group.lengths[0] / 4


def test_a_cut_begins_a_group(codec):
    pictures = np.concatenate([moving(3, 56, 72), 255 - moving(3, 56, 72, seed=5)[:, ::-1]])
    found = inspection.inspect(encoded(codec, pictures, key_distance=48))
    assert found.keys in ((0, 3), (0,)) and found.frames == 6
    assert inspection.inspect(encoded(codec, moving(6, 56, 72), key_distance=48)).keys == (0,)


def test_tokens_both_ways(codec, decoder, data):
    grids = decoder.decode_grids(data)
    shape = inspection.inspect(data)
    assert grids.shape == (10, decoder.coder.groups, 4, 5) and shape.keys == (0, 4, 8) and shape.times == tuple(TIMES)
    assert encode_tokens(decoder, grids, shape, None) == data == encode_tokens(codec, grids, shape, None)
    with pytest.raises(UsageError, match="must be integers of shape"):
        encode_tokens(decoder, grids[:-1], shape, None)
    with pytest.raises(UsageError, match="codeword that this quality does not use"):
        encode_tokens(decoder, np.full_like(grids, 255), shape, 1.0)


def test_every_group_is_decoded_by_itself(decoder, data):
    """Damage in one changes no other."""
    whole, _ = decoded(decoder, data)
    starts = group_starts(data)
    broken = bytearray(data)
    broken[starts[1] + 60] ^= 0x55
    with pytest.raises(CorruptStreamError):
        decoded(decoder, bytes(broken))
    frames, clip_ = decoded(decoder, bytes(broken), conceal=True)
    by_time = {frame.time: frame.rgb for frame in frames}
    assert all((by_time[f.time] == f.rgb).all() for i, f in enumerate(whole) if not 4 <= i < 8)
    shown = [f for f in frames if TIMES[4] <= f.time < TIMES[8]]
    assert shown and all((f.rgb == whole[3].rgb).all() for f in shown)
    (lost,) = clip_.lost
    assert lost.end == pytest.approx(TIMES[8] / 1000) and lost.start <= TIMES[4] / 1000 + 1e-6


@pytest.mark.parametrize("what", ["prefix", "missing", "first", "last", "end"])
def test_damage_is_concealed(decoder, data, what):
    starts = group_starts(data)
    broken = {
        "prefix": data[: starts[1] + 5] + b"\xff" + data[starts[1] + 6 :],
        "missing": data[: starts[1]] + data[starts[2] :],
        "first": data[: starts[0] + 3] + b"\xff" + data[starts[0] + 4 :],
        "last": data[: starts[2] + 40],
        "end": data[:-3],
    }[what]
    with pytest.raises(CorruptStreamError):
        decoded(decoder, broken)
    frames, clip_ = decoded(decoder, broken, conceal=True)
    assert [f.time for f in frames] == sorted({f.time for f in frames}) and all(f.duration > 0 for f in frames)
    assert bool(clip_.lost) == (what in ("prefix", "missing", "first"))


def group_starts(data: bytes) -> list[int]:
    file = io.BytesIO(data)
    sealed = stream.peek(data)[1]
    file.seek(sealed.end)
    return [s.start for s in stream.SegmentsOf(file, sealed.checksum) if s.kind == stream.GROUP]


def test_no_changed_byte_gives_other_frames(decoder, data):
    """Each is found, or changes nothing that is shown."""
    rng, whole = np.random.default_rng(0), decoder.decode_grids(data)
    for place in rng.choice(len(data), 60, replace=False):
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        try:
            assert (decoder.decode_grids(bytes(broken)) == whole).all()
        except (CorruptStreamError, UnsupportedError):
            pass


@pytest.mark.parametrize("cut", [5, 30, 60, 200, -1])
def test_cut_streams_are_errors(decoder, data, cut):
    with pytest.raises(CorruptStreamError):
        list(decoder.decode_stream(io.BytesIO(data[:cut])).frames())
    with pytest.raises(CorruptStreamError, match="followed by other data"):
        decoder.decode_grids(data + b"x")


def test_a_model_needs_its_base(tiny_video_dir, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(tiny_video_dir / "tinyvideo", tmp_path / "tinyvideo")
    text = (tiny_video_dir / "REGISTRY.toml").read_text()
    (tmp_path / "REGISTRY.toml").write_text("".join("[[model]]" + part for part in text.split("[[model]]")[1:] if "tinyvideo" in part))
    monkeypatch.setattr(registry, "packaged_dir", lambda: None)
    monkeypatch.setattr(registry, "user_dir", lambda: None)
    with pytest.raises(UnknownModelError, match="needs model 'tiny' with the fingerprint"):
        VideoCodec.open(registry.find_by_name("tinyvideo", tmp_path, "video"), encoder=False)


def test_damaged_metadata_are_passed_over_if_damage_is(codec, decoder):
    from vqcodec.metadata import Metadata, pack

    whole = encoded(codec, moving(2, 56, 72), metadata=pack(Metadata(tags=(("title", "x" * 40),))))
    sealed = stream.peek(whole)[1]
    broken = bytearray(whole)
    broken[sealed.size + 3] ^= 1
    with pytest.raises(CorruptStreamError, match="metadata"):
        decoded(decoder, bytes(broken))
    with pytest.warns(VqcodecWarning, match="passed over"):
        frames, _ = decoded(decoder, bytes(broken), conceal=True)
    assert len(frames) == 2


def test_decoding_imports_no_torch(tiny_video_dir, data, tmp_path):
    (tmp_path / "a.vq").write_bytes(data)
    code = ("import sys, vqcodec; c = vqcodec.decode(sys.argv[1], models_dir=sys.argv[2]); assert c.frames.shape == (10, 56, 72, 3);"
            "assert 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.vq", tiny_video_dir], check=True)
