"""The codecs of sound that are compared, one class each. A new one is a subclass of `BenchCodec` named in `CODECS`.

What they decode may have another sampling rate than what they coded: `conformed` takes it back.

    codec = CodecSpec("opus", medium="sound").open()
    data = codec.encode(sound, 12)
    decoded = conformed(codec.decode(data), sound)
"""

from __future__ import annotations

import io

import numpy as np

from ..errors import InputError
from .file import Sound
from ..bench.codecs import VQCODEC_COLOURS, BenchCodec, CodecSpec
from ..bench.packages import require

EXTRA = "benchmark-sound"
_SLACK = 8  # samples
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)


class Opus(BenchCodec):
    """RFC 6716 by libopus in an Ogg file (RFC 7845) of the fewest pages, without comments. Settings are kbit/s, of
    all channels together.

    The container costs 97 bytes, 27 for every 255 packets and one for every packet of less than 255 bytes: 0.3 kbit/s
    with 6 s of speech, 0.2 kbit/s with a minute. `OpusPackets` is the same without it. Frames of 60 ms take 0.3 to 0.5 kbit/s less
    than those of 20 ms, at equal or better figures, on LibriSpeech at 6 to 24 kbit/s by all metrics here."""

    label, extension, colours = "Opus", "opus", ("#1c7ed6",)
    application = "audio"
    note = ("libopus, complexity 10, VBR, frames of 60 ms, application 'audio'; the whole Ogg file counts, with the "
            "fewest pages")
    settings = (6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64)
    fine = tuple(6 * 1.02**i for i in range(156))  # to 129

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        av = require("av", f"codec '{spec.name}'", EXTRA)
        if "libopus" not in av.codecs_available:
            raise InputError(f"codec '{spec.name}': this PyAV has no libopus")

    @property
    def version(self) -> str:
        import av
        import soundfile

        libraries = ".".join(map(str, av.library_versions["libavcodec"]))
        return f"PyAV {av.__version__}, libavcodec {libraries}, decoded by {soundfile.__libsndfile_version__}"

    def encode(self, sound: Sound, setting: float) -> bytes:
        """Raises InputError for more than two channels."""
        import av

        samples, rate = _for_opus(sound)
        layout = "mono" if samples.shape[1] == 1 else "stereo"
        buffer = io.BytesIO()
        options = {"application": self.application, "vbr": "on", "compression_level": "10", "frame_duration": "60",
                   "b": str(round(setting * 1000))}
        with av.open(buffer, "w", format="ogg", options={"page_duration": str(60_000_000)}) as container:
            container.flags |= av.container.Flags.bitexact.value  # neither encoder's name nor random numbers
            stream = container.add_stream("libopus", rate=rate, options=options)
            stream.layout, stream.format = layout, "flt"
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            for part in (frame, None):
                container.mux(stream.encode(part))
        return buffer.getvalue()

    def decode(self, data: bytes) -> Sound:
        import av

        with av.open(io.BytesIO(data)) as container:  # libsndfile refuses some files of few pages
            frames = list(container.decode(audio=0))
        planes = [frame.to_ndarray() for frame in frames]
        if frames[0].format.is_packed:
            planes = [plane.reshape(-1, frame.layout.nb_channels).T for plane, frame in zip(planes, frames)]
        return Sound(np.ascontiguousarray(np.concatenate(planes, 1).T, np.float32), frames[0].sample_rate)

    def describe(self, setting: float) -> str:
        return f"{setting:.4g} kbit/s"


class OpusPackets(Opus):
    """`Opus`, but only the bytes of its packets count: the least that any container, or none, could take."""

    label, colours = "Opus packets", ("#2f9e44",)
    note = ("libopus, complexity 10, VBR, frames of 60 ms, application 'audio'; only the packets' bytes count, as if no "
            "container were needed")

    def size(self, data: bytes) -> int:
        import av

        with av.open(io.BytesIO(data)) as container:
            return sum(packet.size for packet in container.demux())


class OpusVoip(OpusPackets):
    """With application 'voip': on speech higher by PESQ (0.1 at 10 kbit/s), lower by log-mel distance and by ViSQOL
    with its exponential mapping."""

    label, application, colours = "Opus voip packets", "voip", ("#0c8599",)
    note = OpusPackets.note.replace("'audio'", "'voip'")


class VqcodecSound(BenchCodec):
    """vqcodec's models of modality audio."""

    extension, colours = "vq", VQCODEC_COLOURS

    def __init__(self, spec: CodecSpec):
        super().__init__(spec)
        from ..zoo import registry
        from .codec import AudioCodec

        self._use(AudioCodec.open(registry.find_by_name(spec.model, spec.models_dir, modality="audio")))

    def _use(self, codec) -> None:
        self._codec = codec
        entry = codec.entry
        self.label, self.rate = f"vqcodec {entry.name}", codec.rate
        self.note = f"model {entry.name} ({entry.hash.hex()}), {codec.rate} Hz; the whole stream counts"
        highest = codec.qualities
        self.settings = tuple(float(q) for q in range(1, highest + 1))
        self.fine = tuple(1 + i / 16 for i in range(16 * (highest - 1) + 1))

    @property
    def version(self) -> str:
        import torch

        from ..version import __version__

        files = ",".join(self._codec.entry.sha256.values())
        return f"vqcodec {__version__}, torch {torch.__version__}, model {files}"

    def encode(self, sound: Sound, setting: float) -> bytes:
        return self._codec.encode(sound, setting).data

    def decode(self, data: bytes) -> Sound:
        return self._codec.decode(data)


CODECS: dict[str, type[BenchCodec]] = {"vqcodec": VqcodecSound, "opus": Opus, "opus-packets": OpusPackets,
                                      "opus-voip": OpusVoip}


def _for_opus(sound: Sound) -> tuple[np.ndarray, int]:
    """float32[N,C], C-contiguous, at the nearest rate above that Opus codes."""
    if sound.samples.shape[1] > 2:
        raise InputError("Opus is compared on one or two channels only")
    rate = next((r for r in _OPUS_RATES if r >= sound.rate), _OPUS_RATES[-1])
    samples = sound.samples if rate == sound.rate else _resampled(sound.samples, sound.rate, rate)
    return np.ascontiguousarray(samples, np.float32), rate


def conformed(decoded: Sound, reference: Sound) -> Sound:
    """`decoded` at the reference's rate and length: it may have another rate, and after resampling a few samples more
    or less. Raises ValueError where it is another sound."""
    samples, length = decoded.samples, len(reference.samples)
    if decoded.rate != reference.rate:
        samples = _resampled(samples, decoded.rate, reference.rate)
    if samples.shape[1:] != reference.samples.shape[1:] or abs(len(samples) - length) > _SLACK:
        raise ValueError(f"{list(reference.samples.shape)} is decoded as {list(samples.shape)}")
    return Sound(np.pad(samples[:length], ((0, max(0, length - len(samples))), (0, 0))), reference.rate)


def _resampled(samples: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    return require("soxr", "resampling", EXTRA).resample(samples, rate_in, rate_out, quality="VHQ")
