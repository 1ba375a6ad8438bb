"""What README and docs/ say is so: links, paths, extras, commands with their options, and the examples in Python."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import click
import numpy as np
import pytest

from conftest import synthetic_picture, synthetic_sound
from vqcodec.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "models" / "LICENSE.md", ROOT / "bitstream_spec.md"]
HELP = {"-h", "--help"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def code_lines(text: str) -> list[str]:
    """Lines of code blocks, and code within lines."""
    lines, fenced = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            lines.append(line)
        else:
            lines += re.findall(r"`([^`]+)`", line)
    return lines


def commands_in(text: str) -> list[list[str]]:
    """The words of every `vqcodec …` in the code of a page."""
    found = []
    for line in code_lines(text):
        for part in re.split(r"&&| {3,}(?=vqcodec )", line.split("#")[0]):
            match = re.search(r"(?:^|\s)vqcodec (?=[a-z\[-])(.*)", part.strip())
            if match and "=" not in match[1].split()[0]:
                found.append(re.sub(r"[\[\]|]", " ", match[1]).split())
    return found


def unknown_words(words: list[str]) -> list[str]:
    """Commands and options that do not exist."""
    command, options = main, set(HELP)
    while True:
        options |= {name for p in command.params if isinstance(p, click.Option) for name in (*p.opts, *p.secondary_opts)}
        if not words or not isinstance(command, click.Group) or words[0].startswith("-") or words[0].isupper():
            break
        if words[0] not in command.commands:
            return [words[0]]
        command, words = command.commands[words[0]], words[1:]
    return [word for word in words if re.match(r"--?[a-zA-Z]", word) and word.rstrip(",;.:…") not in options]


def test_words_of_commands_are_found_and_judged():
    text = "A `vqcodec inspect --nonsense`.\n\n    pip install . && vqcodec encode IN [-q 1..8 | --bpp X] # vqcodec x\n    vqcodec melt\n"
    assert [unknown_words(words) for words in commands_in(text)] == [["--nonsense"], [], ["melt"]]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pages
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pages
def test_modules_exist(page):
    paths = re.findall(r"`((?:vqcodec|tests|benchmarks|models|examples)/[\w/.-]*)`", page.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pages
def test_commands_and_options_exist(page):
    wrong = {" ".join(words): unknown for words in commands_in(page.read_text()) if (unknown := unknown_words(words))}
    assert wrong == {}


@pages
def test_extras_are_installed_from_the_folder(page):
    extras = re.findall(r'^([\w-]+) = \[', (ROOT / "pyproject.toml").read_text().split("optional-dependencies]")[1].split("\n[")[0], re.M)
    text = page.read_text()
    named = {name for group in re.findall(r'pip install (?:-e )?"\.\[([^\]]+)\]"', text) for name in group.split(",")}
    assert named <= set(extras)
    assert not re.search(r"pip install \S*vqcodec\[", text)


def test_messages_name_extras_as_the_readme_does():
    texts = {path: path.read_text() for path in (ROOT / "vqcodec").rglob("*.py")}
    assert [path for path, text in texts.items() if re.search(r"pip install \S*vqcodec\[", text)] == []


def all_commands(command: click.Command, name: str = "vqcodec"):
    yield name, command
    for each, inner in getattr(command, "commands", {}).items():
        yield from all_commands(inner, f"{name} {each}")


def test_all_commands_and_options_are_documented():
    text = (ROOT / "docs" / "command_line.md").read_text()
    missing = []
    for name, command in all_commands(main):
        if not isinstance(command, click.Group) and not re.search(rf"^ *{name}\b", text, re.M):
            missing.append(name)
        for option in command.params:
            if isinstance(option, click.Option):
                missing += [f"{name} {word}" for word in (*option.opts, *option.secondary_opts)
                            if word.startswith("--") and not re.search(rf"(?<![\w-]){word}(?![\w-])", text)]
    assert missing == []


@pytest.mark.parametrize("page", ["docs/python.md", "README.md"])
def test_examples_in_python_run(page, tiny_audio_dir, tmp_path, monkeypatch, capsys):
    import soundfile
    from PIL import Image

    from vqcodec import VqcodecWarning

    monkeypatch.setenv("VQCODEC_MODELS_DIR", str(tiny_audio_dir))
    monkeypatch.chdir(tmp_path)
    Image.fromarray(synthetic_picture(96, 144)).save("photo.png")
    Path("notes.md").write_text("# Notes\n\nWhat was to be shown.\n")
    soundfile.write("speech.wav", np.asarray(synthetic_sound(8000)), 8000)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
    assert blocks
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VqcodecWarning)  # a model of three qualities misses some targets
        for block in blocks:
            exec(compile(block, page, "exec"), names)
    assert names["image"].size == (144, 96)
    if page == "docs/python.md":
        assert capsys.readouterr().out.endswith(" 3\n")  # the example of an error, and its exit code
