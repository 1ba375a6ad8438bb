"""How well a model that draws does: bits per index of files it has not seen, a classifier of real files on its samples, copies.

    python benchmarks/drawn.py emoji-1 FILES/ [--held-out OTHERS/] [--models-dir DIR] [--sheet sheet.png] [--kind 0]

Files have labels in their names, as training takes them; without --held-out those are held out that training has set aside. --kind:
of labels, which is asked for.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from vqcodec import medium
from vqcodec.fileio import Source
from vqcodec.indices.drawing import Drawing
from vqcodec.train.data import split
from vqcodec.train.items import labels_of
from vqcodec.zoo import registry

ITEMS = 8  # of each label


def seen(decoded) -> np.ndarray:
    """f32[C,h,w] that the classifier looks at: pixels in 0..1, or a spectrogram of 64 bands."""
    if not hasattr(decoded, "rate"):
        return np.asarray(decoded.convert("RGB").resize((64, 64)), np.float32).transpose(2, 0, 1) / 255
    x = decoded.samples[:, 0]
    x = np.pad(x / max(1e-3, np.abs(x).max()), (128, 10240))[:10368]  # 1.28 s at 8 kHz
    frames = np.lib.stride_tricks.sliding_window_view(x, 256)[::160] * np.hanning(256).astype(np.float32)
    power = np.abs(np.fft.rfft(frames))[:, :128].reshape(len(frames), 64, 2).sum(2)
    return np.log(power.T + 1e-2)[None].astype(np.float32) / 4


def encoded(media, codec, path: Path) -> bytes:
    """At the lowest quality."""
    parts, request = [], medium.Request(1.0, effort=0)
    media.encode(codec, media.read(Source.open(path), request), request, parts.append)
    return b"".join(parts)


def classifier(channels: int, classes: int) -> nn.Module:
    widths, layers = (channels, 24, 48, 64), []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(1024, classes))


def fit(net: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int) -> nn.Module:
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.05)
    weight = 1 / torch.bincount(y).clamp_min(1).float()
    for step in range(steps):
        pick = torch.multinomial(weight[y], 64, replacement=True)  # all labels alike
        shift = torch.randint(-4, 5, (2,)).tolist()
        loss = F.cross_entropy(net(torch.roll(x[pick], shift, (2, 3))), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def order_zero(train: list[np.ndarray], held_out: list[np.ndarray]) -> float:
    """Bits per index of grids int64[G,…] by how often each group's indices are in others, plus a half each."""
    most = 1 + max(grids.max() for grids in train + held_out)
    counts = np.full((len(train[0]), most), 0.5)
    for grids in train:
        for counted, grid in zip(counts, grids):
            counted += np.bincount(grid.ravel(), minlength=most)
    bits = -np.log2(counts / counts.sum(1, keepdims=True))
    return sum(bits[g, grid].sum() for grids in held_out for g, grid in enumerate(grids)) / sum(g.size for g in held_out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("files", type=Path)
    parser.add_argument("--held-out", type=Path)
    parser.add_argument("--set-aside", type=int, default=64)
    parser.add_argument("--models-dir")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--kind", type=int, default=0)
    parser.add_argument("--steps", type=int, default=400)
    given = parser.parse_args()
    entry = registry.find_by_name(given.model, given.models_dir, None)
    media = medium.of_modality(entry.modality)
    codec = media.open(entry, encoder=True)
    kinds = codec.model.prior.labels
    paths = sorted(path for path in given.files.iterdir() if path.is_file())
    learned, aside = (paths, sorted(given.held_out.iterdir())) if given.held_out else split(paths, given.set_aside)
    files = {"train": learned, "held_out": aside}
    streams = {part: [encoded(media, codec, path) for path in found] for part, found in files.items()}
    grids = {part: [np.asarray(codec.decode_grids(data)) for data in found] for part, found in streams.items()}
    labels = {part: np.array([labels_of(path, kinds) for path in found]) for part, found in files.items()}

    def rate(told: bool) -> float:
        rows = [(codec.coder.bits(codec.coder.array(g), 0, None, tuple(map(int, label)) if told else None), g.size)
                for g, label in zip(grids["held_out"], labels["held_out"])]
        return sum(bits for bits, _ in rows) / sum(size for _, size in rows)

    print(f"bits per index of {len(files['held_out'])} held-out files: order 0 {order_zero(*grids.values()):.3f}, "
          f"without labels {rate(False):.3f}, with labels {rate(True):.3f}")
    real = {part: torch.from_numpy(np.stack([seen(media.decoded(codec, data)) for data in found])) for part, found in streams.items()}
    of = {part: torch.from_numpy(rows[:, given.kind]) for part, rows in labels.items()}
    torch.manual_seed(0)
    net = fit(classifier(real["train"].shape[1], 1 + len(kinds[given.kind])), real["train"], of["train"], given.steps)
    with torch.no_grad():
        found = net(real["held_out"]).argmax(1)
        print(f"classifier of real files: {(found == of['held_out']).float().mean():.1%} of held-out ones")
        right, rows = [], []
        for number, name in enumerate(kinds[given.kind], 1):
            drawn = torch.from_numpy(np.stack([seen(media.decoded(codec, media.sample(
                codec, Drawing(item=i, label=name), None, 1))) for i in range(ITEMS)]))
            share = (net(drawn).argmax(1) == number).float().mean().item()
            nearest = torch.cdist(drawn.flatten(1), real["train"].flatten(1)).argmin(1)
            right.append(share)
            rows.append(torch.cat([torch.cat(list(drawn), 2), torch.cat(list(real["train"][nearest]), 2)], 2))
            print(f"  {name:12} {share:.0%} of samples")
    print(f"classifier of real files: {np.mean(right):.1%} of samples")
    if given.sheet:  # a row for each label: samples, then beside them the nearest file of those learned from
        sheet = torch.cat(rows, 1).numpy()
        sheet = (sheet - sheet.min()) / np.ptp(sheet) * 255
        Image.fromarray(sheet.astype(np.uint8).transpose(1, 2, 0).squeeze()).save(given.sheet)


if __name__ == "__main__":
    main()
