"""`python -m vqcodec.picture.to_integers MODEL PICTURES... --out FOLDER`: a model of pictures → the same model with a decoder in
integers (`integer.py`), without any training. Encoder, codebooks and prior stay as they are. The pictures tell what goes through
the decoder; FOLDER becomes a model's, to be registered with `zoo.registration.register`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.numpy import save_file

from ..errors import InputError, VqcodecError
from ..indices.quantize import codewords_of, nearest
from ..zoo import config as configuration
from ..zoo import registry
from .calibration import decoder_tensors
from .codec import Codec
from .crops import Crops, find_pictures
from .torch_codec import TorchCodec

BATCHES, COUNT, SIDE, DRAWN = 24, 8, 256, 0.15


def convert(codec: TorchCodec, crops: Crops, out: Path) -> None:
    """Writes the files of a codec's model with a decoder in integers into a new folder. Raises InputError."""
    config = replace(codec.model, transform=replace(codec.model.transform, arithmetic="integer"))
    tensors = decoder_tensors(codec.decoder, latents(codec, crops), config.transform)
    try:
        out.mkdir(parents=True)
        for file in codec.entry.sha256:
            (out / file).write_bytes(codec.entry.read(file))
        (out / "config.toml").write_text(configuration.to_toml(config))
    except OSError as error:
        raise InputError(f"{out}: {error.strerror}") from None
    save_file(tensors, out / "decoder.safetensors")


@torch.no_grad()
def latents(codec: TorchCodec, crops: Crops) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(latents f32[B,D,h,w] as they are decoded, level f32[B]) of crops, each at one of the qualities in turn."""
    layouts = codec.coder.layouts
    for number in range(BATCHES):
        level = torch.arange(number * COUNT, (number + 1) * COUNT) % codec.qualities
        present = torch.tensor([codec.model.quantizer.present(int(index)) for index in level]).float()
        dims = present.repeat_interleave(torch.tensor([s.groups * s.d for s in layouts]), 1)[:, :, None, None]
        y = codec.encoder(crops.batch(number, SIDE, COUNT).float() / 255, level.float()) * dims
        chosen = nearest(y, codec.coder.codebooks, layouts)
        yield codewords_of(chosen, codec.coder.codebooks, (len(y), *y.shape[2:])) * dims, level.float()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m vqcodec.picture.to_integers", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        codec = Codec.open(registry.find_by_name(options.model, None, "image"))
        convert(codec, Crops(find_pictures(options.pictures), share=DRAWN), options.out)
    except VqcodecError as error:
        sys.exit(f"to_integers: error: {error}")


if __name__ == "__main__":
    main()
