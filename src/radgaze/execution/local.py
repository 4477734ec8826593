"""Execution of tasks on this machine, one after another or in parallel."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Sequence

from radgaze.execution.process import PAUSE, Outcome, Started, Task, Watch, start, stop
from radgaze.execution.shares import Share, divide


def run(
    tasks: Sequence[Task], watch: Watch, *, side_by_side: int | None = None, inherited: Sequence[int] = ()
) -> Generator[Outcome, None, None]:
    """Run tasks, each in a separate process, so that a crash or a lack of memory ends only one task.

    Closing the generator stops the running tasks.

    Args:
        tasks: Tasks in the order in which they start.
        watch: Function that is called with the names of the running tasks.
        side_by_side: Number of parallel tasks; by default as many as there are GPUs for, or one without GPUs.
            It determines the number of threads of a task, which on a CPU affects the last bits of sums.
        inherited: File descriptors that each task keeps open.

    Yields:
        The outcome of each task, in the order in which they end.
    """
    shares = divide(
        side_by_side,
        gpus=max((task.gpus for task in tasks), default=0),
        processes=max((task.processes for task in tasks), default=1),
    )
    free, waiting, running = deque(shares), deque(tasks), list[tuple[Started, Share]]()
    try:
        while waiting or running:
            while waiting and free:
                share = free.popleft()
                running.append((start(waiting.popleft(), share, inherited), share))
            ended = [(entry, outcome) for entry in running if (outcome := entry[0].outcome()) is not None]
            for entry, outcome in ended:
                running.remove(entry)
                free.append(entry[1])
                yield outcome
            watch([started.task.name for started, _ in running])
            if not ended:
                time.sleep(PAUSE)
    finally:
        stop(started for started, _ in running)
