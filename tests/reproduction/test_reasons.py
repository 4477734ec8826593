"""The matrix of reasons: which runs there are on which stores, and how its grid is resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.execution.process import Outcome
from radgaze.reproduction import reasons, state
from radgaze.reproduction.job import task
from radgaze.reproduction.options import ReproduceOptions
from radgaze.reproduction.planning import plan as make_plan
from radgaze.reproduction.plans import Plan
from radgaze.reproduction.state import begin, load_job, run_folder
from radgaze.runs import settings
from radgaze.runs.requirements import uses_gaze
from radgaze.store.store import Store
from tests.reproduction.conftest import MakePlan
from tests.training.conftest import TINY

Make = Callable[..., Plan]


@pytest.fixture
def make(store: Store) -> Make:
    """`make({…}, marker=PATH, seeds=1)`: a plan on stores, by default all of them the same one."""

    def made(overrides: dict[str, Any] | None = None, **options: Any) -> Plan:
        stores = options.pop("stores", {"clean": store.path, "marker": store.path, "device": store.path})
        words = tuple(f"{name}={path}" for name, path in stores.items())
        chosen = ReproduceOptions(matrix="reasons", stores=words, **options)
        return make_plan(None, chosen, overrides=experiments.merge(TINY, overrides or {}))

    return made


def test_every_experiment_stands_on_every_store_with_the_controls_that_it_can_have(make: Make) -> None:
    jobs = make(seeds=2, seed=7).jobs
    assert [job for job in jobs if job.number == 8] == [replace(j, number=8) for j in jobs if j.number == 7]
    first = [job for job in jobs if job.number == 7]
    assert [job.row for job in first if job.store == "clean"] == ["clean/baseline"]
    by_store = {name: [j.experiment for j in first if j.store == name] for name in ("marker", "device")}
    assert by_store["marker"] == by_store["device"]
    expected = [each.name for each in experiments.catalogue() if each.name in reasons.EXPERIMENTS]
    assert len(expected) == 10
    listed = []
    for name in expected:
        controls = ("shuffled", "lungs") if uses_gaze(settings.resolve(name)) else ()
        listed += [name, *(f"{name}+{control}" for control in controls)]
    assert by_store["marker"] == listed
    assert "no_decoder+shuffled" not in listed
    assert "exchange_guided+lungs" in listed


def test_a_run_has_the_store_and_split_of_its_column_and_is_otherwise_the_papers(
    make: Make, plan: MakePlan, store: Store, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(store.path, other)
    made = make(stores={"clean": store.path, "marker": other}, only=("set3_guided",), seeds=1, controls=())
    clean, marker = made.jobs
    assert (clean.config.data, marker.config.data) == (str(store.path.resolve()), str(other))
    assert (clean.experiment, marker.experiment) == ("baseline", "set3_guided")
    (paper,) = plan({"split": {"kind": "store"}}, only=("set3_guided",), seeds=1).jobs
    assert replace(marker.config, data=paper.config.data) == paper.config
    assert (made.matrix, made.store, set(made.stores)) == ("reasons", "", {str(store.path), str(other)})


def test_each_seed_may_have_a_store_of_its_own(make: Make, store: Store, tmp_path: Path) -> None:
    for seed in (5, 6):
        shutil.copytree(store.path, tmp_path / f"marker-{seed}")
    stores = {"marker": tmp_path / "marker-{seed}", "clean": store.path}
    made = make(stores=stores, only=("baseline",), controls=(), seeds=2, seed=5)
    found = [(job.row, Path(job.config.data).name) for job in made.jobs]
    assert found == [
        ("clean/baseline", store.path.name),
        ("marker/baseline", "marker-5"),
        ("clean/baseline", store.path.name),
        ("marker/baseline", "marker-6"),
    ]
    with pytest.raises(UserError, match="marker-7"):
        make(stores=stores, only=("baseline",), seeds=3, seed=5)


def test_defaults_are_five_seeds_and_the_stores_own_splits(make: Make) -> None:
    made = make(only=("no_decoder",))  # without gaze: the default controls are left out without a word
    assert sorted({job.number for job in made.jobs}) == [42, 43, 44, 45, 46]
    assert {job.config.split.kind for job in made.jobs} == {"store"}
    assert {job.experiment for job in made.jobs} == {"baseline", "no_decoder"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"matrix": "reasons"}, "`matrix='reasons'` needs `stores`"),
        ({"stores": ("clean=a", "marker=b")}, "`stores` needs `matrix='reasons'`"),
        ({"matrix": "reasons", "stores": ("clean=a",)}, "`stores` must name a store besides clean"),
        ({"matrix": "reasons", "stores": ("marker",)}, "`stores` must be NAME=PATH"),
        ({"matrix": "reasons", "stores": ("../x=b",)}, "`stores` must be NAME=PATH"),
        ({"matrix": "reasons", "stores": ("m=a", "m=b")}, "`stores` must name each store once, got m twice"),
        ({"matrix": "reasons", "stores": ("m=a",), "protocol": "faithful"}, "needs `protocol='honest'`"),
        ({"matrix": "reasons", "stores": ("m=a",), "cross_validate": 3}, "needs `matrix='paper'`"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ReproduceOptions(**options)


def test_stores_that_are_missing_or_of_other_classes_are_told(
    make: Make, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="nowhere"):
        make(stores={"marker": tmp_path / "nowhere"})
    with pytest.raises(UserError, match="leave out `data`"):
        make_plan(store.path, ReproduceOptions(matrix="reasons", stores=(f"marker={store.path}",)))
    with pytest.raises(UserError, match="`data` is missing"):
        make_plan(None, ReproduceOptions())
    with pytest.raises(UserError, match="`controls` mean fits none of the experiments"):
        make(only=("no_decoder",), controls=("mean",))
    shuffled = {"gaze": {"control": "shuffled"}}
    with pytest.raises(UserError, match=r"`matrix='reasons'` sets `gaze.control` of each run itself"):
        make(shuffled, only=("baseline",))
    with pytest.raises(UserError, match=r"`controls` sets `gaze.control` of each run itself"):
        make(shuffled, only=("baseline",), controls=("lungs",))
    other = tmp_path / "other"
    shutil.copytree(store.path, other)
    monkeypatch.setattr(
        Store, "classes", property(lambda self: ("a", "b") if self.path == other else ("a", "c"))
    )
    with pytest.raises(UserError, match="different classes, a, c against a, b"):
        make(stores={"clean": store.path, "marker": other}, only=("baseline",), seeds=1)


def test_the_jobs_of_the_papers_matrix_are_what_they_were(plan: MakePlan, store: Store) -> None:
    made = plan(only=("baseline", "set3_guided"), controls=("lungs",), seeds=2)
    names = ("baseline", "baseline+lungs", "set3_guided", "set3_guided+lungs")
    expected = []
    for seed in (42, 43):
        for name in names:
            experiment, control = experiments.control_of(name)
            fields = {
                **TINY, "data": str(store.path), "selection": "validate", "seed": seed,
                "split": {"kind": "stratified"},
            }  # fmt: skip
            fields |= {"gaze": {"control": control}} if control else {}
            expected.append((f"{name}/seed-{seed}", settings.resolve(experiment, **fields)))
    assert [(job.name, job.config) for job in made.jobs] == expected
    saved = asdict(state.State(Path("out"), made).content())
    assert (saved["matrix"], saved["stores"]) == (None, None)
    assert {job["store"] for job in saved["jobs"]} == {None}
    assert task(made.jobs[1], Path("out")).arguments[3:] == ("baseline+lungs", "42")


def test_jobs_are_read_back_with_their_store_and_a_changed_store_is_told(
    make: Make, store: Store, tmp_path: Path
) -> None:
    other, out = tmp_path / "other", tmp_path / "grid"
    shutil.copytree(store.path, other)
    out.mkdir()
    made = make(stores={"clean": store.path, "marker": other}, only=("baseline",), controls=(), seeds=1)
    begin(made, out, resume=False)
    for job in made.jobs:
        read = load_job(out, job.row, job.number)
        assert (read, read.config) == (job, job.config)
        assert str(run_folder(out, job)).endswith(f"runs/{job.store}/baseline/seed-42")
        assert task(job, out).arguments[-2:] == (job.row, "42")
    path = out / "grid.json"
    saved = json.loads(path.read_text())
    saved["stores"][str(other)]["contents"]["images"] = "others"
    path.write_text(json.dumps(saved))
    assert load_job(out, "clean/baseline", 42).store == "clean"
    with pytest.raises(UserError, match=r"other is not the one that the grid .* the images differ"):
        load_job(out, "marker/baseline", 42)
    with pytest.raises(UserError, match="other is another store than it was, the images differ"):
        begin(made, out, resume=True)


def test_a_grid_of_reasons_is_resumed_grows_and_is_no_other_matrix(
    make: Make, plan: MakePlan, store: Store, tmp_path: Path
) -> None:
    stores = {"marker": store.path}
    begun = make(stores=stores, only=("baseline",), controls=(), seeds=1)
    grid = begin(begun, tmp_path, resume=False)
    run = run_folder(tmp_path, begun.jobs[0])
    run.mkdir(parents=True)
    for name in ("predictions.parquet", "metrics.json"):
        (run / name).touch()
    grid.record(Outcome(begun.jobs[0].name, None, 1.0))
    grown = make(stores={**stores, "clean": store.path}, only=("baseline",), controls=("mean",), seeds=1)
    again = begin(grown, tmp_path, resume=True)
    assert again.done == {"marker/baseline/seed-42": 1.0}
    assert [job.name for job in again.todo()] == ["clean/baseline/seed-42", "marker/baseline+mean/seed-42"]
    with pytest.raises(UserError, match="`matrix` was reasons, now paper"):
        begin(plan(only=("baseline",), seeds=1), tmp_path, resume=True)
    with pytest.raises(UserError, match=r"marker/baseline/seed-42.* not chosen any more"):
        begin(make(stores={"device": store.path}, only=("baseline",)), tmp_path, resume=True)
