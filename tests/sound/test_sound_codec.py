"""Sound through the codec: sizes and rates, chunks without seams, damage that stays local, exactness, targets."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_tiny_audio_model, synthetic_sound, tiny_audio_config

from vqcodec import metadata
from vqcodec import stream as bytefields
from vqcodec.sound import aiming, probe
from vqcodec.sound import transform as audio_transform, stream as sound_container
from vqcodec.zoo import registry
from vqcodec.sound.codec import AudioCodec, Lost
from vqcodec.sound.gains import curve, unpack
from vqcodec.sound.inspection import inspect
from vqcodec.sound.torch_codec import TorchAudioCodec, level_of
from vqcodec.picture.codec import Codec
from vqcodec.zoo.config import check_model
from vqcodec.errors import CorruptStreamError, InputError, UnsupportedError, UsageError, VqcodecWarning
from vqcodec.sound.file import Sound, SoundReader

STEP, CHUNK = 80, 64  # samples per latent frame and frames per chunk of the tiny model


@pytest.fixture(scope="module")
def codec(tiny_audio_dir):
    torch.set_num_threads(1)
    return AudioCodec.open(registry.find_by_name(None, tiny_audio_dir, "audio"))


@pytest.fixture(scope="module")
def toned(tmp_path_factory):
    """A codec whose last 8 latent dims are tones."""
    config, folder = tiny_audio_config(), tmp_path_factory.mktemp("toned")
    make_tiny_audio_model(folder, replace(config, transform=replace(config.transform, tones=(8,))))
    return AudioCodec.open(registry.find_by_name(None, folder, "audio"))


@pytest.fixture(scope="module")
def sound():
    return Sound(synthetic_sound(3 * CHUNK * STEP + 1234, seed=3), 8000)


@pytest.fixture(scope="module")
def data(codec, sound):
    return codec.encode(sound, 2).data


def chunk_positions(data: bytes, count: int) -> list[tuple[int, int]]:
    """(first byte of the payload, its length) of every chunk."""
    file = io.BytesIO(data)
    seed = sound_container.seed_of(*sound_container.read_header(file))
    reader = sound_container.ChunkReader(file, count, seed)
    return [(chunk.position, len(chunk.payload)) for chunk in (reader.read(i) for i in range(count))]


def chunk_end(data: bytes) -> int:
    """Where chunk 1 of four ends."""
    return sum(chunk_positions(data, 4)[1])


def decoded(codec, data, **options):
    stream = codec.decode_stream(io.BytesIO(data), **options)
    return np.concatenate(list(stream.blocks())), stream.lost


# --- shapes ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rate, channels, length", [
    (8000, 1, 1), (8000, 1, 8), (8000, 2, 80), (44100, 2, 5001), (16000, 3, 12345), (7999, 1, 6000), (48000, 7, 4800)])
def test_length_rate_and_channels_come_back(codec, rate, channels, length):
    sound = Sound(synthetic_sound(length, channels, rate), rate)
    data = codec.encode(sound, 1.5).data
    back = codec.decode(data)
    assert back.rate == rate and back.samples.shape == (length, channels) and back.samples.dtype == np.float32
    assert np.isfinite(back.samples).all()


def test_equal_channels_are_coded_once(codec, sound):
    twice = Sound(np.repeat(sound.samples, 3, 1), sound.rate)
    one, three = codec.encode(sound, 2).data, codec.encode(twice, 2).data
    assert len(one) == len(three)
    np.testing.assert_array_equal(codec.decode(three).samples, np.repeat(codec.decode(one).samples, 3, 1))


def test_what_is_decoded_resembles_what_was_encoded(codec, sound, data):
    """Bands of energy over time, since the phases of so small a model are noise."""
    spectra = [np.log(np.abs(np.fft.rfft(x[:16000, 0].reshape(-1, 200) * np.hanning(200))) + 0.03)
               for x in (sound.samples, codec.decode(data).samples)]
    assert np.corrcoef(spectra[0].ravel(), spectra[1].ravel())[0, 1] > 0.8


@pytest.mark.parametrize("scale", [1e-4, 1.0, 300.0])
def test_level_is_kept(codec, sound, scale):
    loud = Sound(sound.samples * np.float32(scale), sound.rate)
    back = codec.decode(codec.encode(loud, 3).data).samples
    ratio = np.sqrt(np.mean(back**2) / np.mean(loud.samples**2))
    reference = codec.decode(codec.encode(sound, 3).data).samples
    assert ratio == pytest.approx(np.sqrt(np.mean(reference**2) / np.mean(sound.samples**2)), rel=0.15)


@pytest.mark.parametrize("samples", [np.zeros((5000, 1)), np.full((5000, 1), 0.7), np.sign(synthetic_sound(5000)) * 1.0,
                                     np.zeros((5000, 2))])
def test_silence_dc_and_square_waves(codec, samples):
    back = codec.decode(codec.encode(Sound(samples.astype(np.float32), 8000), 2).data).samples
    assert np.isfinite(back).all() and np.abs(back).max() < 4
    if not samples.any():
        assert np.abs(back).max() < 0.02


def test_numbers_that_are_none_are_refused(codec, sound):
    samples = sound.samples.copy()
    samples[4000] = np.nan
    with pytest.raises(InputError, match="not a number, at 0.500 s"):
        codec.encode(Sound(samples, 8000), 2)
    with pytest.raises(UsageError, match="too large"):
        codec.encode(Sound(np.full((100, 1), 1e30, np.float32), 8000), 2)


# --- chunks ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["codec", "toned"])
def test_chunks_leave_no_seams(request, name, sound):
    """The transforms of the whole recording at once give what the chunks gave."""
    codec = request.getfixturevalue(name)
    data = codec.encode(sound, 2).data
    frames = -(-len(sound.samples) // STEP)
    level = level_of(SoundReader.of(sound), codec.model.transform)
    whole = np.zeros((1, 1, 1, frames * STEP), np.float32)
    whole[0, 0, 0, : len(sound.samples)] = sound.samples[:, 0] * np.float32(2.0 ** (-level.gain / 4))
    with torch.inference_mode():
        latents = codec.encoder(torch.from_numpy(whole), torch.ones(1))
    piece = [codec.latents(*p, end - begin, 16) for p, (begin, end) in zip(
        codec.pieces(iter([whole[0, 0, 0][:, None]]), sound_container.peek(data)[0]),
        codec.chunks(sound_container.peek(data)[0]))]
    assert torch.allclose(torch.cat(piece, 3), latents, atol=2e-4)
    grids = torch.from_numpy(codec.decode_grids(data))
    assert grids.shape[2] == frames and len(codec.chunks(sound_container.peek(data)[0])) == 4
    with torch.inference_mode():
        values = codec.coder.dequantize(grids.permute(1, 0, 2)[:, :, None])
        samples = codec.decoder(values, torch.ones(1))[0, 0, 0, : len(sound.samples)]
    curves = [curve(unpack(gains, 1, min(CHUNK, frames - CHUNK * i))[0], min(CHUNK, frames - CHUNK * i), STEP)
              for i, gains in enumerate(inspect(data).gains)]
    scale = 2.0 ** (level.gain / 4) * np.concatenate(curves)[: len(samples), 0]
    np.testing.assert_allclose(codec.decode(data).samples[:, 0], samples.numpy() * scale, atol=2e-5)


@pytest.mark.parametrize("name", ["codec", "toned"])
def test_the_reach_of_the_networks_is_the_halo(request, name):
    codec = request.getfixturevalue(name)
    encoder, decoder = audio_transform.halo(codec.model.transform)
    base = torch.zeros(1, codec.model.transform.latent_dims, 1, 120)
    changed = base.clone()
    changed[..., 60] = 3.0
    with torch.inference_mode():
        level = torch.zeros(1)
        moved = (codec.decoder(changed, level) != codec.decoder(base, level)).view(-1, STEP).any(1).nonzero()
        assert 60 - decoder <= moved.min() and moved.max() <= 60 + decoder
        samples = torch.from_numpy(synthetic_sound(120 * STEP)).view(1, 1, 1, -1)
        other = samples.clone()
        other[..., 60 * STEP : 61 * STEP] *= -2
        moved = (codec.encoder(samples, level) != codec.encoder(other, level)).any(1).flatten().nonzero()
        assert 60 - encoder <= moved.min() and moved.max() <= 60 + encoder


@pytest.mark.parametrize("size", [1, 999, 1 << 20])
def test_how_samples_come_in_does_not_matter(codec, sound, data, size, monkeypatch):
    monkeypatch.setattr("vqcodec.sound.torch_codec.BLOCK", size)
    short = Sound(sound.samples[:9000], 11025)
    assert codec.encode(sound, 2).data == data if size > 1 else True
    expected = codec.encode(short, 2).data
    monkeypatch.setattr("vqcodec.sound.torch_codec.BLOCK", 4096)
    assert codec.encode(short, 2).data == expected


def test_noise_depends_on_its_place_alone():
    whole = audio_transform.white_noise(0, 1000, 2)
    assert torch.equal(whole[:, :, 300:420], audio_transform.white_noise(300, 120, 2))
    assert not torch.equal(whole[0], whole[1]) and abs(whole.mean()) < 0.05
    assert 0.3 < whole.var() < 0.37 and whole.abs().max() <= 1  # of a uniform distribution: 1/3


@pytest.mark.parametrize(("bins", "bands", "rate"), [(961, 48, 48000), (81, 81, 8000), (321, 1, 16000), (81, 40, 8000)])
def test_bands_are_cut_in_order_and_none_is_empty(bins, bands, rate):
    numbers = audio_transform.band_of_bins(bins, bands, rate)
    assert len(numbers) == bins and numbers[0] == 0 and numbers[-1] == bands - 1
    assert set(numbers.diff().tolist()) <= {0, 1}
    widths = numbers.bincount()
    assert widths[-1] >= widths[0]  # wider where the ear is


def test_the_linear_path_of_bands_keeps_their_levels():
    transform = replace(tiny_audio_config().transform, channels=2, bands=20, floor=1e-6, latent_dims=80)
    encoder, decoder = audio_transform.Encoder(transform), audio_transform.Decoder(transform)
    samples = torch.from_numpy(np.stack([synthetic_sound(40 * STEP, 2, 8000, i).T[:, None] for i in range(8)]))
    audio_transform.init_linear_path(encoder, decoder, samples, transform)
    with torch.inference_mode():
        levels = encoder.levels(audio_transform.stft(audio_transform.to_mid_side(samples), transform.hop).abs())
        latents = encoder.linear(audio_transform.fold(audio_transform.by_frames(levels)))
        decoded = audio_transform.by_bins(audio_transform.unfold(decoder.linear(latents)), 2)
    band = audio_transform.band_of_bins(transform.bins, 20, 8000)
    np.testing.assert_allclose(decoded, levels[..., band], atol=2e-3)
    tone = torch.zeros(1, 1, 1, transform.bins)
    tone[..., 40] = 0.5
    peak, width = encoder.levels(tone)[0, 0, 0, band[40]].item(), (band == band[40]).sum().item()
    assert peak == pytest.approx((np.log(0.5 / width**0.5) + 6) / 2, abs=1e-3)  # of the mean power


def test_bands_must_be_enough_for_the_dims():
    model = tiny_audio_config()
    for keys in ({"bands": 11}, {"bands": 82}, {"bands": -1}, {"floor": 0.0}):
        with pytest.raises(UsageError, match="bands" if "bands" in keys else "floor"):
            check_model(replace(model, transform=replace(model.transform, **keys)))
    check_model(replace(model, transform=replace(model.transform, bands=12)))


def test_a_model_of_bands_codes_sound(tmp_path, sound):
    model = tiny_audio_config()
    make_tiny_audio_model(tmp_path, replace(model, transform=replace(model.transform, bands=16, floor=1e-6)))
    banded = AudioCodec.open(registry.find_by_name(None, tmp_path, "audio"))
    assert banded.decode(banded.encode(sound, 2).data).samples.shape == sound.samples.shape
    assert banded.encoder.linear.weight.shape[1] == 2 * 16


# --- tones -------------------------------------------------------------------------------------------------

def test_tones_keep_their_phases(codec, toned):
    time = np.arange(8000) / 8000
    tone = Sound((0.3 * np.sin(2 * np.pi * 330 * time))[:, None].astype(np.float32), 8000)

    def likeness(model):
        decoded = model.decode(model.encode(tone, 3).data).samples[:, 0]
        return np.corrcoef(decoded[800:-800], tone.samples[800:-800, 0])[0, 1]

    assert likeness(toned) > 0.6 and abs(likeness(codec)) < 0.4  # beside what an untrained network adds


def test_tones_of_two_channels(tmp_path):
    config = tiny_audio_config()
    config = replace(config, transform=replace(config.transform, channels=2, tones=(8, 3)))
    make_tiny_audio_model(tmp_path, config)
    codec = AudioCodec.open(registry.find_by_name(None, tmp_path, "audio"))
    time = np.arange(8000)[:, None] / 8000
    tones = (0.3 * np.sin(2 * np.pi * np.array([[330, 80]]) * time)).astype(np.float32)
    mixed = Sound(np.stack([tones.sum(1), tones[:, 0] - tones[:, 1]], 1), 8000)  # 330 Hz in the middle, 80 at the sides
    decoded = codec.decode(codec.encode(mixed, 3).data).samples[800:-800]
    for got, wanted in ((decoded.sum(1), tones[:, 0]), (decoded[:, 0] - decoded[:, 1], tones[:, 1])):
        assert np.corrcoef(got, wanted[800:-800])[0, 1] > 0.6


def test_tones_must_fit():
    model = tiny_audio_config()
    for tones in ((1, 1), (24,), (-1,), (81,)):
        with pytest.raises(UsageError, match="tones"):
            check_model(replace(model, transform=replace(model.transform, tones=tones, latent_dims=24)))


# --- damage ------------------------------------------------------------------------------------------------

def test_any_damaged_byte_is_noticed(codec, data):
    for position in range(0, len(data), 7):
        broken = bytearray(data)
        broken[position] ^= 0x10
        with pytest.raises((CorruptStreamError, UnsupportedError)):
            codec.decode(bytes(broken))
    for end in (0, 3, 20, len(data) // 2, len(data) - 1):
        with pytest.raises(CorruptStreamError):
            codec.decode(data[:end])
    with pytest.raises(CorruptStreamError, match="followed by"):
        codec.decode(data + b"x")


@pytest.mark.parametrize("where", ["payload", "length", "missing byte", "extra byte", "last payload"])
def test_damage_is_local(codec, sound, data, where):
    positions = chunk_positions(data, 4)
    number = 3 if where == "last payload" else 1
    start, length = positions[number]
    broken = bytearray(data)
    if "payload" in where:
        broken[start + length // 2] ^= 0x55
    elif where == "length":
        broken[start - 8] ^= 0x01
    elif where == "missing byte":
        del broken[start + 3]
    else:
        broken.insert(start + 3, 0)
    good, _ = decoded(codec, data)
    got, lost = decoded(codec, bytes(broken), conceal=True)
    assert len(got) == len(good)
    begin, end = number * CHUNK * STEP, min((number + 1) * CHUNK * STEP, len(good))
    assert lost == [Lost(begin / 8000, end / 8000)]
    reach = audio_transform.halo(codec.model.transform)[1] * STEP
    np.testing.assert_allclose(got[: begin - reach], good[: begin - reach], atol=1e-6)
    np.testing.assert_allclose(got[end + reach :], good[end + reach :], atol=1e-6)
    assert not got[begin + 80 : end - 80].any()
    with pytest.raises(CorruptStreamError):
        decoded(codec, bytes(broken))


def test_everything_lost_is_silence(codec, data):
    size = sound_container.peek(data)[1].size
    got, lost = decoded(codec, data[:size] + b"\xff" * 500, conceal=True)
    assert not got.any() and lost == [Lost(0.0, len(got) / 8000)]


def test_a_chunk_of_another_recording(codec, sound, data):
    """Of the same model, quality, number and shape. Streams of specifications before 1.5 do not tell it apart."""
    louder = codec.encode(Sound(4 * sound.samples[::-1], sound.rate), 2).data
    for bound in (False, True):
        pair = [codec.encode_tokens(codec.decode_grids(d), replace(sound_container.peek(d)[0], bound=bound)).data
                for d in (data, louder)]
        (start, length), (other, taken) = (chunk_positions(d, 4)[1] for d in pair)
        start, other = (position - len(bytefields.uvarint(size)) - 6 for position, size in ((start, length), (other, taken)))
        mixed = pair[0][:start] + pair[1][other : chunk_end(pair[1])] + pair[0][chunk_end(pair[0]) :]
        if bound:
            with pytest.raises(CorruptStreamError, match="header of chunk 1 is damaged"):
                codec.decode(mixed)
            assert decoded(codec, mixed, conceal=True)[1] == [Lost(CHUNK * STEP / 8000, 2 * CHUNK * STEP / 8000)]
        else:
            grids, own, foreign = (codec.decode_grids(d) for d in (mixed, *pair))
            assert np.array_equal(grids[..., CHUNK : 2 * CHUNK], foreign[..., CHUNK : 2 * CHUNK])
            assert np.array_equal(np.delete(grids, range(CHUNK, 2 * CHUNK), 2), np.delete(own, range(CHUNK, 2 * CHUNK), 2))
            assert not np.array_equal(grids, own)


@pytest.fixture(scope="module")
def tagged(codec, sound):
    """A stream with metadata."""
    file, tags = io.BytesIO(), tuple((f"tag {i}", f"value {i}") for i in range(20))
    codec.encode_stream(SoundReader.of(sound), file.write, 2, metadata=metadata.pack(metadata.Metadata(tags=tags)))
    return file.getvalue()


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "chunk 0 too"])
def test_damaged_metadata(codec, tagged, damage):
    """They cost nothing but themselves, and a warning."""
    good, _ = decoded(codec, tagged)
    sealed = sound_container.peek(tagged)[1]
    broken, middle = bytearray(tagged), sealed.size + sealed.metadata_length // 2
    if damage == "missing":
        del broken[middle : middle + 3]
    elif damage == "added":
        broken[middle:middle] = b"\1\2"
    else:
        broken[middle] ^= 4
    if damage == "chunk 0 too":
        broken[sealed.end] ^= 4
    for function in (codec.decode, codec.decode_grids, inspect):
        with pytest.raises(CorruptStreamError, match="metadata are damaged"):
            function(bytes(broken))
    with pytest.warns(VqcodecWarning, match="metadata are damaged: .*; they are passed over"):
        got, lost = decoded(codec, bytes(broken), conceal=True)
    assert lost == ([Lost(0.0, CHUNK * STEP / 8000)] if damage == "chunk 0 too" else [])
    assert np.array_equal(got, good) != bool(lost)


def test_truncated_metadata(codec, tagged):
    cut = tagged[: sound_container.peek(tagged)[1].end - 1]
    with pytest.raises(CorruptStreamError, match="truncated within its metadata"):
        codec.decode(cut)
    with pytest.warns(VqcodecWarning, match="truncated within its metadata; they are passed over"):
        samples, lost = decoded(codec, cut, conceal=True)
    assert not samples.any() and lost == [Lost(0.0, len(samples) / 8000)]


def test_a_stream_within_a_file(codec, tagged):
    file = io.BytesIO(b"before" + tagged)
    file.seek(6)
    assert np.array_equal(np.concatenate(list(codec.decode_stream(file).blocks())), decoded(codec, tagged)[0])


def test_inspection_refuses_what_is_not_whole(tagged):
    """Without the model it cannot know how many chunks there must be: a cut between two of them is not noticed."""
    assert inspect(tagged).chunks == 4
    ends = [position + length for position, length in chunk_positions(tagged, 4)]
    for end in range(len(tagged)):
        if end in ends:
            assert inspect(tagged[:end]).chunks == ends.index(end) + 1
            continue
        with pytest.raises(CorruptStreamError, match="truncated|damaged|not a vqcodec file"):
            inspect(tagged[:end])
    for tail in (b"\0", b"VQ", bytes(20), tagged, tagged[ends[0] : ends[1]]):
        with pytest.raises(CorruptStreamError, match="header of chunk 4 is damaged, or the stream is followed by other data"):
            inspect(tagged + tail)
    for position in (0, 1, 2):
        damaged = bytearray(tagged)
        damaged[ends[position] + 2] ^= 1  # in the header of the next chunk
        with pytest.raises(CorruptStreamError, match=f"header of chunk {position + 1} is damaged"):
            inspect(bytes(damaged))


def test_a_chunk_too_short_for_its_symbols_is_refused_at_once(codec, data, monkeypatch):
    header = replace(sound_container.peek(data)[0], channels=255, coded_channels=255)
    others = sum(int((size - 1).sum()) for _, size in codec.coder.prior.windows(header.quality))
    least = 1 + (23 * 255 * CHUNK * others >> 23)
    assert least > 20
    reads = []
    monkeypatch.setattr(codec.coder, "read", lambda *a: reads.append(a) or torch.zeros(codec.coder.groups, 1, CHUNK).long())
    for size in (least - 1, least):
        with pytest.raises(CorruptStreamError, match="cannot hold its segments" if size < least else "bytes follow"):
            codec.read_chunk(sound_container.Chunk(0, 0, bytes(size)), CHUNK, header)
        assert bool(reads) == (size >= least)


# --- tokens, targets, models -------------------------------------------------------------------------------

def test_tokens_and_back(codec, data):
    header, _ = sound_container.peek(data)
    grids = codec.decode_grids(data)
    assert grids.shape == (codec.coder.groups, 1, codec.frames(header))
    assert codec.encode_tokens(grids, header, inspect(data).gains).data == data
    level = codec.encode_tokens(grids, header).data  # whose gains are all 0
    assert set(inspect(level).gains) == {b"\0"} and np.array_equal(codec.decode_grids(level), grids)
    with pytest.raises(UsageError, match="gains of 1 chunks, and not 4"):
        codec.encode_tokens(grids, header, [b"\0"])
    with pytest.raises(UsageError, match="shape"):
        codec.encode_tokens(grids[:, :, 1:], header)
    with pytest.raises(UsageError, match="codeword"):
        codec.encode_tokens(grids + 4000, header)


def test_bits_of_frames_add_up_to_the_payloads(codec, data):
    bits = codec.bits_per_frame(data)
    payloads = sum(length for _, length in chunk_positions(data, 4))
    assert bits.sum() / 8 - 1 <= payloads <= bits.sum() / 8 + 4 * codec.coder.prior.steps * 2


def test_qualities_rise_in_rate(codec, sound):
    sizes = [len(codec.encode(sound, q).data) for q in (1, 1.5, 2, 2.5, 3)]
    assert sizes == sorted(sizes) and sizes[-1] > 1.5 * sizes[0]


def test_targets(codec, sound):
    reader = SoundReader.of(sound)
    low, high = codec.encode(sound, 1), codec.encode(sound, 3)
    size = (len(low.data) + len(high.data)) // 2
    found = codec.encode_to_target(reader, size=size)
    assert 0.9 * size < len(found.data) <= size
    middle = (low.kbps + high.kbps) / 2
    assert codec.encode_to_target(reader, kbps=middle).kbps == pytest.approx(middle, rel=0.1)
    assert "lowest" in codec.encode_to_target(reader, kbps=low.kbps / 9).note


@pytest.mark.parametrize("held", [True, False])
def test_targets_take_few_encodes(codec, sound, monkeypatch, held):
    """Choices of codewords cost a third of an encode; they are coded, and gains fitted, once or twice."""
    counts, choose, write = [], TorchAudioCodec.choose, TorchAudioCodec.write_chosen

    def counting(name, inner):
        def counted(*arguments):
            counts[-1][name] += 1
            return inner(*arguments)

        return counted

    if not held:
        monkeypatch.setattr(aiming, "HELD", 0)
    low, high = (len(codec.encode(sound, quality).data) for quality in (1, 3))
    monkeypatch.setattr(TorchAudioCodec, "choose", counting("chunks", choose))
    monkeypatch.setattr(TorchAudioCodec, "write_chosen", counting("files", write))
    for part in (0.05, 0.4, 0.95):
        size = int(low + part * (high - low))
        for targets in ({"size": size}, {"kbps": 8 * size / len(sound.samples) * sound.rate / 1000}):
            counts.append({"chunks": 0, "files": 0})
            found = codec.encode_to_target(SoundReader.of(sound), **targets)
            assert "kbps" in targets or len(found.data) <= size
            assert found.data == codec.encode(sound, found.quality).data
    chunks = -(-len(sound.samples) * codec.rate // (sound.rate * STEP * CHUNK))
    assert all(count["files"] <= 3 and count["chunks"] <= 5 * chunks for count in counts), counts


def recording_of(codec, sound) -> aiming.Recording:
    reader = SoundReader.of(sound)
    level = level_of(reader, codec.model.transform)
    return aiming.Recording(codec, reader, codec._header(reader, level, 0), level.plan, codec._check_encoding(None), None)


def test_windows_and_choices_tell_the_size_of_the_whole(codec, sound, monkeypatch):
    recording = recording_of(codec, sound)
    monkeypatch.setattr(aiming, "WORTH", 0)
    for sixteenths in (0, 16, 32):
        attempt, expected = recording.attempt(sixteenths, lambda text: None)
        length = recording.finish(attempt)[1]
        assert length == len(codec.encode(sound, 1 + sixteenths / 16).data)
        assert expected == pytest.approx(length, rel=0.03)
        assert recording.estimate()(sixteenths) == pytest.approx(length, rel=0.3)


def test_sizes_at_other_qualities_go_through_the_known_one_and_rise(codec, sound):
    recording = recording_of(codec, sound)
    found = recording.extended(20, 900.0)
    assert found[20] == pytest.approx(900, rel=1e-3) and (np.diff(found) > 0).all() and len(found) == 33


def test_windows_of_many_channels_are_few(codec, monkeypatch):
    monkeypatch.setattr(probe, "HELD", 40 * (probe.FRAMES + 2 * probe.MARGIN) * STEP)
    many = SoundReader.of(Sound(synthetic_sound(CHUNK * STEP * 3, 7), 8000))
    level = level_of(many, codec.model.transform)
    header = codec._header(many, level, 16)
    found = probe.Probe.of(codec.pieces(codec.model_rate(many, header, level.plan), header), codec.chunks(header), STEP)
    assert 1 <= len(found.windows) <= 40 // 7 and sum(w.samples.numel() for w in found.windows) <= probe.HELD
    units = list(found.latents(lambda *window: codec.latents(*window, 16)))
    assert len(units) == len(found.windows[0].samples)
    assert units[0].shape == (24, 1, sum(w.count for w in found.windows)) and found.share > 1


def test_effort_nought_takes_the_nearest_codewords(codec, sound, data):
    plain = codec.encode(sound, 2, effort=0).data
    assert plain != data and len(plain) > len(data)
    with pytest.raises(UsageError):
        codec.encode(sound, 2, effort=6)


def test_models_of_other_modalities_are_refused(codec, data, tiny_audio_dir):
    image = registry.find_by_name("tiny", tiny_audio_dir)
    with pytest.raises(UnsupportedError, match="image"):
        AudioCodec.open(image)
    with pytest.raises(UnsupportedError, match="audio"):
        Codec.open(codec.entry)
    with pytest.raises(UnsupportedError, match="modality 1, not 0"):
        Codec.open(image).decode(data)


def test_a_quality_beyond_the_last_is_corrupt(codec, data):
    header, sealed = sound_container.peek(data)
    with pytest.raises(CorruptStreamError, match="quality"):
        codec.decode(sound_container.pack_header(replace(header, quality=33)) + data[sealed.size :])


@pytest.mark.parametrize("conceal", [False, True])
@pytest.mark.parametrize("changes", [dict(length=1 << 40), dict(length=1 << 40, rate=1), dict(length=1 << 30, rate=1)])
def test_a_header_that_claims_too_much_is_refused_at_once(codec, data, changes, conceal):
    header, sealed = sound_container.peek(data)
    hostile = sound_container.pack_header(replace(header, **changes)) + data[sealed.size :]
    with pytest.raises(CorruptStreamError, match="cannot hold"):
        codec.decode_stream(io.BytesIO(hostile), conceal=conceal)


def test_many_channels(codec):
    samples = synthetic_sound(3000, 40)
    sound = Sound(0.4 * samples / np.abs(samples).max(0), 8000)  # one peak, so that each has the gain it has alone
    data = codec.encode(sound, 1).data
    grids, back = codec.decode_grids(data), codec.decode(data).samples
    assert grids.shape[1] == 40 and back.shape == (3000, 40)
    alone = codec.encode(Sound(sound.samples[:, 35:36], 8000), 1).data
    assert (codec.decode_grids(alone)[:, 0] == grids[:, 35]).mean() > 0.99  # floats may differ with the size of a batch


def test_a_stereo_model(tmp_path):
    config = tiny_audio_config()
    config = replace(config, transform=replace(config.transform, channels=2))
    make_tiny_audio_model(tmp_path, config)
    codec = AudioCodec.open(registry.find_by_name(None, tmp_path, "audio"))
    for channels, units in ((1, 1), (2, 1), (3, 2)):
        sound = Sound(synthetic_sound(7000, channels), 8000)
        data = codec.encode(sound, 2).data
        assert codec.decode_grids(data).shape[1] == units
        assert codec.decode(data).samples.shape == (7000, channels)
