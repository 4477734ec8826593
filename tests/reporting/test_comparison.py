import re
from pathlib import Path

import pytest

from radgaze.evaluation.comparison import Comparison, compare
from radgaze.evaluation.comparison_options import CompareOptions
from radgaze.reporting import intervals
from radgaze.reporting.comparison_page import comparison, findings
from radgaze.reporting.wording import number
from tests.reporting.fakes import CLASSES, FakeRun, draw, evaluated, gone
from tests.reporting.lines import x_of
from tests.reporting.pages import Page, assert_accessible, assert_self_contained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[FakeRun]:
    runs = [
        FakeRun(folder / "a", experiment="baseline", skill=1.2),
        FakeRun(folder / "b", skill=2.2, seed=3),
        FakeRun(folder / "c", experiment="no_decoder", skill=1.2, seed=4, decoder=False),
    ]
    for run, heatmap in zip(runs, (-0.3, 1.2, -0.3), strict=True):
        evaluated(run, heatmap=heatmap)
    return runs


@pytest.fixture(scope="module")
def compared(runs: list[FakeRun]) -> Comparison:
    return compare(runs, CompareOptions(resamples=200))


@pytest.fixture(scope="module")
def page(runs: list[FakeRun], compared: Comparison, folder: Path) -> str:
    return comparison(runs, folder / "out", compared, draw=draw).read_text(encoding="utf-8")


def test_the_page_is_balanced_self_contained_and_accessible(page: str) -> None:
    assert_self_contained(page)
    assert_accessible(page)


def test_every_value_and_difference_is_in_the_page(page: str, compared: Comparison) -> None:
    text = Page(page).text
    for row in compared.table.filter(metric="auc").iter_rows(named=True):
        assert f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]" in text
    for row in compared.paired.filter(metric="auc").iter_rows(named=True):
        sign = "+" if row["difference"] > 0 else ""
        assert f"{sign}{number(row['difference'])} [{number(row['low'])}, {number(row['high'])}]" in text


def test_the_findings_call_a_difference_only_what_its_interval_allows(compared: Comparison) -> None:
    macro = [s for s in findings(compared) if s.startswith("Macro AUC")]
    rows = compared.paired.filter(metric="auc", group="macro")
    assert len(macro) == 2
    for sentence, row in zip(macro, rows.iter_rows(named=True), strict=True):
        assert ("not distinguishable from 0" in sentence) == (row["low"] <= 0 <= row["high"])
    assert "not distinguishable" not in macro[0]  # 1.2 against 2.2 of skill
    assert "not distinguishable" in macro[1]  # the same skill


def test_a_lower_kl_is_called_better(compared: Comparison, page: str) -> None:
    row = compared.paired.filter(run="b", metric="kl", map="heatmap").row(0, named=True)
    assert row["high"] < 0
    assert (
        f"KL, heatmap {number(row['difference'])} [{number(row['low'])}, {number(row['high'])}] better"
        in Page(page).text
    )


def test_the_same_cases_go_through_every_run(page: str) -> None:
    shown = Page(page)
    cases = page.count('<article class="case">')
    assert cases == 3 * len(CLASSES)
    for title in ("Guided backprop", "Grad-CAM"):
        alts = [
            i["aria-label"] or "" for i in shown.scans if (i["aria-label"] or "").startswith(f"{title} over")
        ]
        assert len(alts) == 3 * cases
        assert len(set(alts)) == cases
    labels = [i["aria-label"] or "" for i in shown.scans]
    assert len([label for label in labels if label.startswith("Chest radiograph")]) == cases


def test_the_figures_lie_beside_it(page: str, folder: Path) -> None:
    names = {file.name for file in (folder / "out").iterdir()}
    assert names == {"index.html", "forest.png", "agreement.png", *(f"cases_{c}.png" for c in CLASSES)}


def test_the_forest_has_a_point_with_interval_for_every_run_and_group_but_no_difference_to_itself() -> None:
    entry = {"value": 0.8, "low": 0.7, "high": 0.9}
    groups = ["macro", *CLASSES]
    values = {run: dict.fromkeys(groups, entry) for run in ("a", "b", "c")}
    differences = {run: dict.fromkeys(groups, entry) for run in ("b", "c")}
    left, right = intervals.forest(values, differences, groups, "a").axes
    points = [sum(len(x_of(line)) == 1 for line in axis.lines) for axis in (left, right)]
    assert points == [12, 8]
    assert left.get_ylim()[0] > left.get_ylim()[1]  # macro on top


def test_agreement_draws_the_floors_once(runs: list[FakeRun]) -> None:
    entry = {"nss": {"value": 1.0, "low": 0.9, "high": 1.1}}
    maps = dict.fromkeys(("heatmap", "mask", "mean_gaze", "lung_shape"), entry)
    axis = intervals.agreement({"a": maps, "b": maps}).axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels == [
        "Heatmap, a",
        "Heatmap, b",
        "Mask, a",
        "Mask, b",
        "Mean gaze (floor)",
        "Lung shape (floor)",
    ]


def test_runs_that_were_not_evaluated_are_compared_without_agreement(tmp_path: Path) -> None:
    runs = [FakeRun(tmp_path / "a", experiment="baseline"), FakeRun(tmp_path / "b", seed=2)]
    compared = compare(runs, CompareOptions(resamples=50))
    text = comparison(runs, tmp_path / "out", compared, draw=gone).read_text(encoding="utf-8")
    assert "Agreement is not compared" in Page(text).text
    assert "was not evaluated yet" in Page(text).text


def test_a_difference_stands_beside_what_could_have_been_found(compared: Comparison, page: str) -> None:
    text = Page(page).text
    rows = compared.paired.filter(metric="auc", group="macro").iter_rows(named=True)
    said = [s for s in findings(compared) if "four of five studies" in s]
    for row, sentence in zip(rows, said, strict=True):
        assert row["detectable_at"] == pytest.approx(0.05 / 2)
        assert f"about ±{row['detectable']:.3f} would have been found" in sentence
        assert "0.05/2, the strictest step of Holm's correction over 2 comparisons" in sentence
        assert "For ±0.05: " in sentence
        assert sentence in text
        assert f"<td>{row['detectable']:.3f}</td></tr>" in page
    assert re.search(r"Detectable\s*80% power", text)


def test_on_few_patients_the_page_calls_nothing_better_and_says_why(tmp_path: Path) -> None:
    runs = [
        FakeRun(tmp_path / "a", experiment="baseline", skill=-4, test_cases=20),
        FakeRun(tmp_path / "b", skill=9, seed=2, test_cases=20),
    ]
    compared = compare(runs, CompareOptions(resamples=50))
    text = comparison(runs, tmp_path / "out", compared, draw=gone).read_text(encoding="utf-8")
    assert compared.patients < 20
    assert (compared.paired["low"] > 0).any()  # by its interval alone it would be better
    assert 'class="text right"' not in text
    assert f">too few patients ({compared.patients}; at least 20)<" in text
    for sentence in findings(compared):
        assert sentence.endswith(f": too few patients ({compared.patients}; at least 20).")
        assert "no verdict" in sentence or "could have shown" in sentence


def test_the_page_and_its_sentences_write_a_bound_as_one(page: str, compared: Comparison) -> None:
    macro = compared.paired.filter(metric="auc", group="macro").row(0, named=True)
    assert macro["p_bootstrap_is_bound"]
    assert "(bootstrap p ≤ 0.010, DeLong p " in findings(compared)[0]
    assert "<td>≤ 0.010</td>" in page
    assert "<td>≤ 0.020</td>" in page  # after Holm's correction over two


def test_a_page_explains_intervals_without_width_where_it_has_any(tmp_path: Path, page: str) -> None:
    runs = [
        FakeRun(tmp_path / "a", experiment="baseline", skill=60),
        FakeRun(tmp_path / "b", skill=60, seed=2),
    ]
    compared = compare(runs, CompareOptions(resamples=50))
    text = comparison(runs, tmp_path / "out", compared, draw=gone).read_text(encoding="utf-8")
    assert "[1.000, 1.000] †" in text
    assert text.count("†: the interval has no width") == 1
    assert "†" not in page
    assert_self_contained(text)
