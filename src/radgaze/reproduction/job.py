"""One job of a grid, in a process of its own.

`python -m radgaze.reproduction.job DIR EXPERIMENT NUMBER PARENT`; it dies with the process PARENT.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from radgaze.console import complain
from radgaze.errors import UserError, in_words

if TYPE_CHECKING:
    from radgaze.reproduction.plan import Job


def main(arguments: list[str]) -> int:
    """Do a job; the last line that it says is why it could not be done."""
    out, experiment, number, parent = arguments
    signal.signal(signal.SIGINT, _stop_once)
    # Lightning starts the other processes of one training by the same command, each a child of the first.
    _die_with(os.getppid() if "LOCAL_RANK" in os.environ else int(parent))
    try:
        from radgaze.reproduction.state import load_job  # torch

        perform(load_job(Path(out), experiment, int(number)), Path(out))
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


def perform(job: Job, out: Path) -> None:
    """Train, evaluate and report, each unless it is done; a training that was cut goes on where it was."""
    from radgaze.evaluation import EvaluationOptions, evaluate
    from radgaze.reporting.run_page import report
    from radgaze.reproduction.state import run_folder
    from radgaze.runs.run import Run
    from radgaze.training.checkpoints import resumable
    from radgaze.training.fitting import train

    path = run_folder(out, job)
    if (path / "predictions.parquet").is_file():
        run = Run.open(path)
    else:
        run = train(job.config, path, resume=resumable(path), overwrite=True)
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return  # the first process of the training does the rest
    if not (path / "metrics.json").is_file():
        device = "cpu" if job.config.trainer.accelerator == "cpu" else "auto"
        evaluate(run, EvaluationOptions(device=device))
    report(run)


def _stop_once(number: int, frame: FrameType | None) -> None:
    """Ctrl-C comes from the terminal and from the grid: the second must not break off the stopping."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _die_with(parent: int) -> None:
    """End this process when its parent is gone: no job of a killed grid writes beside the resumed one."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if os.name == "posix":
        threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
