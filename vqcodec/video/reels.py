"""Clips side by side in the report's page: players that run together."""

from __future__ import annotations

import base64
import io
from fractions import Fraction
from html import escape

from ..bench.gallery import Gallery
from .clip import BASE, Clip, ClipReader
from .file import Shape
from .file import Kept
from .writer import VideoWriter, coding_of

ALL = "const all = [...this.closest('article').querySelectorAll('video')], lead = all[0]; "
START = ALL + ("if (lead.paused) { all.forEach(v => { v.currentTime = lead.currentTime; v.play() }) } else all.forEach(v => v.pause()); "
               "lead.ontimeupdate = () => all.forEach(v => { if (Math.abs(v.currentTime - lead.currentTime) > 0.06) "
               "v.currentTime = lead.currentTime })")
MOVE = ALL + "all.forEach(v => { v.pause(); v.currentTime = this.value / 1000 * lead.duration })"


class Reels(Gallery):
    note = ("The other codecs' files are the largest that are not larger than vqcodec's, or their smallest. All are stored as H.264 at "
            "a CRF of 10; of long clips the beginning.")
    levels = (4, 2, 1)  # seconds: as much as the page's size allows

    def article(self, title, versions, level):
        players = "".join('<figure style="display:inline-block;margin:4px"><video muted loop playsinline '
                          f'src="{_data_uri(v.content, level)}"></video><figcaption>{escape(v.line)}</figcaption></figure>'
                          for v in versions)
        return (f'<article><h3>{title}</h3><button type="button" onclick="{escape(START)}">play or '
                f'pause together</button> <input type="range" min="0" max="999" value="0" oninput="{escape(MOVE)}" aria-label="time">'
                f"<div>{players}</div></article>")


def _data_uri(clip: Clip, seconds: float) -> str:
    reader, file = ClipReader(clip, duration=seconds), io.BytesIO()
    shape = reader.shape
    writer = VideoWriter(Kept(file), coding_of("mp4", None), Shape(shape.width, shape.height, Fraction(1), BASE, shape.colour))
    for frame in reader.frames():
        writer.write(frame)
    writer.close()
    return "data:video/mp4;base64," + base64.b64encode(file.getvalue()).decode()
