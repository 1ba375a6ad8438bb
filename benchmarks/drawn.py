"""How well a model that draws does: bits per index of files it has not seen, a classifier of real files on its samples, copies.

    python benchmarks/drawn.py emoji-1 FILES/ [--unseen MORE/] [--models-dir DIR] [--sheet sheet.png] [--kind 0] [--temperature 1]

Files have labels in their names, as training takes them; those are held out that training has set aside. --kind: of labels, which is
asked for. --unseen: more files that it has not learned from; then a second classifier is trained on these and on what is held out.
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
from vqcodec.indices.grids import GridReader
from vqcodec.indices.sampling import Sampler
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


def original(path: Path):
    """As `seen` takes it."""
    if path.suffix == ".png":
        return Image.open(path)
    from vqcodec.sound.file import read_sound

    return read_sound(path)


def without_labels(coder, grids, *rest, **seen) -> tuple[int, ...]:
    """In place of the search for labels, which changes no grid and takes most of the time."""
    return (0,) * len(coder.prior.labels)


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


class Expected:
    """Counts the entropy of the rows that symbols are drawn from, in bits."""

    def __init__(self):
        self.bits, self.plain = 0.0, Sampler.symbols

    def __enter__(self):
        def symbols(sampler, cdf, rows, columns, first):
            share = np.diff(cdf) / 65536
            self.bits -= (share * np.log2(np.where(share > 0, share, 1))).sum()
            return self.plain(sampler, cdf, rows, columns, first)

        Sampler.symbols = symbols
        return self

    def __exit__(self, *_):
        Sampler.symbols = self.plain


def judged(net: nn.Module, x: torch.Tensor, y: torch.Tensor, known: str, of: str) -> None:
    with torch.no_grad():
        print(f"classifier of {known}: {(net(x).argmax(1) == y).float().mean():.1%} of {len(y)} {of}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("files", type=Path)
    parser.add_argument("--unseen", type=Path)
    parser.add_argument("--set-aside", type=int, default=64)
    parser.add_argument("--learned", type=int, default=1000, help="of the files that it has learned from so many are coded [1000]")
    parser.add_argument("--models-dir")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--kind", type=int, default=0)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--temperature", type=float, nargs="+", default=[1.0], help="the sheet is of the first [1]")
    given = parser.parse_args()
    entry = registry.find_by_name(given.model, given.models_dir, None)
    media = medium.of_modality(entry.modality)
    codec = media.open(entry, encoder=True)
    GridReader.best_labels = without_labels
    kinds = codec.model.prior.labels
    learned, aside = split(sorted(path for path in given.files.iterdir() if path.is_file()), given.set_aside)
    some = split(learned, len(learned) - given.learned, 2)[0] if len(learned) > given.learned else learned
    files = {"train": some, "held_out": aside}
    if given.unseen:
        files["unseen"] = sorted(given.unseen.iterdir())
    streams = {part: [encoded(media, codec, path) for path in found] for part, found in files.items()}
    grids = {part: [np.asarray(codec.decode_grids(data)) for data in found] for part, found in streams.items()}
    labels = {part: np.array([labels_of(path, kinds) for path in found]) for part, found in files.items()}

    def rate(part: str, told: bool) -> float:
        rows = [(codec.coder.bits(codec.coder.array(g), 0, None, tuple(map(int, label)) if told else None), g.size)
                for g, label in zip(grids[part], labels[part])]
        return sum(bits for bits, _ in rows) / sum(size for _, size in rows)

    for part in list(files)[1:]:
        zero, without, told = order_zero(grids["train"], grids[part]), rate(part, False), rate(part, True)
        print(f"bits per index of {len(files[part])} files ({part}): order 0 {zero:.3f}, without labels {without:.3f}, with labels "
              f"{told:.3f}: {told / zero - 1:+.1%} and {told / without - 1:+.1%}", flush=True)
    real = {part: torch.from_numpy(np.stack([seen(media.decoded(codec, data)) for data in found])) for part, found in streams.items()}
    of = {part: torch.from_numpy(rows[:, given.kind]) for part, rows in labels.items()}
    torch.manual_seed(0)
    classes = 1 + len(kinds[given.kind])
    nets = {"files it has learned from": fit(classifier(real["train"].shape[1], classes), real["train"], of["train"], given.steps)}
    judged(nets["files it has learned from"], real["held_out"], of["held_out"], "files it has learned from", "held-out ones")
    if given.unseen:
        x, y = (torch.cat([found["held_out"], found["unseen"]]) for found in (real, of))
        nets["files it has not seen"] = fit(classifier(x.shape[1], classes), x, y, given.steps)
        judged(nets["files it has not seen"], real["train"], of["train"], "files it has not seen", "others")
    all_learned = torch.from_numpy(np.stack([seen(original(path)) for path in learned])).flatten(1)
    for temperature in given.temperature:
        drawn = samples(media, codec, kinds[given.kind], temperature)
        y = torch.arange(1, classes).repeat_interleave(ITEMS)
        for known, net in nets.items():
            with torch.no_grad():
                right = (net(drawn).argmax(1) == y).float()
            shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(kinds[given.kind], right.view(-1, ITEMS).mean(1)))
            print(f"classifier of {known}: {right.mean():.1%} of {len(y)} samples ({shares})", flush=True)
        if given.sheet and temperature == given.temperature[0]:
            nearest = all_learned[torch.cdist(drawn.flatten(1), all_learned).argmin(1)].view(drawn.shape)
            write_sheet(given.sheet, drawn, nearest)


def samples(media, codec, names, temperature: float) -> torch.Tensor:
    """f32[N,C,h,w], as `seen`: so many items of each label; says what they cost."""
    drawn, spent = [], []
    with Expected() as expected:
        for name in names:
            label = codec.model.prior.numbers(name)
            for item in range(ITEMS):
                data = media.sample(codec, Drawing(item=item, label=name, temperature=temperature), None, 1)
                spent.append((codec.coder.bits(codec.coder.array(codec.decode_grids(data)), 0, None, label), 8 * len(data)))
                drawn.append(seen(media.decoded(codec, data)))
    coded, size = map(sum, zip(*spent))
    print(f"{len(spent)} samples at temperature {temperature:g}: entropy of the rows {expected.bits:.0f} bits, cost of what was drawn "
          f"{coded:.0f} ({coded / expected.bits - 1:+.2%}), streams {size}", flush=True)
    return torch.from_numpy(np.stack(drawn))


def write_sheet(path: Path, drawn: torch.Tensor, nearest: torch.Tensor) -> None:
    """A row for each label: samples, then beside them the nearest file of those learned from."""
    rows = [torch.cat([*x, *y], 2) for x, y in zip(drawn.split(ITEMS), nearest.split(ITEMS))]
    sheet = torch.cat(rows, 1).numpy()
    sheet = (sheet - sheet.min()) / np.ptp(sheet) * 255
    Image.fromarray(sheet.astype(np.uint8).transpose(1, 2, 0).squeeze()).save(path)


if __name__ == "__main__":
    main()
