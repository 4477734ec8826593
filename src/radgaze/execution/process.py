"""Tasks as processes: started with a share of the machine, observed, and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from radgaze.console import complain
from radgaze.errors import UserError, in_words
from radgaze.execution.shares import Share

GRACE = 60.0
"""Time in seconds that a task may take to stop before it is killed."""

PAUSE = 0.2
"""Time in seconds between two checks of the running tasks."""

Watch = Callable[[Sequence[str]], None]
"""Function that is called several times per second with the names of the running tasks."""


@dataclass(frozen=True)
class Task:
    """A Python program to run in a separate process.

    Attributes:
        name: Name that is unique among all tasks.
        title: Name in the log.
        arguments: Arguments of the Python interpreter. The id of the process that starts it is appended, for
            `die_with`.
        log: File to which its output is appended.
        gpus: Number of GPUs that it uses; 0 for the CPU.
        processes: Number of processes that it consists of.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    log: Path
    gpus: int = 0
    processes: int = 1


@dataclass(frozen=True)
class Outcome:
    """Outcome of a task.

    Attributes:
        name: Name of the task.
        reason: Reason of a failure; None where it succeeded.
        seconds: Duration in seconds.
    """

    name: str
    reason: str | None
    seconds: float


@dataclass
class Started:
    """A running process of a task.

    Attributes:
        task: The task.
        process: The process.
        log_from: Length of the log in bytes before the process wrote to it.
        began: Time of the start on the monotonic clock, in seconds.
    """

    task: Task
    process: subprocess.Popen[bytes]
    log_from: int
    began: float

    def outcome(self) -> Outcome | None:
        """Return the outcome of the task; None while it runs."""
        code = self.process.poll()
        if code is None:
            return None
        reason = None if code == 0 else _reason(code, self.task.log, self.log_from)
        return Outcome(self.task.name, reason, time.monotonic() - self.began)


def start(task: Task, share: Share, inherited: Sequence[int] = ()) -> Started:
    """Start a task's process; its output goes to its log.

    Args:
        task: The task.
        share: Share of the machine that it may use.
        inherited: File descriptors that it keeps open.
    """
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as log:
        log.write(f"— {task.title}, {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
        log.flush()
        log_from = log.tell()
        process = subprocess.Popen(
            (sys.executable, *task.arguments, str(os.getpid())),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=share.environment(),
            pass_fds=inherited,
        )
        return Started(task, process, log_from, time.monotonic())


def stop(started: Iterable[Started]) -> None:
    """Stop processes by SIGINT; kill those that take longer than `GRACE`, or all at a further Ctrl-C."""
    running = [each.process for each in started if each.process.poll() is None]
    try:
        for process in running:
            process.send_signal(signal.SIGINT)
        until = time.monotonic() + GRACE
        while running and time.monotonic() < until:
            running = [process for process in running if process.poll() is None]
            time.sleep(0.1)
    finally:
        for process in running:
            process.kill()
            process.wait()


def die_with(parent: int) -> None:
    """End this process when its parent process ends.

    The task of a killed program must not go on writing into a folder while another program resumes it.

    Args:
        parent: Process id of the parent.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if os.name == "posix":
        threading.Thread(target=watch, daemon=True).start()


def stop_once(number: int, frame: FrameType | None) -> None:
    """Handle the first SIGINT, and ignore the second, since the terminal and the parent both send one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def performed(work: Callable[[], object]) -> int:
    """Do the work of a task; the last line of its output states why it failed.

    Returns:
        The exit code: 0, 1 for an error, 2 for a mistake of the user, 130 after Ctrl-C.
    """
    try:
        work()
    except KeyboardInterrupt:
        complain("stopped")
        return 130
    except UserError as error:
        complain(" ".join(str(error).split()))
        return 2
    except Exception as error:
        traceback.print_exc()
        complain(in_words(error))
        return 1
    return 0


def exit_words(code: int) -> str:
    """State in words how a process with an exit code other than 0 ended: by a signal, or with the code."""
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in {int(each) for each in signal.Signals} else str(-code)
    return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _reason(code: int, log: Path, log_from: int) -> str:
    """Reason of a failure in one line: the signal, or the last line that the process wrote."""
    if code < 0:
        return f"it {exit_words(code)}"
    with log.open("rb") as file:
        file.seek(log_from)
        written = file.read().decode(errors="replace").splitlines()
    lines = [line.strip() for line in written if line.strip()]
    return lines[-1][:300] if lines else f"it {exit_words(code)} and wrote nothing"
