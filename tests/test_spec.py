"""bitstream_spec.md against the package: a decoder written from the text alone must give the same integers."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import reference_decoder as reference
import torch
from conftest import synthetic_picture
from helpers import joined, make_wild_model, sample_grids, tabled
from integer_models import make_wild_exact_model
from safetensors.torch import load_file, save_file

from vqcodec.picture import codec as codec_module
from vqcodec.picture import plain as plains
from vqcodec.picture.finish import Finish
from vqcodec.picture import stream as container
from vqcodec.zoo import registration, registry, weights
from vqcodec.picture.alpha import decode_alpha
from vqcodec.picture.codec import Codec
from vqcodec.picture.config import TransformConfig
from vqcodec.picture.integer import blocks, tensors
from vqcodec import metadata
from vqcodec.errors import CorruptStreamError
from vqcodec.picture.file import Picture
from vqcodec.indices.prior import near_spacing, phase_map

SPEC = Path(__file__).parents[1] / "bitstream_spec.md"
TEXT = SPEC.read_text(encoding="utf-8")
LIVELY_ID = 60004


class Pair:
    """One model twice: as the package loads it, and as the reference decoder does."""

    def __init__(self, entry):
        self.codec, self.model = Codec.open(entry, encoder=entry.has_encoder), reference.read_model(entry.path)
        assert self.model.hash == entry.hash

    def check(self, data: bytes, tolerance: int = 1) -> np.ndarray:
        """The reference's samples, after comparing everything."""
        header, grids = reference.decode_grids(data, self.model)
        assert np.array_equal(grids, self.codec.decode_grids(data))
        picture = self.codec.decode(data)
        samples = reference.reconstruct(grids, header, self.model)
        assert header.grey == picture.grey == (samples.ndim == 2)
        rgb = picture.rgb[:, :, 0] if picture.grey else picture.rgb
        assert samples.shape == rgb.shape
        assert np.abs(samples.astype(int) - rgb).max() <= tolerance
        alpha = reference.decode_alpha(header)
        assert (alpha is None) == (picture.alpha is None) and (alpha is None or np.array_equal(alpha, picture.alpha))
        return samples

    def sample(self, height: int, width: int, sixteenths: int, seed: int = 0, **options) -> bytes:
        """A stream of indices drawn from the prior."""
        grids = sample_grids(self.codec, -(-height // 16), -(-width // 16), sixteenths, seed)
        return self.codec.encode_tokens(grids, width, height, 1 + sixteenths / 16, **options).data


@pytest.fixture(scope="module")
def tiny(tiny_model_dir):
    return Pair(registry.find_by_name("tiny", tiny_model_dir))


@pytest.fixture(scope="module")
def lively(tiny_model_dir, tmp_path_factory):
    """A prior in which one wrong unit soon shows, flat enough for all indices to occur, with alphabets of one
    and a slice without wide features; and a synthesis network all layers of which matter (those of "tiny" begin
    at zero), with a different number of blocks at each resolution."""
    folder = tmp_path_factory.mktemp("lively")
    make_wild_model(tiny_model_dir, folder)
    wild = folder / "wild"
    text = (wild / "config.toml").read_text(encoding="utf-8")
    changed = text.replace("decoder_blocks = [1, 1, 1]", "decoder_blocks = [2, 1, 3]")
    assert changed != text
    (wild / "config.toml").write_text(changed, encoding="utf-8")
    (wild / "encoder.safetensors").unlink()
    tensors = load_file(wild / "prior.safetensors")
    del tensors["s1.wide"]
    for k in (1, 2):
        tensors[f"s1.near{k}.weight"] = tensors[f"s1.near{k}.weight"][:, :16].contiguous()
    tensors["s1.logit.offset"] //= 128
    for name, group in (("s0.size", 4), ("s1.size", 3)):
        tensors[name][:, group] = 1
    tensors["s0.start"][:, 4] = 128
    save_file(tensors, wild / "prior.safetensors")
    tensors = weights.unpack(load_file(wild / "decoder.safetensors"))
    for name, count in (("blocks1", 2), ("blocks3", 3)):
        for j in range(1, count):
            tensors |= {key.replace(".0.", f".{j}."): torch.zeros_like(tensor) for key, tensor in tensors.items()
                        if key.startswith(f"{name}.0.")}
    generator = torch.Generator().manual_seed(5)
    for name, tensor in tensors.items():
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("weight") and "linear" not in name:
            noise *= tensor[0].numel() ** -0.5 * (0.05 if name == "head.weight" else 1)
            tensors[name] = noise
        else:
            tensors[name] = tensor.float() + noise * (0.002 if "linear" in name else 0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "SMALL", 300)  # so that int8, too, is met
        save_file(weights.pack(tensors), wild / "decoder.safetensors")
    return Pair(registration.register(wild, "lively", folder, id=LIVELY_ID))


@pytest.fixture(scope="module")
def exact(tiny_exact_dir, tmp_path_factory):
    """A model that decodes in integers, drawn so that all of them matter."""
    folder = tmp_path_factory.mktemp("exact")
    make_wild_exact_model(tiny_exact_dir, folder)
    return Pair(registry.find_by_name("wildexact", folder))


def test_the_reference_decoder_shares_nothing_with_the_package():
    tree = ast.parse(Path(reference.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "numpy", "safetensors", "tomli"}
    assert "safetensors.torch" not in names


@pytest.mark.parametrize("width, height, quality", [
    (1, 1, 1), (1, 1, 2.5), (17, 33, 1.5), (40, 1, 3), (1, 40, 2), (200, 130, 1), (200, 130, 2.3125), (64, 48, 3)])
def test_pictures(tiny, width, height, quality):
    picture = Picture(synthetic_picture(height, width))
    samples = tiny.check(tiny.codec.encode(picture, quality).data)
    assert np.abs(samples.astype(int) - picture.rgb).mean() < 30


@pytest.mark.parametrize("width, height, sixteenths", [
    (1, 1, 0), (17, 33, 8), (40, 1, 32), (1, 100, 31), (130, 200, 1), (200, 130, 16), (200, 130, 23)])
def test_indices_of_all_kinds(lively, width, height, sixteenths):
    data = lively.sample(height, width, sixteenths, seed=sixteenths)
    samples = lively.check(data)
    if width > 100:
        assert ((samples > 0) & (samples < 255)).mean() > 0.5
        grids = lively.codec.decode_grids(data).reshape(16, -1)
        assert (np.ptp(grids, axis=1) > 0).tolist() == [g not in (4, 11) for g in range(16)]


@pytest.mark.parametrize("width, height, sixteenths", [(1, 1, 0), (17, 33, 8), (40, 1, 32), (1, 100, 31), (90, 70, 1), (64, 80, 23)])
def test_pictures_in_integers(exact, width, height, sixteenths):
    samples = exact.check(exact.sample(height, width, sixteenths, seed=sixteenths), tolerance=0)
    assert width * height < 4000 or ((samples > 0) & (samples < 255)).mean() > 0.1


def test_grey_in_integers(exact):
    assert exact.check(exact.sample(33, 50, 20, grey=True), tolerance=0).ndim == 2


def test_every_part_of_the_synthesis_network_matters(lively):
    """Else the comparison of samples would prove little."""
    data = lively.sample(50, 50, 9)
    header, grids = reference.decode_grids(data, lively.model)
    before = reference.reconstruct(grids, header, lively.model).astype(int)
    for name, tensor in lively.model.decoder.items():
        lively.model.decoder[name] = np.flip(tensor, -1 if tensor.shape[-1] > 1 else 1 if tensor.ndim > 1 else 0)
        after = reference.reconstruct(grids, header, lively.model).astype(int)
        lively.model.decoder[name] = tensor
        assert np.abs(after - before).max() > 1, name


@pytest.mark.parametrize("phases", [2, 3, 5, 7, 9])
def test_phases(phases):
    """Every position has one phase, and what it may see is spaced as its kernel is."""
    height, width = 21, 18
    found = phase_map(height, width, phases)
    assert found.tolist() == [[reference.phase_of(y, x, phases) for x in range(width)] for y in range(height)]
    for phase in range(1, phases):
        spacing = near_spacing(phase, phases)
        assert spacing == reference.spacing_of(phase, phases)
        known = {(y, x) for y, x in (found < phase).nonzero().tolist()}
        sides = [(1, 1), (1, -1)] if phase % 2 and phases > 2 else [(1, 0), (0, 1)]
        for y, x in (found == phase).nonzero().tolist():
            seen = [(y - dy * spacing, x - dx * spacing) for dy, dx in sides if spacing <= x < width - spacing]
            assert all(place in known for place in seen if place[0] >= 0)


def test_bands(lively, monkeypatch):
    assert reference.BAND_POSITIONS == codec_module.BAND_POSITIONS
    for h, w in [(1, 1), (1, 8192), (2, 8192), (3, 8192), (5, 5461), (700, 63), (8192, 1), (16385, 1), (300, 129)]:
        assert [(top, top + rows) for top, rows in reference.bands(h, w)] == codec_module.bands(h, w)
    for module in (reference, codec_module):
        monkeypatch.setattr(module, "BAND_POSITIONS", 30)
    data = lively.sample(16 * 9, 16 * 7, 5)
    stream = tabled(lively.codec, data)
    assert len(stream.segments) == 3 * 10  # 4 + 4 + 1 rows, the last without some phases
    assert b"" in stream.segments
    lively.check(data)
    lively.check(container.pack(stream))


def test_grey(lively):
    assert lively.check(lively.sample(33, 50, 20, grey=True)).ndim == 2


def alpha_planes():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:21, 0:37]
    disc = np.where((x - 18) ** 2 + (y - 10) ** 2 < 80, 255, 0)
    return {"constant": np.full((21, 37), 77), "noise": rng.integers(0, 256, (21, 37)),
            "mask": rng.choice([3, 200], (21, 37)), "disc": disc, "gradient": x * 3 + y * 5,
            "steps": x // 3 * 20 % 256, "columns": rng.choice([0, 255], 37) + 0 * y}


@pytest.mark.parametrize("name", alpha_planes())
def test_alpha(tiny, name):
    alpha = alpha_planes()[name].astype(np.uint8)
    data = tiny.codec.encode(Picture(synthetic_picture(21, 37), alpha), 1).data
    header, _ = reference.decode_grids(data, tiny.model)
    assert np.array_equal(reference.decode_alpha(header), alpha)
    tiny.check(data)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("kind", ["random", "few", "whole", "at rest"])
def test_plain_blocks(lively, grey, kind):
    rng, codec, sixteenths = np.random.default_rng(3), lively.codec, 20
    count = {"random": 20, "few": 2, "whole": 1, "at rest": 254}[kind]
    labels = rng.integers(0, count + 2, (6, 9)).astype(np.uint8)
    labels[1:4, 2:6] = {"whole": plains.PAINTED}.get(kind, 0)
    if kind == "whole":
        labels[:] = plains.PAINTED
    colours = rng.integers(0, 256, (count, 3)).astype(np.uint8)
    if grey:
        colours = np.repeat(colours[:, :1], 3, 1)
    start, size = (np.asarray(part) for part in codec.coder.prior.windows(sixteenths)[0])
    first = start[:, None] + rng.integers(0, 1 << 30, (len(size), count)) % size[:, None]
    packed = b"" if kind == "at rest" else plains.pack_indices(first, start, size)
    plain = plains.Plain(labels, colours, 32, packed)
    given = plain.given(codec.coder, sixteenths)
    grids = np.where(labels >= 2, np.asarray(given.indices)[:, labels.astype(int) - 2], sample_grids(codec, 6, 9, sixteenths, 4))
    segments = codec.code_grids(grids, sixteenths, given)
    assert bool(b"".join(segments)) == (kind != "whole")
    data = codec._packed(grids, segments, 90, 131, sixteenths, grey, None, finish=Finish(plain)).data
    samples = lively.check(data, tolerance=3)
    for (y, x), label in np.ndenumerate(labels):
        block = samples[16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
        assert label < 2 or (block == (colours[label - 2, 0] if grey else colours[label - 2])).all()
    stream = container.unpack(data)
    for at in range(0, len(stream.plain), max(1, len(stream.plain) // 20)):  # both refuse the same
        changed = bytearray(stream.plain)
        changed[at] ^= 1 << at % 8
        other = container.pack(dataclasses.replace(stream, plain=bytes(changed)))
        try:
            found = codec.decode_grids(other)
        except CorruptStreamError:
            with pytest.raises(reference.Invalid):
                reference.decode_grids(other, lively.model)
        else:
            assert np.array_equal(found, reference.decode_grids(other, lively.model)[1])
            lively.check(other, tolerance=3)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_curves(lively, grey, count):
    codec, sixteenths = lively.codec, 9
    random, shape = np.random.default_rng(count), (count, 1 if grey else 3)
    nodes = random.integers(40, 128, shape) * random.choice([-1, 1], shape)
    grids = sample_grids(codec, 3, 4, sixteenths, 1)
    made = [codec._packed(grids, codec.code_grids(grids, sixteenths), 40, 60, sixteenths, grey, None, finish=finish).data
            for finish in (Finish(), Finish(None, nodes))]
    assert len(made[1]) == len(made[0]) + 2 + nodes.size
    before, after = (lively.check(data, tolerance=tolerance).astype(int) for data, tolerance in zip(made, (1, 2)))
    assert 1 <= np.abs(after - before).max() <= 33
    stream = container.unpack(made[1])
    for curves in (b"", bytes(10 * (1 if grey else 3)), *([bytes(4)] if not grey else [])):
        bad = container.pack(dataclasses.replace(stream, curves=curves))
        with pytest.raises(CorruptStreamError, match="curves of"):
            codec.decode_grids(bad)
        with pytest.raises(reference.Invalid, match="curves"):
            reference.decode_grids(bad, lively.model)


def raw_deflate(content: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(content) + stream.flush()


def test_every_alpha_method_and_filter(tiny):
    header = reference.parse(tiny.sample(21, 37, 0))
    mask = np.packbits(alpha_planes()["mask"] == 200, axis=1)
    crossed = np.concatenate([mask[:1], mask[1:] ^ mask[:-1]])
    content = np.random.default_rng(1).integers(0, 256, (21, 38)).astype(np.uint8)
    content[:, 0] = np.arange(21) % 4
    planes = []
    for payload in (b"\1\x03\xc8" + raw_deflate(mask.tobytes()), b"\2\x03\xc8" + raw_deflate(crossed.tobytes()),
                    b"\3" + raw_deflate(content.tobytes())):
        header.alpha = payload
        planes.append(reference.decode_alpha(header))
        assert np.array_equal(planes[-1], decode_alpha(payload, 21, 37))
    assert np.array_equal(planes[0], alpha_planes()["mask"]) and np.array_equal(planes[1], planes[0])


@pytest.mark.parametrize("payload", [
    b"", b"\0", b"\0\1\1", b"\4\1", b"\1\5\5" + raw_deflate(bytes(3)), b"\1\1\2" + raw_deflate(b"\1\0\0"),
    b"\1\1\2" + raw_deflate(bytes(2)), b"\1\1\2" + raw_deflate(bytes(4)), b"\1\1\2" + raw_deflate(bytes(3)) + b"\0",
    b"\1\1\2" + raw_deflate(bytes(3))[:-1], b"\2\1\2" + raw_deflate(b"\0\1\1"), b"\3" + raw_deflate(b"\4" + bytes(17)),
    b"\3\xff\xff\xff"])
def test_both_decoders_refuse_the_same_alpha(tiny, payload):
    header = reference.parse(tiny.sample(3, 5, 0))
    header.alpha = payload
    with pytest.raises(reference.Invalid):
        reference.decode_alpha(header)
    with pytest.raises(CorruptStreamError):
        decode_alpha(payload, 3, 5)


def test_both_decoders_refuse_the_same_segments(tiny):
    """Canonical segments, empty steps and the number of segments (sections 5.2, 5.3, 9.4)."""
    stream = tabled(tiny.codec, tiny.sample(1, 1, 0))
    assert [bool(s) for s in stream.segments] == [True, *[False] * 6, True, False, False]
    fields = {name: getattr(stream, name) for name in stream.__dataclass_fields__}
    good = list(stream.segments)
    variants = [good[:1] + [b"\0"] + good[2:], [good[0] + b"\0"] + good[1:], good[:-1], [*good, b""]]
    for segments, join in [*((v, False) for v in (good, *variants)), *((v, True) for v in (good, *variants[:2]))]:
        changed = container.Stream(**fields | {"segments": tuple(segments)})
        data = container.pack(joined(changed) if join else changed)
        if segments is good:
            tiny.check(data)
            continue
        with pytest.raises(reference.Invalid):
            reference.decode_grids(data, tiny.model)
        with pytest.raises(CorruptStreamError):
            tiny.codec.decode_grids(data)


def test_the_decoders_refuse_a_quality_beyond_the_last(tiny):
    stream = container.unpack(tiny.sample(1, 1, 32))
    fields = {name: getattr(stream, name) for name in stream.__dataclass_fields__} | {"quality": 33}
    data = container.pack(container.Stream(**fields))
    with pytest.raises(reference.Invalid, match="quality"):
        reference.decode_grids(data, tiny.model)
    with pytest.raises(CorruptStreamError, match="quality"):
        tiny.codec.decode_grids(data)


def with_metadata(data: bytes, part: bytes, crc: int | None = None) -> bytes:
    """A picture's stream with metadata, written by hand."""
    size = container.peek(data).size
    fields = bytearray(data[: size - 2]) + uvarint(len(part))
    fields += (zlib.crc32(part) if crc is None else crc).to_bytes(4, "little")
    fields[3] |= 0x40
    return bytes(fields) + reference.crc16(fields).to_bytes(2, "little") + part + data[size:]


def uvarint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + uvarint(value >> 7)


def item(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + uvarint(len(content)) + content


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("table", [False, True])
def test_metadata_of_pictures(tiny, table, alpha):
    picture = Picture(synthetic_picture(21, 37), np.full((21, 37), 9, np.uint8) if alpha else None)
    data = tiny.codec.encode(picture, 2).data
    data = container.pack(tabled(tiny.codec, data)) if table else data
    items = {200: b"of a later version", 4: bytes(8), 1: b""}
    part = zlib.compress(b"".join(item(*pair) for pair in items.items()))
    longer = with_metadata(data, part)
    assert len(longer) == len(data) + 1 + 4 + len(part)
    (plain, grids), (header, same) = (reference.decode_grids(d, tiny.model) for d in (data, longer))
    assert np.array_equal(grids, same) and header.metadata == part and reference.read_metadata(part) == items
    assert dataclasses.replace(header, metadata=None, flags=header.flags ^ 64) == plain and plain.metadata is None
    for bad in (with_metadata(data, part, crc=1), with_metadata(data, b""), longer[:-1], longer.replace(part, part[1:])):
        with pytest.raises(reference.Invalid):
            reference.parse(bad)


def test_metadata_that_the_package_writes(tiny):
    part = metadata.pack(metadata.Metadata(density=(1, 2)))
    data = tiny.codec.encode(Picture(synthetic_picture(21, 37)), 2, metadata=part).data
    assert reference.parse(data).metadata == part
    tiny.check(data)


def test_the_specification_reads_what_the_package_packs():
    full = metadata.Metadata(exif=b"MM\0*", xmp=b"<x/>", icc=bytes(300), density=(3780, 3779), modified=-1,
                             tags=(("title", "Gr\u00fc\u00dfe"), ("artist", ""), ("artist", "B")))
    items = reference.read_metadata(metadata.pack(full))
    assert (items[1], items[2], items[3]) == (full.exif, full.xmp, full.icc)
    assert items[4] == (3780).to_bytes(4, "little") + (3779).to_bytes(4, "little") and items[6] == b"\xff" * 8
    assert tuple(reference.read_tags(items[5])) == full.tags
    assert metadata.unpack(zlib.compress(item(77, b"later") + item(4, items[4]))) == metadata.Metadata(density=full.density)


@pytest.mark.parametrize("part", [
    b"", b"x", zlib.compress(item(1, b"a"))[:-1], zlib.compress(b"") + b"\0", zlib.compress(item(1, b"a") * 2),
    zlib.compress(item(9, b"a") * 2), zlib.compress(item(1, b"ab")[:-1]), zlib.compress(item(4, bytes(7))),
    zlib.compress(item(6, bytes(9))), zlib.compress(item(5, item(1, b"")[1:])), zlib.compress(item(5, b"\1\xff\0")),
    zlib.compress(item(5, b"\2a")), zlib.compress(b"\1\x81\0a"), zlib.compress(b"\1\x80\x80\x80\x80\1"),
    zlib.compress(item(1, bytes((1 << 22) - 4))), zlib.compress(b"a")[2:]])
def test_both_decoders_refuse_the_same_metadata(part):
    with pytest.raises(reference.Invalid):
        reference.read_metadata(part)
    with pytest.raises(CorruptStreamError):
        metadata.unpack(part)


def test_metadata_of_the_greatest_size():
    part = zlib.compress(item(1, bytes((1 << 22) - 5)))  # five bytes are kind and length
    assert len(reference.read_metadata(part)[1]) == len(metadata.unpack(part).exif) == (1 << 22) - 5


@pytest.mark.parametrize("size", [1, 2, 3, 96, 4096])
def test_least_length_of_a_segment(size):
    """No segment is shorter than section 4.6 says, and one of the likeliest symbols hardly longer."""
    row = [0, *range(1, size), 65536]  # the last symbol has all that others can spare
    count = 60 * (1 << 20) // (23 * size) if size > 1 else 500
    rows = [row] * min(count, 20000)
    least, found = reference.least_length([size] * len(rows)), len(reference.encode_segment([size - 1] * len(rows), rows))
    assert least <= found <= 1.06 * least + 2
    if size == 96:
        assert least > 4


def test_the_least_length_holds_at_every_size():
    """Of one symbol after the other, where rounding matters most."""
    rng = np.random.default_rng(2)
    for size in (2, 5, 300):
        rows, symbols = [], []
        for _ in range(150):
            hot = int(rng.integers(size))
            rows.append([j if j <= hot else 65536 - size + j for j in range(size + 1)])
            symbols.append(hot)
            assert len(reference.encode_segment(symbols, rows)) >= reference.least_length([size] * len(rows))


@pytest.mark.parametrize("slices", [1, 2])
def test_the_least_payload_is_the_packages(lively, slices):
    prior, found = lively.codec.coder.prior, []
    for positions in (1, 16384, 1 << 22):
        for q in (0, 5, 16, 31, 32):
            found.append(prior.least_bytes(positions, q, slices))
            assert found[-1] == reference.least_payload(positions, q, lively.model, slices)
    assert found[0] == 1 and max(found) > 1000


def test_the_least_payload_holds_for_released_streams():
    model, found = reference.read_model(registry.find_by_name("photo-3", registry.packaged_dir()).path), []
    for path in (Path(__file__).parent / "golden").glob("photo-3_*.vq"):
        header = reference.parse(path.read_bytes())
        blocks = -(-header.width // 16) * -(-header.height // 16) - len(reference.given_indices(header, model))
        found.append((reference.least_payload(blocks, header.quality, model, len(model.slices)), len(header.payload)))
    assert max(found)[0] > 4 and all(least <= length for least, length in found)
    claimed = [reference.least_payload(1 << 22, q, model, len(model.slices)) for q in range(0, 113, 16)]  # the greatest pictures
    assert 30_000 < min(claimed) and max(claimed) < 2**30 // 100 // 8


# --- tables and examples of the text -------------------------------------------------------------------------

def test_sections_that_are_named_exist():
    """In the text, and in what was written from it."""
    headings = re.findall(r"^#{2,3} ([\d.]+) ", TEXT, re.MULTILINE)
    assert headings == sorted(set(headings), key=lambda number: [int(part) for part in number.split(".")])
    tests = [Path(__file__).parent / name for name in ("reference_decoder.py", "reference_sound.py")]
    for text in (TEXT, *(path.read_text(encoding="utf-8") for path in tests)):
        lists = re.findall(r"[Ss]ections? (\d[\d.]*(?:(?:, | and | to )\d[\d.]*)*)", text)
        named = {number.rstrip(".") for found in lists for number in re.findall(r"\d[\d.]*", found)}
        assert named and named <= set(headings), named - set(headings)
    rows = re.findall(r"^\| \S.* \| .+ \| ((?:\d+\.\d+)(?:, \d+\.\d+)*) \|$", TEXT, re.MULTILINE)  # symbols
    assert len(rows) > 25 and {number for row in rows for number in row.split(", ")} <= set(headings)


def tensors_of(part: str, values: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Names and shapes by the table in a part's section "Synthesis", its expressions evaluated."""
    section = re.search(r"^### [\d.]+ Synthesis\n(.*?)^### ", TEXT[TEXT.index(part) :], re.MULTILINE | re.DOTALL).group(1)
    table = re.search(r"^\| name \| shape of weight.*\n\|[-|]+\n((?:\|.*\n)+)", section, re.MULTILINE).group(1)
    found = {}
    for row in table.splitlines():
        names, shape = (cell.strip() for cell in row.strip("|").split(" | "))
        shape = tuple(eval(part.replace("·", "*").replace("−", "-"), {}, values) for part in shape.split(", "))
        every = re.search(r", 0 ≤ j < (n\d)$", names)
        names = (names[: every.start()] if every else names).replace("*", "").split(", ")
        for j in range(values[every.group(1)] if every else 1):
            for name in (name.replace(".j.", f".{j}.") for name in names):
                if name == "log_gain" or name.startswith("condition."):
                    found[name] = shape
                else:
                    found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return found


def check_decoder_table(part: str, entry, values: dict[str, int]) -> None:
    stored = load_file(entry.path / "decoder.safetensors")
    plain = {name: tuple(tensor.shape) for name, tensor in stored.items() if not name.endswith(".scale8")}
    assert plain == tensors_of(part, values)
    for name, tensor in stored.items():
        allowed = [torch.float32] if name.endswith(".scale8") else [torch.float16, torch.float32]
        assert tensor.dtype in allowed + [torch.int8] * name.endswith(".weight")
        assert (f"{name}.scale8" in stored) == (tensor.dtype == torch.int8)


@pytest.mark.parametrize("name", ["photo-3", "photo-ssim-1"])
def test_the_table_of_tensors_of_pictures(name):
    entry = registry.find_by_name(name, registry.packaged_dir())
    t = reference.read_model(entry.path).config["transform"]
    values = {"D": t["latent_dims"], "Q": len(t["lambdas"])}
    values |= {f"c{i + 1}": c for i, c in enumerate(t["channels"])} | {f"n{i + 1}": n for i, n in enumerate(t["decoder_blocks"])}
    check_decoder_table("## 9 Pictures", entry, values)


def test_the_table_of_tensors_of_pictures_in_integers():
    """Names, dtypes, shapes and ranges."""
    config = TransformConfig(latent_dims=11, channels=(5, 6, 7), decoder_blocks=(1, 2, 3), lambdas=(1.0, 2.0))
    section = TEXT[TEXT.index("Synthesis in integers\n") :]
    table = re.search(r"^\| name \| dtype \| shape \| range \|\n\|[-|]+\n((?:\|.*\n)+)", section, re.MULTILINE).group(1)
    values, kinds, found = {"D": 11, "Q": 2, "c1": 5, "c2": 6, "c3": 7}, {"I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64"}, {}

    def number(text: str, **more: int) -> int:
        return eval(re.sub(r"\^", "**", text.replace("·", "*").replace("−", "-")), {}, values | more)

    def extent(text: str) -> tuple[int, int]:
        text = text.split(";")[0]
        if text.startswith("±"):
            return -number(text[1:]), number(text[1:])
        return tuple(number(part) for part in text.split("…"))

    for row in table.splitlines():
        names, dtypes, shapes, ranges = (cell.strip() for cell in row.strip("|").split(" | "))
        ranges = "±(2^15 − 1), ±(2^31 − 1), 1…30" if "stem" in names or ranges == "as of stem" else ranges
        first, *others = names.replace("*block*", "block").split(", ")
        stem = first.rpartition(".")[0]
        parts = [first] + [f"{stem}{other}" if other.startswith(".") else other for other in others]
        shapes = re.findall(r"\(([^)]*)\)", shapes) if "(" in shapes else [shapes]
        ranges = re.findall(r"(?:[^,(]|\([^)]*\))+", ranges)
        for name, dtype, shape, span in zip(parts, dtypes.split(", "), shapes, ranges):
            for block, channels in blocks(config) if name.startswith("block.") else [("", 0)]:
                sides = tuple(number(part, c=channels) for part in shape.split(", "))
                found[name.replace("block", block)] = (sides, (kinds[dtype],), *extent(span.strip()))
    assert found == {name: (s.shape, s.dtypes, s.least, s.most) for name, s in tensors(config).items()}


def test_the_example_of_a_header_with_metadata():
    section = re.search(r"^### [\d.]+ Example of a header with metadata\n.*?^###", TEXT, re.MULTILINE | re.DOTALL).group()
    lines = re.findall(r"^    ((?:[0-9a-f]{2} ?)+)(?=  |$)", section, re.MULTILINE)
    data = bytes.fromhex("".join(lines))
    header = reference.parse(data + bytes(1628))
    content = zlib.decompress(header.metadata)
    assert f"`{content.hex(' ')}`" in TEXT
    assert reference.read_metadata(header.metadata) == {4: (3780).to_bytes(4, "little") * 2}
    with pytest.raises(reference.Invalid, match="length of the file"):
        reference.parse(data + bytes(1627))


# --- the worked example --------------------------------------------------------------------------------------

def parse_dump(text: str) -> bytes:
    """Bytes of a dump: lines of offset (hex), hex bytes with one space between them, and a comment, the three
    set apart by two spaces or more. Raises ValueError where an offset is not that of its line."""
    data = b""
    for line in filter(str.strip, text.splitlines()):
        fields = re.split(r" {2,}", line.strip(), maxsplit=2)
        whole = len(fields) > 1 and re.fullmatch(r"[0-9a-f]{2}( [0-9a-f]{2})*", fields[1])
        if not whole or int(fields[0], 16) != len(data):
            raise ValueError(f"not at {len(data):04x}, or not a line of a dump: {line!r}")
        data += bytes.fromhex(fields[1])
    return data


def worked_examples(text: str) -> list[bytes]:
    """The bytes of each dump in a fenced block of the section "Worked example"."""
    section = re.search(r"^### [\d.]+ Worked example\n(.*?)(?=^##? |\Z)", text, re.MULTILINE | re.DOTALL).group(1)
    blocks = re.findall(r"^```\w*\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    dumps = [block for block in blocks if re.match(r"\s*[0-9a-f]+ {2,}[0-9a-f]{2}\b", block)]
    return [parse_dump(dump) for dump in dumps]


def test_dumps_are_parsed():
    text = ("### 7.1 Worked example\n\nText.\n\n```\n0000  56 51        magic, 'be ad'\n0002  01\n\n```\nand\n"
            "```text\n0000  0a 0b  de ad\n```\n\n```\nno dump\n```\n## 8 Changes\n```\n0000  56\n```\n")
    assert worked_examples(text) == [bytes.fromhex("565101"), bytes.fromhex("0a0b")]
    for bad in ("0001  56\n", "0000  56\n0002  51\n", "0000  5\n", "0000  56 xy\n", "0000\n"):
        with pytest.raises(ValueError):
            parse_dump(bad)


def test_the_worked_examples_decode():
    table, joint = worked_examples(TEXT)
    entry = registry.find_by_name("photo-3", registry.packaged_dir())
    assert reference.parse(table).model_id == entry.id
    pair = Pair(entry)
    for data in (table, joint):
        pair.check(data)  # the checksum of the grids among others
    assert joint == container.pack(joined(container.unpack(table)))
