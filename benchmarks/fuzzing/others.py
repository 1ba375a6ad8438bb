"""Files of others: pictures and recordings to encode, models."""

from __future__ import annotations

import io
import random
import re
import shutil
import struct
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from conftest import make_tiny_audio_model, make_tiny_model, synthetic_picture, synthetic_sound
from helpers import mutate
from PIL import Image, features
from safetensors.torch import load_file, save_file

from vqcodec.picture.codec import Codec
from vqcodec.picture.file import Picture, read_picture
from vqcodec.sound.codec import AudioCodec
from vqcodec.sound.file import Sound, SoundReader
from vqcodec.zoo import registration


class PictureFiles:
    """Damaged pictures; of PNG, below checksums that fit."""

    kinds: ClassVar = {"bytes": 3, "checked": 2}

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        self.rng, self.files = rng, []
        picture = Image.fromarray(synthetic_picture(40, 56))
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "text"
        alpha = picture.convert("RGBA")
        alpha.putalpha(picture.convert("L"))
        deep = Image.fromarray(np.arange(40 * 56, dtype=np.uint16).reshape(40, 56) * 29)
        for image, format, options in (
                (picture, "PNG", {"exif": exif, "dpi": (72, 72)}), (alpha, "PNG", {}), (picture.convert("1"), "PNG", {}),
                (picture.convert("P"), "PNG", {"transparency": 3}), (deep, "PNG", {}), (picture, "JPEG", {"exif": exif}),
                (picture.convert("CMYK"), "JPEG", {}), (picture, "JPEG", {"progressive": True}), (alpha, "WEBP", {}),
                (picture, "WEBP", {"lossless": True}), (picture, "TIFF", {}), (deep, "TIFF", {}), (alpha, "TIFF", {"compression": "tiff_lzw"}),
                (picture, "TIFF", {"compression": "jpeg"}), (picture.convert("P"), "GIF", {}), (picture, "BMP", {}), (picture, "PPM", {}),
                (alpha, "TGA", {}), (picture, "JPEG2000", {}), (picture, "AVIF", {}), (picture.convert("P"), "PCX", {}), (alpha, "ICO", {}),
                (alpha, "DDS", {}), (picture, "SGI", {})):
            if format != "AVIF" or features.check("avif"):
                file = io.BytesIO()
                image.save(file, format, **options)
                self.files.append(file.getvalue())

    def make(self, kind: str) -> bytes:
        data = mutate(self.rng, self.rng.choice(self.files if kind == "bytes" else self.files[:5]), self.rng.choice(self.files))
        return data if kind == "bytes" else rechecked(data)

    def judge(self, path: Path) -> str:
        picture = read_picture(path.read_bytes(), "input")
        assert picture.rgb.size == 3 * picture.rgb.shape[0] * picture.rgb.shape[1] > 0
        return "accepted"


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


class SoundFiles:
    """Damaged recordings."""

    kinds: ClassVar = {"bytes": 1}

    def __init__(self, folder: Path, rng: random.Random, entry=None):
        import soundfile
        from sound import sound_bytes

        self.rng, self.files = rng, []
        for kind, subtype in (("WAV", None), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAV", "GSM610"), ("FLAC", None),
                              ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("AIFF", None), ("AU", None), ("CAF", None),
                              ("CAF", "ALAC_16"), ("W64", None), ("RF64", None)):
            for seconds, rate, channels in ((0.05, 48000, 1), (0.3, 8000, 2)):
                if soundfile.check_format(kind, subtype or soundfile.default_subtype(kind)):
                    try:
                        self.files.append(sound_bytes.encoded(kind, subtype, seconds=seconds, rate=rate, channels=channels))
                    except soundfile.LibsndfileError:  # not at this rate, or not so many channels
                        continue
        try:
            for container, codec in (("mp4", "aac"), ("matroska", "aac"), ("mov", "alac"), ("asf", "wmav2")):
                self.files.append(sound_bytes.made_by_av(container, codec, seconds=0.2))
        except Exception:  # no PyAV, or without this encoder
            pass

    def make(self, kind: str) -> bytes:
        return mutate(self.rng, self.rng.choice(self.files), self.rng.choice(self.files))

    def judge(self, path: Path) -> str:
        reader = SoundReader.open(path)
        assert sum(len(block) for block in reader.blocks()) == reader.length
        return "accepted"


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
        back = opened.decode(coded)
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

