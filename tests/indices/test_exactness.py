"""The contract: a file decodes to the same index grids in every process, whatever computes the sums."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY_SOUND_ID, synthetic_picture, synthetic_sound
from helpers import WILD_ID, make_wild_model, sample_grids
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_models import make_wild_exact_model
from safetensors.torch import load_file

from vqcodec.indices import cdf as cdf_module
from vqcodec.indices import numpy_prior
from vqcodec.zoo import loading, registration, registry
from vqcodec.indices import rangecoder
from vqcodec.sound import stream as sound_container
from vqcodec.indices import prior as prior_module
from vqcodec.sound.codec import AudioCodec
from vqcodec.picture.codec import Codec, bands
from vqcodec.picture.torch_codec import KIND
from vqcodec.errors import InputError
from vqcodec.picture.file import Picture
from vqcodec.indices.prior import ACTIVATION_LIMIT, FEATURE_LIMIT, WEIGHT_LIMIT, Prior, check_bounds, correlate
from vqcodec.sound.file import Sound

# What chooses kernels in torch, oneDNN, MKL and NumPy's OpenBLAS, and the coder, away from this machine's defaults.
OLD = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE",
       "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OPENBLAS_CORETYPE": "Prescott"}
AVX = {"ONEDNN_MAX_CPU_ISA": "AVX", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "AVX",
       "MKL_ENABLE_INSTRUCTIONS": "AVX", "OPENBLAS_CORETYPE": "Sandybridge"}
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
SETTINGS = {  # threads, coder, variables
    "defaults, one thread": (1, "torchac", {}),
    "defaults, two threads": (2, "plain", {}),
    "oldest kernels": (1, "plain", OLD),
    "AVX kernels, two threads": (2, "torchac", AVX),
    "AVX2 kernels": (1, "torchac", AVX2),
}


@pytest.fixture(scope="module")
def models(tiny_model_dir, tiny_audio_dir, tiny_exact_dir, tmp_path_factory):
    """A folder with models/ that holds "tiny", "wild" and "wildexact" of images, "tinysound" and "wildsound"."""
    folder = tmp_path_factory.mktemp("exactness")
    (folder / "models").mkdir()
    registration.register(tiny_model_dir / "tiny", "tiny", folder / "models", id=60000)
    make_wild_model(tiny_model_dir, folder / "models")
    registration.register(tiny_audio_dir / "tinysound", "tinysound", folder / "models", id=TINY_SOUND_ID, modality="audio")
    make_wild_exact_model(tiny_exact_dir, folder / "models")
    make_wild_model(tiny_audio_dir, folder / "models", "tinysound", "wildsound", WILD_ID + 1)
    return folder


@pytest.fixture(scope="module")
def wild(models):
    return Codec.open(registry.find_by_name("wild", models / "models"))


@pytest.fixture(scope="module")
def streams(models, wild):
    """(folder, grids of each stream): pictures, drawn grids and sounds, encoded in this process."""
    tiny = Codec.open(registry.find_by_name("tiny", models / "models"))
    grids = {}

    def keep(name, codec, encoded):
        (models / f"{name}.vq").write_bytes(encoded.data)
        grids[name] = codec.decode_grids(encoded.data)

    for codec in (tiny, wild):
        model = codec.entry.name
        for height, width, quality in ((1, 1, 1), (17, 16, 2.4375), (200, 333, 1), (200, 333, 2.75)):
            picture = Picture(synthetic_picture(height, width))
            keep(f"p{height}x{width}q{quality * 16:g}.{model}", codec, codec.encode(picture, quality))
        drawn = sample_grids(codec, 20, 30, 27)
        keep(f"drawn.{model}", codec, codec.encode_tokens(drawn, 480, 320, 1 + 27 / 16))
    exact = Codec.open(registry.find_by_name("wildexact", models / "models"))
    for height, width, sixteenths in ((1, 1, 0), (17, 16, 23), (200, 333, 32)):
        drawn = sample_grids(exact, -(-height // 16), -(-width // 16), sixteenths)
        keep(f"p{height}x{width}.wildexact", exact, exact.encode_tokens(drawn, width, height, 1 + sixteenths / 16))
    for model in ("tinysound", "wildsound"):
        codec = AudioCodec.open(registry.find_by_name(model, models / "models", None))
        for count, channels, quality in ((1, 1, 1), (5000, 2, 2.4375), (5000, 1, 1)):  # several chunks of each
            sound = Sound(synthetic_sound(count, channels), codec.rate)
            keep(f"s{count}c{channels}q{quality * 16:g}.{model}", codec, codec.encode(sound, quality))
    assert len(bands(131, 130)) == 2
    keep("bands.wild", wild, wild.encode_tokens(sample_grids(wild, 131, 130, 5), 2080, 2096, 1 + 5 / 16))
    return models, grids


@pytest.fixture(scope="module", params=SETTINGS)
def outcome(request, streams, tmp_path_factory):
    """What a process with other settings made of all streams."""
    threads, coder, variables = SETTINGS[request.param]
    if coder == "torchac" and not rangecoder.build_torchac():
        pytest.skip("torchac cannot be built here: no compiler, or no ninja")
    output = tmp_path_factory.mktemp("outcome") / "found.npz"
    environment = {k: v for k, v in os.environ.items() if k not in OLD}
    environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE",
                    **variables}
    if coder == "plain":
        environment["TORCH_EXTENSIONS_DIR"] = str(output.parent)  # where no extension is
    worker = Path(__file__).with_name("exactness_worker.py")
    done = subprocess.run([sys.executable, worker, streams[0], output], env=environment, capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ran = json.loads(done.stdout.splitlines()[-1])
    assert ran["threads"] == threads and ran["torchac"] == (coder == "torchac")
    if variables and platform.machine().lower() in ("x86_64", "amd64"):
        assert ran["capability"].lower() == variables["ATEN_CPU_CAPABILITY"].lower()
    with np.load(output) as found:
        return dict(found)


def test_other_settings_decode_the_same_grids(streams, outcome):
    for name, grids in streams[1].items():
        np.testing.assert_array_equal(outcome[f"{name}.grids"], grids, err_msg=name)
        assert zlib.crc32(outcome[f"{name}.grids"].tobytes()) == zlib.crc32(grids.tobytes())


def test_other_settings_encode_the_same_bytes(streams, outcome):
    assert {name for name in streams[1] if not outcome[f"{name}.again"]} == set()


def test_other_settings_give_the_same_pixels_within_one(streams, outcome):
    codecs = {m: Codec.open(registry.find_by_name(m, streams[0] / "models")) for m in ("tiny", "wild")}
    names = [name for name in streams[1] if f"{name}.decoded" in outcome and name.split(".")[1] in codecs]
    assert len(names) == 8
    for name in names:
        here = codecs[name.split(".")[1]].decode((streams[0] / f"{name}.vq").read_bytes()).rgb
        assert np.abs(outcome[f"{name}.decoded"].astype(int) - here).max() <= 1, name


def test_other_settings_give_the_same_pixels_where_they_are_integers(streams, outcome):
    codec = Codec.open(registry.find_by_name("wildexact", streams[0] / "models"), encoder=False)
    names = [name for name in streams[1] if name.endswith(".wildexact")]
    assert len(names) == 3
    for name in names:
        here = codec.decode((streams[0] / f"{name}.vq").read_bytes()).rgb
        for runtime in ("decoded", "numpy"):
            np.testing.assert_array_equal(outcome[f"{name}.{runtime}"], here, err_msg=name)
    assert ((here > 0) & (here < 255)).mean() > 0.1


def test_other_settings_give_the_same_samples_but_for_rounding(streams, outcome):
    """Each may be half of what the specification allows away from the exact ones."""
    for model in ("tinysound", "wildsound"):
        codec = AudioCodec.open(registry.find_by_name(model, streams[0] / "models", None))
        names = [name for name in streams[1] if name.endswith(f".{model}")]
        assert len(names) == 3
        for name in names:
            data = (streams[0] / f"{name}.vq").read_bytes()
            level = 2 ** (sound_container.peek(data)[0].gain / 4)
            assert np.abs(outcome[f"{name}.decoded"] - codec.decode(data).samples).max() <= 2**-11 * level, name


# --- the prior from within -----------------------------------------------------------------------------------

LIMIT = 2**24


def reference(x, weight):
    """int64 NumPy correlation of [h,w,I] with [k,k,I,O], zeros outside: [h·w,O]."""
    (h, w, _), k = x.shape, weight.shape[0]
    padded = np.pad(x.astype(np.int64), ((k // 2,) * 2, (k // 2,) * 2, (0, 0)))
    total = np.zeros((h, w, weight.shape[3]), np.int64)
    for dy in range(k):
        for dx in range(k):
            total += padded[dy:dy + h, dx:dx + w] @ weight[dy, dx].astype(np.int64)
    return total.reshape(h * w, -1)


@st.composite
def extremes(draw):
    """(x, weight, positions) of integers, mostly as large as allowed, each channel at the accumulator's bound."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k, inputs, outputs = draw(st.sampled_from([1, 3, 5])), draw(st.integers(1, 70)), draw(st.integers(1, 40))
    h, w = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    signed = draw(st.booleans())
    largest = FEATURE_LIMIT if signed else ACTIVATION_LIMIT
    kind = draw(st.sampled_from(["extreme", "any", "one sign"]))
    if kind == "any":
        weight = rng.integers(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, (k * k * inputs, outputs))
        x = rng.integers(-largest if signed else 0, largest + 1, (h, w, inputs))
    else:
        weight = WEIGHT_LIMIT * (rng.integers(0, 2, (k * k * inputs, outputs)) * 2 - 1)
        x = largest * (rng.integers(0, 2, (h, w, inputs)) * (2 if signed else 1) - signed)
        if kind == "one sign":
            weight, x = np.abs(weight), np.full_like(x, largest)
    over = np.cumsum(np.abs(weight), axis=0) * largest >= LIMIT  # what would go beyond becomes zero
    weight[over] = 0
    positions = np.flatnonzero(rng.integers(0, 2, h * w))
    return x, weight.reshape(k, k, inputs, outputs), positions


@settings(max_examples=60, deadline=None)
@given(extremes())
def test_correlate_is_exact_at_the_bound(case):
    x, weight, positions = case
    expected = reference(x, weight)
    floats = torch.from_numpy(x).float(), torch.from_numpy(weight).float()
    np.testing.assert_array_equal(correlate(*floats).numpy(), expected)
    np.testing.assert_array_equal(correlate(*floats, torch.from_numpy(positions)).numpy(), expected[positions])
    floats, runtime = (x.astype(np.float32), weight.astype(np.float32)), numpy_prior.Numpy()
    np.testing.assert_array_equal(runtime.correlate(*floats), expected)
    np.testing.assert_array_equal(runtime.correlate(*floats, positions), expected[positions])


def test_the_largest_sum_that_the_bound_allows():
    taps = (LIMIT - 1) // ACTIVATION_LIMIT  # weights that add up to this give 2^24 - 1 exactly
    weight = np.full(25 * 21, WEIGHT_LIMIT)
    weight[taps // WEIGHT_LIMIT:] = 0
    weight[-1] = taps - weight.sum()
    weight = weight.reshape(5, 5, 21, 1)
    x = np.full((5, 5, 21), ACTIVATION_LIMIT)
    assert reference(x, weight)[12, 0] == LIMIT - 1
    got = correlate(torch.from_numpy(x).float(), torch.from_numpy(weight).float())
    np.testing.assert_array_equal(got.numpy(), reference(x, weight))


@pytest.mark.parametrize("name, largest", [("s0.mix.weight", 255), ("s1.past2.weight", 255), ("s0.near1.weight", 127),
                                           ("s1.past1.weight", 127)])
def test_models_beyond_the_bound_are_refused(name, largest):
    weight = torch.zeros(2, 1200, dtype=torch.int8)
    total = (LIMIT - 1) // largest
    weight[1, :total // 127] = 127
    weight[1, -1] = total % 127
    check_bounds({**cdf_module.tables(), name: weight})
    weight[1, -2] = -1
    with pytest.raises(InputError, match="overflow"):
        check_bounds({**cdf_module.tables(), name: weight})


def test_multipliers_beyond_the_bound_are_refused():
    check_bounds({**cdf_module.tables(), "s0.mix.mult": torch.tensor([2**31 - 1])})
    with pytest.raises(InputError, match="mult"):
        check_bounds({**cdf_module.tables(), "s0.mix.mult": torch.tensor([0, -2**31])})


SOUND = {"s0.bounds": torch.tensor([[-64, 0, 64]]), "s0.companded": torch.zeros(1, 4, 1, dtype=torch.int8),
         "s0.start": torch.tensor([[1]]), "s0.size": torch.tensor([[3]])}


@pytest.mark.parametrize("change, words", [
    ({"s0.bounds": torch.tensor([[0, -64, 64]])}, "ascending"),
    ({"s0.bounds": torch.tensor([[0, 64, 120_000]])}, "overflow 32 bits"),
    ({"s0.companded": torch.full((1, 4, 1), -128, dtype=torch.int8)}, "beyond"),
    ({"s0.size": torch.tensor([[4]])}, "no such codewords"),
    ({"s0.size": torch.tensor([[0]])}, "no such codewords"),
    ({"s0.vectors": torch.zeros(1, 4, 2, dtype=torch.int8)}, "must be 0"),
    ({"s0.mix.bias": torch.tensor([1 << 58])}, "2\\^58"),
    ({"table.exp": torch.zeros(4096, dtype=torch.int64)}, "exp table"),
    ({"table.sigmoid": torch.zeros(4096, dtype=torch.int32)}, "sigmoid table"),
])
def test_unsound_models_are_refused(change, words):
    check_bounds({**cdf_module.tables(), **SOUND})
    with pytest.raises(InputError, match=words):
        check_bounds({**cdf_module.tables(), **SOUND, **change})


@pytest.mark.parametrize("change, words", [
    ({"s0.mix.weight": torch.full((2, 2), 0.999)}, "s0.mix.weight must hold integers"),
    ({"s0.mix.weight": torch.full((2, 2), torch.nan)}, "must hold integers"),
    ({"s0.mix.bias": torch.full((2,), 1e30)}, "must hold integers"),
    ({"s0.mix.mult": torch.zeros(2, dtype=torch.complex64)}, "must hold integers"),
    ({"table.inverse": torch.ones(64)}, "must hold integers"),
    ({"s0.mix.mult": torch.tensor([-(2**63)])}, "2\\^31"),
    ({"s0.mix.bias": torch.tensor([-(2**63)])}, "2\\^58"),
    ({"s0.bounds": torch.tensor([[-(2**63), 0, 64]])}, "overflow 32 bits"),
    ({"s0.bounds": torch.tensor([[2**62, -(2**62), 2**62]])}, "ascending"),  # differences of 2^63 would wrap
    ({"s0.size": torch.tensor([[2**63 - 1]])}, "no such codewords"),
    ({"s0.start": torch.tensor([[-(2**63)]])}, "no such codewords"),
    ({"table.inverse": torch.zeros(64, dtype=torch.int32)}, "inverse scales"),
])
def test_what_its_absolute_value_hides_is_refused(change, words):
    """Fractions that a cast cuts off, and integers whose negative is itself."""
    with pytest.raises(InputError, match=words):
        check_bounds({**cdf_module.tables(), **SOUND, **change})


@pytest.mark.parametrize("model", ["tiny", "wild"])
def test_real_sums_stay_below_the_bound(models, model, monkeypatch):
    """Every float product of the prior is a whole number below 2^24 while a file is decoded."""
    seen = []

    def watched(product):
        if product.dtype == torch.float32:
            seen.append(product.abs().max().item())
            assert seen[-1] < LIMIT and torch.equal(product, product.round())
        return product.to(torch.int64)

    for module in (prior_module, cdf_module):
        monkeypatch.setattr(module, "exact", watched)
    codec = Codec.open(registry.find_by_name(model, models / "models"))
    codec.decode_grids(codec.encode(Picture(synthetic_picture(90, 90)), 2).data)
    assert len(seen) > 20 and max(seen) > 10**5


def test_context_decides_the_distributions(wild):
    """Were the CDFs of a step always the same, equal grids would prove little."""
    grids = torch.from_numpy(sample_grids(wild, 12, 12, 16))
    rows = []

    def supply(step):
        rows.append(len(np.unique(step.cdf.flatten(1).numpy(), axis=0)) / len(step.positions))
        return grids[step.layout.planes].flatten(1)[:, step.positions].T - step.start

    wild.coder.prior.code(12, 12, 16, supply)
    assert min(rows[1:7] + rows[8:]) > 0.9  # but for the first phases, which see no neighbours of their own slice


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_every_distribution_can_be_coded(wild, seed, sixteenths):
    """CDFs rise from 0 to 65536 by at least 1 per symbol, then stay, whatever the grids so far."""
    def supply(step):
        cdf = step.cdf
        assert (cdf[:, :, 0] == 0).all() and (cdf[:, :, -1] == 65536).all()
        rises = cdf.diff(dim=2)
        assert ((rises > 0) | ((cdf[:, :, :-1] == 65536) & (rises == 0))).all()
        sizes = (cdf < 65536).sum(2)
        assert (sizes == sizes[:1]).all()  # alphabets belong to groups
        last = step.layout.codewords - step.start
        assert (sizes[0] <= last).all()
        generator.manual_seed(seed + step.number)
        return (torch.rand(sizes.shape, generator=generator) * sizes).long()

    generator = torch.Generator()
    wild.coder.prior.code(5, 6, sixteenths, supply)


@pytest.mark.parametrize("sixteenths", [0, 7, 32])
def test_entries_and_parts_are_those_of_the_whole_tables(wild, sixteenths, monkeypatch):
    """Encoders and decoders take them in different ways."""
    monkeypatch.setattr(cdf_module, "CHUNK", 5000)
    kinds, parts = set(), []

    def supply(step):
        kinds.add(type(step.distributions))
        generator.manual_seed(step.number)
        number = torch.randint(step.cdf.shape[2], (*step.cdf.shape[:2], 9), generator=generator)
        assert torch.equal(step.entries(number), step.cdf.gather(2, number))
        if isinstance(step.distributions, cdf_module.Logistics):  # a shortlist may reach beyond an alphabet
            assert (step.entries(-1 - number) == 0).all() and (step.entries(number + step.cdf.shape[2]) == 65536).all()
        parts.append([part.clone() for _, part in step.parts()])
        assert torch.equal(torch.cat(parts[-1], 1).transpose(0, 1), step.cdf)
        return (torch.rand(step.cdf.shape[:2], generator=generator) * step.size).long()

    generator = torch.Generator()
    wild.coder.prior.code(12, 14, sixteenths, supply)
    assert len(kinds) == 2 and max(map(len, parts)) > 1


def numbers(tensors) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def numpy_says(tensors, exp, out, size, cdf) -> None:
    """CDFs int32[G,N,A+1]."""
    distributions = numpy_prior.Categoricals(numbers(tensors), exp)
    symbols, low, high = distributions.guesses(out, np.zeros_like(size), size)
    for g, count in enumerate(size.tolist()):
        np.testing.assert_array_equal(distributions.rows(g, out, 0, count), cdf[g, :, : count + 1])
        assert (cdf[g, :, count:] == 65536).all()
        for bounds, at in ((low, symbols), (high, symbols + 1)):
            np.testing.assert_array_equal(bounds[:, g], np.take_along_axis(cdf[g], at[:, g, None], 1)[:, 0])


def test_frequencies_at_the_bounds_of_all_numbers():
    """Those of categorical groups are computed in floats, which must stay exact; here against Python's integers."""
    rng = np.random.default_rng(0)
    groups, width, rank, positions = 5, 40, 16, 400
    limit = cdf_module.COEFFICIENT_LIMIT
    exp = np.maximum(np.rint(32768 * np.exp(-np.arange(4096) / 256)), 3).astype(np.int64)  # far codewords weigh something too
    mult = np.array([1, (1 << 31) - 1, 1 << 30, 1 << 15, 12345])
    offset = rng.integers(-(1 << 58) + 1, 1 << 58, (groups, width))
    offset[2:] = rng.integers(-(1 << 35), 1 << 35, (3, width))
    vectors = rng.choice([-127, 127, 0, 5], (groups, width, rank))
    size = np.array([width, 1, 17, width, 2])
    out = rng.choice([-(10**9), 10**9, limit - 1, 0, 7], (positions, groups * rank))
    tensors = {"vectors": torch.from_numpy(vectors).to(torch.int8), "logit.mult": torch.from_numpy(mult),
               "logit.offset": torch.from_numpy(offset)}
    found = torch.empty(groups, positions, width + 1, dtype=torch.int32)
    cdf_module.Categoricals(tensors, torch.from_numpy(exp)).fill(torch.from_numpy(out), None, torch.from_numpy(size), found)
    numpy_says(tensors, exp, out, size, found.numpy())
    within = {**tensors, "logit.offset": tensors["logit.offset"].clamp(-(1 << 51), 1 << 51),  # what floats hold
              "logit.mult": tensors["logit.mult"].clamp(max=1 << 30)}
    cdf_module.Categoricals(within, torch.from_numpy(exp)).fill(torch.from_numpy(out), None, torch.from_numpy(size), again := found.clone())
    numpy_says(within, exp, out, size, again.numpy())
    assert [numpy_prior.Categoricals(numbers(t), exp).exact for t in (tensors, within)] == [False, True]
    f = out.clip(-limit, limit).reshape(positions, groups, rank).astype(object)
    for g, count in enumerate(size.tolist()):
        logits = (f[:, g] @ vectors[g, :count].T.astype(object) * int(mult[g]) + offset[g, :count].astype(object) + (1 << 23)) >> 24
        weights = exp[np.minimum(logits.max(1, keepdims=True) - logits, 4095).astype(int)].astype(object)
        sums = np.cumsum(weights, 1)
        inner = np.arange(1, count) + (sums[:, :-1] * (((65536 - count) << 24) // sums[:, -1:]) >> 24)
        expected = np.full((positions, width + 1), 65536)
        expected[:, 0], expected[:, 1:count] = 0, inner
        np.testing.assert_array_equal(found[g].numpy(), expected)


def test_exported_tables_are_what_decoders_read(models):
    """A decoder computes no table: libraries may round exponentials in their own ways."""
    stored = load_file(models / "models" / "tiny" / "prior.safetensors")
    for name, table in cdf_module.tables().items():
        assert torch.equal(stored[name], table)
    changed = {name: value.clone() for name, value in stored.items()}
    changed["table.sigmoid"][2048:2300] += 40
    codec = Codec.open(registry.find_by_name("tiny", models / "models"))
    other = prior_module.Prior(changed, codec.model.quantizer)
    firsts = []
    for prior in (codec.coder.prior, other):
        prior.code(2, 2, 0, lambda step: firsts.append(step.cdf) or torch.zeros(step.cdf.shape[:2], dtype=torch.int64))
    assert not torch.equal(firsts[0], firsts[len(firsts) // 2])


def test_phases_that_no_lattices_have_are_refused(models):
    entry = registry.find_by_name("tiny", models / "models")
    tensors = loading.read_tensors(entry, "prior")
    config = loading.model_config(entry, KIND).quantizer
    for k in range(6, 0, -1):
        del tensors[f"s0.near{k}.weight"], tensors[f"s0.near{k}.mult"]
        if k in (2, 3, 5):
            assert Prior(tensors, config).slices[0].phases == k
        else:
            with pytest.raises(InputError, match="phases, which must be 2 or odd"):
                Prior(tensors, config)
