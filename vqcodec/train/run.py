"""`vqcodec train image|audio`: stages, checkpoints, logs. Resumes to the step: data, noise and qualities of a step
depend on the seed and the step alone."""

from __future__ import annotations

import copy
import json
import math
import os
import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from .. import medium as media
from .. import signals
from ..zoo import config as configuration
from ..errors import InputError, UnsupportedError, UsageError, VqcodecError, VqcodecWarning
from ..zoo.registration import check_new
from ..zoo.registry import REGISTRY, ModelEntry, find_by_name, writable_dir
from . import distributed
from .config import StageConfig, check
from .data import say, set_aside, split
from .medium import Medium, of_config
from .model import Model, centre_codebooks, start_codebooks
from .optim import MuonAdam, parameter_groups
from .restore import published_config
from .start import fitted, start_from_file, start_from_model

CALIBRATION_STEPS = 30
EARLY = (1, 10)  # steps that are shown before the first that is logged
RESTORE_BATCHES = 12
SPIKE = 20  # steps whose gradient is this many times the usual norm are skipped


@dataclass(frozen=True)
class StageKind:
    """What sets the stages apart (`train/model.py` tells what they are for). `frozen`: parts of the model that stand, if any
    do; the prior is then rounded as its integer twin, and a decoder that learns as its own, if it has one. `decoded`: distortion counts. `amortised`: the encoder learns from
    the search. `encoder_scale`: of the encoder's learning rate."""

    frozen: tuple[str, ...] = ()
    decoded: bool = True
    amortised: bool = False
    encoder_scale: float = 1.0


KINDS = {
    "soft": StageKind(),
    "vq": StageKind(),
    "prior": StageKind(frozen=("encoder", "quantizers", "decoder"), decoded=False),
    "decoder": StageKind(frozen=("encoder", "quantizers")),
    "joint": StageKind(frozen=("quantizers",), amortised=True, encoder_scale=0.5),  # its target moves with it
}


class Pace:
    """Seconds per step: the mean of the first ones, then one that follows the last fifty or so."""

    def __init__(self):
        self.count, self.mean = 0, 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.mean += (seconds - self.mean) / min(self.count, 50)


def device_of(name: str, medium: type[Medium]) -> torch.device:
    """name: of `TrainingConfig.device`. Raises UnsupportedError for a device that is not there, or not for this medium."""
    if name == "auto":
        name = "cuda" if medium.on_cuda and torch.cuda.is_available() else "cpu"
    if name == "cuda" and not medium.on_cuda:
        raise UnsupportedError(f"training.device is 'cuda', but models of {medium.modality} are trained on the CPU")
    if name == "cuda" and not torch.cuda.is_available():
        raise UnsupportedError("training.device is 'cuda', but PyTorch finds no such device")
    return torch.device(name)


class Trainer:
    """State of one run in folder `out`: config.toml, state.pt, log.jsonl, curves.png."""

    def __init__(self, config, directories, out: Path):
        self.config, self.out = check(config), Path(out)
        self.rank, self.world = distributed.start()
        t = config.training
        medium = of_config(config)
        self.device = device_of(t.device, medium)
        found = medium.find(directories)
        count = set_aside(len(found), t.validation)
        paths, held_out = split(found, count)
        fewer = f", not {t.validation}: a quarter at most" if count < t.validation else ""
        say(f"{len(found)} files: {len(paths)} to learn from, {count} set aside for validation{fewer}")
        self.medium = medium(config, paths)
        self.validation = [] if self.rank else list(self._usable(held_out))
        torch.manual_seed(t.seed)
        self.model = Model(config.model, assignment=t.assignment, update=t.codebook_update, decay=t.codebook_decay)
        self.lambdas = torch.tensor(config.model.transform.lambdas, device=self.device)
        weights = (self.lambdas / self.lambdas[-1]) ** -t.low_rate_weight
        self.sample_weights = weights / weights.mean()
        self.stage, self.step, self.pixels, self.seconds = 0, 0, 0, 0.0  # step within the stage
        self.usual_norm, self.skipped, self.revived = 1.0, 0, 0
        self.pace = Pace()
        self.stopping = False

    def _usable(self, paths):
        """Those that can be validated on: that one cannot is to be known before the first thousand steps are over."""
        for path in paths:
            try:
                self.medium.check_file(path)
                yield path
            except VqcodecError as error:
                warnings.warn(f"{error}: left out of validation", VqcodecWarning, stacklevel=2)

    # --- state -------------------------------------------------------------------------------------------

    def begin(self, init: Path | ModelEntry | None = None) -> None:
        """Starts from the run folder's checkpoint, else from the weights in `init` (a stageN.pt of another run, or a
        published model), else from the linear path. Raises InputError for a bad file, UsageError for weights of another
        shape, UnsupportedError for a decoder-only model."""
        state = self.out / "state.pt"
        if state.exists():
            self._load(torch.load(state, weights_only=True, map_location=self.device))
            return
        if isinstance(init, ModelEntry):
            batches = [tuple(part.cpu() for part in self.batch(-1000 - i, 128, 16)) for i in range(RESTORE_BATCHES)]
            start_from_model(self.model.eval(), init, batches, self.medium)
            self._codebooks_started = self.stage_config.kind != "soft"  # what soft training moves wants other codewords
        elif init is not None:
            start_from_file(self.model, init)
        else:
            self.medium.start(self.model)
        self._enter_stage()

    @property
    def stage_config(self) -> StageConfig:
        return self.config.training.stages[self.stage]

    def _enter_stage(self) -> None:
        """Optimiser and averaged weights are fresh in each stage; its parameters start from the averages."""
        if hasattr(self, "average"):
            self.model.load_state_dict(self.average.state_dict())
        self.model.to(self.device)
        kind = self.stage_config.kind
        if not self._codebooks_started and (kind == "vq" or KINDS[kind].frozen and not fitted(self.model)):
            batches = [self.batch(-1000 - i, 128, 16) for i in range(12)]
            with self.device:
                start_codebooks(self.model, *zip(*batches))
            self._codebooks_started = True
        centre_codebooks(self.model)
        for p in self.model.parameters():
            p.requires_grad_(True)
        if self.config.training.codebook_update == "ema":
            for q in self.model.quantizers:
                q.codebook.requires_grad_(False)
        for name in KINDS[kind].frozen:
            getattr(self.model, name).requires_grad_(False)
        self.model.train()
        self.model.prior.set_mode("calibrate" if KINDS[kind].frozen else "float")
        learns = KINDS[kind].frozen and "decoder" not in KINDS[kind].frozen
        self.model.rounded = bool(learns) and getattr(self.config.model.transform, "arithmetic", "float") == "integer"
        self._build_optimizer()
        self.average = copy.deepcopy(self.model)
        self.average.requires_grad_(False)

    _codebooks_started = False

    def _build_optimizer(self) -> None:
        self.model.to(memory_format=torch.channels_last)
        c = self.stage_config
        groups = parameter_groups(self.model, self.config.training.optimizer, encoder_scale=KINDS[c.kind].encoder_scale)
        self.optimizer = MuonAdam(groups, lr=c.learning_rate)

    def save(self) -> None:
        if self.rank:
            return
        state = dict(model=self.model.state_dict(), average=self.average.state_dict(),
                     optimizer=self.optimizer.state_dict(), stage=self.stage, step=self.step, pixels=self.pixels,
                     seconds=self.seconds, usual_norm=self.usual_norm, codebooks=self._codebooks_started)
        temporary = self.out / "state.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.out / "state.pt")

    def _load(self, state: dict) -> None:
        self.stage, self.step = state["stage"], state["step"]
        self.pixels, self.seconds, self.usual_norm = state["pixels"], state["seconds"], state["usual_norm"]
        self._codebooks_started = state["codebooks"]
        if self.stage >= len(self.config.training.stages):
            self.stage = len(self.config.training.stages) - 1
            self.step = self.stage_config.steps
        started, self._codebooks_started = self._codebooks_started, True
        self._enter_stage()
        self._codebooks_started = started
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    # --- one step ----------------------------------------------------------------------------------------

    def batch(self, step: int, size: int, count: int):
        """Samples f32[count,...] and their qualities f32[count]: made on the CPU, so that they depend on no device, and moved."""
        with torch.device("cpu"):
            samples = self.medium.batch(step, size, count, self.rank)
            generator = torch.Generator().manual_seed((step * 1000003 + self.rank) % 2**31)
            level = torch.randint(len(self.lambdas), (count,), generator=generator).float()
        return samples.to(self.device).contiguous(memory_format=torch.channels_last), level.to(self.device)

    def _train_step(self) -> dict:
        with self.device:  # what is made in a step is made there
            return self._step()

    def _step(self) -> dict:
        c, t = self.stage_config, self.config.training
        kind = KINDS[c.kind]
        progress = self.step / c.steps
        size = c.crop if progress < 0.7 else c.late_crop
        count = max(1, round(c.batch * (c.crop / size) ** 2))
        number = self.stage * 10**7 + self.step
        pixels, level = self.batch(number, size, count)
        labels = self.medium.labels(number, count, self.rank)
        labels = None if labels is None else labels.to(self.device)
        torch.manual_seed(t.seed * 7919 + number * 31 + self.rank)
        self._set_rate(progress)
        search = self._drawn_search(number)
        head_only = c.kind == "vq" and self.step < c.head_steps
        if kind.frozen and self.step >= CALIBRATION_STEPS and self.model.prior.mode != "quantized":
            for model in (self.model, self.average):
                model.prior.set_mode("quantized")
        if head_only:
            losses = self.model.frozen_losses(pixels, level, search, labels=labels)
        elif kind.frozen:
            losses = self.model.frozen_losses(pixels, level, search, decoded=kind.decoded, amortised=kind.amortised,
                                              labels=labels)
        elif c.kind == "vq":
            losses = self.model.vq_losses(pixels, level, t.commitment, search, labels)
        else:
            losses = self.model.soft_losses(pixels, level, labels)
        index = level.long()
        total = losses.bpp + self.lambdas[index] * losses.distortion + losses.saved
        loss = (total * self.sample_weights[index]).mean() + losses.auxiliary
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        distributed.average_([p.grad for p in parameters])
        norm = torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        told = torch.stack([loss, losses.bpp.mean(), losses.distortion.mean(), norm]).tolist()  # the one wait for the device
        norm = told[-1]
        if math.isfinite(norm) and (norm < max(SPIKE * self.usual_norm, 5.0) or self.step < 50):
            self.usual_norm += 0.02 * (min(norm, 5.0) - self.usual_norm)
            self.optimizer.step()
        else:
            self.skipped += 1
        self._update_average()
        if c.kind == "vq" and t.revive_every and (self.step + 1) % t.revive_every == 0 and not head_only:
            self._revive(pixels, level)
        self.step += 1
        self.pixels += self.medium.amount(size, count) * self.world
        return dict(zip(("loss", "bpp", "distortion", "norm"), told))

    def _drawn_search(self, number: int) -> int:
        """Gradients of the search in a step, the same in all processes, as none can go on before the others."""
        c, generator = self.stage_config, torch.Generator().manual_seed(number)
        vary = torch.rand((), generator=generator, device="cpu") < c.vary_search
        return int(torch.randint(1, c.search + 1, (), generator=generator, device="cpu")) if vary else c.search

    def _set_rate(self, progress: float) -> None:
        c = self.stage_config
        fall = max(0.0, (progress - c.decay_from) / max(1e-9, 1 - c.decay_from))
        rate = c.learning_rate * 0.5 * (1 + math.cos(math.pi * fall)) * min(1, (self.step + 1) / 100)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.training.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        if self.world > 1 and self.config.training.codebook_update == "ema":
            for q in self.model.quantizers:
                distributed.average_([q.count, q.total, q.codebook.data])
        for mine, theirs in zip(self.average.buffers(), self.model.buffers()):
            mine.copy_(theirs)

    @torch.no_grad()
    def _revive(self, pixels, level) -> None:
        latents = self.model.analyse(pixels, level)
        generator = torch.Generator(self.device).manual_seed(self.step)
        for s, q, averaged in zip(self.model.prior.layouts, self.model.quantizers, self.average.quantizers):
            if s.d > 1:  # scalar codewords stay in ascending order: the prior integrates over their cells
                dead = q.revive(latents[:, s.dims], generator)
                averaged.codebook.data[dead] = q.codebook.data[dead]
                self.revived += int(dead.sum())
        for q in self.model.quantizers:
            distributed.average_([q.codebook.data, q.count, q.total])

    # --- the loop ----------------------------------------------------------------------------------------

    def run(self, minutes: float | None = None) -> None:
        """All steps that are left, or those of so many `minutes`; SIGTERM and Ctrl-C stop it after a step."""
        with signals.calling(lambda: setattr(self, "stopping", True)):
            self._run(minutes)

    def _run(self, minutes: float | None) -> None:
        t, end = self.config.training, math.inf if minutes is None else time.time() + 60 * minutes
        window, window_pixels, window_time = [], self.pixels, time.time()
        saved = time.time()
        while True:
            if distributed.any_of(self.stopping or time.time() > end):  # all processes stop at the same step
                self.stopping = True
                break
            if self.step >= self.stage_config.steps:
                self.save_named(f"stage{self.stage}")
                if self.stage + 1 == len(t.stages):
                    break
                self.stage, self.step, self.pace = self.stage + 1, 0, Pace()
                self._enter_stage()
            began = time.time()
            window.append(self._train_step())
            self.seconds += time.time() - began
            self.pace.add(time.time() - began)
            speed = (self.pixels - window_pixels) / max(1e-9, time.time() - window_time)
            if self.step in EARLY and self.step % t.log_every and self.step < self.stage_config.steps:
                self._show(_means(window), speed)
            if self.step % t.log_every == 0 or self.step == self.stage_config.steps:
                self._log(window, speed)
                window, window_pixels, window_time = [], self.pixels, time.time()
            if t.validate_every and self.step % t.validate_every == 0:
                self.validate()
                window_time = time.time()
            if time.time() - saved > 60 * t.checkpoint_minutes:
                self.save()
                saved = time.time()
        self.save()
        if self.rank == 0:
            from .plots import draw_curves

            draw_curves(self.out / "log.jsonl", self.out / "curves.png")
        distributed.stop()

    def save_named(self, name: str) -> None:
        """Keeps the averaged weights of a finished stage."""
        if self.rank == 0:
            torch.save(self.average.state_dict(), self.out / f"{name}.pt")

    def _log(self, window, speed: float) -> None:
        if self.rank:
            return
        c = self.stage_config
        mean = _means(window)
        self._show(mean, speed)
        mean[self.medium.rate_unit] = self.medium.rate(mean.pop("bpp"))
        entry = dict(stage=c.kind, step=self.step, pixels=self.pixels, seconds=round(self.seconds, 1),
                     pixels_per_second=round(speed), skipped=self.skipped,
                     **{k: round(v, 5) for k, v in mean.items()})
        if c.kind == "vq":
            entry["perplexity"] = [round(q.perplexity().mean().item(), 2) for q in self.model.quantizers]
            entry["used"] = [round((q.count > 1e-3).float().mean().item(), 4) for q in self.model.quantizers]
            entry["revived"] = self.revived
        self._write(entry)

    def _show(self, mean: dict, speed: float) -> None:
        """One line on the terminal; mean: of the steps since the last."""
        c, unit = self.stage_config, self.medium.rate_unit
        left = (c.steps - self.step) * self.pace.mean
        end = f", about {duration(left)} left in this stage" if left else ", stage done"
        say(f"{c.kind} {self.step}/{c.steps} loss {mean['loss']:.4f} {self.medium.rate(mean['bpp']):.4f} {unit} "
            f"distortion {mean['distortion']:.4g} {speed / 1e6:.2f} {self.medium.unit}/s{end}")

    def _write(self, entry: dict) -> None:
        with open(self.out / "log.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")

    def validate(self) -> None:
        """Writes a rate–distortion table of the averaged weights on the files set aside."""
        if self.rank or not self.validation:
            return
        self.average.eval()
        rows = self.medium.validate(self.average, self.validation, self.stage_config.kind == "soft", self.stage_config.search)
        self._write(dict(validation=rows, stage=self.stage_config.kind, step=self.step))
        for row in rows:
            print("  validation " + ", ".join(f"{name} {value:g}" for name, value in row.items()), file=sys.stderr)


def _means(window: list[dict]) -> dict:
    return {k: sum(w[k] for w in window) / len(window) for k in window[0]}


def duration(seconds: float) -> str:
    """"40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def train(modality: str, directories, config: Path | None, out: Path, export: str | None = None, models_dir=None,
          init: Path | None = None, from_model: str | None = None, minutes: float | None = None) -> None:
    """Trains (or resumes) a run on files of a modality in `out`; with `export`, turns the finished run into the model of that name.
    A new run starts from the weights in `init`, a stageN.pt of another run, or from those of the published model
    `from_model`, if given; a published model's configuration stands in for that of a `config` without one. After so many
    `minutes`, if given, it stops, to be resumed.

    Raises UsageError for a bad configuration or one that differs from the run's, InputError for missing data,
    UnknownModelError and UnsupportedError for a model that is not there or cannot be trained on. What `export` would be
    refused for is refused before anything is trained.
    """
    if init is not None and from_model is not None:
        raise UsageError("a run starts from a file or from a published model, not from both")
    out = Path(out)
    stored = out / "config.toml"
    path = config or (stored if stored.exists() else None)
    trained = media.of_modality(modality).training()
    if trained is None:
        raise UsageError(f"models of {modality} cannot be trained")
    if trained.own_run is not None:
        trained.own_run(directories, config, out, export, models_dir, init, from_model, minutes)
        return
    kind = trained.run_config
    table = configuration.load_toml(path) if path else {}
    run_config = configuration.from_dict(kind, table)
    if from_model is not None:
        new = models_dir is not None and export and not (Path(models_dir) / REGISTRY).is_file()
        init = find_by_name(from_model, None if new else models_dir, modality)
        if "model" not in table:
            run_config = replace(run_config, model=published_config(init))
    if stored.exists():
        kept = configuration.from_dict(kind, configuration.load_toml(stored))
        if replace(kept, training=run_config.training) != run_config:
            raise UsageError(f"{out}: this run has another model configuration; use another --out")
    if export:
        check_new(export, writable_dir(models_dir), modality)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: {error.strerror}") from None
    trainer = Trainer(run_config, directories, out)
    if trainer.rank == 0:
        stored.write_text(configuration.to_toml(run_config))
    trainer.begin(init)
    trainer.run(minutes)
    if export and trainer.rank == 0 and not trainer.stopping:
        from .export import export_model

        export_model(trainer, export, models_dir)
