"""Section 12 of bitstream_spec.md against the package: the same integers, and the same samples but for rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import reference_decoder
import reference_sound as reference
from conftest import make_tiny_audio_model, synthetic_sound, tiny_audio_config

from vqcodec.zoo import registry
from vqcodec.sound.codec import AudioCodec
from vqcodec.zoo.config import AudioModelConfig
from vqcodec.sound.file import Sound


def check(entry, sound: Sound, quality: float) -> None:
    codec, model = AudioCodec.open(entry), reference_decoder.read_model(entry.path)
    data = codec.encode(sound, quality).data
    header, grids = reference.decode_grids(data, model)
    np.testing.assert_array_equal(grids, codec.decode_grids(data))
    assert (header.length, header.rate, header.channels) == (*sound.samples.shape[:1], sound.rate, sound.samples.shape[1])
    samples = reference.synthesise(grids, header, model)
    assert sound.rate == codec.rate  # so that nothing is resampled
    decoded = codec.decode(data).samples[:, : header.coded]
    assert decoded.shape == samples.shape
    assert np.abs(decoded - samples).max() <= 2**-12 * 2 ** (header.gain / 4) and samples.any()
    broken = bytearray(data)
    broken[-3] ^= 8
    with pytest.raises(reference_decoder.Invalid):
        reference.decode_grids(bytes(broken), model)


@pytest.mark.parametrize("count, channels, quality", [(1, 1, 1), (6000, 1, 2.5), (700, 3, 1.25), (900, 2, 3)])
def test_sound(tiny_audio_dir, count, channels, quality):
    check(registry.find_by_name("tinysound", tiny_audio_dir, None), Sound(synthetic_sound(count, channels), 8000), quality)


@pytest.mark.parametrize("tones", [(), (8, 3)])
def test_sound_of_a_stereo_model(tmp_path, tones):
    config = tiny_audio_config()
    transform = replace(config.transform, channels=2, tones=tones)
    make_tiny_audio_model(tmp_path, AudioModelConfig(transform, config.quantizer, config.prior))
    check(registry.find_by_name("tinysound", tmp_path, None), Sound(synthetic_sound(2000, 3), 8000), 2)


def test_the_shipped_model():
    entry = registry.find_by_name("speech-2", modality="audio")
    check(entry, Sound(synthetic_sound(1600, 1, 16000), 16000), 4)
