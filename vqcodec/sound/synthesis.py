"""latents f32[T,D] → samples f32[C,T·step] in NumPy: the synthesis network of `transform.Decoder`, for decoders without torch.

Kernels over time are three matrix products each. Results differ from torch's in rounding only.
"""

from __future__ import annotations

import math

import numpy as np

from ..indices.numpy_layers import interpolated, silu, soften
from .config import AudioTransformConfig
from .pulses import hertz, pulses

OVERLAP = 4  # windows over each sample
FRAMES = 2  # spectral frames per latent frame
LOG_CENTRE, LOG_SPREAD = -6.0, 2.0  # brings log magnitudes to about -1..1
LOG_LIMIT = 3.0  # of decoded log magnitudes
TONE_POWER = 0.7  # of coefficients as they are quantised: loud ones more coarsely
TONE_FLOOR = 1e-3  # of the companded coefficients whose square roots the decoder's network sees
PULSE_BIAS = 3.0  # of the softplus that gives the share of pulses
VOICE_CENTRE = 4.0  # octaves below the usual pitch: what the network sees where there is no voice
Shape = tuple[int, ...]


def shapes(config: AudioTransformConfig) -> dict[str, Shape]:
    """Of the weights in decoder.safetensors."""
    levels, bins, (c1, c2) = len(config.lambdas), config.channels * config.bins, config.widths
    found: dict[str, Shape] = {"log_gain": (levels, config.latent_dims)}

    def layer(name: str, inputs: int, outputs: int, length: int = 1) -> None:
        found.update({f"{name}.weight": (outputs, inputs, 1, length), f"{name}.bias": (outputs,)})

    layer("linear", config.network_dims, FRAMES * bins)
    layer("stem", config.latent_dims, c2)
    found.update({f"condition.{part}": (levels, c2) for part in ("scale", "bias")})
    layer("up", c2, FRAMES * c1)
    layer("head", c1, bins)
    layer("phase_head", c1, 3 * bins)
    if config.pitch_dims:
        layer("pulse_head", c1, bins)
    for stage, channels, dilations in ((2, c2, config.decoder_dilations[0]), (1, c1, config.decoder_dilations[1])):
        for i in range(len(dilations)):
            layer(f"blocks{stage}.{i}.conv1", channels, channels, 3)
            layer(f"blocks{stage}.{i}.conv2", channels, channels, 3)
    return found


def white_noise(first: int, count: int, channels: int) -> np.ndarray:
    """f32[C,count]: noise in -1..1 that depends on channel and sample number (from `first`) alone, so that pieces
    of a recording get what the whole would; bitstream_spec.md defines it."""
    number = (np.arange(first, first + count, dtype=np.int64) & 0xFFFFFFFF).astype(np.uint32)
    rows = []
    for channel in range(channels):
        x = number * np.uint32(0x9E3779B1) + np.uint32(channel * 0x85EBCA77 & 0xFFFFFFFF)
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x85EBCA6B)
        x ^= x >> np.uint32(13)
        x *= np.uint32(0xC2B2AE35)
        x ^= x >> np.uint32(16)
        rows.append((x >> np.uint32(8)).astype(np.float32) / np.float32(1 << 23) - 1)
    return np.stack(rows)


def halo(config: AudioTransformConfig) -> tuple[int, int]:
    """Latent frames on each side of a piece that its own frames depend on: (encoder, decoder)."""

    def reach(fine, coarse):
        edges = sum(d + 1 for d in fine) + OVERLAP // 2 + 1  # in spectral frames
        return sum(d + 1 for d in coarse) + -(-edges // FRAMES)

    encoder, decoder = config.encoder_dilations, config.decoder_dilations
    return reach(encoder[0], encoder[1]), reach(decoder[1], decoder[0])


class Layer:
    """A layer over time, f32[T,I] → f32[T,O] or, of `frames` frames for each, f32[T·frames,O/frames]; kernels of 3 are dilated,
    with zeros outside."""

    def __init__(self, weights: dict[str, np.ndarray], name: str, dilation: int = 1, frames: int = 1):
        weight, bias = weights[f"{name}.weight"][:, :, 0], weights[f"{name}.bias"]
        order = np.arange(len(bias)).reshape(-1, frames).T.ravel()
        self.matrices = [np.ascontiguousarray(weight[order, :, k].T) for k in range(weight.shape[2])]
        self.bias, self.dilation, self.frames = bias[order], dilation, frames

    def __call__(self, x: np.ndarray) -> np.ndarray:
        middle = len(self.matrices) // 2
        total = x @ self.matrices[middle] + self.bias
        if middle and len(x) > self.dilation:
            total[self.dilation :] += x[: -self.dilation] @ self.matrices[0]
            total[: -self.dilation] += x[self.dilation :] @ self.matrices[2]
        return total.reshape(len(x) * self.frames, -1)


class Synthesis:
    """The network, of weights f32 by their names in decoder.safetensors."""

    def __init__(self, weights: dict[str, np.ndarray], config: AudioTransformConfig):
        self.config = config
        self.log_gain, self.scale, self.bias = (weights[n] for n in ("log_gain", "condition.scale", "condition.bias"))
        self.linear, self.stem = Layer(weights, "linear", frames=FRAMES), Layer(weights, "stem")
        self.up, self.head, self.phase_head = Layer(weights, "up", frames=FRAMES), Layer(weights, "head"), Layer(weights, "phase_head")
        self.pulse_head = Layer(weights, "pulse_head") if config.pitch_dims else None
        self.blocks2, self.blocks1 = (
            [[Layer(weights, f"blocks{stage}.{i}.conv1", dilation), Layer(weights, f"blocks{stage}.{i}.conv2")]
             for i, dilation in enumerate(dilations)] for stage, dilations in zip((2, 1), config.decoder_dilations))
        self.window = np.float32(0.5) - np.float32(0.5) * np.cos(
            2 * np.pi / (OVERLAP * config.hop) * np.arange(OVERLAP * config.hop)).astype(np.float32)  # Hann's, periodic
        self.cosines = cosines(config.step, max(config.tones, default=0))

    def __call__(self, latents: np.ndarray, sixteenths: int, noise: np.ndarray, phase: float = 0.0) -> np.ndarray:
        """f32[T,D] in quantiser units at a quality in sixteenths, with noise f32[C,T·step] → f32[C,T·step]. phase: of the pitch, in
        cycles, where the first frame begins."""
        c, hop, first = self.config.channels, self.config.hop, self.config.pitch_dims
        with np.errstate(over="ignore", under="ignore"):
            _, y, tones = np.split(latents * np.exp(-interpolated(self.log_gain, sixteenths)), [first, first + self.config.network_dims], 1)
            x = np.concatenate([voice(latents[:, :first]), y, tones / np.sqrt(np.abs(tones) + np.float32(TONE_FLOOR))], 1)
            x = self.stem(x) * interpolated(self.scale, sixteenths) + interpolated(self.bias, sixteenths)
            x = residual(self.blocks1, self.up(residual(self.blocks2, x)))
            logs = self.linear(y)
            logs += self.head(x)
            real, imaginary, share = np.split(self.phase_head(x), 3, 1)
            share = np.logaddexp(share, np.float32(0))
            magnitude = np.exp(np.minimum(logs * np.float32(LOG_SPREAD) + np.float32(LOG_CENTRE), np.float32(LOG_LIMIT)))
            total = real * real + imaginary * imaginary + share * share + np.float32(1e-6)
            if self.pulse_head:
                pulsed = np.logaddexp(self.pulse_head(x) - np.float32(PULSE_BIAS), np.float32(0))
                total += pulsed * pulsed
                train = self.stft(pulses(hertz(latents[:, 0]), self.config.step, self.config.sample_rate, phase)[None])[0]
                pulsed *= np.float32((2 * OVERLAP * hop / 3) ** 0.5)  # of pulses, whose mean power is the square of their share then
                real, imaginary = real + train.real * pulsed, imaginary + train.imag * pulsed
            scale = magnitude / np.sqrt(total)
            share *= np.float32((2 * OVERLAP * hop) ** 0.5)  # of the noise, whose mean power is share² then
            grain = self.stft(noise).transpose(1, 0, 2).reshape(len(share), -1)
            spectrum = np.empty(share.shape, np.complex64)
            spectrum.real = (real + grain.real * share) * scale
            spectrum.imag = (imaginary + grain.imag * share) * scale
            channels = self.inverse_stft(spectrum.reshape(len(share), c, -1).transpose(1, 0, 2))
            if self.config.tones:
                channels += self.from_tones(tones)
        if c == 1:
            return channels
        mid, side = channels
        return np.stack([mid + side, mid - side])

    def stft(self, samples: np.ndarray) -> np.ndarray:
        """f32[C,N] → complex64[C,N/hop,bins], as `transform.stft`."""
        length, hop = OVERLAP * self.config.hop, self.config.hop
        side = (length - hop) // 2
        padded = np.pad(samples, ((0, 0), (side, length - hop - side)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, length, 1)[:, ::hop]
        return np.fft.rfft(frames * (self.window / self.window.sum())).astype(np.complex64, copy=False)

    def inverse_stft(self, spectrum: np.ndarray) -> np.ndarray:
        """complex64[C,T,bins] → f32[C,T·hop], as `transform.inverse_stft`."""
        length, hop = OVERLAP * self.config.hop, self.config.hop
        side = (length - hop) // 2
        frames = np.fft.irfft(spectrum, length).astype(np.float32, copy=False) * (self.window * self.window.sum())
        c, t, _ = frames.shape
        pieces, squares = frames.reshape(c, t, OVERLAP, hop), (self.window**2).reshape(OVERLAP, hop)
        total = np.zeros((c, t + OVERLAP - 1, hop), np.float32)
        weight = np.zeros((t + OVERLAP - 1, hop), np.float32)
        for i in range(OVERLAP):
            total[:, i : i + t] += pieces[:, :, i]
            weight[i : i + t] += squares[i]
        total /= np.maximum(weight, np.float32(1e-3))
        return total.reshape(c, -1)[:, side : side + t * hop]

    def from_tones(self, tones: np.ndarray) -> np.ndarray:
        """Companded coefficients f32[T,n] → f32[C,T·step], as `transform.from_tones`."""
        counts = self.config.tones
        coefficients = np.sign(tones) * np.abs(tones) ** np.float32(1 / TONE_POWER)
        parts = np.split(coefficients, [counts[0]], 1)[: len(counts)]
        root = np.float32(math.sqrt(self.config.step / 2))
        return np.stack([rotated(part @ self.cosines[:, : part.shape[1]].T * root).ravel() for part in parts])


def voice(pitch: np.ndarray) -> np.ndarray:
    """f32[T,0 or 1]: what the network sees of the pitch."""
    return np.where(hertz(pitch) > 0, pitch / np.float32(64), np.float32(-VOICE_CENTRE)).astype(np.float32)


def residual(blocks, x: np.ndarray) -> np.ndarray:
    """x + conv(silu(conv(soften(x)))), block by block; x is changed."""
    for first, second in blocks:
        x += second(silu(first(soften(x))))
    return x


def cosines(size: int, count: int) -> np.ndarray:
    """f32[size,count], as `lapped.cosines`."""
    angle = np.pi / size * (np.arange(size)[:, None] + 0.5) * (np.arange(count) + 0.5)
    return (np.cos(angle) * math.sqrt(2 / size)).astype(np.float32)


def rotated(frames: np.ndarray) -> np.ndarray:
    """f32[T,S]: both sides of each border are turned back, as by `lapped.rotate`; in place."""
    half = frames.shape[1] // 2
    angle = np.pi / (2 * frames.shape[1]) * (half + np.arange(half) + 0.5)
    cosine, sine = np.sin(angle).astype(np.float32), -np.cos(angle).astype(np.float32)
    before, after = frames[:-1, ::-1][:, :half].copy(), frames[1:, :half].copy()
    frames[1:, :half] = cosine * after + sine * before
    frames[:-1, frames.shape[1] - half :] = (cosine * before - sine * after)[:, ::-1]
    return frames
