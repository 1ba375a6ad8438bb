"""The results as text: terminal, Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict

from .bdrate import BdRate
from .metrics import Metric
from .points import Curve
from .result import Result


def number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def curve_rows(curve: Curve, metrics: list[Metric]) -> list[list[str]]:
    return [[m.described, number(m.bpp, 3), *(number(m.values[k.key]) for k in metrics)] for m in curve.means]


def curve_head(metrics: list[Metric]) -> list[str]:
    return ["setting", "bpp", *(f"{m.label}{', ' + m.unit if m.unit else ''}" for m in metrics)]


def bd_pairs(result: Result) -> list[tuple[str, str, list[BdRate]]]:
    """(test, anchor, BD-rate by each metric) of every pair of curves."""
    pairs = dict.fromkeys((anchor, test) for anchor, test, _, _ in result.bd_rates)
    found = {(a, t, m): rate for a, t, m, rate in result.bd_rates}
    return [(test, anchor, [found[anchor, test, m.key] for m in result.metrics]) for anchor, test in pairs]


def bd_rows(result: Result) -> list[list[str]]:
    return [[test, anchor, *map(_rate, rates)] for test, anchor, rates in bd_pairs(result)]


def bd_head(result: Result) -> list[str]:
    return ["codec", "against", *(f"BD-rate, {m.label}" for m in result.metrics)]


def speed_rows(result: Result) -> list[list[str]]:
    return [[t.codec, t.setting, number(t.encode, 3), number(t.decode, 3), _mebi(t.peak),
             _mebi(None if t.peak is None or t.base is None else t.peak - t.base)] for t in result.timings]


SPEED_HEAD = ["codec", "setting", "encode, s/MP", "decode, s/MP", "peak memory, MiB", "growth by the codec, MiB"]


def terminal(result: Result) -> str:
    blocks = []
    for curve in result.curves:
        blocks.append(f"{curve.label}: {curve.note}\n" + _plain(curve_head(result.metrics),
                                                               curve_rows(curve, result.metrics)))
    if result.bd_rates:
        blocks.append(_plain(bd_head(result), bd_rows(result)))
    if result.timings:
        blocks.append(_plain(SPEED_HEAD, speed_rows(result)))
    return "\n\n".join(blocks)


def markdown(result: Result) -> str:
    parts = [f"{len(result.pictures)} pictures, mean of all, bytes of whole files. {result.machine_line()}"]
    for curve in result.curves:
        parts.append(f"**{curve.label}** ({curve.note})\n\n"
                     + _markdown(curve_head(result.metrics), curve_rows(curve, result.metrics)))
    if result.bd_rates:
        parts.append(_markdown(bd_head(result), bd_rows(result)))
    if result.timings:
        parts.append(f"{result.timings[0].threads} thread(s), {result.timings[0].pictures} picture(s), serial:\n\n"
                     + _markdown(SPEED_HEAD, speed_rows(result)))
    return "\n\n".join(parts) + "\n"


def points_csv(result: Result) -> str:
    out = io.StringIO()
    keys = [m.key for m in result.metrics]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["picture", "width", "height", "codec", "setting", "bytes", "bpp", *keys])
    for p in result.points:
        writer.writerow([p.picture, p.width, p.height, p.codec, p.described, p.bytes, p.bpp,
                         *("" if p.values[k] is None else p.values[k] for k in keys)])
    return out.getvalue()


def document(result: Result) -> dict:
    """For JSON: infinite values (a picture kept without loss) are the string "inf"."""
    return _finite({
        "machine": result.machine, "jobs": result.jobs, "threads": result.threads,
        "pictures": [{"name": s.name, "width": s.width, "height": s.height} for s in result.pictures],
        "bad": [{"name": name, "reason": reason} for name, reason in result.bad],
        "absent": [{"name": name, "reason": reason} for name, reason in result.absent],
        "curves": [asdict(c) for c in result.curves],
        "bd_rates": [{"anchor": a, "test": t, "metric": m, **asdict(rate)} for a, t, m, rate in result.bd_rates],
        "timings": [asdict(t) for t in result.timings],
        "points": [{**asdict(p), "bpp": p.bpp} for p in result.points],
    })


def _finite(value):
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return "inf" if isinstance(value, float) and math.isinf(value) else value


def _rate(rate) -> str:
    return f"{rate.percent:+.1f} %" if rate.percent is not None else f"none: {rate.reason}"


def _mebi(size: int | None) -> str:
    return "–" if size is None else f"{size / 2**20:.0f}"


def _plain(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join("  ".join(f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}"
                               for i, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in [head, *rows])


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
