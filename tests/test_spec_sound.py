"""Section 10 of bitstream_spec.md against the package: the same integers, and the same samples but for rounding."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
import reference_decoder
import reference_sound as reference
import torch
from conftest import make_tiny_audio_model, synthetic_sound, tiny_audio_config
from test_spec import TEXT, check_decoder_table, item, uvarint

from vqcodec import metadata
from vqcodec.errors import UsageError
from vqcodec.sound import stream as sound_stream
from vqcodec.sound.codec import AudioCodec
from vqcodec.sound.inspection import inspect
from vqcodec.sound.file import Sound, SoundReader, resampled
from vqcodec.sound.stream import SoundHeader
from vqcodec.sound.transform import Decoder, halo
from vqcodec.zoo import registry
from vqcodec.sound.config import AudioModelConfig


def close(samples: np.ndarray, exact: np.ndarray, header: reference.Header, model: reference_decoder.Model) -> bool:
    """Whether samples are as precise as section 10.7 asks; both [T·H,m] of one unit."""
    gain, near = 2 ** (header.gain / 4), 4 * model.config["transform"]["hop"] - 1
    padded = np.pad(np.abs(exact).max(1) / gain, near)
    greatest = np.lib.stride_tricks.sliding_window_view(padded, 2 * near + 1).max(1)
    return bool((np.abs(samples - exact) <= 2**-12 * np.maximum(1, greatest)[:, None] * gain).all())


def check(entry, sound: Sound, quality: float) -> None:
    codec, model = AudioCodec.open(entry), reference_decoder.read_model(entry.path)
    data = codec.encode(sound, quality).data
    header, grids = reference.decode_grids(data, model)
    np.testing.assert_array_equal(grids, codec.decode_grids(data))
    assert (header.length, header.rate, header.channels) == (*sound.samples.shape[:1], sound.rate, sound.samples.shape[1])
    samples = reference.synthesise(grids, header, model)
    assert sound.rate == codec.rate  # so that nothing is resampled
    decoded = codec.decode(data).samples[:, : header.coded]
    assert decoded.shape == (header.length, header.coded)
    assert samples.shape == (grids.shape[2] * codec.model.transform.step, header.coded)
    samples = samples[: len(decoded)]
    most = max(curve.max() for curve in header.gains) * 2 ** (header.gain / 4)
    assert np.abs(decoded - samples).max() <= 2**-12 * most and samples.any()
    for bound, part in ((False, b""), (True, b""), (True, zlib.compress(item(9, b"new")))):
        written = rewritten(data, bound, part)
        same, again = reference.decode_grids(written, model)
        np.testing.assert_array_equal(grids, again)
        assert (same.metadata or b"", bool(same.seed)) == (part, bound)
        for broken in (changed(written, -3), written[:-1], written + b"\0", changed(written, 5)):
            with pytest.raises(reference_decoder.Invalid):
                reference.decode_grids(broken, model)


def changed(data: bytes, place: int) -> bytes:
    data = bytearray(data)
    data[place] ^= 8
    return bytes(data)


def rewritten(data: bytes, bound: bool, part: bytes = b"") -> bytes:
    """A stream without metadata, written again by hand with these properties."""
    header, b = reference.parse(data)
    assert header.metadata is None
    fields = bytearray(data[: b.position - 2])
    fields[3] = 1 | 8 * bound | fields[3] & 16 | 64 * bool(part)
    if part:
        fields += uvarint(len(part)) + zlib.crc32(part).to_bytes(4, "little")
    checksum = reference_decoder.crc16(fields).to_bytes(2, "little")
    out = bytes(fields) + checksum + part
    for number, (start, middle, end) in enumerate(chunks_of(data)):
        covered = (checksum if bound else b"") + number.to_bytes(4, "little") + data[start : middle - 2]
        out += data[start : middle - 2] + reference_decoder.crc16(covered).to_bytes(2, "little") + data[middle:end]
    return out


def chunks_of(data: bytes) -> list[tuple[int, int, int]]:
    """(where it starts, where its payload does, where it ends) of each chunk."""
    _, b = reference.parse(data)
    found = []
    while b.position < len(data):
        start = b.position
        length = b.uvarint(4)
        b.take(6)
        found.append((start, b.position, b.position + length))
        b.take(length)
    return found


@pytest.fixture(scope="module")
def tiny(tiny_audio_dir):
    return registry.find_by_name("tinysound", tiny_audio_dir, None)


@pytest.mark.parametrize("count, channels, quality", [(1, 1, 1), (6000, 1, 2.5), (700, 3, 1.25), (900, 2, 3)])
def test_sound(tiny, count, channels, quality):
    check(tiny, Sound(synthetic_sound(count, channels), 8000), quality)


def stereo_model(folder, tones=(), **changes):
    config = tiny_audio_config()
    transform = replace(config.transform, channels=2, tones=tones, **changes)
    make_tiny_audio_model(folder, AudioModelConfig(transform, config.quantizer, config.prior))
    return registry.find_by_name("tinysound", folder, None)


@pytest.mark.parametrize("quality, present", [(1, 1), (2.9375, 1), (3, 2)])
def test_slices_that_only_high_qualities_have(tmp_path, quality, present):
    config = tiny_audio_config()
    config = replace(config, quantizer=replace(config.quantizer, from_quality=(1, 3)))
    make_tiny_audio_model(tmp_path, config)
    entry, sound = registry.find_by_name("tinysound", tmp_path, None), Sound(synthetic_sound(6000), 8000)
    check(entry, sound, quality)
    codec, model = AudioCodec.open(entry), reference_decoder.read_model(entry.path)
    data = codec.encode(sound, quality).data
    header, grids = reference.decode_grids(data, model)
    assert reference_decoder.present_slices(header.quality, model) == present
    rest = reference_decoder.indices_at_rest(model.codebook["s1"])
    assert (grids[8:] == rest[:, None, None]).all() == (present == 1)
    described, gains = sound_stream.peek(data)[0], inspect(data).gains
    assert codec.encode_tokens(grids, described, gains).data == data
    if present == 1:
        grids[8:] = (rest[:, None, None] + 1) % 64
        with pytest.raises(UsageError, match="slices that this quality does not have"):
            codec.encode_tokens(grids, described)


@pytest.mark.parametrize("tones", [(), (8, 3)])
def test_sound_of_a_stereo_model(tmp_path, tones):
    check(stereo_model(tmp_path, tones), Sound(synthetic_sound(2000, 3), 8000), 2)


def test_the_shipped_model():
    entry = registry.find_by_name("speech-2", modality="audio")
    check(entry, Sound(synthetic_sound(1600, 1, 16000), 16000), 4)


def test_a_chunk_of_another_recording_is_found_out_where_chunks_are_bound(tiny):
    codec, model = AudioCodec.open(tiny), reference_decoder.read_model(tiny.path)
    first, second = (codec.encode(Sound(synthetic_sound(12000, 1, seed=seed) * 2**seed, 8000), 2).data for seed in (0, 1))
    for bound in (False, True):
        a, b = rewritten(first, bound), rewritten(second, bound)
        (_, (start, _, end), *_), (_, (left, _, right), *_) = chunks_of(a), chunks_of(b)
        mixed = a[:start] + b[left:right] + a[end:]
        if bound:
            with pytest.raises(reference_decoder.Invalid, match="chunk checksum"):
                reference.decode_grids(mixed, model)
        else:
            _, grids = reference.decode_grids(mixed, model)
            assert np.array_equal(grids[:, :, 64:128], reference.decode_grids(b, model)[1][:, :, 64:128])


def test_the_package_binds_chunks_and_writes_metadata(tiny):
    codec, model, file = AudioCodec.open(tiny), reference_decoder.read_model(tiny.path), io.BytesIO()
    part = metadata.pack(metadata.Metadata(tags=(("title", "x"),)))
    codec.encode_stream(SoundReader.of(Sound(synthetic_sound(6000), 8000)), file.write, 2, metadata=part)
    header, grids = reference.decode_grids(file.getvalue(), model)
    assert header.metadata == part and len(header.seed) == 2
    np.testing.assert_array_equal(grids, codec.decode_grids(file.getvalue()))


def test_all_samples_are_resampled_then_cut(tiny):
    codec, model = AudioCodec.open(tiny), reference_decoder.read_model(tiny.path)
    data = codec.encode(Sound(synthetic_sound(1000, 1, 11025), 11025), 3).data
    header, grids = reference.decode_grids(data, model)
    samples = reference.synthesise(grids, header, model).astype(np.float32)
    count = reference.sizes(header, model)[0]
    assert count < len(samples) - 20
    whole, cut = (np.concatenate(list(resampled([s], 8000, 11025, 1000))) for s in (samples, samples[:count]))
    decoded = codec.decode(data).samples
    assert decoded.shape == (1000, 1)
    assert np.abs(decoded - whole).max() < 2**-12 < np.abs(decoded - cut).max()


@pytest.mark.parametrize("name, sixteenths", [("audio-1", 0), ("audio-1", 60), ("speech-2", 112)])
def test_precision_of_samples_far_beyond_full_scale(name, sixteenths):
    """Of indices that no encoder would choose. They stay as they are."""
    entry = registry.find_by_name(name, modality="audio")
    codec, model = AudioCodec.open(entry, encoder=False), reference_decoder.read_model(entry.path)
    rng, frames, rows = np.random.default_rng(0), 9, []
    for i in range(len(model.slices)):
        alphabets = reference_decoder.alphabets(reference_decoder.slice_tensors(model, i), sixteenths)
        rows += [rng.choice([first, first + size - 1], (1, frames)) for first, size in zip(*alphabets)]
    t = codec.model.transform
    header = SoundHeader(model_id=entry.id, model_hash=entry.hash, quality=sixteenths, rate=codec.rate, channels=t.channels,
                         coded_channels=t.channels, length=frames * t.step, gain=4)
    data = codec.encode_tokens(np.stack(rows), header).data
    exact = reference.synthesise(np.stack(rows), reference.parse(data)[0], model)
    decoded = codec.decode(data).samples
    assert np.abs(decoded).max() > 50
    assert close(decoded, exact, header, model)
    assert not close(decoded + 2**-5 * np.abs(exact).max(), exact, header, model)


@pytest.mark.parametrize("dilations", [((1, 2), (1,)), ((1,), (1, 3)), ((2,), (2, 1)), ((), ()), ((), (1, 1, 2))])
@pytest.mark.parametrize("tones", [(), (5, 2)])
def test_reach(dilations, tones):
    """Frames on which those of a piece depend, by the formula of section 10.7: no more, and no fewer."""
    config = replace(tiny_audio_config().transform, channels=2, tones=tones, decoder_dilations=dilations)
    reach2, reach1 = (sum(delta + 1 for delta in part) for part in dilations)
    reach = reach2 + -(-reach1 // 2) + 1
    torch.manual_seed(0)
    decoder = Decoder(config).double().eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    assert halo(config)[1] >= reach  # the package takes some more
    frames, frame, step = 2 * reach + 9, reach + 4, config.step
    with torch.inference_mode():
        y, level = torch.randn(1, config.latent_dims, 1, frames, dtype=torch.float64), torch.tensor([0.5]).double()
        noise = torch.rand(1, 2, 1, frames * step, dtype=torch.float64) * 2 - 1
        touched = y.clone()
        touched[..., frame] += 1
        before, after = (decoder(latents, level, noise) for latents in (y, touched))
    heard = (before != after).any(1).reshape(frames, step).any(1).nonzero().flatten().tolist()
    assert (heard[0], heard[-1]) == (frame - reach, frame + reach)


@pytest.mark.parametrize("name", ["speech-2", "audio-1"])
def test_tables_of_the_shipped_models(name):
    entry = registry.find_by_name(name, modality="audio")
    t = reference_decoder.read_model(entry.path).config["transform"]
    (c1, c2), (two, one) = t["widths"], t["decoder_dilations"]
    check_decoder_table("## 10 Sound", entry, dict(
        D=t["latent_dims"], Q=len(t["lambdas"]), M=t["hop"], m=t["channels"], Z=sum(t.get("tones", [])), c1=c1, c2=c2,
        n1=len(one), n2=len(two)))
    reach2, reach1 = (sum(delta + 1 for delta in part) for part in (two, one))
    assert reach2 + -(-reach1 // 2) + 1 == 25 and "have reach = 25" in TEXT
    keys = set(re.findall(r"^\| transform\.(\w+) \|", TEXT[TEXT.index("In models of sound also"):], re.MULTILINE))
    assert keys - {"tones"} <= set(t) and {"sample_rate", "channels", "hop", "chunk", "widths", "decoder_dilations"} <= keys


@pytest.mark.parametrize("heading, bound", [("Example", False), ("Example of a bound stream with metadata", True)])
def test_examples(heading, bound):
    block = re.search(rf"^### [\d.]+ {heading}\n(.*?)^##", TEXT[TEXT.index("## 10 Sound"):], re.MULTILINE | re.DOTALL).group(1)
    data = b""
    for offset, row in re.findall(r"^    ([0-9a-f]{4})  ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  |$)", block, re.MULTILINE):
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(row)
    header, b = reference.parse(data)
    assert (header.rate, header.length, header.gain, header.model_id, bool(header.seed)) == (8000, 1, -4, 300, bound)
    assert (header.metadata is not None) == bound
    if bound:
        assert reference_decoder.read_tags(reference_decoder.read_metadata(header.metadata)[5]) == [("title", "Go")]
        assert f"`{zlib.decompress(header.metadata).hex(' ')}`" in block
    fields = b.take(5)
    assert reference_decoder.crc16(header.seed + bytes(4) + fields) == b.uint(2) and b.take(2) == b"\xaa\xbb"
    assert b.position == len(data)
    covered = f"over {(header.seed + bytes(4) + fields).hex(' ')}"
    assert (covered in block) == bound
