"""A process that runs trials for a search, one after another, with its share of the machine.

It is not a task of `radgaze.execution.local`: a task ends with its program, whereas a worker imports torch
once, runs many trials, and exchanges messages with the search after each epoch. Both use the same shares, and
end with their parent process in the same way.

This module must not import torch, which reads the visible devices when it is imported.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from radgaze.errors import UserError, in_words
from radgaze.execution.process import die_with, exit_words
from radgaze.execution.shares import THREADS, Share

if TYPE_CHECKING:
    from radgaze.runs.config import Config
    from radgaze.tuning.trial import Report


@dataclass(frozen=True)
class Request:
    """Message to the worker: a trial to run.

    Attributes:
        config: Configuration of the trial, as nested plain values.
        out: Folder of the trial.
    """

    config: Mapping[str, object]
    out: str


@dataclass(frozen=True)
class Epoch:
    """Message from the worker after an epoch; it waits for a bool that states whether to stop.

    Attributes:
        epochs: Number of epochs so far.
        auc: Best validation AUC so far.
    """

    epochs: int
    auc: float


@dataclass(frozen=True)
class Ended:
    """Message from the worker that a trial has ended.

    Attributes:
        how: Result of the trial; "refused" is a mistake of the user, "failed" any other failure.
        auc: Best validation AUC of a finished trial.
        reason: Reason why the trial was refused or failed; empty for others.
    """

    how: Literal["finished", "pruned", "refused", "failed"]
    auc: float = 0.0
    reason: str = ""


class Worker:
    """A process that runs trials; if it dies, its trial fails, and a new process runs the next trial.

    Args:
        share: Share of the machine that the process may use.
    """

    def __init__(self, share: Share) -> None:
        self._share = share
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def __call__(self, config: Config, out: Path, report: Report) -> float:
        """Run a trial in the process, see `trial.run_trial`.

        Raises:
            Pruned: `report` returned True.
            UserError: The configuration cannot be used.
            Failed: The trial failed, or the process died.
        """
        from radgaze.runs import settings
        from radgaze.tuning.trial import Failed, Pruned

        try:
            connection = self._started()
            connection.send(Request(settings.to_dict(config), str(out)))
            while True:
                message: Epoch | Ended = connection.recv()
                if isinstance(message, Epoch):
                    connection.send(report(message.epochs, message.auc))
                elif message.how == "finished":
                    return message.auc
                elif message.how == "pruned":
                    raise Pruned
                elif message.how == "refused":
                    raise UserError(message.reason)
                else:
                    raise Failed(message.reason)
        except (EOFError, ConnectionError) as error:
            raise Failed(f"its process {self._end()}; try fewer `jobs`") from error

    def stop(self) -> None:
        """Kill the process, and do not start another one."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
                self._process.join()

    def _started(self) -> Connection:
        with self._lock:
            if self._stopped:
                raise EOFError
            if self._process is None or self._connection is None or not self._process.is_alive():
                context = multiprocessing.get_context("spawn")
                self._connection, theirs = context.Pipe()
                self._process = context.Process(target=serve, args=(theirs, self._share, os.getpid()))
                self._process.start()
                theirs.close()  # otherwise this side would wait forever for a process that has died
            return self._connection

    def _end(self) -> str:
        """State in words how the process ended, after its connection was closed."""
        process = self._process
        if process is None:
            return "was not started"
        process.join(10)
        return "does not answer" if process.exitcode is None else exit_words(process.exitcode)


def serve(connection: Connection, share: Share, parent: int) -> None:
    """Run the trials that are sent over a connection until it is closed or the parent process has ended.

    Args:
        connection: Connection to the search.
        share: Share of the machine.
        parent: Process id of the search.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the search, which ends this process
    die_with(parent)
    os.environ.update(share.environment())
    import torch

    from radgaze.runs import settings
    from radgaze.training.module import NonFiniteLossError
    from radgaze.tuning.trial import Pruned, run_trial

    torch.set_num_threads(int(os.environ[THREADS[0]]))

    def report(epochs: int, auc: float) -> bool:
        connection.send(Epoch(epochs, auc))
        return bool(connection.recv())

    def answer(request: Request) -> Ended:
        try:
            auc = run_trial(settings.from_dict(request.config), Path(request.out), report)
            return Ended("finished", auc)
        except Pruned:
            return Ended("pruned")
        except NonFiniteLossError as error:
            return Ended("failed", reason=str(error))
        except UserError as error:
            return Ended("refused", reason=str(error))
        except Exception as error:
            return Ended("failed", reason=in_words(error))

    try:
        while True:
            connection.send(answer(connection.recv()))
    except (EOFError, ConnectionError):
        return
