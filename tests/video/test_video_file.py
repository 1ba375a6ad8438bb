"""Files of video: times, colours, shapes, both ways."""

from __future__ import annotations

import io
import struct
from contextlib import nullcontext
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from video.clips import clip, moving
from vqcodec.errors import InputError, UsageError, VqcodecWarning
from vqcodec.fileio import Source
from vqcodec.video import kinds
from vqcodec.video.file import Colour, Frame, Shape, Upright, VideoReader, from_rgb, to_rgb
from vqcodec.video.writer import coding_of, writer_of
from vqcodec.video.y4m import rate_of


def read(data: bytes, **part):
    reader = VideoReader(Source.of_bytes(data), **part)
    return reader, list(reader.frames())


def written(frames, extension="mkv", subtype=None, **shape) -> bytes:
    height, width = frames[0].rgb.shape[:2]
    shape = {"width": width, "height": height, "aspect": Fraction(1), "time_base": Fraction(1, 1000), "colour": Colour(), **shape}
    file, times, end = io.BytesIO(), [frame.time for frame in frames], frames[-1].time + frames[-1].duration
    writer = writer_of(file, coding_of(extension, subtype), Shape(**shape), times, end)
    for frame in frames:
        writer.write(frame)
    writer.close()
    return file.getvalue()


def test_frames_and_times_are_those_of_the_file():
    pictures, times = moving(5), [0, 40, 55, 155, 156]
    reader, frames = read(clip(pictures, times))
    assert [frame.time * reader.shape.time_base for frame in frames] == [Fraction(t, 1000) for t in times]
    assert [frame.duration for frame in frames[:-1]] == [40, 15, 100, 1]
    assert all((frame.rgb == picture).all() for frame, picture in zip(frames, pictures, strict=True))


def test_a_clip_that_begins_late_begins_at_0():
    _, frames = read(clip(moving(3), [500, 540, 600]))
    assert [frame.time for frame in frames] == [0, 40, 100]


def test_a_part():
    _, frames = read(clip(moving(10)), start=0.1, duration=0.12)
    assert len(frames) == 3 and (frames[0].rgb == moving(10)[3]).all() and frames[0].time == 0
    with pytest.raises(InputError, match="no frame in this part"):
        read(clip(moving(3)), start=9)


@pytest.mark.parametrize("matrix, full", [(1, False), (6, False), (1, True), (6, True)])
def test_colours_by_matrix_and_range(matrix, full):
    plain = np.full((32, 32, 3), (200, 60, 40), np.uint8)
    colour = Colour(matrix=matrix, full=full)
    data = clip([from_rgb(plain, "yuv444p", colour) for _ in range(2)], codec="libx264", pixels="yuv444p", matrix=matrix, full=full)
    reader, frames = read(data)
    assert (reader.shape.colour.matrix, reader.shape.colour.full) == ({1: 1, 6: 6}[matrix], full)
    assert np.abs(frames[0].rgb.astype(int) - plain).max() <= 2
    wrong = to_rgb(from_rgb(plain, "yuv444p", colour), Colour(matrix=7 - matrix, full=full))
    assert np.abs(wrong.astype(int) - plain).max() > 8  # so that the test tells the two apart


def test_ten_bits_become_eight_and_a_line_says_so():
    frames = [from_rgb(picture, "yuv420p10le", Colour()) for picture in moving(2)]
    with pytest.warns(VqcodecWarning, match="samples of 10 bits become ones of 8"):
        read(clip(frames, codec="ffv1", pixels="yuv420p10le"))


def test_aspect_of_samples_and_tags():
    reader, _ = read(clip(moving(2), aspect=Fraction(4, 3), tags={"title": "Zwei"}))
    assert reader.shape.aspect == Fraction(4, 3) and dict(reader.metadata.tags)["title"] == "Zwei"


def test_ten_bits_are_rounded_and_not_dithered():
    for level in (64, 300, 513, 777, 940):
        frame = av.VideoFrame(32, 32, "yuv444p10le")
        for plane, value in zip(frame.planes, (level, 512, 512)):
            plane.update(np.full(plane.buffer_size // 2, value, "<u2").tobytes())
        with pytest.warns(VqcodecWarning, match="10 bits"):
            (found,) = read(clip([frame], codec="ffv1", pixels="yuv444p10le"))[1]
        assert np.ptp(found.rgb) == 0 and abs(int(found.rgb[0, 0, 0]) - (level - 64) / 876 * 255) <= 1


@pytest.mark.parametrize("matrix, shown", [
    ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),  # a quarter to the right: (1, 0) becomes (0, 1), which is down
    ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)), ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
    ((-1, 0, 0, 1), lambda p: p[:, ::-1]), ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2))])
def test_turned_and_mirrored_clips_are_upright(matrix, shown):
    """The matrix of ISO 14496-12's track header: a, b, u, c, d, v, x, y, w."""
    pictures = moving(2, 32, 48)
    data = clip(pictures, [0, 1000], format="mp4", codec="libx264rgb", time_base=Fraction(1, 25000), aspect=Fraction(4, 3))
    place = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    reader, frames = read(data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + 36 :])
    assert all((frame.rgb == shown(picture)).all() for frame, picture in zip(frames, pictures, strict=True))
    assert (reader.shape.height, reader.shape.width) == frames[0].rgb.shape[:2]
    assert reader.shape.aspect == (Fraction(3, 4) if matrix[1] else Fraction(4, 3))
    again, back = read(written(frames, "mp4", "lossless", aspect=reader.shape.aspect))  # upright, and says nothing of turns
    assert again.upright == Upright() and again.shape.aspect == reader.shape.aspect
    assert np.abs(back[0].rgb.astype(int) - frames[0].rgb).mean() < 1.5


@pytest.mark.parametrize("extension, base, times", [
    ("mp4", Fraction(1, 90000), [0, 3003, 3004, 12000, 90001]), ("mp4", Fraction(1001, 30000), [0, 1, 4, 5, 9]),
    ("mov", Fraction(1, 12345), [0, 411, 900]), ("mkv", Fraction(1, 1000), [0, 33, 34, 100, 1001])])
def test_times_are_exact_there_and_back(extension, base, times):
    pictures = moving(len(times), 32, 48)
    frames = [Frame(p, time, after - time) for p, time, after in zip(pictures, times, [*times[1:], times[-1] + 5])]
    first, back = read(written(frames, extension, "CRF5", time_base=base))
    seconds = [frame.time * first.shape.time_base for frame in back]
    assert seconds == [time * base for time in times]
    second, again = read(written(back, extension, "CRF5", time_base=first.shape.time_base))
    assert [frame.time * second.shape.time_base for frame in again] == seconds


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6])
def test_colours_are_told_and_kept_there_and_back(matrix, full):
    plain = np.full((32, 32, 3), (200, 60, 40), np.uint8)
    reader, frames = read(written([Frame(plain, 0, 40)], "mp4", "LOSSLESS", colour=Colour(9, 14, matrix, full)))
    assert reader.shape.colour == Colour(9, 14, matrix, full) and np.abs(frames[0].rgb.astype(int) - plain).max() <= 2
    with av.open(io.BytesIO(written([Frame(plain, 0, 40)], "mp4", "LOSSLESS", colour=Colour(matrix=matrix, full=full)))) as container:
        luma = next(container.decode(video=0)).to_ndarray()[0, 0, 0]
    kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114)}[matrix]
    expected = kr * 200 + (1 - kr - kb) * 60 + kb * 40
    assert abs(luma - (expected if full else 16 + expected * 219 / 255)) <= 1


def test_a_gif_that_moves():
    data = clip(moving(4), [0, 10, 25, 30], format="gif", codec="gif", pixels="rgb8", time_base=Fraction(1, 100))
    assert kinds.demuxer(data) == "gif"
    reader, frames = read(data)
    assert [frame.time * reader.shape.time_base for frame in frames] == [0, Fraction(1, 10), Fraction(1, 4), Fraction(3, 10)]
    with Image.open(io.BytesIO(data)) as image:
        for number, frame in enumerate(frames):
            image.seek(number)
            assert (np.asarray(image.convert("RGB")) == frame.rgb).all()


def test_what_is_no_video_or_cut_off():
    with pytest.raises(InputError):
        read(b"YUV4MPEG2 nonsense\n" + bytes(100))
    data = clip(moving(12))
    with pytest.raises(InputError):
        read(data[:200])


@pytest.mark.parametrize("head, name, found", [
    (b"\0\0\0 ftypisom", "", "mov"), (b"\0\0\0 ftypM4A ", "", None), (b"\0\0\0 ftypisom", "a.m4a", None), (b"\0\0\0 ftypheic", "", None),
    (b"\0\0\0 ftypavif", "", None), (b"\x1a\x45\xdf\xa3....\x83\x81\x01", "", "matroska"), (b"\x1a\x45\xdf\xa3....\x83\x81\x02", "", None),
    (b"GIF89a....", "", None), (b"RIFF....AVI LIST", "", "avi"), (b"RIFF....WAVEfmt ", "", None), (b"#EXTM3U\n", "a.mp4", None)])
def test_kinds(head, name, found):
    assert kinds.demuxer(head, name) == found


@pytest.mark.parametrize("extension, subtype, off", [("mkv", None, 0), ("y4m", None, 1.5), ("mp4", "lossless", 1.5), ("mp4", None, 4)])
def test_written_and_read_again(extension, subtype, off):
    pictures = moving(5)
    times = [0, 40, 80, 120, 160] if extension == "y4m" else [0, 40, 55, 155, 200]
    shape = dict(time_base=Fraction(1, 25)) if extension == "y4m" else {}
    frames = [Frame(p, t // 40 if extension == "y4m" else t, 1 if extension == "y4m" else 40) for p, t in zip(pictures, times)]
    with pytest.warns(VqcodecWarning, match="4/3 as wide as high") if extension == "mkv" else nullcontext():
        data = written(frames, extension, subtype, aspect=Fraction(4, 3), **shape)
    reader, back = read(data)
    assert [f.time * reader.shape.time_base for f in back] == [Fraction(t, 1000) for t in times]
    assert max(np.abs(f.rgb.astype(int) - p).mean() for f, p in zip(back, pictures, strict=True)) <= off
    assert reader.shape.aspect == (1 if extension == "mkv" else Fraction(4, 3))


def test_odd_sizes_are_written():
    picture = moving(1, 143, 175)[0]
    frames = [Frame(picture, 0, 40)]
    (made,) = read(written(frames, "mp4"))[1]
    assert made.rgb.shape == (144, 176, 3) and np.abs(made.rgb[:143, :175].astype(int) - picture).mean() < 4
    assert (read(written(frames, "mkv"))[1][0].rgb == picture).all()
    for subtype, off in (("444", 1.5), ("420", 4)):
        (made,) = read(written(frames, "y4m", subtype))[1]
        assert made.rgb.shape == picture.shape and np.abs(made.rgb.astype(int) - picture).mean() < off
    assert read(written(frames, "mp4", "LOSSLESS"))[1][0].rgb.shape == picture.shape


@pytest.mark.parametrize("step, base, rate", [
    (1, Fraction(1001, 30000), Fraction(30000, 1001)), (40, Fraction(1, 1000), 25), (512, Fraction(1, 12288), 24), (1, Fraction(1, 7), 7)])
def test_y4m_has_the_rate_of_the_frames(step, base, rate):
    frames = [Frame(p, i * step, step) for i, p in enumerate(moving(4, 32, 48))]
    reader, back = read(written(frames, "y4m", time_base=base))
    assert 1 / reader.shape.time_base == rate and len(back) == 4


def test_rounded_times_have_an_even_rate_and_others_have_not():
    assert rate_of([0, 33, 67, 100, 133], 167, Fraction(1, 1000)) == (30, True)
    assert rate_of([0, 33, 66, 100, 133, 166], 200, Fraction(1, 1000)) == (30, True)
    assert rate_of([0], 40, Fraction(1, 1000)) == (25, True)
    frames = [Frame(p, t, 10) for p, t in zip(moving(3, 32, 48), (0, 10, 90))]
    with pytest.warns(VqcodecWarning, match="do not last equally long"):
        written(frames, "y4m")


def test_frames_as_files_of_a_folder(tmp_path):
    pictures = moving(3, 33, 35)
    writer = writer_of(tmp_path, coding_of("png", None), Shape(35, 33, Fraction(4, 3), Fraction(1, 3), Colour()), [0, 1, 4], 6)
    for picture, time, duration in zip(pictures, (0, 1, 4), (1, 3, 2)):
        writer.write(Frame(picture, time, duration))
    writer.close()
    for i, picture in enumerate(pictures, 1):
        with Image.open(tmp_path / f"{i:06d}.png") as image:
            assert (np.asarray(image) == picture).all() and image.info["aspect"] == (3, 4)  # samples to a unit, across and down
    assert (tmp_path / "times.txt").read_text() == "000001.png 0\n000002.png 0.333333333\n000003.png 1.333333333\nend 2\n"


@pytest.mark.parametrize("extension, subtype", [("avi", None), ("mp4", "FFV1"), ("mp4", "CRF99"), ("y4m", "422")])
def test_what_cannot_be_written(extension, subtype):
    with pytest.raises(UsageError):
        coding_of(extension, subtype)
