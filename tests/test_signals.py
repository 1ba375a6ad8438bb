"""What ends a program, as exceptions: nothing is left behind, one line is said."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile
from conftest import synthetic_sound

import vqcodec
from vqcodec.signals import Terminated, as_exceptions, calling

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_they_are_raised_once_and_then_as_before(number, code):
    before = signal.getsignal(number)
    with pytest.raises(Terminated) as caught, as_exceptions():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # must not stop what cleans up
            time.sleep(0.01)
    assert caught.value.exit_code == code and signal.getsignal(number) == before


def test_they_call_meanwhile_and_are_as_before_afterwards():
    before, called = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)], []
    with calling(lambda: called.append(True)):
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            time.sleep(0.01)
    assert called == [True, True] and [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_what_others_have_set_stays():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        with as_exceptions():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    passed = []
    thread = threading.Thread(target=lambda: passed.append(as_exceptions().__enter__()))
    thread.start()
    thread.join()
    assert passed == [None]


@pytest.mark.parametrize("number, error", [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_libsndfile_does_not_swallow_them(number, error):
    class File(io.BytesIO):
        killed = False

        def write(self, data):
            if not self.killed:
                self.killed = True
                os.kill(os.getpid(), number)
            return super().write(data)

    with pytest.raises(error), as_exceptions():
        with soundfile.SoundFile(File(), "w", 8000, 1, format="WAV") as file:
            for _ in range(500):
                file.write(np.zeros(1000))
                time.sleep(0.01)


@pytest.fixture(scope="module")
def recording(tiny_audio_dir):
    """A .vq file of a minute."""
    samples = np.tile(synthetic_sound(8000)[:, 0], 60)
    return vqcodec.encode_sound((samples, 8000), quality=1, effort=0, models_dir=tiny_audio_dir)


@pytest.mark.parametrize("number, line", [(signal.SIGTERM, "terminated"), (signal.SIGHUP, "hung up"),
                                          (signal.SIGINT, "interrupted")])
def test_decoding_of_sound_leaves_no_temporary_file(tmp_path, tiny_audio_dir, recording, number, line):
    (tmp_path / "in.vq").write_bytes(recording)
    (tmp_path / "out.wav").write_bytes(b"old")
    (tmp_path / "out.wav").chmod(0o600)
    process = subprocess.Popen(
        [sys.executable, "-m", "vqcodec", "decode", "in.vq", "out.wav", "-f", "--models-dir", str(tiny_audio_dir)],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 200
    while not (found := list(tmp_path.glob(".vqcodec-*"))) and time.monotonic() < deadline:
        time.sleep(0.002)
    assert found[0].stat().st_mode & 0o777 == 0o600
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (128 + number, f"vqcodec: error: {line}\n")
    assert sorted(os.listdir(tmp_path)) == ["in.vq", "out.wav"] and (tmp_path / "out.wav").read_bytes() == b"old"


def test_interrupted_while_it_is_imported():
    code = ("import sys\n"
            "class Finder:\n"
            "    def find_spec(self, name, *_):\n"
            "        if name == 'click': raise KeyboardInterrupt\n"
            "sys.meta_path.insert(0, Finder())\n"
            "from vqcodec.__main__ import main\n"
            "main()")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (130, "vqcodec: error: interrupted\n")
