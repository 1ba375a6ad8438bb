"""Streams of released models of video decode to the same index grids and pixels for ever. Never regenerate or skip a stream here."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from vqcodec.video import inspection, stream
from vqcodec.video.codec import VideoCodec
from vqcodec.video.tokens import encode_tokens
from vqcodec.zoo import registry

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "videos.json").read_text())


@pytest.mark.parametrize("on_torch", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["stream"])
def test_golden_video(case, on_torch):
    data = (GOLDEN / case["stream"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == case["stream_sha256"]
    header, _ = stream.peek(data)
    codec = VideoCodec.open(registry.find_by_stream(header.model_id, header.model_hash), encoder=False, on_torch=on_torch)
    grids = codec.decode_grids(data)
    assert list(grids.shape) == case["grids_shape"]
    assert hashlib.sha256(grids.astype("<u2").tobytes()).hexdigest() == case["grids_sha256"]
    if "labels" in case:  # what is coded again gets those with which it is smallest
        assert [list(labels) for labels in codec.labels(data)] == case["labels"]
        again = encode_tokens(codec, grids, inspection.inspect(data), None)
        assert (codec.decode_grids(again) == grids).all()
    else:
        assert encode_tokens(codec, grids, inspection.inspect(data), None) == data
    frames = list(codec.decode_stream(io.BytesIO(data)).frames())
    assert [frame.time for frame in frames] == case["times"]
    assert hashlib.sha256(np.stack([frame.rgb for frame in frames]).tobytes()).hexdigest() == case["pixels_sha256"]
