"""samples f32[B,C,1,N] ⇄ latents f32[B,D,1,N/step]: the analysis and synthesis networks of sound.

    samples ─┬ STFT ─┬─ log levels (of bins or bands) ── linear path (PCA at the start) ──────┐
             │       └─ log magnitudes, phases ─ blocks ─ down 2 ─ blocks ─ head ───────────(+)─┬─ · gain[q] → latents
             └ lapped transform ─ lowest coefficients ─ companded ──────────────────── tones ───┘

    latents ─ / gain[q] ─┬─ linear path ───────────────────────── log magnitudes ─┐
                         ├─ stem ─ blocks ─ up 2 ─ blocks ─┬─ head ──────────────(+)─ magnitude ─┐
                         │                                 └─ phase, share of noise ─── (+) ────(·)─ inverse STFT ─(+)→ samples
                         │                  noise ─ STFT ──────────────────────┘                                    │
                         └─ tones ─ expanded ─ inverse lapped transform ────────────────────────────────────────────┘

Two spectral frames make one latent frame of `step` samples. Blocks are dilated convolutions over time, dense
over channels, of finite reach, so that recordings can be worked on in pieces with halos. The decoder adds a share of
a fixed noise to its own phases, so that hiss need not be coded. Tones, in models that have them, are waveforms: the last
latent dims are the lowest coefficients of a lapped transform with their signs, for music's pitches live in phases that
no network makes from levels. Two channels go through as mid and side. Quality q is continuous as for pictures.
Spectral front and back ends after Vocos (Siuzdak, 2023); gains per quality after Cui et al. (2021).
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import lapped, synthesis
from .pitch import track
from .pulses import hertz, pulses
from ..indices.layers import QualityScale, lerp_rows, soften
from .config import AudioTransformConfig
from .synthesis import (  # noqa: F401
    FRAMES,
    LOG_CENTRE,
    LOG_LIMIT,
    LOG_SPREAD,
    OVERLAP,
    PULSE_BIAS,
    TONE_FLOOR,
    TONE_POWER,
    halo,
)

TONE_TILT = 500.0  # Hz, from where on errors of tones weigh more, as music gets softer
TONE_SHARE = 20.0  # of the squared error of tones in the distortion


class Block(nn.Module):
    """x + conv(silu(conv(soften(x)))) over time, kernels of 3, the first dilated."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation))
        self.conv2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x):
        return x + self.conv2(F.silu(self.conv1(soften(x))))


def window(hop: int) -> torch.Tensor:
    """f32[4·hop]: periodic Hann window; its squares overlap to 1.5."""
    return torch.hann_window(OVERLAP * hop, dtype=torch.float32)


def stft(samples: torch.Tensor, hop: int) -> torch.Tensor:
    """f32[B,C,1,N] → complex64[B,C,N/hop,bins]: frame t is centred on the samples [t·hop, (t+1)·hop), with
    silence outside; magnitudes are amplitudes of sines / 2."""
    length = OVERLAP * hop
    side = (length - hop) // 2
    frames = F.pad(samples.squeeze(2), (side, length - hop - side)).unfold(2, length, hop)
    shape = window(hop)
    return torch.fft.rfft(frames * (shape / shape.sum()))


def inverse_stft(spectrum: torch.Tensor, hop: int) -> torch.Tensor:
    """complex64[B,C,T,bins] → f32[B,C,1,T·hop]: least squares, by overlapping windows."""
    length = OVERLAP * hop
    side = (length - hop) // 2
    shape = window(hop)
    frames = torch.fft.irfft(spectrum, n=length) * (shape * shape.sum())
    b, c, t, _ = frames.shape
    pieces = frames.view(b, c, t, OVERLAP, hop)
    squares = shape.square().view(OVERLAP, hop)
    total = frames.new_zeros(b, c, t + OVERLAP - 1, hop)
    weight = frames.new_zeros(t + OVERLAP - 1, hop)
    for i in range(OVERLAP):
        total[:, :, i : i + t] += pieces[:, :, :, i]
        weight[i : i + t] += squares[i]
    whole = (total / weight.clamp_min(1e-3)).view(b, c, 1, -1)
    return whole[..., side : side + t * hop]


def to_mid_side(samples: torch.Tensor) -> torch.Tensor:
    """f32[B,2,1,N] of left and right → half their sum, half their difference. One channel stays as it is."""
    if samples.shape[1] == 1:
        return samples
    left, right = samples.split(1, 1)
    return torch.cat([left + right, left - right], 1) / 2


def from_mid_side(samples: torch.Tensor) -> torch.Tensor:
    """The inverse of `to_mid_side`."""
    if samples.shape[1] == 1:
        return samples
    mid, side = samples.split(1, 1)
    return torch.cat([mid + side, mid - side], 1)


def by_frames(x: torch.Tensor) -> torch.Tensor:
    """[B,C,T,bins] → [B,C·bins,1,T]"""
    b, c, t, bins = x.shape
    return x.permute(0, 1, 3, 2).reshape(b, c * bins, 1, t)


def by_bins(x: torch.Tensor, channels: int) -> torch.Tensor:
    """[B,C·bins,1,T] → [B,C,T,bins]: the inverse of `by_frames`."""
    b, _, _, t = x.shape
    return x.reshape(b, channels, -1, t).permute(0, 1, 3, 2)


def fold(x: torch.Tensor) -> torch.Tensor:
    """[B,C,1,2T] → [B,2C,1,T]"""
    b, c, _, t = x.shape
    return x.view(b, c, t // FRAMES, FRAMES).permute(0, 1, 3, 2).reshape(b, c * FRAMES, 1, t // FRAMES)


def unfold(x: torch.Tensor) -> torch.Tensor:
    """[B,2C,1,T] → [B,C,1,2T]: the inverse of `fold`."""
    b, c, _, t = x.shape
    return x.view(b, c // FRAMES, FRAMES, t).permute(0, 1, 3, 2).reshape(b, c // FRAMES, 1, t * FRAMES)


def band_of_bins(bins: int, bands: int, rate: int) -> torch.Tensor:
    """int64[bins]: cuts the bins up to half of `rate` into bands of equal width on the ear's scale (Glasberg and Moore,
    1990), of one bin at least."""
    hertz = torch.linspace(0, rate / 2, bins, dtype=torch.float64, device="cpu")  # even where a network is only sketched
    scale = torch.log10(1 + 0.00437 * hertz)
    wanted = scale / scale[-1] * bands
    numbers, band = [], 0
    for i, place in enumerate(wanted.tolist()):
        if i and band + 1 < bands and (place >= band + 1 or bins - i < bands - band):
            band += 1
        numbers.append(band)
    return torch.tensor(numbers, device="cpu")


def tone_weights(config: AudioTransformConfig) -> torch.Tensor:
    """f32[n]: what squared errors of the companded coefficients count in the distortion."""
    hertz = torch.cat([torch.arange(count) + 0.5 for count in config.tones]) * config.sample_rate / (2 * config.step)
    return TONE_SHARE * (1 + hertz / TONE_TILT)


def to_tones(samples: torch.Tensor, config: AudioTransformConfig) -> torch.Tensor:
    """Samples f32[B,C,1,N] as mid and side → companded coefficients f32[B,n,1,N/step], channel by channel."""
    coefficients = lapped.analyse(samples, config.step, max(config.tones))
    parts = [coefficients[:, i, :, :count] for i, count in enumerate(config.tones)]
    return power_of(torch.cat(parts, 2).transpose(1, 2)[:, :, None], TONE_POWER)


def from_tones(tones: torch.Tensor, config: AudioTransformConfig) -> torch.Tensor:
    """The inverse of `to_tones`, but for the coefficients that are not kept."""
    parts = power_of(tones, 1 / TONE_POWER).permute(0, 2, 3, 1).split(list(config.tones), 3)
    return torch.cat([lapped.synthesise(part, config.step) for part in parts], 1)


def power_of(x: torch.Tensor, power: float) -> torch.Tensor:
    """sign(x)·|x|^power"""
    return x.sign() * x.abs() ** power


def log_levels(magnitude: torch.Tensor, floor: float) -> torch.Tensor:
    """About -1..1"""
    return ((magnitude + floor).log() - LOG_CENTRE) / LOG_SPREAD


class Encoder(nn.Module):
    """Samples f32[B,C,1,N], N a multiple of `step` → latents f32[B,D,1,N/step] in quantiser units."""

    def __init__(self, config: AudioTransformConfig):
        super().__init__()
        self.config = config
        bins = config.channels * config.bins
        c1, c2 = config.widths
        levels = len(config.lambdas)
        averages = None  # f32[bins,bands]: mean powers of bands are powers of bins times this
        if config.bands:
            members = F.one_hot(band_of_bins(config.bins, config.bands, config.sample_rate), config.bands).float()
            averages = members / members.sum(0)
        self.register_buffer("averages", averages, persistent=False)
        self.linear = nn.Conv2d(FRAMES * config.channels * (config.bands or config.bins), config.network_dims, 1)
        self.stem = nn.Conv2d(3 * bins, c1, 1)
        self.blocks1 = nn.Sequential(*(Block(c1, d) for d in config.encoder_dilations[0]))
        self.down = nn.Conv2d(FRAMES * c1, c2, 1)
        self.condition = QualityScale(levels, c2)
        self.blocks2 = nn.Sequential(*(Block(c2, d) for d in config.encoder_dilations[1]))
        self.head = nn.Conv2d(c2, config.network_dims, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.log_gain = nn.Parameter(torch.zeros(levels, config.latent_dims))

    def levels(self, magnitude):
        """f32[B,C,T,bins] → f32[B,C,T,n]: log levels of single bins, or of the mean powers of bands, for the linear path.
        A tone makes the power of a band, but not the mean of its bins' logarithms."""
        if self.averages is not None:
            magnitude = (magnitude.square() @ self.averages).sqrt()
        return log_levels(magnitude, self.config.floor)

    def forward(self, samples, level):
        return self.latents(self.analysed(samples), level)

    def analysed(self, samples):
        """What all qualities have in common, as `latents` takes it."""
        channels = to_mid_side(samples)
        spectrum = stft(channels, self.config.hop)
        magnitude = spectrum.abs()
        logs = by_frames(log_levels(magnitude, self.config.floor))
        direct = self.linear(fold(logs if self.averages is None else by_frames(self.levels(magnitude))))
        turned = spectrum / (magnitude + self.config.floor)
        h = torch.cat([logs, by_frames(turned.real), by_frames(turned.imag)], 1)
        h = self.down(fold(self.blocks1(self.stem(h))))
        tones = to_tones(channels, self.config) if self.config.tones else None
        pitch = None
        if self.config.pitch_dims:
            pitch = track(samples[:, 0, 0].detach().float().cpu().numpy(), self.config.step, self.config.sample_rate)
        return direct, h, tones, pitch

    def latents(self, analysed, level):
        direct, h, tones, pitch = analysed
        h = self.blocks2(self.condition(h, level))
        latents = direct.float() + self.head(h).float()
        if tones is not None:
            latents = torch.cat([latents, tones], 1)
        latents = latents * lerp_rows(self.log_gain, level)[:, self.config.pitch_dims :].exp()[:, :, None, None]
        return latents if pitch is None else torch.cat([torch.from_numpy(pitch)[:, None, None], latents], 1)


class Decoder(nn.Module):
    """Latents f32[B,D,1,T] in quantiser units, noise f32[B,C,1,T·step] → samples f32[B,C,1,T·step]."""

    def __init__(self, config: AudioTransformConfig):
        super().__init__()
        self.config = config
        bins = config.channels * config.bins
        c1, c2 = config.widths
        levels = len(config.lambdas)
        self.linear = nn.Conv2d(config.network_dims, FRAMES * bins, 1)
        self.stem = nn.Conv2d(config.latent_dims, c2, 1)
        self.condition = QualityScale(levels, c2)
        self.blocks2 = nn.Sequential(*(Block(c2, d) for d in config.decoder_dilations[0]))
        self.up = nn.Conv2d(c2, FRAMES * c1, 1)
        self.blocks1 = nn.Sequential(*(Block(c1, d) for d in config.decoder_dilations[1]))
        self.head = nn.Conv2d(c1, bins, 1)
        self.phase_head = nn.Conv2d(c1, 3 * bins, 1)  # real, imaginary, share of noise
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.log_gain = nn.Parameter(torch.zeros(levels, config.latent_dims))
        if config.pitch_dims:
            self.pulse_head = nn.Conv2d(c1, bins, 1)  # share of pulses
            nn.init.zeros_(self.pulse_head.weight)
            nn.init.zeros_(self.pulse_head.bias)

    def forward(self, latents, level, noise=None, phases=None):
        """`noise`: white, uniform in -1..1; None: `white_noise` of the first positions. phases: cycles f64[B] of the pitch where the
        first frame begins; None: 0."""
        b, _, _, t = latents.shape
        if noise is None:
            noise = white_noise(0, t * FRAMES * self.config.hop, self.config.channels)[None].expand(b, -1, -1, -1)
        first = self.config.pitch_dims
        _, y, tones = self.unscaled(latents, level).tensor_split([first, first + self.config.network_dims], 1)
        direct = unfold(self.linear(y)).float()
        h = torch.cat([y, tones * torch.rsqrt(tones.abs() + TONE_FLOOR)], 1)
        if first:
            pitch = latents[:, 0, 0].detach().float().cpu().numpy()
            h = torch.cat([torch.from_numpy(synthesis.voice(pitch))[:, None, None], h], 1)
        h = self.blocks2(self.condition(self.stem(h), level))
        h = self.blocks1(unfold(self.up(h)))
        logs = by_bins(direct + self.head(h).float(), self.config.channels)
        real, imaginary, share = (by_bins(p, self.config.channels) for p in self.phase_head(h).float().chunk(3, 1))
        share = F.softplus(share)
        magnitude = (logs * LOG_SPREAD + LOG_CENTRE).clamp(max=LOG_LIMIT).exp()
        total = real.square() + imaginary.square() + share.square() + 1e-6
        if first:
            pulsed = by_bins(F.softplus(self.pulse_head(h).float() - PULSE_BIAS), 1)
            total = total + pulsed.square()
            trains = np.stack([pulses(hertz(row), self.config.step, self.config.sample_rate, phase)
                               for row, phase in zip(pitch, np.zeros(b) if phases is None else phases)])
            train = stft(torch.from_numpy(trains)[:, None, None], self.config.hop) * (
                pulsed * (2 * OVERLAP * self.config.hop / 3) ** 0.5)  # of mean power pulsed²
            real, imaginary = real + train.real, imaginary + train.imag
        scale = magnitude * torch.rsqrt(total)
        grain = stft(noise, self.config.hop) * (share * (2 * OVERLAP * self.config.hop) ** 0.5)  # of mean power share²
        spectrum = torch.complex((real + grain.real) * scale, (imaginary + grain.imag) * scale)
        channels = inverse_stft(spectrum, self.config.hop)
        if self.config.tones:
            channels = channels + from_tones(tones, self.config)
        return from_mid_side(channels)

    def unscaled(self, latents, level):
        """Latents without their gains: of tones, the companded coefficients."""
        return latents * lerp_rows(-self.log_gain, level).exp()[:, :, None, None]


def white_noise(first: int, count: int, channels: int) -> torch.Tensor:
    """`synthesis.white_noise`, f32[C,1,count]."""
    return torch.from_numpy(synthesis.white_noise(first, count, channels))[:, None]


def init_linear_path(encoder: Encoder, decoder: Decoder, samples: torch.Tensor, config: AudioTransformConfig) -> None:
    """Starts both linear paths as the PCA of log levels of `samples` f32[B,C,1,N], bins weighted as the ear
    resolves them, and the gains so that quantiser steps fall with λ from 2 nepers."""
    logs = fold(by_frames(encoder.levels(stft(to_mid_side(samples), config.hop).abs())))
    rows = logs.squeeze(2).permute(0, 2, 1).flatten(0, 1).double()
    hertz = torch.arange(config.bins, dtype=torch.float64) * config.sample_rate / (OVERLAP * config.hop)
    weights = torch.ones(config.bands, dtype=torch.float64) if config.bands else (1 / (1 + hertz / 700)).sqrt()
    weights = weights.repeat(config.channels).repeat_interleave(FRAMES)
    mean = rows.mean(0)
    centred = (rows - mean) * weights
    _, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
    basis = vectors.flip(1)[:, : config.network_dims].T  # [D, FRAMES·C·n]
    gains = torch.tensor([LOG_SPREAD / 2.0 * (lam / config.lambdas[0]) ** 0.4 for lam in config.lambdas])
    gains = gains[:, None].expand(-1, config.network_dims)
    if config.tones:  # where the slope of fine quantisation's rate against its weighed error is λ
        lambdas = torch.tensor(config.lambdas)[:, None]
        gains = torch.cat([gains, (config.step * math.log(2) / 6 * lambdas * tone_weights(config)).sqrt()], 1)
    members = torch.eye(config.bins) if encoder.averages is None else encoder.averages.sign()
    to_bins = torch.block_diag(*[members] * config.channels).double()
    with torch.no_grad():
        forward, backward = basis * weights, basis.T / weights[:, None]
        encoder.linear.weight.copy_(forward[:, :, None, None])
        encoder.linear.bias.copy_(-forward @ mean)
        # rows of `backward` and `mean` are those of `fold`: frames vary fastest
        spread = torch.einsum("bn,nfd->bfd", to_bins, backward.view(-1, FRAMES, backward.shape[1]))
        decoder.linear.weight.copy_(spread.flatten(0, 1)[:, :, None, None])
        decoder.linear.bias.copy_((to_bins @ mean.view(-1, FRAMES)).flatten())
        gains = F.pad(gains.log(), (config.pitch_dims, 0))
        encoder.log_gain.copy_(gains)
        decoder.log_gain.copy_(gains)
