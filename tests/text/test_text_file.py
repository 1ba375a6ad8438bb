"""What is taken for text."""

from __future__ import annotations

import random
import zlib

import pytest

from text_samples import text_of
from vqcodec import medium
from vqcodec.text.file import encoding_of, looks_like_text

RUSSIAN = "Съешь ещё этих мягких французских булок, да выпей чаю.\n" * 20


@pytest.mark.parametrize("data, encoding", [
    (b"plain\r\n", "ascii"), (b"a\tb\x0c\n", "ascii"), ("naïve".encode(), "utf-8"), ("\ufeffBOM".encode(), "utf-8"),
    ("naïve\n".encode("latin-1"), "8-bit"), (RUSSIAN.encode("koi8-r"), "8-bit"), (RUSSIAN.encode(), "utf-8"),
    ("text".encode("utf-16"), "utf-16-le"), ("text with some length".encode("utf-16-le"), "utf-16-le"),
    ("text with some length".encode("utf-16-be"), "utf-16-be"), ("text".encode("utf-32"), "utf-32-le"),
    ("日本語のテキスト".encode()[:-1], "utf-8"),  # a head ends anywhere
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", None), (random.Random(0).randbytes(400), None), (zlib.compress(text_of(4000)), None),
    (bytes(100), None), (b"RIFF\x24\0\0\0WAVEfmt ", None)])
def test_encodings(data, encoding):
    assert encoding_of(data) == encoding


@pytest.mark.parametrize("data", [b"P3\n1 1\n255\n0 0 0\n", b"/* XPM */\nstatic char * x[] = {", b"#define x_width 8\n"])
def test_pictures_that_are_written_as_text_are_pictures(data):
    assert not looks_like_text(data)
    assert medium.of_head(data).key == "picture"


def test_by_content_and_not_by_name():
    assert medium.of_head(b"Dear reader,\n", "letter").key == medium.of_head(b"x = 1\n", "a.xyz").key == "text"
    assert medium.of_head(b"not a picture", "photo.png").key == "picture"  # which says what is wrong
    assert medium.of_head(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg").key == "text"
    assert medium.of_extension("a/b.MD").key == "text"
