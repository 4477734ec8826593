"""A function over many items, in processes that no item can take down with the run."""

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
from typing import Any, TypeVar, cast

from pebble import ProcessExpired, ProcessPool

from radgaze.dicom.error import DicomError

CONTEXT: Any = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)

Item = TypeVar("Item")
Result = TypeVar("Result")

TIMEOUT = 60.0
"""Seconds for one item; the slowest honest image, one of 64 million pixels, takes about ten."""

MEMORY = 4 * 2**30
"""Bytes that an item may take beside what its process has when it starts."""

AHEAD = 2
"""Items that wait in the pool beside those that are worked on."""

GRACE = 150.0
"""Seconds beyond an item's own after which a silent pool counts as broken; its locks take up to 60."""


def isolated(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    timeout: float = TIMEOUT,
    memory: int = MEMORY,
) -> Generator[tuple[int, Result | DicomError], None, None]:
    """Call a function on each item in worker processes; a crash, a hang or a memory bomb costs only its item.

    Results come as they are ready. Few items are in flight at a time, so `items` may be long and lazy.
    Closing the iterator, or Ctrl-C, ends the workers.

    Args:
        function: Can be pickled; workers import its module, which should be light.
        items: Can be pickled too.
        workers: Processes; None for one per processor.
        timeout: Seconds for one item.
        memory: Bytes for one item, on top of the worker's own (where the system can limit them: Linux).

    Yields:
        Index of the item, and what the function returned or a DicomError: its own, or with the reason
        `crashed`, `timeout`, `out_of_memory` or `error`.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"{workers} processes cannot work")
    workers = workers or _processors()
    call = pickle.dumps(function)
    todo = iter(enumerate(items))
    while True:
        left = yield from _run(call, todo, workers, timeout, memory)
        if not left:
            return
        # The pool broke and it does not show who did it: each item that was in flight gets a pool alone.
        for index, item in left:
            suspects = yield from _run(call, iter([(index, item)]), 1, timeout, memory)
            for suspect, _ in suspects:
                yield suspect, DicomError("crashed", "its process died")


Pair = tuple[int, Any]


def _run(
    call: bytes, todo: Iterator[Pair], workers: int, timeout: float, memory: int
) -> Generator[Pair, None, list[Pair]]:
    """Yield results of one pool's life; return what was in flight when it broke, nothing if it did not."""
    flying: dict[int, Any] = {}
    landed: queue.SimpleQueue[tuple[int, Future[bytes]]] = queue.SimpleQueue()
    with _pool(workers, call, memory) as pool:

        def launched() -> bool:
            for index, item in islice(todo, workers + AHEAD - len(flying)):
                flying[index] = item
                try:
                    future = pool.schedule(_call, args=(call, item), timeout=timeout)
                except RuntimeError:  # the pool has broken while nobody looked
                    return False
                future.add_done_callback(partial(_land, landed, index))
            return True

        while launched() and flying:
            try:
                index, future = landed.get(timeout=timeout + GRACE)
            except queue.Empty:
                break
            try:
                result = pickle.loads(future.result())  # noqa: S301  our own worker's
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


def _call(call: bytes, item: Any) -> bytes:
    """In the worker: the result, pickled here so that one that cannot be is its item's error alone."""
    try:
        return pickle.dumps(_function(call)(item), pickle.HIGHEST_PROTOCOL)
    except DicomError as error:
        return pickle.dumps(error)
    except MemoryError:
        return pickle.dumps(DicomError("out_of_memory", "it takes more memory than is allowed"))
    except BaseException as error:  # SystemExit too; messages stay behind, as they may hold a path
        return pickle.dumps(DicomError("error", f"{type(error).__name__} in its process"))


@lru_cache(maxsize=1)
def _function(call: bytes) -> Callable[[Any], Any]:
    return cast(Callable[[Any], Any], pickle.loads(call))  # noqa: S301  our own parent's


@contextmanager
def _pool(workers: int, call: bytes, memory: int) -> Iterator[ProcessPool]:
    """A pool of light processes, never forked from this one, which may hold torch and its threads."""
    context = CONTEXT
    if b"__main__" not in call:
        context = type(CONTEXT)()
        context.Process = _Process
    pool = ProcessPool(workers, initializer=_begin, initargs=(call, memory), context=context)
    try:
        yield pool
    finally:
        pool.stop()  # type: ignore[no-untyped-call]  # pebble types some of its functions, not this
        pool.join()


class _Process(CONTEXT.Process):  # type: ignore[misc]  # which class it is depends on the system
    """A process that does not run the caller's script anew.

    Nothing of it is needed, and it cannot be run again where it is standard input, or starts all of this
    without a guard.
    """

    @staticmethod
    def _Popen(process: Any) -> Any:  # noqa: N802  the name that multiprocessing gives it
        main: dict[str, Any] = vars(sys.modules["__main__"])
        hidden: dict[str, Any] = {name: main[name] for name in ("__file__", "__spec__") if name in main}
        main.update(dict.fromkeys(hidden, None))
        try:
            return CONTEXT.Process._Popen(process)
        finally:
            main.update(hidden)


def _begin(call: bytes, memory: int) -> None:
    """In a new worker: one thread, quiet, the function loaded, and only so much memory from here on."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    warnings.simplefilter("ignore")  # pydicom warns of what it forgives, thousands of times over
    with suppress(Exception):  # whatever is wrong with it is said for each item
        _function(call)
    with suppress(ImportError, OSError, ValueError):  # not every system can
        resource = importlib.import_module("resource")
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = now + memory if hard == resource.RLIM_INFINITY else min(now + memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
