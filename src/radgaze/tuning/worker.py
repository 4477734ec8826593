"""A process that runs trials for a search, one after another, with its share of the machine.

Free of torch, which reads what the process may see when it is imported.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radgaze.errors import UserError, in_words

if TYPE_CHECKING:
    from radgaze.runs.config import Config
    from radgaze.tuning.trial import Report


class Worker:
    """Runs trials in a process of its own; a process that dies costs its trial, and another takes over.

    Args:
        threads: Of its computations.
        gpu: What CUDA_VISIBLE_DEVICES is to be; None leaves it.
    """

    def __init__(self, threads: int, gpu: str | None = None) -> None:
        self._share = (threads, gpu)
        self._process: multiprocessing.process.BaseProcess | None = None
        self._line: Connection | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def __call__(self, config: Config, out: Path, report: Report) -> float:
        """As `trial.run_trial`."""
        from radgaze.runs import settings
        from radgaze.tuning.trial import Failed, Pruned

        try:
            line = self._started()
            line.send((settings.to_dict(config), str(out)))
            while True:
                kind, *told = line.recv()
                if kind == "epoch":
                    line.send(report(*told))
                elif kind == "finished":
                    return float(told[0])
                elif kind == "pruned":
                    raise Pruned
                elif kind == "refused":
                    raise UserError(told[0])
                else:
                    raise Failed(told[0])
        except (EOFError, ConnectionError) as error:
            raise Failed(
                f"its process {self._end()}, perhaps for want of memory; try fewer --jobs"
            ) from error

    def stop(self) -> None:
        """End the process, whatever it does, and start none any more."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
                self._process.join()

    def _started(self) -> Connection:
        with self._lock:
            if self._stopped:
                raise EOFError
            if self._process is None or self._line is None or not self._process.is_alive():
                context = multiprocessing.get_context("spawn")
                self._line, theirs = context.Pipe()
                self._process = context.Process(target=serve, args=(theirs, *self._share))
                self._process.start()
                theirs.close()  # else this side would wait for ever for a process that died
            return self._line

    def _end(self) -> str:
        """How the process, whose line is closed, ended."""
        process = self._process
        if process is None:
            return "was not started"
        process.join(10)
        code = process.exitcode
        if code is not None and code < 0:
            return f"was killed by signal {-code}"
        return f"ended with exit code {code}"


def serve(line: Connection, threads: int, gpu: str | None) -> None:
    """Run the trials that come over a line until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the search, which ends this process
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    from radgaze.runs import settings
    from radgaze.training.module import NonFiniteLossError
    from radgaze.tuning.trial import Pruned, run_trial

    torch.set_num_threads(threads)

    def report(epochs: int, auc: float) -> bool:
        line.send(("epoch", epochs, auc))
        return bool(line.recv())

    def answer(config: dict[str, Any], out: str) -> tuple[Any, ...]:
        try:
            return "finished", run_trial(settings.from_dict(config), Path(out), report)
        except Pruned:
            return ("pruned",)
        except NonFiniteLossError as error:
            return "failed", str(error)
        except UserError as error:
            return "refused", str(error)
        except Exception as error:
            return "failed", in_words(error)

    try:
        while True:
            line.send(answer(*line.recv()))
    except (EOFError, ConnectionError):
        return
