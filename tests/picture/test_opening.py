"""Which file is what, by its first bytes: extras that read more formats, and what is refused by name."""

import builtins
import importlib
import warnings

import numpy as np
import pytest
from image_files import box, encoded, skip_before
from PIL import Image

from vqcodec.errors import InputError, UsageError
from vqcodec.metadata import Metadata
from vqcodec.picture.formats import boxes
from vqcodec.picture.file import Picture, format_for, read_picture, write_picture
from vqcodec.picture.formats.opening import installed_extensions, kind_of, why_not

Y, X = np.mgrid[:48, :64]
SMOOTH = np.stack([X * 3, Y * 4, 200 - X], axis=-1).astype(np.uint8)
HEIC = box(b"ftyp", b"heic\0\0\0\0mif1heic") + bytes(100)
JXL = b"\xff\x0a" + bytes(100)


@pytest.fixture(autouse=True)
def _unexpected_warnings_fail():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def no_plugins(monkeypatch):
    """As if neither plug-in were installed."""
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name in ("pillow_heif", "pillow_jxl"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(importlib, "import_module", lambda name: without(name))


@pytest.mark.parametrize(("format", "kind"), [
    ("PNG", "PNG"), ("JPEG", "JPEG"), ("TIFF", "TIFF"), ("AVIF", "AVIF"), ("JPEG2000", "JP2"), ("WEBP", ""), ("BMP", "")])
def test_kinds(format, kind):
    assert kind_of(encoded(Image.fromarray(SMOOTH), format)) == kind


def test_kinds_of_boxes():
    assert kind_of(HEIC) == "HEIC" and kind_of(JXL) == "JXL" and kind_of(b"\0\0\0\x0cJXL \r\n\x87\n") == "JXL"
    assert kind_of(box(b"ftyp", b"mif1\0\0\0\0mif1avif")) == "AVIF"
    assert kind_of(box(b"ftyp", b"mif1\0\0\0\0mif1heic")) == "HEIC"
    assert kind_of(box(b"ftyp", b"isom\0\0\0\0isommp41")) == "" and kind_of(b"") == ""


@pytest.mark.parametrize(("data", "shown", "extra"), [(HEIC, "HEIC", "heif"), (JXL, "JPEG XL", "jxl")])
def test_a_missing_plug_in_is_named(no_plugins, data, shown, extra):
    with pytest.raises(InputError) as caught:
        read_picture(data, "a")
    assert str(caught.value) == f'a: a {shown} file; to read it: pip install ".[{extra}]"'


@pytest.mark.parametrize(("path", "extra"), [("a.heic", "heif"), ("a.JXL", "jxl")])
def test_a_missing_plug_in_is_named_for_outputs(no_plugins, monkeypatch, path, extra):
    monkeypatch.delitem(Image.EXTENSION, path[1:].lower(), raising=False)  # another test may have loaded the plug-in
    monkeypatch.setattr(Image, "registered_extensions", lambda: {})
    with pytest.raises(UsageError, match=rf'pip install "\.\[{extra}\]"'):
        format_for(path)


def test_reasons_by_extension(no_plugins):
    assert why_not(".nef") == "a camera raw file" and why_not(".heic") == "needs the extra 'heif'"
    assert why_not(".png") is None and why_not("") is None and installed_extensions() == frozenset()


def test_extensions_of_installed_plug_ins():
    pytest.importorskip("pillow_jxl")
    assert ".jxl" in installed_extensions() and why_not(".jxl") is None


def test_an_avif_file_without_its_decoder(monkeypatch):
    from PIL import features

    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(InputError, match="a: an AVIF file; Pillow 11.3 or later reads it"):
        read_picture(encoded(Image.fromarray(SMOOTH), "AVIF"), "a")


def test_heic():
    pytest.importorskip("pillow_heif")
    skip_before(12)
    assert format_for("a.heic") == "HEIF"
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Painter", 6
    metadata = Metadata(exif=exif.tobytes().removeprefix(b"Exif\0\0"))
    data = write_picture(Picture(SMOOTH), "HEIF", metadata)
    assert kind_of(data) == "HEIC"
    picture = read_picture(data)
    assert np.abs(picture.rgb.astype(int) - np.rot90(SMOOTH, -1)).mean() < 2
    kept = Image.Exif()
    kept.load(picture.metadata.exif)
    assert kept[0x010F] == "Painter" and kept.get(0x0112, 1) == 1
    for length in (30, 200, len(data) * 2 // 3):
        with pytest.raises(InputError):
            read_picture(data[:length])


def test_jpeg_xl():
    pytest.importorskip("pillow_jxl")
    assert format_for("a.jxl") == "JXL"
    exif = Image.Exif()
    exif[0x010F] = "Painter"
    data = write_picture(Picture(SMOOTH), "JXL", Metadata(exif=exif.tobytes().removeprefix(b"Exif\0\0")))
    picture = read_picture(data)
    assert np.array_equal(picture.rgb, SMOOTH)
    kept = Image.Exif()
    kept.load(picture.metadata.exif)
    assert kept[0x010F] == "Painter"
    with pytest.raises(InputError):
        read_picture(data[: len(data) // 2])


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (513, 20), (48, 36), (8200, 3), (256, 256)])
def test_size_of_jpeg_xl_before_it_is_decoded(size):
    pytest.importorskip("pillow_jxl")
    for options in ({}, {"use_container": True}):
        assert boxes.jxl_size(encoded(Image.new("RGB", size), "JXL", **options)) == size


def test_large_jpeg_xl_is_refused_before_it_is_decoded():
    pytest.importorskip("pillow_jxl")
    bits = 0 | 3 << 1 | (2**20 - 1) << 3 | 1 << 33  # 2^20 × 2^20
    with pytest.raises(InputError, match="big: image too large"):
        read_picture(b"\xff\x0a" + bits.to_bytes(30, "little"), "big")
