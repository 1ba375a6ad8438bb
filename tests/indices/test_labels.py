"""Models of narrow domains: labels, places, larger kernels and other phases of the prior."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import reference_decoder
import reference_sound
import torch
from click.testing import CliRunner
from conftest import make_tiny_audio_model, make_tiny_model, synthetic_picture, tiny_audio_config, tiny_config
from safetensors.torch import load_file, save_file

import vqcodec
from vqcodec import CorruptStreamError, InputError, UsageError, medium
from vqcodec.cli import main
from vqcodec.indices import grids as grids_module
from vqcodec.indices.config import PriorConfig
from vqcodec.indices.drawing import Drawing
from vqcodec.indices.float_prior import ContextPrior, fill
from vqcodec.indices.sampling import Sampler
from vqcodec.indices.tensors import Form, prior_tensors
from vqcodec.picture import stream
from vqcodec.train.items import labels_of
from vqcodec.zoo import registration, registry
from vqcodec.zoo.config import check_model, from_dict, parse_toml, to_toml

LABELS = (("zero", "one", "two"), ("anna", "otto"))
PLACES = {"image": (3, 4), "audio": (1, 20)}


def config_of(modality: str):
    config = tiny_config() if modality == "image" else tiny_audio_config()
    kernels = dict(near=(3, 7), past=(5, 5), phases=(5, 3)) if modality == "image" else dict(near=(1, 5), past=(1, 9), phases=(9, 7))
    prior = PriorConfig(context_channels=(16, 24), rank=(4, 6), labels=LABELS, places=PLACES[modality], **kernels)
    return check_model(replace(config, prior=prior))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models "narrowimage" and "narrowaudio", to whose networks labels and places say much."""
    made, folder = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("models")
    for modality, make in (("image", make_tiny_model), ("audio", make_tiny_audio_model)):
        make(made, config_of(modality), modality)
        shutil.copytree(made / modality, folder / modality)
        tensors = load_file(folder / modality / "prior.safetensors")
        generator = torch.Generator().manual_seed(1)
        for name, tensor in tensors.items():
            if "label" in name or "place" in name:
                tensors[name] = (torch.randn(tensor.shape, generator=generator) * 100 * 2**24).to(torch.int64)
        save_file(tensors, folder / modality / "prior.safetensors")
        registration.register(folder / modality, f"narrow{modality}", id=60020 + (modality == "audio"), status="default",
                              models_dir=folder, modality=modality)
    return folder


@pytest.fixture(params=("image", "audio"))
def opened(request, folder):
    """(the medium, NumPy's codec, torch's)."""
    kind = medium.of_modality(request.param)
    entry = registry.find_by_name(f"narrow{request.param}", folder, request.param)
    return kind, kind.open(entry), kind.open(entry, encoder=True)


def measure(kind):
    return (70, 50) if kind.modality == "image" else 0.9  # 4 × 5 blocks; 90 frames, a chunk and a part


def reference_grids(kind, entry, data: bytes) -> np.ndarray:
    reference = reference_decoder if kind.modality == "image" else reference_sound
    return reference.decode_grids(data, reference_decoder.read_model(entry.path))[1]


def test_streams_with_labels(opened):
    kind, one, other = opened
    found = {}
    for label in (None, "one", "two", "otto", "two,otto"):
        data = kind.sample(one, Drawing(5, label=label), measure(kind), 2)
        assert kind.sample(other, Drawing(5, label=label), measure(kind), 2) == data
        found[label] = one.decode_grids(data)
        np.testing.assert_array_equal(other.decode_grids(data), found[label])
        np.testing.assert_array_equal(reference_grids(kind, one.entry, data), found[label])
        kind.decoded(one, data)
        assert kind.labels(one.entry, data) == (label or "",) * (1 if kind.modality == "image" else 2)
        again = kind.from_tokens(one, found[label], kind.inspect(data), None)  # by labels that are as good or better
        assert len(again) <= len(data) + 8 and kind.from_tokens(other, found[label], kind.inspect(data), None) == again
        np.testing.assert_array_equal(one.decode_grids(again), found[label])
        parts = next(iter(kind.parts(one, data).values()))
        assert kind.modality == "audio" or sum(parts) == len(b"".join(stream.unpack(data).segments))
    assert len({grids.tobytes() for grids in found.values()}) == 5
    with pytest.raises(UsageError, match="no label 'three' .labels: zero, one, two; anna, otto"):
        kind.sample(one, Drawing(label="three"), measure(kind), 2)


def test_the_encoder_finds_labels(opened, monkeypatch):
    kind, one, _ = opened
    grids = one.decode_grids(kind.sample(one, Drawing(1, label="two,otto"), measure(kind), 2))
    band = grids if kind.modality == "image" else grids[:, :, :64]
    bits = {labels: one.coder.bits(band, 16, None, labels) for labels in np.ndindex(one.coder.prior.labels)}
    best = one.coder.best_labels(band, 16)
    assert one.coder.prior.labels == (4, 3) and bits[best] <= bits[3, 2]
    assert bits[best] == min(bits.values())
    monkeypatch.setattr(grids_module, "TRIED", 1)  # one kind after the other
    best = one.coder.best_labels(band, 16)
    assert bits[best] == min(bits[best[0], label] for label in range(3))


def test_what_is_kept_keeps_its_labels(opened):
    kind, one, _ = opened
    data = kind.sample(one, Drawing(1, label="two,otto"), measure(kind), 2)
    more, part = (16, (0, 0, 20, 20)) if kind.modality == "image" else (0.2, (0.1, 0.3))
    for make, what in ((kind.extend, more), (kind.fill, part)):
        same = make(one, data, Drawing(2), what)
        assert same == make(one, data, Drawing(2, label="two,otto"), what) != make(one, data, Drawing(2, label="one"), what)


def test_a_damaged_label(folder):
    kind = medium.of_modality("image")
    codec = kind.open(registry.find_by_name("narrowimage", folder))
    found = stream.unpack(kind.sample(codec, Drawing(1, label="two,otto"), (64, 48), 2))
    payload = found.segments[0]
    assert payload[:2] == bytes((3, 2))
    for wrong in (b"\4" + payload[1:], payload[:1] + b"\3" + payload[2:], b"\0" + payload[1:]):
        with pytest.raises(CorruptStreamError):
            codec.decode_grids(stream.pack(replace(found, segments=(wrong,))))
    for wrong in (b"\4" + payload[1:], payload[:1] + b"\3" + payload[2:], payload[:1]):
        with pytest.raises(CorruptStreamError, match="labels are damaged"):
            kind.labels(codec.entry, stream.pack(replace(found, segments=(wrong,))))
    assert codec.decode_grids(stream.pack(found)).shape == (16, 3, 4)


@pytest.mark.parametrize("modality", ("image", "audio"))
def test_inspect_names_labels(folder, tmp_path, modality):
    def told(label, *more):
        (tmp_path / "a.vq").write_bytes(vqcodec.sample(f"narrow{modality}", label=label, models_dir=folder))
        return CliRunner().invoke(main, ["inspect", str(tmp_path / "a.vq"), "--models-dir", str(folder), *more]).stdout

    assert "labels     two,otto\n" in told("otto,two") and "labels     none\n" in told(None)
    assert json.loads(told("anna", "--json"))["labels"] == ["anna"]


def test_encoding_with_such_a_model(folder):
    data = vqcodec.encode(synthetic_picture(64, 48), model="narrowimage", models_dir=folder, quality=2)
    assert vqcodec.decode(data, models_dir=folder).size == (48, 64)


def test_usual_sizes_are_those_of_places(folder):
    assert vqcodec.decode(vqcodec.sample("narrowimage", models_dir=folder), models_dir=folder).size == (64, 48)
    assert vqcodec.inspect(vqcodec.sample("narrowaudio", models_dir=folder)).samples == 20 * 80


@pytest.mark.parametrize("modality", ("image", "audio"))
def test_the_float_twin_hears_of_labels_and_places(modality, folder):
    """What prior.safetensors mean → the float network → bits about as of the integer one, and not those of other labels."""
    config = config_of(modality)
    prior = ContextPrior(config).eval()
    entry = registry.find_by_name(f"narrow{modality}", folder, modality)
    fill(prior, load_file(entry.path / "prior.safetensors"))
    kind = medium.of_modality(modality)
    codec = kind.open(entry, encoder=True)
    height, width = (5, 6) if modality == "image" else (1, 30)
    coder = codec.coder
    grids, _ = coder.draw(height, width, 16, Sampler(Drawing(3)), labels=(2, 1))
    values = coder.dequantize(grids[None])
    books = [book for book in coder.codebooks]
    prior.set_mode("quantized")

    def floating(labels):
        total = 0.0
        with torch.no_grad():
            parts = prior.codeword_bits(values, torch.tensor([1.0]), books, None if labels is None else torch.tensor([labels]))
            for s, bits in zip(prior.layouts, parts):
                total += bits.gather(2, grids[s.planes].flatten(1)[:, :, None]).sum().item()
        return total

    for labels in ((2, 1), (0, 0), (3, 2)):
        assert floating(labels) == pytest.approx(coder.bits(grids, 16, None, labels), rel=0.05)
    assert floating(None) == floating((0, 0))
    assert floating((2, 1)) < floating((3, 2))


def test_configurations():
    config = config_of("image")
    assert from_dict(type(config), parse_toml(to_toml(config).encode(), "x"), complete=True) == config
    for wrong, message in ((dict(labels=(("a", "a"),)), "all different"), (dict(labels=(("A b",),)), "letters"), (dict(labels=((),)), "lists"),
                           (dict(places=(3,)), "rows and columns"), (dict(near=(2, 3)), "odd"), (dict(phases=(5,)), "one entry"),
                           (dict(phases=(4, 3)), "odd"), (dict(near=(65, 1)), "1..63")):
        with pytest.raises(UsageError, match=message):
            check_model(replace(config, prior=replace(config.prior, **wrong)))


def test_kernels_that_look_too_far_are_refused():
    config = config_of("image")
    far = replace(config, prior=replace(config.prior, near=(63, 63)))
    prior_tensors(far, (Form(9, True), Form(3, False)))  # 31 · 8
    with pytest.raises(InputError, match="slice 1 looks farther than 256 positions"):
        prior_tensors(far, (Form(9, True), Form(11, False)))


def test_labels_are_words_of_a_files_name():
    kinds = (("0", "1", "7"), ("jackson", "theo"))
    assert labels_of("digits/7_jackson_32.wav", kinds) == (3, 1)
    assert labels_of("1_theo_7.wav", kinds) == (2, 2) and labels_of("17_nobody.wav", kinds) == (0, 0)
    assert labels_of("theo/take 0.flac", kinds) == (1, 2)
    assert labels_of("x/flag_france_1f1eb.png", (("flag", "flag_france", "cat"),)) == (2,)
