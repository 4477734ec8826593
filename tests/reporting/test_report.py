import re
from dataclasses import replace
from pathlib import Path

import pytest

from radgaze.errors import UserError
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.results import EvaluationResults, LocalisationCases, Maps
from radgaze.reporting.gallery import Draw
from radgaze.reporting.options import ReportOptions
from radgaze.reporting.run_page import report
from radgaze.reporting.sections import EvaluatedRun
from radgaze.reporting.sections.headline import HeadlineSection, findings
from radgaze.reporting.wording import AGREEMENT, LOCALISATION, MAPS, number
from tests.reporting.fakes import CLASSES, FakeRun, draw, evaluated, gone
from tests.reporting.pages import Page, assert_accessible, assert_self_contained


def written(run: FakeRun, results: EvaluationResults | None = None, draw: Draw = draw, **options: int) -> str:
    return report(run, results, ReportOptions(**options), draw=draw).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    return FakeRun(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def results(run: FakeRun) -> EvaluationResults:
    return evaluated(run)


@pytest.fixture(scope="module")
def page(run: FakeRun, results: EvaluationResults) -> str:
    return written(run, results, each=2)


def test_the_page_is_balanced_self_contained_and_accessible(page: str) -> None:
    assert_self_contained(page)
    assert_accessible(page)


def test_every_headline_number_of_metrics_is_in_the_page(page: str, results: EvaluationResults) -> None:
    text, test = Page(page).text, results.test
    entries = [
        by_group[group]
        for by_group in (
            test.auc,
            test.auc_paper,
            test.average_precision,
            test.brier,
            test.calibration_error,
            test.calibration_error_if_calibrated,
            test.sensitivity_at_specificity["0.9"],
        )
        for group in ("macro", *CLASSES)
    ]
    assert test.accuracy is not None
    for entry in (*entries, test.accuracy, results.validate.auc["macro"]):
        assert f"{number(entry.value)} [{number(entry.low)}, {number(entry.high)}]" in text
    for kind in MAPS:
        for metric in AGREEMENT:
            entry = (test.agreement[kind] or {})[metric]
            assert f"{number(entry.value, 2)} [{number(entry.low, 2)}, {number(entry.high, 2)}]" in text


def test_the_page_says_what_was_trained_on_what(page: str, run: FakeRun) -> None:
    text = Page(page).text
    for words in (
        "set3_guided",
        "timm-efficientnet-b0",
        "egd",
        "1,017 cases",
        "radgaze 0.1.0",
        "mask–gaze 0.50 (bce)",
    ):
        assert words in text
    assert (
        "its mask was pulled towards the gaze map and its own heatmap was pulled towards the gaze map" in text
    )
    assert re.search(r"no_gaze 41", text)
    assert "no_label" not in text  # nothing was rejected for that
    split = re.search(r"train 216 (\d+) \d+ \d+ \d+ validate 108 \d+ \d+ \d+ \d+ test 108", text)
    assert split


def test_the_page_holds_a_row_of_five_pictures_per_chosen_case(page: str, run: FakeRun) -> None:
    shown = Page(page)
    rows = page.count('<article class="case">')
    assert rows == sum(2 + min(2, wrong) for wrong in wrongs(run))
    assert len(shown.scans) == 5 * rows
    assert len(shown.maps) == 4 * rows
    assert all(map_.startswith("data:image/png") for map_ in shown.maps)
    assert len(shown.radiographs) == rows  # each once, whatever is drawn over it
    assert all(each.startswith("data:image/jpeg") for each in shown.radiographs.values())
    assert (
        len([i for i in shown.images if (i["src"] or "").startswith("data:image/png")]) == 5
    )  # 4 curves, agreement


def wrongs(run: FakeRun) -> list[int]:
    table = run.test()
    scores = table.select([f"probability_{c}" for c in CLASSES]).to_numpy().argmax(1)
    truth = table.select([f"label_{c}" for c in CLASSES]).to_numpy().argmax(1)
    return [int(((truth == c) & (scores != c)).sum()) for c in range(len(CLASSES))]


def test_the_figures_lie_beside_it_under_stable_names(page: str, run: FakeRun) -> None:
    assert {file.name for file in (run.path / "figures").iterdir()} == {
        "roc.png",
        "precision_recall.png",
        "calibration.png",
        "training.png",
        "agreement.png",
        *(f"cases_{name}.png" for name in CLASSES),
    }


def test_the_same_run_gives_the_same_page_to_the_byte(page: str, run: FakeRun) -> None:
    assert written(run, each=2) == page  # and metrics.json is read where no metrics are given


def test_no_path_and_no_patient_gets_into_the_page(page: str, run: FakeRun) -> None:
    for hidden in ("somebody", "private archive", str(run.path)):
        assert hidden not in page
    assert "…/store" in page


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    run = FakeRun(tmp_path / "run", prefix=f"{evil}\"'&", classes=("A<b>", "B&amp;", 'C"x'), test_cases=30)
    text = written(run, replace(evaluated(run), software=evil), each=1)
    assert_self_contained(text)
    assert text.count("<script") == 1  # ours
    assert "alert" not in text.partition("<script>")[2]
    assert "A<b>" in Page(text).text
    assert evil in Page(text).text
    assert all(".." not in f.name and "<" not in f.name for f in (run.path / "figures").iterdir())


def test_undefined_figures_are_dashes_and_never_none_or_nan(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", test_cases=40)
    results = evaluated(run)
    nothing = IntervalEstimate(None)
    for by_group in (results.test.auc, results.test.auc_paper, results.test.average_precision):
        by_group.update(CHF=nothing, macro=nothing)
    (results.test.agreement["heatmap"] or {})["kl"] = nothing
    page = Page(written(run, results, gone))
    assert "CHF 13 – – –" in page.text or re.search(r"CHF \d+ – – –", page.text)
    assert "None" not in page.text
    assert "nan" not in page.text.lower()


def test_a_run_without_decoder_has_no_mask_panel_and_no_mask_row(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", experiment="no_decoder", decoder=False, test_cases=40)
    text = written(run, evaluated(run), each=1)
    assert "Mask" not in Page(text).text
    assert "gaze had no part in it" in Page(text).text
    assert "--panels: 4" in text


def test_a_run_without_history_store_or_gaze_still_reports(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", epochs=0, has_store=False, gaze=False, test_cases=40)
    results = evaluated(run)
    text = written(run, results, gone)
    assert_self_contained(text)
    for words in (
        "no history.csv",
        "The pictures need the store: the store is gone.",
        "it could not be compared with the one that the run was trained on",
        "no test case has gaze",
    ):
        assert words in Page(text).text


def test_a_heatmap_that_does_not_beat_the_floors_is_said_not_to(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", test_cases=60)
    text = Page(written(run, evaluated(run, heatmap=0.0, mask=2.5), gone)).text
    assert "Heatmap against the floors, case by case: worse than at least one floor" in text
    assert "no better than a map that never saw the case" in text
    assert "Mask against the floors, case by case: better than both floors" in text


def test_a_run_that_was_not_evaluated_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no metrics\.json; run `evaluate\("):
        written(FakeRun(tmp_path / "run"))


def test_localisation_of_boxes_is_told_where_there_are_any(page: str, tmp_path: Path) -> None:
    assert "localisation" not in page
    run = FakeRun(tmp_path / "run")
    results = evaluated(run)
    of_boxes: Maps = dict.fromkeys(MAPS)
    of_boxes["heatmap"] = dict.fromkeys(LOCALISATION, IntervalEstimate(0.375, 0.25, 0.5))
    test = replace(results.test, localisation=of_boxes, localisation_cases=LocalisationCases(12, 96))
    html = written(run, replace(results, test=test), each=1)
    assert_accessible(html)
    text = Page(html).text
    assert text.count("0.38 [0.25, 0.50]") == 3
    assert "12 test cases with boxes" in text


def test_a_run_selected_on_the_test_cases_does_not_claim_validation_cases(
    tmp_path: Path,
) -> None:
    run = FakeRun(tmp_path / "run", test_cases=40)
    run.config.selection = "test"
    text = Page(written(run, replace(evaluated(run), selection="test"), gone)).text
    assert "the epoch with the best AUC on the test cases" in text
    assert "no test case was used" not in text
    assert "which selected the epoch" not in text
    assert "The test cases selected the epoch; on the validation cases the macro AUC is" in text


def test_a_network_that_predicts_the_same_for_every_case_is_called_so_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FakeRun(tmp_path / "run")
    shown = EvaluatedRun(run, evaluated(run))
    assert "nearly the same probabilities" not in " ".join(HeadlineSection().content(shown).findings)
    monkeypatch.setattr("radgaze.evaluation.constant.SPREAD", 1.1)
    assert "nearly the same probabilities" in HeadlineSection().content(shown).findings[0]


def test_classes_of_equal_auc_are_not_ranked(tmp_path: Path) -> None:
    results = evaluated(FakeRun(tmp_path / "run"))
    assert any("has the highest one-vs-rest AUC" in words for words in findings(results, CLASSES))
    test = replace(results.test, auc=dict.fromkeys(results.test.auc, IntervalEstimate(1.0, 0.9, 1.0)))
    assert not any("the highest" in words for words in findings(replace(results, test=test), CLASSES))
