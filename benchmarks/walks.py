"""How well a model of video draws what follows a frame, by what is done in it.

    python benchmarks/walks.py doom-1 WALKS/ HELD-OUT/ [--models-dir DIR] [--walks 8] [--sheet sheet.png]

Both folders are of `benchmarks/datasets.py doom`, with other seeds. From WALKS/ come the frequencies of the code of order 0 and what the
classifier learns from; all else is measured on HELD-OUT/.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from drawn import order_zero

from vqcodec import medium
from vqcodec.indices.drawing import Drawing
from vqcodec.indices.quantize import quantize
from vqcodec.indices.sampling import Sampler
from vqcodec.picture.transform import samples
from vqcodec.video.sampling import draw_frame
from vqcodec.video.stream import VideoHeader
from vqcodec.video.windows import find_clips, labels_beside, whole_clip
from vqcodec.zoo import registry

LENGTH = 16  # frames of a continuation
JUDGED = (1, 4, 16)


class Entropy(Sampler):
    """Counts what it draws: `expected` bits, the entropy of all distributions, and `spent` bits."""

    expected = spent = 0.0

    def symbols(self, cdf, rows, columns, first):
        found = super().symbols(cdf, rows, columns, first)
        share = np.diff(cdf) / (1 << 16)
        bits = -np.log2(np.where(share > 0, share, 1))
        self.expected += float((share * bits).sum())
        self.spent += float(np.take_along_axis(bits, found[:, :, None], 2).sum())
        return found


class Walk:
    """pixels: uint8[T,H,W,3]; labels: of each frame; grids: int64[T,G,h,w] that an encoder chooses who knows of no labels."""

    def __init__(self, codec, path: Path, most: int):
        self.pixels = whole_clip(path)
        self.labels = labels_beside(path, len(self.pixels), codec.config.prior.labels)[:most]
        self.pixels, before, self.grids = self.pixels[:most], None, []
        for rgb in self.pixels:
            before = codec.choose(codec.latents(rgb, 0), before, 0)[0]
            self.grids.append(before)
        self.grids = torch.stack(self.grids)


@torch.inference_mode()
def coded_frames(codec, pixels: np.ndarray) -> torch.Tensor:
    """f32[T,3,H,W] in 0..1: frames as the base shows them, each by itself."""
    coder, level, parts = codec.base.coder, torch.zeros(1), []
    for rows in np.array_split(pixels, -(-len(pixels) // 64)):
        latents = codec.base.encoder(torch.cat([samples(rgb) for rgb in rows]), level).float()
        values = coder.dequantize(quantize(latents, coder.codebooks, coder.quantizer))
        parts.append(codec.base.decoder(values, level).clamp(0, 1))
    return torch.cat(parts)


def shown(codec, grids) -> np.ndarray:
    """uint8[T,H,W,3]: of grids int64[T,G,h,w]."""
    return np.stack([codec.base.pixels(each, 16 * each.shape[1], 16 * each.shape[2], 0) for each in grids])


def as_frames(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def pairs(frames: torch.Tensor) -> torch.Tensor:
    """f32[T-1,6,H,W]: a frame and the one before."""
    return torch.cat([frames[:-1], frames[1:] - frames[:-1]], 1)


def classifier(classes: int) -> nn.Module:
    widths, layers = (6, 24, 48, 64), []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Conv2d(a, b, 5, padding=2, stride=2), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 64, classes))


def fit(x: torch.Tensor, y: torch.Tensor, classes: int, steps: int) -> nn.Module:
    torch.manual_seed(0)
    net = classifier(classes)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
    for _ in range(steps):
        pick = torch.randint(len(x), (64,))
        loss = F.cross_entropy(net(x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def taught(codec, paths, classes: int, steps: int, kept: Path | None) -> nn.Module:
    """A classifier that has learned from real walks; kept: a file it is in, or is put into."""
    if kept and kept.exists():
        net = classifier(classes)
        net.load_state_dict(torch.load(kept, weights_only=True))
        return net.eval()
    x, y = [], []
    for path in paths:
        pixels = whole_clip(path)
        x.append(pairs(coded_frames(codec, pixels)))
        y += [label[0] - 1 for label in labels_beside(path, len(pixels), codec.config.prior.labels)[1:]]
    net = fit(torch.cat(x), torch.tensor(y), classes, steps)
    if kept:
        torch.save(net.state_dict(), kept)
    return net


def bits_per_index(codec, walks: list[Walk]) -> dict[str, float]:
    """Of all frames but the first of each walk: with the labels, without, and with those that an encoder takes."""
    found, size = {"with labels": 0.0, "without labels": 0.0}, 0
    for walk in walks:
        for before, grids, label in zip(walk.grids, walk.grids[1:], walk.labels[1:]):
            seen = dict(reference=codec.reference(before, slice(None)), rest=before)
            found["with labels"] += codec.coder.bits(grids, 0, None, label, **seen)
            found["without labels"] += codec.coder.bits(grids, 0, None, codec.no_labels, **seen)
            size += grids.numel()
    return {name: bits / size for name, bits in found.items()}


def continued(codec, header, start, labels, sampler, number: int) -> torch.Tensor:
    """int64[LENGTH,G,h,w] behind grids `start`."""
    found = [start]
    for i, label in enumerate(labels):
        found.append(draw_frame(codec, header, found[-1], label, sampler, number + i))
    return torch.stack(found[1:])


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.square(a.astype(np.float64) - b).mean())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("walks", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--models-dir")
    parser.add_argument("--most", type=int, default=8, help="walks of each folder that are coded")
    parser.add_argument("--learned", type=int, default=60, help="walks that the classifier learns from")
    parser.add_argument("--frames", type=int, default=160)
    parser.add_argument("--starts", type=int, default=4, help="continuations of each walk")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 0.5, 1.0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--classifier", type=Path, help="file it is kept in")
    parser.add_argument("--samples", type=Path, help="picture of whole samples")
    parser.add_argument("--sheet", type=Path, help="real futures, and below each what was drawn")
    given = parser.parse_args()
    torch.set_num_threads(1)
    entry = registry.find_by_name(given.model, given.models_dir, "video")
    codec = medium.of_modality("video").open(entry, encoder=True)
    names = ("-", *codec.config.prior.labels[0])
    walks = [Walk(codec, path, given.frames) for path in find_clips([given.held_out])[: given.most]]
    learned = find_clips([given.walks])
    known = [Walk(codec, path, given.frames) for path in learned[: given.most]]
    rates = bits_per_index(codec, walks)
    rates = {"order 0": order_zero(*([grids.numpy() for walk in part for grids in walk.grids[1:]] for part in (known, walks))), **rates}
    print("bits per index, frames behind others:", ", ".join(f"{name} {bits:.4f}" for name, bits in rates.items()))
    against = rates["with labels"]
    print(", ".join(f"{100 * (against / rates[name] - 1):+.1f} % against {name}" for name in ("order 0", "without labels")))

    net = taught(codec, learned[: given.learned], len(names) - 1, given.steps, given.classifier)

    def finds(pixels: np.ndarray, labels) -> np.ndarray:
        with torch.no_grad():
            return net(pairs(as_frames(pixels))).argmax(1).numpy() == np.array([label[0] - 1 for label in labels])

    real = np.concatenate([finds(shown(codec, walk.grids), walk.labels[1:]) for walk in walks])
    done = np.array([names[label[0]] for walk in walks for label in walk.labels[1:]])
    real_of = {name: real[done == name].mean() for name in names[1:] if (done == name).any()}
    evenly = np.mean(list(real_of.values()))
    print(f"classifier of actions: {real.mean():.1%} of {len(real)} real pairs of frames: "
          + ", ".join(f"{name} {share:.0%}" for name, share in real_of.items()) + f"; all actions alike {evenly:.1%}")
    header, rows = header_of(codec, walks[0].pixels[0]), []
    for temperature in given.temperatures:
        quality, still, still_real, right, of_each = [], [], [], [], {name: [] for name in names[1:]}
        sampler = None
        for number, walk in enumerate(walks):
            for start in np.linspace(4, len(walk.pixels) - LENGTH - 1, given.starts).astype(int):
                sampler = Entropy(Drawing(item=number, temperature=temperature))
                labels = walk.labels[start + 1 : start + 1 + LENGTH]
                grids = continued(codec, header, walk.grids[start], labels, sampler, int(start) + 1)
                drawn = shown(codec, torch.cat([walk.grids[start : start + 1], grids]))
                future = walk.pixels[start + 1 : start + 1 + LENGTH]
                quality.append([psnr(drawn[k], future[k - 1]) for k in JUDGED])
                still.append([psnr(drawn[0], future[k - 1]) for k in JUDGED])
                still_real.append([psnr(walk.pixels[start], future[k - 1]) for k in JUDGED])
                found = finds(drawn, labels)
                right.append(found)
                for each, label in zip(found, labels):
                    of_each[names[label[0]]].append(each)
                if len(rows) < 16 and temperature == given.temperatures[-1]:
                    rows += [np.concatenate([walk.pixels[start], *future], 1), np.concatenate(list(drawn), 1)]
        share, alike = np.mean(right), np.mean([np.mean(v) for v in of_each.values() if v])
        print(f"temperature {temperature:g}: {len(right)} continuations, frames {JUDGED}: "
              f"{' '.join(f'{v:.2f}' for v in np.mean(quality, 0))} dB; the last frame again "
              f"{' '.join(f'{v:.2f}' for v in np.mean(still, 0))}, before it was coded {' '.join(f'{v:.2f}' for v in np.mean(still_real, 0))}")
        print(f"  the action asked for is found in {share:.1%} ({share / real.mean():.1%} of the real score), all actions alike "
              f"{alike:.1%} ({alike / evenly:.1%}): "
              + ", ".join(f"{name} {np.mean(v):.0%}" for name, v in of_each.items() if v))
    entropy(codec, header)
    if given.samples:
        sampled(codec, "forward*4,left*4,forward*3,right*4", 0.7).save(given.samples, quality=80)
    if given.sheet:
        Image.fromarray(np.concatenate(rows)).save(given.sheet, quality=80)


def entropy(codec, header, items: int = 16) -> None:
    """Whole clips, drawn at temperature 1."""
    expected = spent = coded = 0.0
    for item in range(items):
        sampler, before = Entropy(Drawing(item=item)), None
        for number in range(LENGTH):
            grids = draw_frame(codec, header, before, codec.no_labels, sampler, number)
            coded += 8 * len(codec.code_frame(grids, before, 0, codec.no_labels)[1])
            before = grids
        expected, spent = expected + sampler.expected, spent + sampler.spent
    print(f"{items} samples of {LENGTH} frames: entropy {expected:.0f} bits, ideal code {spent:.0f} ({100 * (spent / expected - 1):+.2f} %), "
          f"payloads {coded:.0f} ({100 * (coded / expected - 1):+.2f} %)")


def sampled(codec, label: str, temperature: float) -> Image.Image:
    """The first sixteen items, one below the other, none picked; frames of 48×48 pixels."""
    media, rows = medium.of_modality("video"), []
    for item in range(16):
        clip = media.decoded(codec, media.sample(codec, Drawing(item=item, temperature=temperature, label=label), LENGTH, 1))
        rows.append(np.concatenate(list(clip.frames), 1))
    sheet = Image.fromarray(np.concatenate(rows))
    return sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4), Image.LANCZOS)


def header_of(codec, rgb: np.ndarray) -> VideoHeader:
    return VideoHeader(model_id=codec.entry.id, model_hash=codec.entry.hash, quality=0, width=rgb.shape[1], height=rgb.shape[0],
                       aspect=Fraction(1), time_base=Fraction(1, 10), primaries=2, transfer=2, matrix=1, full=False)


if __name__ == "__main__":
    main()
