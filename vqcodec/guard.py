"""What surrounds the codecs' work, so that nothing of the caller's settings of torch and NumPy reaches it, nor stays changed.

Whatever the caller has set (autocast, gradient or inference mode, default device, denormals, precision of products, NumPy's
errors), streams, pixels and samples are the same. The default type is left alone, as it is the whole process's: what the
codecs' code makes has its type written down.

Torch is imported where it is used: decoders do not need it, and where nobody has loaded it there is nothing of it to guard.

Threads. Work is done by the calling thread alone, but for the encoder's search and the networks of large pictures (in NumPy a second
thread of ours, which sleeps while it waits and ends with the call): threads that
spin while they wait make everything many times slower beside other work, and hang after a fork, for little gain. Those two have
as many as the caller has given torch, where waiting threads sleep (OMP_WAIT_POLICY=PASSIVE; the commands set it) and the process
is no fork.
"""

from __future__ import annotations

import ctypes
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, wraps
from pathlib import Path

import numpy as np

from .process import waits_passively

_held = threading.local()  # while this thread is guarded: .inside, and .threads that its caller has given torch, once that is loaded
_forked = False


def guarded(function: Callable) -> Callable:
    """Decorator of a function or a generator function: it runs in `guard`, a generator only while it is asked for more."""
    if not inspect.isgeneratorfunction(function):
        @wraps(function)
        def run(*arguments, **options):
            with guard():
                return function(*arguments, **options)

        return run

    @wraps(function)
    def items(*arguments, **options):
        generator = function(*arguments, **options)
        end = object()
        try:
            while True:
                with guard():
                    item = next(generator, end)
                if item is end:
                    return
                yield item
        finally:
            with guard():
                generator.close()

    return items


@contextmanager
def guard() -> Iterator[None]:
    """Our own settings in this thread; within itself it does nothing. Afterwards the caller's are as they were."""
    if getattr(_held, "threads", None):
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        if not getattr(_held, "inside", False):
            _held.inside = True
            stack.callback(setattr, _held, "inside", False)
            stack.enter_context(_products)
        if "torch" in sys.modules:
            _guard_torch(stack)
        yield


def _guard_torch(stack: ExitStack) -> None:
    import torch

    _held.threads = torch.get_num_threads()
    stack.callback(setattr, _held, "threads", None)
    stack.enter_context(_threads(1))
    if torch.get_default_device().type != "cpu":
        stack.enter_context(torch.device("cpu"))
    for device in _devices():
        if torch.is_autocast_enabled(device):
            stack.enter_context(torch.autocast(device, enabled=False))
    if torch.is_inference_mode_enabled():
        stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.no_grad())
    stack.enter_context(_denormals())
    stack.enter_context(_precision)


@contextmanager
def more_threads() -> Iterator[None]:
    """Within `guard`: the caller's threads, where those that wait sleep."""
    with _threads(_held.threads if waits_passively() and not _forked else 1):
        yield


def _devices() -> tuple[str, ...]:
    import torch

    accelerator = torch.accelerator.current_accelerator()
    return ("cpu",) if accelerator is None else ("cpu", accelerator.type)


@contextmanager
def _denormals() -> Iterator[None]:
    """Keeps floats below the smallest normal one; a thread may have been told to take them for 0."""
    import torch

    smallest = sys.float_info.min
    flushed = smallest / 2 == 0  # torch does not tell
    if flushed:
        torch.set_flush_denormal(False)
    try:
        yield
    finally:
        if flushed:
            torch.set_flush_denormal(True)


class _WholeProcess:
    """A setting of the whole process: the first to come changes it, the last to go restores it. change: does it, and gives what
    restores it, None if there was nothing to do."""

    def __init__(self, change: Callable[[], Callable[[], object] | None]):
        self.lock, self.count, self.change, self.restore = threading.Lock(), 0, change, None

    def __enter__(self) -> None:
        with self.lock:
            self.count += 1
            if self.count == 1:
                self.restore = self.change()

    def __exit__(self, *_error) -> None:
        with self.lock:
            self.count -= 1
            if self.count == 0 and self.restore:
                self.restore()

    def after_fork(self, count: int) -> None:
        """Of all that were inside `count` are left."""
        self.lock = threading.Lock()
        if self.count and not count and self.restore:
            self.restore()
        self.count = count


def _full_precision() -> Callable[[], None] | None:
    """Of float32 products in torch."""
    before = _product_precision()
    if not before:
        return None
    _set_product_precision("ieee")
    return lambda: _set_product_precision(before)


def _one_product_thread() -> Callable[[], None] | None:
    """Of NumPy's products, by OpenBLAS, whose threads spin too; it knows no setting of one thread alone."""
    before = [(change, threads) for change, ask in _blas() if (threads := ask()) > 1]
    for change, _ in before:
        change(1)
    return (lambda: [change(threads) for change, threads in before]) if before else None


@cache
def _blas() -> list[tuple[Callable[[int], None], Callable[[], int]]]:
    """What sets and what gives the threads of the OpenBLAS that NumPy has loaded; none where it has another library."""
    folder = Path(np.__file__).parent
    places = {str(path) for path in (*folder.parent.glob("numpy.libs/*openblas*"), *folder.glob(".dylibs/*openblas*"))}
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
        places |= {line.split(maxsplit=5)[5] for line in lines if "libopenblas" in line}  # of a distribution
    except OSError:
        pass
    found = []
    for place in sorted(places):
        for prefix, suffix in (("scipy_", "64_"), ("", "64_"), ("scipy_", ""), ("", "")):
            try:
                library = ctypes.CDLL(place)
                change = getattr(library, f"{prefix}openblas_set_num_threads{suffix}")
                ask = getattr(library, f"{prefix}openblas_get_num_threads{suffix}")
            except (OSError, AttributeError):
                continue
            change.argtypes, change.restype, ask.argtypes, ask.restype = [ctypes.c_int], None, [], ctypes.c_int
            found.append((change, ask))
            break
    return found


def _product_precision() -> str | None:
    """Of products on the CPU, where it is less than that of float32."""
    import torch

    matmul = getattr(torch.backends.mkldnn, "matmul", None)  # since torch 2.9
    found = matmul.fp32_precision if hasattr(matmul, "fp32_precision") else torch.get_float32_matmul_precision()
    return found if found in ("bf16", "tf32", "medium", "high") else None


def _set_product_precision(precision: str) -> None:
    import torch

    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if hasattr(matmul, "fp32_precision"):
        matmul.fp32_precision = precision
    else:
        torch.set_float32_matmul_precision("highest" if precision == "ieee" else precision)


_precision, _products = _WholeProcess(_full_precision), _WholeProcess(_one_product_thread)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """As many threads in the calling thread's parallel regions. Not by torch.set_num_threads alone, where it can be helped:
    that is also what threads begin with that have not used torch yet, so that other threads of the caller might keep ours."""
    import torch

    before = torch.get_num_threads()  # asked first, as torch sets what the thread begins with when it is first asked
    if before == count:
        yield
        return
    libraries = _libraries()
    if libraries is None:
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)
        return
    openmp, mkl = libraries
    openmp(count)
    mkl_before = mkl(count) if mkl else None
    try:
        yield
    finally:
        openmp(before)
        if mkl:
            mkl(mkl_before)


@cache
def _libraries() -> tuple[Callable[[int], None], Callable[[int], int] | None] | None:
    """What sets the threads of the calling thread in the OpenMP that torch uses, and in MKL if it is there; None where they
    are not to be found."""
    import torch

    if sys.platform == "win32" or "openmp" not in torch.__config__.parallel_info().lower():
        return None
    name = "libtorch_cpu.dylib" if sys.platform == "darwin" else "libtorch_cpu.so"
    try:
        library = ctypes.CDLL(os.path.join(os.path.dirname(torch.__file__), "lib", name))
        openmp = library.omp_set_num_threads  # looked for in its dependencies too
    except (OSError, AttributeError):
        return None
    mkl = getattr(library, "MKL_Set_Num_Threads_Local", None)
    if mkl is None and torch.backends.mkl.is_available():
        return None
    openmp.argtypes, openmp.restype = [ctypes.c_int], None
    if mkl is not None:
        mkl.argtypes, mkl.restype = [ctypes.c_int], ctypes.c_int
    return openmp, mkl


def _after_fork() -> None:
    """The threads of the parent's pools are gone, and with them all other guards."""
    global _forked
    _forked = True
    _precision.after_fork(int(bool(getattr(_held, "threads", None))))
    _products.after_fork(int(getattr(_held, "inside", False)))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
