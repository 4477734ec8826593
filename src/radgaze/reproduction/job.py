"""One job of a grid, as a program in a separate process.

It is called as `python -m radgaze.reproduction.job DIR ROW NUMBER PARENT`, with `Job.row`, and ends with
the process PARENT.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from radgaze.execution.process import Task, die_with, performed, stop_once

if TYPE_CHECKING:
    from radgaze.reproduction.plans import Job

ENTRY = ("-m", "radgaze.reproduction.job")


def task(job: Job, out: Path) -> Task:
    """Describe the process of a job.

    Args:
        job: A job of the grid.
        out: Folder of the grid.
    """
    from radgaze.reproduction.state import log_file

    out = out.resolve()
    return Task(
        name=job.name,
        title=str(job),
        arguments=(*ENTRY, str(out), job.row, str(job.number)),
        log=log_file(out, job),
        gpus=job.gpus,
        processes=job.processes,
    )


def main(arguments: list[str]) -> int:
    """Perform a job; the last line of its output states why it failed.

    Args:
        arguments: DIR, ROW, NUMBER and PARENT, see the module.

    Returns:
        The exit code: 0, 1 for an error, 2 for a mistake of the user, 130 after Ctrl-C.
    """
    out, row, number, parent = arguments
    signal.signal(signal.SIGINT, stop_once)
    # Lightning starts the other processes of a training with the same command, as children of the first one.
    die_with(os.getppid() if "LOCAL_RANK" in os.environ else int(parent))

    def work() -> None:
        from radgaze.reproduction.state import load_job  # imports torch

        perform(load_job(Path(out), row, int(number)), Path(out))

    return performed(work)


def perform(job: Job, out: Path) -> None:
    """Train, evaluate and report a run, skipping steps that are done; an interrupted training is resumed."""
    from radgaze.evaluation import EvaluationOptions, evaluate
    from radgaze.reporting.run_page import report
    from radgaze.reproduction.state import run_folder
    from radgaze.runs.run import Run
    from radgaze.training.checkpoint_files import resumable
    from radgaze.training.train import train

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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
