"""The report: one HTML file that needs nothing else, and its parts as files beside it."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np

from ..fileio import write_output
from . import plots, tables
from .matched import Match
from .metrics import METRICS
from .result import Result

LARGEST = 15_000_000  # bytes of the page
_QUALITIES = (95, 90, 80, 65, 45)  # WebP, of the shown pictures: as good as the page's size allows
_SHOWN = 1024  # pixels of a side at most; of larger pictures the middle


def write(result: Result, folder: Path) -> Path:
    """index.html, points.csv, results.json, results.md and a plot of every metric, in `folder`. Returns the page."""
    files = {"points.csv": tables.points_csv(result), "results.md": tables.markdown(result),
             "results.json": json.dumps(tables.document(result), indent=1),
             "index.html": page(result)}
    for metric in result.metrics:
        drawing = plots.rate_distortion(result.curves, metric, standalone=True)
        if drawing:
            files[f"{metric.key}.svg"] = drawing
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_output(str(folder / name), text.encode(), force=True)
    return folder / "index.html"


def page(result: Result) -> str:
    """The HTML text, of at most LARGEST bytes: pictures are stored with less quality, then left out, to fit."""
    matches = list(result.matches)
    while True:
        for quality in _QUALITIES:
            text = _filled(result, [_match(match, quality) for match in matches])
            if len(text.encode()) <= LARGEST:
                return text
        matches.pop()


def _filled(result: Result, sliders: list[str]) -> str:
    template = resources.files(__package__).joinpath("template.html").read_text("utf-8")
    drawn = "".join(f'<figure class="plot"><figcaption>{escape(m.label)}</figcaption>{drawing}</figure>'
                    for m in result.metrics if (drawing := plots.rate_distortion(result.curves, m)))
    best = [r for r in result.bd_rates if r[3].percent is not None]
    shades = dict(zip((c.label for c in result.curves), plots.colours(result.curves)))
    parts = {
        "SUMMARY": _summary(result), "PLOTS": drawn,
        "SLIDERS": "".join(sliders) or "<p>None were asked for.</p>",
        "BD": _bd_table(result, shades) if result.bd_rates else "<p>There is only one curve.</p>",
        "BDNOTE": "" if best or not result.bd_rates else "<p>No two curves overlap enough.</p>",
        "SPEED": _table(tables.SPEED_HEAD, tables.speed_rows(result)) if result.timings else
                 "<p>Timing was left out.</p>",
        "SPEEDNOTE": f"Serial, each codec in a process of its own, {result.timings[0].threads} thread(s), "
                     f"{result.timings[0].pictures} picture(s); library and model loaded." if result.timings else "",
        "CODECS": _table(["codec", "how it is used", "version"], [
            [c.label, c.note, c.version.split(", model ")[0]] for c in result.curves]),
        "CURVES": "".join(f"<details><summary>{escape(c.label)}</summary>"
                          + _table(tables.curve_head(result.metrics), tables.curve_rows(c, result.metrics))
                          + "</details>" for c in result.curves),
        "BAD": _list("Left out, because they cannot be read or coded", result.bad)
               + _list("Pictures without some figures", result.absent),
        "MACHINE": escape(result.machine_line()),
    }
    for name, text in parts.items():
        template = template.replace(f"<!--{name}-->", text)
    return template


def _summary(result: Result) -> str:
    sizes = {(s.width, s.height) for s in result.pictures}
    shown = " and ".join(f"{w} × {h}" for w, h in sorted(sizes)) if len(sizes) <= 2 else f"{len(sizes)} sizes"
    count = f"{len(result.pictures)} picture" + ("s" if len(result.pictures) != 1 else "")
    return f"{count} ({shown}) · {len(result.curves)} codecs · {len(result.points)} files written and read back"


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
    rows = "".join(f"<li><b>{escape(name)}</b>: {escape(reason)}</li>" for name, reason in items)
    return f"<h3>{title}</h3><ul>{rows}</ul>" if items else ""


def _match(match: Match, quality: int) -> str:
    """A slider: its pictures as data, and the lines that say what they are."""
    versions = [{"label": "original", "line": "the original", "src": _data_uri(match.original, quality)}]
    for version in match.versions:
        figures = " · ".join(f"{METRICS[key].label} {tables.number(value)} {METRICS[key].unit}".rstrip()
                             for key, value in version.values.items() if value is not None)
        over = " — its smallest file" if version.over else ""
        versions.append({"label": version.label, "src": _data_uri(version.rgb, quality),
                         "line": f"{version.bytes:,} bytes · {version.bpp:.3f} bpp{over} · {version.described}"
                                 + (f" · {figures}" if figures else "")})
    height, width = _middle(match.original).shape[:2]
    pictures = "".join(f'<img alt="{escape(v["label"])}" data-version="{i}" src="{v["src"]}" width="{width}" '
                       f'height="{height}" draggable="false">' for i, v in enumerate(versions))

    def options(chosen):
        return "".join(f'<option value="{i}"{" selected" if i == chosen else ""}>{escape(v["label"])}</option>'
                       for i, v in enumerate(versions))

    lines = escape(json.dumps([v["line"] for v in versions]))
    size = match.versions[0].bytes
    return f"""<article class="match" data-lines="{lines}">
<h3>{escape(match.picture)} <small>{match.versions[0].bpp:.2f} bpp · {size:,} bytes</small></h3>
<div class="bar"><label>left <select class="left">{options(1)}</select></label>
<span class="zoom" role="group" aria-label="zoom"><button type="button" data-zoom="fit" class="on">fit</button>
<button type="button" data-zoom="1">1:1</button><button type="button" data-zoom="2">2×</button>
<button type="button" data-zoom="4">4×</button></span>
<label>right <select class="right">{options(2)}</select></label></div>
<div class="view" style="aspect-ratio:{width}/{height}" tabindex="0" role="slider" aria-valuemin="0"
aria-valuemax="100" aria-valuenow="50" aria-label="divider between the pictures"><div class="stage">{pictures}</div>
<div class="divider"><span></span></div></div>
<div class="lines"><p class="left-line"></p><p class="right-line"></p></div></article>"""


def _middle(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    top, left = max(0, height - _SHOWN) // 2, max(0, width - _SHOWN) // 2
    return rgb[top : top + _SHOWN, left : left + _SHOWN]


def _data_uri(rgb: np.ndarray, quality: int) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(_middle(rgb))).save(buffer, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
