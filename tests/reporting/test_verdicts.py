from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radgaze.evaluation.baseline_comparison import BaselineDifferences
from radgaze.evaluation.baseline_comparison import baseline_differences as differences_of
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.statistics.decision import Difference
from radgaze.evaluation.statistics.policy import resampling_of
from radgaze.evaluation.summary import agreement_summary
from radgaze.reporting.verdicts import chance_sentence, floor_sentence
from radgaze.reporting.wording import AGREEMENT
from tests.evaluation.known import known
from tests.reporting.fakes import FakeRun, agreement_table


def baseline_differences(
    table: pl.DataFrame, kind: str, run: FakeRun, **settings: object
) -> BaselineDifferences:
    return differences_of(table, kind, run.test(), {"resamples": 200, **settings})


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path / "run")


def test_differences_are_the_paired_means_positive_where_better(run: FakeRun) -> None:
    table = agreement_table(run, heatmap=1.2, mask=0.0)
    found = baseline_differences(table, "heatmap", run)
    wide = table.pivot(on="map", index="case_id", values=["nss", "kl"])
    nss = (wide["nss_heatmap"] - wide["nss_mean_gaze"]).mean()
    kl = (wide["kl_mean_gaze"] - wide["kl_heatmap"]).mean()
    assert found["nss"]["mean_gaze"].value == pytest.approx(nss)
    assert found["kl"]["mean_gaze"].value == pytest.approx(kl)


def test_pairing_does_not_depend_on_the_order_of_rows(run: FakeRun) -> None:
    table = agreement_table(run, heatmap=1.2, mask=0.0)
    floors = pl.col("map") != "heatmap"
    turned = pl.concat([table.filter(~floors), table.filter(floors).reverse()])
    assert baseline_differences(turned, "heatmap", run) == baseline_differences(table, "heatmap", run)


def test_a_map_well_above_the_floors_is_called_better_and_one_below_is_not(run: FakeRun) -> None:
    table = agreement_table(run, heatmap=0.2, mask=2.0)
    good, of_mask = floor_sentence("mask", baseline_differences(table, "mask", run)) or (False, "")
    bad, of_heatmap = floor_sentence("heatmap", baseline_differences(table, "heatmap", run)) or (True, "")
    assert good
    assert not bad
    assert of_mask.startswith("Mask against the floors, case by case: better than both floors on NSS")
    assert "no better than a map that never saw the case" in of_heatmap
    wide = Difference.of({"value": 0.4, "low": -0.05, "high": 0.85, "patients": 40, "discordant": 40})
    _, undecided = floor_sentence("heatmap", {"nss": {"mean_gaze": wide}}) or (True, "")
    assert undecided.endswith("better than a map that never saw the case is not shown.")


def test_equal_maps_are_not_distinguishable(run: FakeRun) -> None:
    table = agreement_table(run, heatmap=0.5, mask=0.5)
    values = table.filter(pl.col("map") == "heatmap").select("case_id", "patient", *AGREEMENT)
    noise = np.random.default_rng(0)
    floors = [
        values.with_columns(
            map=pl.lit(floor), **{m: values[m] + noise.normal(size=values.height) for m in AGREEMENT}
        )
        for floor in ("mean_gaze", "lung_shape")
    ]
    columns = ["case_id", "patient", "map", *AGREEMENT]
    own = values.with_columns(map=pl.lit("heatmap"))
    found = baseline_differences(pl.concat([t.select(columns) for t in (own, *floors)]), "heatmap", run)
    even = [
        m
        for m, by_floor in found.items()
        if all(known(e.low) <= 0 <= known(e.high) for e in by_floor.values())
    ]
    assert len(even) >= 4  # of 6, at 95% each
    _, sentence = floor_sentence("heatmap", found) or (True, "")
    assert "not distinguishable from the better floor" in sentence


def test_without_the_map_nothing_is_said(run: FakeRun) -> None:
    run = replace(run, decoder=False)
    found = baseline_differences(agreement_table(run, 1.0, 1.0), "mask", run)
    assert found == {}
    assert floor_sentence("mask", found) is None


def test_classes_at_chance_are_named() -> None:
    auc = {
        "CHF": {"value": 0.6, "low": 0.45, "high": 0.7},
        "Normal": {"value": 0.9, "low": 0.8, "high": 0.95},
        "pneumonia": {"value": None, "low": None, "high": None},
    }
    assert chance_sentence(auc, ("Normal", "CHF", "pneumonia")).startswith("CHF is not distinguishable")
    assert chance_sentence(auc, ("Normal",)) == ""
    reversed_order = {"CHF": {"value": 0.2, "low": 0.1, "high": 0.35}}
    assert chance_sentence(reversed_order, ["CHF"]).startswith("CHF is predicted worse than by chance")


@pytest.mark.parametrize(
    "settings", [{"interval": "bootstrap", "resamples": 37, "seed": 5}, {"interval": "paper", "seed": 5}]
)
def test_verdicts_draw_the_cases_as_the_tables_beside_them_do(
    run: FakeRun, settings: dict[str, object]
) -> None:
    # The mean of a floor that is 0 everywhere is the mean itself: the interval must be the table's.
    table = agreement_table(run, heatmap=0.3, mask=1.0)
    nothing = table.filter(map="heatmap").with_columns(
        map=pl.lit("mean_gaze"), **dict.fromkeys(AGREEMENT, 0.0)
    )
    columns = table.columns
    table = pl.concat([table.filter(map="heatmap"), nothing.select(columns)])
    cases = run.test()
    of_table = agreement_summary(table, resampling_of(cases, settings), ("nss",))
    found = differences_of(table, "heatmap", cases, settings)["nss"]["mean_gaze"]
    assert IntervalEstimate(found.value, found.low, found.high) == known(of_table["heatmap"])["nss"]
    other = differences_of(table, "heatmap", cases, {**settings, "seed": 6})
    assert other["nss"]["mean_gaze"].low != found.low


def test_on_few_patients_there_is_a_number_and_no_verdict(run: FakeRun) -> None:
    table = agreement_table(run, heatmap=9.0, mask=0.0)
    few = run.test().filter(pl.col("patient").is_in(run.test()["patient"].unique(maintain_order=True)[:8]))
    found = differences_of(table, "heatmap", few, {"resamples": 100})
    assert known(found["nss"]["mean_gaze"].low) > 0
    good, sentence = floor_sentence("heatmap", found) or (True, "")
    assert not good
    assert "no verdict, too few patients (8; at least 20)" in sentence
