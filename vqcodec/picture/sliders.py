"""Pictures side by side: two of them under a divider."""

from __future__ import annotations

import base64
import io
import json
from html import escape

import numpy as np

from ..bench.gallery import Gallery

_SHOWN = 1024  # pixels of a side at most; of larger pictures the middle


class Sliders(Gallery):
    note = ("The other codecs' files are the largest that are not larger than vqcodec's. Drag the divider; zoom, and drag "
            "with the right button or Shift to move.")
    levels = (95, 90, 80, 65, 45)  # quality of WebP: as good as the page's size allows

    def article(self, title, versions, level):
        height, width = _middle(versions[0].content).shape[:2]
        pictures = "".join(f'<img alt="{escape(v.label)}" data-version="{i}" src="{_data_uri(v.content, level)}" width="{width}" '
                           f'height="{height}" draggable="false">' for i, v in enumerate(versions))

        def options(chosen):
            return "".join(f'<option value="{i}"{" selected" if i == chosen else ""}>{escape(v.label)}</option>'
                           for i, v in enumerate(versions))

        lines = escape(json.dumps([v.line for v in versions]))
        return f"""<article class="match" data-lines="{lines}">
<h3>{title}</h3>
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
