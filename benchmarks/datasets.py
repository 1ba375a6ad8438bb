"""Small data sets with labels in their file names, for models that draw (docs/training.md).

    python benchmarks/datasets.py emoji OUT/      # Debian: fonts-noto-color-emoji, unicode-data; 64×64 pixels over white
    python benchmarks/datasets.py digits FSDD/ OUT/ --without yweweler      # links to the recordings of all voices but one
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
NAMES = "/usr/share/unicode/emoji/emoji-test.txt"
GLYPH = 109  # the only size, in points, of this font's pictures
SIDE = 64
KINDS = {"face": "face", "cat-face|monkey-face": "face", "heart": "heart", "hand|body": "hand", "person|family": "person",
         "animal": "animal", "plant": "plant", "food-fruit|food-vegetable": "fruit", "food|dishware": "food", "drink": "drink",
         "place": "place", "transport": "vehicle", "time": "clock", "sky": "sky", "sport|game": "sport", "clothing": "clothing",
         "music|sound|musical": "music", "flag|country-flag|subdivision-flag": "flag", "keycap|alphanum|arrow|zodiac|av-symbol": "sign",
         "geometric": "shape"}


def kind_of(subgroup: str) -> str:
    """A label of ours for a subgroup of the Unicode list."""
    return next((label for names, label in KINDS.items() if re.match(rf"(?:{names})(?:-|$)", subgroup)), "thing")


def emoji(out: Path) -> int:
    """Draws all emoji of one glyph; returns how many."""
    from PIL import Image, ImageDraw, ImageFont, features

    font = ImageFont.truetype(FONT, GLYPH, layout_engine=ImageFont.Layout.RAQM if features.check("raqm") else None)
    subgroup, count = "", 0
    for line in Path(NAMES).read_text(encoding="utf-8").splitlines():
        if line.startswith("# subgroup: "):
            subgroup = line.split(": ")[1]
        codes, _, rest = line.partition(";")
        if "fully-qualified" not in rest.split("#")[0].split():
            continue
        text = "".join(chr(int(code, 16)) for code in codes.split())
        if "\u200d" in text and any("\U0001f3fb" <= c <= "\U0001f3ff" for c in text):  # trades in five tones: half of all else
            continue
        left, top, right, bottom = font.getbbox(text)
        if right - left > 1.3 * (bottom - top) or not right > left:  # several glyphs, or none
            continue
        picture = Image.new("RGB", (136, 136), "white")
        ImageDraw.Draw(picture).text((68 - (left + right) / 2, 68 - (top + bottom) / 2), text, font=font, embedded_color=True)
        name = re.sub(r"[^a-z0-9]+", "_", re.sub(r".*E\d+\.\d+ ", "", rest).lower()).strip("_")
        tone = re.search(r"(light|medium_light|medium|medium_dark|dark)_skin_tone", name)
        words = [kind_of(subgroup), f"tone_{tone[1]}" if tone else "", name.replace("_", ""), "".join(codes.split()).lower()]
        picture.resize((SIDE, SIDE), Image.LANCZOS).save(out / ("-".join(filter(None, words)) + ".png"))
        count += 1
    return count


def digits(recordings: Path, out: Path, without: str) -> int:
    """Links to the recordings of spoken digits, DIGIT_VOICE_NUMBER, but for those of one voice; returns how many."""
    count = 0
    for path in sorted(recordings.iterdir()):
        if re.fullmatch(r"\d_[a-z]+_\d+", path.stem) and path.stem.split("_")[1] != without:
            os.symlink(path.resolve(), out / path.name)
            count += 1
    return count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("emoji", "digits"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--without", default="")
    given = parser.parse_args()
    given.folders[-1].mkdir(parents=True, exist_ok=True)
    made = emoji(given.folders[-1]) if given.what == "emoji" else digits(*given.folders, given.without)
    print(f"{made} files in {given.folders[-1]}")
