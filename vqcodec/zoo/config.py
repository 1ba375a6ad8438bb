"""Model and training configuration: plain data classes read from TOML; unknown keys are errors."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import typing
from dataclasses import dataclass, field

from ..errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib


MS_SSIM_SIDE = 176  # least side whose coarsest of five scales still holds a window
SSIMULACRA2_SIDE = 128  # likewise
LEAST_SIDES = {"mse": 1, "ms-ssim": MS_SSIM_SIDE, "ssimulacra2": SSIMULACRA2_SIDE}  # of the crops of each distortion
REMEMBERED_PIXELS = 3 << 22  # of larger pictures the search remembers nothing between its steps, so that memory is bounded
ADDED_LATER = {"added_later": True}  # marks keys that older models lack: their defaults must never change
WIDE_DIMS = 32  # the prior sees the first dims, of large range, linearly too


@dataclass(frozen=True)
class TransformConfig:
    """Shape of the analysis and synthesis networks (see `transform.py`)."""

    latent_dims: int = 192
    channels: tuple[int, int, int] = (64, 128, 192)  # at 1/4, 1/8, 1/16 resolution
    encoder_blocks: tuple[int, int, int] = (1, 2, 2)
    decoder_blocks: tuple[int, int, int] = (1, 3, 3)
    lambdas: tuple[float, ...] = (0.0006, 0.00108, 0.00194, 0.0035, 0.0063, 0.0113, 0.0204, 0.0367)
    distortion: str = field(default="mse", metadata=ADDED_LATER)  # or 'ms-ssim', 'ssimulacra2' (see `distortion.py`)


    @property
    def grid_rank(self) -> int:
        return 2


@dataclass(frozen=True)
class AudioTransformConfig:
    """Shape of the analysis and synthesis networks of sound (see `audio_transform.py`)."""

    sample_rate: int = 16000  # Hz
    channels: int = 1  # or 2: coded together
    hop: int = 160  # samples per spectral frame; two of these make a latent frame
    chunk: int = 512  # latent frames that are coded together; part of what the model's streams mean
    latent_dims: int = 96
    widths: tuple[int, int] = (192, 256)  # of the networks at the rate of spectral and of latent frames
    encoder_dilations: tuple[tuple[int, ...], tuple[int, ...]] = ((1, 2), (1, 2, 4, 8))  # spectral, latent frames
    decoder_dilations: tuple[tuple[int, ...], tuple[int, ...]] = ((1, 2, 4, 8), (1, 2, 4))  # latent, spectral frames
    lambdas: tuple[float, ...] = (0.05, 0.12, 0.28, 0.65, 1.5, 3.6, 8.5, 20.0)
    bands: int = field(default=0, metadata=ADDED_LATER)  # per channel, of the encoder's linear path; 0: single bins
    floor: float = field(default=1e-4, metadata=ADDED_LATER)  # magnitudes below this are nothing; a full-scale sine has 0.5
    tones: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)  # lowest lapped coefficients of each channel among the latents

    @property
    def grid_rank(self) -> int:
        return 1

    @property
    def bins(self) -> int:
        return 2 * self.hop + 1

    @property
    def step(self) -> int:
        """Samples per latent frame."""
        return 2 * self.hop

    @property
    def network_dims(self) -> int:
        """Latent dims that the encoder's network makes; tones follow."""
        return self.latent_dims - sum(self.tones)


@dataclass(frozen=True)
class QuantizerConfig:
    """Product codebooks: slices of latent dims, each cut into groups of `dims` with K codewords."""

    slices: tuple[int, ...] = (4, 4, 8, 16, 56, 104)  # latent dims per slice, in coding order
    dims: tuple[int, ...] = (1, 1, 1, 1, 1, 2)  # dims per group, for each slice
    codewords: tuple[int, ...] = (256, 256, 128, 128, 96, 128)  # K per group, for each slice
    from_quality: tuple[int, ...] = field(default=(), metadata=ADDED_LATER)  # of each slice: below it the slice is absent; none: 1

    def present(self, level: float) -> tuple[bool, ...]:
        """Which slices there are at a level, counted from 0."""
        return tuple(level >= first - 1 for first in self.from_quality or (1,) * len(self.slices))


@dataclass(frozen=True)
class PriorConfig:
    """Shape of the context network that predicts the index grids (see `prior.py`)."""

    context_channels: tuple[int, ...] = (96, 96, 128, 128, 160, 192)  # hidden width for each slice
    rank: tuple[int, ...] = (6, 6, 6, 6, 6, 8)  # coefficients per group, for each slice


@dataclass(frozen=True)
class ModelConfig:
    transform: TransformConfig = field(default_factory=TransformConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)


@dataclass(frozen=True)
class AudioModelConfig:
    transform: AudioTransformConfig = field(default_factory=AudioTransformConfig)
    quantizer: QuantizerConfig = field(default_factory=lambda: QuantizerConfig(
        slices=(8, 24, 64), dims=(1, 1, 2), codewords=(128, 64, 128)))
    prior: PriorConfig = field(default_factory=lambda: PriorConfig(context_channels=(96, 128, 160), rank=(6, 6, 8)))


MODELS = {"image": ModelConfig, "audio": AudioModelConfig}


def from_dict(cls, data: dict, where: str = "", complete: bool = False):
    """Builds the data class `cls` from nested dicts. Raises UsageError for unknown keys or wrong types, and,
    if `complete`, for missing ones: what a published model means must not hang on defaults."""
    if not isinstance(data, dict):
        raise UsageError(f"config: [{where}] must be a table")
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    values = {}
    for key, value in data.items():
        path = f"{where}.{key}" if where else key
        if key not in known:
            raise UsageError(f"config: unknown key '{path}' (known: {', '.join(sorted(known))})")
        values[key] = _convert(hints[key], value, path, complete)
    needed = {f.name for f in dataclasses.fields(cls) if not f.metadata.get("added_later")}
    if complete and needed - set(values):
        raise UsageError(f"config: [{where}] lacks {', '.join(sorted(needed - set(values)))}")
    try:
        return cls(**values)
    except TypeError as error:
        raise UsageError(f"config: [{where}]: {error}") from None


def _convert(hint, value, path: str, complete: bool):
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, path, complete)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"config: '{path}' must be a list")
        args = typing.get_args(hint)
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise UsageError(f"config: '{path}' must have {len(args)} entries")
        return tuple(_convert(args[0], item, path, complete) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise UsageError(f"config: '{path}' is too large") from None
    if type(value) is not hint:
        raise UsageError(f"config: '{path}' must be {hint.__name__}, not {type(value).__name__}")
    return value


def load_toml(path) -> dict:
    """Reads a TOML file. Raises UsageError for a missing file or bad syntax."""
    try:
        with open(path, "rb") as file:
            return parse_toml(file.read(), path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def parse_toml(data: bytes, name) -> dict:
    """The table that TOML text `data` holds; `name` is for the message. Raises UsageError for bad syntax."""
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # TOML and UTF-8 errors are ValueErrors, and so are numbers of 5000 digits
        raise UsageError(f"{name}: {error}") from None


def to_toml(config, prefix: str = "") -> str:
    """Writes a (nested) data class as TOML; `from_dict(type(config), tomllib.loads(...))` gives it back."""
    lines, tables = [], []
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            tables.append(f"[{prefix}{f.name}]\n{to_toml(value, prefix + f.name + '.')}")
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            tables.extend(f"[[{prefix}{f.name}]]\n{to_toml(item)}" for item in value)
        else:
            lines.append(f"{f.name} = {_toml_value(value)}\n")
    return "\n".join(["".join(lines), *tables]) if tables else "".join(lines)


def _toml_value(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)


STAGES = ("soft", "vq", "prior", "decoder", "joint")  # what they do is told in `train/model.py`


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
    validation: int = 12  # pictures set aside, chosen by a hash of their names
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


@dataclass(frozen=True)
class AudioTrainingConfig(TrainingConfig):
    drawn: float = 0.0
    stages: tuple[StageConfig, ...] = (
        StageConfig("soft", steps=5000),
        StageConfig("vq", steps=350, learning_rate=4e-4),
        StageConfig("prior", steps=500, learning_rate=1e-3),
    )


@dataclass(frozen=True)
class RunConfig:
    """What `vqcodec train image --config` reads."""

    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


@dataclass(frozen=True)
class AudioRunConfig:
    """What `vqcodec train audio --config` reads; crops are counted in latent frames."""

    model: AudioModelConfig = field(default_factory=AudioModelConfig)
    training: AudioTrainingConfig = field(default_factory=AudioTrainingConfig)


RUNS = {"image": RunConfig, "audio": AudioRunConfig}


def check(config: RunConfig) -> RunConfig:
    """Raises UsageError for values that no training could use."""
    choices = {
        "optimizer": ("muon", "adam"),
        "assignment": ("straight-through", "soft", "noise"),
        "codebook_update": ("gradient", "ema"),
    }
    for key, allowed in choices.items():
        if getattr(config.training, key) not in allowed:
            raise UsageError(f"config: 'training.{key}' must be one of {', '.join(allowed)}")
    for stage in config.training.stages:
        if stage.kind not in STAGES:
            raise UsageError(f"config: unknown stage kind '{stage.kind}' (known: {', '.join(STAGES)})")
        if stage.steps < 1 or stage.batch < 1 or stage.crop % 16 or stage.late_crop % 16:
            raise UsageError("config: stages need steps and batch of at least 1 and crops that are multiples of 16")
        if stage.search < 0 or (stage.search and isinstance(config, AudioRunConfig)):
            raise UsageError("config: 'search' counts gradients, and is of pictures only")
        if stage.search and stage.kind == "soft":
            raise UsageError("config: nothing is searched for in a 'soft' stage")
        if stage.kind == "joint" and not stage.search:
            raise UsageError("config: a 'joint' stage needs 'search': it is what the encoder learns from")
        if not 0 <= stage.vary_search <= 1 or (stage.vary_search and not stage.search):
            raise UsageError("config: 'vary_search' is a share, from 0 to 1, of the steps of a stage with 'search'")
        kind = getattr(config.model.transform, "distortion", "mse")
        if (stage.kind != "prior" or stage.search) and min(stage.crop, stage.late_crop) < LEAST_SIDES.get(kind, 1):
            raise UsageError(f"config: {kind.upper()} needs crops of {LEAST_SIDES[kind]} pixels or more")
    if not 0 <= config.training.drawn <= 1 or (config.training.drawn and isinstance(config, AudioRunConfig)):
        raise UsageError("config: 'training.drawn' is a share, from 0 to 1, of crops of pictures")
    check_model(config.model)
    return config


@dataclass(frozen=True)
class Limits:
    """What a model's configuration may hold: of a number, or of each number in a list, least and most; of a list (and of
    each list in it), the most entries. Far from what sane models have: they keep a hostile one from costing much."""

    least: float
    most: float
    entries: int = 16  # 16 qualities are all that a stream's quality field can name


LIMITS = {
    TransformConfig: {
        "latent_dims": Limits(1, 1024),
        "channels": Limits(1, 1024),
        "encoder_blocks": Limits(0, 16),
        "decoder_blocks": Limits(0, 16),
        "lambdas": Limits(1e-9, 1e9),
    },
    AudioTransformConfig: {
        "sample_rate": Limits(1000, 192_000),
        "channels": Limits(1, 2),
        "hop": Limits(8, 2048),
        "chunk": Limits(16, 4096),
        "latent_dims": Limits(1, 1024),
        "widths": Limits(1, 1024),
        "encoder_dilations": Limits(1, 64, entries=8),
        "decoder_dilations": Limits(1, 64, entries=8),
        "lambdas": Limits(1e-9, 1e9),
        "bands": Limits(0, 512),
        "floor": Limits(1e-12, 0.5),
        "tones": Limits(0, 1024, entries=2),
    },
    QuantizerConfig: {"slices": Limits(1, 1024), "dims": Limits(1, 16), "codewords": Limits(2, 4096), "from_quality": Limits(1, 64)},
    PriorConfig: {"context_channels": Limits(1, 1024), "rank": Limits(1, 128)},  # rank: 1023·127·128 < 2^24
}
MAX_CODEWORDS = 1 << 15  # of all groups of a slice: at each position they have so many probabilities
MAX_CHUNK = 1 << 20  # samples


def check_limits(part, where: str) -> None:
    """Raises UsageError for a number in the data class `part` beyond its LIMITS."""
    for name, limits in LIMITS[type(part)].items():
        _check_within(getattr(part, name), limits, f"{where}.{name}")


def _check_within(value, limits: Limits, path: str) -> None:
    if isinstance(value, tuple):
        if len(value) > limits.entries:
            raise UsageError(f"config: '{path}' must have {limits.entries} entries at most")
        for item in value:
            _check_within(item, limits, path)
    elif not limits.least <= value <= limits.most:  # NaN is neither
        raise UsageError(f"config: '{path}' must be in {limits.least:g}..{limits.most:g}")


def of_model(entry, kind: type) -> ModelConfig | AudioModelConfig:
    """The config.toml of a registered model, of the data class `kind`. Raises UsageError for one that is not right, InputError
    and CorruptStreamError as `entry.read`. Needs no torch."""
    table = parse_toml(entry.read("config.toml"), f"model '{entry.name}': config.toml")
    try:
        return check_model(from_dict(kind, table, complete=True))
    except UsageError as error:
        raise UsageError(f"model '{entry.name}': {error}") from None


def check_model(model: ModelConfig | AudioModelConfig) -> ModelConfig | AudioModelConfig:
    """Raises UsageError for numbers beyond LIMITS and for shapes that do not fit together. What passes is safe to build:
    nothing is divided by zero, and nothing grows beyond what its own tensors (`schema.MAX_VALUES`) and these limits allow."""
    quantizer, transform = model.quantizer, model.transform
    for where, part in (("transform", transform), ("quantizer", quantizer), ("prior", model.prior)):
        check_limits(part, where)
    if not transform.lambdas or any(low >= high for low, high in zip(transform.lambdas, transform.lambdas[1:])):
        raise UsageError("config: 'transform.lambdas' must be one or more numbers in ascending order")
    if isinstance(transform, AudioTransformConfig):
        if transform.chunk * transform.step > MAX_CHUNK:
            raise UsageError(f"config: a 'transform.chunk' of {transform.chunk} frames has more than {MAX_CHUNK} samples")
        if transform.tones and len(transform.tones) != transform.channels:
            raise UsageError("config: 'transform.tones' needs one entry per channel, or none")
        if transform.network_dims < 1 or any(not 0 <= count <= transform.step for count in transform.tones):
            raise UsageError("config: 'transform.tones' must be in 0..2*hop and leave some of the latent_dims")
        least = -(-transform.network_dims // (2 * transform.channels))
        if transform.bands and not least <= transform.bands <= transform.bins:
            raise UsageError(f"config: 'transform.bands' must be 0 or in {least}..{transform.bins} for these latent_dims")
    else:
        if transform.distortion not in LEAST_SIDES:
            raise UsageError("config: 'transform.distortion' must be one of mse, ms-ssim, ssimulacra2")
        if any(count * share > LIMITS[TransformConfig]["channels"].most for count, share in zip(transform.channels, (4, 2, 1))):
            raise UsageError("config: 'transform.channels' must be 256, 512 and 1024 at most")
    if sum(quantizer.slices) != transform.latent_dims:
        raise UsageError("config: 'quantizer.slices' must add up to 'transform.latent_dims'")
    counts = {len(quantizer.slices), len(quantizer.dims), len(quantizer.codewords),
              len(model.prior.context_channels), len(model.prior.rank)}
    if len(counts) != 1:
        raise UsageError("config: slices, dims, codewords, context_channels and rank need one entry per slice")
    firsts = quantizer.from_quality
    if firsts and (len(firsts) != len(quantizer.slices) or firsts[0] != 1 or list(firsts) != sorted(firsts)
                   or firsts[-1] > len(transform.lambdas)):
        raise UsageError("config: 'quantizer.from_quality' needs one entry per slice, from 1 on, ascending, and no more than there are")
    if any(dims % d for dims, d in zip(quantizer.slices, quantizer.dims)):
        raise UsageError("config: each slice must be a multiple of its 'dims'")
    if any(dims // d * k > MAX_CODEWORDS for dims, d, k in zip(quantizer.slices, quantizer.dims, quantizer.codewords)):
        raise UsageError(f"config: the groups of a slice must have {MAX_CODEWORDS} codewords at most between them")
    if sum(quantizer.slices) > WIDE_DIMS and WIDE_DIMS not in itertools.accumulate(quantizer.slices):
        raise UsageError(f"config: a slice of 'quantizer.slices' must end at dim {WIDE_DIMS}")
    return model
