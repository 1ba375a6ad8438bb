"""Recordings side by side: one player that goes on at the same place when another version is chosen."""

from __future__ import annotations

import base64
import io
import json
from html import escape

import numpy as np

from .file import Sound
from ..bench.gallery import Gallery


class Players(Gallery):
    note = ("The other codecs' files are the largest that are not larger than vqcodec's, or their smallest. Choosing another "
            "version while it plays goes on at the same place; keys 1, 2, 3 … choose too. All are stored without loss, at "
            "16 bits; of long recordings a part from the middle.")
    levels = (30, 15, 8, 4, 2)  # seconds: as much as the page's size allows

    def article(self, title, versions, level):
        buttons = "".join(f'<button type="button" data-version="{i}" aria-pressed="false">{i + 1} {escape(v.label)}</button>'
                          for i, v in enumerate(versions))
        sounds = "".join(f'<audio preload="auto" data-version="{i}" src="{_data_uri(_middle(v.content, level))}"></audio>'
                         for i, v in enumerate(versions))
        lines = escape(json.dumps([v.line for v in versions]))
        return f"""<article class="listen" data-lines="{lines}">
<h3>{title}</h3>
<div class="bar"><button type="button" class="play" aria-label="play or pause">▶</button>
<input class="seek" type="range" min="0" max="1" step="0.001" value="0" aria-label="position"><span class="time"></span></div>
<div class="versions" role="group" aria-label="version">{buttons}</div><div class="lines"><p class="line"></p></div>{sounds}</article>"""


def _middle(sound: Sound, seconds: float) -> Sound:
    length = round(seconds * sound.rate)
    first = max(0, len(sound.samples) - length) // 2
    return Sound(sound.samples[first : first + length], sound.rate)


def _data_uri(sound: Sound) -> str:
    """FLAC of 16 bits, which browsers play; samples beyond ±1 are clipped, as a player does."""
    import soundfile

    buffer = io.BytesIO()
    samples = np.round(np.clip(sound.samples, -1, 1) * 32767).astype(np.int16)
    soundfile.write(buffer, samples, sound.rate, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode()
