"""Recordings that training learns from."""

from __future__ import annotations

import random

import numpy as np
import pytest
import soundfile
import torch

from vqcodec.errors import InputError
from vqcodec.sound.config import AudioTransformConfig
from vqcodec.sound.excerpts import PEAK, Excerpts
from vqcodec.train.data import SHELF_STEPS

CONFIG = AudioTransformConfig(sample_rate=8000, hop=40)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for i, (rate, seconds) in enumerate(((8000, 2), (16000, 1), (8000, 1), (8000, 3))):
        noise = np.random.default_rng(i).uniform(-0.3, 0.3, rate * seconds)
        soundfile.write(folder / f"{i}.wav", noise, rate)
    soundfile.write(folder / "quiet.wav", np.zeros(8000), 8000)
    (folder / "none.wav").write_bytes(b"nothing")
    return sorted(folder.iterdir())


def test_what_all_fits_is_drawn_as_it_ever_was(recordings):
    """By length; then where, how loud and which way round."""
    rng, excerpts = random.Random("5/9/0"), Excerpts(recordings, CONFIG, seed=5)
    lengths = [16000, 8000, 8000, 24000]
    expected = []
    for _ in range(3):
        pick = rng.choices(range(4), cum_weights=list(np.cumsum(lengths, dtype=float)))[0]
        first = rng.randint(0, lengths[pick] - 800)
        expected.append((pick, first, 10 ** (rng.uniform(-18, 3) / 20) * rng.choice((-1, 1))))
    for row, (pick, first, level) in zip(excerpts.batch(9, 10, 3), expected):
        if pick == 1:  # resampled
            continue
        samples = soundfile.read(recordings[pick])[0]
        assert np.allclose(row[0, 0], samples[first : first + 800] * level * PEAK / np.abs(samples).max(), atol=1e-3)
    assert any(pick != 1 for pick, _, _ in expected)


def test_a_bounded_cache_gives_the_same_excerpts_however_it_came_about(recordings):
    excerpts, resumed = (Excerpts(recordings, CONFIG, limit=60_000) for _ in range(2))
    with pytest.warns(match="too quiet"):
        batches = {step: excerpts.batch(step, 10, 4) for step in range(0, 12 * SHELF_STEPS, SHELF_STEPS)}
    assert excerpts.shelves._cache.size <= 60_000
    with pytest.warns(match="too quiet"):
        assert all(torch.equal(resumed.batch(step, 10, 4), batches[step]) for step in reversed(batches))


def test_nothing_to_learn_from_is_an_input_error(recordings):
    with pytest.raises(InputError, match="long and loud enough to learn from, of 2"):
        Excerpts(recordings[-2:], CONFIG)
