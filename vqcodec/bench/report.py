"""The report: one HTML file that needs nothing else, and its parts as files beside it."""

from __future__ import annotations

import json
from html import escape
from importlib import resources
from pathlib import Path

from ..errors import shown as printable
from ..fileio import write_output
from . import plots, tables
from .gallery import Shown
from .matched import Match
from .points import PUBLISHED
from .result import Result

LARGEST = 15_000_000  # bytes of the page
_LOWER = {"lower": " (less is better)"}


def write(result: Result, folder: Path) -> Path:
    """index.html, points.csv, results.json, results.md and a plot of every metric, in `folder`. Returns the page."""
    files = {"points.csv": tables.points_csv(result), "results.md": tables.markdown(result),
             "results.json": json.dumps(tables.document(result), indent=1),
             "index.html": page(result)}
    for metric in result.metrics:
        drawing = plots.rate_distortion(result, metric, standalone=True)
        if drawing:
            files[f"{metric.key}.svg"] = drawing
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_output(str(folder / name), text.encode(), force=True)
    return folder / "index.html"


def page(result: Result) -> str:
    """The HTML text, of at most LARGEST bytes: to fit, pictures are stored with less quality and recordings shorter,
    and then left out."""
    gallery = result.medium.gallery()
    shown = [(tables.title(match, result), _versions(match, result)) for match in result.matches]
    while True:
        for level in gallery.levels:
            text = _filled(result, gallery.note, [gallery.article(title, versions, level) for title, versions in shown])
            if len(text.encode()) <= LARGEST or not shown:
                return text
        shown.pop()


def _versions(match: Match, result: Result) -> list[Shown]:
    return [Shown("original", "the original", match.original),
            *(Shown(v.label, tables.version_line(v, result), v.content) for v in match.versions)]


def _filled(result: Result, beside: str, articles: list[str]) -> str:
    template = resources.files(__package__).joinpath("template.html").read_text("utf-8")
    drawn = "".join(f'<figure class="plot"><figcaption>{escape(m.label)}{_LOWER.get(m.better, "")}</figcaption>{drawing}'
                    "</figure>" for m in result.metrics if (drawing := plots.rate_distortion(result, m)))
    best = [r for r in result.bd_rates if r[3].percent is not None]
    shades = dict(zip((c.label for c in result.curves), plots.colours(result)))
    parts = {
        "SUMMARY": _summary(result), "PLOTS": drawn,
        "RATENOTE": f"Mean over {result.medium.nouns} at each setting. What counts of the file on disk is said under "
                    f"Settings; quality is of {result.medium.compared}.",
        "BESIDENOTE": beside, "BESIDE": "".join(articles) or "<p>None were asked for.</p>",
        "BD": _bd_table(result, shades) if result.bd_rates else "<p>There is only one curve.</p>",
        "BDNOTE": "" if best or not result.bd_rates else "<p>There is none; the table says why.</p>",
        "SPEED": _table(tables.speed_head(result), tables.speed_rows(result)) if result.timings else
                 "<p>Timing was left out.</p>",
        "SPEEDNOTE": f"Serial, each codec in a process of its own, {result.timings[0].threads} thread(s), "
                     f"{result.timings[0].sources} {result.medium.noun}(s); library and model loaded." if result.timings else "",
        "PROBES": _table(tables.probe_head(result), tables.probe_rows(result)) if result.probes else
                  "<p>There are none.</p>",
        "PROBESNOTE": " ".join(f"<b>{escape(p.label)}</b>: {escape(p.sentence)}" for p in result.probes),
        "CODECS": _table(["codec", "how it is used", "version"], [
            [c.label, c.note, c.version.split(", model ")[0]] for c in result.curves]),
        "CURVES": "".join(f"<details><summary>{escape(c.label)}</summary>"
                          + _table(tables.curve_head(result), tables.curve_rows(c, result.metrics))
                          + "</details>" for c in result.curves),
        "BAD": _list("Left out, because they cannot be read or coded", result.bad)
               + _list(f"{result.medium.nouns.capitalize()} without some figures", result.absent),
        "MACHINE": escape(result.machine_line()),
    }
    for name, text in parts.items():
        template = template.replace(f"<!--{name}-->", text)
    return template


def _summary(result: Result) -> str:
    return (f"{tables.count(result)} ({result.medium.summary(result.sources)}) · "
            f"{sum(c.codec != PUBLISHED for c in result.curves)} codecs · "
            f"{len(result.points)} files written and read back")


def _bd_table(result: Result, shades: dict[str, str]) -> str:
    rows = []
    for test, anchor, rates in tables.bd_pairs(result):
        cells = [f'<td><i style="background:{shades[test]}"></i>{escape(test)}</td>',
                 f'<td><i style="background:{shades[anchor]}"></i>{escape(anchor)}</td>']
        for rate in rates:
            if rate.percent is None:
                cells.append(f'<td class="none">{escape(rate.reason)}</td>')
            else:
                kind = "good" if rate.percent < 0 else "worse"
                cells.append(f'<td class="{kind}" title="over {rate.low:.2f} … {rate.high:.2f}">'
                             f"{rate.percent:+.1f} %</td>".replace("-", "−"))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th>{escape(cell)}</th>" for cell in ["codec", "against", *(m.label for m in result.metrics)])
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _table(head: list[str], rows: list[list[str]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (f'<div class="scroll"><table><thead><tr>{"".join(f"<th>{escape(c)}</th>" for c in head)}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>")


def _list(title: str, items: list[tuple[str, str]]) -> str:
    rows = "".join(f"<li><b>{escape(printable(name))}</b>: {escape(printable(reason))}</li>" for name, reason in items)
    return f"<h3>{title}</h3><ul>{rows}</ul>" if items else ""
