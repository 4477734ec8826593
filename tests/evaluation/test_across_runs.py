import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radgaze.evaluation.across_runs import GridEstimates, estimate_grid
from radgaze.evaluation.classification import class_estimates
from radgaze.evaluation.comparison import compare
from radgaze.evaluation.comparison_options import CompareOptions
from radgaze.evaluation.statistics.across_seeds import across
from radgaze.evaluation.statistics.case_means import mean_interval, mean_p
from radgaze.evaluation.statistics.policy import bootstraps
from radgaze.reporting.paper import Results
from radgaze.reporting.paper.limitations import limits
from tests.evaluation.known import known
from tests.evaluation.strata import strata_drawn
from tests.reporting.fakes import CLASSES
from tests.reporting.paper.grids import grid

GROUPS = ("macro", *CLASSES)


def estimated(results: Results, *, resamples: int = 300) -> GridEstimates:
    return estimate_grid(
        {name: results.runs[name] for name in results.experiments},
        results.classes,
        ("baseline", "set3_guided"),
        paper_intervals=results.has_paper_intervals,
        selected_on_test=bool(results.stamp),
        resamples=resamples,
        seed=0,
    )


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One seed."""
    return grid(tmp_path_factory.mktemp("one"), seeds=(0,))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return grid(tmp_path_factory.mktemp("three"), ["baseline", "set3_guided"], (0, 1, 2))


def test_figures_and_paired_differences_of_one_seed_are_those_of_compare(one: Results) -> None:
    found = estimated(one)
    runs = [one.runs[name][0] for name in ("baseline", "no_decoder", "set3_guided")]
    compared = compare(runs, CompareOptions(resamples=300))
    names = dict(zip(compared.names, ("baseline", "no_decoder", "set3_guided"), strict=True))
    for run, name in names.items():
        for group in GROUPS:
            row = compared.table.row(by_predicate=_is(run=run, metric="auc", group=group), named=True)
            assert found.auc[name][group].value == pytest.approx(row["value"])
            assert found.auc[name][group].low == pytest.approx(row["low"], abs=0.04)
        for kind in ("heatmap", "lung_shape"):
            row = compared.table.row(by_predicate=_is(run=run, metric="nss", map=kind), named=True)
            assert found.agreement[name][kind]["nss"].value == pytest.approx(row["value"])
    for run, name in list(names.items())[1:]:
        figures = {g: {"metric": "auc", "group": g, "map": None} for g in GROUPS}
        figures["nss"] = {"metric": "nss", "group": None, "map": "heatmap"}
        for figure, which in figures.items():
            is_it = _is(run=run, **which)
            row = compared.paired.row(by_predicate=is_it, named=True)
            entry = found.differences["baseline"][name][figure]
            assert entry.value == pytest.approx(row["difference"])
            assert entry.low == pytest.approx(row["low"], abs=0.04)
            assert entry.p == pytest.approx(row["p_bootstrap_holm"], abs=0.1)


def test_aucs_are_resampled_within_classes_and_maps_over_all_cases(
    one: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = strata_drawn(monkeypatch)
    estimated(one, resamples=20)
    test = one.runs["baseline"][0].predictions().filter(split="test")
    assert drawn[0] == (test.height, len(CLASSES))
    assert all(strata <= 1 for _, strata in drawn[1:])


def test_maps_of_one_seed_on_few_patients_have_the_interval_of_a_mean_of_few(tmp_path: Path) -> None:
    results = grid(tmp_path, ["baseline", "set3_guided"], (0,), test_cases=24)
    found, tables = estimated(results), []
    for name in ("baseline", "set3_guided"):
        run = results.runs[name][0]
        test = run.predictions().filter(pl.col("split") == "test")
        own = pl.read_parquet(run.path / "agreement.parquet").filter(pl.col("map") == "heatmap")
        tables.append(test.select("case_id", "patient").join(own.drop("patient"), on="case_id"))
    first, second = tables
    patients, figures = first["patient"].to_numpy(), [table["nss"].to_numpy() for table in tables]
    assert first["case_id"].equals(second["case_id"])
    heatmap, change = (
        found.agreement["set3_guided"]["heatmap"]["nss"],
        found.differences["baseline"]["set3_guided"],
    )
    assert (heatmap.low, heatmap.high) == pytest.approx(mean_interval(figures[1], patients))
    expected = mean_interval(figures[1] - figures[0], patients)
    assert (change["nss"].low, change["nss"].high) == pytest.approx(expected)
    assert change["nss"].p == pytest.approx(mean_p(figures[1] - figures[0], patients))


def _is(**values: str | None) -> pl.Expr:
    return pl.all_horizontal(pl.col(name).eq_missing(pl.lit(value)) for name, value in values.items())


def test_over_seeds_a_difference_is_the_mean_of_the_differences(three: Results) -> None:
    found = estimated(three)
    new, old = (
        [known(found.seeds[name][s]["CHF"]) for s in (0, 1, 2)] for name in ("set3_guided", "baseline")
    )
    by_seed = [a - b for a, b in zip(new, old, strict=True)]
    assert found.differences["baseline"]["set3_guided"]["CHF"].value == pytest.approx(np.mean(by_seed))
    reverse = found.differences["set3_guided"]["baseline"]["CHF"]
    assert reverse.value == pytest.approx(-np.mean(by_seed))
    assert set(found.differences["baseline"]) == {"set3_guided"}


def test_over_seeds_the_interval_counts_seeds_as_evaluation_does(three: Results) -> None:
    found = estimated(three)
    tests = [run.predictions().filter(pl.col("split") == "test") for run in three.runs["baseline"].values()]
    draws = bootstraps(tests, CLASSES, resamples=300, seed=0)
    estimates = [
        class_estimates(test, CLASSES, own, ("auc",))["auc", "CHF"]
        for test, own in zip(tests, draws, strict=True)
    ]
    auc, expected = found.auc["baseline"]["CHF"], across(estimates, (0, 1))
    assert (auc.value, (auc.low, auc.high), auc.seeds) == (expected.value, expected.interval, 3)


def test_only_seeds_with_the_same_test_cases_are_paired(three: Results) -> None:
    runs = three.runs
    turned = {**runs, "set3_guided": {0: runs["set3_guided"][0], 1: runs["set3_guided"][2]}}
    found = estimated(Results("honest", "validation", turned, {}))
    new, old = (known(found.seeds[name][0]["macro"]) for name in ("set3_guided", "baseline"))
    assert found.differences["baseline"]["set3_guided"]["macro"].value == pytest.approx(new - old)
    apart = {"baseline": {0: runs["baseline"][0]}, "set3_guided": {0: runs["set3_guided"][1]}}
    results = Results("honest", "validation", apart, {})
    found = estimated(results)
    assert found.differences["baseline"] == {}
    said = " ".join(limits(results, found))
    assert "Set 3, guided shared no test cases with the baseline" in said


def test_agreement_measured_with_another_generator_is_shown_but_not_compared(tmp_path: Path) -> None:
    found = grid(tmp_path, ["baseline", "set3_guided"], [0])
    file = found.runs["set3_guided"][0].path / "metrics.json"
    metrics = json.loads(file.read_text(encoding="utf-8"))
    metrics["settings"]["generator"] = "grad_cam"
    file.write_text(json.dumps(metrics), encoding="utf-8")
    of = estimated(found)
    assert "nss" not in of.differences["baseline"]["set3_guided"]
    assert of.agreement["set3_guided"]["heatmap"]["nss"].value is not None
    assert any("Heatmaps of Set 3, guided are not compared" in sentence for sentence in limits(found, of))


def test_the_best_is_chosen_on_validation_cases_unless_test_cases_chose_already(one: Results) -> None:
    found = estimated(one)
    by = {name: found.seeds[name][0] for name in found.auc}
    assert found.best == max(by, key=lambda name: by[name]["validation"] or 0)
    stamped = estimated(Results("faithful", "test", one.runs, {}))
    assert stamped.best == max(by, key=lambda name: by[name]["macro"] or 0)


def test_a_run_without_agreement_has_aucs_all_the_same(tmp_path: Path) -> None:
    found = grid(tmp_path, ["baseline"], [0])
    (found.runs["baseline"][0].path / "agreement.parquet").unlink()
    of = estimated(found)
    assert of.agreement["baseline"] == {}
    assert of.seeds["baseline"][0]["nss"] is None
    assert of.auc["baseline"]["macro"].value is not None


def test_over_seeds_a_difference_says_what_could_have_been_found(three: Results) -> None:
    found = estimated(three, resamples=200).differences["baseline"]
    m = len(found)
    for of in found.values():
        for group in ("macro", *CLASSES):
            entry = of[group]
            assert entry.detectable_at == pytest.approx(0.05 / m)
            # Larger than half the 95% interval: a difference so large would be found half the time.
            assert entry.detectable is None or entry.detectable > (known(entry.high) - known(entry.low)) / 2
        assert "For ±0.05: " in known(of["macro"].needed)
        assert of["CHF"].needed is None


def test_over_two_seeds_nothing_is_said_of_what_could_have_been_found(three: Results) -> None:
    two = replace(three, runs={name: dict(list(of.items())[:2]) for name, of in three.runs.items()})
    for of in estimated(two, resamples=50).differences["baseline"].values():
        for entry in of.values():
            assert entry.detectable is None
            assert entry.detectable_note == "too few runs (2; at least 3)"


def test_two_seeds_have_a_mean_but_no_interval_and_no_p_value(three: Results) -> None:
    two = {name: {s: runs[s] for s in (0, 1)} for name, runs in three.runs.items()}
    found = estimated(Results("honest", "validation", two, {}))
    change = found.differences["baseline"]["set3_guided"]
    of_maps = found.agreement["baseline"]["heatmap"]["nss"]
    for entry in (found.auc["baseline"]["CHF"], of_maps, change["macro"], change["nss"]):
        assert entry.value is not None
        assert (entry.low, entry.high, entry.seeds) == (None, None, 2)
    assert change["macro"].p is None


def test_a_difference_says_on_how_many_patients_it_rests_and_on_how_many_the_runs_differ(
    one: Results,
) -> None:
    change = estimated(one).differences["baseline"]["set3_guided"]
    tables = [
        one.runs[n][0].predictions().filter(pl.col("split") == "test") for n in ("baseline", "set3_guided")
    ]
    patients = tables[0]["patient"].to_numpy()
    truth = tables[0]["label_CHF"].to_numpy() > 0
    below = []
    for table in tables:  # how many cases of the other side each one beats, pair by pair
        p = table["probability_CHF"].to_numpy()
        beats = (p[:, None] > p[None, :]) + (p[:, None] == p[None, :]) / 2
        below.append((beats * (truth[:, None] != truth[None, :])).sum(1))
    assert change["CHF"].patients == len(set(patients))
    assert change["CHF"].discordant == len(set(patients[below[0] != below[1]]))
    assert change["CHF"].comparisons == 2
    assert 0 < known(change["nss"].discordant) <= known(change["nss"].patients) <= len(set(patients))
