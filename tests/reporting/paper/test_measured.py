import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radgaze.evaluation.compare import compare
from radgaze.evaluation.seeds import across, bootstraps
from radgaze.evaluation.summary import score
from radgaze.reporting.paper import Results
from radgaze.reporting.paper.measured import Measured, measure
from tests.reporting.fakes import CLASSES
from tests.reporting.paper.grids import grid

GROUPS = ("macro", *CLASSES)


def measured(results: Results) -> Measured:
    return measure(results, resamples=300, seed=0)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One seed."""
    return grid(tmp_path_factory.mktemp("one"), seeds=(0,))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return grid(tmp_path_factory.mktemp("three"), ["baseline", "set3_guided"], (0, 1, 2))


def test_figures_and_paired_differences_of_one_seed_are_those_of_compare(one: Results) -> None:
    found = measured(one)
    runs = [one.runs[name][0] for name in ("baseline", "no_decoder", "set3_guided")]
    compared = compare(runs, resamples=300)
    names = dict(zip(compared.names, ("baseline", "no_decoder", "set3_guided"), strict=True))
    for run, name in names.items():
        for group in GROUPS:
            row = compared.table.row(by_predicate=_is(run=run, metric="auc", group=group), named=True)
            assert found.auc[name][group]["value"] == pytest.approx(row["value"])
            assert found.auc[name][group]["low"] == pytest.approx(row["low"], abs=0.04)
        for kind in ("heatmap", "lung_shape"):
            row = compared.table.row(by_predicate=_is(run=run, metric="nss", map=kind), named=True)
            assert found.agreement[name][kind]["nss"]["value"] == pytest.approx(row["value"])
    for run, name in list(names.items())[1:]:
        figures = [("auc", g, None, g) for g in GROUPS] + [("nss", None, "heatmap", "nss")]
        for metric, group, kind, figure in figures:
            is_it = _is(run=run, metric=metric, group=group, map=kind)
            row = compared.paired.row(by_predicate=is_it, named=True)
            entry = found.differences["baseline"][name][figure]
            assert entry["value"] == pytest.approx(row["difference"])
            assert entry["low"] == pytest.approx(row["low"], abs=0.04)
            assert entry["p"] == pytest.approx(row["p_bootstrap_holm"], abs=0.1)


def _is(**values: str | None) -> pl.Expr:
    return pl.all_horizontal(pl.col(name).eq_missing(pl.lit(value)) for name, value in values.items())


def test_over_seeds_a_difference_is_the_mean_of_the_differences(three: Results) -> None:
    found = measured(three)
    by_seed = [found.seeds["set3_guided"][s]["CHF"] - found.seeds["baseline"][s]["CHF"] for s in (0, 1, 2)]  # type: ignore[operator]
    assert found.differences["baseline"]["set3_guided"]["CHF"]["value"] == pytest.approx(np.mean(by_seed))
    reverse = found.differences["set3_guided"]["baseline"]["CHF"]
    assert reverse["value"] == pytest.approx(-np.mean(by_seed))
    assert set(found.differences["baseline"]) == {"set3_guided"}


def test_over_seeds_the_interval_counts_seeds_as_evaluation_does(three: Results) -> None:
    found = measured(three)
    tests = [run.predictions().filter(pl.col("split") == "test") for run in three.runs["baseline"].values()]
    draws = bootstraps(tests, CLASSES, resamples=300, seed=0)
    estimates = [
        score(test, CLASSES, own, ("auc",))["auc", "CHF"] for test, own in zip(tests, draws, strict=True)
    ]
    assert found.auc["baseline"]["CHF"] == across(estimates, (0, 1)).entry()


def test_only_seeds_with_the_same_test_cases_are_paired(three: Results) -> None:
    runs = three.runs
    turned = {**runs, "set3_guided": {0: runs["set3_guided"][0], 1: runs["set3_guided"][2]}}
    found = measured(Results("honest", "validation", turned, {}))
    expected = found.seeds["set3_guided"][0]["macro"] - found.seeds["baseline"][0]["macro"]  # type: ignore[operator]
    assert found.differences["baseline"]["set3_guided"]["macro"]["value"] == pytest.approx(expected)
    apart = {"baseline": {0: runs["baseline"][0]}, "set3_guided": {0: runs["set3_guided"][1]}}
    found = measured(Results("honest", "validation", apart, {}))
    assert found.differences["baseline"] == {}
    assert "Set 3, guided shared no test cases with the baseline" in found.notes[0]


def test_agreement_measured_with_another_generator_is_shown_but_not_compared(tmp_path: Path) -> None:
    found = grid(tmp_path, ["baseline", "set3_guided"], [0])
    file = found.runs["set3_guided"][0].path / "metrics.json"
    metrics = json.loads(file.read_text(encoding="utf-8"))
    metrics["settings"]["generator"] = "grad_cam"
    file.write_text(json.dumps(metrics), encoding="utf-8")
    of = measured(found)
    assert "nss" not in of.differences["baseline"]["set3_guided"]
    assert of.agreement["set3_guided"]["heatmap"]["nss"]["value"] is not None
    assert any("Heatmaps of Set 3, guided are not compared" in note for note in of.notes)


def test_the_best_is_chosen_on_validation_cases_unless_test_cases_chose_already(one: Results) -> None:
    found = measured(one)
    by = {name: found.seeds[name][0] for name in found.auc}
    assert found.best == max(by, key=lambda name: by[name]["validation"] or 0)
    stamped = measured(Results("faithful", "test", one.runs, {}))
    assert stamped.best == max(by, key=lambda name: by[name]["macro"] or 0)


def test_a_run_without_agreement_has_aucs_all_the_same(tmp_path: Path) -> None:
    found = grid(tmp_path, ["baseline"], [0])
    (found.runs["baseline"][0].path / "agreement.parquet").unlink()
    of = measured(found)
    assert of.agreement["baseline"] == {}
    assert of.seeds["baseline"][0]["nss"] is None
    assert of.auc["baseline"]["macro"]["value"] is not None
