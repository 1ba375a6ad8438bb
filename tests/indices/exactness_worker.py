"""Decodes every stream of a folder in a process of its own settings, and writes down what it got.

python exactness_worker.py FOLDER OUTPUT: FOLDER holds models/ and NAME.MODEL.vq; OUTPUT becomes an .npz with
NAME.MODEL.grids, .again (1: encoding these grids gave the same bytes) and .decoded, pixels of the small ones or samples; of
models whose pixels are exact also .numpy, those of the decoder that needs no torch.
The last line of standard output says how it ran, as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from vqcodec.picture import stream as container
from vqcodec.indices import rangecoder
from vqcodec.zoo import registry
from vqcodec.sound import stream as sound_container
from vqcodec.sound.codec import AudioCodec
from vqcodec import medium
from vqcodec.picture.codec import Codec

CODECS = {"image": Codec, "audio": AudioCodec}


def main(folder: Path, output: Path) -> None:
    codecs, found = {}, {}
    for path in sorted(folder.glob("*.vq")):
        model = path.stem.split(".")[1]
        if model not in codecs:
            entry = registry.find_by_name(model, folder / "models", None)
            codecs[model] = CODECS[entry.modality].open(entry)
        data, codec = path.read_bytes(), codecs[model]
        grids = codec.decode_grids(data)
        found[f"{path.stem}.grids"] = grids
        if medium.of_stream(data).modality == "audio":
            again = codec.encode_tokens(grids, sound_container.peek(data)[0])
            found[f"{path.stem}.decoded"] = codec.decode(data).samples
        else:
            s = container.unpack(data)
            again = codec.encode_tokens(grids, s.width, s.height, 1 + s.quality / 16)
            if s.width * s.height < 100000:
                found[f"{path.stem}.decoded"] = codec.decode(data).rgb
                if codec.exact:
                    found[f"{path.stem}.numpy"] = Codec.open(codec.entry, encoder=False).decode(data).rgb
        found[f"{path.stem}.again"] = again.data == data
    np.savez(output, **found)
    print(json.dumps({"threads": torch.get_num_threads(), "capability": torch.backends.cpu.get_cpu_capability(),
                      "torchac": rangecoder.torchac_ready()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
