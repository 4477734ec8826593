from dataclasses import replace

import pytest

from radgaze.evaluation.across_runs import SeedMean
from radgaze.reporting.paper.reference import FIGURES, published
from radgaze.reporting.paper.table_set import Cell, beside_words, cell_words, difference_words, tables
from radgaze.reporting.statistics_words import CAUTION
from tests.reporting.paper.grids import REASON, change, made, mean, results

PAPER = ["temporal", "temporal_image_only", "no_decoder", "baseline"]
ALL = [
    *PAPER,
    "set1_guided",
    "set1_deconvnet",
    "set2_guided",
    "set2_deconvnet",
    "set3_guided",
    "set3_deconvnet",
]


def test_each_experiment_stands_in_its_table_and_sets_have_the_baseline_above() -> None:
    names = [*ALL, "set3_grad_cam", "all_edges_guided", "pylon", "another"]
    found = tables(results(names), made(dict.fromkeys(names, 0.8)))
    assert [table.number for table in found] == [1, 2, 3, 4, 5]
    rows = [[row.experiment for row in table.rows] for table in found]
    assert rows[0] == PAPER
    assert rows[1] == ["baseline", "set1_guided", "set1_deconvnet"]
    assert rows[2] == ["baseline", "set2_guided", "set2_deconvnet"]
    assert rows[3] == ["baseline", *ALL[-2:], "set3_grad_cam", "all_edges_guided", "pylon", "another"]


def test_attempted_experiments_of_other_families_stand_in_a_further_table_below_the_baseline() -> None:
    names = ["baseline", "rrr", "exchange_guided"]
    found = tables(results(names, failed={("gain", 0): REASON}), made(dict.fromkeys(names, 0.8)))
    assert found[-1].number == 6
    assert found[-1].caption == "Experiments of other families: Comparison and Counterfactual"
    rows = {row.experiment: row.reason for row in found[-1].rows}
    assert {*rows} == {*names, "gain"}
    assert next(iter(rows)) == "baseline"
    assert rows["gain"].startswith("failed: CUDA out of memory")


def test_table_5_sets_the_best_against_the_baseline_with_the_paired_difference() -> None:
    difference = {g: change(0.05, 0.02, p=0.01) for g in ("macro", "Normal", "CHF", "pneumonia")}
    estimates = made(
        {"baseline": 0.8, "set1_guided": 0.9, "set3_guided": 0.85}, {"baseline": {"set1_guided": difference}}
    )
    rows = tables(results(["baseline", "set1_guided", "set3_guided"]), estimates)[4].rows
    assert [(row.experiment, row.paired) for row in rows] == [
        ("baseline", False),
        ("set3_guided", False),
        ("set1_guided", False),
        ("set1_guided", True),
    ]
    assert rows[1].title == "Set 3, guided (the paper's best)"
    assert rows[2].title == "Set 1, guided (best here)"
    assert cell_words(rows[3].cells["CHF"]) == "+0.050 (0.030 to 0.070)"
    assert beside_words(rows[3].cells["CHF"]) == ("Holm p 0.010",)


def test_the_papers_best_is_named_once_where_it_is_best_here_too() -> None:
    rows = tables(results(["baseline", "set3_guided"]), made({"baseline": 0.8, "set3_guided": 0.9}))[4].rows
    assert [row.title for row in rows] == ["Baseline U-Net", "Set 3, guided (the paper's best, best here)"]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.86, 0.89, "−0.002, inside"), (0.873, 0.89, "−0.002, outside"), (0.872, 0.89, "−0.002, inside")],
)
def test_the_difference_says_whether_the_published_figure_lies_within_our_interval(
    low: float, high: float, words: str
) -> None:
    cell = Cell(SeedMean(0.870, low, high), published("baseline", "macro"))
    assert difference_words(cell) == words


def test_a_figure_is_written_in_the_papers_form() -> None:
    cell = Cell(SeedMean(0.9141, 0.86, 0.966), published("set3_guided", "macro"))
    assert cell_words(cell) == "0.914 (0.860–0.966)"
    assert beside_words(cell) == ("published 0.913 (0.860–0.966)", "difference +0.001, inside")


def test_what_is_not_known_is_said_and_never_made_up() -> None:
    assert published("set3_guided", "Normal") is None
    assert published("set1_guided", "macro") is None
    cell = Cell(mean(0.8), published("set1_guided", "macro"))
    assert beside_words(cell) == ("published not known here",)
    known = {name: len(figures) for name, figures in FIGURES.items()}
    assert known == {"temporal": 4, "temporal_image_only": 4, "baseline": 4, "set3_guided": 3}


def test_published_figures_do_not_stand_beside_other_classes() -> None:
    classes = ("No finding", "pneumonia")
    table = tables(results(["baseline"], classes=classes), made({"baseline": 0.8}, classes=classes))[0]
    row = next(row for row in table.rows if row.experiment == "baseline")
    assert {beside_words(cell) for cell in row.cells.values()} == {()}
    assert "The published figures are of other classes and are left out." in table.notes


def test_failed_and_missing_experiments_keep_their_rows() -> None:
    found = tables(results(["baseline"], failed={("set1_guided", 0): REASON}), made({"baseline": 0.8}))
    reasons = {row.experiment: row.reason for table in found for row in table.rows}
    assert reasons["set1_guided"].startswith("failed: CUDA out of memory")
    assert reasons["set2_guided"] == "not run"
    assert reasons["baseline"] == ""


def test_every_table_is_stamped_where_test_cases_chose_the_checkpoint() -> None:
    for table in tables(results(["baseline"], selection="test"), made({"baseline": 0.8})):
        assert "SELECTED ON TEST" in table.stamp


def test_of_two_seeds_no_interval_is_shown_and_no_published_figure_is_inside_it() -> None:
    two = SeedMean(0.872, seeds=2)
    cell = Cell(two, published("baseline", "macro"))
    assert cell_words(cell) == "0.872 (too few runs)"
    assert cell.inside is None
    assert beside_words(cell) == ("published 0.872", "difference 0.000")
    estimates = made({"baseline": 0.8})
    estimates.auc["baseline"]["macro"] = two
    notes = " ".join(tables(results(["baseline"]), estimates)[0].notes)
    assert "two seeds make no interval, at least 3 are needed" in notes


def test_one_seed_among_several_is_named_for_its_interval_is_of_cases_alone() -> None:
    estimates = made({"baseline": 0.8, "no_decoder": 0.7})
    for name, seeds in {"baseline": 3, "no_decoder": 1}.items():
        for group, auc in estimates.auc[name].items():
            estimates.auc[name][group] = replace(auc, seeds=seeds)
    first, second, *_ = tables(results(["baseline", "no_decoder"]), estimates)
    assert "One seed only: No decoder. Such an interval is over the cases alone." in first.notes
    assert not any("One seed only" in note for note in second.notes)


def test_an_auc_of_1_without_an_intervals_width_carries_a_caution() -> None:
    cell = Cell(SeedMean(1.0, 1.0, 1.0))
    assert cell_words(cell) == "1.000 (1.000–1.000) †"
    estimates = made({"baseline": 1.0})
    assert CAUTION not in tables(results(["baseline"]), estimates)[0].notes
    estimates.auc["baseline"]["CHF"] = cell.estimate
    assert CAUTION in tables(results(["baseline"]), estimates)[0].notes


def test_a_difference_of_too_few_patients_has_the_reason_in_the_place_of_its_p_value() -> None:
    few = change(0.05, 0.02, patients=5, discordant=5, p=0.001)
    assert beside_words(Cell(few)) == ("too few patients (5; at least 20)",)
    enough = change(0.05, 0.02, patients=50, discordant=50, p=0.0109, p_is_bound=True)
    assert beside_words(Cell(enough)) == ("Holm p ≤ 0.011",)
