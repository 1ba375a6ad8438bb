"""What transforms of sound are tuned for: a spectral distance f32[B] of samples f32[B,C,1,N]. Differentiable."""

from __future__ import annotations

import functools

import torch

SIZES = (256, 512, 1024, 2048)  # of windows, in samples at 16 kHz; scaled with the rate
BANDS = (20, 40, 64, 80)
FLOOR = 1e-4
LINEAR_SHARE = 0.5
PHASE_SHARE = 0.1
ENVELOPE_SHARE = 1.0
ENVELOPE_BANDS = 15  # thirds of octaves from 150 Hz on, up to half the rate
ENVELOPE_FRAMES = 30  # of 12.8 ms: the syllables that short-time intelligibility is about
QUIET = 1e-4  # of the loudest: power of segments of a band that do not count


@functools.cache
def mel_bank(bins: int, bands: int, rate: int) -> torch.Tensor:
    """f32[bins,bands]: triangles spaced evenly on the mel scale up to half of `rate`, each with the sum 1."""
    top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700))
    edges = 700 * (10 ** (torch.linspace(0, top.item(), bands + 2) / 2595) - 1)
    hertz = torch.linspace(0, rate / 2, bins)[:, None]
    spacing = rate / 2 / (bins - 1)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (hertz - left) / (middle - left).clamp_min(spacing)
    falling = (right - hertz) / (right - middle).clamp_min(spacing)
    bank = torch.minimum(rising, falling).clamp_min(0)
    return bank / bank.sum(0).clamp_min(1e-6)


def spectral(decoded: torch.Tensor, samples: torch.Tensor, rate: int) -> torch.Tensor:
    """f32[B]: mean over window sizes of the mean absolute difference of log mel magnitudes (nepers), plus
    LINEAR_SHARE times the relative difference of the magnitudes themselves (after Yamamoto et al., 2020), plus
    PHASE_SHARE times the relative difference of spectra with their phases, plus ENVELOPE_SHARE times what `envelopes`
    finds."""
    d, s = decoded.flatten(0, 2), samples.flatten(0, 2)
    total = 0.0
    for size, bands in zip(SIZES, BANDS):
        length = size * max(1, round(rate / 16000))
        bank = mel_bank(length // 2 + 1, bands, rate)
        spectra = [stft(x, length, length // 4) for x in (d, s)]
        mel_d, mel_s = ((magnitudes(x).transpose(1, 2) @ bank) for x in spectra)
        total = total + ((mel_d + FLOOR).log() - (mel_s + FLOOR).log()).abs().mean((1, 2))
        total = total + LINEAR_SHARE * (mel_d - mel_s).abs().sum((1, 2)) / (mel_s.sum((1, 2)) + 1e-2)
        if size == 512:
            total = total + len(SIZES) * PHASE_SHARE * phase_difference(*spectra)
    total = total / len(SIZES) + ENVELOPE_SHARE * envelopes(d, s, rate)
    return total.view(len(decoded), -1).mean(1)


def stft(x: torch.Tensor, length: int, hop: int) -> torch.Tensor:
    """f32[B,N] → complex64[B,bins,frames]; a full-scale sine has 0.5."""
    window = torch.hann_window(length)
    return torch.stft(x, length, hop, window=window / window.sum(), center=True, pad_mode="constant", return_complex=True)


def magnitudes(spectrum: torch.Tensor) -> torch.Tensor:
    return (spectrum.real.square() + spectrum.imag.square() + 1e-10).sqrt()


def phase_difference(decoded: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
    """f32[B] of two spectra, their magnitudes compressed to square roots: sum of differences over sum of magnitudes."""
    size_d, size_s = magnitudes(decoded), magnitudes(samples)
    apart = decoded / size_d.sqrt() - samples / size_s.sqrt()
    return magnitudes(apart).sum((1, 2)) / (size_s.sqrt().sum((1, 2)) + 1.0)


def envelopes(decoded: torch.Tensor, samples: torch.Tensor, rate: int) -> torch.Tensor:
    """f32[B]: 1 - mean correlation of the two envelopes of third-octave bands over segments of 0.4 s, as in short-time
    objective intelligibility (Taal et al., 2011), without its clipping; of sounds f32[B,N] of a segment or more."""
    length = round(0.0256 * rate)
    edges = 150 * 2 ** ((torch.arange(ENVELOPE_BANDS + 1) - 0.5) / 3)
    bins = torch.linspace(0, rate / 2, length // 2 + 1)
    bank = ((bins[:, None] >= edges[:-1]) & (bins[:, None] < edges[1:])).float()
    pair = []
    for x in (decoded, samples):
        spectrum = stft(x, length, length // 2)
        power = (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2) @ bank
        pair.append((power + 1e-10).sqrt().unfold(1, ENVELOPE_FRAMES, ENVELOPE_FRAMES // 3))  # [B,segments,bands,frames]
    d, s = (x - x.mean(3, keepdim=True) for x in pair)
    power = pair[1].square().sum(3)
    weight = (power > QUIET * power.amax((1, 2), keepdim=True)).float()
    alike = (d * s).sum(3) * torch.rsqrt(d.square().sum(3) * s.square().sum(3) + 1e-16)
    return 1 - (alike * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1)
