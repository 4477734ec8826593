"""A job's process: started with its share of the machine, asked how it ended, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from radgaze.reproduction.plan import Job, Outcome
from radgaze.reproduction.state import log_file

GRACE = 60.0
"""Seconds that a job may take to stop before it is killed; its epochs are on disk anyway."""

ENTRY = (sys.executable, "-m", "radgaze.reproduction.job")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Share:
    """A job's share of the machine.

    Attributes:
        threads: Of its computations.
        gpus: Names of its GPUs, as CUDA_VISIBLE_DEVICES has them; None leaves what the process sees.
    """

    threads: int
    gpus: tuple[str, ...] | None = None

    def environment(self) -> dict[str, str]:
        """This process's environment, cut to the share."""
        asked = os.environ.get(THREADS[0], "")
        threads = min(self.threads, int(asked)) if asked.isdecimal() else self.threads
        mine = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
        if self.gpus is not None:
            mine["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        return mine


@dataclass
class Started:
    """A job's process that was started."""

    job: Job
    process: subprocess.Popen[bytes]
    log: Path
    log_from: int
    began: float

    def outcome(self) -> Outcome | None:
        """How it ended, or None as long as it runs."""
        code = self.process.poll()
        if code is None:
            return None
        reason = None if code == 0 else _reason(code, self.log, self.log_from)
        return Outcome(self.job, reason, time.monotonic() - self.began)


def start(job: Job, out: Path, share: Share, inherited: Sequence[int] = ()) -> Started:
    """Start a job's process; what it says goes to its log.

    Args:
        job: The job, as DIR/grid.json has it.
        out: DIR.
        share: What of the machine it may use.
        inherited: Open files that it holds as long as it lives.
    """
    log = log_file(out, job)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [*ENTRY, str(out.resolve()), job.experiment, str(job.number), str(os.getpid())]
    with log.open("ab") as said:
        said.write(f"— {job}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
        said.flush()
        log_from = said.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=share.environment(),
            pass_fds=inherited,
        )
        return Started(job, process, log, log_from, time.monotonic())


def stop(started: Iterable[Started]) -> None:
    """Stop processes as Ctrl-C does; kill those that are slow to, or all at a second Ctrl-C."""
    left = [one.process for one in started if one.process.poll() is None]
    try:
        for process in left:
            process.send_signal(signal.SIGINT)
        until = time.monotonic() + GRACE
        while left and time.monotonic() < until:
            left = [process for process in left if process.poll() is None]
            time.sleep(0.1)
    finally:
        for process in left:
            process.kill()
            process.wait()


def _reason(code: int, log: Path, log_from: int) -> str:
    """In one line: the signal, or the last line that the process said."""
    if code < 0:
        name = signal.Signals(-code).name if -code in {int(s) for s in signal.Signals} else str(-code)
        return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    with log.open("rb") as file:
        file.seek(log_from)
        said = file.read().decode(errors="replace").splitlines()
    lines = [line.strip() for line in said if line.strip()]
    return lines[-1][:300] if lines else f"it ended with exit code {code} and said nothing"
