"""Pitch, pulses and models that are excited by them; sounds drawn for training; the losses that hear what is hoarse."""

from __future__ import annotations

import io
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_tiny_audio_model, synthetic_sound, tiny_audio_config

from vqcodec.errors import UsageError
from vqcodec.sound import distortion, drawn, grow, pulses, synthesis
from vqcodec.sound.codec import AudioCodec
from vqcodec.sound.config import AudioModelConfig, AudioTransformConfig
from vqcodec.sound.file import Sound
from vqcodec.sound.pitch import track
from vqcodec.sound.transform import Decoder, Encoder
from vqcodec.zoo import loading, registry
from vqcodec.zoo.config import check_model

RATE, STEP = 16000, 320


def glide(seconds: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """(samples f32[N] of a voice that glides, with silence before and behind; Hz f64[N])"""
    time = np.arange(int(seconds * RATE)) / RATE
    frequency = 140 + 40 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    samples = 0.1 * sum(np.cos(k * phase) / k for k in range(1, 20))
    return (samples * (np.abs(time - seconds / 2) < 0.4 * seconds)).astype(np.float32), frequency


def test_values_and_hertz():
    found = pulses.values(np.array([0.0, 60.0, 120.0, 400.0]))
    assert found.tolist()[:3] == [-80, -64, 0] and found[3] < 128
    np.testing.assert_allclose(pulses.hertz(found), [0, 60, 120, 400], rtol=1e-6)
    assert pulses.hertz(np.float32([-72.1, -71.9]))[0] == 0 < pulses.hertz(np.float32([-71.9]))[0]


def test_the_pitch_of_a_glide_is_found():
    samples, frequency = glide()
    found = pulses.hertz(track(np.stack([samples, 0 * samples]), STEP, RATE))
    voiced = found[0] > 0
    assert abs(voiced.mean() - 0.8) < 0.06 and not found[1].any()
    assert np.abs(found[0] / frequency[::STEP] - 1)[voiced].max() < 0.012
    assert (track(np.random.default_rng(0).normal(0, 0.1, (1, RATE)).astype(np.float32), STEP, RATE) == pulses.VOICELESS).mean() > 0.9


def test_pulses_have_power_1_the_pitch_and_the_same_phases_in_pieces():
    frequency = np.array([0.0] * 5 + [150.0] * 40 + [0.0] * 5 + [200.0] * 30)
    whole = pulses.pulses(frequency, STEP, RATE)
    assert (whole[6 * STEP : 44 * STEP] ** 2).mean() == pytest.approx(1, abs=0.08) and not whole[: 5 * STEP - 16].any()
    part = whole[6 * STEP : 40 * STEP].astype(np.float64)
    lag = 320  # three periods of 150 Hz
    assert np.corrcoef(part[:-lag], part[lag:])[0, 1] > 0.98
    for cut in (10, 45, 47, 60):
        latents = np.zeros((1, 3, 1, len(frequency)), np.float32)
        latents[0, 0, 0] = pulses.values(frequency)
        phase = pulses.advanced(np.zeros(1), latents, cut, STEP, RATE)[0]
        rest = pulses.pulses(frequency[cut:], STEP, RATE, phase)
        np.testing.assert_allclose(rest[16:], whole[cut * STEP + 16 :], atol=2e-3)


def test_numpy_and_torch_agree():
    config = AudioTransformConfig(widths=(10, 14), decoder_dilations=((1, 4), (2,)), lambdas=(1.0, 2.0), latent_dims=13, hop=160,
                                  excitation="harmonic")
    torch.manual_seed(0)
    net = Decoder(config).eval().requires_grad_(False)
    assert synthesis.shapes(config) == loading.shapes(net)
    for tensor in net.state_dict().values():
        tensor.normal_(0, 0.2)
    network = synthesis.Synthesis({name: tensor.numpy() for name, tensor in net.state_dict().items()}, config)
    latents = np.random.default_rng(1).normal(0, 2, (30, 13)).astype(np.float32)
    latents[:, 0] = np.where(np.arange(30) % 10 < 3, -80, 20)
    noise = synthesis.white_noise(5, 30 * config.step, 1)
    expected = net(torch.from_numpy(latents.T.copy())[None, :, None], torch.tensor([0.5]), torch.from_numpy(noise)[None, :, None],
                   np.array([0.3]))[0, :, 0].numpy()
    assert np.abs(network(latents, 8, noise, 0.3) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("changes", [dict(excitation="none"), dict(excitation="harmonic", channels=2),
                                     dict(excitation="harmonic", sample_rate=4000)])
def test_models_that_cannot_have_pulses(changes):
    model = tiny_audio_config()
    with pytest.raises(UsageError, match="excitation"):
        check_model(replace(model, transform=replace(model.transform, **changes)))


def test_chunks_of_a_model_with_pulses_leave_no_seams(tmp_path):
    config = tiny_audio_config()
    make_tiny_audio_model(tmp_path, replace(config, transform=replace(config.transform, excitation="harmonic")))
    codec = AudioCodec.open(registry.find_by_name(None, tmp_path, "audio"))
    data = codec.encode(Sound(synthetic_sound(3 * 64 * 80 + 1234, seed=3), 8000), 2).data
    grids = codec.decode_grids(data)
    level = codec.encode_tokens(grids, replace(codec.decode_stream(io.BytesIO(data)).header, gains=False, gain=0)).data
    with torch.inference_mode():
        values = codec.coder.dequantize(torch.from_numpy(grids).permute(1, 0, 2)[:, :, None])
        whole = codec.decoder(values, torch.ones(1))[0, 0, 0].numpy()
    assert (pulses.hertz(values[0, 0, 0].numpy()) > 0).any()
    decoded = codec.decode(level).samples[:, 0]
    np.testing.assert_allclose(decoded, whole[: len(decoded)], atol=2e-4)


def test_a_model_with_pulses_starts_as_the_one_without():
    small = AudioModelConfig()
    t = small.transform
    large = replace(small, transform=replace(t, excitation="harmonic", latent_dims=96),
                    quantizer=replace(small.quantizer, slices=(1, 7, 24, 64), dims=(1, 1, 1, 2), codewords=(256, 256, 128, 256)),
                    prior=replace(small.prior, context_channels=(32, 96, 128, 160), rank=(4, 6, 6, 8)))
    check_model(large)
    assert grow.smaller(large, small) == small and grow.smaller(small, small) is None
    assert grow.smaller(replace(large, transform=replace(large.transform, widths=(8, 8))), small) is None

    class Pair(torch.nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config, self.encoder, self.decoder = config, Encoder(config.transform), Decoder(config.transform)

    torch.manual_seed(0)
    old, new = Pair(small).eval(), Pair(large).eval()
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.normal_(0, 0.02)
        old.encoder.linear.weight[95], old.decoder.linear.weight[:, 95] = 0, 0
        old.decoder.stem.weight[:, 95] = 0
        grow.grow(new, old)
        samples, level = torch.from_numpy(glide(0.64)[0])[None, None, None], torch.tensor([3.0])
        was, now = old.encoder(samples, level), new.encoder(samples, level)
        assert torch.allclose(was[:, :95], now[:, 1:], atol=1e-5)
        before, after = old.decoder(was, level), new.decoder(torch.cat([now[:, :1], was[:, :95]], 1), level)
    assert np.corrcoef(before.flatten(), after.flatten())[0, 1] > 0.95  # but for a few pulses


def test_what_is_hoarse_costs():
    samples, frequency = glide(2.56)
    clear = torch.from_numpy(samples[: 128 * STEP])[None, None, None]
    hertz = torch.from_numpy(np.where(samples.reshape(-1, STEP).any(1), frequency[::STEP], 0))[None]
    low = torch.from_numpy(np.float32(samples[: 128 * STEP] + np.random.default_rng(0).normal(0, 0.05, 128 * STEP)))[None, None, None]
    costs = [distortion.hoarse(x.requires_grad_(), clear.detach(), hertz, STEP, RATE) for x in (clear.clone(), low)]
    assert costs[0].item() == pytest.approx(0, abs=1e-6) and costs[1].item() > 0.1
    costs[1].sum().backward()
    assert low.grad.abs().sum() > 0
    assert distortion.hoarse(low, clear, torch.zeros_like(hertz), STEP, RATE).item() == 0
    assert distortion.hoarse(low[..., :320], clear[..., :320], hertz[:, :1], STEP, RATE).item() == 0


def test_lines_cost_and_hiss_does_not():
    rng = np.random.default_rng(0)
    hiss = [torch.from_numpy(rng.normal(0, 0.05, 40960).astype(np.float32))[None, None, None] for _ in range(3)]
    time = torch.arange(40960) / RATE
    lines = sum(0.01 * torch.sin(2 * torch.pi * f * time + f) for f in range(500, 7500, 50))
    fresh = distortion.steady(hiss[0], hiss[1], hiss[2], RATE, 1e-4).item()
    ringing = distortion.steady(0.3 * hiss[0] + lines, 0.3 * hiss[1] + lines, hiss[2], RATE, 1e-4).item()
    assert ringing > 1.2 * fresh


@pytest.mark.parametrize("kind", sorted(set(drawn.KINDS), key=lambda kind: kind.__name__))
def test_drawn_sounds(kind):
    recording = glide()[0][None]
    for seed in range(4):
        made = [kind(random.Random(seed), recording.copy(), recording.shape[1], RATE) for _ in range(2)]
        assert made[0].shape == recording.shape and np.isfinite(made[0]).all()
        np.testing.assert_array_equal(*made)
    whole = drawn.draw(random.Random(1), recording.copy(), RATE)
    assert whole.dtype == np.float32 and np.abs(whole).max() <= 1


def test_clips_shorter_than_a_segment_have_a_distance():
    """Validation meets them: a spoken digit may last 0.2 s."""
    clip = torch.randn(1, 1600, generator=torch.Generator().manual_seed(0))
    one = distortion.envelopes(clip, 8000)
    assert one.shape[1] == 1 and distortion.unlike(one, one).item() == pytest.approx(0, abs=1e-5)
    assert distortion.unlike(distortion.envelopes(clip.roll(800, 1), 8000), one).item() > 0.01
