"""Whole grids: failures stay alone, stops and kills cost nothing that was done, and nothing is done twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from radgaze.execution import shares
from radgaze.execution.process import Outcome
from radgaze.reproduction import grid as grids
from radgaze.reproduction import job as jobs
from radgaze.reproduction import state
from radgaze.reproduction.grid import reproduce
from radgaze.reproduction.options import ReproduceOptions
from radgaze.reproduction.planning import Plan
from radgaze.reproduction.state import State, run_folder
from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.execution.test_local import HEAD, is_gone
from tests.reproduction.conftest import MakePlan
from tests.store.cohorts import contents

TINY = [
    "--model.encoder=tu-test_efficientnet",
    "--model.weights=none",
    "--model.decoder_channels=[16,8,8,4,4]",
    "--input.size=32",
    "--optimisation.batch_size=8",
    "--trainer.patience=0",
    "--trainer.accelerator=cpu",
    "--trainer.logger=none",
]
"""The settings of `plan`, for the command line."""


RESUME = ReproduceOptions(resume=True)


@pytest.fixture
def does(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`does(code)`: jobs run this, with `out` and `name`, instead of training."""

    def patch(code: str) -> None:
        monkeypatch.setattr(jobs, "ENTRY", ("-c", HEAD + code))
        monkeypatch.setattr(shares, "visible_gpus", list)

    return patch


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    """The grids whose tables were to be written."""
    found: list[State] = []

    def write(grid: State) -> Path:
        found.append(grid)
        return grid.out / "index.html"

    monkeypatch.setattr(grids, "write", write)
    return found


def begin(store: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """`radgaze reproduce` in a process group of its own."""
    command = [sys.executable, "-m", "radgaze", "reproduce", "--data", str(store), "--out", str(out)]
    with (out.parent / f"{out.name}.log").open("ab") as log:
        return subprocess.Popen(
            [*command, *TINY, *options],
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
            # What a shell starts in the background would ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


def kill(grid: subprocess.Popen[bytes]) -> None:
    """SIGKILL to a grid and all its jobs at once."""
    os.killpg(grid.pid, signal.SIGKILL)
    grid.wait()


def wait_for(path: Path, within: float = 120.0) -> None:
    until = time.monotonic() + within
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.02)


def predictions(plan: Plan, out: Path) -> dict[str, bytes]:
    return {job.name: (run_folder(out, job) / "predictions.parquet").read_bytes() for job in plan.jobs}


@pytest.mark.slow
def test_a_grid_killed_while_it_trains_and_resumed_has_the_predictions_of_one_that_never_stopped(
    plan: MakePlan, store: Store, tmp_path: Path, written: list[State]
) -> None:
    made = plan({"trainer": {"max_epochs": 4}}, only=("set3_guided",), seeds=1)
    out, (job,) = tmp_path / "grid", made.jobs
    killed = begin(store.path, out, "--only", "set3_guided", "--seeds", "1", "--trainer.max_epochs=4")
    wait_for(run_folder(out, job) / "checkpoints" / "last.ckpt")
    kill(killed)
    assert not (run_folder(out, job) / "predictions.parquet").is_file()  # in the middle, indeed
    resumed, page = reproduce(made, out, RESUME)
    assert (list(resumed.done), resumed.failed, page) == ([job.name], {}, out / "index.html")
    whole = train(job.config, tmp_path / "whole")
    assert (whole.path / "predictions.parquet").read_bytes() == predictions(made, out)[job.name]
    run = Run.open(run_folder(out, job))
    assert run.history().drop("seconds").equals(whole.history().drop("seconds"))
    assert json.loads((run.path / "metrics.json").read_text())["test"]["auc"]
    assert (run.path / "report.html").is_file()


def test_what_fails_is_told_with_its_reason_and_stops_nothing_else(
    plan: MakePlan,
    tmp_path: Path,
    written: list[State],
    does: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    does(
        "if name == 'baseline': sys.exit('no gaze in [this] store')\n"
        "run = pathlib.Path(out, 'runs', name, 'seed-42'); run.mkdir(parents=True)\n"
        "for file in ('predictions.parquet', 'metrics.json'): (run / file).touch()"
    )
    made, out = plan(only=("baseline", "no_decoder"), seeds=1), tmp_path / "grid"
    grid, page = reproduce(made, out, ReproduceOptions(jobs=2))
    assert (list(grid.done), page is not None) == (["no_decoder/seed-42"], True)
    assert grid.failed == {"baseline/seed-42": "no gaze in [this] store"}
    told = " ".join(capsys.readouterr().err.split())
    assert "baseline seed 42: failed: no gaze in [this] store; see " in told

    does("sys.exit('still none')")  # a resumed grid tries again what failed, and nothing else
    again, _ = reproduce(made, out, RESUME)
    assert (list(again.done), again.failed) == (["no_decoder/seed-42"], {"baseline/seed-42": "still none"})


def test_a_finished_run_is_never_repeated(
    plan: MakePlan, tmp_path: Path, written: list[State], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(only=("no_decoder",), seeds=1)
    out, (job,) = tmp_path / "grid", made.jobs
    out.mkdir()
    grid = state.begin(made, out, resume=False)
    for name in ("predictions.parquet", "metrics.json"):
        path = run_folder(out, job) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    grid.record(Outcome(job.name, None, 1.0))

    def start(*args: Any) -> None:
        raise AssertionError("nothing is to be run")

    monkeypatch.setattr("radgaze.execution.local.start", start)
    assert reproduce(made, out, RESUME)[0].done == {job.name: 1.0}
    assert len(written) == 1


@pytest.mark.slow
def test_ctrl_c_stops_every_job_and_says_how_to_go_on(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "grid"
    options = ("--only", "no_decoder", "--seeds", "2", "--jobs", "2", "--trainer.max_epochs=5000")
    stopped = begin(store.path, out, *options)
    for seed in (42, 43):
        wait_for(out / "runs" / "no_decoder" / f"seed-{seed}" / "checkpoints" / "last.ckpt")
    jobs = children(stopped.pid)
    assert len(jobs) == 2
    os.kill(stopped.pid, signal.SIGINT)  # to the grid alone: that it reaches the jobs is the grid's doing
    assert stopped.wait(60) == 130
    assert all(is_gone(job) for job in jobs)
    said = " ".join((tmp_path / "grid.log").read_text().split())
    assert "stopped: 0 of 2 runs are done; the same command with --resume goes on from here" in said
    for seed in (42, 43):  # each stopped as a run does, and kept what it had
        assert (out / "runs" / "no_decoder" / f"seed-{seed}" / "model" / "model.safetensors").is_file()


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(stat.parent.name))
        except (OSError, IndexError):
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("protocol", ["honest", "faithful"])
def test_a_grid_killed_at_any_moment_and_resumed_equals_one_that_never_stopped(
    protocol: str, plan: MakePlan, store: Store, tmp_path: Path
) -> None:
    over = {"trainer": {"max_epochs": 3, "patience": 1}, "input": {"augment": True}}
    options = {"only": ("baseline", "set3_guided"), "seeds": 1, "protocol": protocol}
    made = plan(over, **options)
    began = time.monotonic()
    whole, _ = reproduce(made, tmp_path / "whole", ReproduceOptions(jobs=2))
    took = time.monotonic() - began
    wanted = predictions(made, tmp_path / "whole")
    assert not whole.failed
    arguments = ["--only", "baseline", "set3_guided", "--seeds", "1", "--protocol", protocol, "--jobs", "2"]
    arguments += ["--trainer.max_epochs=3", "--trainer.patience=1", "--input.augment=true"]
    draw = random.Random(protocol)
    moments = [draw.uniform(0.0, 1.2 * took) for _ in range(3)]
    for k, moment in enumerate(moments):
        out = tmp_path / f"killed-{k}"
        for after in (moment, draw.uniform(0.3, 1.0) * took):  # and once more while it is resumed
            killed = begin(store.path, out, *arguments, "--resume")
            time.sleep(after)
            kill(killed)
        resumed, _ = reproduce(made, out, ReproduceOptions(jobs=2, resume=True))
        assert not resumed.failed, moment
        assert predictions(made, out) == wanted, moment
        assert contents(out / "tables") == contents(tmp_path / "whole" / "tables"), moment


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_matrix_of_reasons_from_the_command_line_to_its_page(tmp_path: Path) -> None:
    stores = []
    for name, strength in (("clean", 0.0), ("marker", 0.9)):
        raw, store = tmp_path / f"raw-{name}", tmp_path / name
        world = ["--patients", "45", "--test-patients", "24", "--pixels", "96", "--twins", "--seed", "3"]
        for arguments in (
            ["phantom", str(raw), *world, "--confounder", f"marker={strength}", "--workers", "1"],
            ["prepare", "egd", "--egd", f"{raw}/egd", "--mimic", f"{raw}/mimic", "--out", str(store)],
        ):
            subprocess.run([sys.executable, "-m", "radgaze", *arguments], check=True, capture_output=True)
        stores.append(f"{name}={store}")
    out = tmp_path / "grid"
    command = ["reproduce", "--matrix", "reasons", "--stores", *stores, "--out", str(out), "--seeds", "1"]
    command += ["--only", "baseline", "exchange", "--controls", "shuffled", "--trainer.max_epochs=1", *TINY]
    done = subprocess.run([sys.executable, "-m", "radgaze", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    runs = {str(path.parent.relative_to(out / "runs")) for path in (out / "runs").rglob("metrics.json")}
    names = ("baseline", "baseline+shuffled", "exchange", "exchange+shuffled")
    assert runs == {"clean/baseline/seed-42", *(f"marker/{name}/seed-42" for name in names)}
    table = (out / "tables" / "reasons.csv").read_text()
    for name in names:
        assert f"marker,{name},reliance," in table
    page = (out / "index.html").read_text()
    assert "both stores have the same test patients" in page or "the gap is not above 0" in page
    assert "The gaze on each case against its controls" in page
    assert "Store marker" in done.stdout
    again = subprocess.run(
        [sys.executable, "-m", "radgaze", *command, "--resume"], capture_output=True, text=True
    )
    assert "5 of 5 runs are done" in again.stderr


def test_the_runs_of_a_cross_validation_differ_by_fold(plan: MakePlan, tmp_path: Path) -> None:
    assert grids.results(State(tmp_path, plan(only=("baseline",)))).unit == "seed"
    assert grids.results(State(tmp_path, plan(only=("baseline",), cross_validate=3))).unit == "fold"
