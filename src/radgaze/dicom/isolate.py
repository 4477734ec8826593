"""Call a function on many items in processes, so that an item that crashes costs only itself."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import queue
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar, cast

from pebble import ProcessExpired, ProcessPool

from radgaze.dicom.error import DicomError

CONTEXT: Any = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)

Item = TypeVar("Item")
Result = TypeVar("Result")

TIMEOUT = 60.0
"""Seconds for one item; the slowest valid image, one of 64 million pixels, takes about ten."""

MEMORY = 4 * 2**30
"""Bytes for one item, beyond those that its process has at its start."""

AHEAD = 2
"""Items that wait in the pool beside those in progress."""

GRACE = 150.0
"""Seconds beyond an item's timeout after which a silent pool is taken to be broken; locks take up to 60."""


def isolated(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    timeout: float = TIMEOUT,
    memory: int = MEMORY,
) -> Generator[tuple[int, Result | DicomError], None, None]:
    """Call a function on each item in worker processes; a crash, a hang or a memory bomb costs only its item.

    Results are yielded as they are ready. Few items are in flight at a time, so `items` may be long and lazy.
    Closing the iterator, or Ctrl-C, ends the workers.

    Args:
        function: A function that can be pickled; workers import its module, which should be light.
        items: Items that can be pickled.
        workers: Number of processes; None for one per processor.
        timeout: Seconds for one item.
        memory: Bytes for one item, beyond the worker's own (where the system can limit them: Linux).

    Yields:
        Index of the item, and the result of the function or a DicomError: the function's, or one with the
        reason `crashed`, `timeout`, `out_of_memory` or `error`.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    workers = workers or _processors()
    call = pickle.dumps(function)
    todo = iter(enumerate(items))
    while True:
        left = yield from _run(call, todo, workers, timeout, memory)
        if not left:
            return
        # It is unknown which item broke the pool: each that was in flight runs in a pool of its own.
        for index, item in left:
            suspects = yield from _run(call, iter([(index, item)]), 1, timeout, memory)
            for suspect, _ in suspects:
                yield suspect, DicomError("crashed", "its process died")


class Isolated(Generic[Item, Result]):
    """A function that runs in worker processes which wait for calls; else like `isolated`.

    It may be called from several threads. `close` ends the workers.

    Args:
        function: See `isolated`.
        workers: Number of processes.
        timeout, memory: See `isolated`.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        *,
        workers: int,
        timeout: float = TIMEOUT,
        memory: int = MEMORY,
    ) -> None:
        self._call, self._timeout = pickle.dumps(function), timeout
        self._settings = (workers, self._call, memory)
        self._lock, self._pool = Lock(), _opened_pool(*self._settings)

    def __call__(self, item: Item) -> Result:
        """Call the function on an item.

        Raises:
            DicomError: The function's, or one with the reason `crashed`, `timeout`, `out_of_memory` or
                `error`.
        """
        for _ in range(2):  # an item of another call may have broken the pool
            pool = self._working()
            try:
                future = pool.schedule(_call, args=(self._call, item), timeout=self._timeout)
                result = _unpacked(future)
            except (BrokenProcessPool, RuntimeError):
                continue
            except TimeoutError:
                raise DicomError("timeout", f"it took longer than {self._timeout:g} s") from None
            except ProcessExpired:
                break
            if isinstance(result, DicomError):
                raise result
            return cast(Result, result)
        raise DicomError("crashed", "its process died")

    def close(self) -> None:
        """End the workers."""
        self._pool.stop()  # type: ignore[no-untyped-call]  # see `_pool`
        self._pool.join()

    def _working(self) -> ProcessPool:
        with self._lock:
            if not self._pool.active:
                self.close()
                self._pool = _opened_pool(*self._settings)
            return self._pool


def _run(
    call: bytes, todo: Iterator[tuple[int, Item]], workers: int, timeout: float, memory: int
) -> Generator[tuple[int, Any], None, list[tuple[int, Item]]]:
    """Yield the results of one pool; return the items in flight when it broke, none if it did not."""
    flying: dict[int, Item] = {}
    landed: queue.SimpleQueue[tuple[int, Future[bytes]]] = queue.SimpleQueue()
    with _pool(workers, call, memory) as pool:

        def launched() -> bool:
            for index, item in islice(todo, workers + AHEAD - len(flying)):
                flying[index] = item
                try:
                    future = pool.schedule(_call, args=(call, item), timeout=timeout)
                except RuntimeError:  # the pool has broken meanwhile
                    return False
                future.add_done_callback(partial(_land, landed, index))
            return True

        while launched() and flying:
            try:
                index, future = landed.get(timeout=timeout + GRACE)
            except queue.Empty:
                break
            try:
                result = _unpacked(future)
            except BrokenProcessPool:
                break
            except TimeoutError:
                result = DicomError("timeout", f"it took longer than {timeout:g} s")
            except ProcessExpired:
                result = DicomError("crashed", "its process died")
            del flying[index]
            yield index, result
    return list(flying.items())


def _land(landed: queue.SimpleQueue[tuple[int, Future[bytes]]], index: int, future: Future[bytes]) -> None:
    landed.put((index, future))


def _call(call: bytes, item: object) -> bytes:
    """In the worker: the result, pickled here so that an error of pickling is that item's alone."""
    try:
        return pickle.dumps(_function(call)(item), pickle.HIGHEST_PROTOCOL)
    except DicomError as error:
        return pickle.dumps(error)
    except MemoryError:
        return pickle.dumps(DicomError("out_of_memory", "it takes more memory than is allowed"))
    except BaseException as error:  # SystemExit too; no message, as it may hold a path
        detail = f"an unexpected error ended its processing ({type(error).__name__})"
        return pickle.dumps(DicomError("error", detail))


def _unpacked(future: Future[bytes]) -> object:
    """Return the result of a worker."""
    result: object = pickle.loads(future.result())  # noqa: S301  our own worker's
    return result


@lru_cache(maxsize=1)
def _function(call: bytes) -> Callable[[object], object]:
    function: Callable[[object], object] = pickle.loads(call)  # noqa: S301  our own parent's
    return function


@contextmanager
def _pool(workers: int, call: bytes, memory: int) -> Iterator[ProcessPool]:
    pool = _opened_pool(workers, call, memory)
    try:
        yield pool
    finally:
        pool.stop()  # type: ignore[no-untyped-call]  # pebble types some of its functions, not this
        pool.join()


def _opened_pool(workers: int, call: bytes, memory: int) -> ProcessPool:
    """A pool of light processes, never forked from this one, which may hold torch and its threads."""
    context = CONTEXT
    if b"__main__" not in call:
        context = type(CONTEXT)()
        context.Process = _Process
    return ProcessPool(workers, initializer=_begin, initargs=(call, memory), context=context)


class _Process(CONTEXT.Process):  # type: ignore[misc]  # which class it is depends on the system
    """A process that does not run the caller's script again.

    Nothing of the script is needed, and it cannot run again where it is standard input, or calls this module
    without a guard.
    """

    @staticmethod
    def _Popen(process: object) -> object:  # noqa: N802  the name that multiprocessing gives it
        main: dict[str, object] = vars(sys.modules["__main__"])
        hidden: dict[str, object] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
        main.update(dict.fromkeys(hidden, None))
        try:
            return CONTEXT.Process._Popen(process)
        finally:
            main.update(hidden)


def _begin(call: bytes, memory: int) -> None:
    """In a new worker: one thread, quiet, the function loaded, and only so much memory from here on."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    warnings.simplefilter("ignore")  # pydicom warns of each deviation that it tolerates, thousands of times
    with suppress(Exception):  # each item reports an error of it
        _function(call)
    with suppress(ImportError, OSError, ValueError):  # not every system can
        resource = importlib.import_module("resource")
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = now + memory if hard == resource.RLIM_INFINITY else min(now + memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
