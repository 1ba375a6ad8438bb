"""Recordings as the benchmark sees them: float samples at the file's own rate and channels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..bench.comparison import Comparison, Source, digest_of
from ..errors import InputError

if TYPE_CHECKING:
    from .file import Sound

SHORTEST, LONGEST = 0.1, 1800  # seconds
SPEECH_RATE = 16000  # Hz, up to which sound is taken for speech


@dataclass(frozen=True)
class SoundSource(Source):
    rate_hz: int
    channels: int
    length: int
    silent: bool

    @property
    def seconds(self) -> float:
        return self.length / self.rate_hz

    @property
    def extent(self) -> float:
        return 1000 * self.seconds

    def sizes(self):
        return {"rate_hz": self.rate_hz, "channels": self.channels, "length": self.length}


class Sounds(Comparison):
    key, noun, nouns = "sound", "recording", "recordings"
    rate_unit, rate_name, log_rate, highest_shown = "kbps", "kbit/s", True, 128.0
    speed_name, speed_extent = "s per s", 1000.0
    compared = "the decoded samples at the recording's own rate"
    suffixes = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64",
                ".rf64")
    codecs = ("vqcodec", "opus", "opus-packets")
    more_codecs = ("opus-voip",)
    metrics = ("visqol", "log-mel", "si-sdr", "pesq", "stoi", "periodicity", "pause-lines", "level-excess")
    more_metrics = ("estoi", "visqol-speech", "visqol-speech-exp", "visqol-audio")
    packages = ("soundfile", "soxr", "av", "visqol-python", "pesq", "pystoi")
    beside = ("vqcodec", "opus-packets", "opus")
    compare = (3.0, 6.0, 12.0)
    speech = ("visqol-speech", "visqol-speech-exp", "pesq", "stoi", "log-mel", "si-sdr", "periodicity", "pause-lines",
              "level-excess")
    audio = ("visqol-audio", "log-mel", "si-sdr", "level-excess")

    def codecs_by_name(self):
        from .peers import CODECS

        return CODECS

    def metrics_by_name(self):
        from .scores import METRICS

        return METRICS

    def gallery(self):
        from .players import Players

        return Players()

    def read(self, path: str | Path) -> Sound:
        import numpy as np
        import soundfile

        from .file import Sound

        try:
            with soundfile.SoundFile(path) as file:
                seconds, rate = file.frames / file.samplerate, file.samplerate
                if not SHORTEST <= seconds <= LONGEST:
                    raise InputError(f"{path}: {seconds:.3g} s long, and {SHORTEST:g} to {LONGEST} s can be compared")
                samples = file.read(dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
            raise InputError(f"{path}: cannot be read ({reason})") from error
        if not len(samples) or not np.isfinite(samples).all():
            raise InputError(f"{path}: has samples that are not numbers" if len(samples) else f"{path}: is cut short")
        return Sound(samples, rate)

    def source(self, path, content):
        samples = content.samples
        return SoundSource(path.name, str(path), digest_of(samples, content.rate), content.rate, samples.shape[1],
                           len(samples), not samples.any())

    def conformed(self, decoded, original):
        from .peers import conformed

        return conformed(decoded, original)

    def metric_names(self, asked, sources, codecs):
        """`visqol` is ViSQOL in speech mode where all models of vqcodec, or without one all recordings, have at most
        16 kHz, and in audio mode otherwise. By default also what else suits, as far as it is installed."""
        from .scores import METRICS, installed

        rates = [c.rate for c in codecs if c.spec.name == "vqcodec"] or [s.rate_hz for s in sources]
        speech = max(rates, default=0) <= SPEECH_RATE
        if asked is None:
            return [name for name in (self.speech if speech else self.audio) if installed(METRICS[name])]
        return [("visqol-speech" if speech else "visqol-audio") if name == "visqol" else name for name in asked]

    def probed(self, codecs, sources):
        from .probes import probed

        rates = [c.rate for c in codecs if c.spec.name == "vqcodec"] or [s.rate_hz for s in sources]
        return list(probed(codecs, 48000 if max(rates) > SPEECH_RATE else SPEECH_RATE))

    def summary(self, sources):
        seconds = sum(s.seconds for s in sources)
        length = f"{seconds / 60:.1f} minutes" if seconds >= 100 else f"{seconds:.1f} s"
        rates = sorted({s.rate_hz for s in sources})
        return f"{length}, " + ("" if len(rates) > 3 else ", ".join(f"{r / 1000:g}" for r in rates) + " kHz")
