"""Streams of video that nobody's encoder has made, below checksums that fit."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
from conftest import make_tiny_model
from helpers import mutate
from video.clips import clip, moving
from video.video_models import make_tiny_video_model

from vqcodec import medium
from vqcodec.errors import UsageError
from vqcodec.fileio import Source
from vqcodec.filelimits import check
from vqcodec.video import stream
from vqcodec.video.clip import Clip, ClipReader
from vqcodec.video.codec import VideoCodec
from vqcodec.video.inspection import inspect
from vqcodec.video.tokens import encode_tokens
from vqcodec.zoo import registry


class Videos:
    """Streams of video."""

    kinds: ClassVar = {"bytes": 5, "fields": 5, "payloads": 3}

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        if entry is None:
            make_tiny_model(folder)
            (folder / "clip.mkv").write_bytes(clip(moving(12, 64, 80)))
            make_tiny_video_model(folder, [folder / "clip.mkv"])
            entry = registry.find_by_name("tinyvideo", folder, "video")
        self.codec, self.rng = VideoCodec.open(entry), rng
        self.files = []
        for i, (count, height, width, distance) in enumerate(((1, 1, 1, 48), (5, 24, 40, 2), (6, 33, 17, 48))):
            parts: list[bytes] = []
            reader = ClipReader(Clip(moving(count, 32, 48, i)[:, :height, :width], np.arange(count) / 25, count / 25))
            self.codec.encode_stream(reader, parts.append, 1 + i / 2, effort=0, key_distance=distance)
            self.files.append(b"".join(parts))

    def make(self, kind: str) -> bytes:
        """One input."""
        rng = self.rng
        data, other = rng.choice(self.files), rng.choice(self.files)
        if kind == "bytes":
            return mutate(rng, data, other)
        header, sealed = stream.peek(data)
        file = io.BytesIO(data)
        file.seek(sealed.end)
        found = list(stream.SegmentsOf(file, sealed.checksum))
        if kind == "fields":
            header = replace(header, **rng.choice((
                {"quality": rng.randrange(256)}, {"width": rng.choice((1, header.width + 1, 300))}, {"height": rng.choice((1, 17, 500))},
                {"time_base": Fraction(1, rng.randint(1, 1 << 31))}, {"aspect": Fraction(rng.randint(1, 999), 1000)},
                {"model_hash": rng.randbytes(4)}, {})))
        if rng.random() < 0.3:
            found[rng.randrange(len(found))] = rng.choice(found)
        if rng.random() < 0.7:
            at = rng.randrange(len(found))
            part = "payload" if kind == "payloads" else rng.choice(("table", "payload", "number"))
            value = getattr(found[at], part)
            found[at] = replace(found[at], **{part: rng.randrange(4) if part == "number" else mutate(rng, value)[: 1 << 12]})
        try:
            start = stream.pack_header(header)
        except UsageError:
            return b""
        seed = stream.peek(start)[1].checksum
        return start + b"".join(stream.pack_segment(s.kind, s.number, s.table, s.payload, seed) for s in found)

    def judge(self, data: bytes) -> str:
        """The outcome of one input, by name. Raises whatever is a finding, and VqcodecErrors."""
        codec, kind = self.codec, medium.of_modality("video")
        header = kind.header(data).header
        check(kind.extent(data, medium.AS_SAMPLES), len(data))
        times = []
        for number, frame in enumerate(codec.decode_stream(io.BytesIO(data), conceal=True).frames()):
            assert frame.rgb.shape == (header.height, header.width, 3) and frame.duration > 0
            times.append(frame.time)
            if number > 64:
                break
        assert times == sorted(set(times))
        kind.metadata(Source.of_bytes(data))
        found = inspect(data)
        grids = codec.decode_grids(data)
        kind.verify(codec, io.BytesIO(data))
        again = encode_tokens(codec, grids, found, None)
        assert (codec.decode_grids(again) == grids).all()
        return "accepted"
