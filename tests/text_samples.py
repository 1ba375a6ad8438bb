"""A small model of text, made in a second, and texts that it knows a little of."""

from __future__ import annotations

import random

from vqcodec.text import prime
from vqcodec.zoo import registration

ID = 60010
WORDS = "the of and a to in is you that it he was for on are as with his they I at be this have from or one had by word".split()


def text_of(count: int, seed: int = 0) -> bytes:
    """So many bytes: lines of words, some with letters beyond ASCII, and numbers."""
    choice, lines = random.Random(seed), []
    while sum(map(len, lines)) < count:
        words = [choice.choice(WORDS) for _ in range(choice.randrange(3, 12))]
        if choice.random() < 0.2:
            words.append(choice.choice(("naïve", "Zürich", "42", "<b>bold</b>")))
        lines.append((" ".join(words).capitalize() + choice.choice(".!?") + choice.choice(("\n", "\n\n", "\r\n"))).encode())
    return b"".join(lines)[:count]


def make_tiny_text_model(folder, name: str = "tinytext", id: int = ID) -> None:
    """Puts a model of text into a models folder."""
    tables = prime.learn([text_of(6000, seed) for seed in range(4)], (1, 1, 2, 2, 3, 3, 2, 2))
    stages = (prime.Stage(300, 6, 1, 4, 4), prime.Stage(200, 6, 1))
    prime.export(prime.tune(tables, [text_of(1000, seed) for seed in range(10, 14)], stages, say=lambda text: None),
                 folder / name)
    (folder / name / "card.md").write_text(f"# {name}\n")
    registration.register(folder / name, name, id=id, status="default", models_dir=folder, modality="text")
