import csv
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from radgaze.errors import UserError
from radgaze.experiments import faithful
from radgaze.reporting.gallery import Draw
from radgaze.reporting.paper import Results, published_results, write
from radgaze.reporting.wording import number
from radgaze.runs.run import Run
from tests.reporting.fakes import CLASSES, draw, gone
from tests.reporting.pages import Page, assert_accessible, assert_self_contained
from tests.reporting.paper.grids import REASON, grid
from tests.store.cohorts import contents


def written(results: Results, out: Path, draw: Draw = draw) -> str:
    path = write(results, out, draw=draw, each=1, resamples=200)
    assert path == out / "index.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paper")


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    failed = {("set1_guided", 0): REASON, ("set1_guided", 1): REASON, ("no_decoder", 1): "diverged"}
    return grid(folder, failed=failed)


@pytest.fixture(scope="module")
def page(results: Results, folder: Path) -> str:
    return written(results, folder / "out")


def values(out: Path, number: int) -> dict[tuple[str, str], dict[str, str]]:
    with (out / "tables" / f"table{number}.csv").open(encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    return {(row["experiment"], row["group"]): row for row in csv.DictReader(lines) if row["figure"] == "auc"}


def test(run: Run) -> pl.DataFrame:
    return run.predictions().filter(pl.col("split") == "test")


def of_sklearn(table: pl.DataFrame, group: str) -> float:
    names = CLASSES if group == "macro" else [group]
    return float(np.mean([roc_auc_score(table[f"label_{c}"], table[f"probability_{c}"]) for c in names]))


test.__test__ = False  # type: ignore[attr-defined]


def test_the_page_is_balanced_self_contained_and_accessible(page: str) -> None:
    assert_self_contained(page)
    assert_accessible(page)


def test_aucs_over_seeds_are_the_means_of_scikit_learns(results: Results, folder: Path, page: str) -> None:
    found = {n: values(folder / "out", n) for n in (1, 4)}
    for table, name in ((1, "baseline"), (1, "no_decoder"), (4, "set3_guided")):
        for group in ("macro", *CLASSES):
            row = found[table][name, group]
            expected = np.mean([of_sklearn(test(run), group) for run in results.runs[name].values()])
            assert float(row["value"]) == pytest.approx(expected)
            value = number(float(row["value"]))
            if len(results.runs[name]) == 2:
                assert (row["low"], row["high"], row["no_interval"]) == ("", "", "too few runs")
                assert row["published_inside"] == ""
                assert f"{value} (too few runs)" in Page(page).text
                continue
            assert float(row["low"]) <= expected <= float(row["high"])
            shown = f"{value} ({number(float(row['low']))}–{number(float(row['high']))})"
            assert shown in Page(page).text
    assert "One seed only: No decoder." in Page(page).text
    assert "no verdict: too few runs (2; at least 3)" in Page(page).text


def test_one_seed_of_the_faithful_protocol_has_the_papers_interval(tmp_path: Path) -> None:
    found = grid(tmp_path, ["baseline"], [42], protocol="faithful")
    written(found, tmp_path / "out", gone)
    table = test(found.runs["baseline"][42])
    # 30 draws of 55 to 60 cases, written out.
    random = np.random.default_rng(0)
    sizes = random.integers(55, 60, size=30, endpoint=True)
    counts = random.multinomial(sizes, np.full(table.height, 1 / table.height))
    drawn = []
    for count in counts:
        cases = table[np.repeat(np.arange(table.height), count)]
        drawn.append(of_sklearn(cases, "CHF"))
    row = values(tmp_path / "out", 1)["baseline", "CHF"]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (float(row["low"]), float(row["high"])) == pytest.approx((low, high))


def test_the_page_of_a_cross_validation_tells_of_folds(tmp_path: Path) -> None:
    found = grid(tmp_path, ["baseline"], [0, 1, 2], failed={("baseline", 1): "diverged"})
    text = Page(written(replace(found, unit="fold"), tmp_path / "out", gone)).text
    assert "Folds 0, 2" in text
    assert "Fold by fold" in text
    assert "2 of 3 folds; fold 1 failed: diverged" in text
    assert "Means over folds" in text
    assert "The runs are those of fold 0." in text


def test_the_page_of_the_faithful_protocol_lists_where_it_is_not_the_published_code(tmp_path: Path) -> None:
    found = grid(tmp_path, ["baseline"], [42], protocol="faithful")
    page = written(found, tmp_path / "out", gone)
    shown = " ".join(unescape(page).split())
    for entry in (*faithful.NOT_COPIED, *faithful.COPIED):
        for words in (entry.subject, entry.published, entry.here, entry.effect):
            assert words in shown
    assert_accessible(page)
    honest = grid(tmp_path / "honest", ["baseline"], [42])
    assert 'id="protocol"' not in written(honest, tmp_path / "other", gone)


def test_failed_and_missing_experiments_are_told_in_tables_and_page(page: str, folder: Path) -> None:
    text = Page(page).text
    markdown = (folder / "out" / "tables" / "table2.md").read_text(encoding="utf-8")
    assert "| Set 1, guided | failed: CUDA out of memory; the store was …/store |" in markdown
    assert "| Set 1, deconvNet | not run |" in markdown
    assert "failed: CUDA out of memory; the store was …/store" in text
    assert "1 of 2 seeds; seed 1 failed: diverged" in text
    assert "1 experiment failed" in text
    assert "private archive" not in page
    assert "Traceback" not in page


def test_every_figure_is_there_and_shows_something(folder: Path, page: str) -> None:
    figures = folder / "out" / "figures"
    names = {path.relative_to(figures).as_posix() for path in figures.rglob("*.png")}
    attempted = ("baseline", "no_decoder", "set1_guided", "set3_guided")
    assert names == {
        *("forest.png", "agreement.png"),
        *(f"{kind}_{c}.png" for kind in ("roc", "sheet") for c in CLASSES),
        *(f"cases/{name}_{c}.png" for name in attempted for c in CLASSES),
    }
    for name in names:
        with Image.open(figures / name) as image:
            assert min(image.size) > 1.8 * image.info["dpi"][0]
            assert np.asarray(image.convert("L")).std() > 2


def test_the_page_holds_every_table_figure_and_seed(page: str) -> None:
    for each in published_results.RESULTS:  # the fake store's source is egd-cxr
        assert each.method in unescape(page)
    shown = Page(page)
    for place in range(1, 6):
        assert f"Table {place}." in shown.text
    assert len([i for i in shown.images if (i["alt"] or "").startswith("ROC curves of")]) == len(CLASSES)
    drawn = re.findall(r'<svg class="scan" role="img" aria-label="CHF, case 1[:"]', page)
    assert len(drawn) == 2 + 2 + 1 + 2  # no decoder: 1
    assert page.count("<details>") >= 4
    assert len(re.findall(r"<tr><th scope=\"row\">[01]</th>", page)) == 4 * 2


def test_no_case_id_is_in_any_text(results: Results, folder: Path, page: str) -> None:
    ids = {i for runs in results.runs.values() for run in runs.values() for i in run.predictions()["case_id"]}
    texts = [page, *(p.read_text(encoding="utf-8") for p in (folder / "out" / "tables").iterdir())]
    names = " ".join(path.name for path in (folder / "out").rglob("*"))
    for case_id in ids:
        assert not any(case_id in text for text in (*texts, names))


def test_a_large_gain_is_claimed_and_an_equal_run_is_not(tmp_path: Path) -> None:
    found = grid(tmp_path, ["baseline", "set3_guided"], [0, 1, 2, 3])
    text = Page(written(found, tmp_path / "out", gone)).text
    assert "Holds: Heatmap supervision raises the AUC over the baseline." in text  # skill 1.0 against 2.4
    assert "Set 3, guided − Baseline U-Net: +" in text


def test_a_grid_of_experiments_of_every_family_has_each_of_them_in_a_table(tmp_path: Path) -> None:
    found = grid(tmp_path, ["baseline", "rrr", "exchange_guided"], [0])
    page = written(found, tmp_path / "out", gone)
    numbers = [int(each.stem.removeprefix("table")) for each in (tmp_path / "out/tables").glob("table?.csv")]
    listed = {name for number in numbers for name, _ in values(tmp_path / "out", number)}
    assert {*found.experiments} <= listed
    assert "Tables 1 to 6" in page


def test_selection_on_test_cases_is_stamped_on_page_and_tables(tmp_path: Path) -> None:
    found = grid(tmp_path, ["baseline", "set3_guided"], [0], selection="test")
    page = written(found, tmp_path / "out", gone)
    assert Page(page).text.count("SELECTED ON TEST CASES") == 1 + 5
    tables = (tmp_path / "out" / "tables").iterdir()
    for path in (each for each in tables if not each.name.startswith("published")):  # others' figures
        assert "SELECTED ON TEST CASES" in path.read_text(encoding="utf-8")


def test_the_same_runs_give_the_same_bytes(results: Results, folder: Path, page: str) -> None:
    written(results, folder / "again")
    assert contents(folder / "again") == contents(folder / "out")


def test_evil_class_names_stay_text(tmp_path: Path) -> None:
    classes = ("<script>alert(1)</script>", "50%_&|x", "../up")
    found = grid(tmp_path, ["baseline", "set3_guided"], [0], classes=classes)
    text = written(found, tmp_path / "out")
    assert_self_contained(text)
    assert text.count("<script") == 1  # ours
    assert "alert" not in text.partition("<script>")[2]
    ours = re.compile("<script>.*?</script>", re.DOTALL)
    assert "<script>alert(1)</script>" in Page(ours.sub("", text)).text
    for path in (tmp_path / "out").rglob("*"):
        assert path.resolve().is_relative_to((tmp_path / "out").resolve())
        if path.suffix == ".md":
            assert "<script" not in path.read_text(encoding="utf-8")


def test_runs_without_gaze_have_no_agreement_and_say_so(tmp_path: Path) -> None:
    text = written(grid(tmp_path, ["baseline", "set3_guided"], [0], gaze=False), tmp_path / "out")
    assert "No agreement was measured" in Page(text).text
    assert "no gaze recorded" in Page(text).text
    assert not (tmp_path / "out" / "figures" / "agreement.png").exists()


def test_without_a_baseline_there_are_tables_and_no_claims(tmp_path: Path) -> None:
    text = Page(written(grid(tmp_path, ["set3_guided"], [0]), tmp_path / "out", gone)).text
    assert "no picture: the store is gone" in text
    assert "Not tested: Heatmap supervision raises the AUC" in text
    assert "Baseline U-Net not run" in text


def test_a_grid_without_a_finished_run_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run is finished"):
        write(Results("honest", "validation", {}, {("baseline", 0): "why"}), tmp_path)


def test_what_could_have_been_found_is_in_the_page_and_in_files(page: str, folder: Path) -> None:
    text = Page(page).text
    tables = folder / "out" / "tables"
    assert "What differences to the baseline could have been found" in text
    assert "too few runs (2; at least 3)" in text  # set 3 and the baseline have two
    rows = pl.read_csv(tables / "power.csv")
    assert {"no_decoder", "set3_guided"} == set(rows["experiment"])
    one = rows.filter(experiment="no_decoder", figure="macro").row(0, named=True)  # one of its seeds failed
    assert one["detectable"] > 0
    assert one["detectable_at"] == 0.05  # the other experiment, of two seeds, is not tested
    shown = f"{one['detectable']:.3f}"
    assert shown in text
    assert shown in (tables / "power.md").read_text(encoding="utf-8")
    assert one["needed"] in text


@pytest.mark.slow
def test_two_classes_that_exclude_each_other_have_one_column_and_one_curve(tmp_path: Path) -> None:
    found = grid(tmp_path, ["baseline", "set3_guided"], [0], classes=("normal", "effusion"))
    text = written(found, tmp_path / "out", gone)
    table = (tmp_path / "out" / "tables" / "table1.md").read_text(encoding="utf-8")
    assert "| Experiment | AUC of effusion |\n|---|---|" in table
    assert "effusion is the positive; normal has the same AUC" in table
    shown = {key: row for key, row in values(tmp_path / "out", 4).items() if row["value"]}
    assert {*shown} == {("baseline", "macro"), ("set3_guided", "macro")}
    for (name, _), row in shown.items():
        run = found.runs[name][0]
        assert float(row["value"]) == pytest.approx(of_sklearn(test(run), "effusion"))
        assert float(row["value"]) == pytest.approx(of_sklearn(test(run), "normal"))
    assert "ROC curves of effusion" in text
    assert "ROC curves of normal" not in text
    assert "Mean AUC" not in text


@pytest.mark.slow
def test_a_store_of_boxes_alone_is_told_to_have_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = grid(tmp_path, ["baseline"], [0])
    assert "stand in for it" not in Page(written(found, tmp_path / "out", gone)).text
    monkeypatch.setattr("radgaze.reporting.description.attention_of", lambda store: "boxes")
    text = Page(written(found, tmp_path / "boxes", gone)).text
    assert "“gaze” on this page means its boxes, which stand in for it" in text
