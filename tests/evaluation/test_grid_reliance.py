"""Reliance over a grid of runs, against sums by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from radgaze import records
from radgaze.evaluation.across_runs import GridEstimates, estimate_grid
from radgaze.evaluation.metrics.reliance import METRICS
from radgaze.evaluation.per_run import with_own_patients
from radgaze.evaluation.reliance import SCHEMA
from radgaze.evaluation.results import RELIANCE
from radgaze.evaluation.statistics.multiple_testing import holm
from radgaze.reporting.paper import Results
from radgaze.runs.origin import PARTS, Origin
from radgaze.runs.run import Run
from tests.evaluation.known import known
from tests.reporting.fakes import FakeRun
from tests.reporting.paper.grids import grid

NAMES = ("baseline", "set3_guided", "set3_guided+shuffled", "set1_guided")
LEVELS = {"baseline": 0.5, "set3_guided": 0.1, "set3_guided+shuffled": 0.3, "set1_guided": 0.45}


def add_twins(run: Run, level: float, seed: int, *, cases: int = 60) -> None:
    """Write reliance.parquet: figures about a level for the first test cases."""
    test = run.predictions().filter(pl.col("split") == "test")[:cases]
    rng = np.random.default_rng(seed)
    table = pl.DataFrame(
        {
            "case_id": test["case_id"],
            "patient": test["patient"],
            "confounder": ["marker"] * test.height,
            "pairs": [3] * test.height,
            **{name: np.clip(level + 0.2 * rng.normal(size=test.height), 0, 1) for name in METRICS},
        },
        schema=SCHEMA,
    )
    table.write_parquet(run.path / RELIANCE)


def estimated(results: Results) -> GridEstimates:
    runs: Mapping[str, Mapping[int, Run]] = {name: results.runs[name] for name in results.experiments}
    return estimate_grid(
        runs, results.classes, ("baseline",), controls=results.controls, resamples=200, seed=0
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = grid(tmp_path_factory.mktemp("grid"), NAMES, (0, 1, 2))
    for place, name in enumerate(NAMES):
        for seed, run in made.runs[name].items():
            add_twins(run, LEVELS[name], 10 * place + seed)
    return made


def by_hand(results: Results, name: str, metric: str) -> list[NDArray[np.float64]]:
    return [pl.read_parquet(run.path / RELIANCE)[metric].to_numpy() for run in results.runs[name].values()]


def test_reliance_is_the_mean_over_cases_and_seeds(results: Results) -> None:
    reliance = estimated(results).reliance
    assert set(reliance.means) == {"marker"}
    for name in NAMES:
        for metric in METRICS:
            figure = reliance.means["marker"][name][metric]
            means = [float(each.mean()) for each in by_hand(results, name, metric)]
            assert figure.value == pytest.approx(np.mean(means))
            # Three seeds: at least Student's t times the deviation between seeds.
            half = 4.303 * np.std(means, ddof=1) / np.sqrt(3)
            assert known(figure.low) <= known(figure.value) - 0.95 * half
            assert 0 < known(figure.low) < known(figure.high) < 1


def test_differences_are_paired_and_corrected_for_the_experiments(results: Results) -> None:
    estimates = estimated(results)
    to_baseline = estimates.reliance.differences["marker"]["baseline"]
    assert set(to_baseline) == {"set3_guided", "set1_guided"}
    raw = []
    for name, by_metric in to_baseline.items():
        change = by_metric["reliance"]
        gaps = [
            float((own - base).mean())
            for own, base in zip(
                by_hand(results, name, "reliance"), by_hand(results, "baseline", "reliance"), strict=True
            )
        ]
        assert change.value == pytest.approx(np.mean(gaps))
        tables = [pl.read_parquet(run.path / RELIANCE) for run in results.runs[name].values()]
        assert change.patients == pl.concat(tables)["patient"].n_unique()
        assert change.comparisons == 2
        alone = {each: results.runs[each] for each in ("baseline", name)}
        single = estimated(Results("honest", "validation", alone, {})).reliance
        raw.append(single.differences["marker"]["baseline"][name]["reliance"].p)
    assert [each["reliance"].p for each in to_baseline.values()] == pytest.approx(holm(raw))
    control = estimates.reliance.controls["marker"]["set3_guided+shuffled"]["reliance"]
    own, other = (
        np.mean([each.mean() for each in by_hand(results, name, "reliance")])
        for name in ("set3_guided", "set3_guided+shuffled")
    )
    assert control.value == pytest.approx(own - other)


def test_a_grid_without_twins_has_no_reliance_and_one_run_without_them_is_left_out(tmp_path: Path) -> None:
    made = grid(tmp_path, ("baseline", "set3_guided"), (0,))
    assert estimated(made).reliance.means == {}
    add_twins(made.runs["set3_guided"][0], 0.2, 0)
    reliance = estimated(made).reliance
    assert set(reliance.means["marker"]) == {"set3_guided"}
    assert reliance.differences["marker"]["baseline"] == {}


def test_twins_change_no_other_figure(results: Results, tmp_path: Path) -> None:
    without = grid(tmp_path, NAMES, (0, 1, 2))
    with_twins, plain = estimated(results), estimated(without)
    assert with_twins.auc == plain.auc
    assert with_twins.differences == plain.differences
    assert with_twins.agreement == plain.agreement


def test_patients_of_another_store_are_others_and_those_of_the_same_cases_are_not(tmp_path: Path) -> None:
    runs = [FakeRun(tmp_path / str(k), cases=k // 2, seed=k) for k in range(4)]
    for k, run in enumerate(runs):
        contents = dict.fromkeys(PARTS, "same") | {"images": str(k), "cases": str(k // 2)}
        records.write(Origin(contents), run.path / "store.json")
    tables = with_own_patients([*runs])
    patients = [set(table["patient"]) for table in tables]
    assert tables[0].equals(runs[0].predictions())
    assert patients[0] == patients[1]
    assert patients[2] == patients[3]
    assert not patients[0] & patients[2]
    shift = tables[2]["patient"][0] - runs[2].predictions()["patient"][0]
    assert (tables[2]["patient"] - runs[2].predictions()["patient"] == shift).all()
