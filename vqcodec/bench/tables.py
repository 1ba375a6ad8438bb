"""The results as text: terminal, Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, fields
from html import escape

from ..errors import shown
from .bdrate import BdRate
from .matched import Match, Version
from .metrics import Metric
from .points import Curve
from .result import Result


def number(value: float | None, digits: int = 2) -> str:
    if value is None:
        return "–"
    return "∞" if math.isinf(value) else f"{value:.{digits}f}"


def curve_rows(curve: Curve, metrics: list[Metric]) -> list[list[str]]:
    return [[m.described, number(m.rate, 3), *(number(m.values[k.key], k.digits) for k in metrics)] for m in curve.means]


def curve_head(result: Result) -> list[str]:
    return ["setting", result.medium.rate_unit, *(f"{m.label}{', ' + m.unit if m.unit else ''}" for m in result.metrics)]


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


def speed_head(result: Result) -> list[str]:
    unit = result.medium.speed_name
    return ["codec", "setting", f"encode, {unit}", f"decode, {unit}", "peak memory, MiB", "growth by the codec, MiB"]


def probe_head(result: Result) -> list[str]:
    return ["probe", "original", *(f"{codec}, {setting}" for codec, setting in result.probes[0].columns())]


def probe_rows(result: Result) -> list[list[str]]:
    return [[f"{p.label}{', ' + p.unit if p.unit else ''}", number(p.original), *map(number, p.values.values())] for p in result.probes]


def terminal(result: Result) -> str:
    blocks = []
    for curve in result.curves:
        blocks.append(f"{curve.label}: {curve.note}\n" + _plain(curve_head(result),
                                                               curve_rows(curve, result.metrics)))
    if result.bd_rates:
        blocks.append(_plain(bd_head(result), bd_rows(result)))
    if result.timings:
        blocks.append(_plain(speed_head(result), speed_rows(result)))
    if result.probes:
        blocks.append(_plain(probe_head(result), probe_rows(result)))
    return "\n\n".join(blocks)


def markdown(result: Result) -> str:
    parts = [f"{count(result)}, mean of all, bytes of files written and read back. {result.machine_line()}"]
    for curve in result.curves:
        parts.append(f"**{curve.label}** ({curve.note})\n\n"
                     + _markdown(curve_head(result), curve_rows(curve, result.metrics)))
    if result.bd_rates:
        parts.append(_markdown(bd_head(result), bd_rows(result)))
    if result.timings:
        parts.append(f"{result.timings[0].threads} thread(s), {result.timings[0].sources} {result.medium.noun}(s), serial:\n\n"
                     + _markdown(speed_head(result), speed_rows(result)))
    if result.probes:
        parts.append("Made by program: " + " ".join(f"*{p.label}*: {p.sentence}" for p in result.probes) + "\n\n"
                     + _markdown(probe_head(result), probe_rows(result)))
    return "\n\n".join(parts) + "\n"


def count(result: Result) -> str:
    """How many sources."""
    found = len(result.sources)
    return f"{found} {result.medium.noun if found == 1 else result.medium.nouns}"


def points_csv(result: Result) -> str:
    """One line for each file. A name that a spreadsheet would take for a formula has a ' before it."""
    out = io.StringIO()
    keys = [m.key for m in result.metrics]
    writer = csv.writer(out, lineterminator="\n")
    medium = result.medium
    writer.writerow([medium.noun, *result.sources[0].sizes(), "codec", "setting", "bytes", medium.rate_unit, *keys])
    for p in result.points:
        writer.writerow([_cell(p.source.name), *p.source.sizes().values(), p.codec, p.described, p.bytes, p.rate,
                         *("" if p.values[k] is None else p.values[k] for k in keys)])
    return out.getvalue()


def document(result: Result) -> dict:
    """For JSON: infinite values (a source kept without loss) are the string "inf"."""
    medium = result.medium
    return _finite({
        "medium": medium.key, "machine": result.machine, "jobs": result.jobs, "threads": result.threads,
        medium.nouns: [{"name": s.name, **s.sizes()} for s in result.sources],
        "bad": [{"name": name, "reason": reason} for name, reason in result.bad],
        "absent": [{"name": name, "reason": reason} for name, reason in result.absent],
        "metrics": [{"key": m.key, "label": m.label, "unit": m.unit, "better": m.better} for m in result.metrics],
        "curves": [{**asdict(c), "means": [{**_but(m, "rate", "sources"), medium.rate_unit: m.rate,
                                            medium.nouns: m.sources} for m in c.means]} for c in result.curves],
        "bd_rates": [{"anchor": a, "test": t, "metric": m, **asdict(rate)} for a, t, m, rate in result.bd_rates],
        "timings": [{**_but(t, "sources"), medium.nouns: t.sources} for t in result.timings],
        "probes": [{**_but(p, "values"), "values": [{"codec": codec, "setting": setting, "value": value}
                                                    for (codec, setting), value in p.values.items()]} for p in result.probes],
        "points": [{medium.noun: p.source.name, **p.source.sizes(), **_but(p, "source"), medium.rate_unit: p.rate}
                   for p in result.points],
    })


def version_line(version: Version, result: Result) -> str:
    """What one of the versions side by side is."""
    labels = {m.key: m for m in result.metrics}
    figures = [f"{labels[key].label} {number(value, labels[key].digits)} {labels[key].unit}".rstrip()
               for key, value in version.values.items() if value is not None]
    over = " — its smallest file" if version.over else ""
    return " · ".join([f"{version.bytes:,} bytes", f"{version.rate:.3f} {result.medium.rate_unit}{over}",
                       version.described, *figures])


def title(match: Match, result: Result) -> str:
    """HTML: the source, and the size that the versions have."""
    first = match.versions[0]
    return (f"{escape(shown(match.source.name))} <small>{first.rate:.2f} {result.medium.rate_unit} · {first.bytes:,} bytes"
            "</small>")


def _cell(name: str) -> str:
    name = shown(name)
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name


def _but(item, *left_out: str) -> dict:
    """A data class as a dict without these fields."""
    return {f.name: getattr(item, f.name) for f in fields(item) if f.name not in left_out}


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
