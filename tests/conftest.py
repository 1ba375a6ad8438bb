"""A small model made in a second, real in every part but never trained beyond its start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

TINY_ID = 60000
TINY_SOUND_ID = 60001
TINY_EXACT_ID = 60005


def synthetic_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8[H,W,3]: smooth gradients, edges and some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    picture = np.empty((height, width, 3))
    for c in range(3):
        a, b, phase = rng.uniform(0.01, 0.06, 2).tolist() + [rng.uniform(0, 6)]
        picture[:, :, c] = 120 + 70 * np.sin(a * y + phase) + 50 * np.cos(b * x)
    picture[(y // 24 + x // 40) % 3 == 0] *= 0.6
    return np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)


def tiny_config():
    from vqcodec.indices.config import PriorConfig, QuantizerConfig
    from vqcodec.picture.config import ModelConfig, TransformConfig

    return ModelConfig(
        TransformConfig(latent_dims=24, channels=(8, 12, 16), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1),
                        lambdas=(0.0006, 0.002, 0.007)),
        QuantizerConfig(slices=(8, 16), dims=(1, 2), codewords=(256, 64)),
        PriorConfig(context_channels=(16, 24), rank=(4, 6)))


def make_tiny_model(folder, config=None, name="tiny", id=TINY_ID):
    """Puts a model of pictures into a models folder."""
    import torch

    from vqcodec.zoo import registration
    from vqcodec.train.export import write_model
    from vqcodec.train.model import Model, start_codebooks
    from vqcodec.picture.transform import init_linear_path

    torch.set_num_threads(1)  # tiny layers only lose by sharing
    torch.manual_seed(0)
    config = config or tiny_config()
    model = Model(config).eval()
    pictures = torch.stack([torch.from_numpy(synthetic_picture(128, 128, i)).permute(2, 0, 1) for i in range(12)])
    pictures = pictures.float() / 255
    patches = pictures.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 16, 16)
    init_linear_path(model.encoder, model.decoder, patches, config.transform.lambdas)
    batches = [(pictures[i : i + 4], torch.full((4,), float(i // 4))) for i in (0, 4, 8)]
    with torch.no_grad():
        start_codebooks(model, *zip(*batches))
        model.prior.set_mode("calibrate")
        for pixels, level in batches:
            model.frozen_losses(pixels, level)
    write_model(model, batches, folder / name, config, f"# {name}\n")
    registration.register(folder / name, name, id=id, status="default", models_dir=folder)


def synthetic_sound(count: int, channels: int = 1, rate: int = 8000, seed: int = 0) -> np.ndarray:
    """f32[count,channels]: gliding harmonics that come and go, and some hiss."""
    rng = np.random.default_rng(seed)
    t = np.arange(count) / rate
    out = np.empty((count, channels))
    for c in range(channels):
        phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * (0.7 + 0.2 * c) * t + seed)) / rate
        voice = sum(np.sin(k * phase) / k for k in range(1, 9))
        out[:, c] = 0.15 * voice * (np.sin(2 * np.pi * 1.3 * t + c) > -0.3) + rng.normal(0, 0.01, count)
    return out.astype(np.float32)


def tiny_audio_config():
    from vqcodec.indices.config import PriorConfig, QuantizerConfig
    from vqcodec.sound.config import AudioModelConfig, AudioTransformConfig

    return AudioModelConfig(
        AudioTransformConfig(sample_rate=8000, hop=40, chunk=64, latent_dims=24, widths=(12, 16),
                             encoder_dilations=((1,), (1, 2)), decoder_dilations=((1, 2), (1,)), lambdas=(0.2, 1.0, 5.0)),
        QuantizerConfig(slices=(8, 16), dims=(1, 2), codewords=(128, 64)),
        PriorConfig(context_channels=(16, 24), rank=(4, 6)))


def make_tiny_audio_model(folder, config=None, name="tinysound", id=TINY_SOUND_ID):
    """Puts a model of sound into a models folder."""
    import torch

    from vqcodec.zoo import registration
    from vqcodec.sound.transform import init_linear_path
    from vqcodec.train.export import write_model
    from vqcodec.train.model import Model, start_codebooks

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = config or tiny_audio_config()
    model = Model(config).eval()
    t = config.transform
    sounds = np.stack([synthetic_sound(128 * t.step, t.channels, t.sample_rate, i).T[:, None] for i in range(12)])
    sounds = torch.from_numpy(sounds)
    init_linear_path(model.encoder, model.decoder, sounds, t)
    torch.nn.init.normal_(model.encoder.head.weight, 0, 0.02)  # so that all of the networks' reach is felt
    torch.nn.init.normal_(model.decoder.head.weight, 0, 0.02)
    batches = [(sounds[i : i + 4], torch.full((4,), float(i // 4))) for i in (0, 4, 8)]
    with torch.no_grad():
        start_codebooks(model, *zip(*batches))
        model.prior.set_mode("calibrate")
        for samples, level in batches:
            model.frozen_losses(samples, level)
    write_model(model, batches, folder / name, config, f"# {name}\n")
    registration.register(folder / name, name, id=id, status="default", models_dir=folder, modality="audio")


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory):
    """A models folder with one model, "tiny"."""
    folder = tmp_path_factory.mktemp("models")
    make_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_exact_dir(tmp_path_factory):
    """A models folder with one model, "tinyexact", which decodes in integers."""
    folder = tmp_path_factory.mktemp("models")
    config = tiny_config()
    make_tiny_model(folder, replace(config, transform=replace(config.transform, arithmetic="integer")), "tinyexact", TINY_EXACT_ID)
    return folder


@pytest.fixture(scope="session")
def tiny_audio_dir(tmp_path_factory):
    """A models folder with "tiny" of images and "tinysound" of sound."""
    folder = tmp_path_factory.mktemp("models")
    make_tiny_model(folder)
    make_tiny_audio_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_text_dir(tmp_path_factory):
    """A models folder with one model, "tinytext"."""
    from text_samples import make_tiny_text_model

    folder = tmp_path_factory.mktemp("models")
    make_tiny_text_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_video_dir(tmp_path_factory):
    """A models folder with "tiny" of images, "tinysound" of sound and "tinyvideo" of video."""
    from video.clips import clip, moving
    from video.video_models import make_tiny_video_model

    folder = tmp_path_factory.mktemp("models")
    make_tiny_model(folder)
    make_tiny_audio_model(folder)
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    path.write_bytes(clip(moving(20, 64, 80)))
    make_tiny_video_model(folder, [path])
    return folder
