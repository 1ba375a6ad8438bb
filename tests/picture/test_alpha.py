"""Alpha planes: every method, every filter, and every rule a decoder must enforce."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vqcodec.picture.alpha import decode_alpha, encode_alpha
from vqcodec.errors import CorruptStreamError, UsageError


def deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return compressor.compress(content) + compressor.flush()


def disc(size: int, softness: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip((size / 3 - np.hypot(x, y)) / softness * 255 + 128, 0, 255).astype(np.uint8)


PLANES = {
    "constant": np.full((37, 53), 77, np.uint8),
    "one sample": np.zeros((1, 1), np.uint8),
    "mask": (disc(61, 1) > 127).astype(np.uint8) * 255,
    "mask of other values": (disc(61, 1) > 127).astype(np.uint8) * 3 + 7,
    "soft": disc(60, 30),
    "noise": np.random.default_rng(0).integers(0, 256, (31, 17), dtype=np.uint8),
    "column": np.arange(200, dtype=np.uint8)[:, None],
    "row": np.arange(200, dtype=np.uint8)[None],
    "not contiguous": disc(60, 30)[::2, ::3],
}


@pytest.mark.parametrize("name", PLANES)
def test_planes_come_back_exactly(name):
    plane = PLANES[name]
    back = decode_alpha(encode_alpha(plane), *plane.shape)
    assert back.dtype == np.uint8 and back.shape == plane.shape
    assert np.array_equal(back, plane)


@settings(max_examples=150, deadline=None)
@given(
    npst.arrays(
        np.uint8,
        npst.array_shapes(min_dims=2, max_dims=2, max_side=20),
        elements=st.sampled_from([0, 1, 9, 128, 255]),
    )
)
def test_any_plane_comes_back(plane):
    assert np.array_equal(decode_alpha(encode_alpha(plane), *plane.shape), plane)


def test_constant_planes_take_two_bytes():
    assert encode_alpha(np.full((3000, 10), 200, np.uint8)) == b"\x00\xc8"


def test_masks_take_bits():
    mask = np.random.default_rng(1).integers(0, 2, (64, 64), dtype=np.uint8) * 255
    assert len(encode_alpha(mask)) <= 64 * 64 // 8 + 16


def test_a_mask_of_steps_gains_from_crossed_rows():
    x, y = np.arange(300)[None], np.arange(300)[:, None]
    mask = ((x < y // 9 * 8 + 3) * 255).astype(np.uint8)
    encoded = encode_alpha(mask)
    assert encoded[0] == 2
    assert len(encoded) < len(deflate(np.packbits(mask > 0, axis=1).tobytes()))


def test_smooth_planes_gain_from_filters():
    y, x = np.mgrid[:64, :64]
    plane = ((x * x + 3 * y) // 20 % 256).astype(np.uint8)
    assert len(encode_alpha(plane)) < len(deflate(plane.tobytes())) / 2


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 2), np.int32), np.zeros((2, 2, 1), np.uint8), np.zeros((0, 5), np.uint8)]
)
def test_other_arrays_are_refused(samples):
    with pytest.raises(UsageError):
        encode_alpha(samples)


def test_filters_decode_as_specified():
    """Row by row against the formulas of the specification, on random residuals."""
    rng = np.random.default_rng(2)
    height, width = 12, 9
    rows = rng.integers(0, 256, (height, 1 + width), dtype=np.uint8)
    rows[:, 0] = [0, 1, 2, 3] * 3
    rows = rows[rng.permutation(height)]
    expected = np.zeros((height + 1, width + 1), int)  # with the zeros above and to the left
    for y, (choice, *residual) in enumerate(rows.tolist(), start=1):
        for i, r in enumerate(residual, start=1):
            left, up, corner = expected[y, i - 1], expected[y - 1, i], expected[y - 1, i - 1]
            expected[y, i] = (r + [0, left, up, left + up - corner][choice]) % 256
    plane = decode_alpha(b"\x03" + deflate(rows.tobytes()), height, width)
    assert np.array_equal(plane, expected[1:, 1:])


def test_masks_decode_as_specified():
    content = bytes([0b10100000, 0b01000000])
    assert decode_alpha(b"\x01\x05\x09" + deflate(content), 2, 3).tolist() == [[9, 5, 9], [5, 9, 5]]
    assert decode_alpha(b"\x02\x05\x09" + deflate(content), 2, 3).tolist() == [[9, 5, 9], [9, 9, 9]]


BAD = {
    "nothing": b"",
    "method only": b"\x00",
    "constant with more": b"\x00\x01\x02",
    "unknown method": b"\x04" + deflate(bytes(12)),
    "mask without values": b"\x01\x05",
    "equal mask values": b"\x01\x05\x05" + deflate(bytes(3)),
    "mask values descending": b"\x01\x06\x05" + deflate(bytes(3)),
    "mask padding": b"\x01\x05\x09" + deflate(b"\x01\x00\x00"),
    "crossed mask padding": b"\x02\x05\x09" + deflate(b"\x00\x01\x01"),
    "mask too short": b"\x01\x05\x09" + deflate(bytes(2)),
    "mask too long": b"\x01\x05\x09" + deflate(bytes(4)),
    "no stream": b"\x03\x00",
    "unknown filter": b"\x03" + deflate(b"\x04\x00\x00\x00" * 3),
    "too short": b"\x03" + deflate(bytes(11)),
    "too long": b"\x03" + deflate(bytes(13)),
    "trailing byte": b"\x03" + deflate(bytes(12)) + b"\x00",
    "cut": b"\x03" + deflate(bytes(range(12)))[:-1],
    "zlib wrapper": b"\x03" + zlib.compress(bytes(12)),
    "stream of reserved type": b"\x03\xff\xff\xff",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_streams_are_refused(name):
    with pytest.raises(CorruptStreamError):
        decode_alpha(BAD[name], 3, 3)


def test_good_neighbours_of_the_bad_streams_decode():
    """The sizes used above are the right ones, so that each refusal is for its own reason."""
    assert decode_alpha(b"\x03" + deflate(bytes(12)), 3, 3).shape == (3, 3)
    assert decode_alpha(b"\x01\x05\x09" + deflate(bytes(3)), 3, 3).tolist() == [[5] * 3] * 3


@pytest.mark.parametrize("size", [(0, 3), (3, 0), (-1, 3)])
def test_empty_sizes_are_refused(size):
    with pytest.raises(CorruptStreamError):
        decode_alpha(b"\x00\x01", *size)


def test_a_bomb_is_not_unpacked():
    import tracemalloc

    bomb = b"\x03" + deflate(bytes(200_000_000))
    tracemalloc.start()
    with pytest.raises(CorruptStreamError):
        decode_alpha(bomb, 100, 99)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.integers(1, 9), st.integers(1, 9))
def test_noise_gives_a_plane_or_the_one_error(data, height, width):
    try:
        plane = decode_alpha(data, height, width)
    except CorruptStreamError:
        return
    assert plane.shape == (height, width)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(PLANES)), st.data())
def test_cuts_and_extensions_are_always_refused(name, data):
    plane = PLANES[name]
    encoded = encode_alpha(plane)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(CorruptStreamError):
        decode_alpha(encoded[:cut], *plane.shape)
    with pytest.raises(CorruptStreamError):
        decode_alpha(encoded + b"\x00", *plane.shape)
