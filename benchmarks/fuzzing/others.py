"""Files of others: pictures and recordings to encode, models."""

from __future__ import annotations

import io
import random
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import soundfile
import torch
from conftest import make_tiny_audio_model, make_tiny_model, synthetic_picture, synthetic_sound
from helpers import mutate
from picture.image_files import directory, tiff
from PIL import Image, ImageCms, PngImagePlugin
from safetensors.torch import load_file, save_file

from vqcodec import medium
from vqcodec.fileio import Source
from vqcodec.picture.codec import Codec
from vqcodec.picture.file import Picture
from vqcodec.sound.codec import AudioCodec
from vqcodec.sound.file import Sound
from vqcodec.zoo import registration, registry


class Files:
    """Files that are read and encoded as a command does it, metadata and all."""

    kinds: ClassVar = {"bytes": 1}
    tiny = (make_tiny_model, "tiny", "image")

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        make, name, modality = self.tiny
        make(folder)
        self.rng, self.medium = rng, medium.of_modality(modality)
        self.codec = self.medium.open(registry.find_by_name(name, folder, modality), encoder=True)
        self.files = list(self.samples())

    def samples(self) -> Iterator[bytes]:
        raise NotImplementedError

    def make(self, kind: str) -> bytes:
        return mutate(self.rng, self.rng.choice(self.files), self.rng.choice(self.files))

    def judge(self, path: Path) -> str:
        request = medium.Request(exact=self.rng.random() < 0.3, strict=self.rng.random() < 0.3, effort=0)
        samples, parts = self.medium.read(Source.open(path), request), []
        self.check(samples)
        if self.rng.random() < 0.2:
            self.medium.encode(self.codec, samples, request, parts.append)
            self.medium.verify(self.codec, io.BytesIO(b"".join(parts)))
            return "encoded"
        return "read"

    def check(self, samples) -> None:
        raise NotImplementedError


class PictureFiles(Files):
    """Damaged pictures; of PNG, below checksums that fit."""

    kinds: ClassVar = {"bytes": 3, "checked": 2}

    def samples(self) -> Iterator[bytes]:
        picture = Image.fromarray(synthetic_picture(40, 56))
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "text"
        alpha = picture.convert("RGBA")
        alpha.putalpha(picture.convert("L"))
        deep = Image.fromarray(np.arange(40 * 56, dtype=np.uint16).reshape(40, 56) * 29)
        icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

        def many() -> dict:
            return {"save_all": True, "append_images": [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]}

        for image, format, options in (  # the first six are PNG
                (picture, "PNG", {"exif": exif, "dpi": (72, 72), "icc_profile": icc}), (alpha, "PNG", many()), (picture.convert("1"), "PNG", {}),
                (picture.convert("P"), "PNG", {"transparency": 3}), (deep, "PNG", {}), (picture, "PNG", {"pnginfo": colours()}),
                (picture, "JPEG", {"exif": exif, "icc_profile": icc}),
                (picture.convert("CMYK"), "JPEG", {}), (picture, "JPEG", {"progressive": True}), (picture, "MPO", many()), (alpha, "WEBP", many()),
                (picture, "WEBP", {"lossless": True, "exif": exif, "icc_profile": icc}), (picture, "TIFF", {"exif": exif, "icc_profile": icc}),
                (deep, "TIFF", {}), (alpha, "TIFF", {"compression": "tiff_lzw"}), (picture, "TIFF", {"compression": "tiff_adobe_deflate"}),
                (picture, "TIFF", {"compression": "jpeg"}), (picture, "TIFF", many()), (picture.convert("1"), "TIFF", {"compression": "group4"}),
                (picture.convert("P"), "GIF", many()), (picture, "BMP", {}), (picture, "PPM", {}), (alpha, "TGA", {"compression": "tga_rle"}),
                (picture, "JPEG2000", {}), (alpha, "JPEG2000", {"irreversible": True}), (picture, "AVIF", {"exif": exif}), (alpha, "AVIF", {}),
                (picture.convert("P"), "PCX", {}), (alpha, "ICO", {}), (alpha, "ICNS", {}), (alpha, "DDS", {}), (picture, "SGI", {}),
                (picture, "HEIF", {})):
            file = io.BytesIO()
            try:
                image.copy().save(file, format, **options)  # saving as JPEG leaves something in the image
            except (KeyError, OSError):  # not in this Pillow
                continue
            yield file.getvalue()
        pixels = np.arange(3 * 40 * 56).astype(">u2").tobytes()
        deep = directory(pixels, 56, 40, (16, 16, 16), 2)
        yield tiff(directory(bytes(3 * 28 * 20), 28, 20, (8, 8, 8), 2, t254=1, t330=[deep]))  # as DNG: a preview, the picture below
        yield tiff(deep, order=">")
        yield tiff(directory(bytes(40 * 56), 56, 40, (8,), 0), big=True)

    def make(self, kind: str) -> bytes:
        data = mutate(self.rng, self.rng.choice(self.files if kind == "bytes" else self.files[:6]), self.rng.choice(self.files))
        return data if kind == "bytes" else rechecked(data)

    def check(self, samples) -> None:
        assert samples.rgb.size == 3 * samples.rgb.shape[0] * samples.rgb.shape[1] > 0


def colours() -> PngImagePlugin.PngInfo:
    """Chunks of PNG that say what colours are."""
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", struct.pack(">I", 100000))
    info.add(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
    info.add(b"cICP", bytes([12, 13, 0, 1]))
    info.add_text("Title", "text", zip=True)
    info.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    return info


def rechecked(data: bytes) -> bytes:
    """A PNG whose chunks have checksums that fit, as far as there are chunks."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        (length,) = struct.unpack(">I", out[at : at + 4])
        end = at + 8 + length
        if end + 4 > len(out):
            break
        out[end : end + 4] = struct.pack(">I", zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


class SoundFiles(Files):
    """Damaged recordings, whole ones joined, and some within others."""

    kinds: ClassVar = {"bytes": 3, "joined": 1}
    tiny = (make_tiny_audio_model, "tinysound", "audio")

    def samples(self) -> Iterator[bytes]:
        from sound import sound_bytes

        for kind, subtype in (("WAV", None), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("WAVEX", None),
                              ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("OGG", "FLAC"), ("MP3", None), ("AIFF", None), ("AU", None),
                              ("CAF", None), ("CAF", "ALAC_16"), ("W64", None), ("RF64", None), ("SVX", None), ("NIST", None), ("VOC", None),
                              ("PAF", None), ("PVF", None), ("IRCAM", None), ("AVR", None), ("SDS", None), ("HTK", None), ("MAT4", None),
                              ("MAT5", None), ("WVE", "ALAW"), ("XI", None)):
            for seconds, rate, channels in ((0.05, 48000, 1), (0.3, 8000, 2)):
                try:
                    yield sound_bytes.encoded(kind, subtype, seconds=seconds, rate=rate, channels=channels)
                except (soundfile.LibsndfileError, ValueError):  # not here, not at this rate, or not so many channels
                    continue
        for container, codec in (("mp4", "aac"), ("adts", "aac"), ("matroska", "aac"), ("mov", "alac"), ("asf", "wmav2"), ("ac3", "ac3"),
                                 ("tta", "tta"), ("wv", "wavpack")):
            try:
                yield sound_bytes.made_by_av(container, codec, seconds=0.2)
            except Exception:  # no PyAV, or without this encoder
                continue

    def make(self, kind: str) -> bytes:
        if kind == "bytes":
            return super().make(kind)
        parts = [self.rng.choice(self.files) for _ in range(2)]
        if self.rng.random() < 0.3:
            from sound import sound_bytes

            parts.insert(0, sound_bytes.id3(self.rng.choice((0, 1, 100, 3000))))
        return b"".join(mutate(self.rng, part) if self.rng.random() < 0.4 else part for part in parts)

    def check(self, samples) -> None:
        assert sum(len(block) for block in samples.blocks()) == samples.length


class Models:
    """Models with other configurations, other tensors or other bytes, and hashes that fit."""

    kinds: ClassVar = {"config": 3, "tensors": 5, "bytes": 2}

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        self.rng, self.folder, self.registered = rng, folder, folder / "registered"
        make_tiny_model(folder)
        make_tiny_audio_model(folder)
        self.codecs = {"tiny": (Codec, "image", Picture(synthetic_picture(20, 33))),
                       "tinysound": (AudioCodec, "audio", Sound(synthetic_sound(3000), 8000))}

    def make(self, kind: str) -> bytes:
        """A seed that says what is changed; the folder is made anew by it."""
        return f"{kind} {self.rng.getrandbits(48)}".encode()

    def judge(self, data: bytes) -> str:
        kind, seed = data.decode().split()
        rng = random.Random(int(seed))
        name = rng.choice(list(self.codecs))
        codec, modality, thing = self.codecs[name]
        folder = self.folder / "changed"
        for path in (folder, self.registered):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.folder / name, folder)
        if kind == "config":
            path = folder / "config.toml"
            path.write_text(self._config(rng, path.read_text()))
        else:
            path = folder / f"{rng.choice(('prior', 'codebook', 'decoder', 'encoder'))}.safetensors"
            if kind == "bytes":
                path.write_bytes(mutate(rng, path.read_bytes()))
            else:
                tensors = load_file(path)
                for _ in range(rng.randint(1, 2)):
                    self._change(rng, tensors)
                save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        entry = registration.register(folder, name, self.registered, id=60007, modality=modality)
        opened = codec.open(entry, encoder=True)
        coded = opened.encode(thing, rng.uniform(1, opened.qualities), effort=rng.randint(0, 1)).data
        back = codec.open(entry, encoder=rng.random() < 0.3).decode(coded)  # in torch, or by the decoder without it
        assert (back.rgb.shape if modality == "image" else back.samples.shape) == (
            thing.rgb.shape if modality == "image" else thing.samples.shape)
        return "accepted"

    @staticmethod
    def _config(rng: random.Random, text: str) -> str:
        if rng.random() < 0.3:
            return mutate(rng, text.encode()).decode("utf-8", "replace")
        numbers = list(re.finditer(r"-?\d+(\.\d+)?", text))
        found = rng.choice(numbers)
        other = rng.choice(("0", "-1", "1", "2", "3", "7", "64", "1000", "1000000000", "nan", "inf", "0.5", "1e300", "[]", '"x"'))
        return text[: found.start()] + other + text[found.end() :]

    @staticmethod
    def _change(rng: random.Random, tensors: dict) -> None:
        name = rng.choice(list(tensors))
        tensor = tensors[name]
        choice = rng.randrange(5)
        if choice <= 1 and tensor.numel():
            value = rng.choice((0, 1, -1, 127, -128, 2**31 - 1, -(2**31), -(2**63), 0.5, 1e4, 1e30, float("nan"), float("inf")))
            flat = tensor.reshape(-1).clone()
            part = slice(None) if choice else rng.randrange(flat.numel())
            try:
                flat[part] = value
            except (RuntimeError, OverflowError, ValueError):
                return
            tensors[name] = flat.reshape(tensor.shape)
        elif choice == 2:
            tensors[name] = tensor.to(rng.choice((torch.float32, torch.float16, torch.int8, torch.int32, torch.int64, torch.uint8)))
        elif choice == 3:
            shape = list(tensor.shape) or [1]
            shape[rng.randrange(len(shape))] = rng.choice((0, 1, 2, 3, 5))
            tensors[name] = torch.zeros(shape, dtype=tensor.dtype)
        else:
            del tensors[name]
            if rng.random() < 0.5:
                tensors[name + "x"] = tensor

