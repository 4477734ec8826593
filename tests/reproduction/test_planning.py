"""The plan of a grid: which runs there are, with which seeds, splits and settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.reproduction.options import ReproduceOptions
from radgaze.reproduction.planning import Job, chosen
from radgaze.reproduction.planning import plan as make_plan
from radgaze.runs.config import Config, TrainerConfig
from radgaze.store.store import Store
from tests.reproduction.conftest import MakePlan
from tests.store.cohorts import make_cohort, with_twins
from tests.stores import prepare


def test_a_grid_is_every_experiment_with_every_seed_seed_by_seed(plan: MakePlan) -> None:
    jobs = plan(seeds=2).jobs
    assert [job.experiment for job in jobs] == 2 * chosen()
    named = {each.name for each in experiments.catalogue() if each.family in experiments.BY_NAME}
    assert {"gain", "exchange", "exchange_guided"} <= named
    assert sorted(chosen()) == sorted(set(experiments.names()) - named)
    assert chosen(["gain", "baseline"]) == ["baseline", "gain"]
    assert [job.number for job in jobs] == [42] * len(chosen()) + [43] * len(chosen())
    assert all(job.config.seed == job.number and job.config.experiment == job.experiment for job in jobs)


def test_the_faithful_protocol_has_one_seed_and_the_published_split(
    plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="does not know the published split"):
        plan(protocol="faithful", only=("baseline",))
    monkeypatch.setattr(Store, "knows_published", True)
    made = plan(protocol="faithful", only=("baseline",))
    (job,) = made.jobs
    assert (job.config.seed, job.config.split.kind) == (42, "published")
    assert job.config.protocol == "faithful"
    assert job.config.optimisation.schedule == "triangular2"


def test_the_honest_protocol_draws_split_and_initialisation_from_three_seeds(plan: MakePlan) -> None:
    jobs = plan(only=("baseline",)).jobs
    assert [job.config.seed for job in jobs] == [42, 43, 44]
    assert {(job.config.split.kind, job.config.split.seed) for job in jobs} == {("stratified", None)}


def test_a_store_with_twins_keeps_its_split_for_all_seeds_unless_one_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = with_twins(make_cohort(tmp_path / "images", cases=9, shape=(64, 64)), tmp_path / "images")
    store = prepare(cohort, tmp_path / "store", size=32, workers=1)
    for given, kind in ((None, "store"), ({"split": {"kind": "stratified"}}, "stratified")):
        jobs = make_plan(store.path, ReproduceOptions(only=("baseline",)), overrides=given).jobs
        assert {job.config.split.kind for job in jobs} == {kind}
        assert ("keep its split" in " ".join(capsys.readouterr().err.split())) == (kind == "store")
    make_plan(store.path, ReproduceOptions(only=("baseline",), cross_validate=3))
    assert "training cases are tested as well" in " ".join(capsys.readouterr().err.split())


def test_twins_of_other_cases_than_test_cases_leave_the_split_to_be_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = with_twins(make_cohort(tmp_path / "images", cases=9, shape=(64, 64)), tmp_path / "images")
    tested = cohort.cases.filter(pl.col("case_id").is_in(cohort.twins["twin_of"].implode()))["case_id"]
    moved = cohort.cases.with_columns(
        split=pl.when(pl.col("case_id").is_in(tested.implode())).then(pl.lit("train")).otherwise("split")
    )
    store = prepare(replace(cohort, cases=moved), tmp_path / "store", size=32, workers=1)
    jobs = make_plan(store.path, ReproduceOptions(only=("baseline",))).jobs
    assert {job.config.split.kind for job in jobs} == {"stratified"}
    assert "keep its split" not in " ".join(capsys.readouterr().err.split())


def test_a_cross_validation_takes_every_fold_once_in_each_repetition(plan: MakePlan) -> None:
    jobs = plan(only=("baseline",), seeds=2, cross_validate=3).jobs
    found = [(job.number, job.config.seed, job.config.split.fold) for job in jobs]
    assert found == [(0, 42, 0), (1, 42, 1), (2, 42, 2), (3, 43, 0), (4, 43, 1), (5, 43, 2)]
    assert {(job.config.split.kind, job.config.split.folds) for job in jobs} == {("folds", 3)}


def test_the_checkpoint_is_chosen_on_validation_unless_test_is_asked_for(plan: MakePlan) -> None:
    assert {job.config.selection for job in plan().jobs} == {"validate"}
    assert {job.config.selection for job in plan(select="test").jobs} == {"test"}


def test_overrides_are_laid_over_every_experiment_and_its_protocol(plan: MakePlan) -> None:
    made = plan({"optimisation": {"learning_rate": 0.25}, "split": {"kind": "store"}}, protocol="faithful")
    assert {job.config.optimisation.learning_rate for job in made.jobs} == {0.25}
    assert {job.config.split.kind for job in made.jobs} == {"store"}
    kept = {job.config.optimisation.clip for job in made.jobs if job.experiment == "baseline"}
    assert kept == {"value"}  # the rest of the section is the experiment's


def test_experiments_come_in_the_papers_order_whatever_the_order_of_their_names() -> None:
    assert chosen(["set3_guided", "no_decoder", "baseline", "baseline"]) == [
        "no_decoder",
        "baseline",
        "set3_guided",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only": ("baseline", "set9")}, "`only` must be one of .*baseline, .*, got set9"),
        ({"seeds": 0}, "`seeds` must be at least 1, got 0"),
        ({"seed": 2**32}, "`seed` must be from 0 to 4,294,967,295"),
        ({"cross_validate": 2}, "`cross_validate` must be at least 3, got 2"),
        ({"cross_validate": 5, "protocol": "faithful"}, "published split"),
        ({"cross_validate": 5, "overrides": {"split": {"kind": "store"}}}, "leave out the fields of `split`"),
        ({"ray_address": "auto"}, "`ray_address` needs `engine='ray'`"),
        ({"overrides": {"gaze": {"sigma": float("inf")}}}, "`gaze.sigma` must be a finite number, got inf"),
        ({"overrides": {"input": {"size": "large"}}}, "size"),
        ({"overrides": {"model": {"colour": "red"}}}, "colour"),
    ],
)
def test_what_makes_no_plan_is_told(options: dict[str, object], said: str, plan: MakePlan) -> None:
    with pytest.raises(UserError, match=said):
        plan(**options)


@pytest.mark.parametrize(
    ("trainer", "gpus", "processes"),
    [
        ({}, 1, 1),  # more would enlarge the batches
        ({"devices": 2}, 2, 2),
        ({"devices": "2"}, 2, 2),
        ({"devices": "auto"}, 1, 1),
        ({"devices": 2, "accelerator": "cpu"}, 0, 2),
    ],
)
def test_a_job_says_how_many_gpus_and_processes_it_needs(
    trainer: dict[str, Any], gpus: int, processes: int
) -> None:
    job = Job("baseline", 42, "seed 42", Config(trainer=TrainerConfig(**trainer)))
    assert (job.gpus, job.processes) == (gpus, processes)


def test_controls_stand_beside_each_experiment_that_uses_gaze(plan: MakePlan) -> None:
    chosen_ones = ("no_decoder", "set3_guided", "temporal")
    jobs = plan(only=chosen_ones, controls=("lungs", "shuffled"), seeds=2).jobs
    names = ["temporal", "temporal+shuffled", "no_decoder", "set3_guided", "set3_guided+lungs"]
    names = [*names, "set3_guided+shuffled"]
    first = [job.experiment for job in jobs if job.number == 42]
    assert sorted(first) == sorted(names)
    assert [name for name in first if name.startswith("set3")] == names[3:]
    for job in jobs:
        experiment, control = experiments.control_of(job.experiment)
        assert (job.config.experiment, job.config.gaze.control) == (experiment, control or "none")
    guided, controlled = (
        next(job for job in jobs if job.name == f"{name}/seed-43")
        for name in ("set3_guided", "set3_guided+lungs")
    )
    assert replace(controlled.config, gaze=guided.config.gaze) == guided.config


def test_controls_that_fit_no_experiment_or_are_given_twice_are_refused(plan: MakePlan) -> None:
    with pytest.raises(UserError, match="`controls` lungs fits none of the experiments"):
        plan(only=("no_decoder", "temporal"), controls=("lungs",))
    with pytest.raises(UserError, match=r"`controls` sets `gaze.control` of each run itself"):
        plan({"gaze": {"control": "mean"}}, only=("set3_guided",), controls=("lungs",))
    with pytest.raises(UserError, match=r"`controls` must be one of shuffled, .*, got lung"):
        plan(only=("set3_guided",), controls=("lung",))
