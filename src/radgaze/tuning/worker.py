"""A process that runs trials for a search, one after another, with its share of the machine.

It is no task of `radgaze.execution.local`: a task ends with its program, while a worker imports torch once,
runs many trials, and answers the search after each epoch. The shares, the end of an orphaned process and the
words for a killed one are the same.

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
    """A trial to run.

    Attributes:
        config: Its configuration, as nested plain values.
        out: Its folder.
    """

    config: Mapping[str, object]
    out: str


@dataclass(frozen=True)
class Epoch:
    """A trial has trained an epoch; the worker waits for a bool, whether to stop.

    Attributes:
        epochs: Number of epochs so far.
        auc: Best validation AUC so far.
    """

    epochs: int
    auc: float


@dataclass(frozen=True)
class Ended:
    """A trial has ended.

    Attributes:
        how: "refused" is a mistake of the user, "failed" any other failure.
        auc: Best validation AUC of a finished trial.
        reason: Why the trial was refused or failed.
    """

    how: Literal["finished", "pruned", "refused", "failed"]
    auc: float = 0.0
    reason: str = ""


class Worker:
    """Runs trials in a process; where the process dies, its trial fails, and the next one gets a new process.

    Args:
        share: Its share of the machine.
    """

    def __init__(self, share: Share) -> None:
        self._share = share
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def __call__(self, config: Config, out: Path, report: Report) -> float:
        """Run a trial, see `trial.run_trial`."""
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
        """Kill the process, and start no other."""
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
                theirs.close()  # otherwise this side would wait for ever for a process that died
            return self._connection

    def _end(self) -> str:
        """How the process, whose connection is closed, ended."""
        process = self._process
        if process is None:
            return "was not started"
        process.join(10)
        return "does not answer" if process.exitcode is None else exit_words(process.exitcode)


def serve(connection: Connection, share: Share, parent: int) -> None:
    """Run the trials that are sent over a connection until it is closed, or until the parent is gone.

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
