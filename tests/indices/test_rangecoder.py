"""The arithmetic coder: plain Python, torchac and the specification's pseudocode give the same bits."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vqcodec.indices import rangecoder
from vqcodec.errors import CorruptStreamError
from vqcodec.indices.rangecoder import decode, decode_segment, encode, encode_bounds

# The worked example of bitstream_spec.md.
EXAMPLE_CDF = np.array([[0, 40960, 61440, 65536], [0, 40960, 61440, 65536],
                        [0, 16384, 65536, 65536], [0, 65535, 65536, 65536]], np.int32)
EXAMPLE_SYMBOLS = [1, 1, 0, 1]
EXAMPLE_BYTES = bytes.fromhex("d83ffa")
EXAMPLE_STEPS = [  # low and high after narrowing, bits written, bits pending, low and high renormalised
    (0xA0000000, 0xEFFFFFFF, "1", 0, 0x40000000, 0xDFFFFFFF),
    (0xA4000000, 0xD5FFFFFF, "1", 1, 0x10000000, 0xD7FFFFFF),
    (0x10000000, 0x41FFFFFF, "01", 0, 0x20000000, 0x83FFFFFF),
    (0x83FF9C00, 0x83FFFFFF, "10000011111111111", 0, 0x38000000, 0xFFFFFFFF),
    (None, None, "01", 0, None, None),
]


def spec_encode(symbols, cdf):
    """The encoder of bitstream_spec.md, word for word: (bytes, steps)."""
    low, high, pending, bits, steps = 0, 0xFFFFFFFF, 0, "", []

    def emit(bit):
        nonlocal bits, pending
        bits += str(bit) + str(1 - bit) * pending
        pending = 0

    for symbol, row in zip(symbols, cdf.tolist()):
        span = high - low + 1
        high = low + (span * row[symbol + 1] >> 16) - 1
        low = low + (span * row[symbol] >> 16)
        narrowed, before = (low, high), len(bits)
        while True:
            if high < 2**31:
                emit(0)
            elif low >= 2**31:
                emit(1)
                low, high = low - 2**31, high - 2**31
            elif low >= 2**30 and high < 3 * 2**30:
                pending += 1
                low, high = low - 2**30, high - 2**30
            else:
                break
            low, high = 2 * low, 2 * high + 1
        steps.append((*narrowed, bits[before:], pending, low, high))
    pending += 1
    before = len(bits)
    emit(0 if low < 2**30 else 1)
    steps.append((None, None, bits[before:], pending, None, None))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big"), steps


def spec_decode(data, cdf):
    """The decoder of bitstream_spec.md, word for word."""
    bits = iter("".join(f"{byte:08b}" for byte in data))

    def read():
        return int(next(bits, "0"))

    low, high, value, symbols = 0, 0xFFFFFFFF, 0, []
    for _ in range(32):
        value = 2 * value + read()
    for row in cdf.tolist():
        span = high - low + 1
        count = ((value - low + 1) * 2**16 - 1) // span
        symbol = max(s for s in range(len(row) - 1) if row[s] <= count)
        symbols.append(symbol)
        high = low + (span * row[symbol + 1] >> 16) - 1
        low = low + (span * row[symbol] >> 16)
        while True:
            if high < 2**31:
                base = 0
            elif low >= 2**31:
                base = 2**31
            elif low >= 2**30 and high < 3 * 2**30:
                base = 2**30
            else:
                break
            low, high, value = 2 * (low - base), 2 * (high - base) + 1, 2 * (value - base) + read()
    return symbols


def random_cdf(rng, n, length, skew=0.0, sizes=None):
    """int32[n, length+1]; `skew` is the share of the one probable symbol; rows hold sizes[i] symbols."""
    sizes = np.full(n, length) if sizes is None else sizes
    cdf = np.full((n, length + 1), 65536, np.int32)
    for i, size in enumerate(sizes):
        weights = rng.gamma(0.3, size=size) + 1e-12
        frequencies = 1 + (weights / weights.sum() * (65536 - size) * (1 - skew)).astype(int)
        frequencies[rng.integers(size)] += 65536 - frequencies.sum()
        cdf[i, :size + 1] = np.append(0, frequencies.cumsum())
    return cdf


def likely_symbols(rng, cdf):
    """Symbols drawn from the distributions of `cdf`."""
    return (cdf[:, 1:] <= rng.integers(65536, size=(len(cdf), 1))).sum(axis=1)


def any_symbols(rng, cdf):
    """Symbols drawn evenly, so that improbable ones are frequent."""
    return rng.integers((cdf < 65536).sum(axis=1))


@pytest.fixture(scope="session")
def torchac():
    """torchac's compiled module itself, apart from how rangecoder calls it."""
    if not rangecoder.build_torchac():
        pytest.skip("torchac cannot be built here: no compiler, or no ninja")
    return rangecoder._extension()


def run(code, **environment):
    """Run Python code in another process; returns its standard output, fails on any error."""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment},
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("backend", ["plain", "auto"])
def test_worked_example_of_the_specification(backend):
    assert spec_encode(EXAMPLE_SYMBOLS, EXAMPLE_CDF) == (EXAMPLE_BYTES, EXAMPLE_STEPS)
    assert spec_decode(EXAMPLE_BYTES, EXAMPLE_CDF) == EXAMPLE_SYMBOLS
    assert encode(EXAMPLE_SYMBOLS, EXAMPLE_CDF, backend) == EXAMPLE_BYTES
    assert decode(EXAMPLE_BYTES, EXAMPLE_CDF, backend).tolist() == EXAMPLE_SYMBOLS


def test_the_specification_prints_the_worked_example():
    text = (Path(__file__).parents[2] / "bitstream_spec.md").read_text(encoding="utf-8")
    for low, high, bits, pending, low_after, high_after in EXAMPLE_STEPS[:-1]:
        assert f"| {low:08x} | {high:08x} | {bits} | {pending} | {low_after:08x} | {high_after:08x} |" in text
    assert f"`{' '.join(step[2] for step in EXAMPLE_STEPS)}`" in text
    assert f"`{EXAMPLE_BYTES.hex(' ')}`" in text


@st.composite
def coded(draw):
    """(cdf, symbols, bytes of noise), with alphabets, skews and lengths of all kinds."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, length = draw(st.integers(1, 60)), draw(st.integers(1, 40))
    sizes = rng.integers(1, length + 1, n) if draw(st.booleans()) else None
    cdf = random_cdf(rng, n, length, draw(st.sampled_from([0, 0.5, 0.99, 1])), sizes)
    symbols = draw(st.sampled_from([likely_symbols, any_symbols]))(rng, cdf)
    return cdf, symbols, draw(st.binary(max_size=40))


@settings(deadline=None, max_examples=200)
@given(coded())
def test_plain_coder_follows_the_specification(case):
    cdf, symbols, noise = case
    data = encode(symbols, cdf, "plain")
    assert data == spec_encode(symbols, cdf)[0]
    assert decode(data, cdf, "plain").tolist() == symbols.tolist()
    assert decode(noise, cdf, "plain").tolist() == spec_decode(noise, cdf)


def reencoded(data, start, cdf, backend):
    """What `decode_segment` must give, by encoding again: (symbols, end), or None for what is not canonical."""
    symbols = decode(data[start:], cdf, backend)
    again = encode(symbols, cdf, backend)
    return (symbols.tolist(), start + len(again)) if data.startswith(again, start) else None


def segment_of(data, start, cdf, backend):
    try:
        symbols, end = decode_segment(data, cdf, start, backend)
    except CorruptStreamError:
        return None
    return symbols.tolist(), end


@pytest.mark.parametrize("backend", ["plain", "torchac"])
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=coded(), before=st.binary(max_size=3), after=st.binary(max_size=6), seed=st.integers(0, 2**32))
def test_segments_end_where_they_say_whatever_follows(request, backend, case, before, after, seed):
    if backend == "torchac":
        request.getfixturevalue("torchac")
    cdf, symbols, noise = case
    segment = encode(symbols, cdf, "plain")
    data, start = before + segment + after, len(before)
    assert segment_of(data, start, cdf, backend) == (symbols.tolist(), start + len(segment))
    assert segment_of(data[:start + len(segment) - 1], start, cdf, backend) in (
        None, reencoded(data[:start + len(segment) - 1], start, cdf, "plain"))
    # Every bit counts, and what is accepted is what the encoder writes.
    position = start + random.Random(seed).randrange(len(segment))
    for bit in range(8):
        damaged = bytearray(data)
        damaged[position] ^= 1 << bit
        found = segment_of(bytes(damaged), start, cdf, backend)
        assert found == reencoded(bytes(damaged), start, cdf, "plain") != (symbols.tolist(), start + len(segment))
    assert segment_of(noise, 0, cdf, backend) == reencoded(noise, 0, cdf, "plain")


@settings(deadline=None, max_examples=100)
@given(coded())
def test_lengths_follow_from_the_shifts(case):
    """The statement of the specification: in all, shifts + 2 bits."""
    cdf, symbols, _ = case
    data, steps = spec_encode(symbols, cdf)
    written = sum(len(step[2]) for step in steps)
    shifts = sum(len(step[2]) for step in steps[:-1]) + steps[-2][3]
    assert written == shifts + 2 and len(data) == (shifts + 9) // 8
    assert shifts <= rangecoder.MAX_SHIFT * len(symbols)


@settings(deadline=None, max_examples=200)
@given(coded())
def test_torchac_and_the_plain_coder_agree(torchac, case):
    cdf, symbols, noise = case
    data = encode(symbols, cdf, "torchac")
    assert data == encode(symbols, cdf, "plain")
    assert decode(data, cdf, "torchac").tolist() == symbols.tolist()
    assert decode(noise, cdf, "torchac").tolist() == decode(noise, cdf, "plain").tolist()


@pytest.mark.parametrize("length", [1, 2, 3, 5, 16, 64, 256, 257, 512])
@pytest.mark.parametrize("skew", [0, 0.9, 1])
def test_same_bytes_as_torchac_itself(torchac, length, skew):
    import torch

    rng = np.random.default_rng(length)
    for n in (1, 2, 3, 17, 2000):
        cdf = random_cdf(rng, n, length, skew)
        table = torch.from_numpy(cdf.astype(np.uint16).view(np.int16))
        noise = rng.bytes(n // 3)
        for symbols in (likely_symbols(rng, cdf), any_symbols(rng, cdf)):
            data = torchac.encode_cdf(table, torch.from_numpy(symbols.astype(np.int16)))
            for backend in ("plain", "torchac"):
                assert encode(symbols, cdf, backend) == data
                assert (decode(data, cdf, backend) == symbols).all()
        for backend in ("plain", "torchac"):
            assert (decode(noise, cdf, backend) == torchac.decode_cdf(table, noise).numpy()).all()


def test_extreme_distributions(torchac):
    """One symbol takes all but what the others must have; the last, first or a middle one."""
    rng = np.random.default_rng(0)
    for length in (2, 3, 256, 512):
        frequencies = np.ones((900, length), np.int64)
        frequencies[np.arange(900), rng.choice([0, length // 2, length - 1], 900)] += 65536 - length
        cdf = np.append(np.zeros((900, 1), np.int64), frequencies.cumsum(1), axis=1).astype(np.uint32)
        for symbols in (frequencies.argmax(1), frequencies.argmin(1), rng.integers(length, size=900)):
            data = encode(symbols, cdf, "plain")
            assert data == encode(symbols, cdf, "torchac")
            for backend in ("plain", "torchac"):
                assert (decode(data, cdf, backend) == symbols).all()


@pytest.mark.parametrize("length", [2, 3, 7, 16, 100, 256])
def test_padded_rows_cost_the_same_bits_as_rows_of_their_own_size(torchac, length):
    """Every alphabet size, the ones that torchac cannot search included."""
    rng = np.random.default_rng(length)
    for size in range(1, length + 1):
        bare = random_cdf(rng, 40, size)
        cdf = np.pad(bare, ((0, 0), (0, length - size)), constant_values=65536)
        symbols, noise = any_symbols(rng, bare), rng.bytes(20)
        data = encode(symbols, bare, "plain")
        expected = decode(noise, bare, "plain")
        for backend in ("plain", "torchac"):
            assert encode(symbols, cdf, backend) == data
            assert (decode(data, cdf, backend) == symbols).all()
            assert (decode(noise, cdf, backend) == expected).all()


def test_torchac_decodes_padded_tables_itself(torchac):
    """Only alphabets too small for its search tree are left to the plain coder."""
    rng = np.random.default_rng(0)
    for sizes, possible in (([8, 100, 256], True), ([7, 100, 256], False)):
        cdf = random_cdf(rng, 3, 256, sizes=sizes)
        assert (rangecoder._decode_torchac(torchac, b"", cdf) is not None) == possible


@pytest.mark.parametrize("backend", ["plain", "auto"])
def test_no_symbols(backend):
    cdf = np.zeros((0, 257), np.int32)
    assert encode([], cdf, backend) == b""
    for data in (b"", b"\xff\x00"):
        assert decode(data, cdf, backend).shape == (0,)


def test_long_runs_of_pending_bits():
    """[1/4, 3/4) again and again keeps the interval around the middle: nothing is settled until the end."""
    cdf = np.tile(np.array([0, 16384, 49152, 65536], np.int32), (5000, 1))
    symbols = np.ones(5000, int)
    data = encode(symbols, cdf, "plain")
    assert data == spec_encode(symbols, cdf)[0]
    assert (decode(data, cdf, "plain") == 1).all()


def test_inputs_of_other_kinds():
    cdf = np.array([[0, 1, 65536]] * 256, np.uint32)
    symbols = np.arange(256, dtype=np.uint8) % 2
    data = encode(symbols, cdf, "plain")
    assert data == encode(symbols.tolist(), np.asfortranarray(cdf.astype(np.int32)), "plain")
    decoded = decode(memoryview(bytearray(data)), cdf, "plain")
    assert decoded.dtype == np.int64 and (decoded == symbols).all()
    wide = np.tile(np.append(np.arange(300) * 200, 65536).astype(np.int32), (2, 1))
    assert decode(encode(np.array([255, 0], np.uint8), wide, "plain"), wide, "plain").tolist() == [255, 0]


GOOD = np.array([[0, 30000, 65536, 65536]], np.int32)


@pytest.mark.parametrize("symbols, match", [
    ([3], r"must lie in 0\.\.2"),
    ([-1], r"must lie in 0\.\.2"),
    ([2], "symbol 2 at position 0 is padding"),
    ([0, 0], r"shape \(1,\)"),
    ([0.0], "must be integers"),
])
def test_symbols_that_cannot_be_coded(symbols, match):
    with pytest.raises(ValueError, match=match):
        encode(symbols, GOOD, "plain")


@pytest.mark.parametrize("low, high", [(5, 5), (6, 5), (-1, 5), (65000, 65537)])
def test_bounds_that_cannot_be_coded(low, high):
    with pytest.raises(ValueError, match=f"symbol at position 1 cannot be coded: its bounds are {low} and {high}"):
        encode_bounds(np.array([0, low]), np.array([65536, high]), "plain")


@pytest.mark.parametrize("cdf, match", [
    (GOOD.astype(np.int64), "must be int32 or uint32"),
    (GOOD[0], "must be int32 or uint32"),
    (GOOD[:, :1], "must be int32 or uint32"),
    (np.zeros((1, 32769), np.int32), "must be int32 or uint32"),
    (np.array([[1, 30000, 65536]], np.int32), "start at 0 and end at 65536"),
    (np.array([[0, 30000, 65535]], np.int32), "start at 0 and end at 65536"),
    (np.array([[0, 30000, 30000, 65536]], np.int32), "increase by at least 1"),
    (np.array([[0, 0, 65536]], np.int32), "increase by at least 1"),
    (np.array([[0, 65536, 9, 65536]], np.int32), "increase by at least 1"),
    (np.array([[0, 2**31, 65536]], np.uint32), "increase by at least 1"),
])
def test_tables_that_cannot_be_coded(cdf, match):
    with pytest.raises(ValueError, match=match):
        encode([0], cdf, "plain")
    with pytest.raises(ValueError, match=match):
        decode(b"abc", cdf, "plain")


def test_unknown_backend():
    with pytest.raises(ValueError, match="auto, torchac or plain, not 'c'"):
        encode([0], GOOD, "c")


def test_neither_importing_nor_coding_imports_torch():
    run("import sys, numpy as np, vqcodec.indices.rangecoder as rc\n"
        "cdf = np.array([[0, 9, 65536]], np.int32)\n"
        "assert rc.decode(rc.encode([1], cdf), cdf) == 1\n"
        "assert 'torch' not in sys.modules")


NEVER_COMPILES = """
import subprocess, sys, time, numpy as np, torch, vqcodec.indices.rangecoder as rc
from vqcodec.errors import UsageError
def forbidden(*args, **kwargs): raise AssertionError("started a process")
subprocess.Popen.__init__ = forbidden
start = time.perf_counter()
cdf = np.array([[0, 9, 65536]], np.int32)
assert rc.decode(rc.encode([1], cdf), cdf) == 1
assert not rc.torchac_ready()
try:
    rc.encode([1], cdf, "torchac")
except UsageError:
    pass
else:
    raise AssertionError("used a library that is not there")
assert time.perf_counter() - start < 5
"""


def test_auto_never_compiles(tmp_path):
    run(NEVER_COMPILES, TORCH_EXTENSIONS_DIR=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_default_cache_without_the_extension(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "TORCH_EXTENSIONS_DIR"}
    environment.update(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    subprocess.run([sys.executable, "-c", NEVER_COMPILES], env=environment, check=True, timeout=120)
    assert not list(tmp_path.rglob("torchac_backend"))


def fake_cache(tmp_path, library=b"not a library", ninja=None):
    """An extension cache for this torch, as `build_torchac` leaves it, with the given contents."""
    import torch

    folder = tmp_path / "torchac_backend"
    folder.mkdir()
    (folder / "torchac_backend.so").write_bytes(library)
    ninja = f"cflags = -isystem {Path(torch.__file__).parent / 'include'}\n" if ninja is None else ninja
    (folder / "build.ninja").write_text(ninja)
    return folder


def test_broken_libraries_are_passed_over(tmp_path):
    fake_cache(tmp_path)
    run(NEVER_COMPILES, TORCH_EXTENSIONS_DIR=str(tmp_path))


def test_only_a_finished_library_built_for_this_torch_is_used(torchac, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    assert not rangecoder.torchac_ready()
    folder = fake_cache(tmp_path, Path(torchac.__file__).read_bytes())
    library = folder / "torchac_backend.so"
    assert rangecoder.torchac_ready()
    assert encode(EXAMPLE_SYMBOLS, EXAMPLE_CDF, "torchac") == EXAMPLE_BYTES
    (folder / "lock").touch()
    assert not rangecoder.torchac_ready()
    (folder / "lock").unlink()
    os.utime(library, (0, 0))
    assert not rangecoder.torchac_ready()
    shutil.rmtree(folder)
    fake_cache(tmp_path, Path(torchac.__file__).read_bytes(), ninja="cflags = -isystem /elsewhere\n")
    assert not rangecoder.torchac_ready()


def test_building_without_a_compiler_says_no(tmp_path):
    out = run("import vqcodec.indices.rangecoder as rc; assert not rc.build_torchac()",
              TORCH_EXTENSIONS_DIR=str(tmp_path), CXX="no-such-compiler")
    assert out == ""


# Whose library is loaded.

def test_a_library_that_others_may_have_written_is_not_loaded(torchac, tmp_path, monkeypatch):
    library = fake_cache(tmp_path, Path(torchac.__file__).read_bytes()) / "torchac_backend.so"
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr(rangecoder, "_load", lambda library, built: library)  # what it would load
    assert rangecoder._extension() == str(library)
    for path in (library, library.parent, tmp_path):
        mode = path.stat().st_mode
        path.chmod(mode | 0o002)
        assert rangecoder._extension() is None, path
        path.chmod(mode)
    if os.geteuid() == 0:
        for path in (library, library.parent):
            os.chown(path, 4242, -1)
            assert rangecoder._extension() is None, path
            os.chown(path, 0, -1)
    tmp_path.chmod(0o1777)  # as /tmp
    assert rangecoder._extension() == str(library)
    moved = library.rename(tmp_path / "elsewhere.so")
    library.symlink_to(moved)
    assert rangecoder._extension() is None


@pytest.mark.parametrize("variable, value", [("XDG_CACHE_HOME", ""), ("XDG_CACHE_HOME", "cache"), ("TORCH_EXTENSIONS_DIR", ""),
                                             ("TORCH_EXTENSIONS_DIR", "."), ("HOME", "relative")])
def test_no_library_is_looked_for_below_the_current_folder(tmp_path, monkeypatch, variable, value):
    for name in ("XDG_CACHE_HOME", "TORCH_EXTENSIONS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rangecoder.subprocess, "run", lambda *_, **__: pytest.fail("it is built there"))
    with pytest.raises(LookupError):
        rangecoder._cache_folder()
    assert not rangecoder.build_torchac()


@settings(deadline=None, max_examples=200)
@given(coded(), st.integers(0, 2**32), st.floats(0, 1))
def test_guesses_change_nothing(case, seed, right):
    """However many there are, and however many of them are wrong."""
    cdf, symbols, noise = case
    rng, groups = np.random.default_rng(seed), 2 - len(cdf) % 2
    table, n = cdf.reshape(-1, groups, cdf.shape[1]), len(cdf) // groups
    guesses = np.where(rng.random(len(cdf)) < right, symbols, rng.integers(0, cdf.shape[1] - 1, len(cdf))).reshape(n, groups)
    sure = rng.random((n, groups)) < 0.7
    low, high = (np.where(sure, np.take_along_axis(table, at[:, :, None], 2)[:, :, 0], 0) for at in (guesses, guesses + 1))
    rows = rangecoder.Rows(guesses, low, high, [table[~sure[:, g], g] for g in range(groups)], lambda n, g: table[n, g])
    data = encode(symbols, cdf, "plain")
    for coded_bytes, start in ((data, 0), (b"ab" + data + b"c", 2)):
        found, end = rangecoder.decode_rows(coded_bytes, rows, start)
        assert found.ravel().tolist() == symbols.tolist() and end == start + len(data)
    try:
        expected = decode_segment(noise, cdf, 0, "plain")
    except CorruptStreamError:
        with pytest.raises(CorruptStreamError):
            rangecoder.decode_rows(noise, rows)
        return
    found, end = rangecoder.decode_rows(noise, rows)
    assert found.ravel().tolist() == expected[0].tolist() and end == expected[1]
