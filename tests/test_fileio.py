"""Reading whole inputs and writing whole outputs: each refusal, and no half-written file whatever happens."""

import errno
import io
import os
import stat
import subprocess
import sys
import threading

import pytest

from vqcodec import fileio
from vqcodec.errors import InputError, UsageError
from vqcodec.fileio import HEAD, Source, ensure_writable, read_input, write_output

OLD, NEW = b"old content", b"new content" * 1000


class Stream:
    """Stand-in for sys.stdin or sys.stdout over a byte buffer."""

    def __init__(self, buffer=None, terminal=False):
        self.buffer = buffer if buffer is not None else io.BytesIO()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


def error_of(call, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


# reading


def test_reads_files_and_standard_input(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(NEW)
    assert read_input(path) == read_input(str(path)) == NEW
    monkeypatch.setattr(sys, "stdin", Stream(io.BytesIO(OLD)))
    assert read_input("-") == OLD


def test_read_refusals_name_file_and_cause(tmp_path, monkeypatch):
    assert (
        error_of(read_input, tmp_path / "none")
        == f"{tmp_path / 'none'}: cannot read (No such file or directory)"
    )
    assert error_of(read_input, tmp_path) == f"{tmp_path}: cannot read (Is a directory)"
    (tmp_path / "void").touch()
    assert error_of(read_input, tmp_path / "void") == f"{tmp_path / 'void'}: empty"
    assert "cannot read" in error_of(read_input, "a\0b")
    monkeypatch.setattr(sys, "stdin", Stream())
    assert error_of(read_input, "-") == "standard input: empty"


def test_unreadable_file_is_an_input_error(tmp_path, monkeypatch):
    def denied(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(fileio, "open", denied, raising=False)  # real modes do not stop root
    assert error_of(read_input, "secret") == "secret: cannot read (Permission denied)"


# writing


def test_writes_a_new_file_with_the_permissions_of_the_umask(tmp_path):
    old_mask = os.umask(0o027)
    try:
        write_output(tmp_path / "x", NEW)
    finally:
        os.umask(old_mask)
    assert (tmp_path / "x").read_bytes() == NEW
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["x"]


def test_overwrites_only_by_force_and_keeps_the_mode(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(OLD)
    path.chmod(0o604)
    for call in (lambda: write_output(path, NEW), lambda: ensure_writable(path)):
        assert error_of(call) == f"{path}: exists; use -f to overwrite"
    assert path.read_bytes() == OLD
    ensure_writable(path, force=True)
    assert path.read_bytes() == OLD
    write_output(path, NEW, force=True)
    assert path.read_bytes() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.parametrize("force", [False, True])
def test_impossible_places_are_refused_early_and_late(tmp_path, force):
    (tmp_path / "file").touch()
    cases = {
        tmp_path: "is a directory",
        tmp_path / "none" / "x": "no directory",
        tmp_path / "file" / "x": "Not a directory",
        "a\0b": "cannot write",
        tmp_path / ("n" * 300): "File name too long",
    }
    for path, cause in cases.items():
        assert cause in error_of(ensure_writable, path, force)
        assert cause in error_of(write_output, path, NEW, force)


def test_read_only_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "no permission" in error_of(ensure_writable, tmp_path / "x")


def test_checking_creates_nothing(tmp_path):
    ensure_writable(tmp_path / "x")
    assert os.listdir(tmp_path) == []


FAILURES = {
    "disk full": ("fsync", OSError(errno.ENOSPC, "No space left on device")),
    "rename refused": ("replace", OSError(errno.EACCES, "Permission denied")),
    "interrupted": ("fsync", KeyboardInterrupt()),
}


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("name", FAILURES)
def test_failures_keep_the_old_file_and_leave_nothing(tmp_path, monkeypatch, name, existing):
    path = tmp_path / "x"
    if existing:
        path.write_bytes(OLD)
    function, failure = FAILURES[name]
    seen = []

    def fail(*arguments, **options):
        seen.extend(os.listdir(tmp_path))
        raise failure

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(KeyboardInterrupt if name == "interrupted" else InputError) as caught:
        write_output(path, NEW, force=True)
    if name != "interrupted":
        assert str(caught.value) == f"{path}: cannot write ({failure.strerror})"
    assert any(entry.endswith(".tmp") for entry in seen)  # it was under way, in the same directory
    assert os.listdir(tmp_path) == (["x"] if existing else [])
    assert not existing or path.read_bytes() == OLD


def test_a_file_that_appears_meanwhile_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "x"
    sync = os.fsync

    def appear(descriptor):
        sync(descriptor)
        path.write_bytes(OLD)

    monkeypatch.setattr(os, "fsync", appear)
    assert "-f" in error_of(write_output, path, NEW)
    assert path.read_bytes() == OLD and os.listdir(tmp_path) == ["x"]


def test_symbolic_links_are_followed(tmp_path):
    (tmp_path / "there").mkdir()
    target, link, dangling = tmp_path / "there" / "t", tmp_path / "link", tmp_path / "dangling"
    target.write_bytes(OLD)
    link.symlink_to(target)
    assert "exists" in error_of(write_output, link, NEW)
    write_output(link, NEW, force=True)
    assert link.is_symlink() and target.read_bytes() == NEW
    dangling.symlink_to(tmp_path / "there" / "u")
    write_output(dangling, NEW)
    assert dangling.is_symlink() and (tmp_path / "there" / "u").read_bytes() == NEW
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "cannot write" in error_of(write_output, loop, NEW, True)
    assert loop.is_symlink()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Unix devices")
def test_devices_are_written_in_place():
    before = os.stat("/dev/null").st_mode
    ensure_writable("/dev/null")
    write_output("/dev/null", NEW)
    assert os.stat("/dev/null").st_mode == before and stat.S_ISCHR(before)
    assert error_of(write_output, "/dev/full", NEW) == "/dev/full: cannot write (No space left on device)"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
def test_terminal_devices_are_refused():
    ends = os.openpty()
    try:
        with pytest.raises(UsageError):
            write_output(os.ttyname(ends[1]), b"short, as nobody reads the other end")
    finally:
        for end in ends:
            os.close(end)


def test_standard_output(monkeypatch):
    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    ensure_writable("-")
    write_output("-", NEW)
    assert stream.buffer.getvalue() == NEW


def test_binary_data_never_goes_to_a_terminal(monkeypatch):
    stream = Stream(terminal=True)
    monkeypatch.setattr(sys, "stdout", stream)
    for call in (lambda: ensure_writable("-"), lambda: write_output("-", NEW, force=True)):
        with pytest.raises(UsageError, match="terminal"):
            call()
    assert stream.buffer.getvalue() == b""


def test_closed_pipe_is_an_input_error(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as pipe:
        monkeypatch.setattr(sys, "stdout", Stream(pipe))
        assert error_of(write_output, "-", NEW) == "standard output: cannot write (Broken pipe)"


def test_file_names_that_look_like_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_output("./-", NEW)  # the file, not standard output
    write_output("plain", NEW)  # no directory part
    assert read_input("./-") == read_input("plain") == NEW


# sources: what is no regular file is read once


def _shell(command: str, *arguments: str) -> str:
    code = ("import sys; from vqcodec.fileio import Source; s = Source.open(sys.argv[1]); "
            "print(len(s.head), s.path is None, len(s.data()), s.size, s.data()[-3:].decode())")
    result = subprocess.run(["bash", "-c", command, "bash", sys.executable, code, *arguments],
                            capture_output=True, text=True, timeout=60, check=True)
    return result.stdout.strip()


@pytest.mark.parametrize("count", [3, HEAD - 1, HEAD, HEAD + 1, 5 * HEAD])
def test_sources_give_the_whole_content_whatever_they_are(tmp_path, monkeypatch, count):
    content = (bytes(range(256)) * (count // 256 + 1))[:count]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_bytes(content)
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content))
    writer.start()
    pipe = Source.open("pipe")
    monkeypatch.setattr(sys, "stdin", Stream(io.BytesIO(content)))
    sources = [Source.open("x"), pipe, Source.open("-"), Source.open(memoryview(content)), Source.of_file(io.BytesIO(content))]
    for source in sources:
        assert source.head == content[:HEAD]
        assert source.data() == content and source.data() == content and source.size == count
        with source.open_file() as file:
            assert file.seek(-1, os.SEEK_END) == count - 1 and file.read() == content[-1:]
    writer.join()
    assert [source.path for source in sources] == ["x", None, None, None, None]
    assert [source.name for source in sources] == ["x", "pipe", "standard input", "input", "input"]
    assert sources[0].modified_ns == os.stat("x").st_mtime_ns and pipe.modified_ns is None


def test_the_shell_s_ways_to_pass_a_pipe(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"a" * 100_000 + b"end")
    for command in ('cat "$3" | "$1" -c "$2" /dev/stdin', '"$1" -c "$2" <(cat "$3")', '"$1" -c "$2" - < "$3"'):
        assert _shell(command, str(path)) == f"{HEAD} True 100003 100003 end", command
    assert _shell('"$1" -c "$2" /dev/stdin < "$3"', str(path)) == f"{HEAD} False 100003 100003 end"


def test_what_has_no_end_is_given_up(monkeypatch):
    source = Source.open("/dev/zero")
    assert source.head == bytes(HEAD)
    assert error_of(source.data) == "/dev/zero: cannot read (more than 16 MiB, and no regular file)"
    monkeypatch.setattr(fileio, "PIPE_LIMIT", HEAD + 5)
    assert Source.of_file(io.BytesIO(bytes(HEAD + 5))).size == HEAD + 5
    assert "more than" in error_of(Source.of_file(io.BytesIO(bytes(HEAD + 6))).data)


def test_refusals_of_sources_name_them_safely(tmp_path):
    for source in (b"", "/dev/null", tmp_path):
        error_of(Source.open, source)
    assert error_of(Source.of_bytes, b"", "a\nb") == r"a\nb: empty"
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\x1b[31m\xff\n\xc3\xa9")
    assert error_of(Source.open, path) == rf"{tmp_path}/\x1b[31m\xff\né: cannot read (No such file or directory)"


def test_files_that_hide_their_size_are_read():
    source = Source.open("/proc/self/status")
    assert source.size == len(source.data()) > 100
