"""A model of video, its prior hardly trained, over the small model of pictures."""

from __future__ import annotations

import shutil

TINY_VIDEO_ID = 60003


def make_tiny_video_model(folder, clips):
    """Puts a model "tinyvideo" into a models folder that has "tiny"."""
    import torch

    from vqcodec.picture.codec import Codec
    from vqcodec.video.config import BaseConfig, VideoModelConfig, frames_config
    from vqcodec.video.prior_run import PriorRun, VideoTrainingConfig
    from vqcodec.video.training import export_model
    from vqcodec.video.windows import Windows, WindowsConfig
    from vqcodec.zoo import registry

    torch.set_num_threads(1)
    entry = registry.find_by_name("tiny", folder)
    base = Codec.open(entry, encoder=True)
    windows = WindowsConfig(count=4, frames=6, rows=3, columns=4, moved=0.0)
    training = VideoTrainingConfig(steps=6, batch=4, rounded_from=0.0, windows=windows, checkpoint_minutes=60)
    model = VideoModelConfig(BaseConfig("tiny", entry.fingerprint.hex()), base.model.prior)
    out = folder / "run"
    out.mkdir()
    run = PriorRun(model, frames_config(model, base.model), training, base, out)
    run.begin(Windows.make(windows, clips, [], base, 0))
    for _ in range(training.steps):
        run.train_step()
    run.prior.set_mode("quantized")
    export_model(run, "tinyvideo", folder, model_id=TINY_VIDEO_ID, status="default")
    shutil.rmtree(out)
