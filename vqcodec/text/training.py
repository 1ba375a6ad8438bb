"""Texts, as training asks for them (`train/medium.py`): `vqcodec train text` has a run of its own, `prime`, without networks."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ..errors import InputError, UsageError
from ..limits import Limits, check_limits
from ..train.medium import Medium
from ..zoo import config as configuration
from ..zoo import registration, registry
from . import prime
from .codec import KIND, MODALITY, TextModelConfig
from .tables import LEARNT, MAX_GROUPS


@dataclass(frozen=True)
class PrimeConfig:
    """thresholds: in how many pieces of 20 kB a byte must have followed a context, for each kind of context; groups: the most nibble
    contexts; weighed: one file in so many is not learnt; what was learnt is weighed by those."""

    LIMITS: ClassVar = {"thresholds": Limits(1, 1 << 20), "groups": Limits(1, MAX_GROUPS), "weighed": Limits(2, 1000)}

    thresholds: tuple[int, ...] = prime.THRESHOLDS
    groups: int = prime.GROUPS
    weighed: int = 20


@dataclass(frozen=True)
class RunConfig:
    """What `vqcodec train text --config` reads."""

    model: TextModelConfig = field(default_factory=lambda: TextModelConfig(KIND))
    training: PrimeConfig = field(default_factory=PrimeConfig)


class Texts(Medium):
    modality, run_config, model_config = MODALITY, RunConfig, TextModelConfig

    @staticmethod
    def own_run(directories, config: Path | None, out: Path, export: str | None, models_dir, init, from_model: str | None,
                minutes: float | None) -> None:
        """As `train.run.train`: a few minutes, which are not interrupted. The model's files come to `out`/model."""
        if init is not None or from_model is not None or minutes is not None:
            raise UsageError("a model of text is made at once, from nothing: no --init, --from-model or --minutes")
        found = configuration.from_dict(RunConfig, configuration.load_toml(config) if config else {})
        check_limits(found.training, "training")
        if found.model.kind != KIND or len(found.training.thresholds) != LEARNT:
            raise UsageError(f"config: 'model.kind' is \"{KIND}\", and 'training.thresholds' are {LEARNT} numbers")
        if export:
            registration.check_new(export, registry.writable_dir(models_dir), MODALITY)
        learnt, weighed = split(prime.texts(directories), found.training.weighed)
        if not learnt or not weighed:
            raise InputError(f"a model of text is made of two files of text at least, and of {found.training.weighed} or more best")
        tables = prime.learn(learnt, found.training.thresholds, found.training.groups)
        _say(f"learnt {len(tables.keys)} nibble contexts of {len(learnt)} texts")
        prime.export(prime.tune(tables, weighed, say=_say), folder := Path(out) / "model")
        (folder / "card.md").write_text(f"# {export or 'A model of text'}\n\nMade of {len(learnt)} texts, weighed by {len(weighed)}.\n")
        if export:
            registration.register(folder, export, registry.writable_dir(models_dir), modality=MODALITY)


def split(texts: list[bytes], every: int) -> tuple[list[bytes], list[bytes]]:
    """(to be learnt, to be weighed by): one in `every` is for the latter, one at least."""
    last = min(every, len(texts)) - 1
    return ([text for i, text in enumerate(texts) if i % every != last], [text for i, text in enumerate(texts) if i % every == last])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
