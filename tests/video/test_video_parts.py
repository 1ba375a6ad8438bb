"""What commands and Python take of clips and give: parts, frames as files, sound, one frame, odd sizes, damage."""

from __future__ import annotations

import io
import json
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import synthetic_sound
from PIL import Image

import vqcodec
from video.clips import clip, moving
from vqcodec.cli import main
from vqcodec.fileio import Source
from vqcodec.sound.file import Sound
from vqcodec.video import stream
from vqcodec.video.clip import Clip
from vqcodec.video.codec import VideoCodec
from vqcodec.video.file import VideoReader
from vqcodec.zoo import registry

TIMES = [0, 40, 80, 125, 170, 200, 240, 280, 320, 360]  # 1/1000 s


@pytest.fixture(scope="module")
def codec(tiny_video_dir):
    return VideoCodec.open(registry.find_by_name("tinyvideo", tiny_video_dir, "video"), encoder=True)


@pytest.fixture(scope="module")
def data(codec):
    """Groups of 4 frames: 0, 170, 320."""
    parts = []
    codec.encode_stream(VideoReader(Source.of_bytes(clip(moving(10, 56, 72), TIMES))), parts.append, 2.5, effort=0, key_distance=4)
    return b"".join(parts)


def run(*args, code=0):
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("start, duration, kept, groups", [
    (0.17, None, slice(4, 10), {1, 2}), (0.09, 0.12, slice(3, 6), {0, 1}), (0.19, 0.02, slice(5, 6), {1}), (0, 0.1, slice(0, 3), {0}),
    (0.05, 10, slice(2, 10), {0, 1, 2})])
def test_of_a_part_its_groups_alone_are_decoded(tiny_video_dir, data, monkeypatch, start, duration, kept, groups):
    whole = vqcodec.decode(data, models_dir=tiny_video_dir)
    seen, read = set(), VideoCodec.read_group

    def noted(self, segment, *more):
        seen.add(segment.number)
        return read(self, segment, *more)

    monkeypatch.setattr(VideoCodec, "read_group", noted)
    part = vqcodec.decode(data, start=start, duration=duration, models_dir=tiny_video_dir)
    assert seen == groups and (part.frames == whole.frames[kept]).all()
    assert part.times == pytest.approx(whole.times[kept] - whole.times[kept][0])
    until = [*whole.times[1:], whole.end][kept.stop - 1] - whole.times[kept][0]
    assert part.end == pytest.approx(until)


def test_parts_that_are_none(tiny_video_dir, data):
    with pytest.raises(vqcodec.InputError, match="no frame in this part"):
        vqcodec.decode(data, start=7, models_dir=tiny_video_dir)
    with pytest.raises(vqcodec.UsageError, match="a part begins"):
        vqcodec.decode(data, duration=-1, models_dir=tiny_video_dir)
    with pytest.raises(vqcodec.UsageError, match="start is for video, not for text"):
        vqcodec.encode(b"some text, which does not last", start=1)


def test_damage_in_other_groups_does_not_matter_to_a_part(tiny_video_dir, data, codec):
    broken, file = bytearray(data), io.BytesIO(data)
    sealed = stream.peek(data)[1]
    file.seek(sealed.end)
    first = next(iter(stream.SegmentsOf(file, sealed.checksum)))
    broken[first.start + first.size - 5] ^= 1
    with pytest.raises(vqcodec.CorruptStreamError):
        vqcodec.decode(bytes(broken), models_dir=tiny_video_dir)
    part = vqcodec.decode(bytes(broken), start=0.17, models_dir=tiny_video_dir)
    assert len(part.frames) == 6
    clip_ = codec.decode_stream(io.BytesIO(bytes(broken)), conceal=True, start=0.1, duration=0.2)
    assert [frame.time for frame in clip_.frames()] == [45, 75, 115, 155]  # from 0.125 s on, which is lost itself
    (lost,) = clip_.lost
    assert (lost.start, lost.end) == pytest.approx((0, 0.045))


def test_damage_is_concealed_by_the_command(tiny_video_dir, data, tmp_path):
    whole = vqcodec.decode(data, models_dir=tiny_video_dir)
    file, sealed = io.BytesIO(data), stream.peek(data)[1]
    file.seek(sealed.end)
    second = [s for s in stream.SegmentsOf(file, sealed.checksum) if s.kind == stream.GROUP][1]
    broken = bytearray(data)
    broken[second.start + second.size - 5] ^= 1
    (tmp_path / "a.vq").write_bytes(broken)
    run("decode", tmp_path / "a.vq", tmp_path / "b.mkv", "--models-dir", tiny_video_dir, code=3)
    result = run("decode", tmp_path / "a.vq", tmp_path / "b.mkv", "--conceal", "--json", "--models-dir", tiny_video_dir, code=3)
    assert "the frame before stands still from 0.165 to 0.320 s" in result.output
    found = list(VideoReader(Source.open(str(tmp_path / "b.mkv"))).frames())
    shown = {frame.time: frame.rgb for frame in found}
    assert all((shown[t] == whole.frames[i]).all() for i, t in enumerate(TIMES) if i < 4 or i >= 8)
    still = [frame for frame in found if 125 <= frame.time < 320]
    assert len(still) > 2 and all((frame.rgb == whole.frames[3]).all() for frame in still)


def test_frames_as_files(tiny_video_dir, data, tmp_path):
    whole, models = vqcodec.decode(data, models_dir=tiny_video_dir), ("--models-dir", tiny_video_dir)
    (tmp_path / "a.vq").write_bytes(data)
    made = json.loads(run("decode", tmp_path / "a.vq", f"{tmp_path}/frames/", "--json", *models).stdout)
    names = [f"{i:06d}.png" for i in range(1, 11)]
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == [*names, "times.txt"]
    assert made["frames"] == 10 and made["bytes"] == sum(path.stat().st_size for path in (tmp_path / "frames").iterdir())
    for name, frame in zip(names, whole.frames):
        assert (np.asarray(Image.open(tmp_path / "frames" / name)) == frame).all()
    lines = [line.split() for line in (tmp_path / "frames" / "times.txt").read_text().splitlines()]
    assert [float(second) for _, second in lines] == pytest.approx([*whole.times, whole.end]) and lines[-1][0] == "end"
    assert "is not empty" in run("decode", tmp_path / "a.vq", tmp_path / "frames", *models, code=1).output
    (tmp_path / "frames" / "mine.txt").write_text("x")
    run("decode", tmp_path / "a.vq", tmp_path / "frames", "-f", "--duration", 0.1, *models)
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == [*names[:3], "mine.txt", "times.txt"]
    run("decode", tmp_path / "a.vq", "--format", "png", *models)
    assert len(list((tmp_path / "a").iterdir())) == 11 and not list(tmp_path.glob(".vqcodec*"))
    assert "into a folder" in run("decode", tmp_path / "a.vq", tmp_path / "b.png", *models, code=2).output
    assert "cannot be standard output" in run("decode", tmp_path / "a.vq", "-", "--format", "png", *models, code=2).output


def test_a_picture_is_not_decoded_into_a_folder(tiny_video_dir, tmp_path):
    (tmp_path / "a.vq").write_bytes(vqcodec.encode(moving(1)[0], quality=1, model="tiny", models_dir=tiny_video_dir))
    assert "is a directory" in run("decode", tmp_path / "a.vq", tmp_path, "--models-dir", tiny_video_dir, code=1).output


# --- sound -----------------------------------------------------------------------------------------------------------

def ticks(count: int, first: int, rate: int = 16000) -> np.ndarray:
    sound = np.zeros(count, np.float32)
    sound[first : first + 8] = 0.8
    return sound


def onset(found: Clip) -> float:
    """Seconds from the first frame to the tick."""
    return found.offset + int((np.abs(found.sound.samples[:, 0]) > 0.4).argmax()) / found.sound.rate


@pytest.mark.parametrize("at, count", [(0, 6400), (1600, 6400), (0, 1600), (0, 16000), (8000, 4000)])
def test_sound_that_begins_later_or_ends_earlier_or_later(tiny_video_dir, tmp_path, at, count):
    """The clip lasts 0.4 s; a tick is heard 0.05 s after the sound begins."""
    data = clip(moving(10, 32, 48), sound=ticks(count, 800), sound_at=at)
    coded = vqcodec.encode(data, audio="copy", effort=0, models_dir=tiny_video_dir)
    found = vqcodec.decode(coded, models_dir=tiny_video_dir)
    assert onset(found) == pytest.approx(at / 16000 + 0.05, abs=0.002) and len(found.sound.samples) == count
    coded = vqcodec.encode(data, audio="tinysound", effort=0, models_dir=tiny_video_dir)
    found = vqcodec.decode(coded, models_dir=tiny_video_dir)
    assert found.offset == pytest.approx(at / 16000, abs=0.002) and found.end == pytest.approx(0.4)
    assert len(found.sound.samples) / found.sound.rate == pytest.approx(count / 16000, abs=0.002)
    (tmp_path / "a.vq").write_bytes(coded)
    for name in ("b.mkv", "b.mp4"):
        run("decode", tmp_path / "a.vq", tmp_path / name, "--models-dir", tiny_video_dir)
        again = vqcodec.encode(tmp_path / name, audio="copy", effort=0, models_dir=tiny_video_dir)
        back = vqcodec.decode(again, models_dir=tiny_video_dir)
        assert at / 16000 - 0.065 < back.offset < at / 16000 + 0.03  # AAC begins with 1024 samples of nothing, which are copied too
        assert back.end == pytest.approx(0.4, abs=0.041)


def test_where_packets_of_sound_are_missing_there_is_silence(tiny_video_dir):
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        video, track = container.add_stream("libx264rgb", rate=25, options={"crf": "0"}), container.add_stream("pcm_s16le", rate=16000, layout="mono")
        video.width, video.height, video.pix_fmt = 48, 32, "rgb24"
        for picture in moving(20, 32, 48):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        for at in (0, 8000):
            part = av.AudioFrame.from_ndarray(np.full((1, 1600), 9999, np.int16), format="s16", layout="mono")
            part.sample_rate, part.pts, part.time_base = 16000, at, Fraction(1, 16000)
            container.mux(track.encode(part))
        container.mux(track.encode(None))
    found = vqcodec.decode(vqcodec.encode(file.getvalue(), audio="tinysound", effort=0, models_dir=tiny_video_dir), models_dir=tiny_video_dir)
    assert (found.offset, len(found.sound.samples)) == (0, 9600)


def test_the_sound_of_a_part_goes_with_its_frames(tiny_video_dir):
    """Frames at 0, 40, …; the tick is at 0.25 s."""
    data = clip(moving(10, 32, 48), sound=ticks(6400, 4000))
    for start in (0.16, 0.09):  # of a frame, and between two
        first = {0.16: 0.16, 0.09: 0.12}[start]
        coded = vqcodec.encode(data, audio="copy", start=start, duration=0.2, effort=0, models_dir=tiny_video_dir)
        assert onset(vqcodec.decode(coded, models_dir=tiny_video_dir)) == pytest.approx(0.25 - first, abs=0.002)
        coded = vqcodec.encode(data, audio="tinysound", start=start, duration=0.2, effort=0, models_dir=tiny_video_dir)
        found = vqcodec.decode(coded, models_dir=tiny_video_dir)
        assert (found.offset, len(found.sound.samples)) == (0, round((start + 0.2 - first) * 16000))
        whole = vqcodec.encode(data, audio="copy", effort=0, models_dir=tiny_video_dir)
        part = vqcodec.decode(whole, start=start, duration=0.2, models_dir=tiny_video_dir)
        assert onset(part) == pytest.approx(0.25 - first, abs=0.002)
        assert part.offset + len(part.sound.samples) / part.sound.rate <= start + 0.2 - first + 1e-3


def test_clips_of_python_have_sound(tiny_video_dir):
    times = np.arange(10) * 0.04
    made = Clip(moving(10, 32, 48), times, 0.4, Sound(synthetic_sound(4800, rate=16000), 16000), 0.1)
    found = vqcodec.decode(vqcodec.encode(made, effort=0, models_dir=tiny_video_dir), models_dir=tiny_video_dir)
    assert (found.sound.rate, found.sound.samples.shape, found.offset) == (16000, (4800, 1), pytest.approx(0.1))
    data = vqcodec.encode(made, start=0.2, duration=0.12, effort=0, models_dir=tiny_video_dir)
    part = vqcodec.decode(data, models_dir=tiny_video_dir)
    assert len(part.frames) == 3 and part.offset == 0 and len(part.sound.samples) == round(0.12 * 16000)
    assert vqcodec.decode(data, audio="none", models_dir=tiny_video_dir).sound is None
    assert vqcodec.inspect(vqcodec.encode(made, audio="none", effort=0, models_dir=tiny_video_dir)).sound == "none"
    with pytest.raises(vqcodec.UsageError, match="nothing to copy"):
        vqcodec.encode(made, audio="copy", effort=0, models_dir=tiny_video_dir)
    with pytest.raises(vqcodec.UnknownModelError, match="'missing' of sound is not installed"):
        vqcodec.encode(made, audio="missing", effort=0, models_dir=tiny_video_dir)
    with pytest.raises(vqcodec.UsageError, match='audio is "none"'):
        vqcodec.decode(data, audio="copy", models_dir=tiny_video_dir)


def test_sound_is_left_out_by_the_command(tiny_video_dir, tmp_path):
    (tmp_path / "a.mkv").write_bytes(clip(moving(3, 32, 48), sound=ticks(1600, 100)))
    models = ("--models-dir", tiny_video_dir)
    run("encode", tmp_path / "a.mkv", tmp_path / "a.vq", "--audio", "tinysound", "--effort", 0, *models)
    assert vqcodec.inspect(tmp_path / "a.vq").sound == "coded"
    for more, sound in ((("--audio", "none"), False), ((), True)):
        run("decode", tmp_path / "a.vq", tmp_path / "b.mkv", "-f", *more, *models)
        assert VideoReader(Source.open(str(tmp_path / "b.mkv"))).has_sound == sound
    assert "--audio is for video, not for images" in run("encode", _picture(tmp_path), tmp_path / "p.vq", "--audio",
                                                         "none", *models, code=2).output


def _picture(folder):
    Image.fromarray(moving(1)[0]).save(folder / "p.png")
    return folder / "p.png"


# --- odd input -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("count, height, width", [(1, 56, 72), (2, 143, 175), (3, 17, 19)])
def test_one_frame_and_odd_sizes(tiny_video_dir, tmp_path, count, height, width):
    (tmp_path / "a.mkv").write_bytes(clip(moving(count, height, width)))
    models = ("--models-dir", tiny_video_dir)
    run("encode", tmp_path / "a.mkv", tmp_path / "a.vq", "--effort", 0, "--verify", *models)
    whole = vqcodec.decode(tmp_path / "a.vq", models_dir=tiny_video_dir)
    assert whole.frames.shape == (count, height, width, 3) and whole.end == pytest.approx(count * 0.04, abs=1e-3)
    run("decode", tmp_path / "a.vq", tmp_path / "b.mkv", *models)
    run("decode", tmp_path / "a.vq", tmp_path / "b.mp4", *models)
    exact, cut = (list(VideoReader(Source.open(str(tmp_path / name))).frames()) for name in ("b.mkv", "b.mp4"))
    assert all((a.rgb == b).all() for a, b in zip(exact, whole.frames, strict=True))
    assert cut[0].rgb.shape == (height + height % 2, width + width % 2, 3) and len(cut) == count
    assert float(exact[-1].time * Fraction(1, 1000)) == pytest.approx(whole.times[-1], abs=1e-3)


def test_y4m_by_standard_input_and_output(tiny_video_dir, tmp_path, monkeypatch):
    pictures = moving(3, 32, 48)
    (tmp_path / "a.mkv").write_bytes(clip(pictures))
    models = ("--models-dir", tiny_video_dir)
    run("encode", tmp_path / "a.mkv", tmp_path / "a.vq", "--effort", 0, "-q", 2, *models)
    written = CliRunner().invoke(main, ["decode", str(tmp_path / "a.vq"), "-", "--format", "y4m", *map(str, models)])
    assert written.exit_code == 0 and written.stdout_bytes.startswith(b"YUV4MPEG2 W48 H32 F25:1 ")
    again = CliRunner().invoke(main, ["encode", "-", str(tmp_path / "b.vq"), "--effort", "0", *map(str, models)], input=written.stdout_bytes)
    assert again.exit_code == 0, again.output
    found = vqcodec.inspect(tmp_path / "b.vq")
    assert (found.frames, found.width, found.height, found.time_base, found.seconds) == (3, 48, 32, "1/25", pytest.approx(0.12))


def test_turned_clips_are_upright_when_they_are_decoded(tiny_video_dir, tmp_path):
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        made = container.add_stream("libx264rgb", rate=25, options={"crf": "0"})
        made.width, made.height, made.pix_fmt = 64, 48, "rgb24"
        made.set_display_rotation(90)
        for picture in moving(2, 48, 64):
            container.mux(made.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(made.encode(None))
    data = vqcodec.encode(file.getvalue(), effort=0, models_dir=tiny_video_dir)
    (tmp_path / "a.vq").write_bytes(data)
    run("decode", tmp_path / "a.vq", tmp_path / "b.mkv", "--models-dir", tiny_video_dir)
    reader = VideoReader(Source.open(str(tmp_path / "b.mkv")))
    assert (reader.shape.width, reader.shape.height) == (48, 64) and not reader.upright.across


def test_progress_says_how_fast_and_how_long(tiny_video_dir, data, tmp_path):
    (tmp_path / "a.vq").write_bytes(data)
    (tmp_path / "a.mkv").write_bytes(clip(moving(4, 32, 48)))
    models = ("-v", "--models-dir", tiny_video_dir)
    for made in (run("decode", tmp_path / "a.vq", tmp_path / "b.mkv", *models),
                 run("encode", tmp_path / "a.mkv", tmp_path / "b.vq", "--effort", 0, *models)):
        lines = [line for line in made.stderr.splitlines() if ": frame " in line]
        assert "s left, " in lines[0] and "frames a second" in lines[0] and "about" in lines[0]


def test_rates_over_time_as_a_picture(tiny_video_dir, data, tmp_path):
    (tmp_path / "a.vq").write_bytes(data)
    run("inspect", tmp_path / "a.vq", "--bits", tmp_path / "b.png", "--models-dir", tiny_video_dir)
    from vqcodec.video import drawing, inspection

    shown = np.asarray(Image.open(tmp_path / "b.png")).astype(int)
    found, lengths = inspection.inspect(data), inspection.frames_of(data)
    assert len(lengths) == 10 and sum(lengths) < found.video_bytes
    key = (shown == drawing.KEY).all(2).sum(0) > 3  # columns of key frames are where they are shown
    centre = [drawing.LEFT + (drawing.WIDTH - drawing.LEFT - drawing.RIGHT) * (TIMES[i] / 1000 + 0.01) / found.seconds for i in range(10)]
    assert [bool(key[round(x)]) for x in centre] == [i in (0, 4, 8) for i in range(10)]
    rates = drawing.means(np.ones(10), np.arange(11.0))  # a kilobit a frame, a frame a second
    assert rates == pytest.approx(np.ones(10))


def test_memory_does_not_grow_with_the_length(codec, decoder_of_tiny):
    """Bytes that NumPy and Python hold at most, of 16 and of 64 frames: the 48 more take less than 4."""
    import tracemalloc

    def most(count):
        clip_ = clip(np.repeat(moving(4, 112, 160), count // 4, 0))
        tracemalloc.start()
        parts: list[bytes] = []
        codec.encode_stream(VideoReader(Source.of_bytes(clip_)), parts.append, 1, effort=0, key_distance=8)
        encoding = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        for _ in decoder_of_tiny.decode_stream(io.BytesIO(b"".join(parts))).frames():
            pass
        decoding = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return np.array([encoding, decoding])

    frame = 112 * 160 * 3
    assert (most(64) - most(16) < 4 * frame).all()


@pytest.fixture(scope="module")
def decoder_of_tiny(tiny_video_dir):
    return VideoCodec.open(registry.find_by_name("tinyvideo", tiny_video_dir, "video"), encoder=False)
