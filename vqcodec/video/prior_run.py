"""`vqcodec train video`: the prior of frames that follow others, over a model of pictures that stands as it is.

A step takes some windows (`windows.py`), each at the frame where it was left, chooses the codewords of its next frames as an
encoder does, by distance and by what they cost given the frame before *as it was chosen*, and learns from them. So the prior
sees what its own choices lead to, also far from a key frame.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .. import signals
from ..errors import UsageError
from ..indices.context import logistic_bits
from ..indices.float_prior import ContextPrior, fill
from ..indices.led_prior import LedPrior
from ..indices.quantize import choose, codewords_of, layouts, nearest, neighbours, split_groups
from ..indices.tensors import forms
from ..picture.search import SEARCHES
from ..picture.synthesis import PATCH
from ..train.data import say
from ..train.optim import MuonAdam, parameter_groups
from ..zoo.loading import read_prior
from .config import VideoModelConfig
from .torch_codec import kept
from .windows import Windows, WindowsConfig

CALIBRATION_STEPS = 30


@dataclass(frozen=True)
class VideoTrainingConfig:
    seed: int = 0
    steps: int = 2400
    learning_rate: float = 8e-4
    decay_from: float = 0.3
    rounded_from: float = 0.75  # part of the steps after which the prior is rounded as its integer twin
    batch: int = 8  # windows
    unroll: int = 2  # frames of each in a step
    restart: float = 0.04  # chance of a window to begin again, with a key frame
    unlabelled: float = 0.1  # share of the frames of which the prior is not told the labels
    low_rate_weight: float = 0.3
    average: float = 0.998
    log_every: int = 50
    checkpoint_minutes: float = 4.0
    held_out: int = 6  # clips that are not learned from, chosen by a hash of their names; a quarter of all at most
    windows: WindowsConfig = field(default_factory=WindowsConfig)


class PriorRun:
    """State of a run in folder `out`: config.toml, windows.pt, state.pt, log.jsonl."""

    def __init__(self, model: VideoModelConfig, config, training: VideoTrainingConfig, base, out: Path):
        """config: `FramesConfig`; base: the `TorchCodec` of pictures."""
        self.model_config, self.config, self.training, self.base, self.out = model, config, training, base, Path(out)
        tensors = read_prior(base.entry, base.model)
        phases = [form.phases for form in forms(tensors, base.model)]
        torch.manual_seed(training.seed)
        self.layouts, self.codebooks = layouts(config.quantizer), base.coder.codebooks
        self.key = ContextPrior(base.model, phases).float()
        fill(self.key, tensors)
        self.key.eval().requires_grad_(False)
        if config.prior == base.model.prior:
            self.prior = LedPrior(config, phases)
            self.prior.start_from(tensors, self.codebooks)
        else:
            self.prior = LedPrior(config)
            self.prior.start_anew(tensors, self.codebooks)
        self.prior.train()
        self.weights = SEARCHES[config.transform.distortion].weights(self.layouts)
        lambdas = torch.tensor(config.transform.lambdas)
        weights = (lambdas / lambdas[-1]) ** -training.low_rate_weight
        self.sample_weights = weights / weights.mean()
        slices = [config.quantizer.present(level) for level in range(len(lambdas))]
        self.present = torch.tensor(slices)
        self.average = copy.deepcopy(self.prior).requires_grad_(False)
        self.optimizer = MuonAdam(parameter_groups(self.prior, "muon"), lr=training.learning_rate)
        self.step, self.seconds, self.stopping = 0, 0.0, False

    # --- state -------------------------------------------------------------------------------------------

    def begin(self, windows: Windows) -> None:
        self.windows = windows
        count, frames = windows.latents.shape[:2]
        self.at = torch.full((count,), frames - 1)  # the frame that is chosen; at the end, so that all begin anew
        self.chosen = torch.zeros(count, sum(s.groups for s in self.layouts), *windows.latents.shape[3:], dtype=torch.int16)
        path = self.out / "state.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.prior.load_state_dict(state["prior"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.at, self.chosen, self.step, self.seconds = (state[name] for name in ("at", "chosen", "step", "seconds"))
            self._set_mode(self.step)

    def save(self) -> None:
        state = dict(prior=self.prior.state_dict(), average=self.average.state_dict(), optimizer=self.optimizer.state_dict(),
                     at=self.at, chosen=self.chosen, step=self.step, seconds=self.seconds)
        torch.save(state, self.out / "state.tmp")
        os.replace(self.out / "state.tmp", self.out / "state.pt")

    # --- choices -----------------------------------------------------------------------------------------

    def grids(self, indices, shape) -> torch.Tensor:
        """int64[G,B·h·w] of each slice → int16[B,G,h,w]"""
        b, h, w = shape
        return torch.cat([each.view(-1, b, h, w).permute(1, 0, 2, 3) for each in indices], 1).short()

    def indices(self, grids: torch.Tensor) -> list[torch.Tensor]:
        return [grids[:, s.planes].long().permute(1, 0, 2, 3).flatten(1) for s in self.layouts]

    def values(self, indices, shape, level) -> torch.Tensor:
        values = codewords_of(indices, self.codebooks, shape)
        for i, s in enumerate(self.layouts):
            values[:, s.dims] *= self.present[level.long(), i, None, None, None]
        return values

    @torch.no_grad()
    def choose(self, prior, latents: torch.Tensor, level: torch.Tensor, before: list[torch.Tensor] | None) -> list[torch.Tensor]:
        """Indices int64[G,N] of each slice of least distance² + price, about: prices are those beside a first guess."""
        shape = (len(latents), *latents.shape[2:])
        guess = nearest(latents, self.codebooks, self.layouts)
        if before is not None:
            for i, s in enumerate(self.layouts):
                guess[i] = kept(guess[i], before[i], split_groups(latents[:, s.dims], s.d), self.codebooks[i])
        values, found = self.values(guess, shape, level), []
        for i, h in enumerate(prior.hidden(values, level)):
            s, vectors = self.layouts[i], split_groups(latents[:, self.layouts[i].dims], self.layouts[i].d)
            if s.d > 1:
                found.append(choose(vectors, self.codebooks[i], prior.categorical_bits(i, h), self.weights[i]))
                continue
            words = self.codebooks[i].squeeze(2)
            start, size = torch.zeros(s.groups, 1, dtype=torch.int64), torch.full((s.groups, 1), s.codewords)
            options = []
            for middle in (guess[i], *([] if before is None else [before[i]])):
                first, count = neighbours(middle, start, size, s.codewords)
                options.append(first[:, :, None] + torch.arange(count))
            near = torch.cat(options, 2)
            low, high, here = (table.gather(1, near.flatten(1)).view(near.shape) for table in (*prior.cells(self.codebooks[i]), words))
            price = logistic_bits(0.0, *prior.logistic(i, h), low, high).mul_(self.weights[i])
            best = price.add_((here - vectors).square_()).argmin(2, keepdim=True)
            found.append(near.gather(2, best).squeeze(2))
        return found

    def bits(self, prior, indices, values: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """f32[B]: of chosen codewords, under `prior`, in all."""
        total = 0.0
        for i, h in enumerate(prior.hidden(values, level)):
            s = self.layouts[i]
            if s.d == 1:
                low, high = (edge.gather(1, indices[i])[:, :, None] for edge in prior.cells(self.codebooks[i]))
                taken = logistic_bits(0.0, *prior.logistic(i, h), low, high).squeeze(2)
            else:
                taken = prior.categorical_bits(i, h).gather(2, indices[i][:, :, None]).squeeze(2)
            total = total + taken.view(s.groups, len(values), -1).sum((0, 2)) * self.present[level.long(), i]
        return total

    # --- a step ------------------------------------------------------------------------------------------

    def train_step(self) -> dict:
        t = self.training
        generator = torch.Generator().manual_seed(t.seed * 7919 + self.step)
        which = torch.randperm(len(self.at), generator=generator)[: t.batch]
        restart = (self.at[which] + t.unroll >= self.windows.latents.shape[1]) | (torch.rand(len(which), generator=generator) < t.restart)
        level, shape = self.windows.level[which], (len(which), *self.windows.latents.shape[3:])
        self._set_mode(self.step)
        self._set_rate(self.step / t.steps)
        at = torch.where(restart, 0, self.at[which])
        before = self.indices(self.chosen[which])
        if restart.any():
            first = self.windows.latents[which, 0].float()
            keys = self.choose(self.key, first, level, None)
            fresh = restart.view(-1, 1).expand(-1, shape[1] * shape[2]).flatten()
            before = [torch.where(fresh, new, old) for new, old in zip(keys, before)]
        seen, chosen = [self.values(before, shape, level)], []
        told = (torch.rand(len(which), t.unroll, 1, generator=generator) >= t.unlabelled).long()
        labels = [self.windows.labels[which, at + number] * told[:, number - 1] for number in range(1, t.unroll + 1)]
        for number in range(1, t.unroll + 1):
            latents = self.windows.latents[which, at + number].float()
            before = self.choose(self.prior.given(seen[-1], labels[number - 1]), latents, level, before)
            chosen.append(before)
            seen.append(self.values(before, shape, level))
        self.at[which], self.chosen[which] = at + t.unroll, self.grids(before, shape)
        indices = [torch.cat(parts, 1) for parts in zip(*chosen)]  # frames behind one another, as in a larger batch
        levels = level.repeat(t.unroll)
        bits = self.bits(self.prior.given(torch.cat(seen[:-1]), torch.cat(labels)), indices, torch.cat(seen[1:]), levels)
        bpp = bits / (shape[1] * shape[2] * PATCH**2)
        loss = (bpp * self.sample_weights[levels.long()]).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for p in self.prior.parameters() if p.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, 5.0).item()
        if math.isfinite(norm):
            self.optimizer.step()
        decay = min(t.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.prior.parameters()), 1 - decay)
        for mine, theirs in zip(self.average.buffers(), self.prior.buffers()):
            mine.copy_(theirs)
        self.step += 1
        return dict(loss=loss.item(), bpp=bpp.mean().item(), norm=norm)

    def _set_mode(self, step: int) -> None:
        begin = int(self.training.rounded_from * self.training.steps)
        mode = "float" if step < begin else "calibrate" if step < begin + CALIBRATION_STEPS else "quantized"
        if self.prior.mode != mode:
            for prior in (self.prior, self.average):
                prior.set_mode(mode)

    def _set_rate(self, progress: float) -> None:
        t = self.training
        fall = max(0.0, (progress - t.decay_from) / max(1e-9, 1 - t.decay_from))
        for group in self.optimizer.param_groups:
            group["lr"] = t.learning_rate * 0.5 * (1 + math.cos(math.pi * fall)) * min(1, (self.step + 1) / 50)

    def run(self, minutes: float | None = None) -> None:
        """All steps that are left, or those of so many `minutes`; SIGTERM and Ctrl-C stop it after a step."""
        with signals.calling(lambda: setattr(self, "stopping", True)):
            self._run(minutes)

    def _run(self, minutes: float | None) -> None:
        t, end = self.training, math.inf if minutes is None else time.time() + 60 * minutes
        window, saved = [], time.time()
        while self.step < t.steps:
            if self.stopping or time.time() > end:
                self.stopping = True
                break
            began = time.time()
            window.append(self.train_step())
            self.seconds += time.time() - began
            if self.step % t.log_every == 0 or self.step in (1, 10, t.steps):
                mean = {name: sum(row[name] for row in window) / len(window) for name in window[0]}
                pace = self.seconds / self.step
                say(f"prior {self.step}/{t.steps} loss {mean['loss']:.4f} {mean['bpp']:.4f} bpp norm {mean['norm']:.2f}, "
                    f"{pace:.2f} s a step, about {(t.steps - self.step) * pace / 60:.0f} min left")
                with open(self.out / "log.jsonl", "a") as file:
                    file.write(json.dumps(dict(step=self.step, seconds=round(self.seconds, 1), **mean)) + "\n")
                window = []
            if time.time() - saved > 60 * t.checkpoint_minutes:
                self.save()
                saved = time.time()
        self.save()


def check(training: VideoTrainingConfig) -> None:
    """Raises UsageError for values that no training could use."""
    w = training.windows
    if min(training.steps, training.batch, training.unroll, w.count, w.rows, w.columns) < 1 or w.frames <= training.unroll:
        raise UsageError("config: a run needs steps, windows, a batch, and more frames in a window than it unrolls")
    if training.batch > w.count or not 0 <= w.moved <= 1 or not 0 <= training.unlabelled <= 1:
        raise UsageError("config: 'training.batch' must be no more than there are windows, 'moved' and 'unlabelled' shares")
    if training.held_out < 0:
        raise UsageError("config: 'training.held_out' must be 0 or more")
