"""Files of video: times, colours, shapes, both ways."""

from __future__ import annotations

import io
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pytest

from video.clips import clip, moving
from vqcodec.errors import InputError, UsageError, VqcodecWarning
from vqcodec.fileio import Source
from vqcodec.video import kinds
from vqcodec.video.file import Colour, Frame, Shape, VideoReader, from_rgb, to_rgb
from vqcodec.video.writer import coding_of, writer_of


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


def test_a_gif_that_moves():
    data = clip(moving(4), [0, 10, 20, 30], format="gif", codec="gif", pixels="rgb8", time_base=Fraction(1, 100))
    assert kinds.demuxer(data) == "gif"
    _, frames = read(data)
    assert len(frames) == 4


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
    frames = [Frame(moving(1, 33, 35)[0], 0, 40)]
    reader, back = read(written(frames, "mp4"))
    assert back[0].rgb.shape == (34, 36, 3)
    assert read(written(frames, "mkv"))[1][0].rgb.shape == (33, 35, 3)


@pytest.mark.parametrize("extension, subtype", [("avi", None), ("mp4", "FFV1"), ("mp4", "CRF99"), ("y4m", "422")])
def test_what_cannot_be_written(extension, subtype):
    with pytest.raises(UsageError):
        coding_of(extension, subtype)
