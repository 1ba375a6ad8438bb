"""Binary decisions and runs of almost sure symbols."""

from __future__ import annotations

import numpy as np
import pytest

from vqcodec.indices.bits import BitDecoder, BitEncoder
from vqcodec.indices.runs import CLASSES, UNLIKELY, BlockDecoder, BlockEncoder


def test_decisions_come_back_at_their_cost():
    random = np.random.default_rng(0)
    ones = random.integers(1, 65536, 20000).tolist()
    bits = [int(draw < one) for draw, one in zip(random.integers(0, 65536, 20000).tolist(), ones)]
    encoder = BitEncoder()
    for bit, one in zip(bits, ones):
        encoder.encode(bit, one)
    data = encoder.finish()
    decoder = BitDecoder(data)
    assert [decoder.decode(one) for one in ones] == bits
    ideal = sum(-np.log2((one if bit else 65536 - one) / 65536) for bit, one in zip(bits, ones)) / 8
    assert ideal < len(data) < ideal + 8


@pytest.mark.parametrize("bit, one", [(1, 1), (0, 65535), (1, 65535), (0, 1)])
def test_extreme_decisions_carry(bit, one):
    encoder = BitEncoder()
    for _ in range(3000):
        encoder.encode(bit, one)
    decoder = BitDecoder(encoder.finish())
    assert all(decoder.decode(one) == bit for _ in range(3000))


def test_nothing_is_nothing():
    assert BitEncoder().finish() == BlockEncoder().finish() == b""
    assert BlockDecoder(b"").step(np.zeros(0, np.int64)).size == 0


def coded(steps) -> bytes:
    encoder = BlockEncoder()
    for classes, unlikely in steps:
        encoder.step(classes, unlikely)
    return encoder.finish()


def drawn(random, count: int, most: int, probabilities) -> list:
    steps = []
    for _ in range(count):
        classes = random.integers(0, CLASSES, random.integers(1, most))
        steps.append((classes, random.random(len(classes)) < probabilities[classes]))
    return steps


def test_symbols_come_back_at_their_cost():
    probabilities = np.array(UNLIKELY) / 2**32
    steps = drawn(np.random.default_rng(1), 600, 400, probabilities)
    data = coded(steps)
    decoder = BlockDecoder(data)
    assert all((decoder.step(classes) == unlikely).all() for classes, unlikely in steps)
    p = np.concatenate([np.where(unlikely, probabilities[classes], 1 - probabilities[classes]) for classes, unlikely in steps])
    ideal = -np.log2(p).sum() / 8
    assert ideal - 50 < len(data) < 1.01 * ideal + 20


def test_classes_learn_what_their_symbols_are():
    random = np.random.default_rng(2)
    steps = drawn(random, 300, 300, np.full(CLASSES, 0.05))  # whatever the class says
    data = coded(steps)
    decoder = BlockDecoder(data)
    assert all((decoder.step(classes) == unlikely).all() for classes, unlikely in steps)
    count = sum(len(classes) for classes, _ in steps)
    assert len(data) < 1.9 * count * 0.2864 / 8  # the entropy of 0.05; unlearned it would be twice that


def test_small_steps_of_any_kind_come_back():
    random = np.random.default_rng(3)
    for _ in range(150):
        steps = drawn(random, random.integers(1, 6), 9, np.full(CLASSES, 0.3))
        decoder = BlockDecoder(coded(steps))
        assert all((decoder.step(classes) == unlikely).all() for classes, unlikely in steps)


def test_any_bytes_decode_to_something():
    decoder = BlockDecoder(bytes(range(200)))
    classes = np.arange(CLASSES).repeat(20)
    assert {tuple(np.unique(decoder.step(classes))) for _ in range(20)} <= {(0,), (0, 1), (1,)}
