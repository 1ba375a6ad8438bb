"""Configuration of training, of any medium."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..zoo.config import check_model

STAGES = ("soft", "vq", "prior", "decoder", "joint")  # what they do is told in `train/model.py`
SEARCHING = ("joint",)  # that are of media whose encoder searches


@dataclass(frozen=True)
class StageConfig:
    """One stage of training."""

    kind: str = "soft"  # one of STAGES
    steps: int = 1000
    learning_rate: float = 2e-3
    decay_from: float = 0.3  # part of the stage after which the rate falls to zero along a cosine
    batch: int = 16
    crop: int = 128
    late_crop: int = 192  # crop of the last 30 % of the steps, at the same pixels per batch
    head_steps: int = 0  # 'vq': first steps, in which only the prior learns
    search: int = 0  # all but 'soft': gradients of the encoder's search before codewords are chosen
    vary_search: float = 0.0  # share of the steps that draw from 1 to `search` gradients, to serve other efforts


@dataclass(frozen=True)
class TrainingConfig:
    seed: int = 0
    drawn: float = 0.15  # share of the crops that are drawn by program: flat colours, pages, charts (see `picture/drawn.py`)
    whole: bool = False  # a crop is a whole file: a picture scaled to it, a recording from its beginning, silence behind it
    unlabelled: float = 0.1  # share of the crops, of each kind of labels, of which the prior is not told the label
    validation: int = 12  # files set aside, chosen by a hash of their names; a quarter of all at most
    cache_megabytes: int = 4096  # of decoded files that each process keeps in memory (see `train/data.py`)
    device: str = "auto"  # 'cpu', 'cuda', or 'auto': what there is
    optimizer: str = "muon"  # or 'adam'
    assignment: str = "straight-through"  # or 'soft', 'noise'
    codebook_update: str = "gradient"  # or 'ema'
    codebook_decay: float = 0.99  # of the moving averages
    commitment: float = 0.25  # beta
    revive_every: int = 0  # steps between searches for dead codewords; 0: keep what Lloyd's fit placed in the tails
    low_rate_weight: float = 0.3  # a sample of quality λ weighs λ^-this
    average: float = 0.999  # decay of the averaged weights, which are the ones validated and exported
    log_every: int = 50
    validate_every: int = 1000
    checkpoint_minutes: float = 5.0
    stages: tuple[StageConfig, ...] = (
        StageConfig("soft", steps=10000),
        StageConfig("vq", steps=250, learning_rate=4e-4, head_steps=50),
        StageConfig("joint", steps=1500, learning_rate=4e-4, decay_from=1.0, search=3),
        StageConfig("joint", steps=2500, learning_rate=4e-4, decay_from=0.0, search=6, vary_search=0.25),
    )


def check(config):
    """Raises UsageError for values that no training could use. config: a run's, of any medium; it has `searches`, whether its
    encoders have a search, and `check`, for what else its medium asks."""
    choices = {
        "device": ("auto", "cpu", "cuda"),
        "optimizer": ("muon", "adam"),
        "assignment": ("straight-through", "soft", "noise"),
        "codebook_update": ("gradient", "ema"),
    }
    for key, allowed in choices.items():
        if getattr(config.training, key) not in allowed:
            raise UsageError(f"config: 'training.{key}' must be one of {', '.join(allowed)}")
    if config.training.validation < 0 or config.training.cache_megabytes < 1:
        raise UsageError("config: 'training.validation' must be 0 or more, 'training.cache_megabytes' 1 or more")
    for stage in config.training.stages:
        check_stage(stage, config.searches)
    if not 0 <= config.training.unlabelled <= 1:
        raise UsageError("config: 'training.unlabelled' is a share, from 0 to 1")
    if config.model.prior.labels and not config.training.whole:
        raise UsageError("config: 'prior.labels' are of whole files: 'training.whole' must be true")
    if config.training.whole and any(stage.crop != config.training.stages[0].crop or stage.late_crop != stage.crop
                                     for stage in config.training.stages):
        raise UsageError("config: with 'training.whole' all of 'crop' and 'late_crop' must be equal")
    if not 0 <= config.training.drawn <= 1:
        raise UsageError("config: 'training.drawn' is a share, from 0 to 1, of crops of pictures")
    config.check()
    check_model(config.model)
    return config


def check_stage(stage: StageConfig, searches: bool) -> None:
    """searches: whether there is a search. Raises UsageError."""
    kinds = STAGES if searches else tuple(kind for kind in STAGES if kind not in SEARCHING)
    if stage.kind not in STAGES:
        raise UsageError(f"config: unknown stage kind '{stage.kind}' (known: {', '.join(kinds)})")
    if stage.steps < 1 or stage.batch < 1 or stage.crop % 16 or stage.late_crop % 16:
        raise UsageError("config: stages need steps and batch of at least 1 and crops that are multiples of 16")
    if stage.kind not in kinds:
        raise UsageError(f"config: a '{stage.kind}' stage learns from the encoder's search, which is of pictures only "
                         f"(stages here: {', '.join(kinds)})")
    if stage.search < 0 or (stage.search and not searches):
        raise UsageError("config: 'search' counts gradients, and is of pictures only")
    if stage.search and stage.kind == "soft":
        raise UsageError("config: nothing is searched for in a 'soft' stage")
    if stage.kind in SEARCHING and not stage.search:
        raise UsageError(f"config: a '{stage.kind}' stage needs 'search': it is what the encoder learns from")
    if not 0 <= stage.vary_search <= 1 or (stage.vary_search and not stage.search):
        raise UsageError("config: 'vary_search' is a share, from 0 to 1, of the steps of a stage with 'search'")
