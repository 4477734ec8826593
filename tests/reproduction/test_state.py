"""State that a grid stores, and settings that cannot be mixed with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.execution.process import Outcome
from radgaze.reproduction import state
from radgaze.reproduction.state import begin, load_job, locked, run_folder
from radgaze.store.store import Store
from tests.reproduction.conftest import MakePlan


def finish(grid: state.State, place: int, seconds: float = 1.0) -> None:
    """Job number `place` is done, and its run's files are there."""
    job = grid.plan.jobs[place]
    run = run_folder(grid.out, job)
    run.mkdir(parents=True)
    for name in ("predictions.parquet", "metrics.json"):
        (run / name).touch()
    grid.record(Outcome(job.name, None, seconds))


def test_a_resumed_grid_knows_what_is_done_and_what_failed(plan: MakePlan, tmp_path: Path) -> None:
    made = plan(only=("baseline", "no_decoder"), seeds=2)
    grid = begin(made, tmp_path, resume=False)
    finish(grid, 1, seconds=2.5)
    grid.record(Outcome(made.jobs[2].name, "out of memory", 1.0))
    again = begin(made, tmp_path, resume=True)
    assert again.done == {"baseline/seed-42": 2.5}
    assert again.failed == {"no_decoder/seed-43": "out of memory"}
    assert [job.name for job in again.todo()] == [
        "no_decoder/seed-42",
        "no_decoder/seed-43",
        "baseline/seed-43",
    ]


def test_a_failed_job_that_is_done_at_last_is_no_longer_failed(plan: MakePlan, tmp_path: Path) -> None:
    made = plan(only=("baseline",))
    grid = begin(made, tmp_path, resume=False)
    grid.record(Outcome(made.jobs[0].name, "lost", 1.0))
    finish(grid, 0)
    saved = json.loads((tmp_path / "grid.json").read_text())
    assert [(job["status"], job["reason"]) for job in saved["jobs"]] == [
        ("done", None),
        ("waiting", None),
        ("waiting", None),
    ]


def test_a_finished_run_that_somebody_removed_is_run_again(plan: MakePlan, tmp_path: Path) -> None:
    made = plan(only=("baseline",))
    grid = begin(made, tmp_path, resume=False)
    finish(grid, 0)
    (run_folder(tmp_path, made.jobs[0]) / "predictions.parquet").unlink()
    assert begin(made, tmp_path, resume=True).todo() == list(made.jobs)


def test_the_file_keeps_its_keys_and_one_of_an_older_version_is_read(plan: MakePlan, tmp_path: Path) -> None:
    made = plan(only=("baseline",))
    finish(begin(made, tmp_path, resume=False), 0)
    path = tmp_path / "grid.json"
    saved = json.loads(path.read_text())
    keys = (
        "schema format radgaze protocol selection folds store identity contents overrides jobs configurations"
    )
    assert list(saved) == keys.split()
    assert list(saved["jobs"][0]) == ["experiment", "number", "label", "status", "reason", "seconds"]
    for key in ("schema", "contents"):
        del saved[key]
    path.write_text(json.dumps(saved, indent=1))
    assert begin(made, tmp_path, resume=True).done == {"baseline/seed-42": 1.0}


def test_the_state_says_what_the_grid_is(plan: MakePlan, tmp_path: Path, store: Store) -> None:
    begin(plan({"trainer": {"patience": 3}}, only=("baseline",)), tmp_path, resume=False)
    saved = json.loads((tmp_path / "grid.json").read_text())
    assert (saved["protocol"], saved["selection"]) == ("honest", "validation")
    assert saved["identity"] == store.manifest["identity"]
    assert saved["overrides"]["trainer"]["patience"] == 3


def test_a_job_is_read_back_as_it_was_planned(plan: MakePlan, tmp_path: Path) -> None:
    made = plan(only=("set3_guided",), seeds=2)
    begin(made, tmp_path, resume=False)
    job = load_job(tmp_path, "set3_guided", 43)
    assert (job, job.label, job.config) == (made.jobs[1], made.jobs[1].label, made.jobs[1].config)


def test_a_folder_that_holds_something_is_left_alone(plan: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(UserError, match="not empty"):
            begin(plan(), tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_grid_that_is_there_is_gone_on_with_only_when_told_to(plan: MakePlan, tmp_path: Path) -> None:
    begin(plan(only=("baseline",)), tmp_path, resume=False)
    with pytest.raises(UserError, match=r"0 of its 3 runs done.*`resume=True`"):
        begin(plan(only=("baseline",)), tmp_path, resume=False)


def test_a_grid_killed_before_it_wrote_its_state_begins_anew(plan: MakePlan, tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / ".grid.json.0a1b2c3d.part").write_text('{"form')
        assert begin(plan(only=("baseline",)), tmp_path, resume=True).done == {}


def test_a_resumed_grid_may_grow(plan: MakePlan, tmp_path: Path) -> None:
    finish(begin(plan(only=("baseline",), seeds=1), tmp_path, resume=False), 0)
    grown = begin(plan(only=("baseline", "no_decoder"), seeds=2), tmp_path, resume=True)
    assert [job.name for job in grown.todo()] == [
        "no_decoder/seed-42",
        "no_decoder/seed-43",
        "baseline/seed-43",
    ]


def test_controls_may_be_added_to_a_grid_and_their_jobs_are_read_back(plan: MakePlan, tmp_path: Path) -> None:
    finish(begin(plan(only=("baseline",), seeds=1), tmp_path, resume=False), 0)
    grown = begin(plan(only=("baseline",), seeds=1, controls=("mean",)), tmp_path, resume=True)
    assert [job.name for job in grown.todo()] == ["baseline+mean/seed-42"]
    job = load_job(tmp_path, "baseline+mean", 42)
    assert (job.config.experiment, job.config.gaze.control) == ("baseline", "mean")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"protocol": "faithful"}, "`protocol` was honest, now faithful"),
        ({"select": "test"}, "`select` was validation, now test"),
        ({"overrides": {"input": {"size": 64}}}, "`input.size` was 32, now 64"),
        ({"overrides": {"gaze": {"sigma": 0.1}}}, "`gaze.sigma` was not given, now 0.1"),
        ({"seeds": 1}, "baseline/seed-43 not chosen any more"),
        ({"only": ("no_decoder",)}, "baseline/seed-42"),
    ],
)
def test_a_grid_is_not_resumed_as_another_one(
    changed: dict[str, object], said: str, plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "knows_published", True)
    begun = {"only": ("baseline",), "seeds": 2}
    begin(plan(**begun), tmp_path, resume=False)
    before = (tmp_path / "grid.json").read_bytes()
    with pytest.raises(UserError, match=said):
        begin(plan(**(begun | changed)), tmp_path, resume=True)
    assert (tmp_path / "grid.json").read_bytes() == before


def test_a_store_made_anew_from_something_else_is_noticed(plan: MakePlan, tmp_path: Path) -> None:
    made = plan(only=("baseline",))
    begin(made, tmp_path, resume=False)
    other = replace(made, identity={"content": "other"})
    with pytest.raises(UserError, match="another store"):
        begin(other, tmp_path, resume=True)
    other = replace(made, contents={**made.contents, "images": "other"})
    with pytest.raises(UserError, match="another store than it was, the images differ"):
        begin(other, tmp_path, resume=True)


def test_an_experiment_whose_file_was_changed_is_noticed(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(plan(only=("baseline",)), tmp_path, resume=False)
    load = experiments.load
    monkeypatch.setattr(
        experiments, "load", lambda *args: experiments.merge(load(*args), {"objective": {"gamma": 0.9}})
    )
    with pytest.raises(UserError, match=r"baseline/seed-42: objective\.gamma was 0\.41731, now 0\.9"):
        begin(plan(only=("baseline",)), tmp_path, resume=True)


def test_one_folder_has_one_grid_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PATIENCE", 0.0)
    with locked(tmp_path), pytest.raises(UserError, match="at work"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_grid_waits_for_jobs_that_outlive_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path) as lock:
        orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[lock])
    monkeypatch.setattr(state, "PATIENCE", 0.0)
    try:
        with pytest.raises(UserError, match="at work"), locked(tmp_path):
            pass
    finally:
        orphan.kill()
        orphan.wait()
    with locked(tmp_path):
        pass


def test_a_state_that_cannot_be_read_is_told(plan: MakePlan, tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"format": 99}'):
        Path(tmp_path / "grid.json").write_text(text)
        with pytest.raises(UserError, match="`out`"):
            begin(plan(), tmp_path, resume=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: '{"format": 1}',
        lambda text: text.replace('"jobs"', '"jbos"'),
        lambda text: text.replace('"status"', '"state"'),
        lambda text: text.replace('"baseline/seed-43"', '"baseline/seed-44"'),
    ],
)
def test_a_damaged_state_is_told_by_its_name(
    change: Callable[[str], str], plan: MakePlan, tmp_path: Path
) -> None:
    made = plan(only=("baseline",))
    begin(made, tmp_path, resume=False)
    path = tmp_path / "grid.json"
    path.write_text(change(path.read_text()))
    for read in (
        lambda: begin(made, tmp_path, resume=True),
        lambda: begin(made, tmp_path, resume=False),
        lambda: load_job(tmp_path, "baseline", 42),
    ):
        with pytest.raises(UserError, match=r"grid\.json"):
            read()
