"""One thread that computes: whoever comes first is served first, and equal requests share one result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass
class _Job:
    future: asyncio.Future[Any]
    waiting: int = 0


class Work:
    """A thread that computes one thing after another; used from one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="radgaze-view")
        self._jobs: dict[Hashable, _Job] = {}

    async def __call__(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Compute in the thread, after what was asked for before.

        What is no longer awaited before its turn is not computed.

        Args:
            key: Key of the result: who asks for one that is being computed gets it too.
            compute: Function that computes it.
        """
        job = self._jobs.get(key)
        if job is None:
            future = asyncio.wrap_future(self._thread.submit(compute))
            job = self._jobs[key] = _Job(future)
            future.add_done_callback(lambda _: self._done(key, future))
        job.waiting += 1
        try:
            result: Result = await asyncio.shield(job.future)
            return result
        finally:
            job.waiting -= 1
            if not job.waiting and not job.future.done():
                # The thread finishes what it has begun: its function keeps the result.
                self._jobs.pop(key, None)
                job.future.cancel()

    def close(self) -> None:
        """End the thread after what it computes now."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _done(self, key: Hashable, future: asyncio.Future[Any]) -> None:
        job = self._jobs.get(key)
        if job is not None and job.future is future:
            del self._jobs[key]
        if not future.cancelled():
            future.exception()  # told to those who wait; without any, it is not logged
