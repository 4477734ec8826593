"""The page and tables of the matrix of reasons, from made-up runs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from radgaze.errors import UserError
from radgaze.evaluation.results import RELIANCE
from radgaze.reporting import reasons
from radgaze.reporting.reasons import ReasonsResults
from radgaze.reporting.reasons.overview import overview
from radgaze.reporting.reasons.worlds import estimate_world
from radgaze.runs.run import Run
from tests.reporting.fakes import CLASSES
from tests.reporting.reasons.worlds import reasons_of, runs_on

SEEDS = (0, 1, 2)
NAMES = ("baseline", "exchange", "exchange+shuffled")


def macro(runs: dict[int, Run]) -> float:
    aucs = []
    for run in runs.values():
        test = run.predictions().filter(split="test")
        truth, scores = (
            test.select([f"{kind}_{c}" for c in CLASSES]).to_numpy() for kind in ("label", "probability")
        )
        aucs.append(roc_auc_score(truth, scores))
    return float(np.mean(aucs))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ReasonsResults:
    """Marker has the clean store's test patients; device has others, and no twins; a run failed on it."""
    folder = tmp_path_factory.mktemp("reasons")
    stores = {
        "clean": runs_on(folder / "clean", ["baseline"], SEEDS, skill=1.4, twins=False),
        "marker": runs_on(folder / "marker", NAMES, SEEDS),
        "device": runs_on(folder / "device", NAMES[:2], SEEDS, cases=3, twins=False),
    }
    return reasons_of(stores, {"device": {("set3_guided", 1): "diverged"}})


@pytest.fixture(scope="module")
def written(results: ReasonsResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page")
    assert reasons.write(results, out, resamples=100) == out / "index.html"
    return out


def rows_of(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return {tuple(row[k] for k in list(row)[:3]): row for row in csv.DictReader(file)}


def test_the_table_has_what_a_computation_by_hand_gives(results: ReasonsResults, written: Path) -> None:
    rows = rows_of(written / "tables" / "reasons.csv")
    clean = macro(dict(results.stores["clean"].runs["baseline"]))
    for store, names in (("marker", NAMES[1:]), ("device", NAMES[1:2])):
        runs = results.stores[store].runs
        base = macro(dict(runs["baseline"]))
        assert float(rows[store, "baseline", "gap"]["value"]) == pytest.approx(clean - base)
        for name in names:
            auc, row = macro(dict(runs[name])), rows[store, name, "gap closed"]
            assert float(rows[store, name, "auc"]["value"]) == pytest.approx(auc)
            assert float(row["value"]) == pytest.approx((auc - base) / (clean - base))
            assert float(row["low"]) < float(row["value"]) < float(row["high"])
    for name in NAMES:
        tables = [
            pl.read_parquet(run.path / RELIANCE) for run in results.stores["marker"].runs[name].values()
        ]
        expected = np.mean([table["flips"].mean() for table in tables])
        assert float(rows["marker", name, "flips"]["value"]) == pytest.approx(expected)
    assert ("device", "exchange", "reliance") not in rows
    assert ("marker", "exchange+shuffled", "auc minus baseline") not in rows


def test_the_page_leads_with_the_figure_and_says_what_the_controls_showed(written: Path) -> None:
    page = (written / "index.html").read_text(encoding="utf-8")
    figure, first_table = page.index("<figure"), page.index("<table")
    assert figure < first_table
    assert (written / "figures" / "reasons.png").is_file()
    assert "distinguishable from the gaze on a case of another patient (shuffled)" in page
    assert "all AUCs are on the same resamples of them" in page
    assert "for all seeds the clean store has other test patients" in page
    assert "Reliance was not measured: no test case has twins." in page
    assert "failed: diverged" in page
    assert {path.name for path in (written / "tables" / "marker").iterdir()} == {
        f"{name}.{kind}" for name in ("controls", "power", "reliance") for kind in ("csv", "md")
    }
    assert not (written / "tables" / "device" / "reliance.csv").exists()
    control = rows_of(written / "tables" / "marker" / "controls.csv")["exchange", "shuffled", "macro"]
    assert control["verdict"] in ("better", "even")


def test_without_a_clean_store_the_gap_is_undefined_in_words(results: ReasonsResults, tmp_path: Path) -> None:
    reasons.write(ReasonsResults(results.confounded), tmp_path, resamples=50)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "The gap closed is undefined: no run of the baseline on a clean store is finished." in page
    row = rows_of(tmp_path / "tables" / "reasons.csv")["marker", "exchange", "gap closed"]
    assert (row["value"], row["undefined"]) == ("", "no clean run")


def test_a_gap_that_may_be_zero_divides_nothing(results: ReasonsResults, tmp_path: Path) -> None:
    equal = runs_on(tmp_path / "clean", ["baseline"], SEEDS, skill=0.4, twins=False)
    both = {"clean": equal, "marker": results.stores["marker"].runs}
    world = estimate_world("marker", reasons_of(both), resamples=50, seed=0)
    assert {gap.value for gap in world.gaps.closed.values()} == {None}
    assert "The gap closed is undefined: the interval of the gap is not above 0" in world.gap_words[-1]
    assert world.gap_words[0].startswith("The baseline has a mean AUC of 0.")


def test_the_figure_draws_each_experiment_with_its_controls_in_a_panel_per_store(
    results: ReasonsResults,
) -> None:
    worlds = [estimate_world(name, results, resamples=50, seed=0) for name in results.confounded]
    axes = overview(worlds).axes
    assert [axis.get_title(loc="left") for axis in axes] == [
        *("marker: gap closed", "Reliance", "device: gap closed", "Reliance"),
    ]
    marker, relied, _, without = axes
    assert [label.get_text() for label in marker.get_yticklabels()] == ["Baseline U-Net", "Exchange"]
    own = worlds[0].gaps.closed["exchange"].value
    drawn = set()
    for line in marker.get_lines():
        x = np.asarray(line.get_xdata(), dtype=np.float64)
        drawn |= {(str(line.get_marker()), float(x[0]))} if x.size == 1 else set()
    assert ("o", own) in drawn
    assert ("s", worlds[0].gaps.closed["exchange+shuffled"].value) in drawn
    assert len([line for line in relied.get_lines() if line.get_marker() in ("o", "s")]) == 3
    assert "Reliance was not measured" in " ".join(without.texts[0].get_text().split())


def test_a_store_without_a_finished_run_is_told_and_a_grid_without_any_refused(
    results: ReasonsResults, tmp_path: Path
) -> None:
    stores = {name: dict(results.stores[name].runs) for name in ("clean", "marker")}
    failed = {"detector": {("baseline", 0): "out of memory"}}
    reasons.write(reasons_of({**stores, "detector": {}}, failed), tmp_path, resamples=50)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "No run on detector is finished. failed: out of memory" in page
    with pytest.raises(UserError, match="no run is finished"):
        reasons.write(reasons_of({"marker": {}}), tmp_path)
