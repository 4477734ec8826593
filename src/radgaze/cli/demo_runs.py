"""The runs of the demo, side by side, each in a process of its own: trained, evaluated and reported.

A process is called as `python -m radgaze.cli.demo_runs OUT EXPERIMENT SEED SIZE DEVICE PARENT`, and ends with
the process PARENT.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from radgaze.console import progress, say
from radgaze.errors import Stopped, UserError
from radgaze.execution import local
from radgaze.execution.process import Outcome, Task, die_with, performed, stop_once
from radgaze.execution.shares import cores
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.history import HISTORY, epochs_in

ENTRY = ("-m", "radgaze.cli.demo_runs")


def make_runs(out: Path, configs: Mapping[str, Config], *, seed: int, size: str, device: str) -> None:
    """Train, evaluate and report runs that are not done yet.

    On a CPU they run at the same time, since one training does not use several cores well; otherwise one
    after the other.

    Args:
        out: Folder of the demo; each run has a folder of its experiment's name in it.
        configs: The settings of each experiment's run.
        seed: Seed of the trainings.
        size: Name of the demo's size.
        device: Device, see `DemoOptions`.

    Raises:
        UserError: A run failed.
        Stopped: It was interrupted by Ctrl-C.
    """
    left = [name for name, config in configs.items() if not _is_done(out / name, config)]
    epochs = max(config.trainer.max_epochs for config in configs.values())
    for name in configs:
        if name not in left:
            say(f"{out / name} is trained already: it is kept")
    tasks = [
        Task(name, name, (*ENTRY, str(out), name, str(seed), size, device), out / "logs" / f"{name}.log")
        for name in left
    ]
    side_by_side = len(tasks) if device in ("auto", "cpu") and cores() > 1 else 1
    done = dict.fromkeys(left, 0)
    with progress("Training", total=epochs * len(left)) as bar:

        def watch(running: Sequence[str]) -> None:
            for name in running:
                now = min(epochs, epochs_in(out / name / HISTORY))
                bar.advance(now - done[name])
                done[name] = now
            bar.describe("Training  " + ", ".join(f"{name} epoch {done[name]}" for name in running))

        try:
            with closing(local.run(tasks, watch, side_by_side=max(1, side_by_side))) as outcomes:
                for outcome in outcomes:
                    _tell(outcome, out)
                    bar.advance(epochs - done[outcome.name])
                    done[outcome.name] = epochs
        except KeyboardInterrupt as stop:
            raise Stopped("the same command goes on from here") from stop


def _is_done(run: Path, config: Config) -> bool:
    files = ("config.yaml", "predictions.parquet", "metrics.json", "report.html")
    return all((run / name).is_file() for name in files) and _has(run, config)


def _has(run: Path, config: Config) -> bool:
    return (run / "config.yaml").is_file() and settings.read(run / "config.yaml") == config


def _tell(outcome: Outcome, out: Path) -> None:
    """Say that a run is done.

    Raises:
        UserError: It failed.
    """
    if outcome.reason is not None:
        raise UserError(
            f"{outcome.name} failed: {outcome.reason}; see {out / 'logs' / outcome.name}.log, and start the "
            "demo again to go on"
        )
    say(f"{outcome.name}: done in {outcome.seconds / 60:.1f} minutes")


def main(arguments: list[str]) -> int:
    """Make one run.

    Args:
        arguments: OUT, EXPERIMENT, SEED, SIZE, DEVICE and PARENT, see the module.

    Returns:
        The exit code: 0, 1 for an error, 2 for a mistake of the user, 130 after Ctrl-C.
    """
    out, experiment, seed, size, device, parent = arguments
    signal.signal(signal.SIGINT, stop_once)
    die_with(int(parent))
    return performed(lambda: _make(Path(out), experiment, int(seed), size, device))


def _make(out: Path, experiment: str, seed: int, size: str, device: str) -> None:
    from radgaze.cli.demo_sizes import SIZES, config_of
    from radgaze.evaluation import EvaluationOptions, evaluate
    from radgaze.reporting.run_page import report
    from radgaze.runs.run import Run
    from radgaze.training.checkpoint_files import resumable
    from radgaze.training.train import train

    path = out / experiment
    config = config_of(experiment, out / "store", seed, SIZES[size], device)
    same = _has(path, config)
    if same and (path / "predictions.parquet").is_file():
        run = Run.open(path)
    else:
        run = train(config, path, resume=same and resumable(path), overwrite=True)
    evaluate(run, EvaluationOptions(device=device))
    report(run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
