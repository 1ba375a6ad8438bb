"""What files say about colour, applied: chunks, boxes, profiles, 8 and 16 bits."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from image_files import box, chunk, directory, encoded, png_of, skip_before, tiff
from PIL import Image, ImageCms

from vqcodec.errors import VqcodecWarning
from vqcodec.picture.file import read_picture, to_image
from vqcodec.picture.formats.rendering import SRGB, adaptation, by_code_points, to_srgb_light, to_xyz

P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
COLOURS = np.array([[[200, 60, 40], [90, 180, 110], [40, 60, 170], [128, 128, 128], [255, 255, 255], [0, 0, 0]]])
WIDE = np.array([[[185, 71, 50], [113, 178, 117], [44, 59, 164], [128, 128, 128], [255, 255, 255], [0, 0, 0]]])  # in P3
WIDE8 = WIDE.astype(np.uint8)


@pytest.fixture(autouse=True)
def _unexpected_warnings_fail():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def to_light(samples):
    samples = np.asarray(samples, float)
    return np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)


def from_light(light):
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100000)))


def chrm(points=P3) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100000) for value in points)))


def cicp(primaries: int, transfer: int, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, 0, full]))


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"a profile\0\0" + zlib.compress(profile))


SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def matrix_profile(points=P3, curve: bytes = b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)):
    columns = (adaptation(points[:2], (0.3457, 0.3585)) @ to_xyz(points)).T
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)}
    for letter, column in zip((b"r", b"g", b"b"), columns):
        tags |= {letter + b"XYZ": b"XYZ \0\0\0\0" + fixed(*column), letter + b"TRC": curve}
    offset, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", offset + len(body), b"lcms", 0x04200000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + table + body


def assert_close(picture, expected, steps: int = 2) -> None:
    assert np.abs(picture.rgb.astype(int) - expected).max() <= steps


# PNG


@pytest.mark.parametrize("chunks", [
    [cicp(12, 13)], [chrm()], [gama(1 / 2.2), chrm()], [iccp(matrix_profile())],
    [cicp(12, 13), iccp(SRGB_PROFILE)], [cicp(12, 13), chunk(b"sRGB", b"\0")],
    [iccp(matrix_profile()), chunk(b"sRGB", b"\0")], [iccp(matrix_profile()), gama(1)]])
def test_primaries_of_display_p3_in_png(chunks):
    assert_close(read_picture(png_of(WIDE8, *chunks)), COLOURS)
    assert_close(read_picture(png_of(np.uint16(WIDE) * np.uint16(257), *chunks)), COLOURS)


def test_what_comes_first_is_followed():
    for chunks in ([cicp(1, 13), iccp(matrix_profile())], [iccp(SRGB_PROFILE), chrm(), gama(1)],
                   [chunk(b"sRGB", b"\0"), chrm(), gama(1)], []):
        assert np.array_equal(read_picture(png_of(WIDE8, *chunks)).rgb, WIDE)


def test_gamma():
    ramp = np.arange(256, dtype=np.uint8)[None]
    for gamma in (1.0, 0.55556, 0.25):
        expected = np.round(255 * from_light((np.arange(256) / 255) ** (1 / gamma)))
        for samples in (ramp, np.uint16(ramp) * np.uint16(257)):
            picture = read_picture(png_of(samples, gama(gamma)))
            assert picture.grey and np.array_equal(picture.rgb[0, :, 1], expected)
        picture = read_picture(png_of(np.repeat(ramp[..., None], 3, axis=2), gama(gamma)))
        assert not picture.grey and np.abs(picture.rgb[0] - expected[:, None]).max() <= 1
    assert np.array_equal(read_picture(png_of(ramp, gama(0.45455))).rgb[0, :, 0], ramp[0])  # stands for sRGB


def test_alpha_is_not_touched():
    samples = np.dstack([WIDE8, np.uint8([[0, 1, 50, 100, 200, 255]])])
    picture = read_picture(png_of(samples, cicp(12, 13)))
    assert picture.alpha.tolist() == [[0, 1, 50, 100, 200, 255]]
    assert_close(picture, COLOURS)


def test_narrow_range():
    samples = np.round(16 + WIDE / 255 * 219).astype(np.uint8)
    assert_close(read_picture(png_of(samples, cicp(12, 13, full=0))), COLOURS)


def test_high_dynamic_range_is_clipped_at_reference_white_with_a_warning():
    white = 0.5806888810416109  # PQ of 203 cd/m²
    samples = np.round(np.array([[[white] * 3, [1.0] * 3, [0.0] * 3, [0.4402] * 3]]) * 65535).astype(np.uint16)
    with pytest.warns(VqcodecWarning, match="film: high dynamic range \\(PQ\\): .* brighter than 203"):
        picture = read_picture(png_of(samples, cicp(9, 16)), "film")
    nits = 10000 * (max(0.4402 ** (32 / 2523) - 0.8359375, 0) / (18.8515625 - 18.6875 * 0.4402 ** (32 / 2523))) ** (16384 / 2610)
    assert_close(picture, [[[255] * 3, [255] * 3, [0] * 3, [255 * from_light(nits / 203)] * 3]], 1)
    samples = np.round(np.array([[[0.75] * 3, [1.0] * 3, [0.0] * 3, [0.5] * 3]]) * 65535).astype(np.uint16)
    with pytest.warns(VqcodecWarning, match="HLG"):
        picture = read_picture(png_of(samples, cicp(9, 18)))
    assert_close(picture, [[[255] * 3, [255] * 3, [0] * 3, [255 * from_light(1000 / 203 * (1 / 12) ** 1.2)] * 3]], 1)
    with pytest.warns(VqcodecWarning, match="HLG"):
        assert_close(read_picture(png_of(samples[..., 0], cicp(9, 18))), picture.rgb, 1)


def test_senseless_statements_are_ignored_with_a_warning():
    for data, match in ((cicp(3, 13), "primaries 3"), (cicp(12, 99), "transfer 99"), (gama(0), "gamma of 0"),
                        (chrm((0,) * 8), "chromaticities"), (chrm((0.3127, 0.329, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4)), "line")):
        with pytest.warns(VqcodecWarning, match=match):
            assert np.array_equal(read_picture(png_of(WIDE8, data)).rgb, WIDE)
    with pytest.warns(VqcodecWarning, match="code points"):  # then by the next
        assert_close(read_picture(png_of(WIDE8, cicp(3, 13), iccp(matrix_profile()))), COLOURS)


# other files


def test_jp2_with_a_restricted_profile():
    skip_before(11)  # which cannot decode it
    patches = np.repeat(np.repeat(WIDE8, 16, 0), 16, 1)
    data = encoded(Image.fromarray(patches), "JPEG2000")
    at = data.index(b"colr") - 4
    size = struct.unpack_from(">I", data, at)[0]
    colr = box(b"colr", b"\2\0\0" + matrix_profile())
    head = data.index(b"jp2h") - 4
    length = struct.unpack_from(">I", data, head)[0] - size + len(colr)
    data = data[:head] + struct.pack(">I", length) + data[head + 4 : at] + colr + data[at + size :]
    picture = read_picture(data)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), patches)
    assert_close(picture, np.repeat(np.repeat(COLOURS, 16, 0), 16, 1))
    assert picture.metadata.icc == matrix_profile()


@pytest.mark.parametrize(("primaries", "expected"), [(12, COLOURS), (1, WIDE), (2, WIDE)])
def test_avif_with_code_points(primaries, expected):
    patches = np.repeat(np.repeat(WIDE8, 16, 0), 16, 1)
    data = bytearray(encoded(Image.fromarray(patches), "AVIF", quality=100, subsampling="4:4:4"))
    at = data.index(b"colrnclx")
    assert data[at + 8 : at + 12] == b"\0\1\0\15"
    data[at + 8 : at + 10] = struct.pack(">H", primaries)
    assert_close(read_picture(bytes(data)), np.repeat(np.repeat(expected, 16, 0), 16, 1), 4)


@pytest.mark.parametrize("space", [0xFFFF, 1])
def test_adobe_rgb_by_a_camera_s_exif(space):
    interoperability = {1: (2, b"R03\0")}
    exif = exif_with(space, interoperability)
    grey_green = np.full((16, 16, 3), (100, 200, 100), np.uint8)
    picture = read_picture(encoded(Image.fromarray(grey_green), "JPEG", quality=100, subsampling=0, exif=exif))
    light = (np.array([100, 200, 100]) / 255) ** (563 / 256) @ to_srgb_light((*SRGB[:4], 0.21, 0.71, *SRGB[6:])).T
    expected = np.round(255 * from_light(np.clip(light, 0, 1))) if space == 0xFFFF else (100, 200, 100)
    assert_close(picture, expected, 2)
    again = read_picture(encoded(to_image(picture), "JPEG", quality=100, exif=picture.metadata.exif and
                                 b"Exif\0\0" + picture.metadata.exif, subsampling=0))
    assert_close(again, picture.rgb, 2)  # not twice


def exif_with(space: int, interoperability: dict) -> bytes:
    exif = Image.Exif()
    exif[0x8769] = {0xA001: space, 0xA005: {1: "R03"}}
    return exif.tobytes()


# sixteen bits


def dark_ramp() -> np.ndarray:
    """Linear light of 91 sRGB levels, 0…90, in 16 bits: 8 bits would leave 26."""
    return np.round(to_light(np.arange(91) / 255) * 65535).astype(np.uint16)


@pytest.mark.parametrize("grey", [False, True])
def test_linear_photographs_keep_their_shadows(grey):
    ramp = dark_ramp()[None] if grey else np.repeat(dark_ramp()[None, :, None], 3, axis=2)
    for chunks in ([gama(1)], [iccp(matrix_profile(SRGB, b"curv\0\0\0\0\0\0\0\0"))], [cicp(1, 8)]):
        picture = read_picture(png_of(ramp, *chunks))
        assert picture.grey == grey and picture.rgb[0, :, 1].tolist() == list(range(91))
    if not grey:
        profile = matrix_profile(SRGB, b"curv\0\0\0\0\0\0\0\0")
        data = tiff(directory(ramp.tobytes(), 91, 1, (16,) * 3, 2, t34675=(7, profile)))
        assert read_picture(data).rgb[0, :, 1].tolist() == list(range(91))


@pytest.mark.parametrize("curve", [
    b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", 461),  # 1.8
    b"curv\0\0\0\0" + struct.pack(">I", 1024) + np.round((np.arange(1024) / 1023) ** 1.8 * 65535).astype(">u2").tobytes(),
    b"para\0\0\0\0\0\0\0\0" + fixed(1.8), b"para\0\0\0\0\0\1\0\0" + fixed(1.8, 1, 0),
    b"para\0\0\0\0\0\2\0\0" + fixed(1.8, 1, 0, 0), b"para\0\0\0\0\0\4\0\0" + fixed(1.8, 1, 0, 0, 0, 0, 0)])
def test_curves_of_profiles_as_the_icc_engine_has_them(curve):
    colours = np.random.default_rng(0).integers(0, 256, (30, 30, 3)).astype(np.uint8)
    profile = matrix_profile(P3, curve)
    engine = read_picture(png_of(colours, iccp(profile)))
    own = read_picture(png_of(np.uint16(colours) * np.uint16(257), iccp(profile)))
    assert np.abs(engine.rgb.astype(int) - colours).max() > 20
    assert_close(own, engine.rgb)


def test_profiles_with_tables_are_left_to_the_icc_engine():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(read_picture(png_of(np.uint16(WIDE) * np.uint16(257), iccp(lab))).rgb, WIDE)


# the numbers behind


def test_matrices():
    assert np.allclose(to_xyz(SRGB), [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], atol=1e-4)
    assert np.allclose(to_srgb_light(SRGB), np.eye(3), atol=1e-9)
    assert np.allclose(to_srgb_light(P3).sum(1), 1)  # white stays white
    expected = [[1.2249, -0.2247, 0], [-0.0420, 1.0419, 0], [-0.0196, -0.0786, 1.0983]]
    assert np.allclose(to_srgb_light(P3), expected, atol=3e-4)
    rendering, note = by_code_points(2, 2, True)
    assert note is None and rendering.converter(8, False) is None
