"""A worker with a maker of small objects that is killed at a chosen step; for test_worker_kill.py.

    python -m tests.clinic.killed

reads lines `STEP ARGUMENTS` from standard input, with the arguments as JSON. For each it runs a worker in a
child process, which kills itself with SIGKILL at that step, and prints "killed" or "finished". Steps are the
moments before and after each change of the journal, each request and each synchronisation of a file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import dicomweb_client.web  # noqa: F401  here, so that no child has to

from radgaze.clinic.worker.journal import Journal
from radgaze.clinic.worker.options import WorkerOptions
from radgaze.clinic.worker.pacs import Pacs
from radgaze.clinic.worker.running import run_worker
from tests.clinic.fake_pacs import maker

STEPS: list[tuple[Any, str]] = [
    (Journal, "_set"),
    (Journal, "complete"),
    (Pacs, "check"),
    (Pacs, "fetch"),
    (Pacs, "store"),
    (Pacs, "instances"),
    (Path, "write_bytes"),
    (Path, "unlink"),
    (Path, "mkdir"),
    (Path, "rename"),
    (os, "fsync"),
]


def run_killed(step: int, arguments: dict[str, str]) -> None:
    """Run the worker in this process, and kill it at a step."""
    numbers = count()

    def passed() -> None:
        if next(numbers) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **settings: Any) -> Any:
            passed()
            value = function(*args, **settings)
            passed()
            return value

        return call

    for owner, name in STEPS:
        setattr(owner, name, wrapped(getattr(owner, name)))
    places = {name: value if name == "dicomweb" else Path(value) for name, value in arguments.items()}
    options = WorkerOptions(**places)  # type: ignore[arg-type]
    run_worker(maker, options, tell_study=lambda _: None, tell_file=lambda *_: None)


def main() -> None:
    for line in sys.stdin:
        step, _, arguments = line.partition(" ")
        child = os.fork()
        if child == 0:
            try:
                run_killed(int(step), json.loads(arguments))
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else "finished", flush=True)


if __name__ == "__main__":
    main()
