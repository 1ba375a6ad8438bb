"""Foreign text in messages, and what counts as lack of memory."""

import pytest

from vqcodec.errors import one_line, out_of_memory, shown, shown_text


@pytest.mark.parametrize("name, text", [
    ("photo é 写真 👩\u200d👧 \u3000.png", "photo é 写真 👩\u200d👧 \u3000.png"), (r"C:\new", r"C:\new"),
    ("a\nb\tc\r\0", r"a\nb\tc\r\x00"), ("\x1b[2J\x07\x7f\x9b", r"\x1b[2J\x07\x7f\x9b"), ("\udcff\udc80", r"\xff\x80"),
    ("\ud800", r"\ud800"), ("gnp.\u202ecod", r"gnp.\u202ecod"), ("\u2028\u2029\ufeff", r"\u2028\u2029\ufeff"),
])
def test_names_are_printable(name, text):
    assert shown(name) == text and one_line(shown(name)) == text
    assert one_line(name).encode() and not set(one_line(name)) & set("\n\r\0\x1b\x07")


def test_texts_of_several_lines():
    assert one_line("first\nsecond\r\nthird\x1b") == r"first second third\x1b"
    assert shown_text("a\tb\r\nc\x1b[31m\n\nd") == "a\tb\nc\\x1b[31m\n\nd"


def test_lack_of_memory():
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert out_of_memory(caught.value) and out_of_memory(MemoryError()) and out_of_memory(torch.OutOfMemoryError("CUDA"))
    assert not out_of_memory(RuntimeError("the size of tensor a must match")) and not out_of_memory(OSError("x"))
