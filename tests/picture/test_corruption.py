"""Damaged and hostile files: an error of the family, or the same index grids; nothing else, ever."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
from conftest import TINY_ID, synthetic_picture
from helpers import (
    assert_consistent,
    flipped,
    joined,
    memory_growth,
    mutate,
    mutate_stream,
    sample_grids,
    sealed,
    tabled,
    time_limit,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vqcodec.picture import codec as codec_module
from vqcodec.picture import stream as container
from vqcodec.zoo import registry
from vqcodec.picture.codec import Codec
from vqcodec.errors import CorruptStreamError, VqcodecError
from vqcodec.picture.file import Picture

SEEDS = st.integers(0, 2**64 - 1)
EXAMPLES = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def no_hang():
    with time_limit(60):
        yield


@pytest.fixture(scope="module")
def codec(tiny_model_dir):
    return Codec.open(registry.find_by_name("tiny", tiny_model_dir), encoder=False)


@pytest.fixture(scope="module")
def files(tiny_model_dir):
    """Small files: opaque, and with alpha of two kinds."""
    coder = Codec.open(registry.find_by_name("tiny", tiny_model_dir))
    y, x = np.mgrid[:24, :32]
    alphas = {"opaque": None, "mask": np.where(x + y > 20, 255, 0).astype(np.uint8),
              "gradient": (7 * x + y).astype(np.uint8)}
    return {name: coder.encode(Picture(synthetic_picture(24, 32), alpha, name == "mask"), 2.5).data
            for name, alpha in alphas.items()}


@pytest.fixture(scope="module")
def streams(codec, files):
    """The same with tables of segment lengths."""
    return [tabled(codec, data) for data in files.values()]


@pytest.fixture
def banded(codec, monkeypatch):
    """A stream of three bands, which are of two rows while this fixture is used."""
    monkeypatch.setattr(codec_module, "BAND_POSITIONS", 4)
    stream = tabled(codec, codec.encode_tokens(sample_grids(codec, 6, 2, 3), 30, 90, 1 + 3 / 16).data)
    assert len(stream.segments) == 3 * codec.coder.prior.steps
    return stream


def outcome(codec, data):
    """Index grids, or the error's class. Any exception outside of the family passes through and fails the test."""
    try:
        return codec.decode_grids(data)
    except VqcodecError as error:
        assert str(error) and len(str(error)) < 200
        return type(error)


@pytest.mark.parametrize("join", [True, False])
def test_a_payload_too_short_for_its_symbols_is_refused_at_once(codec, join, monkeypatch):
    """Each symbol leaves a 65536th of the probability to each of the others: so many of them cannot take so few bits."""
    stream = tabled(codec, codec.encode_tokens(sample_grids(codec, 1, 1, 3), 16, 16, 1 + 3 / 16).data)
    others = sum(int((size - 1).sum()) for _, size in codec.coder.prior.windows(3))
    least = 1 + (23 * 128 * 128 * others >> 23)  # one band, of two slices
    assert least > 30
    reads = []
    monkeypatch.setattr(codec.coder, "read", lambda reader, h, w, *a: reads.append(h) or torch.zeros(16, h, w).long())
    for size in (0, 1, least - 1, least):
        changed = dataclasses.replace(stream, width=2048, height=2048, segments=(bytes(size), *[b""] * 9))
        with pytest.raises(CorruptStreamError, match="cannot hold" if size < least else "bytes follow"):
            codec.decode_grids(container.pack(joined(changed) if join else changed))
        assert bool(reads) == (size >= least)


# --- all small damage --------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["opaque", "mask", "gradient"])
def test_every_truncation_is_corrupt(codec, files, name):
    for length in range(len(files[name])):
        with pytest.raises(CorruptStreamError):
            codec.decode(files[name][:length])
    codec.decode(files[name])


@pytest.mark.parametrize("name", ["opaque", "mask", "gradient"])
def test_every_flipped_bit_is_an_error_or_harmless(codec, files, name):
    data = files[name]
    original = codec.decode_grids(data)
    for bit in range(8 * len(data)):
        result = outcome(codec, flipped(data, bit))
        if isinstance(result, np.ndarray):
            np.testing.assert_array_equal(result, original)


def test_flipped_bits_of_segments_are_all_noticed(codec, files):
    """Segments have one form only, so that even bits which no symbol depends on are checked."""
    data = files["opaque"]
    for bit in range(8 * container.peek(data).size, 8 * len(data)):
        with pytest.raises(CorruptStreamError):
            codec.decode_grids(flipped(data, bit))


def test_appended_bytes_are_corrupt(codec, files):
    for data in files.values():
        for tail in (b"\0", b"VQ", data):
            with pytest.raises(CorruptStreamError, match="followed by other data"):
                codec.decode(data + tail)


def test_segments_longer_or_shorter_than_coded_are_corrupt(codec, streams):
    stream = streams[0]
    for i, segment in enumerate(stream.segments):
        for changed in (segment + b"\0", segment + b"\x80", segment[:-1] if segment else b"\xff"):
            segments = (*stream.segments[:i], changed, *stream.segments[i + 1:])
            with pytest.raises(CorruptStreamError):
                codec.decode(container.pack(dataclasses.replace(stream, segments=segments)))


def test_both_layouts_hold_the_same(codec, files, streams):
    for data, stream in zip(files.values(), streams):
        assert container.unpack(data) == joined(stream)
        again = container.pack(stream)
        assert len(stream.segments) == 10 and tabled(codec, again) == stream
        np.testing.assert_array_equal(codec.decode_grids(again), codec.decode_grids(data))
        np.testing.assert_array_equal(codec.decode(again).rgb, codec.decode(data).rgb)


def test_joined_segments_longer_or_shorter_than_coded_are_corrupt(codec, streams):
    """Where one segment ends and the next begins is coded nowhere, yet no byte can be added or left out."""
    pieces = streams[0].segments
    for i in range(len(pieces)):
        for changed in (pieces[i] + b"\0", pieces[i] + b"\x80", pieces[i][:-1], b"\0" + pieces[i]):
            if changed == pieces[i]:
                continue  # an empty step, which has no byte to leave out
            with pytest.raises(CorruptStreamError):
                stream = dataclasses.replace(streams[0], segments=(*pieces[:i], changed, *pieces[i + 1:]))
                codec.decode(container.pack(joined(stream)))
    whole = joined(streams[0])
    for payload, message in ((whole.segments[0] + b"\0", "1 bytes follow"), (whole.segments[0][:-1], "end before"),
                             (b"", "cannot hold"), (b"\0", "cannot hold")):
        with pytest.raises(CorruptStreamError, match=message):
            codec.decode(container.pack(dataclasses.replace(whole, segments=(payload,))))


def test_the_wrong_number_of_segments_is_corrupt(codec, streams):
    stream = streams[0]
    for segments in (stream.segments[:-1], stream.segments + (b"",), stream.segments * 2, (b"",) * 4096):
        with pytest.raises(CorruptStreamError, match="expected 10 segments"):
            codec.decode(container.pack(dataclasses.replace(stream, segments=segments)))


def test_bytes_in_the_segment_of_an_empty_step_are_corrupt(codec):
    stream = tabled(codec, codec.encode_tokens(sample_grids(codec, 1, 1, 0), 16, 16, 1).data)
    empty = [i for i, segment in enumerate(stream.segments) if not segment]
    assert len(empty) == 8  # of 7 + 3 phases only the first ones hold the only position
    for i in empty:
        segments = (*stream.segments[:i], b"\0", *stream.segments[i + 1:])
        with pytest.raises(CorruptStreamError, match="empty step"):
            codec.decode(container.pack(dataclasses.replace(stream, segments=segments)))


def test_a_wrong_checksum_of_the_grids_is_corrupt(codec, streams):
    for bit in range(32):
        stream = dataclasses.replace(streams[0], grids_crc=streams[0].grids_crc ^ 1 << bit)
        with pytest.raises(CorruptStreamError, match="checksum of the index grids"):
            codec.decode(container.pack(stream))


def test_swapped_segments_are_corrupt(codec, streams):
    segments = list(streams[0].segments)
    segments[0], segments[2] = segments[2], segments[0]
    with pytest.raises(CorruptStreamError):
        codec.decode(container.pack(dataclasses.replace(streams[0], segments=tuple(segments))))


# --- random damage -----------------------------------------------------------------------------------------

@EXAMPLES
@given(seed=SEEDS)
def test_random_damage_is_an_error_or_harmless(codec, files, seed):
    rng = random.Random(seed)
    name, other = rng.choice(list(files)), rng.choice(list(files))
    result = outcome(codec, mutate(rng, files[name], files[other]))
    if isinstance(result, np.ndarray):
        np.testing.assert_array_equal(result, codec.decode_grids(files[name]))


@EXAMPLES
@given(seed=SEEDS)
def test_damage_below_valid_checksums(codec, streams, seed):
    """What is accepted in the end is what an encoder would have written."""
    rng = random.Random(seed)
    choices = [*streams, *map(joined, streams)]
    data = mutate_stream(rng, rng.choice(choices), codec.qualities, rng.choice(choices))
    if data is not None:
        result = outcome(codec, data)
        if isinstance(result, np.ndarray):
            assert_consistent(codec, data, result)
            codec.decode(data)


@EXAMPLES
@given(segments=st.lists(st.binary(max_size=60), min_size=10, max_size=10), width=st.integers(1, 60),
       height=st.integers(1, 60), quality=st.integers(0, 32))
def test_any_bytes_are_some_picture_once_sealed(codec, segments, width, height, quality):
    """No segment, however odd, leads the prior or the decoder astray: made canonical, it is a file like any other."""
    stream = container.Stream(width=width, height=height, quality=quality, model_id=TINY_ID,
                              model_hash=codec.entry.hash, grids_crc=0, segments=tuple(segments))
    data = sealed(codec, stream)
    assert_consistent(codec, data, codec.decode_grids(data))
    assert codec.decode(data).rgb.shape == (height, width, 3)
    for claim, found in ((stream, data), (joined(stream), container.pack(joined(container.unpack(data))))):
        raw = outcome(codec, container.pack(claim))
        assert not isinstance(raw, np.ndarray) or found == container.pack(claim)


@EXAMPLES
@given(seed=SEEDS)
def test_damage_in_files_of_several_bands(codec, banded, seed):
    rng = random.Random(seed)
    data = mutate_stream(rng, rng.choice((banded, joined(banded))), codec.qualities)
    if data is not None:
        result = outcome(codec, data)
        if isinstance(result, np.ndarray):
            assert_consistent(codec, data, result)


# --- sizes that are only claimed -----------------------------------------------------------------------------

CLAIMS = [(1 << 17, 1 << 10), (1 << 10, 1 << 17), (1 << 15, 1 << 15), (1 << 17, 1), (1, 1 << 17)]


def claiming(codec, width, height, join=False, **changes):
    """A file of some hundred bytes with all its checksums right, of a picture as large as the format allows."""
    steps = codec.coder.prior.steps * len(codec_module.bands(-(-height // 16), -(-width // 16)))
    return container.pack(container.Stream(
        width=width, height=height, quality=0, model_id=TINY_ID, model_hash=codec.entry.hash, grids_crc=0,
        joined=join, segments=(b"\x55" * steps,) if join else (b"\x55",) * steps, **changes))


@pytest.mark.parametrize("width, height", CLAIMS)
@pytest.mark.parametrize("alpha, join", [(None, False), (None, True), (b"\0\x07", True)])
def test_claimed_sizes_take_no_memory(codec, width, height, alpha, join):
    data = claiming(codec, width, height, join, alpha=alpha)
    assert len(data) < 3000
    for method in (codec.decode, codec.decode_grids):
        with memory_growth() as growth, pytest.raises(CorruptStreamError):
            method(data)
        assert growth() < 400 << 20  # one band at most; the picture alone would take 3 GiB


def test_claims_without_the_segments_for_them_take_nothing(codec):
    data = container.pack(dataclasses.replace(container.unpack(claiming(codec, 16, 16)), width=1 << 15, height=1 << 15))
    with memory_growth() as growth, pytest.raises(CorruptStreamError, match="expected 2560 segments"):
        codec.decode(data)
    assert growth() < 5 << 20


def test_alpha_that_unpacks_to_more_than_its_plane_takes_no_memory(codec, streams):
    import zlib

    packer = zlib.compressobj(9, wbits=-15)
    bomb = b"\x03" + packer.compress(bytes(300 << 20)) + packer.flush()
    data = container.pack(dataclasses.replace(streams[1], alpha=bomb))
    with memory_growth() as growth, pytest.raises(CorruptStreamError, match="alpha"):
        codec.decode(data)
    assert growth() < 20 << 20
