"""Small data sets with labels in their file names, for models that draw (docs/training.md).

    python benchmarks/datasets.py emoji OUT/      # Debian: fonts-noto-color-emoji, unicode-data; 64×64 pixels over white
    python benchmarks/datasets.py digits FSDD/ OUT/ --without yweweler      # links to the recordings of all voices but one
    python benchmarks/datasets.py doom OUT/ --episodes 200 --seed 1         # pip install vizdoom; walks through a maze of Freedoom
"""

from __future__ import annotations

import argparse
import os
import random
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


STEPS = 160  # frames of a walk
WALK, REST = 4, 14  # tics that an action lasts, and that the player then takes to stand: what follows a frame hangs on no speed
TURN = 2.5  # degrees a tic
ACTIONS = {"left": (0, 0, -TURN), "right": (0, 0, TURN), "forward": (1, 0, 0), "back": (0, 1, 0)}
BLOCKED = 14  # units: who walks less has met a wall


def walks(out: Path, episodes: int, seed: int) -> int:
    """Walks of STEPS frames, 64×64 pixels: NAME.mkv without loss, NAME.actions with the actions that led to its frames but the
    first, and of every eighth frame a picture in frames/. Returns how many walks."""
    import numpy as np
    import vizdoom
    from PIL import Image

    game = vizdoom.DoomGame()
    game.load_config(f"{vizdoom.scenarios_path}/my_way_home.cfg")
    game.set_window_visible(False)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    for part in ("hud", "weapon", "crosshair", "decals", "particles"):
        getattr(game, f"set_render_{part}")(False)
    button, variable = vizdoom.Button, vizdoom.GameVariable
    game.set_available_buttons([button.MOVE_FORWARD, button.MOVE_BACKWARD, button.TURN_LEFT_RIGHT_DELTA])
    game.set_available_game_variables([variable.POSITION_X, variable.POSITION_Y])
    game.set_episode_timeout(0)
    game.add_game_args("+movebob 0")
    game.set_seed(seed)
    game.init()
    (out / "frames").mkdir(exist_ok=True)
    for number in range(episodes):
        rng, name = random.Random(f"{seed} {number}"), f"walk-{seed:02}-{number:04}"
        game.new_episode()
        frames, taken, planned, before = [], [], [], None
        while not game.is_episode_finished() and len(frames) < STEPS:
            state = game.get_state()
            middle = Image.fromarray(state.screen_buffer[:, 20:140])  # a square of it
            frames.append(np.asarray(middle.resize((SIDE, SIDE), Image.BOX)))
            place = np.asarray(state.game_variables)
            if taken and taken[-1] in ("forward", "back") and np.abs(place - before).max() < BLOCKED:
                planned = [rng.choice(("left", "right"))] * rng.randint(3, 9)
            if not planned:
                action = rng.choices(list(ACTIONS), (3, 3, 5, 1))[0]
                planned = [action] * rng.randint(1, 3 if action == "back" else 5)
            taken.append(planned.pop())
            before = place
            game.set_action(ACTIONS[taken[-1]])
            game.advance_action(WALK, False)
            if not game.is_episode_finished():
                game.set_action((0, 0, 0))
                game.advance_action(REST, True)
        write_clip(out / f"{name}.mkv", frames)
        (out / f"{name}.actions").write_text("\n".join(taken[: len(frames) - 1]) + "\n")
        for i in range(0, len(frames), 8):
            Image.fromarray(frames[i]).save(out / "frames" / f"{name}-{i:03}.png")
    game.close()
    Path("_vizdoom.ini").unlink(missing_ok=True)  # which it leaves where it runs
    return episodes


def write_clip(path: Path, frames: list) -> None:
    """uint8[H,W,3] each, without loss, ten a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("emoji", "digits", "doom"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--without", default="")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    out = given.folders[-1]
    out.mkdir(parents=True, exist_ok=True)
    if given.what == "doom":
        made = walks(out, given.episodes, given.seed)
    else:
        made = emoji(out) if given.what == "emoji" else digits(*given.folders, given.without)
    print(f"{made} files in {out}")
