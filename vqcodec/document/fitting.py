"""Training of the network of masks: pages drawn by program, pages of PDFs and page scans → what is known of their pixels → a model's files.

    python -m vqcodec.document.fitting OUT --fonts /usr/share/fonts --texts DIR [--pdfs DIR] [--scans DIR] [--pages 48] [--minutes 5]

What the adaptive parts of `context` say does not depend on the network: the inputs of all pixels are gathered once, by the code
that decodes, and the network then learns on samples of them. In the last part of the run its weights and hidden values are
rounded as they will be.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import nn

from .config import DocumentConfig, MaskConfig
from .drawn import Pages
from .layers import find_print
from .network import A_SHIFT, B_SHIFT, HIDDEN, LINE_SHIFT, check
from .wavefront import SLOPE, TILE, busy_tiles, steps
from .wide_context import ALIKE, INPUTS, LEARNED, MOST, OTHER, OWN, PIXELS, TABLES, WideContexts
from ..zoo.config import to_toml

SAMPLES = 60_000  # of a page, at most
DULL, SURE = 0.01, 0.12  # how many of the pixels in blank places, and of those that all tables are sure of, are looked at
_SURE_ODDS = 72  # sixteenths
_A, _VALUE, _B = 4096, 64, 256  # steps of weights of `a`, of hidden values, of weights of `b` and `c`


@dataclass
class Samples:
    """inputs int8[N,I], black f32[N], weight f32[N] (of a page's bytes all pages together count the less the more they are), page
    int32[N]."""

    inputs: torch.Tensor
    black: torch.Tensor
    weight: torch.Tensor
    page: np.ndarray


def gathered(mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Of one page bool[H,W] (inputs, black, weights, bits that the nearest table alone takes)."""
    random, parts = np.random.default_rng(seed), []
    busy, black = busy_tiles(mask)
    y, x, ends = steps(busy, *mask.shape)
    contexts = WideContexts(*mask.shape)
    contexts.fill(black, TILE)
    at, bits, begin = contexts.at(y, x), mask[y, x].astype(np.uint8), 0
    for end in ends.tolist():
        step = slice(begin, end)
        parts.append(contexts.look(at[step], int(x[begin] + SLOPE * y[begin])).astype(np.int8))
        contexts.learn(at[step], bits[step])
        begin = end
    return sampled(np.concatenate(parts), bits, random)


def sampled(inputs: np.ndarray, bits: np.ndarray, random) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """int8[N,I], uint8[N] of all pixels of a page → as `gathered`."""
    own, other = (inputs[:, first : first + count].sum(1, dtype=np.int32) for first, count in ((0, OWN), (OWN, OTHER)))
    dull = ((own == 0) | (own == OWN)) & ((other == 0) | (other == OTHER))
    sure = np.abs(inputs[:, ALIKE : ALIKE + TABLES]).min(1) > _SURE_ODDS
    near = np.logaddexp2(0, -(2.0 * bits - 1) * inputs[:, ALIKE] / 16 * math.log2(math.e)).sum()
    share = np.where(dull, DULL, np.where(sure, SURE, 1.0))
    kept = np.flatnonzero(random.random(len(share)) < share)
    weights = (1 / share[kept]).astype(np.float32)
    if len(kept) > SAMPLES:
        some = random.choice(len(kept), SAMPLES, replace=False)
        kept, weights = kept[some], weights[some] * np.float32(len(kept) / SAMPLES)
    return inputs[kept], bits[kept], weights, near


def collected(masks) -> Samples:
    pages = []
    for number, mask in enumerate(masks):
        inputs, black, weight, bits = gathered(mask, number)
        pages.append((inputs, black.astype(np.float32), weight * np.float32(1000 / math.sqrt(bits + 2000)),
                      np.full(len(black), number, np.int32)))
        click.echo(f"page {number}: {mask.shape}, {len(black)} samples, {bits / 8:.0f} bytes by one table", err=True)
    inputs, black, weight, page = (np.concatenate(part) for part in zip(*pages))
    return Samples(torch.from_numpy(inputs), torch.from_numpy(black), torch.from_numpy(weight), page)


class Float(nn.Module):
    """The network in floats; rounded: as the integers will be."""

    def __init__(self, config: MaskConfig):
        super().__init__()
        self.a = nn.Linear(INPUTS, config.hidden + 1)
        self.b, self.c = nn.Linear(config.hidden, config.last), nn.Linear(config.last, 1)
        scale = torch.ones(INPUTS)
        scale[PIXELS:] = 2 / torch.tensor(MOST[PIXELS:])
        scale[ALIKE:LEARNED] = 1 / 16
        self.register_buffer("scale", scale)
        with torch.no_grad():  # the line begins as the mean of what the tables say
            self.a.weight[-1] = 0
            self.a.weight[-1, ALIKE : ALIKE + TABLES] = 0.1
            self.c.weight.mul_(0.1)
        self.rounded = False

    def _weight(self, weight: torch.Tensor, steps_: int) -> torch.Tensor:
        return weight + ((weight * steps_).round() / steps_ - weight).detach() if self.rounded else weight

    def _hidden(self, value: torch.Tensor) -> torch.Tensor:
        value = value.clamp(0, HIDDEN / _VALUE)
        return value + ((value * _VALUE).floor() / _VALUE - value).detach() if self.rounded else value

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first = inputs @ self._weight(self.a.weight * self.scale, _A).T + self._weight(self.a.bias, _A)
        second = self._hidden(first[:, :-1]) @ self._weight(self.b.weight, _B).T + self._weight(self.b.bias, _B * _VALUE)
        third = self._hidden(second) @ self._weight(self.c.weight, _B).T + self._weight(self.c.bias, _B * _VALUE)
        return third[:, 0] + first[:, -1]

    def integers(self) -> dict[str, np.ndarray]:
        """As prior.safetensors has them."""
        assert (_A >> A_SHIFT, _VALUE * _B >> B_SHIFT, _A << LINE_SHIFT) == (_VALUE, _VALUE, _VALUE * _B)
        found = {"a.weight": (self.a.weight * self.scale).T * _A, "a.bias": self.a.bias * _A,
                 "b.weight": self.b.weight.T * _B, "b.bias": self.b.bias * _B * _VALUE,
                 "c.weight": self.c.weight.T * _B, "c.bias": self.c.bias * _B * _VALUE}
        tensors = {name: value.detach().round().clamp(-(2**15 - 1), 2**15 - 1).numpy().astype(np.int16) if "weight" in name
                   else value.detach().round().numpy().astype(np.int32) for name, value in found.items()}
        return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def fit(samples: Samples, config: MaskConfig, minutes: float, rate: float = 4e-3, batch: int = 4096) -> Float:
    """Minutes of this process's time; every eighth page is held out and only reported."""
    torch.manual_seed(0)
    net = Float(config)
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-4)
    held = torch.from_numpy(samples.page % 8 == 7)
    train, valid = torch.where(~held)[0], torch.where(held)[0]
    start, count = time.process_time(), 0
    while (done := (time.process_time() - start) / (60 * minutes)) < 1:
        net.rounded = done > 0.6
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, 30 * done + 0.02) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-5
        loss = _loss(net, samples, train[torch.randint(len(train), (batch,))]).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 50.0)
        optimiser.step()
        count += 1
        if count % 1500 == 0:
            click.echo(f"{done:4.0%}: {count} steps, held out {_bytes(net, samples, valid):.0f}", err=True)
    click.echo(f"held out {_bytes(net, samples, valid):.0f}", err=True)
    return net


def _loss(net: Float, samples: Samples, chosen: torch.Tensor) -> torch.Tensor:
    odds = net(samples.inputs[chosen].float())
    return samples.weight[chosen] * nn.functional.softplus(-(2 * samples.black[chosen] - 1) * odds)


@torch.no_grad()
def _bytes(net: Float, samples: Samples, chosen: torch.Tensor) -> float:
    return sum(_loss(net, samples, part).sum().item() for part in chosen.split(1 << 16)) / math.log(2) / 8


def write_model(out: Path, config: MaskConfig, weights: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file

    check(weights)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.toml").write_text(to_toml(DocumentConfig(config)))
    save_file(weights, out / "prior.safetensors")
    for name in ("codebook", "decoder", "encoder"):  # none: pictures have models of their own
        save_file({}, out / f"{name}.safetensors")


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--fonts", multiple=True, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--texts", multiple=True, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--pdfs", multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--scans", multiple=True, type=click.Path(exists=True, path_type=Path))
@click.option("--pages", default=48, show_default=True)
@click.option("--minutes", default=5.0, show_default=True)
@click.option("--seed", default=0)
def main(out, fonts, texts, pdfs, scans, pages, minutes, seed):
    """Train, and write the files of a model to OUT."""
    def files(folders, *endings):
        return sorted(path for folder in folders for path in ([folder] if folder.is_file() else folder.rglob("*"))
                      if path.is_file() and (not endings or path.suffix.lower() in endings))

    def masks():
        drawn = Pages(files(fonts, ".ttf", ".otf"), files(texts), seed)
        yield from (drawn.page() for _ in range(pages))
        for path in files(pdfs, ".pdf"):
            yield from drawn.of_pdf(path)
        for path in files(scans, ".png", ".jpg", ".tif"):
            with Image.open(path) as image:
                yield find_print(np.asarray(image.convert("L")), 200.0)[:1500, :1500]

    config = MaskConfig(INPUTS)
    write_model(out, config, fit(collected(masks()), config, minutes).integers())


if __name__ == "__main__":
    sys.exit(main())
