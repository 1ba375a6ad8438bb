"""Weights as stored: what 8 bits cost, which tensors get them, and files that do not fit."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from vqcodec.zoo import registration, registry, weights
from vqcodec.picture.codec import Codec
from vqcodec.errors import InputError


def network():
    generator = torch.Generator().manual_seed(0)
    shapes = {"linear.weight": (64, 64, 1, 1), "blocks.0.conv1.weight": (32, 32, 3, 3), "blocks.0.conv1.bias": (8192,),
              "head.weight": (4, 8, 3, 3), "log_gain": (32, 192)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_large_kernels_take_a_byte_per_weight_and_come_back():
    net = network()
    net["blocks.0.conv1.weight"][5] *= 1000  # one loud channel must not cost the others their precision
    net["blocks.0.conv1.weight"][6] = 0
    stored = weights.pack(net)
    kinds = {name: tensor.dtype for name, tensor in stored.items()}
    assert kinds == {"linear.weight": torch.half, "blocks.0.conv1.weight": torch.int8, "blocks.0.conv1.bias": torch.half,
                     "blocks.0.conv1.weight.scale8": torch.float32, "head.weight": torch.half, "log_gain": torch.half}
    back = weights.unpack(stored)
    assert {name: t.shape for name, t in back.items()} == {name: t.shape for name, t in net.items()}
    for name, tensor in net.items():
        step = tensor.flatten(1).abs().amax(1) / 127 if kinds[name] is torch.int8 else tensor.abs().max() / 1024
        error = (back[name] - tensor).flatten(1).abs().amax(1) if tensor.dim() > 1 else (back[name] - tensor).abs()
        assert (error <= 0.501 * step).all()


def test_stored_weights_do_not_change_when_stored_again():
    stored = weights.pack(network())
    again = weights.pack(weights.unpack(stored))
    assert all(torch.equal(stored[name], again[name]) for name in stored if not name.endswith("scale8"))


def test_scales_without_their_tensor_are_refused():
    stored = weights.pack(network())
    for change in ({"tail.weight.scale8": torch.ones(4)}, {"blocks.0.conv1.weight.scale8": torch.ones(31)}):
        with pytest.raises(ValueError, match="does not fit"):
            weights.unpack(stored | change)


def test_a_model_with_other_tensors_is_refused(tiny_model_dir, tmp_path):
    folder = tmp_path / "odd"
    shutil.copytree(registry.find_by_name("tiny", tiny_model_dir).path, folder)
    tensors = load_file(folder / "decoder.safetensors")
    for change in ({"other": torch.ones(3)}, {"head.weight.scale8": torch.ones(3)}, {"linear.weight": torch.ones(3, 3)}):
        save_file(tensors | change, folder / "decoder.safetensors")
        shutil.rmtree(tmp_path / "models", ignore_errors=True)
        entry = registration.register(folder, "odd", tmp_path / "models", id=99)
        with pytest.raises(InputError, match="model 'odd': decoder.safetensors has other tensors"):
            Codec.open(entry)
