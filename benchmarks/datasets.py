"""Small data sets with labels in their file names, for models that draw (docs/training.md).

    python benchmarks/datasets.py emoji OUT/      # Debian: fonts-noto-color-emoji, unicode-data; 64×64 pixels over white
    python benchmarks/datasets.py digits FSDD/ OUT/ --without yweweler      # links to the recordings of all voices but one
    python benchmarks/datasets.py vary EMOJI/ OUT/ HELD_OUT/      # links to its files, and others like them; 64 are held out first
    python benchmarks/datasets.py doom OUT/ --episodes 200 --seed 1         # pip install vizdoom; walks through a maze of Freedoom

Few files are learned by heart: `vary` makes more of them, by shifts, sizes, mirrors and colours of pictures, by pace, delay and tilt of sounds.
"""

from __future__ import annotations

import argparse
import os
import random
import re
from functools import partial
from pathlib import Path

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
NAMES = "/usr/share/unicode/emoji/emoji-test.txt"
GLYPH = 109  # the only size, in points, of this font's pictures
SIDE = 64
HELD_OUT = 64
VARIANTS = 5
RECOLOURED = ("flag", "shape", "heart", "clothing", "vehicle", "thing", "sign", "place")
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


def vary(files: Path, out: Path, held_out: Path, count: int = VARIANTS) -> int:
    """Links to files, those to be held out apart, and so many variants of each of the others; returns how many are in `out`."""
    from vqcodec.train.data import split

    held_out.mkdir(parents=True, exist_ok=True)
    learned, aside = split(sorted(files.iterdir()), HELD_OUT)
    for path in aside:
        os.symlink(path.resolve(), held_out / path.name)
    for path in learned:
        os.symlink(path.resolve(), out / path.name)
        for number in range(count):
            rng = random.Random(f"{path.name}/{number}")
            varied = out / f"{path.stem}-v{number}{path.suffix}"
            (vary_picture if path.suffix == ".png" else vary_sound)(path, varied, rng)
    return len(learned) * (1 + count)


def vary_picture(path: Path, varied: Path, rng: random.Random) -> None:
    from PIL import Image, ImageOps

    picture = Image.open(path).convert("RGB")
    if rng.random() < 0.5 and not path.name.startswith(("sign", "clock")):
        picture = ImageOps.mirror(picture)
    turn = rng.randrange(256) if path.name.startswith(RECOLOURED) else rng.randrange(-8, 9)
    hue, saturation, value = picture.convert("HSV").split()
    picture = Image.merge("HSV", (hue.point([(h + turn) % 256 for h in range(256)]), saturation, value)).convert("RGB")
    size = SIDE / rng.uniform(0.86, 1.06)  # of what is seen
    left, top = ((SIDE - size) / 2 + rng.uniform(-3, 3) for _ in "xy")
    picture.transform((SIDE, SIDE), Image.AFFINE, (size / SIDE, 0, left, 0, size / SIDE, top), Image.BICUBIC,
                      fillcolor="white").save(varied)


def vary_sound(path: Path, varied: Path, rng: random.Random) -> None:
    import numpy as np
    import soundfile

    x, rate = soundfile.read(path)
    pace, tilt = rng.uniform(0.9, 1.12), rng.uniform(-0.4, 0.4)
    x = np.interp(np.arange(0, len(x) - 1, pace), np.arange(len(x)), x)
    x = np.concatenate([np.zeros(rng.randrange(rate // 20)), x])
    x[1:] += tilt * x[:-1]
    soundfile.write(varied, 0.5 * x / max(1e-3, np.abs(x).max()), rate)


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
    parser.add_argument("what", choices=("emoji", "digits", "vary", "doom"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--without", default="")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    out = given.folders[0 if given.what in ("emoji", "doom") else 1]
    out.mkdir(parents=True, exist_ok=True)
    kinds = {"emoji": emoji, "digits": partial(digits, without=given.without), "vary": vary,
             "doom": partial(walks, episodes=given.episodes, seed=given.seed)}
    made = kinds[given.what](*given.folders)
    print(f"{made} files in {out}")
