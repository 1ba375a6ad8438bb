"""log.jsonl of a run → a PNG of its curves."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(log: Path, out: Path) -> None:
    """Loss and rate of the training batches, and the validation points: quality against rate. Does nothing without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    steps = [row for row in rows if "loss" in row]
    tables = [row for row in rows if "validation" in row]
    figure = Figure(figsize=(14, 4), layout="constrained")
    axes = figure.subplots(1, 3)
    rate = next((name for name in ("bpp", "kbps") if steps and name in steps[0]), "bpp")
    for axis, key in zip(axes, ("loss", rate)):
        for stage in dict.fromkeys(row["stage"] for row in steps):
            part = [row for row in steps if row["stage"] == stage]
            axis.plot([row["pixels"] / 1e6 for row in part], [row[key] for row in part], label=stage)
        axis.set(xlabel="million samples seen", ylabel=key, yscale="log")
        axis.legend()
    for i, row in enumerate(tables):
        points = row["validation"]
        _, rate, value, *_ = points[0]  # (quality, rate, what it buys): see `validate.py`
        axes[2].plot([p[rate] for p in points], [p[value] for p in points], ".-",
                     color=(0.1, 0.3, 0.7, (i + 1) / len(tables)), label=f"{row['stage']} {row['step']}")
        axes[2].set(xlabel=rate, ylabel=value, title="validation")
    temporary = out.with_suffix(".tmp.png")
    figure.savefig(temporary)
    temporary.replace(out)
