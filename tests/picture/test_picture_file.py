"""Image files to samples and back: every mode, profile, orientation, limit and kind of damage."""

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from vqcodec.errors import InputError, UsageError
from vqcodec.errors import VqcodecWarning
from vqcodec.picture.file import Picture, format_for, read_picture, to_image, write_picture

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
ALPHA[0] = 0


@pytest.fixture(autouse=True)
def _unexpected_warnings_fail():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def skip_without(format: str) -> None:
    """Older releases of Pillow cannot write every format."""
    Image.init()
    if format not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {format}")


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    skip_without(format)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def with_alpha(image: Image.Image, alpha: np.ndarray = ALPHA) -> Image.Image:
    image = image.copy()
    image.putalpha(Image.fromarray(alpha))
    return image


def png(
    width: int, height: int, depth: int, colour_type: int, rows: bytes, *extra: tuple[bytes, bytes]
) -> bytes:
    """PNG file from raw filtered rows and extra chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def assert_grey(picture: Picture, expected: np.ndarray) -> None:
    assert picture.grey and picture.rgb.dtype == np.uint8 and picture.rgb.flags.c_contiguous
    assert np.array_equal(picture.rgb, np.repeat(np.asarray(expected, np.uint8)[:, :, None], 3, axis=2))


# modes


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM", "TGA"])
def test_lossless_colour_files_come_exactly(format):
    picture = read_picture(encoded(Image.fromarray(RGB), format))
    assert np.array_equal(picture.rgb, RGB) and picture.alpha is None and not picture.grey
    assert picture.rgb.flags.c_contiguous and picture.rgb.flags.writeable


def test_grey_and_one_bit():
    assert_grey(read_picture(encoded(Image.fromarray(GREY))), GREY)
    bits = Image.fromarray(GREY).convert("1")
    assert_grey(read_picture(encoded(bits)), np.asarray(bits) * np.uint8(255))
    assert_grey(read_picture(encoded(bits, "TIFF")), np.asarray(bits) * np.uint8(255))


def test_palette():
    image = Image.fromarray(RGB).quantize(16)
    picture = read_picture(encoded(image))
    assert np.array_equal(picture.rgb, np.asarray(image.convert("RGB"))) and not picture.grey
    assert_grey(read_picture(encoded(Image.fromarray(GREY), "GIF")), GREY)


@pytest.mark.parametrize("key", [3, bytes(range(0, 160, 10))])
def test_palette_transparency_becomes_alpha(key):
    image = Image.fromarray(RGB).quantize(16)
    picture = read_picture(encoded(image, transparency=key))
    opacity = np.full(256, 255)
    if isinstance(key, int):
        opacity[key] = 0
    else:
        opacity[: len(key)] = list(key)
    assert np.array_equal(picture.alpha, opacity[np.asarray(image)])
    assert np.array_equal(picture.rgb, np.asarray(image.convert("RGB")))


def test_palette_with_alpha_channel():
    image = with_alpha(Image.fromarray(RGB).quantize(16).convert("PA"))
    assert image.mode == "PA"
    picture = read_picture(image)
    assert np.array_equal(picture.alpha, ALPHA)
    assert np.array_equal(picture.rgb, np.asarray(image.convert("RGB")))


def test_colour_keys_become_alpha():
    grey = GREY.copy()
    grey[:3] = 9
    picture = read_picture(encoded(Image.fromarray(grey), transparency=9))
    assert_grey(picture, grey)
    assert np.array_equal(picture.alpha == 0, grey == 9)
    rgb = RGB.copy()
    rgb[2:4] = (1, 2, 3)
    picture = read_picture(encoded(Image.fromarray(rgb), transparency=(1, 2, 3)))
    assert np.array_equal(picture.rgb, rgb)
    assert np.array_equal(picture.alpha == 0, (rgb == (1, 2, 3)).all(axis=2))
    deep = np.full((2, 2), 1000, ">u2")
    deep[0, 0] = 1001  # the same in 8 bits, yet another colour
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    picture = read_picture(png(2, 2, 16, 0, rows, (b"tRNS", struct.pack(">H", 1000))))
    assert picture.alpha.tolist() == [[255, 0], [0, 0]]
    for depth, samples, key in ((1, 0x1B, 1), (2, 0x1B, 2), (4, 0x1B, 11), (2, 0x1B, 0)):
        count = 8 // depth
        expected = [(samples >> depth * (count - 1 - i)) % 2**depth for i in range(count)]
        picture = read_picture(
            png(count, 1, depth, 0, bytes([0, samples]), (b"tRNS", struct.pack(">H", key)))
        )
        assert_grey(picture, [[255 * value // (2**depth - 1) for value in expected]])
        assert picture.alpha.tolist() == [[0 if value == key else 255 for value in expected]]
    rows = b"\0" + struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0, 0, 0)
    picture = read_picture(png(2, 1, 16, 2, rows, (b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))))
    assert picture.alpha.tolist() == [[0, 255]]


RAMP16 = np.arange(65536, dtype=np.uint16).reshape(256, 256)
RAMP8 = ((RAMP16.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_sixteen_bit_grey_is_scaled(format):
    mode = np.int32 if format == "PPM" else np.uint16  # which all releases of Pillow write
    assert_grey(read_picture(encoded(Image.fromarray(RAMP16.astype(mode)), format)), RAMP8)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
def test_sixteen_bit_modes_of_pillow(dtype):
    image = Image.fromarray(RAMP16.astype(dtype))
    assert image.mode in ("I;16", "I;16B", "I")
    assert_grey(read_picture(image), RAMP8)


def test_sixteen_bit_colour():
    rows = b"\0" + struct.pack(">6H", 0xFFFF, 0x8000, 0x0000, 0x1234, 0x5678, 0x9ABC)
    picture = read_picture(png(2, 1, 16, 2, rows))
    assert np.abs(picture.rgb.astype(int) - [[[255, 128, 0], [0x12, 0x56, 0x9A]]]).max() <= 1


def test_wide_integers_are_refused():
    for value in (-1, 65536):
        with pytest.raises(InputError, match="deep: int32 samples outside 0…65535"):
            read_picture(Image.new("I", (2, 2), value), "deep")


def test_float_samples_lie_between_0_and_1():
    values = np.array([[0, 0.25, 0.5, 1]], np.float32)
    assert_grey(read_picture(encoded(Image.fromarray(values), "TIFF")), [[0, 64, 128, 255]])
    for value in (-0.01, 1.01, 200, float("nan"), float("inf")):
        with pytest.raises(InputError, match="float32 samples outside 0…1"):
            read_picture(Image.fromarray(np.array([[0, value]], np.float32)))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "TGA"])
def test_alpha_is_kept(format):
    picture = read_picture(encoded(with_alpha(Image.fromarray(RGB)), format))
    assert np.array_equal(picture.rgb, RGB) and np.array_equal(
        picture.alpha, ALPHA
    )  # colours below alpha 0 too
    picture = read_picture(encoded(with_alpha(Image.fromarray(GREY)), format))
    assert_grey(picture, GREY)
    assert np.array_equal(picture.alpha, ALPHA)


def test_premultiplied_alpha_becomes_straight():
    for mode, colour, stored in (
        ("RGBa", (200, 100, 50), (100, 50, 25, 128)),
        ("La", (200,) * 3, (100, 128)),
    ):
        picture = read_picture(Image.new(mode, (2, 2), stored))
        assert np.abs(picture.rgb.astype(int) - colour).max() <= 1
        assert (picture.alpha == 128).all() and picture.grey == (mode == "La")


def test_opaque_alpha_is_dropped():
    assert read_picture(encoded(with_alpha(Image.fromarray(RGB), np.full_like(ALPHA, 255)))).alpha is None
    assert read_picture(np.dstack([RGB, np.full_like(ALPHA, 255)])).alpha is None


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB"])
def test_other_colour_spaces(mode):
    if mode == "LAB":
        spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(Image.fromarray(RGB), *spaces, outputMode="LAB")
        del image.info["icc_profile"]
    else:
        image = Image.fromarray(RGB).convert(mode)
    picture = read_picture(image)
    assert np.abs(picture.rgb.astype(int) - RGB).mean() <= 2  # 8-bit spaces round and clip
    assert not picture.grey and picture.alpha is None


def test_tiff_in_lab():
    image = Image.new("LAB", (2, 2), (138, 209, 198))  # L 54, a 81, b 70: the red of sRGB under D50
    picture = read_picture(encoded(image, "TIFF"))
    assert np.abs(picture.rgb.astype(int) - (255, 0, 0)).max() <= 6  # one step of a is 2 of red


def test_cmyk_files():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for format in ("TIFF", "JPEG"):
        picture = read_picture(encoded(image, format))
        assert np.abs(picture.rgb.astype(int) - (255, 0, 0)).max() <= 2


def segments(jpeg: bytes) -> dict[int, bytes]:
    """Marker segments of a JPEG file with one scan, by marker; the scan's data follow its header."""
    found, at = {}, 2
    while True:
        marker, length = struct.unpack(">HH", jpeg[at : at + 4])
        end = len(jpeg) - 2 if marker == 0xFFDA else at + 2 + length
        found[marker] = found.get(marker, b"") + jpeg[at:end]
        if marker == 0xFFDA:
            return found
        at = end


def test_adobe_cmyk_jpeg_counts_white_as_255():
    """Four grey scans put together, so that the stored samples are known without Pillow's own writer."""
    stored = (255, 55, 255, 205)  # 255 − ink
    planes = [segments(encoded(Image.new("L", (16, 16), value), "JPEG", quality=100)) for value in stored]
    adobe = b"\xff\xee\0\x0eAdobe" + struct.pack(">HHHB", 100, 0, 0, 0)
    frame = b"\xff\xc0\0\x14\x08\0\x10\0\x10\4" + b"".join(bytes([n, 0x11, 0]) for n in range(1, 5))
    scans = b"".join(
        b"\xff\xda\0\x08\1" + bytes([n, 0, 0, 63, 0]) + plane[0xFFDA][10:]
        for n, plane in enumerate(planes, start=1)
    )
    data = b"\xff\xd8" + adobe + planes[0][0xFFDB] + frame + planes[0][0xFFC4] + scans + b"\xff\xd9"
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    red, green, blue = read_picture(data).rgb[8, 8].astype(int)  # inks 0, 200, 0, 50
    assert abs(red - 205) <= 1 and abs(green - 55 * 205 / 255) <= 1 and abs(blue - 205) <= 1


# profiles


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + fixed(*values)


def icc_profile(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    """A minimal ICC profile of version 4.2."""
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249), **tags}
    offset, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", offset + len(body), b"lcms", 0x04200000, kind, space, pcs)
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + table + body


SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
LINEAR_CURVE = b"curv\0\0\0\0\0\0\0\0"
SRGB_XYZ = np.array([[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]])
P3_XYZ = np.array([[0.51512, 0.24120, -0.00105], [0.29198, 0.69225, 0.04189], [0.15710, 0.06657, 0.78407]])


def matrix_profile(primaries: np.ndarray, curve: bytes = SRGB_CURVE) -> bytes:
    tags = {name: xyz(*row) for name, row in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries)}
    return icc_profile(b"RGB ", {**tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile(curve: bytes) -> bytes:
    return icc_profile(b"GRAY", {b"kTRC": curve})


def ink_profile() -> bytes:
    """CMYK by a table of 2^4 corners: bare paper white, cyan alone a teal, all else black."""
    corners = np.zeros((16, 3), np.uint8) + np.array([0, 128, 128], np.uint8)
    corners[0] = 255, 128, 128
    corners[8] = 153, 112, 118  # C varies slowest
    identity = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return icc_profile(
        b"CMYK", {b"A2B0": lut + identity * 4 + corners.tobytes() + identity * 3}, b"Lab ", b"prtr"
    )


def to_light(samples):
    samples = np.asarray(samples) / 255
    return np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)


def from_light(light):
    return 255 * np.where(
        light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055
    )


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG"])
def test_wide_gamut_moves_to_srgb(format):
    colours = np.array([[200, 100, 50], [90, 180, 110], [40, 60, 170], [128, 128, 128], [255, 255, 255]])
    wide = from_light(to_light(colours) @ SRGB_XYZ @ np.linalg.inv(P3_XYZ))
    assert np.abs(wide - colours).max() > 8  # so that a profile left unused is noticed
    patches = np.repeat(np.repeat(np.round(wide).astype(np.uint8)[None], 16, axis=0), 16, axis=1)
    image = Image.fromarray(patches)
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    picture = read_picture(encoded(image, format, icc_profile=matrix_profile(P3_XYZ), **options))
    assert np.abs(picture.rgb[8, 8::16].astype(int) - colours).max() <= 3


def test_profile_reaches_palettes_and_leaves_alpha():
    image = with_alpha(Image.fromarray(RGB))
    profile = matrix_profile(P3_XYZ)
    picture = read_picture(encoded(image, icc_profile=profile))
    assert np.array_equal(picture.alpha, ALPHA) and not np.array_equal(picture.rgb, RGB)
    flat = Image.new("P", (2, 2))
    flat.putpalette([180, 100, 60])
    as_rgb = read_picture(encoded(flat.convert("RGB"), icc_profile=profile))
    assert np.array_equal(read_picture(encoded(flat, icc_profile=profile)).rgb, as_rgb.rgb)


def test_srgb_profiles_change_nothing():
    stock = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (stock, matrix_profile(SRGB_XYZ)):
        assert np.array_equal(read_picture(encoded(Image.fromarray(RGB), icc_profile=profile)).rgb, RGB)


@pytest.mark.parametrize("rgb_profile", [False, True])
def test_grey_profiles_keep_grey(rgb_profile):
    profile = matrix_profile(SRGB_XYZ, LINEAR_CURVE) if rgb_profile else grey_profile(LINEAR_CURVE)
    picture = read_picture(encoded(with_alpha(Image.fromarray(GREY)), icc_profile=profile))
    assert picture.grey and (picture.rgb == picture.rgb[:, :, :1]).all()
    assert np.abs(picture.rgb[:, :, 0] - from_light(GREY / 255)).max() <= 1.5
    assert np.array_equal(picture.alpha, ALPHA)


def test_cmyk_profile():
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    image.paste((0, 0, 0, 0), (8, 0, 16, 16))
    teal = Image.new("LAB", (1, 1), (153, 112, 118)).convert("RGB").getpixel((0, 0))
    for format in ("TIFF", "JPEG"):
        rgb = read_picture(encoded(image, format, icc_profile=ink_profile())).rgb.astype(int)
        assert np.abs(rgb[8, 2] - teal).max() <= 4 and np.abs(rgb[8, 13] - 255).max() <= 3
    assert np.abs(np.array(teal) - (0, 255, 255)).max() > 50  # Pillow's own conversion is far off


BROKEN_PROFILES = {
    "noise": b"not a profile at all",
    "cut": matrix_profile(P3_XYZ)[:200],
    "another space": grey_profile(SRGB_CURVE),
    "no curves": icc_profile(b"RGB ", {}),
    "unknown space": icc_profile(b"7CLR", {}),
}


@pytest.mark.parametrize("name", BROKEN_PROFILES)
def test_broken_profiles_are_ignored_with_a_warning(name):
    data = encoded(Image.fromarray(RGB), icc_profile=BROKEN_PROFILES[name])
    with pytest.warns(VqcodecWarning, match="photo: ICC profile ignored"):
        picture = read_picture(data, "photo")
    assert np.array_equal(picture.rgb, RGB)


# orientation, frames


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(RGB) if format == "JPEG" else with_alpha(Image.fromarray(RGB))
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    data = encoded(image, format, exif=exif, **options)
    picture = read_picture(data)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert expected.shape[:2] == ((17, 13) if orientation >= 5 else (13, 17))
    assert np.array_equal(picture.rgb, expected[:, :, :3]) and picture.rgb.flags.c_contiguous
    if format != "JPEG":
        assert np.array_equal(picture.alpha, expected[:, :, 3])


def test_senseless_orientation_is_ignored():
    for value in (0, 9, 60000):
        exif = Image.Exif()
        exif[0x0112] = value
        assert np.array_equal(read_picture(encoded(Image.fromarray(RGB), exif=exif)).rgb, RGB)


def test_broken_exif_does_not_stop_reading():
    data = encoded(Image.fromarray(RGB), exif=b"Exif\0\0no such byte order")
    with pytest.warns(VqcodecWarning, match="photo: EXIF data ignored"):
        assert np.array_equal(read_picture(data, "photo").rgb, RGB)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_animations_give_the_first_frame_with_a_warning(format):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "green")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    with pytest.warns(VqcodecWarning, match="film: .*only the first"):
        picture = read_picture(data, "film")
    assert np.abs(picture.rgb.astype(int) - (255, 0, 0)).max() <= 4


def test_pillow_images_are_not_changed():
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    image = Image.open(io.BytesIO(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    image.seek(1)
    assert (read_picture(image).rgb == (0, 0, 255)).all()  # the frame it stands at
    assert image.tell() == 1


# sizes, strips and limits


@pytest.mark.parametrize("size", [(1, 1), (1, 70000), (70000, 1), (3000, 1500)])
def test_sizes(size):
    samples = RNG.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    if size[0] * size[1] > 10**6:  # several strips; a rotation at that
        exif = Image.Exif()
        exif[0x0112] = 6
        data, samples = encoded(Image.fromarray(samples), "TIFF", exif=exif), np.rot90(samples, -1)
    else:
        data = encoded(Image.fromarray(samples), "TIFF")
    picture = read_picture(data)
    assert np.array_equal(picture.rgb, samples[:, :, :3]) and np.array_equal(picture.alpha, samples[:, :, 3])


def test_large_pictures_pass_without_a_warning():
    limit = Image.MAX_IMAGE_PIXELS
    data = encoded(Image.new("1", (9500, 9500)))  # above Pillow's limit for a warning
    assert 9500 * 9500 > limit
    picture = read_picture(data)
    assert picture.rgb.shape == (9500, 9500, 3) and picture.grey
    assert Image.MAX_IMAGE_PIXELS == limit


def test_limits():
    # passes the size check, above Pillow's limit for an error, then ends early
    with pytest.raises(InputError, match="truncated"):
        read_picture(png(2**17, 1600, 1, 0, b""))
    for width, height in ((2**17 + 1, 1), (1, 2**17 + 1), (2**15, 2**15 + 1), (2**16, 2**16), (2**17, 2**17)):
        with pytest.raises(InputError, match="big: image too large"):
            read_picture(png(width, height, 1, 0, b""), "big")


def test_warnings_of_pillow_stay_inside():
    directory = b"\xff\xe2\0\x10MPF\0" + b"no directory"[:10]
    data = encoded(Image.fromarray(RGB), "JPEG")
    data = data[:2] + directory + data[2:]
    with pytest.warns(UserWarning, match="malformed MPO"):
        Image.open(io.BytesIO(data))
    assert read_picture(data).rgb.shape == RGB.shape  # any warning fails the tests here


def test_settings_of_pillow_are_restored_after_failures():
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with pytest.raises(InputError):
        read_picture(b"nothing of the kind")
    assert limit == Image.MAX_IMAGE_PIXELS and filters == warnings.filters


def test_threads_restore_the_limit():
    limit, data = Image.MAX_IMAGE_PIXELS, encoded(Image.fromarray(RGB))
    threads = [threading.Thread(target=lambda: [read_picture(data) for _ in range(30)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_memory_stays_within_a_few_copies(tmp_path):
    """20 megapixels: 60 MB of samples and 80 MB inside Pillow; a process of its own tells its own peak."""
    script = """
import re, sys
from vqcodec.picture.file import read_picture

def peak():  # unlike ru_maxrss, not inherited from the parent process
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])

read_picture(sys.argv[1])  # loads the plugins
before = peak()
picture = read_picture(sys.argv[2])
print(peak() - before, picture.rgb.nbytes // 1000)
"""
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, size in (("small", (10, 10)), ("large", (5000, 4000))):
        Image.new("RGB", size, "teal").save(tmp_path / name, "PNG", exif=exif)
    command = [sys.executable, "-c", script, tmp_path / "small", tmp_path / "large"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, samples = map(int, result.stdout.split())
    assert samples == 60_000 and grown < 2.75 * samples


def test_no_torch():
    script = "import sys, vqcodec.picture.file, vqcodec.picture.alpha, vqcodec.fileio; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


# arrays


def test_arrays():
    assert np.array_equal(read_picture(RGB).rgb, RGB)
    assert_grey(read_picture(GREY), GREY)
    assert_grey(read_picture(GREY[:, :, None]), GREY)
    picture = read_picture(np.dstack([RGB, ALPHA])[:, ::-1])
    assert np.array_equal(picture.rgb, RGB[:, ::-1]) and np.array_equal(picture.alpha, ALPHA[:, ::-1])
    assert picture.rgb.flags.c_contiguous and picture.alpha.flags.c_contiguous


def test_other_arrays_are_refused():
    for samples in (RGB.astype(np.float32), RGB.astype(np.uint16), RGB[None], RGB[:, :, :2], GREY[0]):
        with pytest.raises(UsageError):
            read_picture(samples)
    for shape in ((0, 5), (5, 0, 3)):
        with pytest.raises(InputError, match="without pixels"):
            read_picture(np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match="too large"):
        read_picture(np.broadcast_to(np.uint8(0), (2**17 + 1, 1)))
    with pytest.raises(UsageError):
        read_picture(12)


def test_pictures_check_their_arrays():
    for arrays in ((GREY,), (RGB.astype(float),), (RGB, ALPHA[1:]), (RGB, ALPHA.astype(float)), (RGB, RGB)):
        with pytest.raises(UsageError):
            Picture(*arrays)


# bad inputs


def error_of(source, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        read_picture(source, *arguments)
    assert type(caught.value) is InputError and "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_files_name_file_and_cause(tmp_path):
    path = tmp_path / "photo.jpg"
    assert error_of(path) == f"{path}: cannot read (No such file or directory)"
    assert error_of(str(tmp_path)) == f"{tmp_path}: cannot read (Is a directory)"
    path.touch()
    assert error_of(path) == f"{path}: empty"
    path.write_bytes(b"plain text, no picture" * 20)
    assert error_of(path) == f"{path}: not an image, or its header is damaged"
    path.write_bytes(encoded(Image.fromarray(RGB), "JPEG")[:-100])
    assert error_of(path).startswith(f"{path}: truncated or damaged image (")
    assert error_of(b"") == "input: empty"
    assert error_of(Image.new("RGB", (0, 5)), "void") == "void: image without pixels (0×5)"
    assert "PostScript" in error_of(encoded(Image.fromarray(RGB), "EPS"))


def test_standard_input_is_named(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"none")))
    assert error_of("-").startswith("standard input: not an image")


DAMAGED = [
    "PNG",
    "JPEG",
    "WEBP",
    "AVIF",
    "GIF",
    "TIFF",
    "BMP",
    "TGA",
    "PPM",
    "JPEG2000",
    "SGI",
    "DDS",
    "QOI",
    "PCX",
]


@pytest.mark.parametrize("format", DAMAGED)
def test_cut_files_are_input_errors(format):
    if format == "DDS" and int(Image.__version__.split(".")[0]) < 12:
        pytest.skip("older releases of Pillow fill up what is missing")
    data = encoded(Image.fromarray(RGB), format)
    for length in (1, 10, len(data) // 3, len(data) // 2, len(data) * 4 // 5):
        error_of(data[:length])


@pytest.mark.parametrize("format", DAMAGED)
def test_noise_in_files_never_escapes_the_error_family(format):
    rng = np.random.default_rng(1)
    data = encoded(Image.fromarray(RGB), format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VqcodecWarning)
        for _ in range(60):
            noisy = np.frombuffer(data, np.uint8).copy()
            places = rng.integers(0, min(len(noisy), rng.choice([30, 300, 3000])), 4)
            noisy[places] = rng.integers(0, 256, 4)
            try:
                read_picture(noisy.tobytes())
            except InputError:
                pass


@pytest.mark.parametrize(
    "failure", [AttributeError, EOFError, struct.error, zlib.error, SyntaxError, KeyError, MemoryError]
)
def test_any_failure_of_pillow_is_an_input_error(monkeypatch, failure):
    def fail(*arguments):
        raise failure("two\nlines")

    monkeypatch.setattr(Image.Image, "getexif", lambda self: {})
    monkeypatch.setattr(Image.Image, "crop", fail)
    assert error_of(encoded(Image.fromarray(RGB)), "x").startswith("x: ")


# writing


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "TGA", "JPEG2000", "QOI", "SGI", "DDS"])
@pytest.mark.parametrize("alpha", [None, ALPHA])
@pytest.mark.parametrize("grey", [False, True])
def test_lossless_formats_bring_pictures_back(format, alpha, grey):
    skip_without(format)
    rgb = np.repeat(GREY[:, :, None], 3, axis=2) if grey else RGB
    back = read_picture(write_picture(Picture(rgb, alpha, grey), format))
    assert np.array_equal(back.rgb, rgb)
    assert (back.alpha is None) if alpha is None else np.array_equal(back.alpha, alpha)


@pytest.mark.parametrize(("alpha", "mode"), [(None, "L"), (ALPHA, "LA")])
def test_grey_is_written_as_grey(alpha, mode):
    data = write_picture(Picture(np.repeat(GREY[:, :, None], 3, axis=2), alpha, True))
    assert data.startswith(b"\x89PNG") and Image.open(io.BytesIO(data)).mode == mode


@pytest.mark.parametrize("format", ["JPEG", "BMP", "PPM", "GIF", "PCX"])
@pytest.mark.parametrize("grey", [False, True])
def test_alpha_over_white_where_there_is_none(format, grey):
    rgb = np.full((32, 32, 3), 80, np.uint8)
    alpha = np.repeat(np.uint8([64, 0]), 16)[None].repeat(32, axis=0)
    with pytest.warns(VqcodecWarning, match=f"{format} holds no transparency"):
        back = read_picture(write_picture(Picture(rgb, alpha, grey), format))
    assert back.alpha is None
    assert np.abs(back.rgb[:, :8].astype(int) - round(80 * 64 / 255 + 255 * 191 / 255)).max() <= 2
    assert (back.rgb[:, 24:] >= 254).all()


@pytest.mark.parametrize("alpha", [None, ALPHA])
@pytest.mark.parametrize("grey", [False, True])
def test_pillow_images_of_pictures(alpha, grey):
    rgb = np.repeat(GREY[:, :, None], 3, axis=2) if grey else RGB
    image = to_image(Picture(rgb, alpha, grey))
    assert image.mode == ("L" if grey else "RGB") + ("" if alpha is None else "A")
    back = read_picture(image)
    assert np.array_equal(back.rgb, rgb) and back.grey == grey
    assert (back.alpha is None) if alpha is None else np.array_equal(back.alpha, alpha)


def test_opaque_alpha_needs_no_warning():
    write_picture(Picture(RGB, np.full_like(ALPHA, 255)), "JPEG")


@pytest.mark.parametrize("format", ["JPEG", "AVIF"])
def test_lossy_formats_stay_close(format):
    skip_without(format)
    y, x = np.mgrid[:64, :64]
    rgb = np.dstack([x * 4, y * 4, 255 - x * 2]).astype(np.uint8)
    back = read_picture(write_picture(Picture(rgb), format))
    assert np.abs(back.rgb.astype(int) - rgb).mean() < 2


def test_gif_tells_when_it_loses_colours():
    with pytest.warns(VqcodecWarning, match="256 colours"):
        write_picture(
            Picture(
                np.dstack([np.mgrid[:64, :64][0], np.mgrid[:64, :64][1], np.zeros((64, 64))]).astype(np.uint8)
            ),
            "GIF",
        )
    assert np.array_equal(read_picture(write_picture(Picture(RGB[:4, :4]), "GIF")).rgb, RGB[:4, :4])


def test_unwritable_formats_are_usage_errors():
    for name in ("", "none", "PSD", "ICO", "ICNS"):
        with pytest.raises(UsageError):
            write_picture(Picture(RGB), name)
    assert write_picture(Picture(RGB), "jpeg").startswith(b"\xff\xd8")


def test_pictures_too_large_for_a_format_are_input_errors():
    with pytest.raises(InputError, match="cannot write this picture as WEBP"):
        write_picture(Picture(np.zeros((1, 20000, 3), np.uint8)), "WEBP")


def test_format_for_extensions():
    expected = {
        "a.png": "PNG",
        "A.JPG": "JPEG",
        "dir.x/b.jpeg": "JPEG",
        "c.webp": "WEBP",
        "d.tif": "TIFF",
        "-": "PNG",
    }
    expected |= {"e.jp2": "JPEG2000", "f.pgm": "PPM", "h.bmp": "BMP", "i.tga": "TGA"}
    for path, format in expected.items():
        assert format_for(path) == format
    for path in ("plain", "x.none", "x.psd", "x.ico", ".png", "x."):
        with pytest.raises(UsageError):
            format_for(path)
