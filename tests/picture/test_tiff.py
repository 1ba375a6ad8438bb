"""TIFF files: which picture of a file is the one, bits per sample, camera raws."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from image_files import LONG, SHORT, directory, encoded, tiff
from PIL import Image

from vqcodec.errors import InputError, VqcodecWarning
from vqcodec.picture.formats import tiff as module
from vqcodec.picture.file import read_picture

RNG = np.random.default_rng(0)
FULL = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
SMALL = FULL[::4, ::4].copy()
DEEP = RNG.integers(0, 65536, (12, 15, 4)).astype(np.uint16)


@pytest.fixture(autouse=True)
def _unexpected_warnings_fail():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def rounded(samples: np.ndarray) -> np.ndarray:
    return (samples.astype(np.int64) * 255 + 32767) // 65535


def page(rgb: np.ndarray, **others) -> dict:
    return directory(rgb.tobytes(), rgb.shape[1], rgb.shape[0], (8, 8, 8), 2, **others)


def grey(samples: np.ndarray, bits: int, photometric: int, order: str, data: bytes | None = None, **others) -> dict:
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes() if data is None else data
    return directory(data, samples.shape[1], samples.shape[0], (bits,), photometric, **others)


# which picture


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])  # Pillow reads no other BigTIFF
def test_preview_first_and_the_picture_in_a_subdirectory(order, big):
    data = tiff(page(SMALL, t254=1, t330=[page(FULL)]), order=order, big=big)
    assert Image.open(io.BytesIO(data)).size == (15, 10)
    assert np.array_equal(read_picture(data).rgb, FULL)


@pytest.mark.parametrize("mark", [{"t254": 1}, {"t255": (SHORT, [2])}])
def test_preview_first_and_the_picture_next(mark):
    assert np.array_equal(read_picture(tiff(page(SMALL, **mark), page(FULL))).rgb, FULL)


def test_previews_behind_the_picture_are_left_without_a_word():
    assert np.array_equal(read_picture(tiff(page(FULL), page(SMALL, t254=1))).rgb, FULL)
    assert np.array_equal(read_picture(tiff(page(FULL, t330=[page(SMALL, t254=1)]))).rgb, FULL)  # a pyramid
    assert np.array_equal(read_picture(tiff(page(SMALL, t330=[page(FULL)]))).rgb, FULL)  # not marked, but below and larger


def test_masks_are_no_pictures():
    mask = directory(bytes(60 * 8), 60, 40, (1,), 4, t254=4)
    assert np.array_equal(read_picture(tiff(mask, page(FULL))).rgb, FULL)


def test_a_lone_picture_that_is_marked_as_reduced_is_read():
    assert np.array_equal(read_picture(tiff(page(SMALL, t254=1))).rgb, SMALL)


def test_pages_give_the_first_with_a_warning():
    with pytest.warns(VqcodecWarning, match="several frames or pages"):
        assert np.array_equal(read_picture(tiff(page(SMALL), page(FULL))).rgb, SMALL)


def test_loops_of_directories_end():
    data = bytearray(tiff(page(FULL)))
    found = module.look(bytes(data))
    struct.pack_into("<I", data, found.page.directory.end, found.page.directory.offset)
    assert np.array_equal(read_picture(bytes(data)).rgb, FULL)


def test_orientation_of_the_file_turns_a_subdirectory():
    data = tiff(page(SMALL, t254=1, t274=(SHORT, [6]), t330=[page(FULL)]))
    assert np.array_equal(read_picture(data).rgb, np.rot90(FULL, -1))
    data = tiff(page(SMALL, t254=1, t274=(SHORT, [6]), t330=[page(FULL, t274=(SHORT, [3]))]))
    assert np.array_equal(read_picture(data).rgb, FULL[::-1, ::-1])


# camera raws


SENSOR = grey(np.zeros((40, 60), np.uint16), 16, 32803, "<")


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read_picture(data, "a.dng")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("photometric", [32803, 34892])
def test_raw_dng_is_refused_and_its_preview_named(photometric):
    sensor = directory(bytes(60 * 40 * 2), 60, 40, (16,), photometric)
    message = refusal(tiff(page(SMALL, t254=1, t50706=(1, bytes([1, 4, 0, 0])), t330=[sensor])))
    assert message.startswith("a.dng: a camera raw file (DNG) of 60×40 sensor samples")
    assert "only a preview of 15×10 is readable" in message


def test_raws_of_makers_are_refused():
    packed = directory(bytes(60 * 40), 60, 40, (12,), 32803, t259=34713)
    assert "a camera raw file of 60×40" in refusal(tiff(page(SMALL, t254=1, t330=[packed])))
    data = tiff(page(SMALL))
    assert "(CR2)" in refusal(b"II*\0\x10\0\0\0CR\2\0\0\0\0\0" + tiff_at(16, page(SMALL)))
    assert np.array_equal(read_picture(data).rgb, SMALL)
    for beginning, kind in ((b"FUJIFILMCCD-RAW 0201", "RAF"), (b"IIRO\x08\0\0\0", "ORF"), (b"IIU\0\x18\0\0\0", "RW2"),
                            (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "CR3")):
        assert f"a camera raw file ({kind})" in refusal(beginning + bytes(100))


def tiff_at(offset: int, tags: dict) -> bytes:
    """The directory of a TIFF file, for a file in which it begins at `offset`."""
    data = bytearray(tiff(tags))
    first = struct.unpack_from("<I", data, 4)[0]
    strip, directory_bytes = bytes(data[8:first]), bytearray(data[first:])
    values = offset - 8
    count = struct.unpack_from("<H", directory_bytes)[0]
    for at in range(2, 2 + 12 * count, 12):
        tag, _, number = struct.unpack_from("<HHI", directory_bytes, at)
        if tag in (273, 258):
            struct.pack_into("<I", directory_bytes, at + 8, struct.unpack_from("<I", directory_bytes, at + 8)[0] + values)
    return directory_bytes + strip


def test_dng_with_colours_is_read():
    data = tiff(page(SMALL, t254=1, t50706=(1, bytes([1, 4, 0, 0])), t330=[page(FULL)]))
    assert np.array_equal(read_picture(data).rgb, FULL)


def test_a_picture_that_cannot_be_decoded_does_not_give_its_preview():
    unknown = page(FULL, t259=52546)  # JPEG XL in DNG 1.7
    message = refusal(tiff(page(SMALL, t254=1, t330=[unknown])))
    assert "compression 52546 (60×40) cannot be read; only a preview of 15×10 is readable" in message


# bits


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True])
def test_sixteen_bits_white_is_zero(order, deflated):
    samples = DEEP[..., 0]
    for photometric, stored in ((0, ~samples), (1, samples)):
        data = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
        options = {"data": zlib.compress(data), "t259": (SHORT, [8])} if deflated else {}
        picture = read_picture(tiff(grey(stored, 16, photometric, order, **options), order=order))
        assert picture.grey and np.array_equal(picture.rgb[..., 0], rounded(samples))


def test_twelve_bits():
    samples = RNG.integers(0, 4096, (8, 10)).astype(np.uint16)
    wanted = rounded((samples.astype(np.int64) * 65535 + 2047) // 4095)
    assert wanted.max() > 250
    for photometric, stored in ((1, samples), (0, 4095 - samples)):
        pairs = stored.reshape(-1, 2).astype(int)
        packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1)
        data = tiff(grey(stored, 12, photometric, "<", packed.astype(np.uint8).tobytes()))
        assert np.array_equal(read_picture(data).rgb[..., 0], wanted)


def test_float_white_is_zero():
    samples = np.array([[0, 0.25, 1]], np.float32)
    data = tiff(grey(1 - samples, 32, 0, "<", t339=(SHORT, [3])))
    assert read_picture(data).rgb[..., 0].tolist() == [[0, 64, 255]]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("planes", [False, True])
def test_sixteen_bit_colour_has_all_its_bits(order, deflated, planes):
    samples = DEEP[..., :3]
    stored = samples.astype(samples.dtype.newbyteorder(order))
    strips = [plane.tobytes() for plane in stored.transpose(2, 0, 1)] if planes else [stored.tobytes()]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    tags = directory(b"", 15, 12, (16, 16, 16), 2, t284=(SHORT, [2 if planes else 1]), t259=(SHORT, [8 if deflated else 1]))
    tags |= {273: (LONG, strips), 279: (LONG, [len(strip) for strip in strips])}
    picture = read_picture(tiff(tags, order=order))
    error = np.abs(picture.rgb.astype(int) - rounded(samples)).max()
    assert error <= (1 if planes and deflated else 0)  # libtiff's way with planes gives upper bytes


@pytest.mark.parametrize("extra", [1, 2])
def test_sixteen_bit_alpha(extra):
    samples = DEEP.copy()
    samples[..., 3] = np.maximum(samples[..., 3], 3000)
    stored = samples.copy()
    if extra == 1:  # premultiplied
        stored[..., :3] = (samples[..., :3].astype(np.int64) * samples[..., 3:] + 32767) // 65535
    picture = read_picture(tiff(directory(stored.tobytes(), 15, 12, (16,) * 4, 2, t338=(SHORT, [extra]))))
    assert np.array_equal(picture.alpha, rounded(samples[..., 3]))
    assert np.abs(picture.rgb.astype(int) - rounded(samples[..., :3])).max() <= extra % 2


# damage


def test_cut_and_damaged_files_are_errors():
    data = tiff(page(SMALL, t254=1, t330=[page(FULL)]))
    for length in (9, 100, len(data) // 2, len(data) - 20):
        with pytest.raises(InputError):
            read_picture(data[:length])
    broken = encoded(Image.fromarray(FULL), "TIFF")
    with pytest.raises(InputError, match="header is damaged"):
        read_picture(broken[:4] + struct.pack("<I", len(broken)) + broken[8:])
    offsets = module.look(broken).page.directory.entries
    assert 273 in offsets


@pytest.mark.parametrize("tag", [34665, 34853])
def test_broken_directories_of_metadata_do_not_stop_a_picture(tag):
    data = tiff(page(FULL, **{f"t{tag}": 0xFFFFFF00}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VqcodecWarning)
        assert np.array_equal(read_picture(data).rgb, FULL)
