"""Bytes of sound files to do damage to."""

from __future__ import annotations

import functools
import io
import struct

import numpy as np
import soundfile
from conftest import synthetic_sound


@functools.cache
def encoded(kind: str, subtype: str | None = None, *, seconds: float = 2.0, rate: int = 48000, channels: int = 1,
            seed: int = 0) -> bytes:
    """A file of libsndfile's."""
    samples = synthetic_sound(round(seconds * rate), channels, rate) * 0.5
    samples += np.random.default_rng(seed).normal(0, 0.01, samples.shape).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


@functools.cache
def samples_of(data: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]


def replaced(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def id3(size: int = 100) -> bytes:
    return b"ID3\4\0\0" + bytes([0, 0, size >> 7, size & 127]) + bytes(size)


def wav_of(content: bytes, tag: int, rate: int, channels: int = 1) -> bytes:
    """MP3 and others in a WAV file."""
    form = struct.pack("<HHIIHHHHIHHH", tag, channels, rate, 8000, 1, 0, 12, 1, 2, 417, 1, 1393)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_flac_length(data: bytes, frames: int) -> bytes:
    fields = int.from_bytes(data[18:26], "big") >> 36 << 36 | frames
    return replaced(data, 18, fields.to_bytes(8, "big"))


def made_by_av(container: str, codec: str, *, seconds: float = 2.0, rate: int = 48000, tags=()) -> bytes:
    """Two channels of the test's sound in a file of FFmpeg's."""
    import av

    samples = np.ascontiguousarray(synthetic_sound(round(seconds * rate), 2, rate).T) * np.float32(0.5)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        output.metadata.update(dict(tags))
        stream = output.add_stream(codec, rate=rate)
        stream.layout = "stereo"
        stream.bit_rate = 128000
        stream.codec_context.open()
        whole = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        whole.sample_rate, whole.pts = rate, 0
        queue, position = av.AudioFifo(), 0
        for frame in av.AudioResampler(stream.codec_context.format, "stereo", rate).resample(whole):
            queue.write(frame)
        while (frame := queue.read(stream.codec_context.frame_size or 1024, partial=True)) is not None:
            frame.pts = position
            position += frame.samples
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()
