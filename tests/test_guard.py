"""Nothing that a caller has set reaches the codecs, and nothing of it is changed; nobody spins, no fork hangs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import torch

from vqcodec import guard, process
from vqcodec.errors import CorruptStreamError
from vqcodec.picture.codec import Codec
from vqcodec.picture.file import Picture
from vqcodec.sound.codec import AudioCodec
from vqcodec.sound.file import Sound
from vqcodec.zoo import registry

from conftest import synthetic_picture, synthetic_sound


@contextmanager
def setting(change, value, before):
    change(value)
    try:
        yield
    finally:
        change(before)


CONTEXTS = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", dtype=torch.float16),
    "inference mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "float64": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16": lambda: setting(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "float16": lambda: setting(torch.set_default_dtype, torch.float16, torch.float32),
    "set_default_device": lambda: setting(torch.set_default_device, "meta", None),
    "with a device": lambda: torch.device("meta"),
    "deterministic algorithms": lambda: setting(torch.use_deterministic_algorithms, True, False),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "medium precision": lambda: setting(torch.set_float32_matmul_precision, "medium", "highest"),
    "flushed denormals": lambda: setting(torch.set_flush_denormal, True, False),
    "NumPy that raises": lambda: np.errstate(all="raise"),
    "two threads": lambda: setting(torch.set_num_threads, 2, 1),
}


def settings() -> list:
    """What a caller may have set, as far as it can be asked."""
    smallest = sys.float_info.min
    return [torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), torch.is_inference_mode_enabled(),
            torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device(),
            torch.are_deterministic_algorithms_enabled(), torch.is_anomaly_enabled(), torch.get_float32_matmul_precision(),
            smallest / 2 == 0, np.geterr(), torch.get_num_threads(), torch.get_rng_state().tolist() if
            torch.get_default_device().type == "cpu" else None]


def of_pictures(folder) -> dict:
    entry = registry.find_by_name("tiny", folder)
    codec = Codec.open(entry)
    picture = Picture(synthetic_picture(70, 90), synthetic_picture(70, 90, 1)[:, :, 0])
    quick, usual = (codec.encode(picture, 2, effort=effort).data for effort in (0, 2))
    decoder = Codec.open(entry, encoder=False)
    grids = decoder.decode_grids(usual)
    return {"effort 0": quick, "effort 2": usual, "target": codec.encode_to_target(picture, psnr=24.0, effort=1).data,
            "pixels": decoder.decode(usual).rgb.tobytes(), "grids": grids.tobytes(),
            "tokens": decoder.encode_tokens(grids, 90, 70, 2).data, "bits": decoder.bits_per_block(usual).tobytes(),
            "segments": decoder.segment_bytes(usual)}


def of_sound(folder) -> dict:
    entry = registry.find_by_name("tinysound", folder, "audio")
    codec = AudioCodec.open(entry)
    sound = Sound(synthetic_sound(9000, 2, 11025), 11025)
    quick, usual = (codec.encode(sound, 2, effort=effort).data for effort in (0, 2))
    decoder = AudioCodec.open(entry, encoder=False)
    stream, grids = decoder.decode_stream(io.BytesIO(usual)), decoder.decode_grids(usual)
    return {"effort 0": quick, "effort 2": usual, "samples": decoder.decode(usual).samples.tobytes(),
            "blocks": b"".join(block.tobytes() for block in stream.blocks()), "grids": grids.tobytes(),
            "tokens": decoder.encode_tokens(grids, stream.header).data, "bits": decoder.bits_per_frame(usual).tobytes()}


@pytest.fixture(scope="module")
def expected(tiny_audio_dir):
    return {make: make(tiny_audio_dir) for make in (of_pictures, of_sound)}


@pytest.mark.parametrize("make", (of_pictures, of_sound))
@pytest.mark.parametrize("name", CONTEXTS)
@pytest.mark.filterwarnings("ignore:Anomaly Detection", "ignore:CPU Autocast only supports")
def test_no_context_of_the_caller_changes_what_is_made_or_is_changed(name, make, expected, tiny_audio_dir):
    with CONTEXTS[name]():
        before = settings()
        assert make(tiny_audio_dir) == expected[make]
        assert settings() == before


def test_contexts_together_and_errors(expected, tiny_audio_dir):
    codec = Codec.open(registry.find_by_name("tiny", tiny_audio_dir))
    damaged = bytearray(expected[of_pictures]["effort 2"])
    damaged[-1] ^= 1
    with ExitStack() as stack:
        for name in ("autocast to bfloat16", "float64", "with a device", "medium precision", "flushed denormals", "two threads",
                     "inference mode", "NumPy that raises"):
            stack.enter_context(CONTEXTS[name]())
        before = settings()
        with pytest.raises(CorruptStreamError):
            codec.decode(bytes(damaged))
        assert settings() == before
        assert of_pictures(tiny_audio_dir) == expected[of_pictures]
        assert of_sound(tiny_audio_dir) == expected[of_sound]
        assert settings() == before


def test_a_generator_leaves_the_caller_alone_while_it_waits(expected, tiny_audio_dir):
    codec = AudioCodec.open(registry.find_by_name("tinysound", tiny_audio_dir, "audio"), encoder=False)
    with torch.autocast("cpu", dtype=torch.bfloat16), setting(torch.set_num_threads, 2, 1):
        before, blocks = settings(), codec.decode_stream(io.BytesIO(expected[of_sound]["effort 2"])).blocks()
        parts = []
        for block in blocks:
            parts.append(block.tobytes())
            assert settings() == before
            if len(parts) == 1:  # another call between two blocks
                codec.decode_grids(expected[of_sound]["effort 2"])
        assert len(parts) > 1 and b"".join(parts) == expected[of_sound]["blocks"]
        stopped = codec.decode_stream(io.BytesIO(expected[of_sound]["effort 2"])).blocks()
        next(stopped)
        stopped.close()
        assert settings() == before


def test_generators_pass_on_errors_and_ends():
    @guard.guarded
    def numbers():
        try:
            yield torch.get_num_threads()
            yield torch.is_grad_enabled()
            raise ValueError("third")
        finally:
            ends.append(torch.is_grad_enabled())

    ends = []
    with setting(torch.set_num_threads, 2, 1):
        several = numbers()
        assert (next(several), next(several)) == (1, False) and torch.get_num_threads() == 2 and torch.is_grad_enabled()
        with pytest.raises(ValueError, match="third"):
            next(several)
        stopped = numbers()
        next(stopped)
        stopped.close()
        assert ends == [False, False] and torch.get_num_threads() == 2


def test_threads_of_the_caller_do_not_disturb_one_another(expected, tiny_audio_dir):
    """Also not those that use torch for the first time while others are at work."""
    codec = Codec.open(registry.find_by_name("tiny", tiny_audio_dir))
    picture = Picture(synthetic_picture(70, 90), synthetic_picture(70, 90, 1)[:, :, 0])
    results, counts = [], []

    def work(threads):
        if threads:
            torch.get_num_threads()  # torch would set them when first asked, to what another thread may have set since
            torch.set_num_threads(threads)
        for _ in range(3):
            results.append(codec.encode(picture, 2, effort=2).data)
            counts.append((threads or usual, torch.get_num_threads()))

    torch.set_num_threads(3)  # what new threads begin with
    usual = 3
    try:
        first = [threading.Thread(target=work, args=(None,)) for _ in range(4)]
        for thread in first:
            thread.start()
        for thread in first:
            thread.join()
        usual = None
        own = [threading.Thread(target=work, args=(n,)) for n in (1, 2, 4)]
        for thread in own:
            thread.start()
        for thread in own:
            thread.join()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert set(results) == {expected[of_pictures]["effort 2"]} and len(results) == 21
    assert all(wanted == found for wanted, found in counts)


def test_precision_is_restored_by_the_last_to_go():
    inside, leave = threading.Barrier(2), threading.Event()

    def hold():
        with guard.guard():
            inside.wait(10)
            leave.wait(10)

    with setting(torch.set_float32_matmul_precision, "medium", "highest"):
        thread = threading.Thread(target=hold)
        thread.start()
        inside.wait(10)
        with guard.guard():
            pass
        low = guard._product_precision()
        leave.set()
        thread.join()
        assert low is None and torch.get_float32_matmul_precision() == "medium" and guard._product_precision()


@pytest.mark.parametrize("waiting, threads", (("PASSIVE", 3), ("passive", 3), ("ACTIVE", 1), (None, 1)))
def test_more_threads_than_one_only_where_they_sleep(waiting, threads, monkeypatch):
    if waiting is None:
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    else:
        monkeypatch.setenv("OMP_WAIT_POLICY", waiting)
    with setting(torch.set_num_threads, 3, 1):
        with guard.guard():
            assert torch.get_num_threads() == 1
            with guard.more_threads():
                assert torch.get_num_threads() == threads
                with guard.guard():
                    assert torch.get_num_threads() == threads
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3


@pytest.mark.skipif(not guard._blas(), reason="NumPy has no OpenBLAS")
def test_numpy_has_one_thread_meanwhile():
    (change, ask), *_ = guard._blas()
    before = ask()
    inside, leave = threading.Barrier(2), threading.Event()

    def hold():
        with guard.guard():
            inside.wait(10)
            leave.wait(10)

    with setting(change, 2, before):
        thread = threading.Thread(target=hold)
        thread.start()
        inside.wait(10)
        with guard.guard(), guard.guard():
            assert ask() == 1
        assert ask() == 1  # of the other thread
        leave.set()
        thread.join()
        assert ask() == 2


SPINNING = """
import sys, threading, time
from pathlib import Path
from vqcodec.picture.codec import Codec
from vqcodec.zoo import registry
codec = Codec.open(registry.find_by_name("tiny", Path(sys.argv[1])), encoder=False)
data = Path(sys.argv[2]).read_bytes()
codec.decode(data)
before = time.process_time(), time.thread_time()
codec.decode(data)
print(time.process_time() - before[0], time.thread_time() - before[1])
assert "torch" not in sys.modules
"""


def test_decoding_spins_nowhere_though_nothing_is_set(tiny_model_dir, tmp_path):
    codec = Codec.open(registry.find_by_name("tiny", tiny_model_dir))
    (tmp_path / "large.vq").write_bytes(codec.encode(Picture(synthetic_picture(600, 800)), 2, effort=0).data)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "OPENBLAS_", "GOMP_", "MKL_"))}
    result = subprocess.run([sys.executable, "-c", SPINNING, str(tiny_model_dir), str(tmp_path / "large.vq")],
                            env=environment, capture_output=True, text=True, check=True)
    everybody, own = map(float, result.stdout.split())
    assert everybody < 1.2 * own + 0.02


FORKING = """
import multiprocessing, sys
from pathlib import Path
import torch
from vqcodec.picture.codec import Codec
from vqcodec.picture.file import Picture
from vqcodec.sound.codec import AudioCodec
from vqcodec.sound.file import Sound
from vqcodec.zoo import registry
sys.path.insert(0, sys.argv[2])
from conftest import synthetic_picture, synthetic_sound

folder = Path(sys.argv[1])
torch.set_num_threads(2)
pictures = Codec.open(registry.find_by_name("tiny", folder))
sounds = AudioCodec.open(registry.find_by_name("tinysound", folder, "audio"))
picture, sound = Picture(synthetic_picture(200, 300)), Sound(synthetic_sound(16000), 8000)

def work():
    data, heard = pictures.encode(picture, 2, effort=2).data, sounds.encode(sound, 2).data
    return data, pictures.decode(data).rgb.tobytes(), heard, sounds.decode(heard).samples.tobytes()

def child(queue):
    queue.put(work() == expected)

expected = work()
torch.randn(1000, 1000) @ torch.randn(1000, 1000)  # the caller's own work has threads too
context = multiprocessing.get_context("fork")
queue = context.Queue()
children = [context.Process(target=child, args=(queue,), daemon=True) for _ in range(2)]
for process in children:
    process.start()
print([queue.get(timeout=60) for _ in children], work() == expected)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks with threads")
@pytest.mark.parametrize("waiting", ("PASSIVE", None))
def test_a_fork_of_a_process_that_has_used_the_codecs_does_not_hang(waiting, tiny_audio_dir):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    environment |= {"OMP_WAIT_POLICY": waiting} if waiting else {}
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING, str(tiny_audio_dir), os.path.dirname(__file__)],
                            env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[True, True] True"


COMMAND = """
import os, sys
from vqcodec.cli.program import main
main(sys.argv[1:], standalone_mode=False)
print([os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")])
"""


@pytest.mark.parametrize("command, before, after", (
    (["models", "list"], {}, ["PASSIVE", "0", "0"]),
    (["models", "list"], {"OMP_WAIT_POLICY": "ACTIVE"}, ["ACTIVE", None, None]),
    (["models", "list"], {"GOMP_SPINCOUNT": "5"}, [None, "5", None]),
    (["decode", "there-is-no-such-file"], {}, ["PASSIVE", "0", "0"]),
    (["train", "image", "--help"], {}, [None, None, None])))
def test_all_commands_but_training_make_waiting_threads_sleep(command, before, after):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))} | before
    result = subprocess.run([sys.executable, "-c", COMMAND, *command], env=environment, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == str(after), result.stderr


def test_a_process_that_has_loaded_torch_keeps_its_environment(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    process.wait_passively()
    assert not process.waits_passively()


def test_nothing_is_made_of_torch_while_modules_are_loaded():
    """It would be made under whatever the caller has set just then."""
    code = """
import torch, sys
torch.set_default_device("meta")
torch.set_default_dtype(torch.float16)
with torch.inference_mode():
    import vqcodec.picture.codec, vqcodec.sound.codec
found = [f"{name}.{key}" for name, module in list(sys.modules.items()) if name.startswith("vqcodec")
         for key, value in vars(module).items() if isinstance(value, torch.Tensor)]
print(found)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
