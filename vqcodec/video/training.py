"""Video, as training asks for it (`train/medium.py`): it has a run of its own (`prior_run.py`), since only a prior is trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from ..errors import InputError, UsageError
from ..picture.codec import Codec
from ..train.data import say, set_aside, split
from ..train.medium import Medium
from ..train.quantize_prior import integer_prior
from ..zoo import config as configuration
from ..zoo import registration, registry
from ..zoo.loading import read_prior
from .config import VideoModelConfig, frames_config
from .prior_run import PriorRun, VideoTrainingConfig, check
from .windows import Windows, find_clips, find_photographs

NO_TENSORS = ("codebook", "decoder", "encoder")  # the base has them


@dataclass(frozen=True)
class RunConfig:
    """What `vqcodec train video --config` reads."""

    model: VideoModelConfig = field(default_factory=VideoModelConfig)
    training: VideoTrainingConfig = field(default_factory=VideoTrainingConfig)


class Videos(Medium):
    modality, run_config, model_config = "video", RunConfig, VideoModelConfig

    @staticmethod
    def own_run(directories, config: Path | None, out: Path, export: str | None, models_dir, init, from_model: str | None,
                minutes: float | None) -> None:
        """As `train.run.train`. from_model: the base, a model of pictures."""
        if init is not None:
            raise UsageError("a prior of video starts from that of its base; give --from-model")
        out = Path(out)
        stored = out / "config.toml"
        path = config or (stored if stored.exists() else None)
        table = configuration.load_toml(path) if path else {}
        run_config = configuration.from_dict(RunConfig, table)
        check(run_config.training)
        entry = registry.find_by_name(from_model or run_config.model.base.name, models_dir, "image")
        wanted = run_config.model.base.fingerprint
        if wanted not in ("", entry.fingerprint.hex()):
            raise UsageError(f"model '{entry.name}' is not the base of this configuration: its fingerprint is another")
        base = Codec.open(entry, encoder=True)
        named = replace(run_config.model.base, name=entry.name, fingerprint=entry.fingerprint.hex())
        model = VideoModelConfig(named, run_config.model.prior if "prior" in table.get("model", {}) else base.model.prior)
        run_config = replace(run_config, model=model)
        frames, t = frames_config(model, base.model), run_config.training
        vectors = [i for i, d in enumerate(base.model.quantizer.dims) if d > 1]
        if any(model.prior.rank[i] != base.model.prior.rank[i] for i in vectors):
            raise UsageError("config: 'model.prior.rank' must be that of the base where slices have more than one dim a group")
        if model.prior.labels and t.windows.moved:
            raise UsageError("config: photographs that move have no labels: 'training.windows.moved' must be 0")
        if stored.exists():
            kept = configuration.from_dict(RunConfig, configuration.load_toml(stored))
            if kept.model != model or kept.training.windows != run_config.training.windows:
                raise UsageError(f"{out}: this run has another configuration; use another --out")
        if export:
            registration.check_new(export, registry.writable_dir(models_dir), "video")
        clips, photographs = find_clips(directories), find_photographs(directories)
        if not clips and not photographs:
            raise InputError("no video to learn from")
        clips, held_out = split(clips, set_aside(len(clips), run_config.training.held_out))
        if held_out:
            say(f"{len(clips)} clips to learn from; held out: {', '.join(path.name for path in held_out)}")
        out.mkdir(parents=True, exist_ok=True)
        stored.write_text(configuration.to_toml(run_config))
        run = PriorRun(model, frames, t, base, out)
        run.begin(Windows.load_or_make(out / "windows.pt", t.windows, clips, photographs, base, t.seed, model.prior.labels))
        run.run(minutes)
        if export and not run.stopping:
            export_model(run, export, models_dir)


def export_model(run: PriorRun, name: str, models_dir, model_id: int | None = None, status: str = "experimental"):
    """Turns a finished run into model `name` below `models_dir`, and registers it."""
    folder = run.out / "model"
    write_model(run, folder, f"# {name}\n\nA prior over {run.base.entry.name}, trained in {run.seconds / 60:.0f} minutes.\n")
    return registration.register(folder, name, registry.writable_dir(models_dir), id=model_id, status=status, modality="video")


@torch.no_grad()
def write_model(run: PriorRun, folder: Path, card: str) -> None:
    """config.toml, prior.safetensors, and files without tensors for what the base has."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(configuration.to_toml(run.model_config))
    for part in NO_TENSORS:
        save_file({}, folder / f"{part}.safetensors")
    average = run.average
    average.set_mode("quantized")
    books = [book.float() for book in run.codebooks]
    use = [torch.ones(len(run.config.transform.lambdas), s.groups, s.codewords, dtype=torch.int64) for s in run.layouts]
    tensors = integer_prior(average, books, run.config, use)
    windows = read_prior(run.base.entry, run.base.model)  # what key frames may use, so that the two can be told apart by no codeword
    tensors |= {name: value for name, value in windows.items() if name.endswith((".start", ".size"))}
    save_file(tensors, folder / "prior.safetensors")
    (folder / "card.md").write_text(card)
