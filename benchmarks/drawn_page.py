"""A page, complete in itself, that shows and plays what models draw: the first items of seed 0, none picked, beside real files.

    python benchmarks/drawn_page.py page.html emoji-1=EMOJI/ digits-1=DIGITS/ text-1=NOTES.txt [--items 8] [--temperature emoji-1=0.9]

Of a model with labels a row for each label of the first kind: items 0, 1, 2, …, then real files of that label, as the model codes
them. Of others 16 items.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
from pathlib import Path

import numpy as np
from PIL import Image

from drawn import encoded, without_labels
from samples import spectrogram
from vqcodec import medium
from vqcodec.indices.drawing import Drawing
from vqcodec.indices.grids import GridReader
from vqcodec.indices.quality import usual_quality
from vqcodec.train.items import labels_of
from vqcodec.zoo import registry

REAL, UNLABELLED, TEXT = 3, 16, 300
HEAD = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Drawn</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; max-width: 75rem; color: #222; background: #fff }
td, th { padding: 2px; vertical-align: top; text-align: left; font-weight: normal }
.real { border-left: 1px solid #aaa; padding-left: 6px } button { border: 0; padding: 0; background: none; cursor: pointer }
button:focus-visible { outline: 2px solid #06c } button.on { outline: 2px solid #c40 } img { display: block }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #ddd; padding: 6px; margin: 0 }
</style>
<h1>Drawn from priors</h1>
<p>Nobody has encoded these: they are random numbers, read by a model's prior. Items 0, 1, 2, … of seed 0, none picked. Right of the line:
real files, as the same model codes them.</p>
"""
SCRIPT = """<script>
const player = new Audio(); let last = null;
document.querySelectorAll("button").forEach(b => b.onclick = () => {
  if (last) last.classList.remove("on");
  last = b; b.classList.add("on"); player.src = b.dataset.sound; player.play();
});
player.onended = () => last.classList.remove("on");
</script>
"""


def data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image(pixels: Image.Image, name: str, **how) -> str:
    file = io.BytesIO()
    pixels.save(file, "WEBP", **how)
    return f'<img src="{data_url("image/webp", file.getvalue())}" alt="{html.escape(name)}" width="{pixels.width}" height="{pixels.height}">'


def shown(decoded, name: str) -> str:
    """What a page shows of pixels, a sound or a text."""
    if isinstance(decoded, bytes):
        return f"<pre>{html.escape(decoded.decode('utf-8', 'replace'))}</pre>"
    if not hasattr(decoded, "rate"):
        return image(decoded.convert("RGB"), name, quality=85)
    import soundfile

    x = decoded.samples[:, 0]
    loud = np.flatnonzero(np.abs(x) > 0.01 * np.abs(x).max())
    x = x[: loud[-1] + 1 + decoded.rate // 10] if len(loud) else x  # without the silence behind it
    file = io.BytesIO()
    soundfile.write(file, x, decoded.rate, format="FLAC", subtype="PCM_16")
    picture = Image.fromarray(spectrogram(x)).resize((max(16, 100 * len(x) // decoded.rate), 64))
    return f'<button data-sound="{data_url("audio/flac", file.getvalue())}">{image(picture, name, quality=40)}</button>'


def section(name: str, files: Path, items: int, temperature: float, models_dir) -> str:
    entry = registry.find_by_name(name, models_dir, None)
    media = medium.of_modality(entry.modality)
    codec = media.open(entry, encoder=True)
    prior = getattr(getattr(codec, "model", None), "prior", None)
    kinds = prior.labels if prior else ()
    quality = 1 if kinds else usual_quality(codec.qualities)

    def drawn(item: int, label: str | None = None) -> str:
        data = media.sample(codec, Drawing(0, item, temperature, label), TEXT if entry.modality == "text" else None, quality)
        return shown(media.decoded(codec, data), f"{label or name}, item {item}")

    rows = []
    if kinds:
        found = {}
        for path in sorted(files.iterdir()):
            found.setdefault(labels_of(path, kinds)[0], []).append(path)
        for number, label in enumerate(kinds[0], 1):
            paths = found.get(number, [])
            real = [shown(media.decoded(codec, encoded(media, codec, p)), p.stem) for p in paths[:: max(1, len(paths) // REAL)][:REAL]]
            cells = [f"<td>{drawn(item, label)}</td>" for item in range(items)] + [f'<td class="real">{cell}</td>' for cell in real]
            rows.append(f"<tr><th>{html.escape(label)}</th>{''.join(cells)}</tr>")
    elif entry.modality == "text":
        rows = [f"<tr><th>{item}</th><td>{drawn(item)}</td></tr>" for item in range(UNLABELLED)]
        rows.append(f'<tr><th>real</th><td>{shown(files.read_bytes()[:TEXT], "real")}</td></tr>')
    else:
        rows = ["<tr>" + "".join(f"<td>{drawn(item)}</td>" for item in range(UNLABELLED)) + "</tr>"]
    said = f", temperature {temperature:g}" + (f"; label asked for: one of {len(kinds[0])}" if kinds else "")
    return f"<h2>{html.escape(name)}</h2><p>{media.nouns}{said}</p><table>{''.join(rows)}</table>\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("models", nargs="+", metavar="MODEL=FILES")
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--temperature", action="append", default=[], metavar="MODEL=T")
    parser.add_argument("--models-dir")
    given = parser.parse_args()
    GridReader.best_labels = without_labels
    hot = dict(word.split("=") for word in given.temperature)
    parts = [section(name, Path(files), given.items, float(hot.get(name, 1)), given.models_dir)
             for name, files in (word.split("=", 1) for word in given.models)]
    given.page.write_text(HEAD + "".join(parts) + SCRIPT, encoding="utf-8")
    print(f"{given.page}: {given.page.stat().st_size} bytes")


if __name__ == "__main__":
    main()
