"""Decodes every stream of a folder in a process of its own settings, and writes down what it got.

python exactness_worker.py FOLDER OUTPUT: FOLDER holds models/ and NAME.MODEL.vq; OUTPUT becomes an .npz with
NAME.MODEL.grids, .again (1: encoding these grids gave the same bytes) and .pixels of the small ones.
The last line of standard output says how it ran, as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from vqcodec import container, rangecoder, registry
from vqcodec.codec import Codec


def main(folder: Path, output: Path) -> None:
    codecs, found = {}, {}
    for path in sorted(folder.glob("*.vq")):
        model = path.stem.split(".")[1]
        if model not in codecs:
            codecs[model] = Codec.open(registry.find_by_name(model, folder / "models"))
        data, codec = path.read_bytes(), codecs[model]
        s = container.unpack(data)
        grids = codec.decode_grids(data)
        found[f"{path.stem}.grids"] = grids
        found[f"{path.stem}.again"] = codec.encode_tokens(grids, s.width, s.height, 1 + s.quality / 16).data == data
        if s.width * s.height < 100000:
            found[f"{path.stem}.pixels"] = codec.decode(data).rgb
    np.savez(output, **found)
    print(json.dumps({"threads": torch.get_num_threads(), "capability": torch.backends.cpu.get_cpu_capability(),
                      "torchac": rangecoder.torchac_ready()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
