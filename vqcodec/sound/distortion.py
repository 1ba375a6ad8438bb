"""What transforms of sound are tuned for: a spectral distance f32[B] of samples f32[B,C,1,N]. Differentiable."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

SIZES = (256, 512, 1024, 2048)  # of windows, in samples at 16 kHz; scaled with the rate
BANDS = (20, 40, 64, 80)
LINEAR_SHARE = 0.5
PHASE_SHARE = 0.1
BIN_SHARE = 0.1
FINE = 512  # the size whose bins and phases count one by one
LOUD = 0.4
NEAR_PEAK = 3.5  # nepers
ENVELOPE_SHARE = 1.5
LOWEST_BAND = 150.0  # Hz, of thirds of octaves up to half the rate
ENVELOPE_FRAMES = 30  # of 12.8 ms: the syllables that short-time intelligibility is about
STEADY = 4096  # the size, in samples at 16 kHz, of windows that see how long phases stay: 256 ms
STEADY_SHARE = 0.15
PERIODIC_SHARE = 0.6
PERIODIC_BAND = (1000.0, 4000.0)  # Hz, where voices turn hoarse
PERIOD_WINDOW = 0.03  # seconds
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


def energy(decoded: torch.Tensor, other: torch.Tensor, samples: torch.Tensor, rate: int, floor: float) -> torch.Tensor:
    """f32[B]: generalised energy distance of `samples` from what a decoder makes of the same latents with two noises:
    ½·(D(decoded,samples) + D(other,samples) − D(decoded,other)), D being `spectral` without its envelopes, which are
    compared besides (after Gritsenko et al., 2020). A decoder that rings where the sound hisses, as the least D alone
    asks for, loses to one that hisses too. Where the sound is loud D(decoded,other) counts by LOUD only: there, being
    near to the sound is worth more than being as varied."""
    views = [list(_views(x.flatten(0, 2), rate, floor)) for x in (decoded, other, samples)]
    total = 0.0
    for a, b, s in zip(*views):
        total = total + 0.5 * (a.distance(s, s) + b.distance(s, s) - a.distance(b, s, LOUD))
    d, o, s = (x.flatten(0, 2) for x in (decoded, other, samples))
    d, o, s = (envelopes(x, rate) for x in (d, o, s))
    total = total / len(SIZES) + 0.5 * ENVELOPE_SHARE * (unlike(d, s) + unlike(o, s))
    return total.view(len(decoded), -1).mean(1)


def spectral(decoded: torch.Tensor, samples: torch.Tensor, rate: int, floor: float) -> torch.Tensor:
    """f32[B]: mean over window sizes of the mean absolute difference of log mel magnitudes (nepers), plus
    LINEAR_SHARE times the relative difference of the magnitudes themselves (after Yamamoto et al., 2020), plus
    BIN_SHARE times the mean difference of log magnitudes of single bins, PHASE_SHARE times the relative difference of
    spectra with their phases, and ENVELOPE_SHARE times how `unlike` their envelopes are."""
    d, s = decoded.flatten(0, 2), samples.flatten(0, 2)
    total = sum(a.distance(b, b) for a, b in zip(_views(d, rate, floor), _views(s, rate, floor)))
    total = total / len(SIZES) + ENVELOPE_SHARE * unlike(envelopes(d, rate), envelopes(s, rate))
    return total.view(len(decoded), -1).mean(1)


def steady(decoded: torch.Tensor, other: torch.Tensor, samples: torch.Tensor, rate: int, floor: float) -> torch.Tensor:
    """f32[B]: generalised energy distance, as in `energy`, of log magnitudes of single bins of long windows. Phases that a decoder
    gives to noise again and again are lines there, the same with either noise."""
    length = STEADY * max(1, round(rate / 16000))
    d, o, s = ((magnitudes(stft(x.flatten(0, 2), length), floor / 10) + floor / 4).log() for x in (decoded, other, samples))
    apart = 0.5 * ((d - s).abs() + (o - s).abs() - (d - o).abs()).mean((1, 2))
    return STEADY_SHARE * apart.view(len(decoded), -1).mean(1)


def hoarse(decoded: torch.Tensor, samples: torch.Tensor, frequency: torch.Tensor, step: int, rate: int) -> torch.Tensor:
    """f32[B] of sounds f32[B,1,1,N] of a voice of Hz f64[B,T] (0: none): by how much what is decoded correlates less at the pitch period
    than the sound itself, in `PERIODIC_BAND`; the mean of voiced frames."""
    size, longest = int(PERIOD_WINDOW * rate), rate // 50
    count = (samples.shape[3] - size - longest) // step + 1
    if count < 1:
        return samples.new_zeros(len(samples))
    voiced = (frequency[:, :count] > 0).float()
    lags = (rate / frequency[:, :count].clamp_min(rate / longest)).round().long()
    starts = torch.arange(count) * step
    here = (starts[:, None] + torch.arange(size)).flatten()
    later = (starts[:, None] + lags[:, :, None] + torch.arange(size)).flatten(1)
    found = []
    for x in (decoded, samples):
        band = _band(x[:, 0, 0], rate)
        a, b = band[:, here].view(len(x), count, size), band.gather(1, later).view(len(x), count, size)
        found.append((a * b).sum(2) * torch.rsqrt(a.square().sum(2) * b.square().sum(2) + 1e-12))
    short = F.relu(found[1] - found[0]) * voiced
    return PERIODIC_SHARE * short.sum(1) / voiced.sum(1).clamp_min(1)


def _band(x: torch.Tensor, rate: int) -> torch.Tensor:
    spectrum = _RealFourier.apply(x)
    hertz = torch.linspace(0, rate / 2, spectrum.shape[1])
    mask = ((hertz >= PERIODIC_BAND[0]) & (hertz < PERIODIC_BAND[1])).float()
    return torch.fft.irfft(spectrum * mask, n=x.shape[1])


@dataclass(frozen=True)
class View:
    """What one size of windows shows of sounds f32[B,N]; `bins` and `turned` of FINE windows only."""

    mel: torch.Tensor  # f32[B,frames,bands]
    log_mel: torch.Tensor
    size: torch.Tensor | None = None  # f32[B,frames,bins]: square roots of magnitudes
    log_size: torch.Tensor | None = None
    turned: torch.Tensor | None = None  # complex64[B,frames,bins]: the same with their phases

    def distance(self, other: View, reference: View, loud: float = 1.0) -> torch.Tensor:
        """f32[B], symmetric, relative to the level of `reference`; what is loud there weighs `loud`."""
        weight = _weights(reference.log_mel, loud)
        apart = ((self.log_mel - other.log_mel).abs() * weight).mean((1, 2))
        size = loud * LINEAR_SHARE / (reference.mel.sum((1, 2)) + 1e-2)
        apart = apart + size * (self.mel - other.mel).abs().sum((1, 2))
        if self.size is not None:
            phases = loud * magnitudes(self.turned - other.turned).sum((1, 2)) / (reference.size.sum((1, 2)) + 1.0)
            bins = ((self.log_size - other.log_size).abs() * _weights(reference.log_size, loud)).mean((1, 2))
            apart = apart + len(SIZES) * (PHASE_SHARE * phases + BIN_SHARE * bins)
        return apart


def _weights(logs: torch.Tensor, loud: float) -> torch.Tensor | float:
    """From 1 where log magnitudes f32[B,...] are more than NEAR_PEAK below their greatest, to `loud` where they are less."""
    if loud == 1.0:
        return 1.0
    return 1 - (1 - loud) * torch.sigmoid(2 * (logs - logs.amax((1, 2), keepdim=True) + NEAR_PEAK))


def _views(x: torch.Tensor, rate: int, floor: float):
    """A `View` of sounds f32[B,N] for every size; magnitudes below `floor` are all alike."""
    for size, bands in zip(SIZES, BANDS):
        length = size * max(1, round(rate / 16000))
        spectrum = stft(x, length)
        magnitude = magnitudes(spectrum, floor / 10)
        mel = magnitude @ mel_bank(length // 2 + 1, bands, rate)
        if size == FINE:
            root = magnitude.sqrt()
            yield View(mel, (mel + floor).log(), root, (magnitude + floor).log(), spectrum / root)
        else:
            yield View(mel, (mel + floor).log())


class _RealFourier(torch.autograd.Function):
    """torch.fft.rfft over the last dim, of even size, with half its work in the backward pass."""

    @staticmethod
    def forward(ctx, x):
        ctx.size = x.shape[-1]
        return torch.fft.rfft(x)

    @staticmethod
    def backward(ctx, gradient):
        weights = gradient.real.new_full((gradient.shape[-1],), ctx.size / 2)
        weights[0] = weights[-1] = ctx.size
        return torch.fft.irfft(gradient * weights, n=ctx.size)


def stft(x: torch.Tensor, length: int, overlap: int = 4) -> torch.Tensor:
    """f32[B,N] → complex64[B,frames,bins], windows of even `length`, every length/overlap samples, with silence outside;
    a full-scale sine has 0.5."""
    hop = length // overlap
    window = torch.hann_window(length)
    pieces = F.pad(x, (length // 2, length // 2 + -x.shape[1] % hop)).view(len(x), -1, hop)
    count = pieces.shape[1] - overlap + 1
    frames = torch.cat([pieces[:, i : i + count] for i in range(overlap)], 2)  # slices are quick to go back through
    return _RealFourier.apply(frames * (window / window.sum()))


def magnitudes(spectrum: torch.Tensor, least: float = 1e-5) -> torch.Tensor:
    return (spectrum.real.square() + spectrum.imag.square() + least**2).sqrt()


def envelopes(x: torch.Tensor, rate: int) -> torch.Tensor:
    """f32[B,segments,bands,frames] of sounds f32[B,N], silence behind what is shorter than a segment: envelopes of third-octave
    bands over segments of 0.4 s."""
    length = 2 * round(0.0128 * rate)
    x = F.pad(x, (0, max(0, (ENVELOPE_FRAMES - 1) * (length // 2) - x.shape[1])))
    bands = max(1, int(3 * math.log2(rate / 2 / LOWEST_BAND) + 0.5))
    edges = LOWEST_BAND * 2 ** ((torch.arange(bands + 1) - 0.5) / 3)
    bins = torch.linspace(0, rate / 2, length // 2 + 1)
    bank = ((bins[:, None] >= edges[:-1]) & (bins[:, None] < edges[1:])).float()
    spectrum = stft(x, length, 2)
    power = (spectrum.real.square() + spectrum.imag.square()) @ bank
    return (power + 1e-10).sqrt().unfold(1, ENVELOPE_FRAMES, ENVELOPE_FRAMES // 3)


def unlike(decoded: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
    """f32[B] of two `envelopes`: 1 - their mean correlation, as in short-time objective intelligibility (Taal et al.,
    2011), without its clipping."""
    d, s = (x - x.mean(3, keepdim=True) for x in (decoded, samples))
    power = samples.square().sum(3)
    weight = (power > QUIET * power.amax((1, 2), keepdim=True)).float()
    alike = (d * s).sum(3) * torch.rsqrt(d.square().sum(3) * s.square().sum(3) + 1e-16)
    return 1 - (alike * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1)
